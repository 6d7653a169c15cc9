//! What is due when. Time stands still until the next thing is taken out.

use std::collections::BTreeMap;
use std::time::Duration;

/// A place in the order of things. What is due at the same time happens in the
/// order in which it was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    at: Duration,
    number: u64,
}

/// The clock and everything that is going to happen.
#[derive(Debug)]
pub struct Agenda<T> {
    /// Not after any slot in `queue`.
    now: Duration,
    queue: BTreeMap<Slot, T>,
    /// How many things were planned so far.
    planned: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda { now: Duration::ZERO, queue: BTreeMap::new(), planned: 0 }
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
        self.queue.insert(slot, what);
        slot
    }

    /// Takes something out again. What has happened already stays so.
    pub fn cancel(&mut self, slot: Slot) {
        self.queue.remove(&slot);
    }

    /// When the next thing is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|(slot, _)| slot.at)
    }

    /// Moves to the next thing and takes it out.
    pub fn pop(&mut self) -> Option<(Slot, T)> {
        let (slot, what) = self.queue.pop_first()?;
        self.now = slot.at;
        Some((slot, what))
    }

    /// Lets time pass in which nothing is due.
    pub fn rest_until(&mut self, at: Duration) {
        assert!(self.next_due().is_none_or(|due| due > at), "nothing that is due is passed over");
        self.now = self.now.max(at);
    }

    /// Everything that is planned, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_and_cancelled_ones_do_not() {
        let mut agenda = Agenda::default();
        let second = Duration::from_secs(1);
        agenda.plan(second * 2, "late");
        agenda.plan(second, "first");
        agenda.plan(second, "second");
        let cancelled = agenda.plan(second, "cancelled");
        agenda.cancel(cancelled);
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop().map(|(_, what)| (agenda.now(), what))).collect();
        assert_eq!(order, [(second, "first"), (second, "second"), (second * 2, "late")]);
    }
}
