//! What must hold of Ringleader whatever bytes come in. Each module is one fuzz target:
//! a function of bytes that panics where something does not hold. `fuzz_targets/` hands
//! them to libFuzzer, `tests/corpus.rs` runs them over the corpus.
//!
//! - [`decode`]: bytes as a frame.
//! - [`relay`]: bytes as a story of a ring, told to the hub's relay and to clients.
//! - [`client`]: bytes as a story of one client and a hub that says anything.
//! - [`handshake`]: bytes to a hub's port.
//!
//! A story is text: a step a line, a letter a word, and every byte means something. So
//! an input that was found can be read, and written by hand.
//!
//! - [`node`]: a client in a story, with what must hold of it; [`judge`]: what must hold
//!   of a relay.

pub mod client;
pub mod decode;
pub mod handshake;
pub mod judge;
pub mod node;
pub mod relay;
pub mod story;
