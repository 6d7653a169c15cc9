//! The leader at work: it hands out parts, and writes down what is done.

use std::time::Duration;

use super::message::{Message, Peer};
use super::rule::Rule;
use super::{Factorial, JobId};
use crate::id::{ClientId, Term};
use crate::machine::{Effect, Input, Machine};
use std::sync::Arc;

/// How a coordinator works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// A checkpoint is written after so many parts …
    pub checkpoint_parts: u32,
    /// … or after that time, whichever is first.
    pub checkpoint_after: Duration,
    /// How long a worker may be silent with parts in hand.
    pub silence: Duration,
    /// How long an idle worker waits for parts, where all are handed out, before it is
    /// given one that another has in hand.
    pub speculate: Duration,
    /// How long a new coordinator waits for members to tell what they hold, where a job
    /// had been begun before.
    pub gather: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            checkpoint_parts: 100,
            checkpoint_after: Duration::from_millis(500),
            silence: Duration::from_secs(5),
            speculate: Duration::from_secs(1),
            gather: Duration::from_millis(300),
        }
    }
}

/// A coordinator's timers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Write down what was done.
    Checkpoint,
    /// Members have told what they hold.
    Gather,
    /// Give idle workers what others have in hand.
    Speculate,
    /// This worker was silent with parts in hand.
    Silent(ClientId),
}

/// What a coordinator tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// It goes on with a job that another had begun.
    TookOver {
        /// Which.
        job: JobId,
        /// What it computes.
        factorial: Factorial,
        /// Parts that are done, as the last checkpoint says.
        written: u32,
        /// Parts that workers held besides.
        held: u32,
        /// Parts that had been done and are lost.
        lost: u32,
    },
    /// It begins a job.
    Began(JobId, Factorial),
    /// A worker takes parts.
    Worker(ClientId),
    /// A worker is gone or silent: so many parts are handed on.
    HandedOn {
        /// Whose.
        worker: ClientId,
        /// How many.
        parts: usize,
        /// Whether it is gone; else it is silent.
        gone: bool,
    },
    /// A job is done, and its result is written down.
    Done {
        /// Which.
        job: JobId,
        /// What it computes.
        factorial: Factorial,
        /// The result, as decimal text.
        result: Arc<str>,
    },
    /// A job cannot be done.
    GaveUp(JobId, Arc<str>),
    /// The board has heard of a newer leader: nothing more is done.
    Deposed,
}

/// A coordinator in one term. A new term makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Coordinator {
    me: ClientId,
    term: Term,
    options: Options,
    broken: Option<Rule>,
}

type Effects = Vec<Effect<Coordinator>>;

impl Machine for Coordinator {
    type Peer = Peer;
    type Message = Message;
    type Timer = Timer;
    type Event = std::convert::Infallible;
    type Report = Report;
    type Saved = std::convert::Infallible;

    fn handle(&mut self, _input: Input<Self>) -> Effects {
        vec![]
    }
}

impl Coordinator {
    /// A coordinator, and what it does first.
    pub fn begin(me: ClientId, term: Term, options: Options) -> (Self, Effects) {
        (Coordinator { me, term, options, broken: None }, vec![])
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Coordinator { broken: rule, ..self }
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Ends it: its timers have to be stopped.
    pub fn end(self) -> Effects {
        vec![]
    }
}
