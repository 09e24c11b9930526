//! Calls nodes as a stranger would: with an identity of its own, and each within a bounded time.

use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, U256};
use framemill_network::{
    BlobRequest, FrameRate, Identity, Ladder, Network, NetworkConfig, NetworkError, PeerId, PricePerPixel,
    QuoteRequest, ServiceAddress, SourceVideo,
};
use futures::future::join_all;

/// A node that does not answer by then is too far away for live video.
const ANSWER: Duration = Duration::from_secs(5);
/// What a quote is asked for: the size matters to nobody.
const LADDER: &str = "360:800k";
const SOURCE: (u32, u32) = (640, 360);

/// A node of the network that only calls.
pub(super) struct Caller {
    network: Network,
}

impl Caller {
    /// One that nobody knows.
    ///
    /// # Errors
    /// Its transports cannot be set up.
    pub(super) async fn new() -> Result<Self, NetworkError> {
        Network::start(NetworkConfig::new(Identity::generate())).await.map(Self::from)
    }

    /// Calls all at once; how far each is away, in their order.
    pub(super) async fn call_all(&self, services: &[ServiceAddress]) -> Vec<Result<Duration, NetworkError>> {
        join_all(services.iter().map(|service| self.call(service))).await
    }

    /// The round trip to a node. It is asked for a file that nobody has: any answer means that it is there.
    pub(super) async fn call(&self, service: &ServiceAddress) -> Result<Duration, NetworkError> {
        self.network.add_peer(service)?;
        let request = BlobRequest { sha256: B256::ZERO, max_bytes: 1 };
        let begun = Instant::now();
        let answer = self.network.request_blob(service.peer(), &request, ANSWER).await;
        let took = self.network.round_trip(service.peer()).unwrap_or_else(|| begun.elapsed());
        match answer {
            Err(error) if !self.network.is_connected(service.peer()) => Err(error),
            _ => Ok(took),
        }
    }

    /// Asks a node that was called for a quote that it has to refuse: nobody works for nothing.
    pub(super) async fn ask_for_nothing(&self, peer: PeerId) -> Result<(), NetworkError> {
        let (width, height) = SOURCE;
        let source = SourceVideo { width, height, fps: FrameRate::new(30, 1).expect("a literal rate") };
        let ladder: Ladder = LADDER.parse().expect("a literal ladder");
        let ladder = ladder.resolve(&source).expect("it fits the source");
        let request = QuoteRequest {
            sender: Address::ZERO,
            pixels_per_second: ladder.pixels_per_second(source.fps),
            ladder,
            source,
            max_price: PricePerPixel::new(U256::ZERO, 1).ok(),
            commitments: false,
        };
        self.network.request_quote(peer, &request, ANSWER).await.map(drop)
    }

    /// Ends its connections.
    pub(super) async fn close(self) {
        self.network.shutdown().await;
    }
}

impl From<Network> for Caller {
    fn from(network: Network) -> Self {
        Self { network }
    }
}

/// Why a node was not reached, without its name.
pub(super) fn reason(error: &NetworkError) -> String {
    match error {
        NetworkError::Unreachable { reason, .. } => reason.clone(),
        NetworkError::Timeout { after, .. } => format!(
            "nothing was said within {} s: it is away, a firewall drops what comes, or another program has the port",
            after.as_secs()
        ),
        other => other.to_string(),
    }
}

/// Who is at a node's address in its place.
pub(super) fn impostor(error: &NetworkError) -> Option<PeerId> {
    match error {
        NetworkError::Unreachable { answered_by, .. } => answered_by.as_deref().copied(),
        _ => None,
    }
}
