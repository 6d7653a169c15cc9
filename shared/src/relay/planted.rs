//! What the relay does where a [`Rule`](crate::rule::Rule) is broken on purpose and
//! leaving out a condition is not enough. No hub gets here.

use std::sync::Arc;

use super::token::Token;
use super::{Effects, Leader, Relay, text};
use crate::id::{Candidate, ClientId};
use crate::message::NewLeader;
use crate::wire::{self, Frame, RawRanks};

impl Relay {
    /// [`LateFramesAbsorbed`](crate::rule::Rule::LateFramesAbsorbed): takes an array
    /// out of anybody's hands for the one that moves.
    pub(super) fn on_late(&mut self, entries: Vec<Candidate>, out: &mut Effects) {
        let Some(open) = self.election.as_mut().filter(|open| !open.home) else { return };
        let best = entries.iter().map(|entry| entry.rank).max();
        open.top = entries.into_iter().filter(|entry| Some(entry.rank) == best).collect();
        let token = Token::Election(open.term);
        self.hand_on(&token, out);
    }

    /// [`AnnouncementForOpenElection`](crate::rule::Rule::AnnouncementForOpenElection):
    /// accepts any member, of any term, from anybody.
    pub(super) fn accept_anyhow(&self, from: &ClientId, said: &NewLeader) -> Result<Leader, String> {
        let Some(member) = self.member(&said.leader_id) else {
            return Err("data.leaderId has left the ring".into());
        };
        let term = said.term.unwrap_or(self.last_term).min(self.last_term);
        let (id, name) = (member.client_id.clone(), member.name.clone());
        Ok(Leader { id, name, term, announcer: from.clone(), act_after: self.act_after() })
    }
}

/// [`SenderIsKept`](crate::rule::Rule::SenderIsKept): whoever hands it on becomes its sender.
pub(super) fn restamped(frame: &str, hand: &ClientId) -> Arc<str> {
    let decoded: Result<Frame<RawRanks>, _> = wire::decode(frame);
    match decoded {
        Ok(Frame { client_id, body, .. }) => text(Some(hand.clone()), client_id, body),
        Err(_) => frame.into(),
    }
}
