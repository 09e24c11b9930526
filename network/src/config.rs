//! Settings of a network node, each with a default that suits a public orchestrator.

use std::time::Duration;

use libp2p::Multiaddr;

use crate::identity::Identity;

/// How a node takes part in the network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The node's key.
    pub identity: Identity,
    /// Addresses to listen on, QUIC (`/udp/<port>/quic-v1`) or TCP; none for a node that only dials.
    pub listen: Vec<Multiaddr>,
    /// What peers may use of this node.
    pub limits: NetworkLimits,
    /// How long this node waits.
    pub timeouts: NetworkTimeouts,
}

impl NetworkConfig {
    /// A node that only dials, with default limits.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            listen: Vec::new(),
            limits: NetworkLimits::default(),
            timeouts: NetworkTimeouts::default(),
        }
    }

    /// A node with a new identity that listens on ephemeral QUIC and TCP ports of the loopback interface; for tests and demos.
    pub fn loopback() -> Self {
        let parse = |text: &str| text.parse().expect("a literal multiaddr");
        let listen = vec![parse("/ip4/127.0.0.1/udp/0/quic-v1"), parse("/ip4/127.0.0.1/tcp/0")];
        Self { listen, ..Self::new(Identity::generate()) }
    }
}

/// Bounds on what remote peers can make this node hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Established connections in both directions. A connection costs some 100 KiB.
    pub max_connections: u32,
    /// Inbound connections being set up: handshakes cost CPU before a peer is known.
    pub max_pending_connections: u32,
    /// Connections with one peer: one per transport and direction.
    pub max_connections_per_peer: u32,
    /// Streams that one peer may have open here at a time; a broadcaster has one per segment in flight.
    pub max_streams_per_peer: u32,
    /// New streams a peer may open per second in the long run.
    pub requests_per_second: u32,
    /// New streams a peer may open at once after being quiet.
    pub request_burst: u32,
    /// Largest source segment in bytes: 2 s at 64 Mbit/s and headroom.
    pub max_source_bytes: u64,
    /// Lowest average rate of an upload in bytes per second, after [`NetworkTimeouts::rate_grace`].
    pub min_upload_rate: u64,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_pending_connections: 128,
            max_connections_per_peer: 4,
            max_streams_per_peer: 64,
            requests_per_second: 50,
            request_burst: 100,
            max_source_bytes: 64 * 1024 * 1024,
            min_upload_rate: 16 * 1024,
        }
    }
}

/// Bounds on waiting for remote peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTimeouts {
    /// Until a dialed peer is connected and has agreed on a protocol.
    pub dial: Duration,
    /// An unused connection is closed after this; it keeps quotes on warm connections.
    pub idle_connection: Duration,
    /// From the first to the last byte of one message, and for the first message of a stream.
    pub message: Duration,
    /// Until the application answers a request that was handed to it; then the peer hears `busy`.
    pub application: Duration,
    /// Time that an upload may take before [`NetworkLimits::min_upload_rate`] is applied.
    pub rate_grace: Duration,
    /// Longest life of a segment or job exchange, whatever deadline the peer asks for.
    pub exchange: Duration,
    /// Between keep-alives of a work session; three without an answer end it.
    pub keep_alive: Duration,
}

impl Default for NetworkTimeouts {
    fn default() -> Self {
        Self {
            dial: Duration::from_secs(3),
            idle_connection: Duration::from_secs(120),
            message: Duration::from_secs(5),
            application: Duration::from_secs(10),
            rate_grace: Duration::from_secs(2),
            exchange: Duration::from_secs(60),
            keep_alive: Duration::from_secs(5),
        }
    }
}
