//! A coordinator and its workers: who has what in hand, and who gets what next.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use super::super::message::{Assignment, End, MESSAGE_BYTES, PART_BYTES, Peer, Product, Progress, Said, Value};
use super::super::rule::Rule;
use super::super::{JobId, PartId};
use super::job::{Job, Stage};
use super::{Coordinator, Effects, FORGET, Report, SLOTS, TRIES, Timer, Worker};
use crate::id::{ClientId, Name};
use crate::machine::{Effect, exactly};

impl Coordinator {
    pub(super) fn on_ready(
        &mut self,
        id: ClientId,
        name: Name,
        slots: u16,
        delay: Duration,
        heard: &[Progress],
        out: &mut Effects,
    ) {
        for progress in heard {
            if let Some(job) = self.jobs.get_mut(&progress.job_id).filter(|job| job.is_being_taken_over()) {
                job.hear(progress);
            }
        }
        // It begins anew: what it had in hand it has not any more.
        let known = self.take_from(&id, false, out);
        let slots = slots.clamp(1, SLOTS).into();
        let forget = known.map_or_else(Vec::new, |worker| worker.forget);
        let silence = self.options.silence + delay;
        let worker = Worker { name, slots, silence, hands: BTreeSet::new(), silent: false, watched: false, forget };
        if self.workers.insert(id.clone(), worker).is_none() {
            out.push(Effect::Report(Report::Worker(id)));
        }
    }

    pub(super) fn on_products(&mut self, from: &ClientId, parts: Vec<Product>, out: &mut Effects) {
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

    pub(super) fn on_product(&mut self, from: &ClientId, name: &Name, id: PartId, product: Value) {
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

    pub(super) fn on_failed(&mut self, from: &ClientId, parts: &[PartId], out: &mut Effects) {
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

    pub(super) fn on_left(&mut self, id: &ClientId, out: &mut Effects) {
        self.take_from(id, true, out);
        self.workers.remove(id);
    }

    pub(super) fn on_silent(&mut self, id: &ClientId, out: &mut Effects) {
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
            out.push(Effect::SetTimer { timer, after: exactly(worker.silence) });
        } else if was_watched {
            out.push(Effect::CancelTimer(timer));
        }
    }

    /// Hands out what can be done: the oldest jobs first, to whoever has least in hand.
    pub(super) fn assign(&mut self, out: &mut Effects) {
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
    pub(super) fn tell_to_forget(&mut self, at_least: usize, out: &mut Effects) {
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
            out.push(Effect::SetTimer { timer: Timer::Silent(who.clone()), after: exactly(worker.silence) });
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
    pub(super) fn speculate(&mut self, out: &mut Effects) {
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
    pub(super) fn arm(&mut self, out: &mut Effects) {
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
