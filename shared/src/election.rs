//! How the members of a ring elect: one file an algorithm, each a
//! [`Machine`](crate::machine::Machine).
//!
//! - [`eligible_array`]: the ring election of the hub's clients.
//! - [`chang_roberts`]: the greatest id on a ring of direct connections.
//! - [`lowest_id`]: the lowest id of all that are heard, without a ring.
//!
//! What the hub's clients come to is a [`Belief`].

pub mod chang_roberts;
pub mod eligible_array;
pub mod lowest_id;

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, Term};

/// What a member believes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Belief {
    /// What it is itself.
    pub role: Role,
    /// Whom it holds for the leader.
    pub leader: Option<ClientId>,
    /// In which term; without a leader, the newest term that it knew a leader of.
    pub term: Term,
    /// Whether it may act as the leader: it leads, and holds a lease where the hub
    /// grants them.
    pub may_act: bool,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// No member of the ring.
    Disconnected,
    /// Knows no leader.
    Candidate,
    /// Follows one.
    Follower,
    /// Leads.
    Leader,
}
