//! A member that multiplies for the coordinator that it follows.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::message::{Assignment, Message, Peer, Value};
use super::rule::Rule;
use super::{JobId, PartId};
use crate::id::{ClientId, Name, Term};
use crate::machine::{Effect, Input, Machine};

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// What people call it.
    pub name: Name,
    /// How many parts it takes at one time, the one in work among them.
    pub slots: u16,
    /// For how long answers are gathered into one message.
    pub gather: Duration,
}

impl Options {
    /// The usual ones.
    pub fn new(name: Name) -> Self {
        Options { name, slots: 16, gather: Duration::from_millis(5) }
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

/// One worker. It outlives its connections, and remembers what it has done until its
/// coordinator says that it need not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    options: Options,
    coordinator: Option<(ClientId, Term)>,
    queue: VecDeque<Assignment>,
    /// What the mill is at.
    milling: Option<PartId>,
    /// Done, and not told yet. All of it is in `held`.
    untold: Vec<PartId>,
    held: BTreeMap<PartId, Value>,
    heard: BTreeMap<JobId, u32>,
    broken: Option<Rule>,
}

type Effects = Vec<Effect<Worker>>;

impl Machine for Worker {
    type Peer = Peer;
    type Message = Message;
    type Timer = Timer;
    type Event = Event;
    type Report = Report;
    type Saved = std::convert::Infallible;

    fn handle(&mut self, _input: Input<Self>) -> Effects {
        vec![]
    }
}

impl Worker {
    /// A worker that follows nobody yet.
    pub fn new(options: Options) -> Self {
        Worker {
            options,
            coordinator: None,
            queue: VecDeque::new(),
            milling: None,
            untold: vec![],
            held: BTreeMap::new(),
            heard: BTreeMap::new(),
            broken: None,
        }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Worker { broken: rule, ..self }
    }
}
