//! The hub over real sockets: whole hubs on free ports, and peers that say to them,
//! byte by byte where need be, what a test wants said.
//!
//! Nothing here sleeps and hopes. A test waits for frames, or fences: what a
//! connection got before the answer to a fence is all that it got.
//!
//! - `relaying`: frames on their way round; `repair`: what is done when members on
//!   that way leave or stall; `classic_members`: those of the older system.
//! - `forged`: lies of members; `bad_input`: what is no frame; `greetings`: who may
//!   join, and with what.
//! - `spectators`, `connections`, `http`: what the names say.
//! - `limits`, `half_open`: what nobody may exceed; `secure`: tokens and TLS;
//!   `leases`: those, and what survives the hub; `program`: its flags and log.
//! - `jobs`: those, from being submitted to being done.

// Clippy's own exception for tests does not reach the helpers.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod classic_members;
mod connections;
mod forged;
mod greetings;
mod half_open;
mod http;
mod jobs;
mod leases;
mod limits;
mod program;
mod relaying;
mod repair;
mod secure;
mod spectators;
mod support;
