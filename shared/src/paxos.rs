//! Basic Paxos.
