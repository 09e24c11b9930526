//! The libp2p swarm: transports, behaviours, and the task that drives them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::transport::ListenerId;
use libp2p::core::upgrade::Version;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, TransportError, autonat, dcutr, identify, kad, noise, ping,
    relay, tcp,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::bounded::Bounded;
use super::callbacks::CallBacks;
use super::discovery::{self, Discovery};
use super::guard;
use super::muxer;
use super::nat::{self, Candidates, Reach};
use super::shared::{ReachTest, Shared};
use super::streams::{self, InboundStream, OpenStream};
use crate::config::{NetworkConfig, NetworkLimits};
use crate::doors::Doors;
use crate::error::NetworkError;

/// Of who calls back on request (AutoNAT v2).
const REACH_PROTOCOL: &str = "/libp2p/autonat/2/dial-request";
/// Version of our protocols as peers see it in identify.
const IDENTIFY_PROTOCOL: &str = "/framemill/1";
/// Between two measurements of a round trip; also finds connections that died silently.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Streams of one connection beside those of our protocols: identify, ping, gossip, Kademlia, reservations, circuits.
const SYSTEM_STREAMS: u32 = 64;
/// Inbound streams of a connection that are agreeing on a protocol.
const MAX_NEGOTIATING: usize = 64;
/// Unread data that a peer may have in flight on one QUIC stream: a 2 s segment at 4 Mbit/s, or 80 Mbit/s over 100 ms.
const QUIC_STREAM_WINDOW: u32 = 1024 * 1024;
/// The same over all streams of one QUIC connection: what a peer that sends and is not read can make this node hold.
const QUIC_CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A killed process says nothing on UDP: this bounds how long its peers wait before they look for another, in milliseconds.
const QUIC_SILENCE_MS: u32 = 5_000;
/// A fifth of the above, so that lost packets do not end a connection.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a listener may take to come up: binding a port is local.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// Between two looks at relays and at who waits for one.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two looks at neighbours and records.
const DISCOVERY_TICKS: u64 = 5;

/// What handles ask of the swarm's task.
#[derive(Debug)]
pub(crate) enum Command {
    Open { peer: PeerId, connection: Option<ConnectionId>, request: OpenStream },
    Locate { peer: PeerId, reply: oneshot::Sender<bool> },
    Announce { announcement: Vec<u8> },
}

/// The first two decide about a connection before any other keeps state for it.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    guard: guard::Behaviour,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: streams::Behaviour,
    pub(super) kad: Toggle<kad::Behaviour<MemoryStore>>,
    pub(super) gossip: Toggle<discovery::Gossip>,
    relay_client: relay::client::Behaviour,
    relay_server: Toggle<relay::Behaviour>,
    hole_punch: dcutr::Behaviour,
    reach_client: Toggle<Bounded<autonat::v2::client::Behaviour, Candidates>>,
    reach_server: Toggle<Bounded<autonat::v2::server::Behaviour, CallBacks>>,
}

fn behaviour(
    config: &NetworkConfig,
    shared: &Arc<Shared>,
    inbound: mpsc::Sender<InboundStream>,
    relay_client: relay::client::Behaviour,
) -> Result<Behaviour, NetworkError> {
    let keypair = config.identity.clone().into_keypair();
    let local = keypair.public().to_peer_id();
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.into(), keypair.public())
        .with_agent_version(concat!("framemill/", env!("CARGO_PKG_VERSION")).into())
        // What lies behind a wildcard is nobody's business.
        .with_hide_listen_addrs(true)
        // Addresses come from the registry, the configuration and signed records, not from what peers say of themselves.
        .with_cache_size(0);
    let discovers = config.discovery.is_some();
    let gossip = discovers.then(|| discovery::gossip(&keypair)).transpose();
    let calls = config.relay_server.is_some();
    let probes = (discovers || config.asks_reach) && !config.listen.is_empty();
    Ok(Behaviour {
        guard: guard::Behaviour::new(shared.clone(), Doors::new(config.limits.clone())),
        limits: connection_limits::Behaviour::new(connection_limits(&config.limits)),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        streams: streams::Behaviour::new(shared.clone(), inbound),
        kad: discovers.then(|| discovery::kademlia(local)).into(),
        gossip: gossip.map_err(NetworkError::Transport)?.into(),
        relay_client,
        relay_server: config.relay_server.as_ref().map(|limits| nat::relay_server(local, limits)).into(),
        hole_punch: dcutr::Behaviour::new(local),
        reach_client: probes
            .then(|| Bounded::new(autonat::v2::client::Behaviour::default(), Candidates::default()))
            .into(),
        reach_server: calls
            .then(|| Bounded::new(autonat::v2::server::Behaviour::default(), CallBacks::default()))
            .into(),
    })
}

fn connection_limits(limits: &NetworkLimits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_established(Some(limits.max_connections))
        // A quarter is kept for dialing, so that peers that connect cannot lock this node in.
        .with_max_established_incoming(Some(limits.max_connections - limits.max_connections / 4))
        .with_max_pending_incoming(Some(limits.max_pending_connections))
        .with_max_established_per_peer(Some(limits.max_connections_per_peer))
}

pub(crate) fn build(
    config: &NetworkConfig,
    shared: &Arc<Shared>,
    inbound: mpsc::Sender<InboundStream>,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let keypair = config.identity.clone().into_keypair();
    let transport = |error: &dyn std::fmt::Display| NetworkError::Transport(error.to_string());
    let (idle, handshake) = (config.timeouts.idle_connection, config.timeouts.handshake);
    // Both sides may have as many open as a peer is allowed.
    let streams = (2 * config.limits.max_streams_per_peer).saturating_add(SYSTEM_STREAMS);
    let muxer = move || muxer::Config::new(streams as usize);
    Ok(SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer)
        .map_err(|error| transport(&error))?
        .with_quic_config(|mut quic| {
            quic.max_stream_data = QUIC_STREAM_WINDOW;
            quic.max_connection_data = QUIC_CONNECTION_WINDOW;
            quic.max_concurrent_stream_limit = streams;
            quic.keep_alive_interval = QUIC_KEEP_ALIVE;
            quic.max_idle_timeout = QUIC_SILENCE_MS;
            quic.handshake_timeout = handshake;
            quic
        })
        .with_dns()
        .map_err(|error| transport(&error))?
        .with_relay_client(noise::Config::new, muxer)
        .map_err(|error| transport(&error))?
        .with_behaviour(|_, relay| {
            behaviour(config, shared, inbound, relay)
                .map_err(|error| -> Box<dyn std::error::Error + Send + Sync> { Box::new(error) })
        })
        .map_err(|error| transport(&error))?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(MAX_NEGOTIATING)
                // The protocol's name goes out with the first message: a quote costs one round trip, not two.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .with_connection_timeout(handshake)
        .build())
}

/// Binds every address and waits for the real ports.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[Multiaddr],
) -> Result<Vec<Multiaddr>, NetworkError> {
    let mut found = Vec::new();
    for address in addresses {
        let failed = |reason: String| NetworkError::Listen { address: address.clone(), reason };
        let id = swarm.listen_on(address.clone()).map_err(|error| failed(cause(&error)))?;
        let came_up = timeout(LISTEN_TIMEOUT, came_up(swarm, id)).await;
        let listening = came_up.map_err(|_| failed("the listener did not come up in time".into()))?;
        found.push(listening.map_err(failed)?);
    }
    Ok(found)
}

/// Why an address cannot be listened on: the error's own text leaves the system's word out.
fn cause(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::Other(error) => error.to_string(),
        other => other.to_string(),
    }
}

async fn came_up(swarm: &mut Swarm<Behaviour>, id: ListenerId) -> Result<Multiaddr, String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => return Ok(address),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                return Err(reason.err().map_or_else(|| "closed".into(), |error| error.to_string()));
            }
            _ => {}
        }
    }
}

/// The task that drives the swarm, and what it keeps.
pub(crate) struct Driver {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    discovery: Option<Discovery>,
    reach: Reach,
    ticks: u64,
}

impl Driver {
    pub(crate) fn new(mut swarm: Swarm<Behaviour>, shared: Arc<Shared>, config: &NetworkConfig) -> Self {
        let keypair = config.identity.clone().into_keypair();
        let discovery = config.discovery.as_ref();
        let discovery = discovery.map(|discovery| Discovery::new(shared.clone(), keypair, discovery));
        let reach = Reach::new(&mut swarm, config);
        let mut driver = Self { swarm, shared, discovery, reach, ticks: 0 };
        driver.note_external();
        driver
    }

    /// Drives the swarm until the node is shut down.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, cancel: CancellationToken) {
        let shared = self.shared.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                peers = shared.evicted() => peers.into_iter().for_each(|peer| self.disconnect(peer)),
                _ = ticks.tick() => self.tick(),
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
        self.say_goodbye().await;
    }

    fn on_command(&mut self, command: Command) {
        match (command, &mut self.discovery) {
            (Command::Open { peer, connection: Some(connection), request }, _) => {
                self.swarm.behaviour_mut().streams.open(peer, Some(connection), request);
            }
            (Command::Open { peer, connection: None, request }, _) => {
                let known = self.shared.is_connected(&peer);
                let addresses = if known { Vec::new() } else { self.shared.addresses(&peer) };
                let now = self.reach.keep_back(&mut self.swarm, (peer, request), &addresses);
                now.into_iter().for_each(|held| self.open(held));
            }
            (Command::Locate { peer, reply }, Some(discovery)) => {
                discovery.locate(&mut self.swarm, peer, reply);
            }
            (Command::Announce { announcement }, Some(discovery)) => {
                discovery.announce(&mut self.swarm, announcement);
            }
            // Without discovery nobody is found, and nobody is told: dropping the reply says so.
            (Command::Locate { .. } | Command::Announce { .. }, None) => {}
        }
    }

    fn open(&mut self, (peer, request): nat::Held) {
        self.swarm.behaviour_mut().streams.open(peer, None, request);
    }

    fn tick(&mut self) {
        self.reach.tick(&mut self.swarm);
        self.reach.released(None).into_iter().for_each(|held| self.open(held));
        if let Some(discovery) =
            self.discovery.as_mut().filter(|_| self.ticks.is_multiple_of(DISCOVERY_TICKS))
        {
            discovery.tick(&mut self.swarm);
        }
        self.ticks += 1;
    }

    /// The error says that the peer is not connected, which is what was wanted.
    fn disconnect(&mut self, peer: PeerId) {
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, connection_id, .. } => {
                let address = endpoint.get_remote_address().clone();
                tracing::debug!(peer = %peer_id, %address, "connected");
                self.shared.on_connected(peer_id, connection_id, address);
                self.reach.on_connected(peer_id, connection_id, endpoint.is_relayed());
            }
            SwarmEvent::ConnectionClosed { peer_id, cause, connection_id, num_established, .. } => {
                tracing::debug!(peer = %peer_id, cause = cause.map(|cause| cause.to_string()), "disconnected");
                self.shared.on_disconnected(&peer_id, connection_id);
                self.reach.on_disconnected(peer_id, connection_id, num_established == 0);
                if let Some(discovery) = self.discovery.as_mut().filter(|_| num_established == 0) {
                    discovery.on_disconnected(&peer_id);
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener failed; peers may not reach this node");
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.reach.on_listener_closed(listener_id, reason);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                tracing::debug!(%error, "an incoming connection failed");
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                tracing::info!(%address, "others reach this node here");
                self.note_external();
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                tracing::info!(%address, "others no longer reach this node here");
                self.note_external();
            }
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match (event, &mut self.discovery) {
            (BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. }), _) => {
                self.shared.set_round_trip(&peer, round_trip);
            }
            (BehaviourEvent::HolePunch(event), _) => nat::on_hole_punch(&event),
            (BehaviourEvent::ReachClient(event), _) => {
                let reached = event.result.is_ok();
                self.shared.note_reach(ReachTest { address: event.tested_addr, by: event.server, reached });
            }
            (BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }), discovery) => {
                if info.protocols.iter().any(|protocol| protocol.as_ref() == REACH_PROTOCOL) {
                    self.shared.note_tester(peer_id);
                }
                if let Some(discovery) = discovery {
                    discovery.on_identified(&mut self.swarm, peer_id, info);
                }
                self.reach.on_seen(peer_id).into_iter().for_each(|held| self.open(held));
            }
            (BehaviourEvent::Gossip(event), Some(discovery)) => discovery.on_gossip(&mut self.swarm, event),
            (BehaviourEvent::Kad(event), Some(discovery)) => discovery.on_kad(&mut self.swarm, event),
            _ => {}
        }
    }

    /// Takes over what the swarm knows of where this node is reached.
    fn note_external(&mut self) {
        self.shared.set_external(self.swarm.external_addresses().cloned().collect());
        if let Some(discovery) = &mut self.discovery {
            discovery.set_reachable(&mut self.swarm);
        }
    }

    /// Closes connections in order, so that peers learn of it now and not by a timeout.
    async fn say_goodbye(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        peers.into_iter().for_each(|peer| self.disconnect(peer));
        let until = Instant::now() + GOODBYE;
        while self.swarm.connected_peers().next().is_some() {
            match timeout_at(until, self.swarm.select_next_some()).await {
                Ok(event) => self.on_event(event),
                Err(_) => return tracing::debug!("some connections did not close in time"),
            }
        }
    }
}
