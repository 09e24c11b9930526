//! Finding peers: Kademlia for the addresses of known ones, gossip for what orchestrators announce.
//!
//! Whom to trust is never asked of the network: authors come from the chain or the configuration ([`Shared::follow`]), and all that
//! is heard of them is signed with their own keys.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::gossipsub::{
    self, IdentTopic, MessageAcceptance, MessageAuthenticity, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{self, GetRecordOk, InboundRequest, Mode, QueryId, QueryResult, Quorum, Record};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify};
use rand::seq::IteratorRandom;
use tokio::sync::oneshot;

use super::shared::{Shared, unix_ms};
use super::swarm::Behaviour;
use crate::announcement::{MAX_ANNOUNCEMENT_BYTES, MAX_AUTHORS, Now, Received, Verdict};
use crate::conduct::Offence;
use crate::config::DiscoveryConfig;
use crate::discovery::{ServiceAddress, is_relayed};
use crate::records::{self, MAX_RECORD_BYTES};

/// Kademlia of Framemill's own: its nodes are not those of other networks.
pub(crate) const KAD_PROTOCOL: &str = "/framemill/kad/1";
/// The topic that orchestrators announce on.
pub(crate) const TOPIC: &str = "framemill/announcements/1";

/// Room around an announcement in a gossip message: source, number, topic, signature, key.
const GOSSIP_OVERHEAD: usize = 512;
/// Gossip that is held unread: the library applies this to all that has arrived, not to one message, so that there has to be
/// room for the rest of one and a whole read of 8 KiB.
const MAX_GOSSIP_READ: usize = 16 * 1024;
/// Announcements in that: no more small ones fit.
const MAX_MESSAGES: usize = 128;
/// Control entries in one gossip message that are looked at.
const MAX_CONTROL: usize = 64;
/// Gossip messages that wait for a slow neighbour before further ones are dropped.
const GOSSIP_QUEUE: usize = 128;
/// How long a gossip message's number is remembered; its announcement's sequence is remembered for good.
const DUPLICATE_MEMORY: Duration = Duration::from_secs(120);
/// Score of a neighbour below which it is banned. At -80 its messages are not looked at any more, which three with false
/// signatures, or too large, are enough for; that it gets better by waiting for the next look is what the distance is for.
const HOPELESS: f64 = -50.0;

/// Address records held for others: of every author, and of some strangers that may become authors.
const MAX_RECORDS: usize = MAX_AUTHORS + MAX_STRANGERS;
/// Of these, of peers that are no authors.
const MAX_STRANGERS: usize = 256;
/// Life of an address record.
const RECORD_LIFE: Duration = Duration::from_secs(3_600);
/// Between two publications of the own record.
const RECORD_INTERVAL: Duration = Duration::from_secs(600);
/// Largest Kademlia message: twenty peers with a few addresses each.
const MAX_KAD_MESSAGE: usize = 16 * 1024;
/// Time for one search.
const SEARCH_TIME: Duration = Duration::from_secs(10);
/// Searches at a time.
const MAX_SEARCHES: usize = 16;
/// Who waits for one search.
const MAX_WAITING: usize = 64;
/// Pause before a peer that was not found is searched for again.
const SEARCH_PAUSE: Duration = Duration::from_secs(5);
/// Addresses of one peer in the routing table.
const MAX_ROUTED_ADDRESSES: usize = 4;

/// Neighbours that a node wants; it dials authors and bootstrap nodes until it has them.
const WANTED_NEIGHBOURS: usize = 4;
/// Dialed at a time to get them.
const DIALED_AT_ONCE: usize = 2;

/// Gossip restricted to the one topic.
pub(crate) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

pub(super) fn kademlia(local: PeerId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(SEARCH_TIME)
        .set_replication_factor(NonZeroUsize::new(8).expect("eight is not zero"))
        .disjoint_query_paths(true)
        .set_record_ttl(Some(RECORD_LIFE))
        // Each node publishes its own record.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_caching(kad::Caching::Disabled)
        .set_max_packet_size(MAX_KAD_MESSAGE);
    let store = MemoryStoreConfig {
        max_records: MAX_RECORDS,
        max_value_bytes: MAX_RECORD_BYTES + 1,
        max_providers_per_key: 0,
        max_provided_keys: 0,
    };
    let mut behaviour = kad::Behaviour::with_config(local, MemoryStore::with_config(local, store), config);
    // A server once somebody can reach it ([`Discovery::set_reachable`]).
    behaviour.set_mode(Some(Mode::Client));
    behaviour
}

pub(super) fn gossip(keypair: &Keypair) -> Result<Gossip, String> {
    let topic = IdentTopic::new(TOPIC);
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(MAX_GOSSIP_READ)
        .max_transmit_size_for_topic(MAX_ANNOUNCEMENT_BYTES + GOSSIP_OVERHEAD, topic.hash())
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .max_publish_messages(MAX_MESSAGES)
        .max_control_messages_sent(MAX_CONTROL)
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .duplicate_cache_time(DUPLICATE_MEMORY)
        .heartbeat_initial_delay(Duration::from_secs(1))
        .build()
        .map_err(|error| error.to_string())?;
    let filter = WhitelistSubscriptionFilter([topic.hash()].into());
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Signed(keypair.clone()), config, filter)?;
    gossip.with_peer_score(score(&topic), PeerScoreThresholds::default())?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// Only what no honest node does counts: nothing is expected of a neighbour, and many may share an address.
fn score(topic: &IdentTopic) -> PeerScoreParams {
    let topic_score = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: [(topic.hash(), topic_score)].into(),
        ip_colocation_factor_weight: 0.0,
        retain_score: Duration::from_secs(60),
        ..PeerScoreParams::default()
    }
}

/// A search, and who waits for it.
#[derive(Default)]
struct Search {
    waiting: Vec<oneshot::Sender<bool>>,
    found: bool,
}

/// What the swarm's task does to find peers.
pub(super) struct Discovery {
    shared: Arc<Shared>,
    keypair: Keypair,
    bootstrap: Vec<ServiceAddress>,
    searches: HashMap<QueryId, PeerId>,
    searched: HashMap<PeerId, Search>,
    /// Peers that were not found, and when.
    lost: HashMap<PeerId, Instant>,
    /// This node's announcement as it is sent.
    own: Option<Vec<u8>>,
    /// Somebody has come who may not have heard it.
    untold: bool,
    published: Option<Instant>,
}

impl Discovery {
    pub(super) fn new(shared: Arc<Shared>, keypair: Keypair, config: &DiscoveryConfig) -> Self {
        Self {
            shared,
            keypair,
            bootstrap: config.bootstrap.clone(),
            searches: HashMap::new(),
            searched: HashMap::new(),
            lost: HashMap::new(),
            own: None,
            untold: false,
            published: None,
        }
    }

    /// Tells everybody what this node announces.
    pub(super) fn announce(&mut self, swarm: &mut Swarm<Behaviour>, announcement: Vec<u8>) {
        self.own = Some(announcement);
        self.tell(swarm);
    }

    fn tell(&mut self, swarm: &mut Swarm<Behaviour>) {
        let (Some(own), Some(gossip)) = (&self.own, swarm.behaviour_mut().gossip.as_mut()) else { return };
        // Without a neighbour it is told to the next one that comes.
        self.untold = gossip.publish(IdentTopic::new(TOPIC), own.clone()).is_err();
    }

    /// Looks for a peer and answers whether something new was found. Only authors are looked for: who else asks this node to
    /// search could have it ask the whole network.
    pub(super) fn locate(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    ) {
        let now = Instant::now();
        self.lost.retain(|_, since| now.saturating_duration_since(*since) < SEARCH_PAUSE);
        if let Some(search) = self.searched.get_mut(&peer) {
            if search.waiting.len() < MAX_WAITING {
                search.waiting.push(reply);
            }
            return;
        }
        let followed = self.shared.with_announcements(|store| store.is_author(&peer)).unwrap_or(false);
        let Some(kad) = swarm.behaviour_mut().kad.as_mut() else { return };
        let alone = kad.kbuckets().all(|bucket| bucket.is_empty());
        if alone || !followed || self.searched.len() >= MAX_SEARCHES || self.lost.contains_key(&peer) {
            // Dropping the reply answers that nothing was found.
            return;
        }
        self.searches.insert(kad.get_record(records::key_of(&peer).into()), peer);
        self.searched.insert(peer, Search { waiting: vec![reply], found: false });
    }

    /// Called every few seconds.
    pub(super) fn tick(&mut self, swarm: &mut Swarm<Behaviour>) {
        if self.untold {
            self.tell(swarm);
        }
        self.meet_neighbours(swarm);
        self.publish_record(swarm);
        self.expire(swarm);
    }

    /// Adjusts to where others reach this node: only who can be reached serves the others' searches.
    pub(super) fn set_reachable(&mut self, swarm: &mut Swarm<Behaviour>) {
        let reachable = self.shared.external().iter().any(|address| !is_relayed(address));
        let mode = if reachable { Mode::Server } else { Mode::Client };
        if let Some(kad) = swarm.behaviour_mut().kad.as_mut()
            && kad.mode() != mode
        {
            kad.set_mode(Some(mode));
        }
        self.published = None;
        self.publish_record(swarm);
    }

    /// Keeps the own record where others look for it.
    fn publish_record(&mut self, swarm: &mut Swarm<Behaviour>) {
        let now = Instant::now();
        if self.published.is_some_and(|at| now.saturating_duration_since(at) < RECORD_INTERVAL) {
            return;
        }
        let Some(value) = records::make(&self.keypair, self.shared.external()) else { return };
        let key = records::key_of(swarm.local_peer_id());
        let Some(kad) = swarm.behaviour_mut().kad.as_mut() else { return };
        if kad.kbuckets().all(|bucket| bucket.is_empty()) {
            return;
        }
        // The node's own store is far from full: it holds what was checked below its bound.
        if kad.put_record(Record::new(key, value), Quorum::One).is_ok() {
            self.published = Some(now);
        }
    }

    /// Dials some of those this node may know until it has neighbours.
    fn meet_neighbours(&mut self, swarm: &mut Swarm<Behaviour>) {
        let local = *swarm.local_peer_id();
        let authors = self
            .shared
            .with_announcements(|store| store.authors().map(|author| author.peer).collect::<Vec<_>>());
        let known = self.bootstrap.iter().map(ServiceAddress::peer).chain(authors.unwrap_or_default());
        let known: std::collections::HashSet<_> = known.filter(|peer| *peer != local).collect();
        let missing: Vec<_> = known.iter().filter(|peer| !swarm.is_connected(peer)).copied().collect();
        let wanted = WANTED_NEIGHBOURS.saturating_sub(known.len() - missing.len()).min(DIALED_AT_ONCE);
        for peer in missing.into_iter().sample(&mut rand::rng(), wanted) {
            let addresses = self.addresses(&peer);
            if addresses.is_empty() {
                continue;
            }
            let opts = DialOpts::peer_id(peer)
                .addresses(addresses)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .build();
            // It is dialed already, or turned away: another one is picked next time.
            let _ = swarm.dial(opts);
        }
    }

    fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let mut addresses = self.shared.addresses(peer);
        let bootstrap = self.bootstrap.iter().filter(|service| service.peer() == *peer);
        addresses.extend(bootstrap.flat_map(|service| service.addresses().iter().cloned()));
        addresses
    }

    /// Drops records that are over, and neighbours that only send what is false.
    fn expire(&mut self, swarm: &mut Swarm<Behaviour>) {
        let now = Instant::now();
        if let Some(kad) = swarm.behaviour_mut().kad.as_mut() {
            kad.store_mut().retain(|_, record| !record.is_expired(now));
        }
        let connected: Vec<_> = swarm.connected_peers().copied().collect();
        let Some(gossip) = swarm.behaviour_mut().gossip.as_mut() else { return };
        let hopeless = |peer: &&PeerId| gossip.peer_score(peer).is_some_and(|score| score < HOPELESS);
        for peer in connected.iter().filter(hopeless) {
            self.shared.offend(*peer, Offence::Ruinous);
        }
    }

    /// A peer that serves Kademlia joins the routing table with what it says of itself: false addresses cost a failed dial.
    pub(super) fn on_identified(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId, info: identify::Info) {
        let serves = info.protocols.iter().any(|protocol| protocol.as_ref() == KAD_PROTOCOL);
        let Some(kad) = swarm.behaviour_mut().kad.as_mut() else { return };
        if !serves {
            return;
        }
        // As a whole, so that a peer cannot add addresses without end.
        kad.remove_peer(&peer);
        for address in info.listen_addrs.into_iter().take(MAX_ROUTED_ADDRESSES) {
            kad.add_address(&peer, address);
        }
        if self.published.is_none() {
            self.publish_record(swarm);
        }
    }

    pub(super) fn on_disconnected(&mut self, peer: &PeerId) {
        self.shared.with_announcements(|store| store.forget_neighbour(peer, Instant::now()));
    }

    pub(super) fn on_gossip(&mut self, swarm: &mut Swarm<Behaviour>, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let received =
                    Received { neighbour: propagation_source, source: message.source, data: &message.data };
                let acceptance = self.receive(&received);
                if let Some(gossip) = swarm.behaviour_mut().gossip.as_mut() {
                    gossip.report_message_validation_result(&message_id, &propagation_source, acceptance);
                }
            }
            gossipsub::Event::Subscribed { .. } => self.untold = true,
            _ => {}
        }
    }

    fn receive(&self, received: &Received<'_>) -> MessageAcceptance {
        let now = Now { instant: Instant::now(), unix_ms: unix_ms() };
        let verdict = self.shared.with_announcements(|store| store.receive(received, now));
        match verdict.unwrap_or(Verdict::Ignore) {
            Verdict::Forward => {
                self.shared.heard().send_modify(|count| *count += 1);
                MessageAcceptance::Accept
            }
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Flood => {
                self.shared.offend(received.neighbour, Offence::Flood);
                MessageAcceptance::Ignore
            }
            Verdict::Reject => {
                self.shared.offend(received.neighbour, Offence::Forged);
                MessageAcceptance::Reject
            }
        }
    }

    pub(super) fn on_kad(&mut self, swarm: &mut Swarm<Behaviour>, event: kad::Event) {
        match event {
            kad::Event::InboundRequest {
                request: InboundRequest::PutRecord { source, record: Some(record), .. },
            } => self.keep(swarm, source, record),
            kad::Event::OutboundQueryProgressed {
                id, result: QueryResult::GetRecord(result), step, ..
            } => {
                if let Ok(GetRecordOk::FoundRecord(found)) = result {
                    self.found(swarm, id, &found.record);
                }
                if step.last {
                    self.ended(id);
                }
            }
            _ => {}
        }
    }

    /// Stores somebody's record, when it is that peer's own and there is room for it.
    fn keep(&self, swarm: &mut Swarm<Behaviour>, source: PeerId, record: Record) {
        let read = match records::read(record.key.as_ref(), &record.value) {
            Ok(read) => read,
            Err(_) => return self.shared.offend(source, Offence::Forged),
        };
        let is_author = |key: &[u8]| {
            let peer = PeerId::from_bytes(key).ok();
            peer.is_some_and(|peer| {
                self.shared.with_announcements(|store| store.is_author(&peer)) == Some(true)
            })
        };
        let Some(kad) = swarm.behaviour_mut().kad.as_mut() else { return };
        let store = kad.store_mut();
        let known = store.get(&record.key).map(|known| known.value.clone());
        let strangers = || store.records().filter(|kept| !is_author(kept.key.as_ref())).count();
        if known.is_none() && !is_author(record.key.as_ref()) && strangers() >= MAX_STRANGERS {
            return;
        }
        if records::supersedes(&read, known.as_deref()).is_ok() {
            // A full store keeps what it has: it is full of authors.
            let _ = store.put(Record { publisher: None, ..record });
        }
    }

    fn found(&mut self, swarm: &mut Swarm<Behaviour>, id: QueryId, record: &Record) {
        let Some(&peer) = self.searches.get(&id) else { return };
        // A forged record ends nothing: the search goes on elsewhere.
        let Ok(read) = records::read(&records::key_of(&peer), &record.value) else { return };
        let before = self.shared.addresses(&peer);
        let news = read.addresses.iter().any(|address| !before.contains(address));
        if self.shared.found_peer(peer, read.addresses).is_err() {
            return;
        }
        if let Some(search) = self.searched.get_mut(&peer) {
            search.found |= news;
        }
        if let Some(mut query) = swarm.behaviour_mut().kad.as_mut().and_then(|kad| kad.query_mut(&id)) {
            query.finish();
        }
    }

    fn ended(&mut self, id: QueryId) {
        let Some(peer) = self.searches.remove(&id) else { return };
        let search = self.searched.remove(&peer).unwrap_or_default();
        if !search.found && self.lost.len() < MAX_AUTHORS {
            self.lost.insert(peer, Instant::now());
        }
        for reply in search.waiting {
            // Whoever asked may have given up.
            let _ = reply.send(search.found);
        }
    }
}
