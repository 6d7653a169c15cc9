//! The lowest id that is heard leads.
