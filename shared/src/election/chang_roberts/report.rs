//! What a node tells: to its log, to onlookers, to the program around it.

use std::cmp::Ordering;

use uuid::Uuid;

use super::{Message, Neighbour};
use crate::id::Term;

/// Why somebody else must have our UUID. Each of these cannot be where all differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Duplicate {
    /// It came, after a greater one had passed us: that one's node lets ours not pass.
    PastAGreater,
    /// It came home a second time.
    SecondHome,
    /// A greater one came, after ours was home: its node would not have let ours pass.
    GreaterAfterHome,
    /// Somebody announced it, and it was not us.
    NotOurAnnouncement,
    /// Somebody else announced itself, while we lead.
    AnotherLeader,
}

/// What a node tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Report {
    /// A message came.
    Received {
        /// As it came.
        message: Message,
        /// Its UUID beside ours: `Greater` is greater than ours.
        compared: Ordering,
        /// The leader that was known before it came.
        leader: Option<Uuid>,
    },
    /// The message just received changes nothing.
    Ignored(Message),
    /// A message was given to the network.
    Sent {
        /// For whom.
        to: Neighbour,
        /// As it goes.
        message: Message,
    },
    /// The leader is known. With repair a newer term may bring another.
    Decided(Uuid),
    /// Somebody else has our UUID. What shows it is ignored.
    Duplicate(Duplicate),
    /// The successor is lost and no leader known yet.
    SuccessorLost(Neighbour),
    /// A dead successor was skipped.
    Skipped {
        /// Whom we go on to; nobody, if nobody is left.
        next: Option<Neighbour>,
        /// The term that we are in now.
        term: Term,
    },
    /// The ring is broken between us and that neighbour, and no leader known. The last report.
    Broken(Neighbour),
    /// Nothing is left to do: this one leads. The last report.
    Ended(Uuid),
}
