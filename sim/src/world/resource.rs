//! Something outside that only the leader may write to. It keeps the newest term
//! that it was shown and refuses older ones: the fence of Kleppmann's "How to do
//! distributed locking" (2016), Chubby's sequencer (Burrows 2006, section 2.4).
//!
//! Who holds a lease writes when it gets it and now and then when it renews it. A
//! write can take its time: then it arrives when another leads.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::id::Term;

use super::{Due, World};
use crate::plant::Slip;
use crate::trace::What;

/// How long a write takes, as a rule, and when it is slow.
const PROMPT: Duration = Duration::from_millis(10);
const SLOW: Duration = Duration::from_secs(15);

/// What is written to.
#[derive(Debug)]
pub(super) struct Resource {
    newest: Term,
    /// Its own chance: who only looks on changes nothing.
    rng: StdRng,
}

impl Resource {
    pub fn new(seed: u64) -> Self {
        Resource { newest: Term::NONE, rng: StdRng::seed_from_u64(!seed) }
    }
}

impl World {
    pub(super) fn plan_write(&mut self, index: usize, term: Term) {
        if !self.setting.writes || !self.resource.rng.random_bool(0.2) {
            return;
        }
        let slow = self.resource.rng.random_bool(0.3);
        let takes = if slow { SLOW.mul_f64(self.resource.rng.random()) } else { PROMPT };
        self.agenda.plan(self.agenda.now() + takes, Due::Write(index, term));
    }

    pub(super) fn on_write(&mut self, index: usize, term: Term) {
        let admitted = term >= self.resource.newest || self.slips(Slip::FenceAdmitsOlder);
        self.resource.newest = self.resource.newest.max(term);
        let node = self.nodes[index].name.clone();
        self.report(What::Wrote { node, term, admitted });
    }
}
