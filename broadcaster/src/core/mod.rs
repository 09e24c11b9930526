//! Decisions without I/O: who gets a segment, how long it may take, who is shut out, how much can be checked, what the
//! playlists say.
//!
//! Everything here takes the time and the randomness as arguments, so that a simulation can drive it.

pub mod codecs;
pub mod freshness;
pub mod governor;
pub mod offers;
pub mod plan;
pub mod playlist;
pub mod prospect;
pub mod scoreboard;
pub mod select;
