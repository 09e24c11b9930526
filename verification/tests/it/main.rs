//! Judgements of real encodes: honest ones pass, tampered ones fail, hostile bytes are survived.

mod attacks;
mod clips;
mod container;
mod determinism;
mod headers;
mod honest;
mod hostile;
mod outside;
mod picture;
mod rewrite;
mod studio;
mod suite;
mod tamper;
