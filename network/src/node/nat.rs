//! Reaching nodes that cannot be dialed: places at relays, circuits, and the direct connections that replace them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::core::Multiaddr;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::behaviour::{FromSwarm, NewExternalAddrCandidate};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{PeerId, Swarm, dcutr, relay};

use super::bounded::Bound;
use super::streams::OpenStream;
use super::swarm::Behaviour;
use crate::config::{NetworkConfig, RelayLimits};

/// Pause before a place at a relay that was lost or refused is asked for again.
const RELAY_RETRY: Duration = Duration::from_secs(15);
/// Life of a place at a relay; it is renewed before.
const RESERVATION: Duration = Duration::from_secs(1_800);
/// Places of one peer: over QUIC and over TCP, and the next one before the first has ended.
const RESERVATIONS_PER_PEER: usize = 3;
/// How long a circuit goes on once the two have a direct connection: as long as what is under way on it may last.
const CIRCUIT_AFTERLIFE: Duration = Duration::from_secs(60);
/// Wait for a relay to say from where it sees this node, before a hole is punched without knowing.
const SIGHT_WAIT: Duration = Duration::from_secs(2);
/// Requests that wait for that.
const MAX_WAITING: usize = 256;
/// Addresses under which others may have seen this node that are looked at; they come from strangers.
const MAX_CANDIDATES: usize = 64;

pub(super) fn relay_server(local: PeerId, limits: &RelayLimits) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: limits.max_reservations,
        max_reservations_per_peer: beside(RESERVATIONS_PER_PEER),
        reservation_duration: RESERVATION,
        max_circuits: limits.max_circuits,
        max_circuits_per_peer: beside(limits.max_circuits_per_peer),
        max_circuit_duration: limits.circuit_duration,
        max_circuit_bytes: limits.circuit_bytes,
        // Its own rates of reservations and circuits for each peer and address.
        ..relay::Config::default()
    };
    relay::Behaviour::new(local, config)
}

/// How many a peer may have when it asks for one more, so that it then has `most`: that is what the library compares.
fn beside(most: usize) -> usize {
    most.saturating_sub(1)
}

pub(super) fn on_hole_punch(event: &dcutr::Event) {
    let peer = event.remote_peer_id;
    match &event.result {
        Ok(_) => tracing::debug!(%peer, "a direct connection takes the place of a circuit"),
        Err(error) => tracing::debug!(%peer, %error, "no direct connection; the circuit goes on"),
    }
}

/// A place that this node keeps at a relay.
#[derive(Debug)]
struct Place {
    address: Multiaddr,
    listener: Option<ListenerId>,
    try_at: Instant,
}

/// A request for a stream to a peer behind a relay.
struct Waiting {
    relay: PeerId,
    until: Instant,
    held: Held,
}

/// A request for a stream that is kept back, with its peer.
pub(super) type Held = (PeerId, OpenStream);

/// How this node is reached, and reaches others.
pub(super) struct Reach {
    places: Vec<Place>,
    listens: bool,
    /// Connected peers that have said from where they see this node.
    seen_by: HashSet<PeerId>,
    waiting: Vec<Waiting>,
    /// Open circuits, with their peers.
    circuits: HashMap<ConnectionId, PeerId>,
    direct: HashMap<ConnectionId, PeerId>,
    /// Circuits that a direct connection has replaced, and when they are closed.
    replaced: HashMap<ConnectionId, Instant>,
}

impl Reach {
    /// Says where this node is reached as far as its configuration tells, and begins to keep its places at relays.
    pub(super) fn new(swarm: &mut Swarm<Behaviour>, config: &NetworkConfig) -> Self {
        let listening: Vec<_> = swarm.listeners().cloned().collect();
        let named = config.listen.iter().filter(|address| !is_wildcard(address));
        let named: HashSet<_> = named.filter_map(host).collect();
        let own = listening.into_iter().filter(|address| host(address).is_some_and(|ip| named.contains(&ip)));
        let external: Vec<_> = match config.external.is_empty() {
            true => own.collect(),
            false => config.external.clone(),
        };
        for address in external {
            swarm.add_external_address(address);
        }
        let addresses = config.relays.iter().flat_map(|relay| {
            relay
                .addresses()
                .iter()
                .map(|address| address.clone().with(Protocol::P2p(relay.peer())).with(Protocol::P2pCircuit))
        });
        let places = addresses.map(|address| Place { address, listener: None, try_at: Instant::now() });
        let mut reach = Self {
            places: places.collect(),
            listens: !config.listen.is_empty(),
            seen_by: HashSet::new(),
            waiting: Vec::new(),
            circuits: HashMap::new(),
            direct: HashMap::new(),
            replaced: HashMap::new(),
        };
        reach.take_places(swarm);
        reach
    }

    /// Keeps a request back whose peer is reached through a relay alone, until the relay has said from where it sees this node:
    /// the two sides tell each other when the circuit opens, once. Gives back what need not wait.
    pub(super) fn keep_back(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        held: Held,
        addresses: &[Multiaddr],
    ) -> Option<Held> {
        let relays: Option<Vec<_>> = addresses.iter().map(relay_of).collect();
        let Some((relay, address)) = relays.and_then(|relays| relays.into_iter().next()) else {
            return Some(held);
        };
        if self.seen_by.contains(&relay) || self.waiting.len() >= MAX_WAITING {
            return Some(held);
        }
        self.listen_to_punch(swarm);
        let opts = DialOpts::peer_id(relay)
            .addresses(vec![address])
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        // It is connected or dialed already, or the circuit's own dial will say what is wrong.
        let _ = swarm.dial(opts);
        self.waiting.push(Waiting { relay, until: Instant::now() + SIGHT_WAIT, held });
        None
    }

    /// Requests that have waited for `relay`, or long enough.
    pub(super) fn released(&mut self, relay: Option<PeerId>) -> Vec<Held> {
        let now = Instant::now();
        let over = |waiting: &mut Waiting| relay == Some(waiting.relay) || now >= waiting.until;
        self.waiting.extract_if(.., over).map(|waiting| waiting.held).collect()
    }

    /// A peer has said from where it sees this node.
    pub(super) fn on_seen(&mut self, peer: PeerId) -> Vec<Held> {
        self.seen_by.insert(peer);
        self.released(Some(peer))
    }

    /// A hole is punched from a port that is listened on.
    fn listen_to_punch(&mut self, swarm: &mut Swarm<Behaviour>) {
        if std::mem::replace(&mut self.listens, true) {
            return;
        }
        let any = "/ip4/0.0.0.0/udp/0/quic-v1".parse().expect("a literal multiaddr");
        if let Err(error) = swarm.listen_on(any) {
            tracing::warn!(%error, "no port to punch holes from; peers behind relays are reached through them alone");
        }
    }

    pub(super) fn tick(&mut self, swarm: &mut Swarm<Behaviour>) {
        self.take_places(swarm);
        let now = Instant::now();
        for (connection, _) in self.replaced.extract_if(|_, at| now >= *at) {
            swarm.close_connection(connection);
        }
    }

    fn take_places(&mut self, swarm: &mut Swarm<Behaviour>) {
        let now = Instant::now();
        for place in self.places.iter_mut().filter(|place| place.listener.is_none() && now >= place.try_at) {
            place.try_at = now + RELAY_RETRY;
            match swarm.listen_on(place.address.clone()) {
                Ok(listener) => place.listener = Some(listener),
                Err(error) => tracing::warn!(relay = %place.address, %error, "relay address cannot be used"),
            }
        }
    }

    pub(super) fn on_listener_closed(&mut self, listener: ListenerId, reason: io::Result<()>) {
        let Some(place) = self.places.iter_mut().find(|place| place.listener == Some(listener)) else {
            return;
        };
        place.listener = None;
        place.try_at = Instant::now() + RELAY_RETRY;
        let reason = reason.err().map(|error| error.to_string());
        tracing::warn!(relay = %place.address, reason, "lost the place at a relay, asking again soon");
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, relayed: bool) {
        let here = if relayed { &mut self.circuits } else { &mut self.direct };
        here.insert(connection, peer);
        if self.direct.values().any(|direct| *direct == peer) {
            let until = Instant::now() + CIRCUIT_AFTERLIFE;
            let circuits = self.circuits.iter().filter(|(_, other)| **other == peer);
            for (circuit, _) in circuits {
                self.replaced.entry(*circuit).or_insert(until);
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: PeerId, connection: ConnectionId, last: bool) {
        if last {
            self.seen_by.remove(&peer);
        }
        self.circuits.remove(&connection);
        self.direct.remove(&connection);
        self.replaced.remove(&connection);
    }
}

/// The relay of a circuit's address, and where it is.
fn relay_of(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    let mut before = Multiaddr::empty();
    let mut parts = address.iter();
    while let Some(part) = parts.next() {
        match part {
            Protocol::P2p(relay) if parts.next() == Some(Protocol::P2pCircuit) => {
                return Some((relay, before));
            }
            other => before.push(other),
        }
    }
    None
}

fn is_wildcard(address: &Multiaddr) -> bool {
    host(address).is_none_or(|ip| ip.is_unspecified())
}

fn host(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The candidates for this node's address that a behaviour hears of: every peer may name one, and `autonat` keeps them all.
#[derive(Default)]
pub(crate) struct Candidates {
    heard: HashSet<Multiaddr>,
}

impl Bound for Candidates {
    fn may_hear(&mut self, event: &FromSwarm<'_>) -> bool {
        let FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }) = event else {
            return true;
        };
        if self.heard.len() < MAX_CANDIDATES {
            self.heard.insert((*addr).clone());
        }
        self.heard.contains(*addr)
    }

    fn may_dial(&mut self, _dial: &DialOpts) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_name_a_bounded_number_of_candidates() {
        let mut candidates = Candidates::default();
        let mut hears = |port: usize| {
            let addr = format!("/ip4/192.0.2.1/tcp/{port}").parse().expect("an address");
            let named = NewExternalAddrCandidate { addr: &addr };
            candidates.may_hear(&FromSwarm::NewExternalAddrCandidate(named))
        };
        assert!((0..MAX_CANDIDATES).all(&mut hears));
        assert!(!hears(MAX_CANDIDATES) && hears(0));
    }

    #[test]
    fn the_relay_of_a_circuit_is_read_from_its_address() {
        let relay = PeerId::random();
        let circuit = format!("/ip4/203.0.113.7/udp/1/quic-v1/p2p/{relay}/p2p-circuit");
        let bare: Multiaddr = "/ip4/203.0.113.7/udp/1/quic-v1".parse().unwrap();
        assert_eq!(relay_of(&circuit.parse().unwrap()), Some((relay, bare.clone())));
        assert_eq!(relay_of(&bare), None);
        assert_eq!(relay_of(&bare.with(Protocol::P2p(relay))), None);
    }
}
