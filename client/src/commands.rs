//! What `ringleader` can do: one file a command.

pub mod demo;
pub mod join;
mod terminal;
pub mod watch;
