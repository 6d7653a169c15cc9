//! The hub's side: which jobs there are, how far they are, and what came of them.
//!
//! One board a ring. Everything is written down before it is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::message::{Answer, Number, Refusal, Request, Said, Tally, Value};
use super::rule::Rule;
use super::{Factorial, JobId, Part};
use crate::id::{ClientId, Term};
use crate::machine::{Effect, Input, Machine};

/// How much a board takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The largest n of an n!.
    pub factorial: u32,
    /// The most open jobs; as many that have ended are kept at most.
    pub jobs: usize,
    /// The most bytes of results that are kept. The newest is kept in any case.
    pub kept_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { factorial: 100_000, jobs: 10_000, kept_bytes: 64 << 20 }
    }
}

/// Who asked: a number that the driver gave, to answer to. The board never uses one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker(pub u64);

/// What is said to and by a board.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message {
    /// To it.
    Ask(Request),
    /// From it: to every request exactly one.
    Answer(Answer),
}

/// What happens besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Somebody leads, or nobody any more. Told before the leader itself knows.
    Leads(Option<(ClientId, Term)>),
    /// A member is gone.
    Left(ClientId),
}

/// What a board tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// Tell the coordinator this, in a `message` without a sender.
    Tell {
        /// The coordinator.
        to: ClientId,
        /// Its term.
        term: Term,
        /// What.
        said: Said,
    },
    /// A job came.
    Accepted(JobId, Factorial),
    /// A coordinator began.
    Claimed {
        /// Who.
        by: ClientId,
        /// In which term.
        term: Term,
        /// How many jobs are open.
        open: usize,
    },
    /// A job has ended.
    Ended(JobId, Factorial, Phase),
    /// Something was refused.
    Refused(Option<JobId>, Refusal),
}

/// Where a job stands, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// It is to be done.
    #[default]
    Open,
    /// It is done.
    Done,
    /// Somebody wanted it no more.
    Cancelled,
    /// It cannot be done, and why.
    Failed(Arc<str>),
}

/// What is written down of a job, but for its products and result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What to compute.
    pub factorial: Factorial,
    /// The submitter's name for it.
    pub key: Option<Arc<str>>,
    /// Where it stands.
    pub phase: Phase,
    /// The term of the coordinator that began it or went on with it last.
    pub term: Option<Term>,
    /// The number of the last checkpoint.
    pub sequence: u64,
    /// How far it is.
    pub tally: Tally,
}

/// A change that has to survive the hub's end. Those of one input belong together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// This is what is written down of a job now.
    Entry(JobId, Box<Entry>),
    /// A job's result.
    Result(JobId, Arc<str>),
    /// A part's product.
    Product(JobId, Part, Number),
    /// These products are needed no more.
    Forget(JobId, Vec<Part>),
    /// Neither is this job, nor anything of it.
    ForgetJob(JobId),
}

/// A job with everything that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Job {
    /// What is written down of it.
    pub entry: Entry,
    /// Its result, once it is done.
    pub result: Option<Arc<str>>,
    /// Products that are needed still.
    pub products: BTreeMap<Part, Number>,
}

/// A ring's jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Board {
    limits: Limits,
    jobs: BTreeMap<JobId, Job>,
    /// Which job a submitter's name stands for.
    keys: BTreeMap<Arc<str>, JobId>,
    leader: Option<(ClientId, Term)>,
    /// The newest term in which somebody led, as far as is known here.
    newest: Term,
    /// Who has claimed the jobs, in `newest`, and leads still.
    coordinator: Option<ClientId>,
    broken: Option<Rule>,
}

type Effects = Vec<Effect<Board>>;

impl Machine for Board {
    type Peer = Asker;
    type Message = Message;
    type Timer = std::convert::Infallible;
    type Event = Event;
    type Report = Report;
    type Saved = Change;

    fn handle(&mut self, _input: Input<Self>) -> Effects {
        vec![]
    }
}

impl Board {
    /// A board with what was written down.
    pub fn new(limits: Limits, jobs: impl IntoIterator<Item = (JobId, Job)>) -> Self {
        let jobs: BTreeMap<JobId, Job> = jobs.into_iter().collect();
        let keys = BTreeMap::new();
        Board { limits, jobs, keys, leader: None, newest: Term::NONE, coordinator: None, broken: None }
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Board { broken: rule, ..self }
    }

    /// All jobs, in the order in which they came.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs.iter()
    }

    /// One of them.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether a coordinator is at an open job at this moment.
    pub fn is_running(&self, _id: JobId) -> bool {
        false
    }

    /// Who coordinates, if anybody does.
    pub fn coordinator(&self) -> Option<&ClientId> {
        self.coordinator.as_ref()
    }

    /// A product that is kept.
    pub fn product(&self, id: JobId, part: Part) -> Option<&Number> {
        self.jobs.get(&id)?.products.get(&part)
    }
}

/// A product as coordinators and workers are told of it: a large one by its place.
pub fn value(part: Part, number: &Number) -> Value {
    if number.is_large() { Value::Stored(part) } else { Value::Here(number.clone()) }
}
