//! How many connections there may be, in all and from one address.
//!
//! A connection counts from the moment of being accepted to its end, whatever it is
//! or is not yet. One too many is told so in one write that waits for nobody, and
//! closed: it costs no task, no buffer and no TLS handshake.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Lets connections in.
pub struct Door {
    most: usize,
    most_of_one: usize,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// The sum of those below.
    all: usize,
    /// No entry is zero.
    of: HashMap<IpAddr, usize>,
    /// How many were refused since that was last told, and when that was.
    refused: usize,
    told: Option<Instant>,
}

/// A connection counts for as long as this lives.
pub struct Pass {
    door: Arc<Door>,
    /// Where it comes from.
    pub remote: SocketAddr,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Full {
    #[error("this hub has {0} connections and takes no more")]
    All(usize),
    #[error("this hub has {0} connections from your address and takes no more")]
    Address(usize),
}

/// A flood of refusals is told of once in this time.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Door {
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Door { most, most_of_one, counts: Mutex::default() })
    }

    /// Lets one more in from there, unless that is too many.
    pub fn enter(self: &Arc<Self>, remote: SocketAddr) -> Result<Pass, Full> {
        let address = network(remote.ip());
        let mut counts = self.counts();
        if counts.all >= self.most {
            return Err(Full::All(self.most));
        }
        if counts.of.get(&address).is_some_and(|count| *count >= self.most_of_one) {
            return Err(Full::Address(self.most_of_one));
        }
        counts.all += 1;
        *counts.of.entry(address).or_default() += 1;
        Ok(Pass { door: self.clone(), remote })
    }

    /// One was refused: how many were since this last said so, if it is time to.
    pub fn refused(&self) -> Option<usize> {
        let mut counts = self.counts();
        counts.refused += 1;
        if counts.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        counts.told = Some(Instant::now());
        Some(std::mem::take(&mut counts.refused))
    }

    /// The counts agree between any two statements that could panic.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let address = network(self.remote.ip());
        let mut counts = self.door.counts();
        counts.all -= 1;
        if let Some(count) = counts.of.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.of.remove(&address);
            }
        }
    }
}

/// Who has one IPv6 address has, as a rule, all 2^64 of that network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64))),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_counted_by_whom_they_belong_to() {
        let same = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ];
        for (one, other, expected) in same {
            assert_eq!(network(address(one)) == network(address(other)), expected, "{one} and {other}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_whoever_leaves_makes_room() {
        let door = Door::new(3, 2);
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(|text| SocketAddr::new(address(text), 7));
        let first = door.enter(a).ok();
        let second = door.enter(a).ok();
        assert_eq!(door.enter(a).err(), Some(Full::Address(2)));
        let third = door.enter(b).ok();
        assert_eq!(door.enter(b).err(), Some(Full::All(3)));
        drop(first);
        let fourth = door.enter(a).ok();
        assert!(second.is_some() && third.is_some() && fourth.is_some());
        assert_eq!(door.enter(b).err(), Some(Full::All(3)));
        drop((second, third, fourth));
        assert!(door.counts().of.is_empty() && door.counts().all == 0, "nothing is kept of those who are gone");
    }

    #[test]
    fn a_flood_of_refusals_is_told_of_in_few_words() {
        let door = Door::new(0, 0);
        assert_eq!(door.refused(), Some(1));
        assert_eq!([door.refused(), door.refused()], [None, None]);
        door.counts().told = Instant::now().checked_sub(TELL_EVERY);
        assert_eq!(door.refused(), Some(3));
    }
}
