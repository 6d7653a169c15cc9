//! What `ringleader` can do: one file a command.

pub mod demo;
pub mod heartbeat;
pub mod job;
pub mod join;
mod list;
pub mod paxos;
pub mod ring;
mod terminal;
pub mod watch;
