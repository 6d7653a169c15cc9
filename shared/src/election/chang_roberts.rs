//! Chang and Roberts, 1979.
