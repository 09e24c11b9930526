//! Peers that abuse gossip and Kademlia.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::Address;
use framemill_network::announcement::MAX_ANNOUNCEMENT_BYTES;
use framemill_network::{Author, Network, NetworkError, PeerId};
use futures::StreamExt;
use libp2p::core::PeerRecord;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, RecordStore};
use libp2p::kad::{self, GetRecordOk, InboundRequest, Mode, QueryResult, Quorum, Record};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{StreamProtocol, Swarm, SwarmBuilder, identify, noise, tcp, yamux};
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::discovery::{account, announcement, author, discovering, finder, heard, unix_ms};
use crate::nat::until;
use crate::raw::proto;
use crate::support::*;

const TOPIC: &str = "framemill/announcements/1";
const KAD: StreamProtocol = StreamProtocol::new("/framemill/kad/1");
const STEP: Duration = Duration::from_millis(50);

async fn server() -> Network {
    node_with(|config| discovering(config, &[])).await
}

fn connecting_to<B: NetworkBehaviour>(server: &Network, behaviour: B) -> Swarm<B> {
    connecting_as(Keypair::generate_ed25519(), server, behaviour)
}

fn connecting_as<B: NetworkBehaviour>(keypair: Keypair, server: &Network, behaviour: B) -> Swarm<B> {
    let mut swarm = SwarmBuilder::with_existing_identity(keypair)
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
    let keypair = Keypair::generate_ed25519();
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
    let local = Keypair::generate_ed25519().public().to_peer_id();
    let config = kad::Config::new(KAD);
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

/// A neighbour that gossips, as the author of what it says.
struct Gossiper {
    peer: PeerId,
    words: mpsc::UnboundedSender<Vec<u8>>,
    /// Ends when the other side hangs up.
    task: JoinHandle<()>,
}

impl Drop for Gossiper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gossiper {
    async fn start(server: &Network) -> Self {
        let keypair = Keypair::generate_ed25519();
        let authenticity = MessageAuthenticity::Signed(keypair.clone());
        let mut gossip: gossipsub::Behaviour =
            gossipsub::Behaviour::new(authenticity, gossipsub::Config::default()).unwrap();
        let topic = IdentTopic::new(TOPIC);
        gossip.subscribe(&topic).unwrap();
        let mut swarm = connecting_as(keypair, server, gossip);
        let peer = *swarm.local_peer_id();
        let subscribed = async {
            while !matches!(
                swarm.select_next_some().await,
                SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. })
            ) {}
        };
        timeout(LONG, subscribed).await.expect("the server listens");
        let (words, mut said) = mpsc::unbounded_channel::<Vec<u8>>();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(word) = said.recv() => {
                        swarm.behaviour_mut().publish(topic.clone(), word).unwrap();
                    }
                    event = swarm.select_next_some() => {
                        if matches!(event, SwarmEvent::ConnectionClosed { .. }) {
                            return;
                        }
                    }
                }
            }
        });
        Self { peer, words, task }
    }

    fn say(&self, word: Vec<u8>) {
        // Whoever was hung up on says nothing.
        let _ = self.words.send(word);
    }

    /// Says something true and waits until the server has heard it, and so everything before it.
    async fn say_and_be_heard(&self, server: &Network, account: Address, sequence: u64) {
        self.say(said(self.peer, account, account, sequence));
        let is_heard =
            || server.announced(self.peer).is_some_and(|heard| heard.sequence == sequence).then_some(());
        until(is_heard).await;
    }

    async fn hung_up(&mut self) {
        timeout(LONG, &mut self.task).await.expect("the server hangs up").unwrap();
    }

    fn is_followed_by(&self, server: &Network, account: Address) {
        server.follow(vec![self.author(account)]).unwrap();
    }

    fn author(&self, account: Address) -> Author {
        Author { peer: self.peer, addresses: Vec::new(), account: Some(account), signing_key: None }
    }
}

/// An announcement of an orchestrator, in a signature of `signer`.
fn said(peer: PeerId, orchestrator: Address, signer: Address, sequence: u64) -> Vec<u8> {
    let mut signature = vec![0; 65];
    signature[..20].copy_from_slice(signer.as_slice());
    signature[64] = 27;
    let announcement = proto::Announcement {
        orchestrator: orchestrator.to_vec().into(),
        peer: peer.to_bytes().into(),
        addresses: Vec::new(),
        price: Some(proto::Price { wei: vec![1].into(), pixels: 1 }),
        committed_price: None,
        capacity: 1,
        sequence,
        expires_at_unix_ms: sequence + 600_000,
    };
    proto::SignedAnnouncement { announcement: Some(announcement), signature: signature.into() }
        .encode_to_vec()
}

/// An author says twice what no honest node says, then something true, and then the former once more.
async fn is_banned_at_the_third(server: &Network, forged: impl Fn(PeerId, u64) -> Vec<u8>) {
    answer_quotes(server);
    let mut liar = Gossiper::start(server).await;
    liar.is_followed_by(server, account(2));
    let now = unix_ms();
    for count in 1..3 {
        liar.say(forged(liar.peer, now + count));
    }
    liar.say_and_be_heard(server, account(2), now + 3).await;
    assert!(!server.is_banned(liar.peer), "two are not enough");
    liar.say(forged(liar.peer, now + 4));
    liar.hung_up().await;
    assert!(server.is_banned(liar.peer));
    an_honest_peer_is_served(server).await;
}

#[tokio::test]
async fn who_announces_for_another_account_is_banned_at_the_third() {
    let server = server().await;
    is_banned_at_the_third(&server, |peer, now| said(peer, account(9), account(9), now)).await;
}

#[tokio::test]
async fn who_signs_with_another_accounts_key_is_banned_at_the_third() {
    let server = server().await;
    is_banned_at_the_third(&server, |peer, now| said(peer, account(2), account(9), now)).await;
}

#[tokio::test]
async fn who_announces_in_the_name_of_another_peer_is_banned_at_the_third() {
    let (server, orchestrator) = (server().await, PeerId::random());
    is_banned_at_the_third(&server, |_, now| said(orchestrator, account(1), account(1), now)).await;
    assert_eq!(server.announced(orchestrator), None);
}

/// It signs with its own account's key and for its own identity, and is in nobody's active set.
#[tokio::test]
async fn who_is_no_orchestrator_and_announces_itself_is_neither_believed_nor_passed_on() {
    let middle = server().await;
    let (orchestrator, listener) = (finder(&[&middle]).await, finder(&[&middle]).await);
    let mut stranger = Gossiper::start(&middle).await;
    middle.follow(vec![author(&orchestrator, account(1))]).unwrap();
    // This one would believe it.
    listener.follow(vec![author(&orchestrator, account(1)), stranger.author(account(7))]).unwrap();
    heard(&orchestrator, &announcement(&orchestrator, account(1), 1), &listener).await;
    for count in 0..5 {
        stranger.say(said(stranger.peer, account(7), account(7), unix_ms() + count));
    }
    // When it is banned for what follows, the node in the middle has looked at all of this.
    (0..4).for_each(|count| stranger.say(vec![count; 100]));
    stranger.hung_up().await;
    assert!(middle.is_banned(stranger.peer));
    let later = announcement(&orchestrator, account(1), 2);
    assert_eq!(heard_again(&orchestrator, &later, &listener).await, 2);
    assert_eq!((middle.announced(stranger.peer), listener.announced(stranger.peer)), (None, None));
}

/// Announces until `listener` has heard just this; its capacity.
async fn heard_again(
    speaker: &Network,
    said: &framemill_network::SignedAnnouncement,
    listener: &Network,
) -> u64 {
    speaker.announce(said).await.unwrap();
    until(|| {
        let heard = listener.announced(speaker.peer_id())?;
        (heard.sequence == said.announcement.sequence).then_some(heard.capacity)
    })
    .await
}

#[tokio::test]
async fn a_neighbour_may_pass_on_a_thousand_announcements_at_once_and_is_banned_for_a_flood() {
    const BURST: u64 = 1_024;
    let server = server().await;
    answer_quotes(&server);
    let flood = Gossiper::start(&server).await;
    flood.is_followed_by(&server, account(1));
    let (now, account) = (unix_ms(), account(1));
    flood.say_and_be_heard(&server, account, now).await;
    let stale = said(flood.peer, account, account, now - 1);
    (0..BURST - 10).for_each(|_| flood.say(stale.clone()));
    flood.say_and_be_heard(&server, account, now + 1).await;
    assert!(!server.is_banned(flood.peer));
    let flooding = async {
        while !flood.task.is_finished() {
            (0..100).for_each(|_| flood.say(stale.clone()));
            tokio::time::sleep(STEP).await;
        }
    };
    timeout(LONG, async { tokio::join!(flooding, an_honest_peer_is_served(&server)) })
        .await
        .expect("the server hangs up");
    assert!(server.is_banned(flood.peer));
}

/// Somebody whom others ask where a peer is.
#[derive(NetworkBehaviour)]
struct Asked<B: NetworkBehaviour> {
    identify: identify::Behaviour,
    answers: B,
}

fn asked<B: NetworkBehaviour>(keypair: Keypair, server: &Network, answers: B) -> Swarm<Asked<B>> {
    let identify = identify::Config::new("/framemill/1".into(), keypair.public());
    let behaviour = Asked { identify: identify::Behaviour::new(identify), answers };
    let mut swarm = connecting_as(keypair, server, behaviour);
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    swarm
}

/// A node that looks for somebody, and asks again until somebody was asked; it never finds anything.
async fn looks_in_vain(node: &Network, wanted: PeerId, times_asked: &AtomicUsize) {
    let searching = async {
        while times_asked.load(Ordering::SeqCst) == 0 {
            assert!(!node.locate(wanted).await, "a lie was believed");
            tokio::time::sleep(STEP).await;
        }
    };
    timeout(LONG, async { tokio::join!(searching, an_honest_peer_is_served(node)) })
        .await
        .expect("a search ends");
}

/// A node that follows one author, of whose whereabouts nothing is known.
async fn searcher() -> (Network, PeerId) {
    let (node, wanted) = (server().await, PeerId::random());
    answer_quotes(&node);
    let author = Author { peer: wanted, addresses: Vec::new(), account: None, signing_key: None };
    node.follow(vec![author]).unwrap();
    (node, wanted)
}

#[tokio::test]
async fn what_is_found_of_a_peer_counts_only_in_its_own_signature_and_within_its_bounds() {
    let liar = Keypair::generate_ed25519();
    let address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let record = PeerRecord::new(&liar, vec![address]).unwrap().into_signed_envelope();
    // Signed by another; larger than a record; larger than a message.
    for value in [record.into_protobuf_encoding(), vec![1; 3_000], vec![1; 20_000]] {
        let (node, wanted) = searcher().await;
        let (keypair, times_asked) = (Keypair::generate_ed25519(), Arc::<AtomicUsize>::default());
        let local = keypair.public().to_peer_id();
        let mut config = kad::Config::new(KAD);
        config.set_max_packet_size(64 * 1024);
        let mut kad = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
        kad.set_mode(Some(Mode::Server));
        kad.store_mut().put(Record::new(wanted.to_bytes(), value)).unwrap();
        let mut swarm = asked(keypair, &node, kad);
        let counted = times_asked.clone();
        let lying = async {
            loop {
                if let SwarmEvent::Behaviour(AskedEvent::Answers(kad::Event::InboundRequest {
                    request: InboundRequest::GetRecord { .. },
                })) = swarm.select_next_some().await
                {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
            }
        };
        let looking = async {
            looks_in_vain(&node, wanted, &times_asked).await;
            node.request_quote(wanted, &quote_request(), LONG).await
        };
        tokio::select! {
            lost = looking => assert!(matches!(lost, Err(NetworkError::NoAddress { .. })), "{lost:?}"),
            () = lying => unreachable!("it never ends"),
        }
    }
}

#[tokio::test]
async fn a_search_that_is_not_answered_ends() {
    let (node, wanted) = searcher().await;
    let times_asked = AtomicUsize::new(0);
    let streams = libp2p_stream::Behaviour::new();
    let mut incoming = streams.new_control().accept(KAD).unwrap();
    let mut swarm = asked(Keypair::generate_ed25519(), &node, streams);
    let silence = async {
        let mut held = Vec::new();
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                Some((_, stream)) = incoming.next() => {
                    held.push(stream);
                    times_asked.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    };
    tokio::select! {
        () = looks_in_vain(&node, wanted, &times_asked) => {}
        () = silence => unreachable!("it never ends"),
    }
}

type Storing = Swarm<kad::Behaviour<MemoryStore>>;

/// Waits for the last result of what was asked for last; whether a record was among them.
async fn concluded(swarm: &mut Storing) -> bool {
    let mut found = false;
    loop {
        if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { result, step, .. }) =
            swarm.select_next_some().await
        {
            found |= matches!(result, QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(_))));
            // It also looks around by itself.
            if step.last && matches!(result, QueryResult::GetRecord(_) | QueryResult::PutRecord(_)) {
                return found;
            }
        }
    }
}

/// A record that a peer made of itself.
fn record_of(keypair: &Keypair) -> Record {
    let address = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
    let signed = PeerRecord::new(keypair, vec![address]).unwrap().into_signed_envelope();
    Record::new(keypair.public().to_peer_id().to_bytes(), signed.into_protobuf_encoding())
}

#[tokio::test]
async fn records_of_strangers_are_kept_while_there_is_room_and_those_of_authors_after_that() {
    const STRANGERS: usize = 256;
    let server = server().await;
    let author = Keypair::generate_ed25519();
    let followed = Author {
        peer: author.public().to_peer_id(),
        addresses: Vec::new(),
        account: None,
        signing_key: None,
    };
    server.follow(vec![followed]).unwrap();
    let local = PeerId::random();
    let kad = kad::Behaviour::with_config(local, MemoryStore::new(local), kad::Config::new(KAD));
    let mut swarm = connecting_to(&server, kad);
    let address = server.listen_addresses()[0].clone();
    swarm.behaviour_mut().add_address(&server.peer_id(), address);
    while !swarm.is_connected(&server.peer_id()) {
        swarm.next().await;
    }
    let flood = async {
        let mut kept = 0;
        for count in 0..STRANGERS + 20 {
            let record = record_of(&Keypair::generate_ed25519());
            let key = record.key.clone();
            swarm.behaviour_mut().put_record_to(record, [server.peer_id()].into_iter(), Quorum::One);
            concluded(&mut swarm).await;
            swarm.behaviour_mut().get_record(key);
            kept += usize::from(concluded(&mut swarm).await);
            assert_eq!(kept, STRANGERS.min(count + 1));
        }
        let record = record_of(&author);
        let key = record.key.clone();
        swarm.behaviour_mut().put_record_to(record, [server.peer_id()].into_iter(), Quorum::One);
        concluded(&mut swarm).await;
        swarm.behaviour_mut().get_record(key);
        concluded(&mut swarm).await
    };
    assert!(timeout(2 * LONG, flood).await.unwrap(), "an author has room");
}
