//! The leader at work: it hands out parts, and writes down what is done.

mod job;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::board::AT_A_TIME;
use super::message::{
    Answer, Assignment, Checkpoint, End, MESSAGE_BYTES, Message, Milled, OpenJob, PART_BYTES, Peer, Product, Progress,
    Refusal, Request, Said, Task, Value,
};
use super::rule::Rule;
use super::worker::Memory;
use super::{Factorial, JobId, Part, PartId};
use crate::id::{ClientId, Name, Term};
use crate::machine::{Effect, Input, Machine, exactly};
use job::{Job, Stage};

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
                Said::Ready { name, slots, heard } => self.on_ready(from, name, slots, &heard, &mut out),
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

/// The board.
impl Coordinator {
    fn claim(&mut self, out: &mut Effects) {
        if mem::replace(&mut self.claim.asked, true) {
            self.claim.again = true;
            return;
        }
        self.ask(Request::Claim { by: self.me.clone(), term: self.term }, out);
    }

    /// These are the oldest open jobs: what we had and is not among them has ended.
    fn on_open(&mut self, open: Vec<OpenJob>, out: &mut Effects) {
        self.claim = Claim { more: open.len() >= AT_A_TIME, again: self.claim.again, asked: false, answered: true };
        let was_idle = self.jobs.is_empty();
        let ended: Vec<JobId> =
            self.jobs.keys().filter(|id| open.iter().all(|open| open.job_id != **id)).copied().collect();
        for id in ended {
            self.drop_job(id);
        }
        for open in open {
            self.on_open_job(open, out);
        }
        if was_idle && !self.jobs.is_empty() {
            // While there was nothing to do the hub told of nobody who came or went.
            let workers = mem::take(&mut self.workers);
            let watched = workers.into_iter().filter(|(_, worker)| worker.watched);
            out.extend(watched.map(|(id, _)| Effect::CancelTimer(Timer::Silent(id))));
            self.say(Peer::Everybody, Said::Coordinating, out);
            if !self.gathered {
                self.start(Timer::Gather, self.options.gather, out);
            }
        }
        if mem::take(&mut self.claim.again) {
            self.claim(out);
        }
    }

    fn on_open_job(&mut self, open: OpenJob, out: &mut Effects) {
        let id = open.job_id;
        if self.jobs.contains_key(&id) {
            return;
        }
        let is_fresh = !open.begun && open.sequence == 0;
        let mut job = Job::new(open);
        if job.factorial.last().is_none() {
            job.end = Some(End::Done("1".into()));
        }
        if is_fresh || !self.keeps(Rule::CheckpointsAreLoaded) {
            job.run();
            out.push(Effect::Report(Report::Began(id, job.factorial)));
        } else {
            job.remember(&self.me, self.memory.as_ref());
            self.ask(Request::Load { job: id, term: self.term }, out);
        }
        self.jobs.insert(id, job);
        self.save(id, out);
    }

    fn on_loaded(&mut self, id: JobId, parts: Vec<(Part, Value)>, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Loading) else { return };
        for (part, value) in parts {
            job.settle(part, value);
        }
        job.stage = Stage::Gathering { written: job.done.len() as u32 };
        for (by, name, part, value) in mem::take(&mut job.told) {
            job.on_product(part, value, &by, &name, true);
        }
        if self.gathered {
            self.go_on(id, out);
        }
    }

    fn on_gathered(&mut self, out: &mut Effects) {
        self.gathered = true;
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.go_on(id, out);
        }
    }

    /// What is known now of a job that another had begun is all there is.
    fn go_on(&mut self, id: JobId, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Stage::Gathering { written } = job.stage else { return };
        let done = job.done.len() as u32;
        let lost = job.heard.1.saturating_sub(done);
        job.again = job.again.saturating_add(lost);
        let held = done.saturating_sub(written);
        out.push(Effect::Report(Report::TookOver { job: id, factorial: job.factorial, written, held, lost }));
        job.run();
        job.is_news = true;
        self.finish(id, out);
        // So that what is lost is counted once, whatever becomes of us.
        self.save(id, out);
    }

    fn on_saved(&mut self, id: JobId, sequence: u64, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.sequence + 1 == sequence) else { return };
        job.sequence = sequence;
        for (part, by) in mem::take(&mut job.saving) {
            if let Some(worker) = self.workers.get_mut(&by) {
                worker.forget.push(PartId { job_id: id, part });
            }
        }
        let (was_last, factorial, end) = (mem::take(&mut job.ending), job.factorial, job.end.clone());
        job.is_saving = false;
        if was_last {
            self.drop_job(id);
            out.push(Effect::Report(match end {
                Some(End::Done(result)) => Report::Done { job: id, factorial, result },
                Some(End::Failed(why)) => Report::GaveUp(id, why),
                None => return,
            }));
            if self.claim.more && self.jobs.len() <= AT_A_TIME / 2 {
                self.claim(out);
            }
            if self.jobs.is_empty() {
                self.tell_to_forget(1, out);
            }
        } else if job.end.is_some() || job.unsaved.len() >= self.options.checkpoint_parts as usize {
            self.save(id, out);
        }
    }

    fn on_refused(&mut self, job: Option<JobId>, why: &Refusal, out: &mut Effects) {
        match (job, why) {
            (_, Refusal::StaleTerm { .. }) | (None, _) => {
                self.stop(out);
                self.deposed = true;
                out.push(Effect::Report(Report::Deposed));
            }
            (Some(id), _) => {
                self.drop_job(id);
                self.claim(out);
            }
        }
    }

    fn save_all(&mut self, out: &mut Effects) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.save(id, out);
        }
    }

    /// Writes down what was done since, one checkpoint at a time.
    fn save(&mut self, id: JobId, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.is_saving || job.stage == Stage::Loading || !job.has_news() {
            return;
        }
        job.is_news = false;
        job.is_saving = true;
        job.ending = job.end.is_some();
        job.saving = mem::take(&mut job.unsaved);
        let product = |(part, _): &(Part, ClientId)| {
            let product = job.products.get(part)?.clone();
            Some(Product { id: PartId { job_id: id, part: *part }, product })
        };
        let parts = if job.ending { vec![] } else { job.saving.iter().filter_map(product).collect() };
        let checkpoint = Checkpoint {
            job_id: id,
            term: self.term,
            sequence: job.sequence + 1,
            parts,
            tally: job.tally(self.term),
            end: job.end.clone(),
        };
        self.ask(Request::Checkpoint(Box::new(checkpoint)), out);
    }

    fn on_printed(&mut self, id: JobId, end: End, out: &mut Effects) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.end = Some(end);
            self.save(id, out);
        }
    }

    /// The board may have been away, where the product lies: it is tried again, as a part is.
    fn on_not_printed(&mut self, id: JobId, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Printing && job.end.is_none()) else {
            return;
        };
        let Some(last) = job.factorial.last() else { return };
        let tries = job.tries.entry(last).or_default();
        *tries += 1;
        if *tries >= TRIES {
            return self.on_printed(id, End::Failed("the result could not be written".into()), out);
        }
        job.stage = Stage::Running;
        self.finish(id, out);
    }

    /// When the last part is done, its product is to be written as decimal text.
    fn finish(&mut self, id: JobId, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let product = job.factorial.last().and_then(|last| job.products.get(&last)).cloned();
        if let Some(product) = product.filter(|_| matches!(job.stage, Stage::Running)) {
            job.stage = Stage::Printing;
            let task = Task::Print { job: id, product };
            out.push(Effect::Send { to: Peer::Mill, message: Message::Task(task) });
        }
    }

    fn drop_job(&mut self, id: JobId) {
        self.jobs.remove(&id);
        for worker in self.workers.values_mut() {
            worker.hands.retain(|part| part.job_id != id);
        }
    }
}

/// The workers.
impl Coordinator {
    fn on_ready(&mut self, id: ClientId, name: Name, slots: u16, heard: &[Progress], out: &mut Effects) {
        for progress in heard {
            if let Some(job) = self.jobs.get_mut(&progress.job_id).filter(|job| job.is_being_taken_over()) {
                job.hear(progress);
            }
        }
        // It begins anew: what it had in hand it has not any more.
        let known = self.take_from(&id, false, out);
        let slots = slots.clamp(1, SLOTS).into();
        let forget = known.map_or_else(Vec::new, |worker| worker.forget);
        let worker = Worker { name, slots, hands: BTreeSet::new(), silent: false, watched: false, forget };
        if self.workers.insert(id.clone(), worker).is_none() {
            out.push(Effect::Report(Report::Worker(id)));
        }
    }

    fn on_products(&mut self, from: &ClientId, parts: Vec<Product>, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(from) else { return };
        worker.silent = false;
        let name = worker.name.clone();
        // What no product can look like would be sent on, and refused by the board, for ever.
        let may_be = |product: &Product| match self.jobs.get(&product.id.job_id) {
            Some(job) => product.fits(job.factorial),
            None => true,
        };
        let (parts, failed): (Vec<Product>, Vec<Product>) = parts.into_iter().partition(may_be);
        let failed: Vec<PartId> = failed.into_iter().map(|product| product.id).collect();
        if !failed.is_empty() {
            self.on_failed(from, &failed, out);
        }
        for Product { id, product } in parts {
            self.on_product(from, &name, id, product);
            self.finish(id.job_id, out);
            let is_much = |job: &Job| job.unsaved.len() >= self.options.checkpoint_parts as usize;
            if self.jobs.get(&id.job_id).is_some_and(is_much) {
                self.save(id.job_id, out);
            }
        }
        self.watch_anew(from, out);
    }

    fn on_product(&mut self, from: &ClientId, name: &Name, id: PartId, product: Value) {
        let PartId { job_id, part } = id;
        let (once, answered) = (self.keeps(Rule::PartsCountOnce), self.claim.answered);
        let Some(worker) = self.workers.get_mut(from) else { return };
        worker.hands.remove(&id);
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| job.factorial.contains(part)) else {
            // Before the board has told what there is, it may well be wanted.
            if answered {
                worker.forget.push(id);
            }
            return;
        };
        if job.stage == Stage::Loading {
            job.on_told(from, name, part, product);
            return;
        }
        if job.done.contains(&part) && once {
            // Where it counted for this worker, and is not written yet, it is to be remembered.
            if !job.unsaved.iter().chain(&job.saving).any(|(unsaved, by)| *unsaved == part && by == from) {
                worker.forget.push(id);
            }
            job.let_go(part, from);
            return;
        }
        let holders = job.on_product(part, product, from, name, once);
        for holder in holders {
            if let Some(holder) = self.workers.get_mut(&holder) {
                holder.hands.remove(&id);
            }
        }
    }

    fn on_failed(&mut self, from: &ClientId, parts: &[PartId], out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(from) else { return };
        worker.silent = false;
        for id in parts {
            let Some(job) = self.jobs.get_mut(&id.job_id).filter(|_| worker.hands.remove(id)) else { continue };
            job.let_go(id.part, from);
            let tries = job.tries.entry(id.part).or_default();
            *tries += 1;
            if *tries >= TRIES && job.end.is_none() {
                job.end = Some(End::Failed(format!("part {} failed {tries} times", id.part).into()));
                job.ready.clear();
                job.stage = Stage::Printing;
            }
        }
        let given_up: Vec<JobId> = parts.iter().map(|id| id.job_id).collect();
        for id in given_up {
            if self.jobs.get(&id).is_some_and(|job| job.end.is_some()) {
                self.save(id, out);
            }
        }
        self.watch_anew(from, out);
    }

    fn on_left(&mut self, id: &ClientId, out: &mut Effects) {
        self.take_from(id, true, out);
        self.workers.remove(id);
    }

    fn on_silent(&mut self, id: &ClientId, out: &mut Effects) {
        if let Some(worker) = self.workers.get_mut(id) {
            (worker.watched, worker.silent) = (false, !worker.hands.is_empty());
        }
        self.take_from(id, false, out);
    }

    /// Everything out of its hands, for others. What it still does counts when it comes.
    fn take_from(&mut self, id: &ClientId, gone: bool, out: &mut Effects) -> Option<Worker> {
        let hand_on = self.keeps(Rule::PartsHandedOn);
        let worker = self.workers.get_mut(id)?;
        if mem::take(&mut worker.watched) {
            out.push(Effect::CancelTimer(Timer::Silent(id.clone())));
        }
        let hands = mem::take(&mut worker.hands);
        let worker = worker.clone();
        let mut parts = 0;
        for PartId { job_id, part } in hands {
            if let Some(job) = self.jobs.get_mut(&job_id)
                && job.let_go(part, id)
            {
                if !hand_on {
                    job.ready.remove(&part);
                }
                job.reassigned = job.reassigned.saturating_add(1);
                parts += 1;
            }
        }
        if parts > 0 {
            out.push(Effect::Report(Report::HandedOn { worker: id.clone(), parts, gone }));
        }
        Some(worker)
    }

    /// It has spoken: the time that it may be silent begins again.
    fn watch_anew(&mut self, id: &ClientId, out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let was_watched = mem::replace(&mut worker.watched, !worker.hands.is_empty());
        let timer = Timer::Silent(id.clone());
        if worker.watched {
            out.push(Effect::SetTimer { timer, after: exactly(self.options.silence) });
        } else if was_watched {
            out.push(Effect::CancelTimer(timer));
        }
    }

    /// Hands out what can be done: the oldest jobs first, to whoever has least in hand.
    fn assign(&mut self, out: &mut Effects) {
        let mut given: BTreeMap<ClientId, Vec<PartId>> = BTreeMap::new();
        let workers = &mut self.workers;
        'all: for (id, job) in &mut self.jobs {
            if job.stage != Stage::Running {
                continue;
            }
            // The highest first: it makes what lies below it needless.
            while let Some(part) = job.ready.last().copied() {
                let free = workers.iter_mut().filter(|(_, worker)| !worker.silent && worker.hands.len() < worker.slots);
                let Some((who, worker)) = free.min_by_key(|(_, worker)| worker.hands.len()) else { break 'all };
                let held = PartId { job_id: *id, part };
                job.ready.remove(&part);
                job.handed.entry(part).or_default().insert(who.clone());
                worker.hands.insert(held);
                given.entry(who.clone()).or_default().push(held);
            }
        }
        for (who, parts) in given {
            self.hand(&who, &parts, out);
        }
        self.tell_to_forget(FORGET, out);
    }

    /// Those who have that much to forget are told so even where they get no parts.
    fn tell_to_forget(&mut self, at_least: usize, out: &mut Effects) {
        let much = self.workers.iter().filter(|(_, worker)| worker.forget.len() >= at_least);
        let who: Vec<ClientId> = much.map(|(id, _)| id.clone()).collect();
        for who in who {
            self.hand(&who, &[], out);
        }
    }

    /// Says what to do, in as few messages as fit, and what to forget.
    fn hand(&mut self, who: &ClientId, parts: &[PartId], out: &mut Effects) {
        let Some(worker) = self.workers.get_mut(who) else { return };
        if !parts.is_empty() && !mem::replace(&mut worker.watched, true) {
            out.push(Effect::SetTimer { timer: Timer::Silent(who.clone()), after: exactly(self.options.silence) });
        }
        let mut messages = vec![(vec![], BTreeSet::new())];
        let mut bytes = 0;
        for id in parts {
            let Some(job) = self.jobs.get(&id.job_id) else { continue };
            let operands: Vec<Value> = job.operands(id.part);
            let size = operands.iter().map(Value::bytes).sum::<usize>() + PART_BYTES;
            if bytes + size > MESSAGE_BYTES && bytes > 0 {
                messages.push((vec![], BTreeSet::new()));
                bytes = 0;
            }
            bytes += size;
            if let Some((assignments, jobs)) = messages.last_mut() {
                assignments.push(Assignment { id: *id, operands });
                jobs.insert(id.job_id);
            }
        }
        let mut forget = worker.forget.split_off(worker.forget.len().saturating_sub(FORGET));
        for (parts, jobs) in messages {
            let progress = jobs.into_iter().filter_map(|job_id| {
                let done = self.jobs.get(&job_id)?.done.len() as u32;
                Some(Progress { job_id, term: self.term, done })
            });
            let said = Said::Assign { parts, forget: mem::take(&mut forget), progress: progress.collect() };
            self.say(Peer::Member(who.clone()), said, out);
        }
    }

    /// Near the end: who is idle gets a copy of half of what somebody else has in hand. One
    /// that is slow may have seconds of work there, so one part now and then would not help.
    fn speculate(&mut self, out: &mut Effects) {
        let idle: Vec<(ClientId, usize)> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.is_idle())
            .map(|(id, worker)| (id.clone(), worker.slots))
            .collect();
        for (who, slots) in idle {
            // Of whoever has most in hand, what it would come to last.
            let most = self.workers.values().map(|worker| self.lone(worker).count()).enumerate();
            let Some((place, count)) = most.max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0) else {
                return;
            };
            let Some(busiest) = self.workers.values().nth(place) else { return };
            let parts: Vec<PartId> = self.lone(busiest).take(count.div_ceil(2).min(slots)).collect();
            for id in &parts {
                if let Some(job) = self.jobs.get_mut(&id.job_id) {
                    job.handed.entry(id.part).or_default().insert(who.clone());
                    job.reassigned = job.reassigned.saturating_add(1);
                }
            }
            if let Some(worker) = self.workers.get_mut(&who) {
                worker.hands.extend(&parts);
            }
            self.hand(&who, &parts, out);
        }
    }

    /// Parts that nobody else has in hand, the last first.
    fn lone<'a>(&'a self, worker: &'a Worker) -> impl Iterator<Item = PartId> + 'a {
        let is_lone = |id: &PartId| {
            self.jobs.get(&id.job_id).and_then(|job| job.handed.get(&id.part)).is_some_and(|holders| holders.len() == 1)
        };
        worker.hands.iter().rev().copied().filter(is_lone)
    }

    /// Starts the timers that what has come to be calls for.
    fn arm(&mut self, out: &mut Effects) {
        if self.jobs.values().any(|job| !job.unsaved.is_empty()) {
            self.start(Timer::Checkpoint, self.options.checkpoint_after, out);
        }
        let all_handed_out = self.jobs.values().all(|job| job.ready.is_empty());
        let some_idle = self.workers.values().any(Worker::is_idle);
        if all_handed_out && some_idle && self.workers.values().any(|worker| self.lone(worker).next().is_some()) {
            self.start(Timer::Speculate, self.options.speculate, out);
        }
    }
}

impl Worker {
    fn is_idle(&self) -> bool {
        self.hands.is_empty() && !self.silent
    }
}
