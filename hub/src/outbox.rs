//! What waits to be written to one connection. The ring's task puts in and never
//! waits; the connection's task takes everything out at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A bounded queue of frames.
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    most_bytes: usize,
}

#[derive(Default)]
struct Queue {
    frames: Vec<Utf8Bytes>,
    bytes: usize,
    /// The size of the largest of them.
    largest: usize,
    overflowed: bool,
}

/// More was waiting than the connection's reader took.
#[derive(Debug, PartialEq, Eq)]
pub struct TooSlow;

impl Outbox {
    pub fn new(most_bytes: usize) -> Self {
        Outbox { queue: Mutex::default(), filled: Notify::new(), most_bytes }
    }

    /// Adds a frame. Where too much would wait, the queue is thrown away and the
    /// connection's task learns that it is too slow. One frame is not counted,
    /// however large: in a big ring a welcome alone is more than the limit.
    pub fn push(&self, frame: Utf8Bytes) {
        let mut queue = self.lock();
        if queue.overflowed {
            return;
        }
        let bytes = queue.bytes + frame.len();
        let largest = queue.largest.max(frame.len());
        if bytes - largest > self.most_bytes {
            *queue = Queue { overflowed: true, ..Queue::default() };
        } else {
            queue.frames.push(frame);
            (queue.bytes, queue.largest) = (bytes, largest);
        }
        drop(queue);
        self.filled.notify_one();
    }

    /// Waits until something is there, and takes all of it.
    pub async fn take(&self) -> Result<Vec<Utf8Bytes>, TooSlow> {
        loop {
            {
                let mut queue = self.lock();
                if queue.overflowed {
                    return Err(TooSlow);
                }
                if !queue.frames.is_empty() {
                    return Ok(std::mem::take(&mut *queue).frames);
                }
            }
            self.filled.notified().await;
        }
    }

    /// A queue is whole between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everything_that_waits_is_taken_at_once() {
        let outbox = Outbox::new(10);
        outbox.push("one".into());
        outbox.push("two".into());
        assert_eq!(outbox.take().await, Ok(vec!["one".into(), "two".into()]));
        let waiting = tokio::spawn(async move { outbox.take().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "nothing to take");
    }

    #[test]
    fn never_more_than_the_bound_waits() {
        let outbox = Outbox::new(1_000);
        for push in 0..100_000 {
            // All sizes up to a fifth of the bound, in an order that does not repeat soon.
            outbox.push("x".repeat(push * 7_919 % 200).into());
            let queue = outbox.lock();
            let bytes: usize = queue.frames.iter().map(|frame| frame.len()).sum();
            let largest = queue.frames.iter().map(|frame| frame.len()).max().unwrap_or(0);
            assert_eq!((queue.bytes, queue.largest), (bytes, largest), "after {push}");
            assert!(bytes - largest <= 1_000, "{bytes} bytes wait after {push}");
            let overflowed = queue.overflowed;
            drop(queue);
            if overflowed {
                assert_eq!(bytes, 0, "what nobody takes is not kept");
                *outbox.lock() = Queue::default();
            }
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_too_slow() {
        let outbox = Outbox::new(10);
        outbox.push("x".repeat(1_000_000).into());
        outbox.push("x".repeat(10).into());
        assert_eq!(outbox.take().await.map(|frames| frames.len()), Ok(2), "one frame fits, however large");
        for _ in 0..12 {
            outbox.push("x".into());
        }
        assert_eq!(outbox.take().await, Err(TooSlow));
        outbox.push("x".into());
        assert_eq!(outbox.take().await, Err(TooSlow), "it stays so");
    }
}
