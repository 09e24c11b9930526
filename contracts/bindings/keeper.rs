//! Keeps rounds moving: somebody has to initialize each one, and anybody may.

use std::time::Duration;

use tokio::time::sleep;

use crate::{ChainClient, ChainError};

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
    loop {
        match keep(&client).await {
            Ok(Some(round)) => tracing::info!(round, "initialized round"),
            Ok(None) => {}
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "the chain is away, rounds wait");
            }
            Err(error) => tracing::warn!(%error, "could not initialize the round, will try again"),
        }
        sleep(config.interval).await;
    }
}

/// Does what is due. `None` when nothing is, or when another keeper was faster.
async fn keep(client: &ChainClient) -> Result<Option<u64>, ChainError> {
    let round = client.round_info().await?;
    if round.is_initialized() {
        return Ok(None);
    }
    Ok(client.initialize_round().await?.map(|_| round.current))
}
