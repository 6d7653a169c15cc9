//! What is due when. Time stands still until the next thing is taken out.
//!
//! Nothing is taken out before its time. Whoever has no use for what was planned
//! forgets its [`Slot`], and passes over it when it comes: that is cheaper than
//! looking for it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A place in the order of things. What is due at the same time happens in the
/// order in which it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// When it is due, from the beginning.
    pub at: Duration,
    number: u64,
}

/// The clock and everything that is going to happen.
#[derive(Debug)]
pub struct Agenda<T> {
    /// Not after any slot in `queue`.
    now: Duration,
    queue: BinaryHeap<Entry<T>>,
    /// How many things were planned so far.
    planned: u64,
}

#[derive(Debug)]
struct Entry<T> {
    slot: Slot,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { now: Duration::ZERO, queue: BinaryHeap::new(), planned: 0 }
    }
}

impl<T> Agenda<T> {
    /// The time, from the beginning of the world.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Plans something; not for the past.
    pub fn plan(&mut self, at: Duration, what: T) -> Slot {
        assert!(at >= self.now, "nothing is planned for the past");
        let slot = Slot { at, number: self.planned };
        self.planned += 1;
        self.queue.push(Entry { slot, what });
        slot
    }

    /// When the next thing is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.peek().map(|entry| entry.slot.at)
    }

    /// Moves to the next thing and takes it out.
    pub fn pop(&mut self) -> Option<(Slot, T)> {
        let Entry { slot, what } = self.queue.pop()?;
        self.now = slot.at;
        Some((slot, what))
    }

    /// Lets time pass in which nothing is due.
    pub fn rest_until(&mut self, at: Duration) {
        assert!(self.next_due().is_none_or(|due| due > at), "nothing that is due is passed over");
        self.now = self.now.max(at);
    }

    /// Everything that is planned, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().map(|entry| &entry.what)
    }
}

/// The first is the greatest: such is a heap.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.slot.cmp(&self.slot)
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order() {
        let mut agenda = Agenda::default();
        let second = Duration::from_secs(1);
        agenda.plan(second * 2, "late");
        agenda.plan(second, "first");
        agenda.plan(second, "second");
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop().map(|(_, what)| (agenda.now(), what))).collect();
        assert_eq!(order, [(second, "first"), (second, "second"), (second * 2, "late")]);
    }
}
