//! The third driver. It runs the machines of `shared`, a hub and its clients,
//! with virtual time for the clock, a queue for the network and a seed for chance:
//! the same seed gives the same trace, byte for byte.
//!
//! Start with a story in `scenarios/`, then with [`scenario`].
//!
//! - [`scenario`]: reads scenario files, runs them, compares traces.
//! - [`world`]: the hub, the nodes and the connections between them.
//! - [`agenda`]: the queue: what is due when.
//! - [`member`]: what runs on a node: our client, or a classic one.
//! - [`classic`]: a stand-in for the clients of the older system.
//! - [`trace`]: what happened, and how it prints.
//! - [`property`]: what has to hold in every run, seen by an onlooker.

pub mod agenda;
pub mod classic;
pub mod member;
pub mod property;
pub mod scenario;
pub mod trace;
pub mod world;
