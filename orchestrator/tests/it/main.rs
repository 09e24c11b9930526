//! The orchestrator over real connections: real quotes, real transcoders, real tickets; the chain is in memory where it is not the subject.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod chain;
mod duties;
mod hostile;
mod idle;
mod lifecycle;
#[path = "../../../network/tests/it/proxy.rs"]
#[expect(dead_code, reason = "shared with the network's tests, which hold back what passes")]
mod meter;
mod money;
#[path = "../../../contracts/bindings/tests/it/proxy.rs"]
#[expect(dead_code, reason = "shared with the contracts' tests, which count what passes")]
mod proxy;
mod quality;
mod redemption;
mod rescue;
mod segments;
mod support;
mod wire;
