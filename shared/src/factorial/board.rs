//! The hub's side: which jobs there are, how far they are, and what came of them.
//!
//! One board a ring. Everything is written down before it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::mem;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::message::{
    Answer, CREDITS, Checkpoint, End, Number, OpenJob, Product, Refusal, Request, Said, Tally, Value,
};
use super::rule::Rule;
use super::{Factorial, JobId, OPERANDS, Part, PartId};
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
    /// Somebody has become a member.
    Joined(ClientId),
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
    /// Those of `jobs` that are to be done.
    open: BTreeSet<JobId>,
    /// The bytes of all results.
    kept_bytes: usize,
    /// Which job a submitter's name stands for.
    keys: BTreeMap<Arc<str>, JobId>,
    leader: Option<(ClientId, Term)>,
    /// The newest term in which somebody led, as far as is known here.
    newest: Term,
    /// Who has claimed the jobs, in `newest`, and leads still.
    coordinator: Option<ClientId>,
    broken: Option<Rule>,
}

/// How many jobs a coordinator is given at one time: the oldest that are open.
pub const AT_A_TIME: usize = 32;

type Effects = Vec<Effect<Board>>;
type Refused = (Option<JobId>, Refusal);

impl Machine for Board {
    type Peer = Asker;
    type Message = Message;
    type Timer = Infallible;
    type Event = Event;
    type Report = Report;
    type Saved = Change;

    fn handle(&mut self, input: Input<Self>) -> Effects {
        let mut out = vec![];
        match input {
            Input::Message { from, message: Message::Ask(request) } => {
                let answer = self.on_request(request, &mut out).unwrap_or_else(|(job, why)| {
                    out.push(Effect::Report(Report::Refused(job, why.clone())));
                    Answer::Refused { job, why }
                });
                out.push(Effect::Send { to: from, message: Message::Answer(answer) });
            }
            // Boards answer; nobody answers them.
            Input::Message { message: Message::Answer(_), .. } => {}
            Input::Event(Event::Leads(leader)) => self.on_leads(leader),
            Input::Event(Event::Joined(id)) => {
                self.tell_of_member(&id, Said::Joined { client_id: id.clone() }, &mut out)
            }
            Input::Event(Event::Left(id)) => self.tell_of_member(&id, Said::Left { client_id: id.clone() }, &mut out),
            Input::Timeout(never) => match never {},
        }
        out
    }

    fn check(&self) {
        let open = self.jobs.iter().filter(|(_, job)| job.entry.phase == Phase::Open).map(|(id, _)| *id);
        assert!(open.eq(self.open.iter().copied()), "every open job is known as one");
        for job in self.jobs.values() {
            let Entry { factorial, phase, tally, .. } = &job.entry;
            assert_eq!(*phase == Phase::Done, job.result.is_some(), "who is done has a result");
            assert!(tally.done <= factorial.count(), "no more parts are done than there are");
            assert!(*phase == Phase::Open || job.products.is_empty(), "who has ended needs no products");
        }
    }
}

impl Board {
    /// A board with what was written down.
    pub fn new(limits: Limits, jobs: impl IntoIterator<Item = (JobId, Job)>) -> Self {
        let jobs: BTreeMap<JobId, Job> = jobs.into_iter().collect();
        let is_open = |(id, job): (&JobId, &Job)| (job.entry.phase == Phase::Open).then_some(*id);
        Board {
            limits,
            open: jobs.iter().filter_map(is_open).collect(),
            kept_bytes: jobs.values().map(Job::result_bytes).sum(),
            keys: jobs.iter().filter_map(|(id, job)| Some((job.entry.key.clone()?, *id))).collect(),
            leader: None,
            newest: jobs.values().filter_map(|job| job.entry.term).max().unwrap_or(Term::NONE),
            coordinator: None,
            broken: None,
            jobs,
        }
    }

    /// Whose hub knows of a leader in that term, be it that nothing was written down in it:
    /// then who led before that is refused by a hub that has just begun, too.
    pub fn knowing(mut self, newest: Term) -> Self {
        self.newest = self.newest.max(newest);
        self
    }

    /// Breaks a rule on purpose, to see that it is missed.
    pub fn breaking(self, rule: Option<Rule>) -> Self {
        Board { broken: rule, ..self }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// All jobs, in the order in which they came.
    pub fn jobs(&self) -> impl Iterator<Item = (&JobId, &Job)> {
        self.jobs.iter()
    }

    /// One of them.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether a coordinator is at this job at this moment.
    pub fn is_running(&self, id: JobId) -> bool {
        let at_it = |job: &Job| job.entry.phase == Phase::Open && job.entry.term == Some(self.newest);
        self.coordinator.is_some() && self.jobs.get(&id).is_some_and(at_it)
    }

    /// Who coordinates, if anybody does.
    pub fn coordinator(&self) -> Option<&ClientId> {
        self.coordinator.as_ref()
    }

    /// A product that is kept.
    pub fn product(&self, id: JobId, part: Part) -> Option<&Number> {
        self.jobs.get(&id)?.products.get(&part)
    }

    fn on_leads(&mut self, leader: Option<(ClientId, Term)>) {
        if leader == self.leader {
            return;
        }
        self.coordinator = None;
        self.newest = leader.iter().map(|(_, term)| *term).max().unwrap_or(self.newest).max(self.newest);
        self.leader = leader;
    }

    /// Where there is nothing to do it is of no interest.
    fn tell_of_member(&self, id: &ClientId, said: Said, out: &mut Effects) {
        if !self.open.is_empty() && self.coordinator.as_ref() != Some(id) {
            self.tell(said, out);
        }
    }

    fn tell(&self, said: Said, out: &mut Effects) {
        if let Some(to) = self.coordinator.clone() {
            out.push(Effect::Report(Report::Tell { to, term: self.newest, said }));
        }
    }

    fn on_request(&mut self, request: Request, out: &mut Effects) -> Result<Answer, Refused> {
        match request {
            Request::Submit { id, factorial, key } => self.on_submit(id, factorial, key, out),
            Request::Cancel(id) => self.on_cancel(id, out),
            Request::Claim { by, term } => self.on_claim(by, term, out),
            Request::Load { job, term } => {
                self.is_current(term, Some(job))?;
                let parts = self.open_job(job)?.products.iter().map(|(part, number)| (*part, value(*part, number)));
                Ok(Answer::Loaded { job, parts: parts.collect() })
            }
            Request::Checkpoint(checkpoint) => self.on_checkpoint(*checkpoint, out),
            Request::Keep { job, term, part, number } => self.on_keep(job, term, part, number, out),
        }
    }

    fn on_submit(
        &mut self,
        id: JobId,
        factorial: Factorial,
        key: Option<Arc<str>>,
        out: &mut Effects,
    ) -> Result<Answer, Refused> {
        if let Some(known) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let same = self.jobs.get(known).map(|job| job.entry.factorial);
            return match same {
                Some(other) if other != factorial => Err((Some(*known), Refusal::KeyUsed(other.0))),
                _ => Ok(Answer::Accepted { id: *known, is_new: false }),
            };
        }
        if factorial.0 > self.limits.factorial {
            return Err((None, Refusal::TooLarge { got: factorial.0, most: self.limits.factorial }));
        }
        if self.open.len() >= self.limits.jobs {
            return Err((None, Refusal::Full(self.open.len())));
        }
        let phase = Phase::Open;
        let entry = Entry { factorial, key: key.clone(), phase, term: None, sequence: 0, tally: Tally::default() };
        self.keys.extend(key.map(|key| (key, id)));
        self.open.insert(id);
        self.jobs.insert(id, Job { entry, result: None, products: BTreeMap::new() });
        self.save_entry(id, out);
        out.push(Effect::Report(Report::Accepted(id, factorial)));
        self.tell(Said::Jobs, out);
        Ok(Answer::Accepted { id, is_new: true })
    }

    fn on_cancel(&mut self, id: JobId, out: &mut Effects) -> Result<Answer, Refused> {
        match self.open_job(id) {
            Ok(_) => {
                self.end(id, Phase::Cancelled, None, out);
                self.tell(Said::Jobs, out);
                Ok(Answer::Cancelled(id))
            }
            Err((_, Refusal::Ended(_)))
                if self.jobs.get(&id).is_some_and(|job| job.entry.phase == Phase::Cancelled) =>
            {
                Ok(Answer::Cancelled(id))
            }
            Err(refused) => Err(refused),
        }
    }

    fn on_claim(&mut self, by: ClientId, term: Term, out: &mut Effects) -> Result<Answer, Refused> {
        if self.leader.as_ref() != Some(&(by.clone(), term)) {
            return Err((None, Refusal::StaleTerm { got: term, newest: self.newest }));
        }
        if self.coordinator.is_none() {
            out.push(Effect::Report(Report::Claimed { by: by.clone(), term, open: self.open.len() }));
        }
        self.coordinator = Some(by);
        let ids: Vec<JobId> = self.open.iter().copied().take(AT_A_TIME).collect();
        let mut jobs = vec![];
        for id in ids {
            let Some(Job { entry, .. }) = self.jobs.get_mut(&id) else { continue };
            let before = entry.term.replace(term);
            let (factorial, sequence, tally) = (entry.factorial, entry.sequence, entry.tally.clone());
            // In this term, too: the answer may have been lost, and this be asked again.
            let begun = before.is_some();
            jobs.push(OpenJob { job_id: id, factorial, sequence, begun, tally });
            if before != Some(term) {
                self.save_entry(id, out);
            }
        }
        Ok(Answer::Open { term, jobs })
    }

    fn on_checkpoint(&mut self, checkpoint: Checkpoint, out: &mut Effects) -> Result<Answer, Refused> {
        let Checkpoint { job_id: id, term, sequence, parts, tally, end } = checkpoint;
        self.is_current(term, Some(id))?;
        let refused = |why| Err((Some(id), why));
        let saved = Answer::Saved { job: id, sequence };
        let Some(job) = self.jobs.get(&id) else { return refused(Refusal::NoSuchJob) };
        let (entry, factorial) = (&job.entry, job.entry.factorial);
        if (entry.term, entry.sequence) == (Some(term), sequence) {
            return Ok(saved); // it was written, and our answer lost
        }
        if entry.phase != Phase::Open && self.keeps(Rule::OneResult) {
            return refused(Refusal::Ended(entry.phase.name()));
        }
        let expected = entry.sequence + 1;
        if sequence != expected && self.keeps(Rule::CheckpointsInOrder) {
            return refused(Refusal::OutOfOrder { got: sequence, expected });
        }
        let fits = |product: &Product| {
            let part = product.id.part;
            let is_here = matches!(product.product, Value::Here(_)) || job.products.contains_key(&part);
            is_here && product.id.job_id == id && product.fits(factorial)
        };
        if !parts.iter().all(fits) {
            return refused(Refusal::NoSuchPart);
        }
        for product in parts {
            self.on_product(id, product, out);
        }
        if let Some(Job { entry, .. }) = self.jobs.get_mut(&id) {
            let done = if matches!(end, Some(End::Done(_))) { factorial.count() } else { tally.done };
            let mut tally = Tally { done: done.min(factorial.count()), ..tally };
            tally.workers.truncate(CREDITS);
            (entry.term, entry.sequence, entry.tally) = (Some(term), sequence, tally);
        }
        match end {
            None => self.save_entry(id, out),
            Some(End::Done(result)) => self.end(id, Phase::Done, Some(result), out),
            Some(End::Failed(why)) => self.end(id, Phase::Failed(why), None, out),
        }
        Ok(saved)
    }

    /// With a product all below it are needed no more.
    fn on_product(&mut self, id: JobId, Product { id: PartId { part, .. }, product }: Product, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Value::Here(number) = product
            && job.products.insert(part, number.clone()).is_none()
        {
            out.push(Effect::Save(Change::Product(id, part, number)));
        }
        let mut below = vec![];
        for level in 0..part.level {
            let width = u64::from(OPERANDS).saturating_pow(u32::from(part.level - level));
            let first = u64::from(part.index).saturating_mul(width);
            let index = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            let range =
                Part { level, index: index(first) }..=Part { level, index: index(first.saturating_add(width - 1)) };
            below.extend(job.products.range(range).map(|(part, _)| *part));
        }
        for part in &below {
            job.products.remove(part);
        }
        if !below.is_empty() {
            out.push(Effect::Save(Change::Forget(id, below)));
        }
    }

    fn on_keep(
        &mut self,
        id: JobId,
        term: Term,
        part: Part,
        number: Number,
        out: &mut Effects,
    ) -> Result<Answer, Refused> {
        self.is_current(term, Some(id))?;
        let factorial = self.open_job(id)?.entry.factorial;
        if !factorial.contains(part) || number.as_str().len() > factorial.most_digits(part) {
            return Err((Some(id), Refusal::NoSuchPart));
        }
        // The same part has the same product, whoever computed it.
        let products = self.jobs.get_mut(&id).map(|job| &mut job.products);
        if products.is_some_and(|products| products.insert(part, number.clone()).is_none()) {
            out.push(Effect::Save(Change::Product(id, part, number)));
        }
        Ok(Answer::Kept)
    }

    /// What an older coordinator says, or was told to do, counts no more.
    fn is_current(&self, term: Term, job: Option<JobId>) -> Result<(), Refused> {
        let newest = self.newest;
        if term == newest || (term < newest && !self.keeps(Rule::OlderTermsRefused)) {
            return Ok(());
        }
        Err((job, Refusal::StaleTerm { got: term, newest }))
    }

    fn open_job(&self, id: JobId) -> Result<&Job, Refused> {
        match self.jobs.get(&id) {
            None => Err((Some(id), Refusal::NoSuchJob)),
            Some(job) if job.entry.phase == Phase::Open => Ok(job),
            Some(job) => Err((Some(id), Refusal::Ended(job.entry.phase.name()))),
        }
    }

    fn save_entry(&self, id: JobId, out: &mut Effects) {
        if let Some(job) = self.jobs.get(&id) {
            out.push(Effect::Save(Change::Entry(id, Box::new(job.entry.clone()))));
        }
    }

    fn end(&mut self, id: JobId, phase: Phase, result: Option<Arc<str>>, out: &mut Effects) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.entry.phase = phase.clone();
        let products: Vec<Part> = mem::take(&mut job.products).into_keys().collect();
        let factorial = job.entry.factorial;
        self.kept_bytes -= job.result_bytes();
        job.result = result.clone();
        self.kept_bytes += job.result_bytes();
        self.open.remove(&id);
        if !products.is_empty() {
            out.push(Effect::Save(Change::Forget(id, products)));
        }
        if let Some(result) = result {
            out.push(Effect::Save(Change::Result(id, result)));
        }
        self.save_entry(id, out);
        out.push(Effect::Report(Report::Ended(id, factorial, phase)));
        self.make_room(id, out);
    }

    /// Forgets the oldest that have ended, where there are too many; never the newest.
    fn make_room(&mut self, newest: JobId, out: &mut Effects) {
        while self.jobs.len() - self.open.len() > self.limits.jobs || self.kept_bytes > self.limits.kept_bytes {
            let oldest = self.jobs.keys().find(|id| !self.open.contains(id) && **id != newest).copied();
            let Some((id, job)) = oldest.and_then(|id| self.jobs.remove_entry(&id)) else { return };
            self.kept_bytes -= job.result_bytes();
            if let Some(key) = &job.entry.key {
                self.keys.remove(key);
            }
            out.push(Effect::Save(Change::ForgetJob(id)));
        }
    }
}

impl Job {
    fn result_bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.len())
    }
}

impl Phase {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Open => "open",
            Phase::Done => "done",
            Phase::Cancelled => "cancelled",
            Phase::Failed(_) => "failed",
        }
    }
}

/// A product as coordinators and workers are told of it: a large one by its place.
pub fn value(part: Part, number: &Number) -> Value {
    if number.is_large() { Value::Stored(part) } else { Value::Here(number.clone()) }
}
