//! Nodes and the ways between them, on virtual time. A message takes some milliseconds,
//! drawn by chance, and none overtakes another on the same way. What is on its way to a
//! program that ends is lost; what a program sent before it ended arrives, and then the
//! end of its connections.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::id::Name;
use ringleader_shared::machine::{Effect, Input, Machine};

use super::{Mesh, Message, Saved, Timer};
use crate::agenda::{Agenda, Slot};

/// How long a message takes.
const HOP: Range<Duration> = Duration::from_millis(5)..Duration::from_millis(15);

/// The nodes, and everything that is going to happen to them.
#[derive(Debug)]
pub struct World<A: Mesh> {
    algorithm: A,
    names: Vec<Name>,
    nodes: Vec<Place<A>>,
    agenda: Agenda<Due<A>>,
    /// When the newest message on a way will be there.
    ends: BTreeMap<(usize, usize), Duration>,
    /// Ways on which everything is lost.
    cut: BTreeSet<(usize, usize)>,
    /// How often a message is lost on any way, of 1.
    pub loss: f64,
    /// Who does not wait any more for an answer to what is taken in.
    hung_up: Option<usize>,
    seen: A::Seen,
    rng: StdRng,
    /// What happened, where somebody reads it.
    trace: Option<String>,
    sent: u64,
}

#[derive(Debug)]
struct Place<A: Mesh> {
    life: Life<A>,
    /// How often its program has started.
    run: u32,
    saved: Option<Saved<A>>,
    timers: BTreeMap<Timer<A>, Slot>,
    /// What happened to it while it stood still.
    waiting: VecDeque<(Duration, Input<A::Node>)>,
    crash_at: Option<CrashAt>,
}

#[derive(Debug)]
enum Life<A: Mesh> {
    Down,
    Up(A::Node),
    /// It runs, and waits for somebody else who does not yet.
    Waits(A::Node),
    Paused(A::Node),
    /// Its program has ended by itself.
    Ended(A::Node),
}

/// In the middle of what a program dies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrashAt {
    /// When it is about to send a message whose line begins with this.
    Sending(String),
    /// After so many effects of the next input.
    Effects(usize),
}

#[derive(Debug)]
enum Due<A: Mesh> {
    Start(usize),
    Arrives { from: usize, to: usize, run: u32, parcel: Parcel<A> },
    Broken { node: usize, other: usize, run: u32 },
    Timer { node: usize, timer: Timer<A> },
}

#[derive(Debug)]
enum Parcel<A: Mesh> {
    Message(Message<A>),
    End,
}

impl<A: Mesh> World<A> {
    /// Nobody runs yet. `names` are what the trace calls the nodes.
    pub fn new(algorithm: A, names: Vec<Name>, seed: u64) -> Self {
        let nodes = (0..algorithm.size()).map(|_| Place::default()).collect();
        World {
            algorithm,
            names,
            nodes,
            agenda: Agenda::default(),
            ends: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss: 0.0,
            hung_up: None,
            seen: A::Seen::default(),
            rng: StdRng::seed_from_u64(seed),
            trace: None,
            sent: 0,
        }
    }

    /// From now on what happens is written down.
    pub fn traced(mut self) -> Self {
        self.trace = Some(String::new());
        self
    }

    /// What happened, a line each.
    pub fn trace(&self) -> &str {
        self.trace.as_deref().unwrap_or_default()
    }

    /// The time, from the beginning.
    pub fn now(&self) -> Duration {
        self.agenda.now()
    }

    /// How many messages were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What an onlooker has in mind.
    pub fn seen(&self) -> &A::Seen {
        &self.seen
    }

    /// The algorithm and its cast.
    pub fn algorithm(&self) -> &A {
        &self.algorithm
    }

    /// Chance.
    pub fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// When the next thing happens.
    pub fn next_due(&self) -> Option<Duration> {
        self.agenda.next_due()
    }

    /// Which node is called that.
    pub fn index(&self, name: &Name) -> Option<usize> {
        self.names.iter().position(|one| one == name)
    }

    /// Whether its program runs, be it that it stands still.
    pub fn runs(&self, node: usize) -> bool {
        matches!(self.nodes[node].life, Life::Up(_) | Life::Waits(_) | Life::Paused(_))
    }

    /// Whether it stands still.
    pub fn stands_still(&self, node: usize) -> bool {
        matches!(self.nodes[node].life, Life::Paused(_))
    }

    /// Whether its program has ended by itself.
    pub fn has_ended(&self, node: usize) -> bool {
        matches!(self.nodes[node].life, Life::Ended(_))
    }

    /// The machines of those that are awake, and of those that have ended by themselves.
    pub fn machines(&self) -> Vec<Option<&A::Node>> {
        self.nodes.iter().map(|place| place.life.machine()).collect()
    }

    /// Whether all has come to where the algorithm is to bring it, and nobody is still to start.
    pub fn is_settled(&self) -> bool {
        let starts = self.agenda.iter().any(|due| matches!(due, Due::Start(_)));
        !starts && self.algorithm.is_settled(&self.seen, &self.machines())
    }

    /// Starts a program, now or later. Says no where it runs, or has ended by itself.
    pub fn start(&mut self, node: usize, after: Duration) -> bool {
        if !matches!(self.nodes[node].life, Life::Down) {
            return false;
        }
        self.agenda.plan(self.agenda.now() + after, Due::Start(node));
        true
    }

    /// Ends a program. Says no where none runs.
    pub fn crash(&mut self, node: usize) -> bool {
        if !self.runs(node) {
            return false;
        }
        self.note(|world| format!("{} crashes", world.names[node]));
        self.nodes[node].life = Life::Down;
        self.hang_up(node);
        true
    }

    /// Lets a program die in the middle of something, once it comes to that.
    pub fn crash_at(&mut self, node: usize, at: CrashAt) -> bool {
        let ended = self.has_ended(node);
        self.nodes[node].crash_at = Some(at).filter(|_| !ended);
        !ended
    }

    /// Whoever was to die in the middle of something lives on.
    pub fn spare_all(&mut self) {
        self.nodes.iter_mut().for_each(|place| place.crash_at = None);
    }

    /// Lets a program stand still, as SIGSTOP does.
    pub fn pause(&mut self, node: usize) -> bool {
        match mem::replace(&mut self.nodes[node].life, Life::Down) {
            Life::Up(machine) => {
                self.note(|world| format!("{} stands still", world.names[node]));
                self.nodes[node].life = Life::Paused(machine);
                true
            }
            other => {
                self.nodes[node].life = other;
                false
            }
        }
    }

    /// Lets it go on; it takes in what happened meanwhile.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn wake(&mut self, node: usize) -> Result<bool, String> {
        match mem::replace(&mut self.nodes[node].life, Life::Down) {
            Life::Paused(machine) => {
                self.note(|world| format!("{} goes on", world.names[node]));
                self.nodes[node].life = Life::Up(machine);
                self.take_in(node).map(|()| true)
            }
            other => {
                self.nodes[node].life = other;
                Ok(false)
            }
        }
    }

    /// From now on everything on this way is lost.
    pub fn cut(&mut self, from: usize, to: usize) {
        if self.cut.insert((from, to)) {
            self.note(|world| format!("{} → {}  cut", world.names[from], world.names[to]));
        }
    }

    /// Ends all cuts.
    pub fn heal(&mut self) {
        if !mem::take(&mut self.cut).is_empty() {
            self.note(|_| "all ways are whole".into());
        }
    }

    /// Somebody from outside asks a node for something. Says no where it does not run.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn ask(&mut self, node: usize, words: &str, wish: Input<A::Node>) -> Result<bool, String> {
        if !self.runs(node) {
            return Ok(false);
        }
        self.note(|world| format!("{} is asked: {words}", world.names[node]));
        self.algorithm.see_wish(&mut self.seen, &wish);
        self.feed(node, wish).map(|()| true)
    }

    /// Moves to what happens next.
    ///
    /// # Errors
    ///
    /// Something is wrong then.
    pub fn step(&mut self) -> Result<(), String> {
        let Some((slot, due)) = self.agenda.pop() else { return Ok(()) };
        match due {
            Due::Start(node) => self.begin(node),
            Due::Arrives { from, to, run, parcel } if self.nodes[to].run == run => match parcel {
                Parcel::Message(message) => {
                    let runs = self.runs(to);
                    if runs && self.trace.is_some() && self.algorithm.is_news(&message) {
                        let line = self.algorithm.line(&message);
                        self.note(|world| format!("{} → {}  {line}", world.names[from], world.names[to]));
                    }
                    let from = self.algorithm.called(to, from);
                    self.feed(to, Input::Message { from, message })
                }
                Parcel::End => match self.algorithm.ended(to, from) {
                    Some(input) => self.feed(to, input),
                    None => Ok(()),
                },
            },
            Due::Broken { node, other, run } if self.nodes[node].run == run => {
                match self.algorithm.broken(node, other) {
                    Some(input) => self.feed(node, input),
                    None => Ok(()),
                }
            }
            // It was meant for an earlier run of the program.
            Due::Arrives { .. } | Due::Broken { .. } => Ok(()),
            Due::Timer { node, timer } if self.nodes[node].timers.get(&timer) == Some(&slot) => {
                self.nodes[node].timers.remove(&timer);
                self.feed(node, Input::Timeout(timer))
            }
            // It was cancelled, or set anew.
            Due::Timer { .. } => Ok(()),
        }
    }

    /// Lets time pass in which nothing happens.
    pub fn rest_until(&mut self, end: Duration) {
        self.agenda.rest_until(end);
    }

    fn begin(&mut self, node: usize) -> Result<(), String> {
        if !matches!(self.nodes[node].life, Life::Down) {
            return Ok(());
        }
        let again = if self.nodes[node].run > 0 { " again" } else { "" };
        self.note(|world| format!("{} starts{again}", world.names[node]));
        let place = &mut self.nodes[node];
        place.run += 1;
        let machine = self.algorithm.begin(node, place.run, place.saved.as_ref());
        place.life = Life::Waits(machine);
        for node in 0..self.nodes.len() {
            let waits_for = self.algorithm.waits_for(node);
            if waits_for.is_none_or(|other| self.runs(other)) {
                self.wake_first(node)?;
            }
        }
        Ok(())
    }

    /// It has reached whom it waits for.
    fn wake_first(&mut self, node: usize) -> Result<(), String> {
        match mem::replace(&mut self.nodes[node].life, Life::Down) {
            Life::Waits(machine) => {
                self.nodes[node].life = Life::Up(machine);
                self.feed(node, self.algorithm.first())?;
                self.take_in(node)
            }
            other => {
                self.nodes[node].life = other;
                Ok(())
            }
        }
    }

    /// Takes in what happened while it took in nothing.
    fn take_in(&mut self, node: usize) -> Result<(), String> {
        while let Some((since, input)) = self.nodes[node].waiting.pop_front() {
            let is_over = self.agenda.now() - since > self.algorithm.exchange();
            let from = match &input {
                Input::Message { message, .. } if is_over && self.algorithm.is_answer(message) => continue,
                Input::Message { from, .. } if is_over => self.algorithm.whom(node, from),
                _ => None,
            };
            self.hung_up = from;
            let handled = self.handle(node, input);
            self.hung_up = None;
            handled?;
        }
        self.judge()
    }

    fn feed(&mut self, node: usize, input: Input<A::Node>) -> Result<(), String> {
        self.handle(node, input)?;
        self.judge()
    }

    fn handle(&mut self, node: usize, input: Input<A::Node>) -> Result<(), String> {
        let place = &mut self.nodes[node];
        let machine = match &mut place.life {
            Life::Up(machine) => machine,
            Life::Waits(_) | Life::Paused(_) => {
                place.waiting.push_back((self.agenda.now(), input));
                return Ok(());
            }
            Life::Down | Life::Ended(_) => return Ok(()),
        };
        let effects = machine.handle(input);
        machine.check();
        let dies_after = match place.crash_at {
            Some(CrashAt::Effects(count)) => {
                place.crash_at = None;
                Some(count)
            }
            _ => None,
        };
        for (done, effect) in effects.into_iter().enumerate() {
            if dies_after == Some(done) || self.dies_sending(node, &effect) {
                self.crash(node);
                return Ok(());
            }
            self.algorithm.see(&mut self.seen, node, &effect)?;
            if self.perform(node, effect) {
                break;
            }
        }
        if dies_after.is_some() {
            self.crash(node);
        }
        Ok(())
    }

    fn judge(&self) -> Result<(), String> {
        self.algorithm.judge(&self.seen, &self.machines())
    }

    fn dies_sending(&self, node: usize, effect: &Effect<A::Node>) -> bool {
        match (&self.nodes[node].crash_at, effect) {
            (Some(CrashAt::Sending(kind)), Effect::Send { message, .. }) => {
                self.algorithm.line(message).starts_with(kind.as_str())
            }
            _ => false,
        }
    }

    /// Whether the program has ended with it.
    fn perform(&mut self, node: usize, effect: Effect<A::Node>) -> bool {
        match effect {
            Effect::Send { to, message } => self.send(node, &to, message),
            Effect::SetTimer { timer, after } => {
                let after = if after.is_empty() { after.start } else { self.rng.random_range(after) };
                let slot = self.agenda.plan(self.agenda.now() + after, Due::Timer { node, timer: timer.clone() });
                self.nodes[node].timers.insert(timer, slot);
            }
            Effect::CancelTimer(timer) => {
                self.nodes[node].timers.remove(&timer);
            }
            Effect::Save(saved) => self.nodes[node].saved = Some(saved),
            Effect::Report(report) => {
                if self.trace.is_some()
                    && let Some(line) = self.algorithm.told(node, &report)
                {
                    self.note(|world| format!("{}: {line}", world.names[node]));
                }
                if self.algorithm.ends_with(&report) {
                    self.end(node);
                    return true;
                }
            }
        }
        false
    }

    fn send(&mut self, from: usize, to: &super::Peer<A>, message: Message<A>) {
        self.sent += 1;
        let Some(to) = self.algorithm.whom(from, to) else {
            if self.trace.is_some() {
                let line = self.algorithm.line(&message);
                self.note(|world| format!("{} → client  {line}", world.names[from]));
            }
            return;
        };
        if self.hung_up == Some(to) && self.algorithm.is_answer(&message) {
            return;
        }
        if self.cut.contains(&(from, to)) || (self.loss > 0.0 && self.rng.random_bool(self.loss)) {
            return;
        }
        if self.runs(to) {
            self.dispatch(from, to, Parcel::Message(message));
        } else {
            self.break_off(from, to);
        }
    }

    /// Behind everything that was sent before on the same way.
    fn dispatch(&mut self, from: usize, to: usize, parcel: Parcel<A>) {
        let hop = self.rng.random_range(HOP);
        let end = self.ends.entry((from, to)).or_default();
        let at = (self.agenda.now() + hop).max(*end);
        *end = at;
        let run = self.nodes[to].run;
        self.agenda.plan(at, Due::Arrives { from, to, run, parcel });
    }

    fn break_off(&mut self, node: usize, other: usize) {
        let at = self.agenda.now() + self.rng.random_range(HOP);
        let run = self.nodes[node].run;
        self.agenda.plan(at, Due::Broken { node, other, run });
    }

    fn end(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        match mem::replace(&mut place.life, Life::Down) {
            Life::Up(machine) => place.life = Life::Ended(machine),
            other => place.life = other,
        }
        self.hang_up(node);
    }

    /// All its connections end.
    fn hang_up(&mut self, node: usize) {
        let place = &mut self.nodes[node];
        place.timers.clear();
        place.waiting.clear();
        place.crash_at = None;
        for other in 0..self.nodes.len() {
            if other != node && self.runs(other) {
                self.dispatch(node, other, Parcel::End);
                self.break_off(other, node);
            }
        }
    }

    fn note(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let (line, now) = (line(self), self.agenda.now());
            let trace = self.trace.get_or_insert_default();
            let _ = writeln!(trace, "{:>2}.{:03}  {line}", now.as_secs(), now.subsec_millis());
        }
    }
}

impl<A: Mesh> Default for Place<A> {
    fn default() -> Self {
        let (life, timers, waiting) = (Life::Down, BTreeMap::new(), VecDeque::new());
        Place { life, run: 0, saved: None, timers, waiting, crash_at: None }
    }
}

impl<A: Mesh> Life<A> {
    fn machine(&self) -> Option<&A::Node> {
        match self {
            Life::Down | Life::Waits(_) | Life::Paused(_) => None,
            Life::Up(machine) | Life::Ended(machine) => Some(machine),
        }
    }
}
