//! The `framemill` command.

fn main() {}
