//! An onlooker: it sees what is written, said and computed, and knows what must not be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringleader_shared::factorial::board::{self, Board, Change, Entry, Job, Phase};
use ringleader_shared::factorial::coordinator;
use ringleader_shared::factorial::message::{Assignment, Message, Product, Request, Said};
use ringleader_shared::factorial::worker::Worker;
use ringleader_shared::factorial::{Factorial, JobId, Part, PartId};
use ringleader_shared::id::{ClientId, Term};
use ringleader_shared::machine::{Effect, Input};

use super::mill::Expected;

/// What it has seen.
#[derive(Debug, Default)]
pub struct Judge {
    expected: Expected,
    jobs: BTreeMap<JobId, Seen>,
    keys: BTreeMap<Arc<str>, JobId>,
    ids: u128,
    /// The newest term that a board of the hub was told of.
    newest: Term,
    /// What each member's program was given to do, and by whom.
    given: BTreeMap<usize, BTreeSet<(Term, ClientId, PartId)>>,
    /// What each member's program has computed and was not told to forget.
    held: BTreeMap<usize, BTreeSet<PartId>>,
    /// What the coordinator of each term had done itself before it was one.
    own: BTreeMap<Term, BTreeSet<PartId>>,
    open: usize,
    /// What it all comes to.
    pub sum: Sum,
}

/// What jobs come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// Jobs that came.
    pub jobs: u64,
    /// Those that are done.
    pub done: u64,
    /// Their parts.
    pub parts: u64,
    /// Parts that were lost with a coordinator and done once more.
    pub again: u64,
    /// How often a part was handed to another worker.
    pub reassigned: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
}

/// A job.
#[derive(Debug)]
struct Seen {
    factorial: Factorial,
    ended: Option<Phase>,
    has_result: bool,
    is_forgotten: bool,
    sequence: u64,
    done: u32,
    term: Option<Term>,
    /// What the coordinator of each term was told is done.
    received: BTreeMap<Term, BTreeSet<Part>>,
    /// How many of these were not written down when the next coordinator began.
    lost: usize,
    /// The products that were written down when the coordinator of this term began.
    recovered: Option<(Term, BTreeSet<Part>)>,
}

type Judged = Result<(), String>;

impl Judge {
    /// A number for a new job.
    pub fn next_id(&mut self) -> u128 {
        self.ids += 1;
        self.ids
    }

    /// How many jobs have not ended.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether the hub has forgotten a job.
    pub fn is_forgotten(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|seen| seen.is_forgotten)
    }

    /// A submitter is told that its job is taken.
    ///
    /// # Errors
    ///
    /// It is not written down.
    pub fn accepted(&self, id: JobId) -> Judged {
        if self.jobs.contains_key(&id) { Ok(()) } else { Err(format!("{id:?} is accepted, and not written down")) }
    }

    /// The board is told who leads.
    pub fn leads(&mut self, leader: Option<&(ClientId, Term)>) {
        self.newest = leader.map_or(self.newest, |(_, term)| self.newest.max(*term));
    }

    /// The board takes something in.
    ///
    /// # Errors
    ///
    /// It changes what it must not.
    pub fn board(&mut self, input: &Input<Board>, effects: &[Effect<Board>]) -> Judged {
        let Input::Message { message: board::Message::Ask(request), .. } = input else { return Ok(()) };
        let term = match request {
            Request::Checkpoint(checkpoint) => checkpoint.term,
            Request::Keep { term, .. } | Request::Claim { term, .. } => *term,
            Request::Submit { .. } | Request::Cancel(_) | Request::Load { .. } => return Ok(()),
        };
        let changes = effects.iter().any(|effect| matches!(effect, Effect::Save(_)));
        if changes && term < self.newest {
            return Err(format!(
                "something of term {term} is taken after term {} had a leader: {request:?}",
                self.newest
            ));
        }
        Ok(())
    }

    /// The hub has written something; `store` is what there is now.
    ///
    /// # Errors
    ///
    /// That must not be written.
    pub fn written(&mut self, changes: &[Change], store: &BTreeMap<JobId, Job>) -> Judged {
        for change in changes {
            match change {
                Change::Entry(id, entry) => self.entry(*id, entry, store)?,
                Change::Result(id, text) => {
                    let Some(seen) = self.jobs.get_mut(id) else { return Err(format!("a result of no job: {id:?}")) };
                    if std::mem::replace(&mut seen.has_result, true) {
                        return Err(format!("{id:?} has a second result"));
                    }
                    if *text != self.expected.factorial(seen.factorial.0) {
                        return Err(format!("{}! is not {text}", seen.factorial.0));
                    }
                }
                Change::ForgetJob(id) => {
                    let seen = self.jobs.get_mut(id).filter(|seen| seen.ended.is_some());
                    seen.ok_or_else(|| format!("{id:?} is forgotten, and has not ended"))?.is_forgotten = true;
                    self.keys.retain(|_, job| job != id);
                }
                Change::Product(..) | Change::Forget(..) => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, id: JobId, entry: &Entry, store: &BTreeMap<JobId, Job>) -> Judged {
        let Entry { factorial, key, phase, term, sequence, tally } = entry;
        if let Some(key) = key
            && *self.keys.entry(key.clone()).or_insert(id) != id
        {
            return Err(format!("{key:?} stands for a second job"));
        }
        let (sum, open) = (&mut self.sum, &mut self.open);
        let seen = self.jobs.entry(id).or_insert_with(|| {
            sum.jobs += 1;
            *open += 1;
            Seen::new(*factorial)
        });
        if let Some(ended) = &seen.ended {
            return Err(format!("{id:?} is {}, and is written down once more as {}", ended.name(), phase.name()));
        }
        if *sequence != seen.sequence && *sequence != seen.sequence + 1 {
            return Err(format!("{id:?}: checkpoint {sequence} is written after {}", seen.sequence));
        }
        sum.checkpoints += *sequence - seen.sequence;
        if *term < seen.term || tally.done < seen.done || tally.done > factorial.count() {
            let Seen { term: before, done, .. } = seen;
            return Err(format!(
                "{id:?}: term {before:?}, {done} parts done; then {term:?}, {} of {}",
                tally.done,
                factorial.count()
            ));
        }
        if let Some(term) = term.filter(|term| Some(*term) != seen.term) {
            seen.is_taken_over(
                term,
                store.get(&id).map(|job| job.products.keys().copied().collect()).unwrap_or_default(),
            );
        }
        (seen.term, seen.sequence, seen.done) = (*term, *sequence, tally.done);
        match phase {
            Phase::Open => return Ok(()),
            Phase::Cancelled => {}
            Phase::Failed(why) => return Err(format!("{id:?} failed: {why}")),
            Phase::Done => {
                // Whoever did a part below one that is told of may be gone, and unknown.
                let credits: u32 = tally.workers.iter().map(|credit| credit.parts).sum();
                if tally.done != factorial.count() || credits > tally.done || !seen.has_result {
                    return Err(format!("{id:?} is done with {tally:?} of {} parts", factorial.count()));
                }
                if tally.again as usize > seen.lost {
                    return Err(format!("{id:?}: {} parts done again, and {} were lost", tally.again, seen.lost));
                }
                sum.done += 1;
                sum.parts += u64::from(factorial.count());
                sum.again += u64::from(tally.again);
            }
        }
        sum.reassigned += u64::from(tally.reassigned);
        seen.ended = Some(phase.clone());
        (seen.received, seen.recovered) = (BTreeMap::new(), None);
        *open -= 1;
        Ok(())
    }

    /// A member that has done these is a coordinator from now on.
    pub fn begins(&mut self, term: Term, held: &[Product]) {
        self.received(term, held);
        self.own.insert(term, held.iter().map(|product| product.id).collect());
    }

    /// A coordinator is told that something is done.
    pub fn received(&mut self, term: Term, parts: &[Product]) {
        for Product { id: PartId { job_id, part }, .. } in parts {
            if let Some(seen) = self.jobs.get_mut(job_id).filter(|seen| seen.ended.is_none()) {
                seen.received.entry(term).or_default().insert(*part);
            }
        }
    }

    /// A coordinator hands something out.
    ///
    /// # Errors
    ///
    /// It was written down as done when that coordinator began, or done by itself.
    pub fn assigned(&self, term: Term, parts: &[Assignment]) -> Judged {
        for Assignment { id: PartId { job_id, part }, .. } in parts {
            let Some(seen) = self.jobs.get(job_id) else {
                return Err(format!("{job_id:?} is no job, and is handed out"));
            };
            if let Some((_, recovered)) = seen.recovered.as_ref().filter(|(of, _)| *of == term)
                && is_covered(seen.factorial, *part, recovered)
            {
                return Err(format!(
                    "{job_id:?}: part {part} was done when term {term} began, and is handed out again"
                ));
            }
        }
        Ok(())
    }

    /// A coordinator tells something.
    ///
    /// # Errors
    ///
    /// It is not so.
    pub fn told(&mut self, report: &coordinator::Report) -> Judged {
        let coordinator::Report::Done { job, factorial, result } = report else { return Ok(()) };
        let is_done = self.jobs.get(job).is_some_and(|seen| seen.ended == Some(Phase::Done));
        if is_done && *result == self.expected.factorial(factorial.0) {
            return Ok(());
        }
        Err(format!("{job:?}: a coordinator says that {}! is {result}; written down: {is_done}", factorial.0))
    }

    /// A member hears what it is to do, and what it may forget.
    pub fn given(&mut self, member: usize, from: &ClientId, term: Term, parts: &[Assignment], forget: &[PartId]) {
        let given = self.given.entry(member).or_default();
        if given.last().is_some_and(|(last, ..)| *last < term) {
            given.clear();
        }
        given.extend(parts.iter().map(|part| (term, from.clone(), part.id)));
        let held = self.held.entry(member).or_default();
        forget.iter().for_each(|id| _ = held.remove(id));
    }

    /// A member begins to multiply.
    ///
    /// # Errors
    ///
    /// Whom it follows has not told it to.
    pub fn multiplies(
        &self,
        member: usize,
        follows: Option<&(ClientId, Term)>,
        term: Term,
        part: &Assignment,
    ) -> Judged {
        let is_told = follows.is_some_and(|(leader, of)| {
            let given = self.given.get(&member);
            *of == term && given.is_some_and(|given| given.contains(&(term, leader.clone(), part.id)))
        });
        if is_told {
            Ok(())
        } else {
            Err(format!("a member that follows {follows:?} does {:?} for term {term}", part.id))
        }
    }

    /// A member has multiplied.
    pub fn milled(&mut self, member: usize, id: PartId) {
        self.held.entry(member).or_default().insert(id);
    }

    /// A member's program has ended.
    pub fn forgets(&mut self, member: usize) {
        self.held.remove(&member);
        self.given.remove(&member);
    }

    /// A worker does something.
    ///
    /// # Errors
    ///
    /// It is ready for a new coordinator, and does not tell what it holds.
    pub fn worker(&self, member: usize, effects: &[Effect<Worker>]) -> Judged {
        let said = || {
            effects.iter().filter_map(|effect| match effect {
                Effect::Send { message: Message::Said(said), .. } => Some(said),
                _ => None,
            })
        };
        let Some(held) = self.held.get(&member).filter(|_| said().any(|said| matches!(said, Said::Ready { .. })))
        else {
            return Ok(());
        };
        let told: BTreeSet<PartId> = said()
            .filter_map(|said| if let Said::Products { parts } = said { Some(parts) } else { None })
            .flat_map(|parts| parts.iter().map(|product| product.id))
            .collect();
        match held.difference(&told).next() {
            Some(untold) => Err(format!("a worker is ready, holds {untold:?} and does not tell")),
            None => Ok(()),
        }
    }

    /// Nothing is left to do.
    ///
    /// # Errors
    ///
    /// Something is missing, or too much.
    pub fn at_rest(&mut self, store: &BTreeMap<JobId, Job>) -> Judged {
        for (id, seen) in self.jobs.iter().filter(|(_, seen)| !seen.is_forgotten) {
            let Some(job) = store.get(id) else { return Err(format!("{id:?} is lost")) };
            let result = (seen.ended == Some(Phase::Done)).then(|| self.expected.factorial(seen.factorial.0));
            if job.result != result || Some(&job.entry.phase) != seen.ended.as_ref() {
                return Err(format!("{id:?} was {:?}, and is {:?}", seen.ended, job.entry));
            }
            if !job.products.is_empty() {
                return Err(format!("{id:?} has ended, and {} products of it are kept", job.products.len()));
            }
        }
        Ok(())
    }
}

impl Seen {
    fn new(factorial: Factorial) -> Self {
        Seen {
            factorial,
            ended: None,
            has_result: false,
            is_forgotten: false,
            sequence: 0,
            done: 0,
            term: None,
            received: BTreeMap::new(),
            lost: 0,
            recovered: None,
        }
    }

    /// A new coordinator begins with what is written down.
    fn is_taken_over(&mut self, term: Term, products: BTreeSet<Part>) {
        let newer = self.received.split_off(&term);
        let received = std::mem::replace(&mut self.received, newer).into_values().flatten();
        let lost = received.filter(|part| !is_covered(self.factorial, *part, &products));
        self.lost += lost.count();
        self.recovered = Some((term, products));
    }
}

/// Whether a part is needed no more: it or one above it is done.
fn is_covered(factorial: Factorial, part: Part, done: &BTreeSet<Part>) -> bool {
    std::iter::successors(Some(part), |part| factorial.parent(*part)).any(|part| done.contains(&part))
}
