//! The orchestrator over real connections: real quotes, real transcoders, real tickets; the chain is in memory where it is not the subject.

mod chain;
mod duties;
mod hostile;
mod lifecycle;
mod money;
mod quality;
mod rescue;
mod segments;
mod support;
