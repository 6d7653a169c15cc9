//! S1 to S3: one leader a term, terms only rise, same term same leader.

use std::collections::BTreeMap;

use ringleader_shared::election::Belief;
use ringleader_shared::id::{ClientId, Name, Term};

use super::{Property, Violation};

/// What was announced, and what is believed.
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// Who was announced in which term of which history.
    announced: BTreeMap<(u32, Term), ClientId>,
    nodes: BTreeMap<Name, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The newest term that it has told of since its program began.
    newest: Term,
    /// In which history its connection was made.
    history: u32,
}

impl Terms {
    /// S1. At most one announcement a term is accepted.
    ///
    /// Raft calls it election safety (Ongaro and Ousterhout 2014, figure 3). Here
    /// the hub claims it: `shared/src/relay.rs`, "Holds".
    pub fn one_leader_a_term(&mut self, term: (u32, Term), leader: &ClientId) -> Result<(), Violation> {
        match self.announced.insert(term, leader.clone()) {
            None => Ok(()),
            Some(first) => {
                Violation::of(Property::S1, format!("{first} was announced in term {}, and then {leader}", term.1))
            }
        }
    }

    /// S2. A member's term never falls, also when it loses its connection and comes back.
    ///
    /// In Raft, the current term "increases monotonically" (section 5.1). Here the
    /// client claims it: `shared/src/election/eligible_array.rs`, "Holds".
    pub fn never_fall(&mut self, node: &Name, term: Term) -> Result<(), Violation> {
        let newest = &mut self.node(node).newest;
        let before = std::mem::replace(newest, term);
        if before > term {
            return Violation::of(Property::S2, format!("{node} went from {before} to {term}"));
        }
        Ok(())
    }

    /// S3. All who believe in a leader of a term believe in the one that was announced
    /// in it, and so in the same. Classic members, who count no terms, are left out.
    ///
    /// It follows from one leader a term if nobody takes up what was not accepted:
    /// `shared/src/election/eligible_array.rs`, "the announcer, too, adopts only
    /// when its own frame comes back".
    pub fn same_term_same_leader(&mut self, node: &Name, belief: &Belief) -> Result<(), Violation> {
        let Belief { leader: Some(leader), term, .. } = belief else { return Ok(()) };
        let history = self.history_of(node);
        let announced = self.announced.get(&(history, *term));
        if *term == Term::NONE || announced == Some(leader) {
            return Ok(());
        }
        let announced = announced.map_or_else(|| "nobody".to_owned(), ToString::to_string);
        Violation::of(Property::S3, format!("{node} believes in {leader} in term {term}, announced was {announced}"))
    }

    pub fn connects(&mut self, node: &Name, history: u32) {
        self.node(node).history = history;
    }

    /// In which history the connection of a node was made.
    pub fn history_of(&mut self, node: &Name) -> u32 {
        self.node(node).history
    }

    pub fn starts(&mut self, node: &Name) {
        self.nodes.remove(node);
    }

    fn node(&mut self, node: &Name) -> &mut Seen {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.clone(), Seen::default());
        }
        self.nodes.get_mut(node).expect("it was put there")
    }
}
