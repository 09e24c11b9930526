//! The broadcaster against scripted orchestrators that speak the real protocol over loopback and transcode for real.

mod failover;
mod payment;
mod push;
mod support;
