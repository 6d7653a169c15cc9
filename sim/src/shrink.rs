//! The shortest story that can be found: a plan is made smaller as long as the same
//! property still breaks. Each smaller plan is tried under a few runs of chance, for
//! with less in it the same seed draws other delays.
//!
//! Deltas are removed as Zeller and Hildebrandt do (2002): halves first, then
//! smaller parts.

use std::time::Duration;

use ringleader_shared::id::Rank;

use crate::plan::{Plan, Spec};
use crate::property::Property;
use crate::run::{Failure, play};

/// So many runs are tried.
const PATIENCE: u32 = 3_000;
/// Under so many runs of chance each.
const CHANCES: u64 = 6;

/// A plan, and how it fails.
#[derive(Debug, Clone)]
pub struct Story {
    /// What befalls whom.
    pub plan: Plan,
    /// What comes of it.
    pub failure: Failure,
}

impl Story {
    /// The shortest one that breaks the same property.
    pub fn shortest(plan: Plan, failure: Failure) -> Story {
        let mut search = Search { property: failure.violation.property, left: PATIENCE, best: Story { plan, failure } };
        search.cut();
        loop {
            let before = search.weight();
            search.drop_nodes();
            search.drop_acts();
            search.shorten_gaps();
            search.simplify();
            if search.weight() == before || search.left == 0 {
                return search.best;
            }
        }
    }
}

struct Search {
    property: Property,
    left: u32,
    best: Story,
}

impl Search {
    fn weight(&self) -> (usize, usize, Duration) {
        let plan = &self.best.plan;
        (plan.nodes.iter().filter(|spec| spec.takes_part).count(), plan.acts.len(), self.best.failure.at)
    }

    /// Whether this one breaks the same property; then it is the best so far.
    fn try_out(&mut self, plan: Plan) -> bool {
        let seed = plan.setting.seed;
        for chance in 0..CHANCES {
            let Some(left) = self.left.checked_sub(1) else { return false };
            self.left = left;
            let mut plan = plan.clone();
            plan.setting.seed = if chance == 0 { seed } else { chance };
            match play(&plan, |_| {}) {
                Err(failure) if failure.violation.property == self.property => {
                    self.best = Story { plan, failure };
                    self.cut();
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// What comes after the failure is no part of the story.
    fn cut(&mut self) {
        let Story { plan, failure } = &mut self.best;
        plan.acts.retain(|act| act.at <= failure.at);
        plan.end = failure.at;
    }

    fn drop_nodes(&mut self) {
        for index in 0..self.best.plan.nodes.len() {
            let mut plan = self.best.plan.clone();
            if std::mem::take(&mut plan.nodes[index].takes_part) && plan.nodes.iter().any(|spec| spec.takes_part) {
                self.try_out(plan);
            }
        }
    }

    fn drop_acts(&mut self) {
        let mut size = self.best.plan.acts.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.best.plan.acts.len() {
                let mut plan = self.best.plan.clone();
                let end = (at + size).min(plan.acts.len());
                plan.acts.drain(at..end);
                if !self.try_out(plan) {
                    at += size;
                }
                if self.left == 0 {
                    return;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Lets what follows follow sooner.
    fn shorten_gaps(&mut self) {
        let mut index = 0;
        while index < self.best.plan.acts.len() {
            let acts = &self.best.plan.acts;
            let before = if index == 0 { Duration::ZERO } else { acts[index - 1].at };
            let gap = acts[index].at - before;
            for less in [gap, gap / 2, gap / 4] {
                let whole = Duration::from_millis(less.as_millis() as u64);
                let mut plan = self.best.plan.clone();
                plan.acts[index..].iter_mut().for_each(|act| act.at -= whole);
                if gap > Duration::from_millis(100) && self.try_out(plan) {
                    break;
                }
            }
            index += 1;
        }
    }

    /// Usual clocks and ranks.
    fn simplify(&mut self) {
        let simpler: [fn(&mut Plan); 2] = [
            |plan| {
                plan.setting.hub_clock = 1.0;
                plan.nodes.iter_mut().for_each(|spec| spec.clock = 1.0);
            },
            |plan| {
                for (rank, spec) in (1..).zip(plan.nodes.iter_mut()) {
                    *spec = Spec { rank: Rank::from(rank), ..spec.clone() };
                }
            },
        ];
        for simpler in simpler {
            let mut plan = self.best.plan.clone();
            simpler(&mut plan);
            self.try_out(plan);
        }
    }
}
