//! Settings of a network node, each with a default that suits a public orchestrator.

use std::time::Duration;

use libp2p::Multiaddr;

use crate::announcement::Recover;
use crate::discovery::ServiceAddress;
use crate::identity::Identity;
use crate::signing::SigningDomain;

/// How a node takes part in the network.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The node's key.
    pub identity: Identity,
    /// Addresses to listen on, QUIC (`/udp/<port>/quic-v1`) or TCP; none for a node that only dials.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node, where they are not those it listens on. An address to listen on that names
    /// an interface counts as one without being named here.
    pub external: Vec<Multiaddr>,
    /// How peers are found beside [`Network::add_peer`](crate::Network::add_peer); `None` for a node that is told all it needs.
    pub discovery: Option<DiscoveryConfig>,
    /// Whether peers that offer it are asked to call back, to learn under which addresses this node can be dialed. One that takes
    /// part in discovery and listens asks without being told to.
    pub asks_reach: bool,
    /// Relays through which this node can be reached when it cannot be dialed; it keeps a place at each.
    pub relays: Vec<ServiceAddress>,
    /// What this node relays for others; `None` relays nothing.
    pub relay_server: Option<RelayLimits>,
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
            external: Vec::new(),
            discovery: None,
            asks_reach: false,
            relays: Vec::new(),
            relay_server: None,
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

/// How a node takes part in finding peers: Kademlia for addresses, gossip for announcements.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// Nodes to begin with, beside the authors that are followed ([`Network::follow`](crate::Network::follow)).
    pub bootstrap: Vec<ServiceAddress>,
    /// What announcements are signed for.
    pub domain: SigningDomain,
    /// Recovers who signed.
    pub recover: Recover,
}

/// Bounds on what a relay carries for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayLimits {
    /// Nodes that keep a place here.
    pub max_reservations: usize,
    /// Circuits at a time.
    pub max_circuits: usize,
    /// Circuits of one peer at a time.
    pub max_circuits_per_peer: usize,
    /// Longest life of a circuit: by then the two have a direct connection, or dial again.
    pub circuit_duration: Duration,
    /// Most bytes of a circuit in both directions together: some tens of segments.
    pub circuit_bytes: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            max_reservations: 128,
            max_circuits: 64,
            max_circuits_per_peer: 8,
            circuit_duration: Duration::from_secs(300),
            circuit_bytes: 128 * 1024 * 1024,
        }
    }
}

/// Bounds on what remote peers can make this node hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkLimits {
    /// Established connections in both directions. A connection costs some 100 KiB.
    pub max_connections: u32,
    /// Inbound connections being set up: handshakes cost CPU before a peer is known.
    pub max_pending_connections: u32,
    /// Of these, from one address: who begins connections and says nothing more must not keep everybody out.
    pub max_pending_per_address: u32,
    /// Connections with one peer: one per transport and direction.
    pub max_connections_per_peer: u32,
    /// Streams that one peer may have open here at a time; a broadcaster has one per segment in flight.
    pub max_streams_per_peer: u32,
    /// New streams a peer may open per second in the long run.
    pub requests_per_second: u32,
    /// New streams a peer may open at once after being quiet.
    pub request_burst: u32,
    /// Bytes per second that a peer may send on all its streams in the long run; what is above is not read, so that the peer
    /// has to wait. A hundred streams of 2 Mbit/s take 25 MB/s.
    pub bytes_per_second: u32,
    /// Connections from one address (a /64 of IPv6), made or being made. Many miners may sit behind one.
    pub max_connections_per_address: u32,
    /// New connections from one address per second in the long run: each costs a handshake.
    pub connections_per_second: u32,
    /// New connections from one address at once after it was quiet.
    pub connection_burst: u32,
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
            max_pending_per_address: 32,
            max_connections_per_peer: 4,
            max_streams_per_peer: 64,
            requests_per_second: 50,
            request_burst: 100,
            bytes_per_second: 256 * 1024 * 1024,
            max_connections_per_address: 256,
            connections_per_second: 20,
            connection_burst: 256,
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
    /// Until a connection that was begun, by either side, is encrypted and carries streams.
    pub handshake: Duration,
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
            handshake: Duration::from_secs(5),
            idle_connection: Duration::from_secs(120),
            message: Duration::from_secs(5),
            application: Duration::from_secs(10),
            rate_grace: Duration::from_secs(2),
            exchange: Duration::from_secs(60),
            keep_alive: Duration::from_secs(5),
        }
    }
}
