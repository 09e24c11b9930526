//! Lists what those who embed a crate may rely on, and tells which changes of it break their programs.
//!
//! A listing has one item a line, made by [`listing::read`] from the JSON that rustdoc writes. [`compare::compare`] holds two of them against each
//! other, [`release::judge`] the difference to the last release against version and changelog, and [`project::Project`] does all of it with files.

pub mod compare;
mod error;
pub mod listing;
pub mod project;
pub mod release;

pub use error::ApiError;
