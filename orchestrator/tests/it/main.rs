//! The orchestrator over real connections: real quotes, real transcoders, real tickets; only the chain is in memory.

mod hostile;
mod lifecycle;
mod money;
mod rescue;
mod segments;
mod support;
