//! How fast one connection may speak.
//!
//! Whoever says more is read more slowly, and not cut: its bytes wait on its side of
//! the connection. A member that wakes up with a backlog has done nothing wrong.

use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::sleep;

/// Lets one message through at a time.
pub struct Pace {
    limiter: DefaultDirectRateLimiter,
    /// The next message has been let through, and is yet to come.
    granted: bool,
}

impl Pace {
    /// So many messages a second, and twice as many at once after a silence.
    pub fn new(a_second: NonZeroU32) -> Self {
        let quota = Quota::per_second(a_second).allow_burst(a_second.saturating_mul(TWO));
        Pace { limiter: RateLimiter::direct(quota), granted: false }
    }

    /// Waits until the next message may be read. Can be dropped and called again.
    pub async fn grant(&mut self) {
        while !self.granted {
            match self.limiter.check() {
                Ok(()) => self.granted = true,
                // Boxed, because it is rare and every connection would have room for it.
                Err(early) => Box::pin(sleep(early.wait_time_from(DefaultClock::default().now()))).await,
            }
        }
    }

    /// A message was read.
    pub fn spend(&mut self) {
        self.granted = false;
    }
}

const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use tokio::time::timeout;

    async fn say(pace: &mut Pace, messages: usize) {
        for _ in 0..messages {
            pace.grant().await;
            pace.spend();
        }
    }

    #[tokio::test]
    async fn a_burst_goes_through_and_what_follows_is_slowed() {
        let mut pace = Pace::new(NonZeroU32::new(100).unwrap());
        let begin = Instant::now();
        say(&mut pace, 200).await;
        // No more than ten seconds' worth in the time since, however slow this machine is.
        let burst = begin.elapsed();
        say(&mut pace, 50).await;
        let lasted = begin.elapsed();
        assert!(lasted >= Duration::from_millis(480), "250 messages at 100 a second after 200 at once: {lasted:?}");
        assert!(burst < lasted / 2, "200 of them at once: {burst:?} of {lasted:?}");
    }

    #[tokio::test]
    async fn a_message_that_was_let_through_and_has_not_come_counts_once() {
        let mut pace = Pace::new(NonZeroU32::new(1).unwrap());
        for _ in 0..100 {
            pace.grant().await;
        }
        say(&mut pace, 2).await;
        assert!(timeout(Duration::from_millis(50), pace.grant()).await.is_err(), "two were all");
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Pace>() <= 96, "{} bytes for each connection", size_of::<Pace>());
    }
}
