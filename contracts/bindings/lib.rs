//! The on-chain contracts in Solidity, and the crate that binds, deploys and talks to them.
