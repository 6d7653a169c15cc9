//! How frames travel. A transport carries; when a link dies it says so, and what
//! to do about it is decided elsewhere.

pub mod hub;
mod papers;
mod tls;
mod url;
