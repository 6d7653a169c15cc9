//! Direct TCP, everyone to everyone: a connection a message.
