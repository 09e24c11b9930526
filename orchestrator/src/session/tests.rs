use alloy_primitives::U256;
use framemill_network::QualityTerms;
use probabilistic_ticket::SEQUENCE_WINDOW;
use proptest::prelude::*;

use super::*;

const CAPACITY: u64 = 1_000;

struct Table {
    table: SessionTable,
    now: Instant,
    limits: SessionLimits,
    next_id: u8,
}

impl Table {
    fn new() -> Self {
        Self::with(SessionLimits {
            max_sessions: 4,
            max_sessions_per_peer: 2,
            max_in_flight: 2,
            ..SessionLimits::default()
        })
    }

    fn with(limits: SessionLimits) -> Self {
        Self { table: SessionTable::new(limits.clone()), now: Instant::now(), limits, next_id: 0 }
    }

    fn quote(&mut self, peer: PeerId, rate: u64) -> Result<B256, Refusal> {
        self.table.admit(self.now, peer, rate, CAPACITY)?;
        self.next_id += 1;
        let id = B256::repeat_byte(self.next_id);
        let ladder = Ladder::default();
        self.table.open(
            self.now,
            Terms {
                id,
                peer,
                ladder_hash: ladder.hash(),
                ladder,
                price: PricePerPixel::new(U256::ZERO, 1).unwrap(),
                commitments: false,
                quality: QualityTerms::WHOLE,
                pixels_per_second: rate,
            },
        );
        Ok(id)
    }

    fn terms(&self, session: B256) -> Terms {
        self.table.sessions[&session].terms.clone()
    }

    fn begin(&mut self, session: B256, peer: PeerId, sequence: u64) -> Result<(), Refusal> {
        let ladder_hash = Ladder::default().hash();
        let key = SegmentKey { session, peer, sequence, ladder_hash };
        self.table.begin(self.now, &key, CAPACITY).map(drop)
    }

    fn pay(&mut self, session: B256) {
        self.table.activate(self.now, session);
    }

    fn end(&mut self, session: B256, sequence: u64, end: SegmentEnd) {
        self.table.end(self.now, session, sequence, end);
    }

    fn run(&mut self, session: B256, peer: PeerId, sequence: u64) -> Result<(), Refusal> {
        self.begin(session, peer, sequence)?;
        self.pay(session);
        self.end(session, sequence, SegmentEnd::Signed);
        Ok(())
    }
}

#[test]
fn refuses_a_session_it_does_not_know() {
    let mut t = Table::new();
    let session = B256::repeat_byte(9);
    assert_eq!(t.begin(session, PeerId::random(), 0), Err(Refusal::UnknownSession { session }));
}

#[test]
fn hides_a_session_from_every_other_peer() {
    let mut t = Table::new();
    let session = t.quote(PeerId::random(), 10).unwrap();
    assert_eq!(t.begin(session, PeerId::random(), 0), Err(Refusal::UnknownSession { session }));
}

#[test]
fn refuses_a_ladder_other_than_the_quoted_one() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    let sent = B256::repeat_byte(1);
    let key = SegmentKey { session, peer, sequence: 0, ladder_hash: sent };
    assert_eq!(
        t.table.begin(t.now, &key, CAPACITY).unwrap_err(),
        Refusal::LadderChanged { quoted: Ladder::default().hash(), sent }
    );
}

#[test]
fn refuses_a_signed_sequence_again() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.run(session, peer, 7).unwrap();
    assert_eq!(t.begin(session, peer, 7), Err(Refusal::Replayed { sequence: 7 }));
}

#[test]
fn refuses_a_sequence_that_is_still_in_work() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.begin(session, peer, 7).unwrap();
    assert_eq!(t.begin(session, peer, 7), Err(Refusal::Replayed { sequence: 7 }));
}

#[test]
fn lets_a_failed_sequence_be_sent_again() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.begin(session, peer, 7).unwrap();
    t.end(session, 7, SegmentEnd::Failed);
    assert_eq!(t.begin(session, peer, 7), Ok(()));
}

#[test]
fn takes_sequences_out_of_order_inside_the_window() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.run(session, peer, 100).unwrap();
    assert_eq!(t.run(session, peer, 3), Ok(()));
}

#[test]
fn refuses_a_sequence_behind_the_window() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.run(session, peer, SEQUENCE_WINDOW + 5).unwrap();
    assert_eq!(t.begin(session, peer, 5), Err(Refusal::Replayed { sequence: 5 }));
}

#[test]
fn refuses_the_sequence_that_would_overflow_the_window() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    assert_eq!(t.begin(session, peer, u64::MAX), Err(Refusal::SequenceOutOfRange { sequence: u64::MAX }));
}

#[test]
fn bounds_segments_in_work_per_session() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.begin(session, peer, 0).unwrap();
    t.begin(session, peer, 1).unwrap();
    assert_eq!(
        t.begin(session, peer, 2),
        Err(Refusal::TooManySegments { bound: 2, retry_after: t.limits.busy_retry })
    );
}

#[test]
fn bounds_sessions_per_peer() {
    let mut t = Table::new();
    let peer = PeerId::random();
    t.quote(peer, 10).unwrap();
    t.quote(peer, 10).unwrap();
    assert_eq!(
        t.quote(peer, 10),
        Err(Refusal::TooManySessions { held: 2, bound: 2, retry_after: t.limits.quote_hold })
    );
}

#[test]
fn bounds_sessions_of_all_peers() {
    let mut t = Table::new();
    for _ in 0..4 {
        t.quote(PeerId::random(), 10).unwrap();
    }
    let busy = Refusal::Busy { retry_after: t.limits.busy_retry };
    assert_eq!(t.quote(PeerId::random(), 10), Err(busy));
}

#[test]
fn an_old_unused_quote_gives_way_in_a_full_table() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let first = t.quote(peer, 10).unwrap();
    t.now += Duration::from_millis(1);
    for _ in 0..3 {
        t.quote(PeerId::random(), 10).unwrap();
    }
    t.now += t.limits.quote_hold;
    t.quote(PeerId::random(), 10).unwrap();
    assert_eq!(t.begin(first, peer, 0), Err(Refusal::UnknownSession { session: first }));
    assert_eq!(t.table.len(), t.limits.max_sessions);
}

#[test]
fn a_used_session_never_gives_way_to_quotes() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let first = t.quote(peer, 10).unwrap();
    t.run(first, peer, 0).unwrap();
    for _ in 0..8 {
        t.now += t.limits.quote_hold;
        let _ = t.quote(PeerId::random(), 10);
    }
    assert_eq!(t.begin(first, peer, 1), Ok(()));
}

#[test]
fn a_session_that_is_alone_is_taken_whatever_its_size() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, CAPACITY + 1).unwrap();
    assert_eq!(t.run(session, peer, 0), Ok(()));
}

#[test]
fn is_busy_while_quotes_hold_all_capacity() {
    let mut t = Table::new();
    t.quote(PeerId::random(), 600).unwrap();
    let busy = Refusal::Busy { retry_after: t.limits.busy_retry };
    assert_eq!(t.quote(PeerId::random(), 600), Err(busy));
}

#[test]
fn gives_an_unused_quote_back_to_others() {
    let mut t = Table::new();
    t.quote(PeerId::random(), 600).unwrap();
    t.now += t.limits.quote_hold;
    assert!(t.quote(PeerId::random(), 600).is_ok());
}

#[test]
fn an_unused_quote_never_holds_up_a_paying_session() {
    let mut t = Table::new();
    let (a, b) = (PeerId::random(), PeerId::random());
    let first = t.quote(a, 600).unwrap();
    t.now += t.limits.quote_hold;
    t.quote(b, 600).unwrap();
    assert_eq!(t.begin(first, a, 0), Ok(()));
}

#[test]
fn is_busy_for_a_segment_once_active_sessions_hold_all_capacity() {
    let mut t = Table::new();
    let (a, b) = (PeerId::random(), PeerId::random());
    let first = t.quote(a, 600).unwrap();
    t.now += t.limits.quote_hold;
    let second = t.quote(b, 600).unwrap();
    t.run(second, b, 0).unwrap();
    assert_eq!(t.begin(first, a, 0), Err(Refusal::Busy { retry_after: t.limits.busy_retry }));
}

#[test]
fn a_silent_session_loses_its_pixels_and_can_win_them_again() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 600).unwrap();
    t.run(session, peer, 0).unwrap();
    assert_eq!(t.table.reserved(t.now), 600);
    t.now += t.limits.reservation_ttl;
    assert_eq!(t.table.reserved(t.now), 0);
    t.run(session, peer, 1).unwrap();
    assert_eq!(t.table.reserved(t.now), 600);
}

#[test]
fn says_that_no_transcoder_is_there_before_anything_else_is_held() {
    let t = Table::new();
    assert_eq!(t.table.admit(t.now, PeerId::random(), 1, 0), Err(Refusal::NoTranscoder));
}

#[test]
fn an_idle_session_expires() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.now += t.limits.idle_ttl;
    assert_eq!(t.begin(session, peer, 0), Err(Refusal::SessionExpired { session }));
    let ended: Vec<_> = t.table.expire(t.now).into_iter().map(|terms| terms.id).collect();
    assert_eq!((ended, t.table.len()), (vec![session], 0));
}

#[test]
fn a_session_with_a_segment_in_work_is_not_dropped() {
    let mut t = Table::new();
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.begin(session, peer, 0).unwrap();
    t.now += t.limits.idle_ttl * 2;
    assert!(t.table.expire(t.now).is_empty());
}

#[test]
fn a_session_does_not_outlive_its_longest_life() {
    let mut t = Table::with(SessionLimits {
        idle_ttl: Duration::from_secs(100),
        max_lifetime: Duration::from_secs(150),
        ..SessionLimits::default()
    });
    let peer = PeerId::random();
    let session = t.quote(peer, 10).unwrap();
    t.now += Duration::from_secs(90);
    t.run(session, peer, 0).unwrap();
    t.now += Duration::from_secs(60);
    assert_eq!(t.begin(session, peer, 1), Err(Refusal::SessionExpired { session }));
}

#[test]
fn a_session_of_another_process_goes_on_here() {
    let peer = PeerId::random();
    let (mut there, mut here) = (Table::new(), Table::new());
    let session = there.quote(peer, 10).unwrap();
    assert_eq!(here.begin(session, peer, 0), Err(Refusal::UnknownSession { session }));
    let kept = there.terms(session).to_bytes(1_234);
    let (terms, opened_unix_ms) = Terms::from_bytes(session, &kept).unwrap();
    assert_eq!((&terms, opened_unix_ms), (&there.terms(session), 1_234));
    assert_eq!(here.table.adopt(here.now, terms.clone(), Duration::ZERO), Ok(None));
    here.run(session, peer, 0).unwrap();
    assert_eq!(here.table.adopt(here.now, terms, Duration::ZERO), Ok(None));
    assert_eq!(
        here.begin(session, peer, 0),
        Err(Refusal::Replayed { sequence: 0 }),
        "it is not taken in twice"
    );
}

#[test]
fn a_full_table_takes_no_session_in() {
    let (mut there, mut here) = (Table::new(), Table::new());
    there.next_id = 100;
    let session = there.quote(PeerId::random(), 10).unwrap();
    for _ in 0..here.limits.max_sessions {
        let peer = PeerId::random();
        let used = here.quote(peer, 10).unwrap();
        here.run(used, peer, 0).unwrap();
    }
    let adopted = here.table.adopt(here.now, there.terms(session), Duration::ZERO);
    assert!(matches!(adopted, Err(Refusal::Busy { .. })));
}

#[test]
fn a_price_lives_no_longer_for_being_carried_from_one_process_to_another() {
    let peer = PeerId::random();
    let (mut there, mut here) = (Table::new(), Table::new());
    here.now += here.limits.max_lifetime * 2;
    let session = there.quote(peer, 10).unwrap();
    let expired = Err(Refusal::SessionExpired { session });
    let adopted = here.table.adopt(here.now, there.terms(session), here.limits.max_lifetime);
    assert_eq!(adopted, expired);
    let age = here.limits.max_lifetime - Duration::from_secs(5);
    here.table.adopt(here.now, there.terms(session), age).unwrap();
    here.run(session, peer, 0).unwrap();
    here.now += Duration::from_secs(6);
    assert_eq!(here.begin(session, peer, 1), expired.map(drop));
}

#[test]
fn a_peer_carries_no_more_sessions_over_than_it_may_have() {
    let peer = PeerId::random();
    let (mut there, mut here) = (Table::new(), Table::new());
    there.next_id = 100;
    let session = there.quote(peer, 10).unwrap();
    for _ in 0..here.limits.max_sessions_per_peer {
        here.quote(peer, 1).unwrap();
    }
    let adopted = here.table.adopt(here.now, there.terms(session), Duration::ZERO);
    assert!(matches!(adopted, Err(Refusal::TooManySessions { .. })), "{adopted:?}");
}

#[test]
fn terms_of_another_version_are_no_terms() {
    let mut there = Table::new();
    let session = there.quote(PeerId::random(), 10).unwrap();
    let kept = String::from_utf8(there.terms(session).to_bytes(0)).unwrap();
    let later = kept.replace("\"version\":1", "\"version\":2");
    assert_ne!(kept, later);
    assert_eq!(Terms::from_bytes(session, later.as_bytes()), None);
    assert_eq!(Terms::from_bytes(session, b"{}"), None);
}

proptest! {
    #[test]
    fn firm_reservations_never_exceed_capacity(
        steps in prop::collection::vec((0usize..4, 1u64..700, 0u64..30), 1..80),
    ) {
        let mut t = Table::with(SessionLimits { max_sessions: 64, ..SessionLimits::default() });
        let peers: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
        let mut open = Vec::new();
        for (n, (peer, rate, seconds)) in steps.into_iter().enumerate() {
            t.now += Duration::from_secs(seconds);
            if let Ok(session) = t.quote(peers[peer], rate) {
                open.push((session, peers[peer]));
            }
            for (session, peer) in &open {
                let _ = t.run(*session, *peer, n as u64);
            }
            prop_assert!(t.table.reserved(t.now) <= CAPACITY);
        }
    }
}
