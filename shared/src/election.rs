//! How the members of a ring elect: one file an algorithm, each a
//! [`Machine`](crate::machine::Machine).
//!
//! - [`eligible_array`]: the ring election of the hub's clients.

pub mod eligible_array;
