//! Judgements of real encodes: honest ones pass, tampered ones fail, hostile bytes are survived.

mod attacks;
mod clips;
mod commitment;
mod container;
mod damaged;
mod determinism;
mod documented;
mod evidence;
mod fragmented;
mod fuzzed;
mod headers;
mod honest;
mod hostile;
mod outside;
mod picture;
mod quality;
mod rewrite;
mod rewrite_mp4;
mod sound;
mod studio;
mod suite;
mod tamper;
mod twin;
mod vectors;
