//! The daemon's engines and what is promised of each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use framemill_network::{JobHeader, WorkCapacity};

use super::{
    lookout::{Pace, Watch},
    total,
};
use crate::{
    Admission, Capacity, Demand, Engine, Metrics, Refusal, SessionId, TranscodeError, WatchConfig,
    nvidia::memory_of, pipeline::media_codec,
};

/// Bytes of source segments that may be in memory at once: some fifty segments of a rich 4K stream. The orchestrator says
/// how long a segment is before it sends it.
const MAX_SOURCE_BYTES: u64 = 1 << 30;

/// One engine with its reservations.
#[derive(Debug)]
struct Slot {
    engine: Arc<dyn Engine>,
    admission: Admission,
    watch: Option<Watch>,
}

/// A job's place on an engine; handed back with [`Pool::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: usize,
    session: SessionId,
    source_bytes: u64,
    plays: Duration,
    /// Segments of the session that were in work when this one began, itself included.
    abreast: usize,
}

#[derive(Debug)]
pub(crate) struct Pool {
    slots: Vec<Slot>,
    source_bytes: u64,
    metrics: Option<Metrics>,
}

impl Pool {
    pub(crate) fn new(offers: Vec<(Arc<dyn Engine>, Capacity)>, metrics: Option<Metrics>) -> Self {
        if let Some(metrics) = &metrics {
            offers.iter().for_each(|(engine, capacity)| metrics.offered(engine.name(), *capacity));
        }
        let slot = |(engine, capacity): (Arc<dyn Engine>, Capacity)| {
            let admission = Admission::new(capacity).with_room(engine.room());
            Slot { engine, admission, watch: None }
        };
        Self { slots: offers.into_iter().map(slot).collect(), source_bytes: 0, metrics }
    }

    /// Watches over all engines from now on, each by itself. Must be called once.
    pub(crate) fn watch_by(&mut self, config: &WatchConfig) {
        for slot in &mut self.slots {
            slot.watch = Some(Watch::new(&slot.engine, slot.admission.capacity(), config.clone()));
            if let Some(metrics) = &self.metrics {
                metrics.watched(slot.engine.name());
            }
        }
    }

    /// Looks at each engine; whether another capacity is offered now.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for slot in &mut self.slots {
            let watch = slot.watch.as_mut();
            if let Some(capacity) = watch.and_then(|watch| watch.look(now, self.metrics.as_ref())) {
                slot.admission.set_capacity(capacity);
                changed = true;
            }
        }
        changed
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.engine.name().to_owned()).collect()
    }

    pub(crate) fn capacity(&self) -> WorkCapacity {
        let Capacity { pixels_per_second, max_sessions } =
            total(self.slots.iter().map(|slot| slot.admission.capacity()));
        WorkCapacity { pixels_per_second, max_sessions }
    }

    /// Finds an engine for a job: one that has its session already, else the one with the smallest part of its capacity
    /// promised.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        header: &JobHeader,
    ) -> Result<(Arc<dyn Engine>, Ticket), TranscodeError> {
        let source_bytes = self.source_bytes.saturating_add(header.source_len);
        if source_bytes > MAX_SOURCE_BYTES {
            return Err(Refusal::Memory { asked: source_bytes, limit: MAX_SOURCE_BYTES }.into());
        }
        let demand = demand(header);
        let mut refusal = unsupported(header);
        let mut able: Vec<usize> =
            (0..self.slots.len()).filter(|&slot| self.can_encode(slot, header)).collect();
        able.retain(|&slot| {
            self.slots[slot].takes(&header.session).map_err(|down| refusal = down.into()).is_ok()
        });
        able.sort_by_key(|&slot| self.slots[slot].load(&header.session));
        for slot in able {
            match self.slots[slot].admission.admit(now, header.session, demand) {
                Ok(()) => {
                    self.source_bytes = source_bytes;
                    self.report(slot);
                    let ticket = Ticket {
                        slot,
                        session: header.session,
                        source_bytes: header.source_len,
                        plays: Duration::from_micros(header.duration_90k.saturating_mul(100) / 9),
                        abreast: self.slots[slot].admission.jobs_of(&header.session),
                    };
                    return Ok((Arc::clone(&self.slots[slot].engine), ticket));
                }
                Err(busy) => refusal = busy.into(),
            }
        }
        Err(refusal)
    }

    /// Ends a job; `took` is the time that its engine took, where that tells something of its speed.
    pub(crate) fn finish(&mut self, now: Instant, ticket: Ticket, took: Option<Duration>) {
        self.source_bytes = self.source_bytes.saturating_sub(ticket.source_bytes);
        let slot = &mut self.slots[ticket.slot];
        let abreast = slot.admission.jobs_of(&ticket.session).max(ticket.abreast);
        slot.admission.finish(now, &ticket.session);
        if let (Some(watch), Some(took)) = (&mut slot.watch, took) {
            watch.ended(Pace { took, plays: ticket.plays, abreast });
        }
        self.report(ticket.slot);
    }

    /// The orchestrator is gone, and its sessions with it.
    pub(crate) fn orphan(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            self.slots[slot].admission.orphan(now);
            self.report(slot);
        }
    }

    fn can_encode(&self, slot: usize, header: &JobHeader) -> bool {
        let codecs = &self.slots[slot].engine.capabilities().codecs;
        header.ladder.iter().all(|entry| codecs.contains(&media_codec(entry.codec)))
    }

    fn report(&self, slot: usize) {
        if let Some(metrics) = &self.metrics {
            let Slot { engine, admission, .. } = &self.slots[slot];
            metrics.load(engine.name(), admission.reserved(), admission.sessions());
        }
    }
}

impl Slot {
    /// Whether jobs of a session may go here. An engine that is down keeps its sessions, for which others stand in, and gets no new
    /// ones.
    fn takes(&self, session: &SessionId) -> Result<(), Refusal> {
        if self.engine.is_up() || self.admission.holds(session) {
            return Ok(());
        }
        Err(Refusal::Down { engine: self.engine.name() })
    }

    /// Orders engines: the session's own first, then by the thousandths of capacity that are promised.
    fn load(&self, session: &SessionId) -> (bool, u64) {
        let capacity = self.admission.capacity().pixels_per_second.max(1);
        (!self.admission.holds(session), self.admission.reserved().saturating_mul(1_000) / capacity)
    }
}

/// Output pixels per second while the job's segment plays.
fn pixels_per_second(header: &JobHeader) -> u64 {
    let pixels = header.ladder.expected_pixels(header.frames, header.duration_90k);
    let rate = u128::from(pixels) * 90_000 / u128::from(header.duration_90k.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// What the job's session takes of an engine while its segments play.
fn demand(header: &JobHeader) -> Demand {
    Demand {
        pixels_per_second: pixels_per_second(header),
        encoders: u32::try_from(header.ladder.len()).unwrap_or(u32::MAX),
        memory_bytes: memory_of(&header.ladder),
    }
}

fn unsupported(header: &JobHeader) -> TranscodeError {
    let names: Vec<_> = header.ladder.iter().map(|entry| entry.name.as_str()).collect();
    let reason = "no engine of this transcoder encodes these codecs; ask for h264".to_owned();
    TranscodeError::Unsupported { rendition: names.join(", "), reason }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use framemill_network::Ladder;

    use super::*;
    use crate::{Capabilities, Job, Renditions, SoftwareEngine};

    const CAPACITY: Capacity = Capacity { pixels_per_second: 50_000_000, max_sessions: 8 };

    fn pool(engines: usize) -> Pool {
        let engine: Arc<dyn Engine> = Arc::new(SoftwareEngine::default());
        Pool::new(vec![(engine, CAPACITY); engines], None)
    }

    /// 720p30 for two seconds: 27.6 million pixels per second.
    fn header(session: u8, source_len: u64) -> JobHeader {
        let ladder = r#"[{"name":"a","width":1280,"height":720,"bitrate":3000000}]"#;
        JobHeader {
            job: 1,
            session: SessionId::repeat_byte(session),
            sequence: 1,
            duration_90k: 180_000,
            frames: 60,
            source_len,
            source_sha256: SessionId::ZERO,
            ladder: ladder.parse::<Ladder>().expect("a ladder"),
            deadline: Duration::from_secs(10),
        }
    }

    fn slot(pool: &mut Pool, session: u8) -> Option<usize> {
        pool.admit(Instant::now(), &header(session, 1)).ok().map(|(_, ticket)| ticket.slot)
    }

    #[test]
    fn counts_pixels_per_second_of_the_ladder() {
        assert_eq!(pixels_per_second(&header(1, 1)), 1280 * 720 * 30);
        let timeless = JobHeader { duration_90k: 0, ..header(1, 1) };
        assert!(pixels_per_second(&timeless) > CAPACITY.pixels_per_second);
    }

    #[test]
    fn spreads_sessions_and_keeps_each_on_its_engine() {
        let mut pool = pool(2);
        assert_eq!(slot(&mut pool, 1), Some(0));
        assert_eq!(slot(&mut pool, 2), Some(1));
        assert_eq!(slot(&mut pool, 1), Some(0));
        assert_eq!(slot(&mut pool, 3), None);
    }

    /// An engine that can be switched off, and does no work.
    #[derive(Debug)]
    struct Switched(SoftwareEngine, AtomicBool);

    impl Engine for Switched {
        fn name(&self) -> &'static str {
            "switched"
        }

        fn capabilities(&self) -> &Capabilities {
            self.0.capabilities()
        }

        fn is_up(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }

        fn transcode(&self, job: Job) -> Renditions {
            self.0.transcode(job)
        }
    }

    #[test]
    fn an_engine_that_is_down_keeps_its_sessions_and_gets_no_new_ones() {
        let engine = Arc::new(Switched(SoftwareEngine::default(), AtomicBool::new(true)));
        let mut pool = Pool::new(vec![(Arc::clone(&engine) as Arc<dyn Engine>, CAPACITY)], None);
        assert_eq!(slot(&mut pool, 1), Some(0));
        engine.1.store(false, Ordering::Relaxed);
        assert_eq!(slot(&mut pool, 1), Some(0));
        let refused = pool.admit(Instant::now(), &header(2, 1)).map(drop);
        let down = TranscodeError::Busy(Refusal::Down { engine: "switched" });
        assert_eq!(refused, Err(down));
    }

    /// Segments of `session` that each take so long; what is offered after each.
    fn paced(pool: &mut Pool, now: &mut Instant, session: u8, took: Duration) -> Vec<u64> {
        let mut segment = || {
            *now += Duration::from_secs(5);
            let (_, ticket) = pool.admit(*now, &header(session, 1)).expect("room for one");
            pool.finish(*now, ticket, Some(took));
            pool.look(*now);
            pool.capacity().pixels_per_second
        };
        (0..6).map(|_| segment()).collect()
    }

    #[test]
    fn late_segments_lower_what_is_offered_of_an_engine_that_has_no_telemetry() {
        let mut pool = pool(1);
        pool.watch_by(&WatchConfig::default());
        let (whole, mut now) = (CAPACITY.pixels_per_second, Instant::now());
        assert_eq!(paced(&mut pool, &mut now, 1, Duration::from_millis(1_900)), [whole; 6]);
        let offered = paced(&mut pool, &mut now, 1, Duration::from_millis(2_100));
        assert_eq!(offered, [whole, whole, whole / 2, whole / 2, whole / 2, whole / 4]);
        assert!(pool.admit(now, &header(2, 1)).is_err(), "another session has no room now");
        assert!(pool.admit(now, &header(1, 1)).is_ok(), "the session that is alone stays");
    }

    #[test]
    fn a_sender_that_runs_ahead_does_not_make_its_segments_late() {
        let mut pool = pool(1);
        pool.watch_by(&WatchConfig::default());
        let mut now = Instant::now();
        for _ in 0..10 {
            let abreast: Vec<_> =
                (0..4).map(|_| pool.admit(now, &header(1, 1)).expect("room for four").1).collect();
            now += Duration::from_secs(6);
            abreast.into_iter().for_each(|ticket| pool.finish(now, ticket, Some(Duration::from_secs(4))));
            assert!(!pool.look(now));
        }
    }

    #[test]
    fn refuses_more_source_bytes_than_memory_is_set_aside_for() {
        let mut pool = pool(1);
        let (_, ticket) = pool.admit(Instant::now(), &header(1, MAX_SOURCE_BYTES)).expect("room for one");
        let refused = pool.admit(Instant::now(), &header(1, 1)).map(drop);
        assert!(matches!(refused, Err(TranscodeError::Busy(Refusal::Memory { .. }))), "{refused:?}");
        pool.finish(Instant::now(), ticket, None);
        assert!(pool.admit(Instant::now(), &header(1, 1)).is_ok());
    }
}
