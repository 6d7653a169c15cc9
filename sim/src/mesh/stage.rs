//! Scenario files of these algorithms: their commands, and where they are played.

use std::str::FromStr;
use std::time::Duration;

use ringleader_shared::id::Name;

use super::Mesh;
use super::chang_roberts::ChangRoberts;
use super::lowest_id::LowestId;
use super::paxos::Paxos;
use super::world::{CrashAt, World};
use crate::scenario::command::{duration, name};

/// How long a command may wait for what it waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can stand in a scenario file that begins with one of its first three lines.
pub const COMMANDS: &str = "\
ring a=7 b=3 c=9    Chang and Roberts: nodes with their ids, in the order of the
                    ring; ring repair a=7 …: they skip who dies
peers a=1 b=2 c=3   the lowest id leads: peers with their ids; before them quorum
                    or start-without-all, as the flags
paxos p,q a,b,c l   proposers, acceptors and learners; paxos forgetful p …:
                    nothing is written down
…@2s                after any node's id, or name: it starts that much later
seed 42             before the nodes: another run of chance
ask p 210           somebody asks a node for something: a proposer for a value
crash c             its program ends, and its connections
crash-at c WORD     it ends when it is about to send a message that begins so
restart c           its program starts anew, with what it had written down
pause c             its program stands still
wake c              it goes on
cut a b             what a sends to b is lost
partition a b | c   nothing passes between the groups
heal                all ways are whole again
run-for 2s          time passes
run-until c WORDS   time passes until a line of c has these words in it
settle              time passes until all who run have come to agree";

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Which algorithm, and its nodes, as it stands in the file.
    Cast(Cast),
    /// Another run of chance.
    Seed(u64),
    /// Somebody asks a node.
    Ask(Name, String),
    /// A program ends.
    Crash(Name),
    /// A program ends when it is about to send this.
    CrashAt(Name, String),
    /// A program starts again.
    Restart(Name),
    /// A program stands still.
    Pause(Name),
    /// It goes on.
    Wake(Name),
    /// One way is cut.
    Cut(Name, Name),
    /// Groups are cut from each other.
    Partition(Vec<Vec<Name>>),
    /// All is whole again.
    Heal,
    /// Time passes.
    RunFor(Duration),
    /// Time passes until a line says this.
    RunUntil(Name, String),
    /// Time passes until all agree.
    Settle,
}

/// The first line: which algorithm, with which flags and nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Cast {
    algorithm: &'static str,
    flags: Vec<String>,
    nodes: Vec<Spec>,
    /// For Paxos: how many of them propose, accept and learn.
    roles: [usize; 3],
}

#[derive(Debug, Clone, PartialEq)]
struct Spec {
    name: Name,
    id: u32,
    delay: Duration,
}

/// Whether a line names an algorithm and its nodes.
pub fn begins(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("ring" | "peers" | "paxos"))
}

impl FromStr for Command {
    /// What was expected.
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["ring", ..] => named("ring", &["repair"], &words[1..]).map(Command::Cast),
            ["peers", ..] => named("peers", &["quorum", "start-without-all"], &words[1..]).map(Command::Cast),
            ["paxos", ..] => paxos(&words[1..]).map(Command::Cast),
            ["seed", number] => number.parse().map(Command::Seed).map_err(|_| "seed NUMBER".into()),
            ["ask", node, ref wish @ ..] if !wish.is_empty() => Ok(Command::Ask(name(node)?, wish.join(" "))),
            ["crash", node] => name(node).map(Command::Crash),
            ["crash-at", node, ref word @ ..] if !word.is_empty() => Ok(Command::CrashAt(name(node)?, word.join(" "))),
            ["restart", node] => name(node).map(Command::Restart),
            ["pause", node] => name(node).map(Command::Pause),
            ["wake", node] => name(node).map(Command::Wake),
            ["cut", from, to] => Ok(Command::Cut(name(from)?, name(to)?)),
            ["partition", ref groups @ ..] if groups.contains(&"|") => {
                let groups = groups.split(|word| *word == "|").map(|group| group.iter().map(|node| name(node)).collect());
                groups.collect::<Result<_, _>>().map(Command::Partition)
            }
            ["heal"] => Ok(Command::Heal),
            ["run-for", time] => duration(time).map(Command::RunFor).ok_or("run-for TIME, such as 2s or 100ms".into()),
            ["run-until", node, ref words @ ..] if !words.is_empty() => {
                Ok(Command::RunUntil(name(node)?, words.join(" ")))
            }
            ["settle"] => Ok(Command::Settle),
            _ => Err("one of ring, peers, paxos, seed, ask NODE WORDS, crash NODE, crash-at NODE WORD, restart NODE, pause NODE, wake NODE, cut FROM TO, partition A … | B …, heal, run-for TIME, run-until NODE WORDS, settle".into()),
        }
    }
}

/// `a=7 b=3@2s`, behind flags.
fn named(algorithm: &'static str, known: &[&str], words: &[&str]) -> Result<Cast, String> {
    let flags = words.iter().take_while(|word| known.contains(word)).map(|word| word.to_string()).collect::<Vec<_>>();
    let expected =
        || format!("{algorithm} NAME=ID …, such as a=7 or a=7@2s; before them may stand {}", known.join(", "));
    let nodes: Vec<Spec> = words[flags.len()..]
        .iter()
        .map(|word| {
            let (word, delay) = delayed(word).ok_or_else(expected)?;
            let (who, id) = word.split_once('=').ok_or_else(expected)?;
            Ok(Spec { name: name(who)?, id: id.parse().map_err(|_| expected())?, delay })
        })
        .collect::<Result<_, String>>()?;
    if nodes.is_empty() { Err(expected()) } else { Ok(Cast { algorithm, flags, nodes, roles: [0; 3] }) }
}

/// `p,q a,b,c l`, behind flags.
fn paxos(words: &[&str]) -> Result<Cast, String> {
    let expected = || "paxos PROPOSER,… ACCEPTOR,… LEARNER,…; before them may stand forgetful".to_owned();
    let flags: Vec<String> =
        words.iter().take_while(|word| **word == "forgetful").map(|word| word.to_string()).collect();
    let [proposers, acceptors, learners] = words[flags.len()..] else { return Err(expected()) };
    let (mut nodes, mut roles) = (vec![], [0; 3]);
    for (count, group) in roles.iter_mut().zip([proposers, acceptors, learners]) {
        for word in group.split(',') {
            let (who, delay) = delayed(word).ok_or_else(expected)?;
            nodes.push(Spec { name: name(who)?, id: 0, delay });
            *count += 1;
        }
    }
    Ok(Cast { algorithm: "paxos", flags, nodes, roles })
}

fn delayed(word: &str) -> Option<(&str, Duration)> {
    match word.split_once('@') {
        Some((word, delay)) => Some((word, duration(delay)?)),
        None => Some((word, Duration::ZERO)),
    }
}

/// Where a scenario is played.
#[derive(Debug, Default)]
pub struct Stage {
    seed: Option<u64>,
    play: Option<Box<dyn Play>>,
}

impl Stage {
    /// What happened so far.
    pub fn trace(&self) -> &str {
        self.play.as_ref().map_or("", |play| play.trace())
    }

    /// Does what a command says; the problem where that cannot be done.
    ///
    /// # Errors
    ///
    /// It cannot be done, or something is wrong with what came of it.
    pub fn perform(&mut self, command: &Command) -> Result<(), String> {
        match (command, &mut self.play) {
            (Command::Seed(_) | Command::Cast(_), Some(_)) => Err("this has to stand before the nodes".into()),
            (Command::Seed(seed), None) => {
                self.seed = Some(*seed);
                Ok(())
            }
            (Command::Cast(cast), None) => {
                self.play = Some(cast.play(self.seed.unwrap_or(1))?);
                Ok(())
            }
            (command, Some(play)) => play.perform(command),
            (_, None) => Err("there are no nodes yet".into()),
        }
    }
}

impl Cast {
    fn play(&self, seed: u64) -> Result<Box<dyn Play>, String> {
        let has = |flag: &str| self.flags.iter().any(|one| one == flag);
        let ids: Vec<u32> = self.nodes.iter().map(|spec| spec.id).collect();
        let names: Vec<Name> = self.nodes.iter().map(|spec| spec.name.clone()).collect();
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(format!("two nodes are called {name}"));
            }
        }
        let delays: Vec<Duration> = self.nodes.iter().map(|spec| spec.delay).collect();
        Ok(match self.algorithm {
            "ring" => ready(ChangRoberts::new(&names, &ids, has("repair")), names, &delays, seed),
            "peers" => ready(LowestId::new(&ids, has("quorum"), has("start-without-all")), names, &delays, seed),
            _ => {
                let paxos =
                    Paxos::new(&names, self.roles, has("forgetful")).ok_or("one of each role, 100 in all at most")?;
                ready(paxos, names, &delays, seed)
            }
        })
    }
}

fn ready<A: Mesh>(algorithm: A, names: Vec<Name>, delays: &[Duration], seed: u64) -> Box<dyn Play> {
    let mut world = World::new(algorithm, names, seed).traced();
    for (node, delay) in delays.iter().enumerate() {
        world.start(node, *delay);
    }
    Box::new(world)
}

/// A world of any algorithm.
trait Play: std::fmt::Debug {
    fn trace(&self) -> &str;
    fn perform(&mut self, command: &Command) -> Result<(), String>;
}

impl<A: Mesh> Play for World<A> {
    fn trace(&self) -> &str {
        self.trace()
    }

    fn perform(&mut self, command: &Command) -> Result<(), String> {
        let known = |name: &Name| self.index(name).ok_or_else(|| format!("there is no node {name}"));
        let done = match command {
            Command::Cast(_) | Command::Seed(_) => false,
            Command::Ask(name, words) => {
                let node = known(name)?;
                let wish = self.algorithm().wish(node, words)?;
                self.ask(node, words, wish)?
            }
            Command::Crash(name) => {
                let node = known(name)?;
                self.crash(node)
            }
            Command::CrashAt(name, kind) => {
                let node = known(name)?;
                self.crash_at(node, CrashAt::Sending(kind.clone()))
            }
            Command::Restart(name) => {
                let node = known(name)?;
                self.start(node, Duration::ZERO)
            }
            Command::Pause(name) => {
                let node = known(name)?;
                self.pause(node)
            }
            Command::Wake(name) => {
                let node = known(name)?;
                self.wake(node)?
            }
            Command::Cut(..) | Command::Partition(_) if !A::LOSSY => {
                return Err("nothing is lost between these nodes, as long as they run".into());
            }
            Command::Cut(from, to) => {
                let (from, to) = (known(from)?, known(to)?);
                self.cut(from, to);
                true
            }
            Command::Partition(groups) => {
                let groups: Vec<Vec<usize>> =
                    groups.iter().map(|group| group.iter().map(known).collect()).collect::<Result<_, _>>()?;
                for (at, group) in groups.iter().enumerate() {
                    for (from, to) in
                        groups[at + 1..].iter().flatten().flat_map(|other| group.iter().map(|one| (*one, *other)))
                    {
                        self.cut(from, to);
                        self.cut(to, from);
                    }
                }
                true
            }
            Command::Heal => {
                self.heal();
                true
            }
            Command::RunFor(time) => {
                let end = self.now() + *time;
                while self.next_due().is_some_and(|due| due <= end) {
                    self.step()?;
                }
                self.rest_until(end);
                true
            }
            Command::RunUntil(name, words) => {
                known(name)?;
                let begins = format!("{name}: ");
                let mut read = self.trace().len();
                wait(self, |world| {
                    let new = &world.trace()[read..];
                    read += new.len();
                    let mut happened = new.lines().filter_map(|line| line.trim_start().split_once("  "));
                    happened.any(|(_, what)| what.starts_with(&begins) && what.contains(words.as_str()))
                })?
            }
            Command::Settle => self.is_settled() || wait(self, World::is_settled)?,
        };
        done.then_some(()).ok_or_else(|| match command {
            Command::RunUntil(..) => format!("did not happen in {PATIENCE:?}"),
            Command::Settle => format!("no agreement in {PATIENCE:?}"),
            _ => "it does not run, runs already, or has ended".into(),
        })
    }
}

/// Whether it came to that.
fn wait<A: Mesh>(world: &mut World<A>, mut done: impl FnMut(&World<A>) -> bool) -> Result<bool, String> {
    let end = world.now() + PATIENCE;
    while world.next_due().is_some_and(|due| due <= end) {
        world.step()?;
        if done(world) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        let table = [
            ("fly c", "x.txt:3: expected one of"),
            ("ring", "ring NAME=ID"),
            ("ring a", "ring NAME=ID"),
            ("peers a=x", "peers NAME=ID"),
            ("ring A7=7", "small letters"),
            ("paxos p a,b", "paxos PROPOSER"),
            ("paxos p a l@x", "paxos PROPOSER"),
            ("seed x", "seed NUMBER"),
            ("crash", "crash NODE"),
            ("partition a b", "partition A"),
            ("run-for 2", "such as 2s"),
            ("run-until b", "run-until NODE WORDS"),
        ];
        for (line, expected) in table {
            let text = format!("# A story.\nring a=7 b=9\n{line}\n----\n");
            let error = Scenario::parse("x.txt", &text).unwrap_err().to_string();
            assert!(error.starts_with("x.txt:3: ") && error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named_with_what_happened_until_then() {
        let table = [
            ("ring a=7 b=9", "crash c", "there is no node c"),
            ("ring a=7 b=9", "restart a", "it does not run, runs already, or has ended"),
            ("ring a=7 b=9", "wake a", "it does not run"),
            ("ring a=7 b=9", "cut a b", "nothing is lost between these nodes"),
            ("ring a=7 b=9", "ask a 210", "nothing can be asked"),
            ("ring a=7 b=9", "seed 3", "before the nodes"),
            ("ring a=7 b=9", "run-until a flies", "did not happen in 60s"),
            ("peers a=1 b=2", "ask b x", "nothing can be asked"),
        ];
        for (cast, line, expected) in table {
            let scenario = Scenario::parse("x.txt", &format!("{cast}\nrun-for 1ms\n{line}\n")).unwrap();
            let error = scenario.run().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("a starts"), "{line}: {error}");
        }
        for (text, expected) in [("ring a=1 a=2\n", "two nodes are called a"), ("settle\nring a=1\n", "no nodes yet")] {
            let error = Scenario::parse("x.txt", text).unwrap().run().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
