//! Decisions without I/O: who is asked, who gets a segment, how long it may take, when a second copy goes out, who is shut out,
//! how much can be checked, what the playlists say.
//!
//! Everything here takes the time and the randomness as arguments, so that a simulation can drive it.

pub mod codecs;
pub mod files;
pub mod freshness;
pub mod governor;
pub mod hedge;
pub mod mp4;
pub mod offers;
pub mod pace;
pub mod panel;
pub mod parts;
pub mod plan;
pub mod playlist;
pub mod prospect;
pub mod record;
mod sample_entries;
pub mod scoreboard;
pub mod seam;
pub mod select;
pub mod spare;
