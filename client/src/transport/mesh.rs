//! Direct TCP, everyone to everyone: lines of JSON.
