//! Peers that abuse gossip and Kademlia.

use framemill_network::announcement::MAX_ANNOUNCEMENT_BYTES;
use framemill_network::{Network, PeerId};
use futures::StreamExt;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, Quorum, Record};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use tokio::time::timeout;

use crate::discovery::discovering;
use crate::support::*;

const TOPIC: &str = "framemill/announcements/1";

async fn server() -> Network {
    node_with(|config| discovering(config, &[])).await
}

fn connecting_to<B: NetworkBehaviour>(server: &Network, behaviour: B) -> Swarm<B> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .build();
    swarm.dial(server.listen_addresses()[0].clone()).unwrap();
    swarm
}

/// Gossips whatever `message` makes of a counter, until the server hangs up.
async fn gossip_until_hung_up(server: &Network, message: impl Fn(u32) -> Vec<u8>) -> PeerId {
    let keypair = libp2p::identity::Keypair::generate_ed25519();
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(1 << 20)
        .validation_mode(ValidationMode::Permissive)
        .build()
        .unwrap();
    // The messages carry another identity than the connection: nothing hinders a peer from that.
    let mut gossip: gossipsub::Behaviour =
        gossipsub::Behaviour::new(MessageAuthenticity::Signed(keypair), config).unwrap();
    let topic = IdentTopic::new(TOPIC);
    gossip.subscribe(&topic).unwrap();
    let mut swarm = connecting_to(server, gossip);
    let peer = *swarm.local_peer_id();
    let abuse = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. } => return,
                SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) => {
                    for count in 0..12 {
                        // Its own queue may be full.
                        let _ = swarm.behaviour_mut().publish(topic.clone(), message(count));
                    }
                }
                _ => {}
            }
        }
    };
    timeout(LONG, abuse).await.expect("the server hangs up");
    peer
}

#[tokio::test]
async fn gossip_that_is_noise_bans_who_passes_it_on() {
    let server = server().await;
    let peer = gossip_until_hung_up(&server, |count| vec![count as u8; 100]).await;
    assert!(server.is_banned(peer));
}

#[tokio::test]
async fn gossip_above_the_size_bound_bans_who_passes_it_on() {
    let server = server().await;
    let oversize = |count: u32| vec![count as u8; MAX_ANNOUNCEMENT_BYTES + 100];
    let peer = gossip_until_hung_up(&server, oversize).await;
    assert!(server.is_banned(peer));
}

#[tokio::test]
async fn address_records_that_are_forged_ban_who_stores_them() {
    let server = server().await;
    let local = libp2p::identity::Keypair::generate_ed25519().public().to_peer_id();
    let config = kad::Config::new(StreamProtocol::new("/framemill/kad/1"));
    let kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    let mut swarm = connecting_to(&server, kad);
    let peer = *swarm.local_peer_id();
    let abuse = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionClosed { .. } => return,
                SwarmEvent::ConnectionEstablished { .. } => {
                    for _ in 0..16 {
                        let record = Record::new(PeerId::random().to_bytes(), vec![1; 100]);
                        let to = [server.peer_id()].into_iter();
                        swarm.behaviour_mut().put_record_to(record, to, Quorum::One);
                    }
                }
                _ => {}
            }
        }
    };
    timeout(LONG, abuse).await.expect("the server hangs up");
    assert!(server.is_banned(peer));
}
