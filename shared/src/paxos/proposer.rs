//! A proposer: its clients, and how far its attempt has come.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Ballot, ClientId, NodeId, Value, Vote};

/// At most how many clients may wait at one node.
pub const MAX_CLIENTS: usize = 64;

/// A proposer at work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Proposer {
    /// Who waits for an outcome, and what they want. The first is proposed.
    pub clients: BTreeMap<ClientId, Value>,
    /// How far it is.
    pub phase: Phase,
    /// How often it was refused since it was last heard, up to [`MOST_REFUSALS`]: the
    /// more often, the longer it stands back.
    pub refusals: u8,
}

/// From here on standing back does not grow.
pub const MOST_REFUSALS: u8 = 6;

/// How far an attempt has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing to do, or standing back until the retry timer.
    #[default]
    Idle,
    /// Phase 1: waits for promises.
    Preparing {
        /// The attempt.
        ballot: Ballot,
        /// Who has promised.
        promised: BTreeSet<NodeId>,
        /// The highest vote that they told of.
        highest: Option<Vote>,
    },
    /// Phase 2: waits for votes.
    Accepting(Vote),
}

impl Phase {
    /// The attempt that is under way.
    pub fn ballot(&self) -> Option<Ballot> {
        match self {
            Phase::Idle => None,
            Phase::Preparing { ballot, .. } => Some(*ballot),
            Phase::Accepting(vote) => Some(vote.ballot),
        }
    }
}

impl Proposer {
    /// Takes in a promise; once a quorum has promised, returns the vote to ask for, and
    /// is in phase 2. Without a client left there may be nothing to ask for.
    pub fn count(
        &mut self,
        acceptor: NodeId,
        ballot: Ballot,
        accepted: Option<Vote>,
        quorum: usize,
        highest_wins: bool,
    ) -> Option<Vote> {
        let Phase::Preparing { ballot: current, promised, highest } = &mut self.phase else { return None };
        if *current != ballot {
            return None;
        }
        promised.insert(acceptor);
        if accepted.as_ref().map(|vote| vote.ballot) > highest.as_ref().map(|vote| vote.ballot) {
            *highest = accepted;
        }
        if promised.len() < quorum {
            return None;
        }
        let wanted = self.clients.values().next().cloned();
        let told = highest.take().map(|vote| vote.value);
        let value = if highest_wins { told.or(wanted) } else { wanted.or(told) };
        let vote = value.map(|value| Vote { ballot, value });
        self.phase = vote.clone().map_or(Phase::Idle, Phase::Accepting);
        vote
    }
}
