//! The leader at work: it hands out parts, and writes down what is done.

mod hands;
mod job;
mod saving;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::message::{Answer, End, Message, Milled, Peer, Request, Said};
use super::rule::Rule;
use super::worker::Memory;
use super::{Factorial, JobId, Part, PartId};
use crate::id::{ClientId, Name, Term};
use crate::machine::{Effect, Input, Machine, exactly};
use job::Job;

/// How a coordinator works.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// A checkpoint is written after so many parts …
    pub checkpoint_parts: u32,
    /// … or after that time, whichever is first.
    pub checkpoint_after: Duration,
    /// How long a worker may be silent with parts in hand, besides what each takes it.
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
    jobs: BTreeMap<JobId, Job>,
    workers: BTreeMap<ClientId, Worker>,
    claim: Claim,
    /// Whether a newer leader is known: then nothing is done any more.
    deposed: bool,
    /// Whether members have had time to tell what they hold.
    gathered: bool,
    /// What this member did as a worker before it was elected.
    memory: Option<Memory>,
    /// Those of its timers that run, but for those of its workers.
    running: BTreeSet<Timer>,
    broken: Option<Rule>,
}

/// How it stands between the coordinator and the board's list of open jobs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Claim {
    /// Whether one is on its way.
    asked: bool,
    /// Whether there was news meanwhile.
    again: bool,
    /// Whether one was ever answered.
    answered: bool,
    /// Whether there may be more open jobs than we were given.
    more: bool,
}

/// A member that takes parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Worker {
    name: Name,
    slots: usize,
    /// How long it may be silent with parts in hand.
    silence: Duration,
    /// What it has in hand, as far as is known here.
    hands: BTreeSet<PartId>,
    /// It has not spoken for long with parts in hand: it gets none until it speaks.
    silent: bool,
    /// Whether [`Timer::Silent`] runs for it.
    watched: bool,
    /// What it need not remember any more, and has not been told so.
    forget: Vec<PartId>,
}

/// So many parts are handed to one worker at most, whatever it says.
const SLOTS: u16 = 256;

/// A part takes a worker so long at most, whatever it says.
const DELAY: Duration = Duration::from_secs(3600);

/// How many parts to forget make a message of their own.
const FORGET: usize = 256;

/// How often a part may fail before its job is given up.
const TRIES: u32 = 8;

type Effects = Vec<Effect<Coordinator>>;

impl Machine for Coordinator {
    type Peer = Peer;
    type Message = Message;
    type Timer = Timer;
    type Event = Infallible;
    type Report = Report;
    type Saved = Infallible;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let mut out = vec![];
        if self.deposed {
            return out;
        }
        match input {
            Input::Message { from: Peer::Member(from), message: Message::Said(said) } => match said {
                Said::Ready { name, slots, delay_ms, heard } => {
                    let delay = Duration::from_millis(delay_ms).min(DELAY);
                    self.on_ready(from, name, slots, delay, &heard, &mut out);
                }
                Said::Products { parts } => self.on_products(&from, parts, &mut out),
                Said::Failed { parts } => self.on_failed(&from, &parts, &mut out),
                // What coordinators and hubs say.
                Said::Coordinating | Said::Assign { .. } | Said::Jobs | Said::Joined { .. } | Said::Left { .. } => {}
            },
            Input::Message { from: Peer::Hub, message: Message::Said(said) } => match said {
                Said::Jobs => self.claim(&mut out),
                Said::Joined { client_id } => self.say(Peer::Member(client_id), Said::Coordinating, &mut out),
                Said::Left { client_id } => self.on_left(&client_id, &mut out),
                _ => {}
            },
            Input::Message { from: Peer::Board, message: Message::Answer(answer) } => match answer {
                Answer::Open { term, jobs } if term == self.term => self.on_open(jobs, &mut out),
                Answer::Loaded { job, parts } => self.on_loaded(job, parts, &mut out),
                Answer::Saved { job, sequence } => self.on_saved(job, sequence, &mut out),
                Answer::Refused { job, why } => self.on_refused(job, &why, &mut out),
                Answer::Open { .. } | Answer::Accepted { .. } | Answer::Cancelled(_) | Answer::Kept => {}
            },
            Input::Message { from: Peer::Mill, message: Message::Milled(milled) } => match milled {
                Milled::Printed { job, text } => self.on_printed(job, End::Done(text), &mut out),
                Milled::NotPrinted(job) => self.on_not_printed(job, &mut out),
                // A worker's.
                Milled::Product(_) | Milled::Failed(_) => {}
            },
            Input::Message { .. } => {}
            Input::Timeout(timer) => {
                self.running.remove(&timer);
                match timer {
                    Timer::Checkpoint => self.save_all(&mut out),
                    Timer::Gather => self.on_gathered(&mut out),
                    Timer::Speculate => self.speculate(&mut out),
                    Timer::Silent(worker) => self.on_silent(&worker, &mut out),
                }
            }
            Input::Event(never) => match never {},
        }
        if !self.deposed {
            self.assign(&mut out);
            self.arm(&mut out);
        }
        out
    }

    fn check(&self) {
        for (id, job) in &self.jobs {
            job.check();
            let held = |part: Part| PartId { job_id: *id, part };
            let in_hands = |part: &Part, worker: &ClientId| {
                self.workers.get(worker).is_some_and(|worker| worker.hands.contains(&held(*part)))
            };
            let known = job.handed.iter().all(|(part, holders)| holders.iter().all(|who| in_hands(part, who)));
            assert!(known, "a part that is handed out is in the hands of whoever has it");
        }
    }
}

impl Coordinator {
    /// A coordinator, and what it does first. `memory` is of the worker that this member
    /// was before.
    pub fn begin(me: ClientId, term: Term, options: Options, memory: Option<Memory>) -> (Self, Effects) {
        let mut coordinator = Coordinator {
            me,
            term,
            options,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            claim: Claim::default(),
            deposed: false,
            gathered: false,
            memory,
            running: BTreeSet::new(),
            broken: None,
        };
        let mut out = vec![];
        coordinator.claim(&mut out);
        (coordinator, out)
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Coordinator { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Its term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Ends it: its timers have to be stopped.
    pub fn end(mut self) -> Effects {
        let mut out = vec![];
        self.stop(&mut out);
        out
    }

    fn stop(&mut self, out: &mut Effects) {
        let watched = self.workers.iter().filter(|(_, worker)| worker.watched).map(|(id, _)| Timer::Silent(id.clone()));
        let timers = mem::take(&mut self.running).into_iter().chain(watched);
        out.extend(timers.map(Effect::CancelTimer));
        (self.jobs, self.workers) = (BTreeMap::new(), BTreeMap::new());
    }

    fn ask(&self, request: Request, out: &mut Effects) {
        out.push(Effect::Send { to: Peer::Board, message: Message::Ask(request) });
    }

    fn say(&self, to: Peer, said: Said, out: &mut Effects) {
        out.push(Effect::Send { to, message: Message::Said(said) });
    }

    fn start(&mut self, timer: Timer, after: Duration, out: &mut Effects) {
        if self.running.insert(timer.clone()) {
            out.push(Effect::SetTimer { timer, after: exactly(after) });
        }
    }
}

impl Worker {
    fn is_idle(&self) -> bool {
        self.hands.is_empty() && !self.silent
    }
}
