//! End-to-end, chaos, interop and load tests across all crates.
