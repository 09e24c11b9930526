//! Peers that take more of a relay than it gives.

use std::time::{Duration, Instant};

use framemill_network::{
    Identity, Multiaddr, Network, NetworkConfig, PeerId, RelayLimits, SegmentAccept, ServiceAddress,
};
use futures::{FutureExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, relay, tcp, yamux};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::nat::{is_circuit, until, without_peer};
use crate::raw::*;
use crate::support::*;

/// Places that one peer may have at a relay.
const PLACES_OF_ONE: usize = 3;

#[derive(NetworkBehaviour)]
struct Client {
    relay: relay::client::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A peer that is connected to the relay and knows how to use one.
async fn client(relay: &Network, keypair: Keypair) -> Swarm<Client> {
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_, relay| Client { relay, streams: libp2p_stream::Behaviour::new() })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(4 * LONG))
        .build();
    swarm.dial(tcp_address(relay)).unwrap();
    while !swarm.is_connected(&relay.peer_id()) {
        swarm.next().await;
    }
    swarm
}

fn driven(mut swarm: Swarm<Client>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.next().await;
        }
    })
}

/// A relay, and an orchestrator that is reached through it alone and answers requests for quotes.
struct Market {
    relay: Network,
    seller: Network,
    circuit: Multiaddr,
}

impl Market {
    async fn open(limits: RelayLimits) -> Self {
        let relay = relaying(limits).await;
        let seller = node_with(|config| {
            config.listen.clear();
            config.relays = vec![relay.service_address().unwrap()];
            // What the relay refuses must not have been refused by the seller.
            config.limits.max_connections_per_peer = 100;
        })
        .await;
        answer_quotes(&seller);
        let circuit = until(|| seller.external_addresses().into_iter().find(is_circuit)).await;
        Self { relay, seller, circuit: without_peer(&circuit) }
    }

    /// Dials the seller so many times as one peer; how many circuits are made when none is being made any more.
    async fn circuits(&self, swarm: &mut Swarm<Client>, times: usize) -> usize {
        let seller = self.seller.peer_id();
        for _ in 0..times {
            let dial = DialOpts::peer_id(seller).condition(PeerCondition::Always);
            swarm.dial(dial.addresses(vec![self.circuit.clone()]).build()).unwrap();
        }
        let (mut ended, mut made) = (0, 0);
        while ended < times {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == seller => {
                    (ended, made) = (ended + 1, made + 1);
                }
                SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), .. } if peer == seller => {
                    ended += 1
                }
                _ => {}
            }
        }
        made
    }

    /// Whether a peer that has not been here before gets a quote through the relay.
    async fn serves(&self) -> bool {
        let buyer = client_with(&self.relay, |config| config.timeouts.dial = LONG).await;
        let seller = self.seller.peer_id();
        buyer.add_peer(&ServiceAddress::new(seller, vec![self.circuit.clone()]).unwrap()).unwrap();
        buyer.request_quote(seller, &quote_request(), LONG).await.is_ok()
    }
}

async fn relaying(limits: RelayLimits) -> Network {
    let relay = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.relay_server = Some(limits);
    })
    .await;
    answer_quotes(&relay);
    relay
}

#[tokio::test]
async fn one_circuit_more_than_a_peer_may_have_is_refused_and_another_peer_gets_its_own() {
    const MOST: usize = 2;
    let limits = RelayLimits { max_circuits_per_peer: MOST, ..RelayLimits::default() };
    let market = Market::open(limits).await;
    let mut greedy = client(&market.relay, Keypair::generate_ed25519()).await;
    let made = timeout(LONG, market.circuits(&mut greedy, MOST + 2)).await.unwrap();
    assert_eq!(made, MOST);
    let _greedy = driven(greedy);
    assert!(market.serves().await);
}

#[tokio::test]
async fn one_circuit_more_than_a_relay_carries_is_refused_and_those_that_end_make_room() {
    const MOST: usize = 3;
    let market = Market::open(RelayLimits { max_circuits: MOST, ..RelayLimits::default() }).await;
    let mut greedy = client(&market.relay, Keypair::generate_ed25519()).await;
    let made = timeout(LONG, market.circuits(&mut greedy, MOST + 2)).await.unwrap();
    assert_eq!(made, MOST);
    let greedy = driven(greedy);
    assert!(!market.serves().await);
    an_honest_peer_is_served(&market.relay).await;
    greedy.abort();
    timeout(LONG, async { while !market.serves().await {} }).await.expect("there is room again");
}

#[tokio::test]
async fn a_circuit_ends_with_the_bytes_that_it_may_carry() {
    const MOST: u64 = 300_000;
    let market = Market::open(RelayLimits { circuit_bytes: MOST, ..RelayLimits::default() }).await;
    let mut segments = market.seller.serve_segments(4).unwrap();
    let mut greedy = client(&market.relay, Keypair::generate_ed25519()).await;
    assert_eq!(timeout(LONG, market.circuits(&mut greedy, 1)).await.unwrap(), 1);
    let mut control = greedy.behaviour().streams.new_control();
    let _greedy = driven(greedy);
    let protocol = StreamProtocol::new(SEGMENT);
    let mut stream = control.open_stream(market.seller.peer_id(), protocol).await.unwrap();
    let flood = async {
        let header = proto::SegmentHeader { source_len: 32 << 20, ..segment_header(b"source") };
        send(&mut stream, &header).await;
        let chunk = framed(&source_chunk(&[0; 1_000]));
        while try_send(&mut stream, &chunk).await {}
        std::future::pending::<()>().await;
    };
    let taking = async {
        let incoming = segments.next().await.unwrap();
        let (mut reader, _reply) = incoming.accept(SegmentAccept::default()).await.unwrap();
        let mut taken = 0;
        while let Ok(Some(data)) = reader.next().await {
            taken += data.len() as u64;
        }
        taken
    };
    let both = async { tokio::join!(taking, market.serves()) };
    tokio::select! {
        both = timeout(LONG, both) => {
            let (taken, served) = both.expect("the circuit ends");
            assert!((MOST / 2..=MOST).contains(&taken) && served, "{taken} bytes");
        }
        () = flood => unreachable!("it never ends"),
    }
}

#[tokio::test]
async fn a_circuit_ends_with_the_time_that_it_may_last() {
    const LIFE: Duration = Duration::from_secs(2);
    let market = Market::open(RelayLimits { circuit_duration: LIFE, ..RelayLimits::default() }).await;
    let mut greedy = client(&market.relay, Keypair::generate_ed25519()).await;
    let began = Instant::now();
    assert_eq!(timeout(LONG, market.circuits(&mut greedy, 1)).await.unwrap(), 1);
    let seller = market.seller.peer_id();
    let ended = async {
        while greedy.is_connected(&seller) {
            greedy.next().await;
        }
        began.elapsed()
    };
    let (ended, served) = timeout(LONG, async { tokio::join!(ended, market.serves()) }).await.unwrap();
    assert!(ended >= LIFE && served, "{ended:?}");
}

/// What a peer sends to be called back (AutoNAT v2).
#[derive(Clone, PartialEq, prost::Message)]
struct CallMe {
    #[prost(message, optional, tag = "1")]
    dial: Option<Dial>,
    /// What it costs to be called at another address than the one it connects from.
    #[prost(message, optional, tag = "4")]
    data: Option<Data>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Data {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dial {
    #[prost(bytes = "vec", repeated, tag = "1")]
    addresses: Vec<Vec<u8>>,
    #[prost(fixed64, tag = "2")]
    nonce: u64,
}

#[tokio::test]
async fn who_asks_for_many_calls_at_once_gets_two_and_another_peer_gets_its_own() {
    const ASKED: usize = 8;
    const MOST: usize = 2;
    const CALL_ME: &str = "/libp2p/autonat/2/dial-request";
    let relay = node_with(|config| {
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.relay_server = Some(RelayLimits::default());
        // Calls that nobody answers stay under way.
        config.timeouts.handshake = 4 * LONG;
    })
    .await;
    answer_quotes(&relay);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Multiaddr =
        format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port()).parse().unwrap();
    let greedy = RawPeer::start(Some(&relay)).await;
    let mut streams = Vec::new();
    for nonce in 0..ASKED as u64 {
        let mut stream = greedy.open(&relay, CALL_ME).await;
        let dial = Some(Dial { addresses: vec![at.to_vec()], nonce });
        send(&mut stream, &CallMe { dial, data: None }).await;
        let _price: CallMe = receive(&mut stream).await;
        // More than is ever asked for.
        for _ in 0..30 {
            send(&mut stream, &CallMe { dial: None, data: Some(Data { data: vec![0; 4_000] }) }).await;
        }
        streams.push(stream);
    }
    let answers = futures::future::join_all(streams.iter_mut().map(read_to_end));
    let asking = NetworkConfig {
        listen: vec!["/ip4/0.0.0.0/tcp/0".parse().unwrap()],
        asks_reach: true,
        ..NetworkConfig::new(Identity::generate())
    };
    let honest = Network::start(asking).await.unwrap();
    honest.add_peer(&relay.service_address().unwrap()).unwrap();
    honest.request_quote(relay.peer_id(), &quote_request(), LONG).await.unwrap();
    let test = until(|| honest.reach_tests().pop());
    let (answers, test) = timeout(LONG, async { tokio::join!(answers, test) }).await.unwrap();
    assert!(test.reached, "{test:?}");
    // Those that were turned away have heard so.
    assert_eq!(answers.iter().filter(|answer| !answer.is_empty()).count(), ASKED - MOST);
    let mut calls = Vec::new();
    while let Some(call) = silent.accept().now_or_never() {
        calls.push(call.unwrap());
    }
    assert_eq!(calls.len(), MOST);
}

/// Asks for a place; the client that has it, or none.
async fn reserve(relay: &Network, keypair: Keypair) -> Option<Place> {
    let mut swarm = client(relay, keypair).await;
    let peer = *swarm.local_peer_id();
    let at = tcp_address(relay).with(Protocol::P2p(relay.peer_id())).with(Protocol::P2pCircuit);
    swarm.listen_on(at).unwrap();
    let granted = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(ClientEvent::Relay(relay::client::Event::ReservationReqAccepted {
                    ..
                })) => return true,
                SwarmEvent::ListenerClosed { .. } => return false,
                _ => {}
            }
        }
    };
    let granted = timeout(LONG, granted).await.expect("the relay answers");
    granted.then(|| Place { peer, task: driven(swarm) })
}

/// A place at a relay and who has it.
struct Place {
    peer: PeerId,
    task: JoinHandle<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn one_place_more_than_a_relay_has_is_refused_and_one_that_is_left_is_given_again() {
    const MOST: usize = 2;
    let relay = relaying(RelayLimits { max_reservations: MOST, ..RelayLimits::default() }).await;
    let mut places = Vec::new();
    for _ in 0..MOST {
        places.push(reserve(&relay, Keypair::generate_ed25519()).await.expect("there is room"));
    }
    assert!(reserve(&relay, Keypair::generate_ed25519()).await.is_none());
    an_honest_peer_is_served(&relay).await;
    let left = places.pop().unwrap().peer;
    until(|| (!relay.is_connected(left)).then_some(())).await;
    assert!(reserve(&relay, Keypair::generate_ed25519()).await.is_some());
}

#[tokio::test]
async fn one_place_more_than_a_peer_may_have_is_refused_and_another_peer_gets_its_own() {
    let relay = relaying(RelayLimits::default()).await;
    let keypair = Keypair::generate_ed25519();
    let mut places = Vec::new();
    for _ in 0..PLACES_OF_ONE {
        places.push(reserve(&relay, keypair.clone()).await.expect("it may have it"));
    }
    assert!(reserve(&relay, keypair).await.is_none());
    assert!(reserve(&relay, Keypair::generate_ed25519()).await.is_some());
}
