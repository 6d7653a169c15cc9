//! A member that multiplies for the coordinator that it follows.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::mem;
use std::time::Duration;

use super::message::{
    Assignment, MESSAGE_BYTES, Message, Milled, PART_BYTES, Peer, Product, Progress, Said, Task, Value,
};
use super::rule::Rule;
use super::{JobId, PartId};
use crate::id::{ClientId, Name, Term};
use crate::machine::{Effect, Input, Machine, exactly};

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// What people call it.
    pub name: Name,
    /// How many parts it takes at one time, the one in work among them.
    pub slots: u16,
    /// How long its mill lets each part take at least: its coordinator is told, and is
    /// as much more patient.
    pub delay: Duration,
    /// For how long answers are gathered into one message.
    pub gather: Duration,
}

impl Options {
    /// The usual ones.
    pub fn new(name: Name) -> Self {
        Options { name, slots: 32, delay: Duration::ZERO, gather: Duration::from_millis(5) }
    }
}

/// A worker's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Tell what was gathered.
    Answer,
}

/// What happens besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// It follows this leader from now on, or nobody.
    Follows(Option<(ClientId, Term)>),
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// It takes parts from a coordinator.
    Ready {
        /// From whom.
        coordinator: ClientId,
        /// In which term.
        term: Term,
        /// How many parts it had done already.
        held: usize,
    },
    /// It could not do a part.
    Failed(PartId),
}

/// What a worker remembers of its work.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Memory {
    /// What people call it.
    pub name: Name,
    /// What it has done.
    pub held: Vec<Product>,
    /// How far jobs were.
    pub heard: Vec<Progress>,
}

/// One worker. It outlives its connections, and remembers what it has done until its
/// coordinator says that it need not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    options: Options,
    /// Whom it follows.
    follows: Option<(ClientId, Term)>,
    /// The last one that asked it to take part; often before it follows that one.
    called: Option<(ClientId, Term)>,
    queue: VecDeque<Assignment>,
    /// What the mill is at.
    milling: Option<PartId>,
    /// Done, and not told yet.
    untold: Vec<PartId>,
    /// Whether [`Timer::Answer`] runs.
    gathering: bool,
    held: BTreeMap<PartId, Value>,
    /// How far jobs were, as far as it was told.
    heard: BTreeMap<JobId, (Term, u32)>,
    broken: Option<Rule>,
}

/// How many parts may wait here, whatever a coordinator says.
const QUEUE: usize = 1024;

/// How many products are remembered: where nobody says that they may be forgotten, the
/// oldest jobs' go first.
const HELD: usize = 100_000;

/// Of how many jobs it is remembered how far they were.
const HEARD: usize = 64;

type Effects = Vec<Effect<Worker>>;

impl Machine for Worker {
    /// Under the leader of which term.
    type Peer = (Peer, Term);
    type Message = Message;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let mut out = vec![];
        match input {
            Input::Event(Event::Follows(leader)) => self.on_follows(leader, &mut out),
            Input::Message { from: (Peer::Member(from), term), message: Message::Said(said) } => match said {
                Said::Coordinating => self.on_called(from, term, &mut out),
                Said::Assign { parts, forget, progress } if self.follows(&from, term) => {
                    self.on_assigned(parts, forget, &progress, &mut out);
                }
                // From one that it does not follow, or for a coordinator.
                _ => {}
            },
            Input::Message { from: (Peer::Mill, _), message: Message::Milled(milled) } => {
                self.on_milled(milled, &mut out)
            }
            Input::Message { .. } => {}
            Input::Timeout(Timer::Answer) => {
                self.gathering = false;
                self.answer(&mut out);
            }
        }
        self.mill(&mut out);
        out
    }

    fn check(&self) {
        assert!(self.queue.len() <= QUEUE && self.held.len() <= HELD && self.heard.len() <= HEARD, "all is bounded");
        assert!(self.queue.is_empty() || self.milling.is_some(), "who has parts in hand is at one");
    }
}

impl Worker {
    /// A worker that follows nobody yet.
    pub fn new(options: Options) -> Self {
        Worker {
            options,
            follows: None,
            called: None,
            queue: VecDeque::new(),
            milling: None,
            untold: vec![],
            gathering: false,
            held: BTreeMap::new(),
            heard: BTreeMap::new(),
            broken: None,
        }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Worker { broken: rule, ..self }
    }

    /// What it has done and not been told to forget, and how far it heard that jobs were:
    /// for the coordinator that the same member becomes.
    pub fn memory(&self) -> Memory {
        let held = self.held.iter().map(|(id, product)| Product { id: *id, product: product.clone() });
        Memory { name: self.options.name.clone(), held: held.collect(), heard: self.progress() }
    }

    fn progress(&self) -> Vec<Progress> {
        let heard = self.heard.iter();
        heard.map(|(job_id, (term, done))| Progress { job_id: *job_id, term: *term, done: *done }).collect()
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    fn follows(&self, who: &ClientId, in_term: Term) -> bool {
        let is_own = self.follows.as_ref().is_some_and(|(leader, term)| leader == who && *term == in_term);
        is_own || !self.keeps(Rule::OwnCoordinatorOnly)
    }

    /// What an earlier coordinator had handed out the next one hands out anew.
    fn on_follows(&mut self, leader: Option<(ClientId, Term)>, out: &mut Effects) {
        if leader == self.follows {
            return;
        }
        self.queue.clear();
        self.untold.clear();
        self.follows = leader;
        if self.follows.is_some() && self.follows == self.called {
            self.stand_by(out);
        }
    }

    fn on_called(&mut self, by: ClientId, term: Term, out: &mut Effects) {
        // The announcement may still be on its way to us.
        if self.called.as_ref().is_none_or(|(_, newest)| *newest <= term) {
            self.called = Some((by, term));
        }
        if self.follows.is_some() && self.follows == self.called {
            self.stand_by(out);
        }
    }

    /// Takes parts from now on, and tells what it has done already.
    fn stand_by(&mut self, out: &mut Effects) {
        let Some((coordinator, term)) = self.follows.clone() else { return };
        self.queue.clear();
        let heard = self.progress();
        let Options { name, slots, delay, .. } = self.options.clone();
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.say(Said::Ready { name, slots, delay_ms, heard }, out);
        let held = self.held.len();
        out.push(Effect::Report(Report::Ready { coordinator, term, held }));
        if self.keeps(Rule::HeldPartsAreTold) {
            self.untold = self.held.keys().copied().collect();
            self.answer(out);
        }
    }

    fn on_assigned(&mut self, parts: Vec<Assignment>, forget: Vec<PartId>, progress: &[Progress], out: &mut Effects) {
        for id in forget {
            self.held.remove(&id);
        }
        for Progress { job_id, term, done } in progress {
            let heard = self.heard.entry(*job_id).or_default();
            *heard = (*heard).max((*term, *done));
        }
        while self.heard.len() > HEARD {
            self.heard.pop_first();
        }
        for part in parts {
            if self.held.contains_key(&part.id) {
                self.untold.push(part.id);
                continue;
            }
            let in_hand = self.milling == Some(part.id) || self.queue.iter().any(|queued| queued.id == part.id);
            if !in_hand && self.queue.len() < QUEUE {
                self.queue.push_back(part);
            }
        }
        self.answer_soon(out);
    }

    fn on_milled(&mut self, milled: Milled, out: &mut Effects) {
        match milled {
            Milled::Product(Product { id, product }) if self.milling == Some(id) => {
                self.milling = None;
                self.held.insert(id, product);
                if self.held.len() > HELD {
                    self.held.pop_first();
                }
                self.untold.push(id);
                self.answer_soon(out);
            }
            Milled::Failed(id) if self.milling == Some(id) => {
                self.milling = None;
                out.push(Effect::Report(Report::Failed(id)));
                self.say(Said::Failed { parts: vec![id] }, out);
            }
            _ => {}
        }
    }

    /// The next part, if the mill is free.
    fn mill(&mut self, out: &mut Effects) {
        let Some((_, term)) = self.follows else { return };
        if self.milling.is_none()
            && let Some(part) = self.queue.pop_front()
        {
            self.milling = Some(part.id);
            out.push(Effect::Send { to: (Peer::Mill, term), message: Message::Task(Task::Multiply { term, part }) });
        }
    }

    /// At once, where nothing more is in hand, or enough is done for its coordinator to
    /// send more before all is; else several in one message.
    fn answer_soon(&mut self, out: &mut Effects) {
        let is_idle = self.queue.is_empty() && self.milling.is_none();
        if is_idle || self.untold.len() * 2 >= self.options.slots.into() {
            return self.answer(out);
        }
        if !self.untold.is_empty() && !self.gathering {
            self.gathering = true;
            out.push(Effect::SetTimer { timer: Timer::Answer, after: exactly(self.options.gather) });
        }
    }

    fn answer(&mut self, out: &mut Effects) {
        if mem::take(&mut self.gathering) {
            out.push(Effect::CancelTimer(Timer::Answer));
        }
        let (mut parts, mut bytes) = (vec![], 0);
        for id in mem::take(&mut self.untold) {
            let Some(product) = self.held.get(&id).cloned() else { continue };
            bytes += product.bytes() + PART_BYTES;
            if bytes > MESSAGE_BYTES && !parts.is_empty() {
                self.say(Said::Products { parts: mem::take(&mut parts) }, out);
                bytes = product.bytes() + PART_BYTES;
            }
            parts.push(Product { id, product });
        }
        if !parts.is_empty() {
            self.say(Said::Products { parts }, out);
        }
    }

    fn say(&self, said: Said, out: &mut Effects) {
        if let Some((coordinator, term)) = self.follows.clone() {
            out.push(Effect::Send { to: (Peer::Member(coordinator), term), message: Message::Said(said) });
        }
    }
}
