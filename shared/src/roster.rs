//! The members in ring order.
//!
//! Everybody sits on a numbered seat. Seats are given out in order and never
//! again, so a newcomer is always last, and "the next one after seat 7" has an
//! answer even when whoever sat there has left.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::id::ClientId;

/// A place in the ring's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(u64);

/// Who is in the ring, in the order in which they joined.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Roster {
    /// The inverse of `by_id`.
    by_seat: BTreeMap<Seat, ClientId>,
    by_id: BTreeMap<ClientId, Seat>,
    /// The next seat to give out; higher than any in use.
    free: u64,
}

impl Roster {
    /// Seats a newcomer last. Whoever is seated already keeps the seat.
    pub fn join(&mut self, id: ClientId) -> Seat {
        if let Some(&seat) = self.by_id.get(&id) {
            return seat;
        }
        let seat = Seat(self.free);
        self.free += 1;
        self.by_seat.insert(seat, id.clone());
        self.by_id.insert(id, seat);
        seat
    }

    /// Takes a member out; the seat it had.
    pub fn leave(&mut self, id: &ClientId) -> Option<Seat> {
        let seat = self.by_id.remove(id)?;
        self.by_seat.remove(&seat);
        Some(seat)
    }

    /// Where a member sits.
    pub fn seat(&self, id: &ClientId) -> Option<Seat> {
        self.by_id.get(id).copied()
    }

    /// Whether it is a member.
    pub fn contains(&self, id: &ClientId) -> bool {
        self.by_id.contains_key(id)
    }

    /// The first occupied seat after this one, and who sits there: the ring
    /// successor. After the last seat comes the first. `None` in an empty ring.
    pub fn after(&self, seat: Seat) -> Option<(Seat, &ClientId)> {
        let later = self.by_seat.range((Bound::Excluded(seat), Bound::Unbounded)).next();
        later.or_else(|| self.by_seat.first_key_value()).map(|(&seat, id)| (seat, id))
    }

    /// Members in ring order.
    pub fn iter(&self) -> impl Iterator<Item = &ClientId> {
        self.by_seat.values()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.by_seat.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.by_seat.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &str) -> (Roster, Vec<Seat>) {
        let mut roster = Roster::default();
        let seats = ids.chars().map(|id| roster.join(ClientId::new(id.to_string()).unwrap())).collect();
        (roster, seats)
    }

    #[test]
    fn the_successor_of_each_seat() {
        // ring, who left, after whose seat, expected
        let table = [
            ("abc", "", 0, Some("b")),
            ("abc", "", 2, Some("a")),
            ("abc", "b", 0, Some("c")),
            ("abc", "b", 1, Some("c")),
            ("abc", "c", 2, Some("a")),
            ("a", "", 0, Some("a")),
            ("a", "a", 0, None),
        ];
        for (ids, left, seat, expected) in table {
            let (mut roster, seats) = ring(ids);
            for id in left.chars() {
                roster.leave(&ClientId::new(id.to_string()).unwrap());
            }
            let got = roster.after(seats[seat]).map(|(_, id)| id.as_str());
            assert_eq!(got, expected, "ring {ids} without {left:?}, after seat {seat}");
        }
    }

    #[test]
    fn whoever_returns_is_last() {
        let (mut roster, _) = ring("abc");
        let a = ClientId::new("a").unwrap();
        roster.leave(&a);
        roster.join(a);
        assert_eq!(roster.iter().map(ClientId::as_str).collect::<String>(), "bca");
        assert_eq!(roster.len(), 3);
    }
}
