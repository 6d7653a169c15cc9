//! The machine's timers on tokio's clock, with delays from a seeded generator.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringleader_shared::election::eligible_array::Timer;
use tokio::time::{Instant, sleep_until};

/// Named timers; setting one that runs replaces it.
pub struct Timers {
    due: BTreeMap<Timer, Instant>,
    rng: StdRng,
}

impl Timers {
    pub fn new() -> Self {
        Timers { due: BTreeMap::new(), rng: StdRng::from_rng(&mut rand::rng()) }
    }

    pub fn set(&mut self, timer: Timer, after: Range<Duration>) {
        let delay = if after.is_empty() { after.start } else { self.rng.random_range(after) };
        self.due.insert(timer, Instant::now() + delay);
    }

    pub fn cancel(&mut self, timer: Timer) {
        self.due.remove(&timer);
    }

    /// When a timer runs out, if it runs.
    pub fn due(&self, timer: Timer) -> Option<Instant> {
        self.due.get(&timer).copied()
    }

    /// The next timer to run out; never, while there is none. Can be dropped and
    /// called again without losing one.
    pub async fn next(&mut self) -> Timer {
        let Some((&timer, &due)) = self.due.iter().min_by_key(|(_, due)| **due) else {
            return std::future::pending().await;
        };
        sleep_until(due).await;
        self.due.remove(&timer);
        timer
    }
}
