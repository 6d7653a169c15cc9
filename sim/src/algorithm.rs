//! What nodes can run.

use clap::ValueEnum;

/// An algorithm, by the name that the flags have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// The ring election of a hub's clients
    EligibleArray,
    /// Chang and Roberts, on a ring of direct connections
    ChangRoberts,
    /// The lowest id that is heard, without a ring
    LowestId,
    /// Basic Paxos
    Paxos,
    /// Work for the leader: factorials, shared out
    Factorial,
}
