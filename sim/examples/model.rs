//! Runs the model checker: see `docs/model.md`.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringleader_shared::rule::Rule;
use ringleader_shared::{election, paxos};
use sim::algorithm::Algorithm;
use sim::mesh::chang_roberts::ChangRoberts;
use sim::mesh::lowest_id::LowestId;
use sim::mesh::model::{self as mesh, Bounded, Bounds, Checked};
use sim::mesh::paxos::Paxos;
use sim::model::ring::{Ring, Sizes};
use sim::model::state::{Faults, Wrong};
use sim::model::{Found, Progress, classic, look};

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p sim --example model -- --nodes 3 --crashes 1
  cargo run --release -p sim --example model -- --nodes 2 --early-timeouts 1 --break announcer-waits
  cargo run --release -p sim --example model -- --older-system
Without a hub:
  cargo run --release -p sim --example model -- --algorithm chang-roberts --ids 3,1,2 --repair --crashes 1
  cargo run --release -p sim --example model -- --algorithm lowest-id --nodes 3 --quorum --timeouts 4 --crashes 1
  cargo run --release -p sim --example model -- --algorithm paxos --roles 2,3,1 --timeouts 1 --crashes 1";

/// Goes through everything that can happen to a ring, within bounds; or to nodes without a hub.
///
/// Prints how much that was, and the shortest story of anything that is wrong; then it
/// exits with 1.
#[derive(Debug, Parser)]
#[command(name = "model", after_help = EXAMPLES)]
struct Flags {
    /// What the nodes run
    #[arg(long, env = "MODEL_ALGORITHM", value_enum, default_value_t = Algorithm::EligibleArray)]
    algorithm: Algorithm,
    /// How many nodes there are
    #[arg(long, env = "MODEL_NODES", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=Ring::MOST as i64))]
    nodes: u8,
    /// All of them are members from the start, in order; else they come in any order
    #[arg(long, env = "MODEL_MET")]
    met: bool,
    /// The last of them is a classic client
    #[arg(long, env = "MODEL_CLASSIC")]
    classic: bool,
    /// How many programs may end; each may start again
    #[arg(long, env = "MODEL_CRASHES", default_value_t = 0)]
    crashes: u8,
    /// How often a node may stand still; the hub may close its connection, and it may go on
    #[arg(long, env = "MODEL_PAUSES", default_value_t = 0)]
    pauses: u8,
    /// How many timers may run out while frames are on their way
    #[arg(long, env = "MODEL_EARLY_TIMEOUTS", default_value_t = 0)]
    early_timeouts: u8,
    /// How often the hub may end and start again
    #[arg(long, env = "MODEL_HUB_RESTARTS", default_value_t = 0)]
    hub_restarts: u8,
    /// The hub writes nothing down: a restart loses its terms
    #[arg(long, env = "MODEL_NO_STORE")]
    no_store: bool,
    /// How many elections there may be; nothing beyond them is looked at
    #[arg(long, env = "MODEL_TERMS", default_value_t = Sizes::default().terms)]
    terms: u8,
    /// Break this rule on purpose
    #[arg(long = "break", env = "MODEL_BREAK", value_name = "RULE")]
    broken: Option<String>,
    /// Of what can be wrong with a step, look at falling terms alone: the one thing that is
    /// promised without a store
    #[arg(long, env = "MODEL_ONLY_TERMS")]
    only_terms: bool,
    /// Leave out whether all ends well; that needs much less memory
    #[arg(long, env = "MODEL_SAFETY_ONLY")]
    safety_only: bool,
    /// The older system instead, which sticks and has two leaders: its shortest stories
    #[arg(long, env = "MODEL_OLDER_SYSTEM", conflicts_with_all = ["nodes", "classic", "broken"])]
    older_system: bool,
    /// Without a hub: how many programs that ended may start again
    #[arg(long, env = "MODEL_RESTARTS", default_value_t = 0)]
    restarts: u8,
    /// Without a hub: how many timers may run out, where one that is on its way counts for nothing
    #[arg(long, env = "MODEL_TIMEOUTS", default_value_t = 0)]
    timeouts: u8,
    /// Chang and Roberts: the ids, in the order of the ring
    #[arg(long, env = "MODEL_IDS", value_delimiter = ',', default_value = "2,3,1")]
    ids: Vec<u32>,
    /// Chang and Roberts: they skip who dies
    #[arg(long, env = "MODEL_REPAIR")]
    repair: bool,
    /// The lowest id: leads only with a majority
    #[arg(long, env = "MODEL_QUORUM")]
    quorum: bool,
    /// Paxos: how many propose, accept and learn
    #[arg(long, env = "MODEL_ROLES", value_delimiter = ',', default_value = "2,3,1")]
    roles: Vec<usize>,
    /// Paxos: which nodes write nothing down, from 0
    #[arg(long, env = "MODEL_FORGETFUL", value_delimiter = ',')]
    forgetful: Vec<usize>,
    /// Paxos: how the roles are given out, too, in every order
    #[arg(long, env = "MODEL_FROM_THE_START")]
    from_the_start: bool,
}

/// Which of these rules is to be broken.
fn rule<R: Copy>(flags: &Flags, all: &[R], name: impl Fn(R) -> &'static str) -> Result<Option<R>, String> {
    let Some(wanted) = &flags.broken else { return Ok(None) };
    all.iter().copied().find(|rule| name(*rule) == wanted).map(Some).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|rule| name(*rule)).collect();
        format!("--break: expected one of: {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let right = if flags.older_system { Ok(older_system()) } else { go(&flags) };
    right.map_or_else(
        |error| {
            eprintln!("model: {error}");
            ExitCode::from(2)
        },
        |right| ExitCode::from(u8::from(!right)),
    )
}

fn go(flags: &Flags) -> Result<bool, String> {
    let (ids, lowest): (&[u32], Vec<u32>) = (&flags.ids, (1..=flags.nodes.into()).collect());
    Ok(match flags.algorithm {
        Algorithm::EligibleArray => ours(flags, rule(flags, Rule::ALL, Rule::name)?),
        Algorithm::ChangRoberts => {
            use election::chang_roberts::Rule;
            let ring = ChangRoberts::of(ids, flags.repair, flags.crashes > 0, rule(flags, Rule::ALL, Rule::name)?);
            without_hub(flags, ring, false)
        }
        Algorithm::LowestId => {
            use election::lowest_id::Rule;
            let peers = LowestId::new(&lowest, flags.quorum, false);
            without_hub(flags, peers.with_broken(rule(flags, Rule::ALL, Rule::name)?), false)
        }
        Algorithm::Paxos => {
            use paxos::Rule;
            let roles = <[usize; 3]>::try_from(flags.roles.as_slice())
                .map_err(|_| "--roles: expected three numbers, such as 2,3,1")?;
            let paxos = Paxos::of(roles, &flags.forgetful, rule(flags, Rule::ALL, Rule::name)?);
            without_hub(flags, paxos.ok_or("--roles: expected one of each at least")?, !flags.from_the_start)
        }
        Algorithm::Factorial => return Err("--algorithm: factorial is for the simulator alone".into()),
    })
}

fn without_hub<A: Checked>(flags: &Flags, algorithm: A, prelude: bool) -> bool {
    let &Flags { crashes, restarts, timeouts, .. } = flags;
    let (start, mut bar) = (Instant::now(), Bar::default());
    let bounded = Bounded { algorithm, bounds: Bounds { crashes, restarts, timeouts }, prelude };
    let found = mesh::look(bounded, |progress| bar.show(progress, start.elapsed()));
    bar.clear();
    let (Progress { states, steps, depth }, took) = (found.progress, start.elapsed().as_secs_f64());
    print(&format!("{states} states, {steps} steps, at most {depth} in a row, in {took:.1} s\n"));
    if let Some(story) = &found.story {
        print(&format!("{story}\n"));
    } else if !found.agreed {
        print("they never agree\n");
    }
    found.agreed && found.story.is_none()
}

fn ours(flags: &Flags, broken: Option<Rule>) -> bool {
    let sizes = Sizes {
        nodes: flags.nodes.into(),
        met: flags.met,
        classic: flags.classic,
        faults: Faults {
            crashes: flags.crashes,
            pauses: flags.pauses,
            early_timeouts: flags.early_timeouts,
            hub_restarts: flags.hub_restarts,
        },
        terms: flags.terms,
        store: !flags.no_store,
        broken,
        only: flags.only_terms.then_some(Wrong::TermFell),
    };
    let (start, mut bar) = (Instant::now(), Bar::default());
    let found = look(&sizes, !flags.safety_only, |progress| bar.show(progress, start.elapsed()));
    bar.clear();
    report(&found, start.elapsed())
}

fn report(found: &Found, took: Duration) -> bool {
    let Found { progress: Progress { states, steps, depth }, cut, agreed, ends, story } = found;
    print(&format!("{states} states, {steps} steps, at most {depth} in a row, in {:.1} s\n", took.as_secs_f64()));
    if *cut > 0 {
        print(&format!("{cut} steps lead beyond the bound on terms, and were not gone\n"));
    }
    if let Some(story) = story {
        print(&format!("{story}\n"));
        return false;
    }
    if !agreed {
        print("they never agree\n");
    }
    if let Some(ends) = ends {
        print(&format!("{} states in which they agree; from {} they cannot come to\n", ends.agreed, ends.doomed.len()));
        if ends.endless > 0 {
            print(&format!("frames can move for ever: {} states lie on such a way, or behind one\n", ends.endless));
        }
    }
    *agreed && ends.as_ref().is_none_or(|ends| ends.doomed.is_empty() && ends.endless == 0)
}

fn older_system() -> bool {
    classic::Sizes::that_fail().iter().all(|sizes| {
        let classic::Sizes { ranks, crashes, starts, .. } = sizes;
        let (Progress { states, .. }, story) = classic::look(sizes);
        print(&format!("Ranks {ranks:?}, {starts} started out of the blue, {crashes} crashes; {states} states:\n"));
        if let Some(story) = &story {
            print(&format!("{story}\n\n"));
        }
        story.is_some()
    })
}

/// Where the search is, on a line that is written over.
#[derive(Default)]
struct Bar(Duration);

impl Bar {
    fn show(&mut self, progress: Progress, now: Duration) {
        const EVERY: Duration = Duration::from_millis(500);
        if now < self.0 + EVERY || !io::stderr().is_terminal() {
            return;
        }
        self.0 = now;
        let Progress { states, steps, depth } = progress;
        let rate = states as f64 / now.as_secs_f64();
        let _ = write!(io::stderr(), "\r{states} states, {steps} steps, depth {depth}, {rate:.0} states/s\x1b[K");
    }

    fn clear(&self) {
        if io::stderr().is_terminal() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Whoever reads may stop reading, as `head` does.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
