//! The third driver. It runs the machines of `shared`, a hub and its clients,
//! with virtual time for the clock, a queue for the network and a seed for chance:
//! the same seed gives the same trace, byte for byte.
//!
//! Start with a story in `scenarios/`, then with [`scenario`].
//!
//! - [`mesh`]: the algorithms without a hub, and the ways to run them.
//! - [`scenario`]: reads scenario files, runs them, compares traces.
//! - [`world`]: the hub, the nodes and the connections between them.
//! - [`algorithm`]: what nodes can run.
//! - [`agenda`]: the queue: what is due when.
//! - [`member`]: what runs on a node: our client, a classic one, or a liar.
//! - [`classic`]: a stand-in for the clients of the older system.
//! - [`liar`]: a member that lies.
//! - [`trace`]: what happened, and how it prints.
//! - [`property`]: what has to hold in every run, seen by an onlooker.
//! - [`plan`]: what is going to befall a ring, drawn from a seed.
//! - [`run`]: plays a plan, and sees whether the properties hold.
//! - [`plant`]: rules that are broken on purpose.
//! - [`seeds`]: plays many plans at once, and sums up.
//! - [`work`]: the work that a leader shares out.
//! - [`shrink`]: finds the shortest story of a plan that breaks a property.

pub mod agenda;
pub mod algorithm;
pub mod classic;
pub mod liar;
pub mod member;
mod memo;
pub mod mesh;
pub mod model;
pub mod plan;
pub mod plant;
pub mod property;
pub mod run;
pub mod scenario;
pub mod seeds;
pub mod shrink;
pub mod trace;
pub mod work;
pub mod world;
