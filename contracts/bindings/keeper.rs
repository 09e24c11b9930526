//! Keeps rounds moving: somebody has to initialize each one, and anybody may.

use std::time::Duration;

use crate::ChainClient;

/// How the keeper looks at the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperConfig {
    /// Pause between two looks.
    pub interval: Duration,
}

impl Default for KeeperConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(2) }
    }
}

/// Initializes every round soon after it begins, for as long as the future is polled.
///
/// Failures are logged and tried again: several keepers may run, and the chain may be away.
/// Cancel safe: drop it to stop.
pub async fn keep_rounds(client: ChainClient, config: KeeperConfig) {
    let _ = (client, config);
    todo!()
}
