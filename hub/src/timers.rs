//! The relay's timers on tokio's clock.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use ringleader_shared::relay::Timer;
use tokio_util::time::{DelayQueue, delay_queue::Key};

/// Named timers; setting one that runs replaces it.
#[derive(Default)]
pub struct Timers {
    queue: DelayQueue<Timer>,
    keys: HashMap<Timer, Key>,
}

impl Timers {
    pub fn set(&mut self, timer: Timer, after: Duration) {
        match self.keys.get(&timer) {
            Some(key) => self.queue.reset(key, after),
            None => {
                let key = self.queue.insert(timer.clone(), after);
                self.keys.insert(timer, key);
            }
        }
    }

    pub fn cancel(&mut self, timer: &Timer) {
        if let Some(key) = self.keys.remove(timer) {
            self.queue.remove(&key);
        }
    }

    /// The next timer to run out; never, while there is none. Can be dropped and
    /// called again without losing one.
    pub async fn next(&mut self) -> Timer {
        match self.queue.next().await {
            Some(expired) => {
                let timer = expired.into_inner();
                self.keys.remove(&timer);
                timer
            }
            None => std::future::pending().await,
        }
    }
}
