//! The arithmetic of a session and its lane.

use crate::units::Wei;

/// Nonces below the highest one that may still arrive, since payments of parallel segments
/// overtake each other.
pub const NONCE_WINDOW: u64 = 1024;

/// A session's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Free credit.
    pub credit: Wei,
    /// Held for work in progress.
    pub held: Wei,
    /// Tickets credited.
    pub tickets: u64,
}

/// A lane's nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneState {
    /// Generation of the secret: parameters of an older one are revealed.
    pub serial: u64,
    /// The highest nonce seen.
    pub highest: u64,
    /// Nonces at or below this are refused: the secret was revealed above them.
    pub floor: u64,
    /// Which of the [`NONCE_WINDOW`] nonces ending at `highest` were seen; bit `n % NONCE_WINDOW`.
    pub seen: [u64; (NONCE_WINDOW / 64) as usize],
}
