//! The work that a leader shares out, on virtual time: a hub with its board, and members
//! that coordinate or multiply. Who leads is drawn by chance, not elected: any member at any
//! time, while older coordinators do not know yet and go on.
//!
//! - [`plan`]: the jobs, the members, and what befalls them, drawn from a seed;
//! - [`world`]: time, connections and who leads; [`hub`] and [`member`] are what runs in it;
//! - [`mill`]: multiplies, and knows factorials by another way;
//! - [`judge`]: what has to hold, seen by an onlooker;
//! - [`seeds`]: plays many plans, and finds the shortest story of one that goes wrong.

pub mod hub;
pub mod judge;
pub mod member;
pub mod mill;
pub mod plan;
pub mod seeds;
pub mod world;
