//! Leading with a majority's votes, so that two cannot lead at one time.
//!
//! A vote is a lease. Who is asked by a heartbeat of the lowest id that it hears grants
//! it its vote for the timeout, anew with every heartbeat, and votes for nobody else
//! meanwhile. A candidate counts a vote for less long ([`Timing::vote`](super::Timing::vote)).
//! Two majorities of one list share a voter, which would have to be bound to both.
//! C. Gray and D. Cheriton, "Leases", SOSP 1989.
//!
//! Our vote for ourselves is not written down: while it is free and our id is the lowest, we
//! count it. We may take it back at any moment, as nobody else relies on it.

use std::collections::BTreeSet;

use super::{Effects, LowestId, Message, PeerId, Presence, Report, Rule, Timer, set};
use crate::machine::Effect;

/// Who votes for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Quorum {
    grant: Grant,
    /// Whose vote for us counts. Each has [`Timer::Vote`] running.
    votes: BTreeSet<PeerId>,
    /// Who has voted before, for whomever. Never counted without a vote.
    voters: BTreeSet<PeerId>,
    /// Who is online and hung up without an answer: counted while it is heard.
    /// No voters among them.
    mute: BTreeSet<PeerId>,
}

/// To whom our vote belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
enum Grant {
    /// To nobody: we may have granted it before we started. [`Timer::Grant`] runs.
    #[default]
    Withheld,
    /// It is free; ours, if our id is the lowest.
    Free,
    /// To another. [`Timer::Grant`] runs.
    To(PeerId),
}

impl Quorum {
    pub(super) fn on_offline(&mut self, peer: PeerId) {
        // Another program may come back in its place. Its vote runs out by itself.
        self.mute.remove(&peer);
    }
}

impl LowestId {
    pub(super) fn leader_by_vote(&self, quorum: &Quorum) -> Option<PeerId> {
        let lowest = self.lowest();
        match quorum.grant {
            Grant::Free if lowest == self.me && self.has_majority(quorum) => Some(lowest),
            // Cut off with the minority we know that it cannot lead.
            Grant::To(candidate) if candidate == lowest && self.is_majority(1 + self.online.len()) => Some(lowest),
            _ => None,
        }
    }

    fn has_majority(&self, quorum: &Quorum) -> bool {
        let counted = 1 + quorum.votes.len() + quorum.mute.len();
        self.is_majority(counted) || !self.keeps(Rule::Majority)
    }

    fn is_majority(&self, count: usize) -> bool {
        2 * count > 1 + self.others.len()
    }

    pub(super) fn withhold_vote(&mut self) -> Effects {
        let waits = self.keeps(Rule::RestartedGrantsLater);
        let Some(quorum) = &mut self.quorum else { return vec![] };
        quorum.grant = if waits { Grant::Withheld } else { Grant::Free };
        if waits { vec![set(Timer::Grant, self.options.timing.timeout)] } else { vec![] }
    }

    /// Answers a heartbeat. Its sender is told that it has our vote only when our vote
    /// is bound anew by this very heartbeat.
    pub(super) fn vote(&mut self, asker: PeerId) -> Effects {
        let (me, lowest, one_at_a_time) = (self.me, self.lowest(), self.keeps(Rule::OneGrantAtATime));
        let Some(quorum) = &mut self.quorum else { return vec![] };
        let is_free = match quorum.grant {
            Grant::Withheld => false,
            Grant::Free => true,
            Grant::To(candidate) => candidate == asker || !one_at_a_time,
        };
        let mut effects = vec![];
        if is_free && asker == lowest {
            quorum.grant = Grant::To(asker);
            effects.push(set(Timer::Grant, self.options.timing.timeout));
        }
        let vote = match quorum.grant {
            // One that is not the lowest any more is left to run out.
            Grant::To(candidate) => Some(candidate).filter(|&candidate| candidate == lowest),
            Grant::Free => Some(me).filter(|&me| me == lowest),
            Grant::Withheld => None,
        };
        effects.push(Effect::Send { to: asker, message: Message::Vote(vote) });
        effects
    }

    pub(super) fn on_grant_end(&mut self) -> Effects {
        let Some(quorum) = &mut self.quorum else { return vec![] };
        match std::mem::replace(&mut quorum.grant, Grant::Free) {
            // The timer of its silence runs out at the same time, and either may be first.
            Grant::To(candidate)
                if candidate == self.lowest() && self.online.get(&candidate) == Some(&Presence::Late) =>
            {
                self.give_up(candidate)
            }
            _ => vec![],
        }
    }

    pub(super) fn on_vote(&mut self, from: PeerId, candidate: Option<PeerId>) -> Effects {
        let lasts = match self.keeps(Rule::VoteEndsBeforeGrant) {
            true => self.options.timing.vote(),
            false => self.options.timing.timeout * 2,
        };
        let is_known = self.others.contains(&from);
        // Without a quorum nobody is asked for a vote.
        let Some(quorum) = self.quorum.as_mut().filter(|_| is_known) else { return vec![] };
        quorum.voters.insert(from);
        quorum.mute.remove(&from);
        if candidate == Some(self.me) {
            quorum.votes.insert(from);
            vec![set(Timer::Vote(from), lasts)]
        } else if quorum.votes.remove(&from) {
            vec![Effect::CancelTimer(Timer::Vote(from))]
        } else {
            vec![]
        }
    }

    pub(super) fn on_vote_end(&mut self, peer: PeerId) -> Effects {
        if let Some(quorum) = &mut self.quorum {
            quorum.votes.remove(&peer);
        }
        vec![]
    }

    pub(super) fn on_unanswered(&mut self, peer: PeerId) -> Effects {
        let is_online = self.online.contains_key(&peer);
        let Some(quorum) = self.quorum.as_mut().filter(|_| is_online) else { return vec![] };
        // Who has voted once was killed or busy this time: nothing is known of its vote.
        if quorum.voters.contains(&peer) || !quorum.mute.insert(peer) {
            return vec![];
        }
        vec![Effect::Report(Report::CannotVote(peer))]
    }

    pub(super) fn check_quorum(&self, quorum: &Quorum) {
        if let Grant::To(candidate) = &quorum.grant {
            assert!(self.others.contains(candidate), "a vote goes to another of the list");
            assert!(!self.leads(), "who leads has its own vote");
        }
        assert!(quorum.votes.is_subset(&quorum.voters), "who votes for us has voted");
        assert!(quorum.mute.is_disjoint(&quorum.voters), "who votes is counted by its votes");
        assert!(quorum.mute.iter().all(|peer| self.online.contains_key(peer)), "the mute are counted while heard");
        let leads_rightly = !self.leads() || self.has_majority(quorum);
        assert!(leads_rightly, "who leads has a majority");
        assert!(self.leader().is_none_or(|leader| leader == self.lowest()), "nobody but the lowest is named");
    }
}
