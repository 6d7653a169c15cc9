//! How frames travel. A transport carries; when a link dies it says so, and what
//! to do about it is decided elsewhere.

pub mod heartbeat;
pub(crate) mod http;
pub mod hub;
pub mod mesh;
mod papers;
pub mod ring;
mod stream;
mod tls;
mod url;
