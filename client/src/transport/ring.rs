//! Direct TCP round a ring: accept the predecessor, dial the successor.
