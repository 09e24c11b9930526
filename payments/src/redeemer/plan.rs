//! Decisions of the redeemer, without I/O.
