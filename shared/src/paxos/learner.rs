//! A learner: counts votes.

use std::collections::BTreeMap;

use super::message::{NodeId, Value, Vote};

/// What a node knows of what was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Learner {
    /// Nothing; it has heard these votes, the newest of each acceptor.
    Counting(BTreeMap<NodeId, Vote>),
    /// This was chosen.
    Knows(Value),
}

impl Default for Learner {
    fn default() -> Self {
        Learner::Counting(BTreeMap::new())
    }
}

impl Learner {
    /// What was chosen, if it knows.
    pub fn chosen(&self) -> Option<&Value> {
        match self {
            Learner::Counting(_) => None,
            Learner::Knows(value) => Some(value),
        }
    }

    /// Takes in an acceptor's vote; tells what is chosen by it, if anything. A vote
    /// counts for its own ballot alone, unless `one_ballot` is false: two votes in
    /// different ballots are no quorum, even for the same value.
    pub fn count(&mut self, acceptor: NodeId, vote: Vote, quorum: usize, one_ballot: bool) -> Option<Value> {
        let Learner::Counting(votes) = self else { return None };
        // An acceptor's ballots only rise: a lower one is an answer that was overtaken.
        if votes.get(&acceptor).is_none_or(|newest| newest.ballot < vote.ballot) {
            votes.insert(acceptor, vote.clone());
        }
        let agree = votes.values().filter(|other| other.ballot == vote.ballot || !one_ballot).count();
        (agree >= quorum).then_some(vote.value)
    }

    /// Whether it has heard votes, and knows of nothing that was chosen by them.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Learner::Counting(votes) if !votes.is_empty())
    }

    /// Whether that acceptor's newest vote is this one.
    pub fn has(&self, acceptor: NodeId, vote: &Vote) -> bool {
        matches!(self, Learner::Counting(votes) if votes.get(&acceptor) == Some(vote))
    }
}
