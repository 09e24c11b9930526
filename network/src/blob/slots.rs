//! Who is sent a file: a bounded number of sends, in which peers that are vouched for take the places of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libp2p::PeerId;
use tokio::time::Instant;

use crate::transfer::MAX_CHUNK_BYTES;

/// Files that are sent at once; each holds one chunk in memory, 16 MiB in all.
pub(super) const MAX_SENT: usize = 256;
/// Of these, for one peer: who reads slowly must not keep others waiting.
pub(super) const MAX_SENT_TO_ONE: usize = 4;

/// A file on its way.
#[derive(Debug)]
pub(super) struct Sending {
    peer: PeerId,
    vouched: bool,
    since: Instant,
    sent: Arc<AtomicU64>,
}

impl Sending {
    /// One that begins now and counts its bytes in `sent`.
    pub(super) fn new(peer: PeerId, vouched: bool, since: Instant, sent: Arc<AtomicU64>) -> Self {
        Self { peer, vouched, since, sent }
    }

    /// Bytes per second; a chunk that was not sent yet counts, so that one that has just begun is not the slowest.
    fn rate(&self, now: Instant) -> u128 {
        let bytes = u128::from(self.sent.load(Ordering::Relaxed)) + MAX_CHUNK_BYTES as u128;
        bytes * 1_000 / (now.duration_since(self.since).as_millis() + 1)
    }
}

/// Where the next file can go.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<K> {
    Free,
    /// When this one is ended.
    InsteadOf(K),
    None,
}

/// The files on their way, each with what ends it.
#[derive(Debug)]
pub(super) struct Slots<K, T>(HashMap<K, (Sending, T)>);

impl<K: Copy + Eq + Hash, T> Slots<K, T> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Where a file for this peer can go.
    pub(super) fn place(&self, peer: PeerId, vouched: bool, now: Instant) -> Place<K> {
        if self.0.values().filter(|(sending, _)| sending.peer == peer).count() >= MAX_SENT_TO_ONE {
            return Place::None;
        }
        if self.0.len() < MAX_SENT {
            return Place::Free;
        }
        let strangers = self.0.iter().filter(|(_, (sending, _))| vouched && !sending.vouched);
        let slowest = strangers.min_by_key(|(_, (sending, _))| sending.rate(now));
        slowest.map_or(Place::None, |(key, _)| Place::InsteadOf(*key))
    }

    pub(super) fn enter(&mut self, key: K, sending: Sending, end: T) {
        self.0.insert(key, (sending, end));
    }

    pub(super) fn leave(&mut self, key: K) -> Option<T> {
        self.0.remove(&key).map(|(_, end)| end)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// All places taken by strangers, four each; the one in the middle is slower than the others.
    fn full(start: Instant) -> Slots<usize, ()> {
        let mut slots = Slots::new();
        for key in 0..MAX_SENT / MAX_SENT_TO_ONE {
            let peer = PeerId::random();
            for stream in 0..MAX_SENT_TO_ONE {
                let key = key * MAX_SENT_TO_ONE + stream;
                let bytes = if key == MAX_SENT / 2 { 1_000 } else { 1_000_000 };
                assert_eq!(slots.place(peer, false, start), Place::Free);
                slots.enter(key, Sending::new(peer, false, start, Arc::new(AtomicU64::new(bytes))), ());
            }
            assert_eq!(slots.place(peer, false, start), Place::None, "it has its share");
        }
        slots
    }

    #[test]
    fn a_peer_that_is_vouched_for_takes_the_place_of_the_slowest_stranger() {
        let start = Instant::now();
        let now = start + Duration::from_secs(60);
        let mut slots = full(start);
        assert_eq!(slots.place(PeerId::random(), false, now), Place::None, "strangers wait");
        assert_eq!(slots.place(PeerId::random(), true, now), Place::InsteadOf(MAX_SENT / 2));
        slots.leave(MAX_SENT / 2);
        assert_eq!(slots.place(PeerId::random(), false, now), Place::Free);
    }

    #[test]
    fn one_that_has_just_begun_is_not_the_slowest() {
        let start = Instant::now();
        let now = start + Duration::from_secs(600);
        let mut slots = full(start);
        slots.leave(0);
        slots.enter(0, Sending::new(PeerId::random(), false, now, Arc::default()), ());
        assert_eq!(slots.place(PeerId::random(), true, now), Place::InsteadOf(MAX_SENT / 2));
    }

    #[test]
    fn peers_that_are_vouched_for_do_not_push_out_each_other() {
        let now = Instant::now();
        let mut slots = Slots::new();
        for key in 0..MAX_SENT {
            slots.enter(key, Sending::new(PeerId::random(), true, now, Arc::default()), ());
        }
        assert_eq!(slots.place(PeerId::random(), true, now), Place::None);
    }
}
