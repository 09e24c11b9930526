//! The libp2p swarm: transports, behaviours, and the task that drives them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::upgrade::Version;
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::streams::{self, InboundStream, OpenStream};
use crate::config::NetworkConfig;
use crate::error::NetworkError;

/// Version of our protocols as peers see it in identify.
const IDENTIFY_PROTOCOL: &str = "/framemill/1";
/// Between two measurements of a round trip; also finds connections that died silently.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Streams of one connection in both directions, far above the per-peer limit; what is beyond is refused by the transport.
const MAX_MUXED_STREAMS: usize = 512;
/// Inbound streams of a connection that are agreeing on a protocol.
const MAX_NEGOTIATING: usize = 64;
/// Unread data that a peer may have in flight on one QUIC stream: a 2 s segment at 16 Mbit/s.
const QUIC_STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// The same over all streams of one QUIC connection.
const QUIC_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// A killed process says nothing on UDP: this bounds how long its peers wait before they look for another, in milliseconds.
const QUIC_SILENCE_MS: u32 = 5_000;
/// A fifth of the above, so that lost packets do not end a connection.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a listener may take to come up: binding a port is local.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What handles ask of the swarm's task.
#[derive(Debug)]
pub(crate) enum Command {
    Open { peer: PeerId, connection: Option<ConnectionId>, request: OpenStream },
    Disconnect { peer: PeerId },
}

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: streams::Behaviour,
}

pub(crate) fn build(
    config: &NetworkConfig,
    shared: &Arc<Shared>,
    inbound: mpsc::Sender<InboundStream>,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let keypair = config.identity.clone().into_keypair();
    let limits = &config.limits;
    let connection_limits = ConnectionLimits::default()
        .with_max_established(Some(limits.max_connections))
        // A quarter is kept for dialing, so that peers that connect cannot lock this node in.
        .with_max_established_incoming(Some(limits.max_connections - limits.max_connections / 4))
        .with_max_pending_incoming(Some(limits.max_pending_connections))
        .with_max_established_per_peer(Some(limits.max_connections_per_peer));
    let identify = identify::Config::new(IDENTIFY_PROTOCOL.into(), keypair.public())
        .with_agent_version(concat!("framemill/", env!("CARGO_PKG_VERSION")).into())
        // Addresses come from the registry and the configuration, not from what peers say of themselves.
        .with_cache_size(0);
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(connection_limits),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        streams: streams::Behaviour::new(shared.clone(), inbound),
    };
    let transport = |error: &dyn std::fmt::Display| NetworkError::Transport(error.to_string());
    let idle = config.timeouts.idle_connection;
    Ok(SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, muxer)
        .map_err(|error| transport(&error))?
        .with_quic_config(|mut quic| {
            quic.max_stream_data = QUIC_STREAM_WINDOW;
            quic.max_connection_data = QUIC_CONNECTION_WINDOW;
            quic.keep_alive_interval = QUIC_KEEP_ALIVE;
            quic.max_idle_timeout = QUIC_SILENCE_MS;
            quic
        })
        .with_dns()
        .map_err(|error| transport(&error))?
        .with_behaviour(|_| behaviour)
        .expect("the closure cannot fail")
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(MAX_NEGOTIATING)
                // The protocol's name goes out with the first message: a quote costs one round trip, not two.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
        })
        .build())
}

fn muxer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(MAX_MUXED_STREAMS);
    config
}

/// Binds every address and waits for the real ports.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    addresses: &[Multiaddr],
) -> Result<Vec<Multiaddr>, NetworkError> {
    let mut found = Vec::new();
    for address in addresses {
        let failed = |reason: String| NetworkError::Listen { address: address.clone(), reason };
        let id = swarm.listen_on(address.clone()).map_err(|error| failed(error.to_string()))?;
        let deadline = Instant::now() + LISTEN_TIMEOUT;
        loop {
            let Ok(event) = timeout_at(deadline, swarm.select_next_some()).await else {
                return Err(failed("the listener did not come up in time".into()));
            };
            match event {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => {
                    found.push(address);
                    break;
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    return Err(failed(
                        reason.err().map_or_else(|| "closed".into(), |error| error.to_string()),
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Drives the swarm until the node is shut down.
pub(crate) async fn drive(
    mut swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    mut commands: mpsc::Receiver<Command>,
    cancel: CancellationToken,
) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            command = commands.recv() => match command {
                Some(Command::Open { peer, connection, request }) => {
                    swarm.behaviour_mut().streams.open(peer, connection, request);
                }
                // The error says that the peer is not connected, which is what was wanted.
                Some(Command::Disconnect { peer }) => drop(swarm.disconnect_peer_id(peer)),
                None => break,
            },
            event = swarm.select_next_some() => on_event(&shared, event),
        }
    }
    say_goodbye(&mut swarm, &shared).await;
}

fn on_event(shared: &Shared, event: SwarmEvent<BehaviourEvent>) {
    match event {
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
            tracing::debug!(peer = %peer_id, address = %endpoint.get_remote_address(), "connected");
            shared.on_connected(peer_id);
        }
        SwarmEvent::ConnectionClosed { peer_id, cause, .. } => {
            tracing::debug!(peer = %peer_id, cause = cause.map(|cause| cause.to_string()), "disconnected");
            shared.on_disconnected(&peer_id);
        }
        SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. })) => {
            shared.set_round_trip(&peer, round_trip);
        }
        SwarmEvent::ListenerError { error, .. } => {
            tracing::warn!(%error, "a listener failed; peers may not reach this node");
        }
        SwarmEvent::IncomingConnectionError { error, .. } => {
            tracing::debug!(%error, "an incoming connection failed");
        }
        _ => {}
    }
}

/// Closes connections in order, so that peers learn of it now and not by a timeout.
async fn say_goodbye(swarm: &mut Swarm<Behaviour>, shared: &Shared) {
    let peers: Vec<PeerId> = swarm.connected_peers().copied().collect();
    for peer in peers {
        let _ = swarm.disconnect_peer_id(peer);
    }
    let closed = async {
        while swarm.connected_peers().next().is_some() {
            on_event(shared, swarm.select_next_some().await);
        }
    };
    if timeout(GOODBYE, closed).await.is_err() {
        tracing::debug!("some connections did not close in time");
    }
}
