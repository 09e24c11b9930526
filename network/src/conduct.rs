//! How each peer has behaved: offences add to a score that leaks away, a full score is a ban, and bans grow with every strike
//! and are forgiven with time. Time is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;

/// Score at which a peer is banned.
const FULL: u64 = 100_000;
/// What leaks away per millisecond: one malformed message is forgotten after ten seconds, a full score after 100.
const LEAK: u64 = 1;
/// The first ban of a peer; each further strike doubles it.
const FIRST_BAN: Duration = Duration::from_secs(30);
/// No ban is longer, so that an operator who has mended a node need not change its identity.
const LONGEST_BAN: Duration = Duration::from_secs(3_600);
/// Good conduct after which one strike is forgotten.
const STRIKE_FORGOTTEN: Duration = Duration::from_secs(600);
/// Strikes counted: the ban has reached its longest by then.
const MAX_STRIKES: u32 = 8;
/// Peers remembered. Identities are free: when there is no room, those with the least against them are forgotten.
pub(crate) const MAX_REMEMBERED: usize = 8_192;

/// What a peer can do wrong on a stream that it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offence {
    /// A stream above its budget. One in passing is nothing; a flood fills the score with a hundred.
    Flood,
    /// Too slow or silent for a bound. May be an honest peer on a bad line, unless it happens often.
    Slow,
    /// A message that breaks a protocol or a size bound: no honest node of any version sends one.
    Malformed,
    /// A message passed on that every honest node would have dropped.
    Forged,
    /// So many of these below this layer that nothing else is to be expected.
    Ruinous,
}

impl Offence {
    fn weight(self) -> u64 {
        match self {
            Self::Flood => 1_000,
            Self::Slow => 3_000,
            Self::Malformed => 10_000,
            Self::Forged => 40_000,
            Self::Ruinous => FULL,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// As of `seen`.
    score: u64,
    seen: Instant,
    strikes: u32,
    /// From when on good conduct counts towards the next forgotten strike.
    since: Instant,
    banned_until: Option<Instant>,
}

impl Record {
    fn new(now: Instant) -> Self {
        Self { score: 0, seen: now, strikes: 0, since: now, banned_until: None }
    }

    /// Brings the record up to `now`.
    fn settle(&mut self, now: Instant) {
        let leaked = millis(now.saturating_duration_since(self.seen)).saturating_mul(LEAK);
        self.score = self.score.saturating_sub(leaked);
        self.seen = self.seen.max(now);
        if self.banned_until.is_some_and(|until| now >= until) {
            self.banned_until = None;
        }
        while self.strikes > 0 && now.saturating_duration_since(self.since) >= STRIKE_FORGOTTEN {
            self.strikes -= 1;
            self.since += STRIKE_FORGOTTEN;
        }
    }

    /// Nothing is held against the peer any more.
    fn is_clean(&self) -> bool {
        self.score == 0 && self.strikes == 0 && self.banned_until.is_none()
    }

    fn strike(&mut self, now: Instant) -> Duration {
        let length = LONGEST_BAN.min(FIRST_BAN.saturating_mul(1 << self.strikes));
        self.strikes = (self.strikes + 1).min(MAX_STRIKES);
        self.ban(now + length);
        length
    }

    fn ban(&mut self, until: Instant) {
        self.score = 0;
        self.banned_until = Some(self.banned_until.map_or(until, |known| known.max(until)));
        self.since = self.since.max(until);
    }

    /// What is held against the peer, for comparing.
    fn weight(&self) -> (Option<Instant>, u32, u64) {
        (self.banned_until, self.strikes, self.score)
    }
}

/// The conduct of all peers that have something against them.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    records: HashMap<PeerId, Record>,
}

impl Conduct {
    /// Notes an offence; `Some` with its length when it was one too many and the peer is banned from now on.
    pub(crate) fn offend(&mut self, peer: PeerId, offence: Offence, now: Instant) -> Option<Duration> {
        let record = self.record(peer, now);
        record.score = record.score.saturating_add(offence.weight());
        // What a banned peer still has under way says nothing new.
        (record.score >= FULL && record.banned_until.is_none()).then(|| record.strike(now))
    }

    /// Bans a peer for a reason of the caller's own, whatever its score.
    pub(crate) fn ban(&mut self, peer: PeerId, until: Instant, now: Instant) {
        self.record(peer, now).ban(until);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        let until = self.records.get(peer).and_then(|record| record.banned_until);
        until.is_some_and(|until| now < until)
    }

    fn record(&mut self, peer: PeerId, now: Instant) -> &mut Record {
        if self.records.len() >= MAX_REMEMBERED && !self.records.contains_key(&peer) {
            self.make_room(now);
        }
        let record = self.records.entry(peer).or_insert_with(|| Record::new(now));
        record.settle(now);
        record
    }

    /// Forgets who is clean, and of the others the lighter half: what is scanned here is paid for by as many new peers.
    fn make_room(&mut self, now: Instant) {
        self.records.retain(|_, record| {
            record.settle(now);
            !record.is_clean()
        });
        if self.records.len() < MAX_REMEMBERED {
            return;
        }
        let mut weights: Vec<_> =
            self.records.iter().map(|(peer, record)| (record.weight(), *peer)).collect();
        let half = weights.len() / 2;
        weights.select_nth_unstable(half);
        for (_, peer) in &weights[..half] {
            self.records.remove(peer);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Offends until the ban; its length.
    fn until_banned(conduct: &mut Conduct, peer: PeerId, now: Instant) -> Duration {
        (0..1_000).find_map(|_| conduct.offend(peer, Offence::Malformed, now)).unwrap()
    }

    #[test]
    fn ten_malformed_messages_in_a_row_are_a_ban_and_nine_are_not() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut conduct = Conduct::default();
        assert!((0..9).all(|_| conduct.offend(peer, Offence::Malformed, now).is_none()));
        assert!(!conduct.is_banned(&peer, now));
        assert_eq!(conduct.offend(peer, Offence::Malformed, now), Some(FIRST_BAN));
        assert!(conduct.is_banned(&peer, now) && !conduct.is_banned(&PeerId::random(), now));
        assert!(!conduct.is_banned(&peer, now + FIRST_BAN));
    }

    #[test]
    fn an_offence_now_and_then_is_no_ban() {
        let (start, peer) = (Instant::now(), PeerId::random());
        let mut conduct = Conduct::default();
        let at = |tenth: u64| start + Duration::from_secs(tenth * 10);
        assert!((0..10_000).all(|tenth| conduct.offend(peer, Offence::Malformed, at(tenth)).is_none()));
    }

    #[test]
    fn bans_grow_with_every_strike_to_a_bound_and_shrink_again_with_time() {
        let (mut now, peer) = (Instant::now(), PeerId::random());
        let mut conduct = Conduct::default();
        let mut lengths = Vec::new();
        for _ in 0..10 {
            let length = until_banned(&mut conduct, peer, now);
            lengths.push(length);
            now += length;
        }
        assert_eq!(lengths[..3], [FIRST_BAN, FIRST_BAN * 2, FIRST_BAN * 4]);
        assert_eq!(lengths.last(), Some(&LONGEST_BAN));
        now += STRIKE_FORGOTTEN * MAX_STRIKES;
        assert_eq!(until_banned(&mut conduct, peer, now), FIRST_BAN);
    }

    #[test]
    fn what_a_banned_peer_still_has_under_way_does_not_lengthen_its_ban() {
        let (now, peer) = (Instant::now(), PeerId::random());
        let mut conduct = Conduct::default();
        let length = until_banned(&mut conduct, peer, now);
        assert!((0..1_000).all(|_| conduct.offend(peer, Offence::Malformed, now).is_none()));
        assert!(!conduct.is_banned(&peer, now + length));
    }

    #[test]
    fn a_flood_of_identities_does_not_wash_out_who_is_banned() {
        let (now, villain) = (Instant::now(), PeerId::random());
        let mut conduct = Conduct::default();
        conduct.ban(villain, now + LONGEST_BAN, now);
        for _ in 0..3 * MAX_REMEMBERED {
            conduct.offend(PeerId::random(), Offence::Flood, now);
            assert!(conduct.records.len() <= MAX_REMEMBERED);
        }
        assert!(conduct.is_banned(&villain, now));
    }

    fn offence() -> impl Strategy<Value = Offence> {
        prop::sample::select(vec![Offence::Flood, Offence::Slow, Offence::Malformed, Offence::Forged])
    }

    proptest! {
        /// Whatever was done, who behaves for long enough is as good as new.
        #[test]
        fn everything_is_forgiven_with_time(acts in prop::collection::vec((offence(), 0..120_000_u64), 0..200)) {
            let (mut now, peer) = (Instant::now(), PeerId::random());
            let mut conduct = Conduct::default();
            for (offence, pause) in acts {
                now += Duration::from_millis(pause);
                if let Some(length) = conduct.offend(peer, offence, now) {
                    prop_assert!((FIRST_BAN..=LONGEST_BAN).contains(&length));
                }
            }
            now += LONGEST_BAN + STRIKE_FORGOTTEN * MAX_STRIKES;
            prop_assert!(!conduct.is_banned(&peer, now));
            conduct.record(peer, now);
            prop_assert!(conduct.records[&peer].is_clean());
        }

        /// Who stays below the leak is never banned, in whatever order it comes.
        #[test]
        fn offences_below_the_leak_are_never_a_ban(offences in prop::collection::vec(offence(), 1..100)) {
            let (mut now, peer) = (Instant::now(), PeerId::random());
            let mut conduct = Conduct::default();
            for offence in offences {
                prop_assert_eq!(conduct.offend(peer, offence, now), None);
                now += Duration::from_millis(offence.weight() / LEAK);
            }
        }
    }
}
