//! The `framemill` binary: command line, configuration, HTTP, metrics, dashboard and the wiring of every role.

pub mod config;
