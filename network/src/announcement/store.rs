//! Which announcements are kept and passed on. No I/O: messages, time and the recovery of signers are passed in.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use libp2p::PeerId;

use super::{
    Announcement, Author, MAX_ANNOUNCEMENT_BYTES, MAX_ANNOUNCEMENT_LIFE_MS, MAX_CLOCK_SKEW_MS, Recover,
    SignedAnnouncement,
};
use crate::gate::TokenBucket;
use crate::signing::SigningDomain;
use crate::wire::WireMessage;

/// Authors followed: several times the largest active set; further ones are left out.
pub const MAX_AUTHORS: usize = 1_024;
/// Announcements of one author per ten seconds in the long run. Its prices change less often.
const AUTHOR_PER_TEN_SECONDS: u32 = 2;
/// Announcements of one author at once after a pause: restarts, and changes in a row.
const AUTHOR_BURST: u32 = 6;
/// Messages of one neighbour per second in the long run: a whole active set twice a minute.
const NEIGHBOUR_PER_SECOND: u32 = 32;
/// Messages of one neighbour at once: a whole active set when it connects.
const NEIGHBOUR_BURST: u32 = 1_024;
/// Neighbours whose budgets are held: more than may be connected.
const MAX_NEIGHBOURS: usize = 2_048;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new and true: keep it and pass it on.
    Forward,
    /// It is of no use here; who passed it on may not have known.
    Ignore,
    /// Its neighbour sends more than it may.
    Flood,
    /// Every honest node would have dropped it: its neighbour is to blame.
    Reject,
}

/// A message as it came in.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Who passed it on.
    pub(crate) neighbour: PeerId,
    /// Who signed the message as its first sender, with the key of its network identity; checked by the transport.
    pub(crate) source: Option<PeerId>,
    /// The encoded announcement.
    pub(crate) data: &'a [u8],
}

/// The time, for budgets and for dates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix_ms: u64,
}

#[derive(Debug)]
struct Entry {
    author: Author,
    newest: Option<SignedAnnouncement>,
    budget: TokenBucket,
}

/// The newest announcement of every author.
#[derive(Debug)]
pub(crate) struct Announcements {
    domain: SigningDomain,
    recover: Recover,
    entries: HashMap<PeerId, Entry>,
    neighbours: HashMap<PeerId, TokenBucket>,
}

impl Announcements {
    pub(crate) fn new(domain: SigningDomain, recover: Recover) -> Self {
        Self { domain, recover, entries: HashMap::new(), neighbours: HashMap::new() }
    }

    /// Replaces the authors, at most [`MAX_AUTHORS`] of them. What was heard of those who stay is kept; if who may sign for one
    /// has changed, it is not.
    pub(crate) fn follow(&mut self, authors: impl IntoIterator<Item = Author>, now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for author in authors.into_iter().take(MAX_AUTHORS) {
            let known = before.remove(&author.peer);
            let known = known.filter(|known| {
                (known.author.account, known.author.signing_key) == (author.account, author.signing_key)
            });
            let entry = match known {
                Some(known) => Entry { author, ..known },
                None => Entry {
                    budget: TokenBucket::per_ten_seconds(AUTHOR_PER_TEN_SECONDS, AUTHOR_BURST, now),
                    newest: None,
                    author,
                },
            };
            self.entries.insert(entry.author.peer, entry);
        }
    }

    /// Looks at a message, the cheap checks first: a signature is recovered at most as often as an author may announce.
    pub(crate) fn receive(&mut self, message: &Received<'_>, now: Now) -> Verdict {
        if !self.take_from_neighbour(message.neighbour, now.instant) {
            return Verdict::Flood;
        }
        if message.data.len() > MAX_ANNOUNCEMENT_BYTES {
            return Verdict::Reject;
        }
        let Ok(signed) = SignedAnnouncement::decode(Bytes::copy_from_slice(message.data)) else {
            return Verdict::Reject;
        };
        let announcement = &signed.announcement;
        if message.source != Some(announcement.peer) || !lives_within_bounds(announcement) {
            return Verdict::Reject;
        }
        // Nodes learn of a change of the active set at different times.
        let Some(entry) = self.entries.get_mut(&announcement.peer) else { return Verdict::Ignore };
        if !is_news(entry.newest.as_ref(), announcement, now.unix_ms) {
            return Verdict::Ignore;
        }
        if entry.budget.take(now.instant).is_err() {
            return Verdict::Ignore;
        }
        let signer = (self.recover)(announcement.signing_hash(&self.domain), &signed.signature);
        if !signer.is_some_and(|signer| entry.author.may_sign(announcement.orchestrator, signer)) {
            return Verdict::Reject;
        }
        entry.newest = Some(signed);
        Verdict::Forward
    }

    /// A neighbour's connection has ended.
    pub(crate) fn forget_neighbour(&mut self, neighbour: &PeerId, now: Instant) {
        // A budget that is not full is kept, or reconnecting would fill it.
        if self.neighbours.get_mut(neighbour).is_some_and(|budget| budget.is_full_at(now)) {
            self.neighbours.remove(neighbour);
        }
    }

    /// What was heard last of each author, where it still says something.
    pub(crate) fn newest(&self, now_unix_ms: u64) -> Vec<Announcement> {
        let heard = self.entries.values().filter_map(|entry| entry.newest.as_ref());
        let valid = heard.map(|signed| &signed.announcement).filter(|heard| !heard.is_expired(now_unix_ms));
        valid.cloned().collect()
    }

    /// What was heard last of one author, where it still says something.
    pub(crate) fn of(&self, peer: &PeerId, now_unix_ms: u64) -> Option<Announcement> {
        let newest = &self.entries.get(peer)?.newest.as_ref()?.announcement;
        (!newest.is_expired(now_unix_ms)).then(|| newest.clone())
    }

    /// The followed authors.
    pub(crate) fn authors(&self) -> impl Iterator<Item = &Author> {
        self.entries.values().map(|entry| &entry.author)
    }

    pub(crate) fn is_author(&self, peer: &PeerId) -> bool {
        self.entries.contains_key(peer)
    }

    fn take_from_neighbour(&mut self, neighbour: PeerId, now: Instant) -> bool {
        if self.neighbours.len() >= MAX_NEIGHBOURS && !self.neighbours.contains_key(&neighbour) {
            self.neighbours.retain(|_, budget| !budget.is_full_at(now));
            if self.neighbours.len() >= MAX_NEIGHBOURS {
                return false;
            }
        }
        let fresh = || TokenBucket::new(NEIGHBOUR_PER_SECOND, NEIGHBOUR_BURST, now);
        self.neighbours.entry(neighbour).or_insert_with(fresh).take(now).is_ok()
    }
}

/// True for any clock: an announcement's own dates.
fn lives_within_bounds(announcement: &Announcement) -> bool {
    let life = announcement.expires_at_unix_ms.checked_sub(announcement.sequence);
    life.is_some_and(|life| life <= MAX_ANNOUNCEMENT_LIFE_MS)
}

/// Later than what is known, of this time, and not over.
fn is_news(newest: Option<&SignedAnnouncement>, heard: &Announcement, now_unix_ms: u64) -> bool {
    let later = newest.is_none_or(|newest| heard.sequence > newest.announcement.sequence);
    later && !heard.is_expired(now_unix_ms) && heard.sequence <= now_unix_ms.saturating_add(MAX_CLOCK_SKEW_MS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy_primitives::{Address, B256};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::announcement::tests::announcement;
    use crate::signing::SignatureBytes;

    /// In these tests a signature is its signer's address, so that the rules are looked at and not the curve.
    fn recover(_: B256, signature: &SignatureBytes) -> Option<Address> {
        (signature[64] == 27).then(|| Address::from_slice(&signature[..20]))
    }

    fn signed(announcement: Announcement, signer: Address) -> Vec<u8> {
        let mut signature = [0; 65];
        signature[..20].copy_from_slice(signer.as_slice());
        signature[64] = 27;
        SignedAnnouncement { announcement, signature }.to_proto().encode_to_vec()
    }

    fn author(peer: PeerId) -> Author {
        Author { peer, addresses: Vec::new(), account: Some(Address::repeat_byte(1)), signing_key: None }
    }

    struct Heard {
        store: Announcements,
        peer: PeerId,
        start: Instant,
    }

    impl Heard {
        fn new() -> Self {
            let (peer, start) = (PeerId::random(), Instant::now());
            let mut store = Announcements::new(SigningDomain::default(), recover);
            store.follow([author(peer)], start);
            Self { store, peer, start }
        }

        fn now(&self, unix_ms: u64) -> Now {
            Now { instant: self.start + Duration::from_millis(unix_ms), unix_ms }
        }

        fn from(&mut self, source: PeerId, data: &[u8], unix_ms: u64) -> Verdict {
            let message = Received { neighbour: PeerId::random(), source: Some(source), data };
            let now = self.now(unix_ms);
            self.store.receive(&message, now)
        }

        fn receive(&mut self, announcement: Announcement, unix_ms: u64) -> Verdict {
            let signer = announcement.orchestrator;
            self.from(announcement.peer, &signed(announcement, signer), unix_ms)
        }
    }

    #[test]
    fn the_newest_wins_in_whatever_order_they_come() {
        let mut heard = Heard::new();
        let base = announcement(heard.peer);
        let at = |sequence, capacity| Announcement { sequence, capacity, ..base.clone() };
        assert_eq!(heard.receive(at(1_000_000, 1), 1_000_000), Verdict::Forward);
        assert_eq!(heard.receive(at(1_000_002, 2), 1_000_002), Verdict::Forward);
        assert_eq!(heard.receive(at(1_000_001, 3), 1_000_003), Verdict::Ignore);
        assert_eq!(heard.receive(at(1_000_002, 4), 1_000_003), Verdict::Ignore);
        assert_eq!(heard.store.newest(1_000_004)[0].capacity, 2);
    }

    #[test]
    fn one_that_is_over_is_neither_kept_nor_told() {
        let mut heard = Heard::new();
        let base = announcement(heard.peer);
        let end = base.expires_at_unix_ms;
        assert_eq!(heard.receive(base.clone(), end), Verdict::Ignore);
        assert_eq!(heard.receive(base, end - 1), Verdict::Forward);
        assert_eq!((heard.store.newest(end - 1).len(), heard.store.newest(end).len()), (1, 0));
    }

    #[test]
    fn one_from_the_future_or_with_too_long_a_life_is_not_taken() {
        let mut heard = Heard::new();
        let base = announcement(heard.peer);
        let early = base.sequence - MAX_CLOCK_SKEW_MS - 1;
        assert_eq!(heard.receive(base.clone(), early), Verdict::Ignore);
        let long = base.sequence + MAX_ANNOUNCEMENT_LIFE_MS + 1;
        let forever = Announcement { expires_at_unix_ms: long, ..base.clone() };
        assert_eq!(heard.receive(forever, base.sequence), Verdict::Reject);
    }

    #[test]
    fn a_strangers_is_not_passed_on_and_costs_its_neighbour_nothing() {
        let mut heard = Heard::new();
        let stranger = announcement(PeerId::random());
        assert_eq!(heard.receive(stranger, 1_000_000), Verdict::Ignore);
        assert!(heard.store.newest(1_000_000).is_empty());
    }

    #[test]
    fn only_the_author_and_its_registered_key_may_sign_and_only_the_peer_may_send() {
        let mut heard = Heard::new();
        let (peer, key) = (heard.peer, Address::repeat_byte(9));
        let base = announcement(peer);
        let by_key = signed(base.clone(), key);
        assert_eq!(heard.from(peer, &by_key, 1_000_000), Verdict::Reject);
        let other = Announcement { orchestrator: key, ..base.clone() };
        assert_eq!(heard.from(peer, &signed(other, key), 1_000_000), Verdict::Reject);
        let replayed = signed(base.clone(), base.orchestrator);
        assert_eq!(heard.from(PeerId::random(), &replayed, 1_000_000), Verdict::Reject);
        heard.store.follow([Author { signing_key: Some(key), ..author(peer) }], heard.start);
        assert_eq!(heard.from(peer, &by_key, 1_000_000), Verdict::Forward);
    }

    #[test]
    fn noise_and_more_bytes_than_the_bound_are_rejected() {
        let mut heard = Heard::new();
        let peer = heard.peer;
        assert_eq!(heard.from(peer, &[0xff; 64], 0), Verdict::Reject);
        assert_eq!(heard.from(peer, &[0; MAX_ANNOUNCEMENT_BYTES + 1], 0), Verdict::Reject);
    }

    #[test]
    fn an_author_that_announces_too_often_is_not_passed_on() {
        let mut heard = Heard::new();
        let base = announcement(heard.peer);
        let at = |offset| Announcement { sequence: base.sequence + offset, ..base.clone() };
        let taken = (0..100).filter(|&n| heard.receive(at(n), 1_000_000) == Verdict::Forward).count();
        assert_eq!(taken, AUTHOR_BURST as usize);
        assert_eq!(heard.receive(at(200), 1_005_000), Verdict::Forward);
    }

    #[test]
    fn a_neighbour_that_sends_too_much_is_told_from_the_others() {
        let mut heard = Heard::new();
        let neighbour = PeerId::random();
        let now = heard.now(1_000_000);
        let mut receive =
            |neighbour| heard.store.receive(&Received { neighbour, source: None, data: &[] }, now);
        assert!((0..NEIGHBOUR_BURST).all(|_| receive(neighbour) == Verdict::Reject));
        assert_eq!(receive(neighbour), Verdict::Flood);
        assert_eq!(receive(PeerId::random()), Verdict::Reject);
    }

    #[test]
    fn who_leaves_the_active_set_is_forgotten_and_who_stays_is_not() {
        let mut heard = Heard::new();
        let base = announcement(heard.peer);
        heard.receive(base, 1_000_000);
        let (peer, start) = (heard.peer, heard.start);
        heard.store.follow([author(peer), author(PeerId::random())], start);
        assert_eq!(heard.store.newest(1_000_000).len(), 1);
        heard.store.follow([Author { account: Some(Address::repeat_byte(5)), ..author(peer) }], start);
        assert!(heard.store.newest(1_000_000).is_empty(), "another account speaks for this peer now");
    }

    #[test]
    fn a_flood_of_identities_leaves_bounded_state() {
        let mut heard = Heard::new();
        let now = heard.now(1_000_000);
        heard.store.follow((0..2 * MAX_AUTHORS).map(|_| author(PeerId::random())), now.instant);
        for _ in 0..2 * MAX_NEIGHBOURS {
            heard.store.receive(&Received { neighbour: PeerId::random(), source: None, data: &[] }, now);
        }
        assert!(heard.store.entries.len() <= MAX_AUTHORS && heard.store.neighbours.len() <= MAX_NEIGHBOURS);
    }

    proptest! {
        /// After any run of messages each author's newest is the latest that was good, and nothing has grown past its bound.
        #[test]
        fn the_store_is_bounded_and_keeps_the_latest(
            messages in prop::collection::vec((0..3_usize, 0..50_u64, any::<bool>(), 0..4_000_u64), 0..60)
        ) {
            let mut heard = Heard::new();
            let peers = [heard.peer, PeerId::random(), PeerId::random()];
            let start = heard.start;
            heard.store.follow(peers.map(author), start);
            let mut best = [None; 3];
            let mut clock = 1_000_000;
            for (index, step, honest, pause) in messages {
                clock += pause;
                let sequence = 1_000_000 + step * 1_000;
                let heard_of = Announcement { sequence, expires_at_unix_ms: sequence + 3_600_000, ..announcement(peers[index]) };
                let signer = if honest { heard_of.orchestrator } else { Address::repeat_byte(66) };
                let verdict = heard.from(peers[index], &signed(heard_of, signer), clock);
                if verdict == Verdict::Forward {
                    prop_assert!(honest && best[index].is_none_or(|best| sequence > best));
                    best[index] = Some(sequence);
                }
            }
            for told in heard.store.newest(clock) {
                let index = peers.iter().position(|peer| *peer == told.peer).unwrap();
                prop_assert_eq!(Some(told.sequence), best[index]);
            }
        }

        #[test]
        fn arbitrary_bytes_are_never_passed_on(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut heard = Heard::new();
            let peer = heard.peer;
            prop_assert_ne!(heard.from(peer, &data, 1_000_000), Verdict::Forward);
        }
    }
}
