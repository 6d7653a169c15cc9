//! Who is what: roles go by position.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::message::NodeId;

/// At most how many nodes take part in one run: what goes round the ring, and what
/// starts the run, has to fit into a line.
pub const MAX_NODES: u16 = 100;

/// What a node is, for a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Proposes what its clients want.
    Proposer,
    /// Promises and votes. A majority of these decides.
    Acceptor,
    /// Counts the votes and tells what was chosen.
    Learner,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Role::Proposer => "proposer",
            Role::Acceptor => "acceptor",
            Role::Learner => "learner",
        })
    }
}

/// How many of each role. The first nodes are the proposers, the next the acceptors,
/// the last the learners; so the last node, whom the ring elects, is a learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Roles {
    proposers: u16,
    acceptors: u16,
    learners: u16,
}

impl Roles {
    /// So many of each; `None` unless there is one of each at least, and
    /// [`MAX_NODES`] in all at most.
    pub fn new(proposers: u16, acceptors: u16, learners: u16) -> Option<Roles> {
        let roles = Roles { proposers, acceptors, learners };
        let all = u32::from(proposers) + u32::from(acceptors) + u32::from(learners);
        let fits = proposers > 0 && acceptors > 0 && learners > 0 && all <= u32::from(MAX_NODES);
        fits.then_some(roles)
    }

    /// How many nodes there are.
    pub fn count(self) -> u16 {
        self.proposers + self.acceptors + self.learners
    }

    /// What that node is; `None` if there is no such node.
    pub fn of(self, node: NodeId) -> Option<Role> {
        let is_in = |range: Range<u16>| range.contains(&node.0);
        match node {
            _ if is_in(self.range(Role::Proposer)) => Some(Role::Proposer),
            _ if is_in(self.range(Role::Acceptor)) => Some(Role::Acceptor),
            _ if is_in(self.range(Role::Learner)) => Some(Role::Learner),
            _ => None,
        }
    }

    /// The nodes of a role, in order.
    pub fn with(self, role: Role) -> impl Iterator<Item = NodeId> {
        self.range(role).map(NodeId)
    }

    /// All nodes, in the order of the ring.
    pub fn all(self) -> impl DoubleEndedIterator<Item = NodeId> {
        (0..self.count()).map(NodeId)
    }

    /// Who comes after that node on the ring.
    pub fn successor(self, node: NodeId) -> NodeId {
        NodeId((node.0 + 1) % self.count())
    }

    /// More than half of the acceptors.
    pub fn majority(self) -> usize {
        usize::from(self.acceptors) / 2 + 1
    }

    fn range(self, role: Role) -> Range<u16> {
        let voters = self.proposers + self.acceptors;
        match role {
            Role::Proposer => 0..self.proposers,
            Role::Acceptor => self.proposers..voters,
            Role::Learner => voters..self.count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_go_by_position_and_the_last_node_learns() {
        let roles = Roles::new(2, 3, 1).unwrap();
        let all: Vec<_> = roles.all().map(|node| roles.of(node).unwrap()).collect();
        use Role::*;
        assert_eq!(all, [Proposer, Proposer, Acceptor, Acceptor, Acceptor, Learner]);
        assert_eq!(roles.of(NodeId(6)), None);
        assert_eq!(roles.with(Acceptor).collect::<Vec<_>>(), [NodeId(2), NodeId(3), NodeId(4)]);
        assert_eq!(roles.successor(NodeId(5)), NodeId(0));
    }

    #[test]
    fn any_two_majorities_share_an_acceptor() {
        for (acceptors, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let roles = Roles::new(1, acceptors, 1).unwrap();
            assert_eq!(roles.majority(), majority);
            assert!(2 * majority > usize::from(acceptors));
        }
    }

    #[test]
    fn each_role_has_somebody_and_all_of_them_fit_into_a_line() {
        assert_eq!(Roles::new(0, 3, 1), None);
        assert_eq!(Roles::new(1, 0, 1), None);
        assert_eq!(Roles::new(1, 3, 0), None);
        assert!(Roles::new(49, 50, 1).is_some());
        assert_eq!(Roles::new(50, 50, 1), None);
        assert_eq!(Roles::new(u16::MAX, u16::MAX, u16::MAX), None);
    }
}
