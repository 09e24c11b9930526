//! What the simulation shows, as a table for `docs/economics.md`.

use std::fmt::Write;

use crate::market::{DEPOSIT, HONEST, RESERVE};

/// One adversary. Amounts are in prices of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) adversary: &'static str,
    pub(crate) does: String,
    /// Work it got for nothing, or money for no work.
    pub(crate) gained: u64,
    /// Work that the honest side did for nothing, or money it paid for nothing.
    pub(crate) lost: u64,
    /// What the loss cannot exceed, by the parameters.
    pub(crate) bound: u64,
    pub(crate) follows_from: String,
}

pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{HONEST} honest orchestrators, a deposit of {DEPOSIT} and a reserve of {RESERVE} prices of a segment behind each adversary; one ticket pays one segment and wins for sure, so that nothing hangs on luck. Amounts are prices of a segment.\n"
    );
    let _ = writeln!(text, "| adversary | does | gains | honest side loses | at most | which follows from |");
    let _ = writeln!(text, "| --- | --- | --- | --- | --- | --- |");
    for row in rows {
        let Row { adversary, does, gained, lost, bound, follows_from } = row;
        let _ = writeln!(text, "| {adversary} | {does} | {gained} | {lost} | {bound} | {follows_from} |");
    }
    text
}
