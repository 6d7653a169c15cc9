//! A machine's timers on tokio's clock, with delays from a seeded generator.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

/// Named timers; setting one that runs replaces it.
#[derive(Debug)]
pub struct Timers<T> {
    due: BTreeMap<T, Instant>,
    rng: StdRng,
}

impl<T: Ord + Clone> Default for Timers<T> {
    fn default() -> Self {
        Timers::new()
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// None runs.
    pub fn new() -> Self {
        Timers { due: BTreeMap::new(), rng: StdRng::from_rng(&mut rand::rng()) }
    }

    /// Starts one, or starts it anew; the delay is drawn from the range.
    pub fn set(&mut self, timer: T, after: Range<Duration>) {
        let delay = if after.is_empty() { after.start } else { self.rng.random_range(after) };
        self.due.insert(timer, Instant::now() + delay);
    }

    /// Stops one, if it runs.
    pub fn cancel(&mut self, timer: &T) {
        self.due.remove(timer);
    }

    /// When a timer runs out, if it runs.
    pub fn due(&self, timer: &T) -> Option<Instant> {
        self.due.get(timer).copied()
    }

    /// The next timer to run out; never, while there is none. Can be dropped and
    /// called again without losing one.
    pub async fn next(&mut self) -> T {
        let Some((timer, &due)) = self.due.iter().min_by_key(|(_, due)| **due) else {
            return std::future::pending().await;
        };
        let timer = timer.clone();
        sleep_until(due).await;
        self.due.remove(&timer);
        timer
    }
}
