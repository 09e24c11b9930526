//! The NVIDIA engine on the simulated driver of `gpu/simulator`: the engine, its processes and FFmpeg's GPU code are the real ones,
//! the card is not. What passes here is the control path, not speed or picture quality.

mod beside;
mod command;
mod faults;
mod ladder;
mod rig;
mod sessions;
