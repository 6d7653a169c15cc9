//! Leases: for how long a leader may act on what the hub last told it.
//!
//! A leader asks once a second and counts from when it asked; the hub counts from
//! when it granted, which is later. So when the hub's count is over, the leader's
//! is, as long as their clocks run at about the same rate. While a count runs, a
//! newer leader is told how long to wait ([`NewLeader::act_after_ms`]).
//!
//! The hub's count has no clock. It goes down by eighths, each of them a timer, so
//! what is left of a lease is known to within an eighth, rounded up.
//!
//! [`NewLeader::act_after_ms`]: crate::message::NewLeader::act_after_ms

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Effects, Relay, Timer, absorb, refuse, text};
use crate::id::{ClientId, Term};
use crate::machine::{Effect, exactly};
use crate::message::{Lease, RingMessage};
use crate::rule::Rule;
use crate::wire::{Body, ErrorCode};

const EIGHTHS: u8 = 8;

/// The leases that may still run, by the terms of their leaders: the leader's, and
/// those of deposed ones that nobody gave back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Leases {
    /// How many eighths are left; never 0.
    left: BTreeMap<Term, u8>,
}

impl Leases {
    /// How long the last of them may run, of a lease that long.
    fn longest(&self, lease: Duration) -> Duration {
        lease / u32::from(EIGHTHS) * self.left.values().copied().max().unwrap_or(0).into()
    }

    pub fn check(&self) {
        assert!(self.left.values().all(|left| (1..=EIGHTHS).contains(left)), "a lease that is over is forgotten");
    }
}

impl Relay {
    pub(super) fn on_lease(&mut self, from: &ClientId, asked: &Lease, out: &mut Effects) {
        let leads = match &self.leader {
            Some(leader) if leader.id == *from && asked.term < leader.term => {
                return absorb(from.clone(), "lease", "of a term before; its announcement is on the way", out);
            }
            Some(leader) => leader.id == *from && leader.term == asked.term,
            None => false,
        };
        let Some(lease) = self.config.lease.filter(|_| leads || !self.keeps(Rule::LeaseForLeaderOnly)) else {
            let message = format!("lease: you do not lead term {}", asked.term);
            return refuse(from, ErrorCode::NotLeader, message, Some("lease".into()), out);
        };
        self.begin_lease(asked.term, out);
        let granted = Lease { term: asked.term, lease_ms: Some(lease.as_millis() as u64) };
        let message: Arc<str> = text(None, None, Body::Ring(RingMessage::Lease(granted)));
        out.push(Effect::Send { to: from.clone(), message });
    }

    /// A lease of this term may run from now on, for its whole length.
    pub(super) fn begin_lease(&mut self, term: Term, out: &mut Effects) {
        let Some(lease) = self.config.lease else { return };
        self.leases.left.insert(term, EIGHTHS);
        if !self.saved.lease_out {
            self.saved.lease_out = true;
            self.save(out);
        }
        out.push(Effect::SetTimer { timer: Timer::Lease(term), after: exactly(lease / EIGHTHS.into()) });
    }

    pub(super) fn on_eighth(&mut self, term: Term, out: &mut Effects) {
        let (Some(lease), Some(left)) = (self.config.lease, self.leases.left.get_mut(&term)) else { return };
        *left -= 1;
        if *left == 0 {
            return self.end_lease(term, out);
        }
        out.push(Effect::SetTimer { timer: Timer::Lease(term), after: exactly(lease / EIGHTHS.into()) });
    }

    /// The leader of this term acts no more: it has resigned, or its side has closed
    /// the connection.
    pub(super) fn give_back(&mut self, term: Term, out: &mut Effects) {
        if self.leases.left.contains_key(&term) {
            out.push(Effect::CancelTimer(Timer::Lease(term)));
            self.end_lease(term, out);
        }
    }

    fn end_lease(&mut self, term: Term, out: &mut Effects) {
        self.leases.left.remove(&term);
        if !self.keeps(Rule::OwnLeaseGivenBack) {
            self.leases.left.clear();
        }
        if self.leases.left.is_empty() && self.saved.lease_out {
            self.saved.lease_out = false;
            self.save(out);
        }
    }

    /// How long a leader that is elected now has to wait, in milliseconds.
    pub(super) fn act_after(&self) -> Option<u64> {
        let wait = self.leases.longest(self.config.lease?);
        (!wait.is_zero() && self.keeps(Rule::OldLeasesRunOut)).then_some(wait.as_millis() as u64)
    }
}
