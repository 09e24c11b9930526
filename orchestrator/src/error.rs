//! Why an orchestrator does not start, or does not end cleanly.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why an orchestrator does not start or does not end cleanly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OrchestratorError {
    /// A configured value is outside its range.
    #[error("{field} is {value}: {expected}")]
    Config {
        /// The field of [`OrchestratorConfig`](crate::OrchestratorConfig).
        field: &'static str,
        /// What it is.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// The price and the payment set-up contradict each other.
    #[error(
        "a price of {price} needs somebody who takes tickets; set the price to zero or configure payments"
    )]
    PriceWithoutPayments {
        /// The price.
        price: framemill_network::PricePerPixel,
    },
    /// The quality terms cannot be quoted.
    #[error(transparent)]
    Quality(#[from] framemill_network::QualityTermsError),
    /// The network does not let us serve a protocol.
    #[error("network: {0}")]
    Network(#[from] framemill_network::NetworkError),
    /// A metric could not be registered.
    #[error("metrics: {0}; register one orchestrator per registry")]
    Metrics(#[from] prometheus::Error),
    /// The ticket ledger or its recipient failed.
    #[error("payments: {0}")]
    Payments(#[from] probabilistic_ticket::RecipientError),
    /// The chain could not be read or written.
    #[error("chain: {0}")]
    Chain(#[from] framemill_contracts::ChainError),
    /// The file of notes cannot be written to.
    #[error("notes of how results are drawn cannot go to {path}: {source}; check config.told", path = path.display())]
    Notes {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The votes of jury duty cannot be kept.
    #[error(
        "votes before the court cannot be kept in {path}: {reason}; free space or mend it, or move it away, which loses the votes in it that are not revealed and the stake that answers for them, or set orchestrator.jury to false",
        path = path.display()
    )]
    Votes {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A service task panicked: the state it held is lost, restart the node.
    #[error("task {task} ended unexpectedly; restart the node and report its log")]
    Task {
        /// The task's name.
        task: &'static str,
    },
    /// Segments were still running when the drain deadline passed.
    #[error(
        "{segments} segments were cut off after a drain of {waited:?}; raise drain_deadline to wait longer"
    )]
    Drain {
        /// How many.
        segments: usize,
        /// How long it waited.
        waited: Duration,
    },
}
