//! What has to hold in every run. A node cannot see these; an onlooker can, from
//! what the hub and the nodes tell.

use std::collections::BTreeMap;

use ringleader_shared::election::Belief;
use ringleader_shared::election::eligible_array::Report;
use ringleader_shared::id::{ClientId, Name, Term};
use ringleader_shared::relay;
use thiserror::Error;

use crate::trace::{Deed, Happening, What};

/// What the onlooker has seen.
#[derive(Debug, Default)]
pub struct Onlooker {
    /// Who was announced in which term.
    announced: BTreeMap<Term, ClientId>,
    /// The newest term that each node has told of since its program began.
    newest: BTreeMap<Name, Term>,
}

/// A property that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Against `one_leader_a_term`, below.
    #[error("one leader a term: {first} was announced in term {term}, and then {second}")]
    TwoAnnounced {
        /// The term.
        term: Term,
        /// Who was announced before.
        first: ClientId,
        /// Who was announced now.
        second: ClientId,
    },
    /// Against `terms_never_fall`, below.
    #[error("a member's term never falls: {node} went from {newest} to {fell_to}")]
    TermFell {
        /// Whose.
        node: Name,
        /// From where.
        newest: Term,
        /// To where.
        fell_to: Term,
    },
    /// Against `same_term_same_leader`, below.
    #[error("same term, same leader: {node} believes in {leader} in term {term}, announced was {announced:?}")]
    AnotherLeader {
        /// Who believes it.
        node: Name,
        /// Whom it believes in.
        leader: ClientId,
        /// In which term.
        term: Term,
        /// Who was announced in that term.
        announced: Option<ClientId>,
    },
}

impl Onlooker {
    /// Takes in what happened.
    ///
    /// # Errors
    ///
    /// A property does not hold any more.
    pub fn see(&mut self, happening: &Happening) -> Result<(), Violation> {
        match &happening.what {
            What::Hub(relay::Report::Elected { leader, term }) => self.one_leader_a_term(leader, *term),
            What::Node { node, report: Report::Believes(belief), .. } => {
                self.terms_never_fall(node, belief.term)?;
                self.same_term_same_leader(node, belief)
            }
            // A program that begins knows no term.
            What::Deed { node, deed: Deed::Starts } => {
                self.newest.remove(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// At most one announcement a term is accepted.
    ///
    /// Raft calls it election safety (Ongaro and Ousterhout 2014, figure 3). Here
    /// the hub claims it: `shared/src/relay.rs`, "Holds".
    fn one_leader_a_term(&mut self, leader: &ClientId, term: Term) -> Result<(), Violation> {
        match self.announced.insert(term, leader.clone()) {
            None => Ok(()),
            Some(first) => Err(Violation::TwoAnnounced { term, first, second: leader.clone() }),
        }
    }

    /// A member's term never falls, also when it loses its connection and comes back.
    ///
    /// In Raft, the current term "increases monotonically" (section 5.1). Here the
    /// client claims it: `shared/src/election/eligible_array.rs`, "Holds".
    fn terms_never_fall(&mut self, node: &Name, term: Term) -> Result<(), Violation> {
        match self.newest.insert(node.clone(), term) {
            Some(newest) if newest > term => Err(Violation::TermFell { node: node.clone(), newest, fell_to: term }),
            _ => Ok(()),
        }
    }

    /// All who believe in a leader of a term believe in the one that was announced
    /// in it, and so in the same. Classic members, who count no terms, are left out.
    ///
    /// It follows from one leader a term if nobody takes up what was not accepted:
    /// `shared/src/election/eligible_array.rs`, "the announcer, too, adopts only
    /// when its own frame comes back".
    fn same_term_same_leader(&self, node: &Name, belief: &Belief) -> Result<(), Violation> {
        let Belief { leader: Some(leader), term, .. } = belief else { return Ok(()) };
        let announced = self.announced.get(term);
        if *term == Term::NONE || announced == Some(leader) {
            return Ok(());
        }
        Err(Violation::AnotherLeader {
            node: node.clone(),
            leader: leader.clone(),
            term: *term,
            announced: announced.cloned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringleader_shared::election::Role;
    use std::time::Duration;

    fn elected(leader: &str, term: u64) -> What {
        let (leader, term) = (ClientId::new(leader).unwrap(), Term::new(term).unwrap());
        What::Hub(relay::Report::Elected { leader, term })
    }

    fn follows(node: &str, leader: &str, term: u64) -> What {
        let (leader, term) = (ClientId::new(leader).ok(), Term::new(term).unwrap());
        let report = Report::Believes(Belief { role: Role::Follower, leader, term, may_act: false });
        What::Node { node: Name::new(node).unwrap(), id: None, report }
    }

    fn starts(node: &str) -> What {
        What::Deed { node: Name::new(node).unwrap(), deed: Deed::Starts }
    }

    #[test]
    fn the_onlooker_sees_each_violation() {
        // what happens, and what the onlooker says to the last of it
        let table = [
            (vec![elected("c", 1), follows("a", "c", 1), elected("b", 2), follows("a", "b", 2)], ""),
            (vec![elected("c", 1), elected("b", 1)], "one leader a term"),
            (vec![elected("c", 1), elected("c", 1)], "one leader a term"),
            (vec![elected("c", 1), elected("b", 2), follows("a", "b", 2), follows("a", "c", 1)], "never falls"),
            (vec![elected("c", 1), elected("b", 2), follows("a", "b", 2), starts("a"), follows("a", "c", 1)], ""),
            (vec![elected("c", 1), follows("a", "b", 1)], "same term, same leader"),
            (vec![follows("a", "b", 1)], "same term, same leader"),
        ];
        for (story, expected) in table {
            let mut onlooker = Onlooker::default();
            let at = Duration::ZERO;
            let said: Vec<_> = story.iter().map(|what| onlooker.see(&Happening { at, what: what.clone() })).collect();
            let (last, before) = said.split_last().unwrap();
            assert!(before.iter().all(Result::is_ok), "{story:?}: {before:?}");
            let last = last.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert!(last.contains(expected) && last.is_empty() == expected.is_empty(), "{story:?}: {last:?}");
        }
    }
}
