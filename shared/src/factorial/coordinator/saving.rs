//! A coordinator and the hub's board: which jobs there are, what is written down of them.

use std::mem;

use super::super::board::AT_A_TIME;
use super::super::message::{Checkpoint, End, Message, OpenJob, Peer, Product, Refusal, Request, Said, Task, Value};
use super::super::rule::Rule;
use super::super::{JobId, Part, PartId};
use super::job::{Job, Stage};
use super::{Claim, Coordinator, Effects, Report, TRIES, Timer};
use crate::id::ClientId;
use crate::machine::Effect;

impl Coordinator {
    pub(super) fn claim(&mut self, out: &mut Effects) {
        if mem::replace(&mut self.claim.asked, true) {
            self.claim.again = true;
            return;
        }
        self.ask(Request::Claim { by: self.me.clone(), term: self.term }, out);
    }

    /// These are the oldest open jobs: what we had and is not among them has ended.
    pub(super) fn on_open(&mut self, open: Vec<OpenJob>, out: &mut Effects) {
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

    pub(super) fn on_loaded(&mut self, id: JobId, parts: Vec<(Part, Value)>, out: &mut Effects) {
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

    pub(super) fn on_gathered(&mut self, out: &mut Effects) {
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

    pub(super) fn on_saved(&mut self, id: JobId, sequence: u64, out: &mut Effects) {
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

    pub(super) fn on_refused(&mut self, job: Option<JobId>, why: &Refusal, out: &mut Effects) {
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

    pub(super) fn save_all(&mut self, out: &mut Effects) {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.save(id, out);
        }
    }

    /// Writes down what was done since, one checkpoint at a time.
    pub(super) fn save(&mut self, id: JobId, out: &mut Effects) {
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

    pub(super) fn on_printed(&mut self, id: JobId, end: End, out: &mut Effects) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.end = Some(end);
            self.save(id, out);
        }
    }

    /// The board may have been away, where the product lies: it is tried again, as a part is.
    pub(super) fn on_not_printed(&mut self, id: JobId, out: &mut Effects) {
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
    pub(super) fn finish(&mut self, id: JobId, out: &mut Effects) {
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
