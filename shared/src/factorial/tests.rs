//! What the machines of this room do, one input at a time.
