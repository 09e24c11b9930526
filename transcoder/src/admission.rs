//! Which jobs an engine takes: pixels per second, sessions and jobs in flight, counted before any work is done.
//!
//! Pure accounting; time comes in as an argument.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{Capacity, Room, SessionId};

/// How long a session keeps its reservation after its last segment. Longer than any pause between the segments of a
/// live stream, short enough that the capacity of a stream that went away is soon for sale again.
pub const SESSION_IDLE: Duration = Duration::from_secs(20);

/// Segments of one session an engine works on at a time: enough for a sender that runs ahead of real time to use idle
/// capacity, few enough that one session cannot crowd out the others.
pub const JOBS_PER_SESSION: usize = 4;

/// Why a job was not admitted. Every reason passes by itself, so the sender may come back or go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The pixels of the admitted sessions leave no room.
    #[error(
        "busy: session needs {asked} pixels/s, {reserved} of {limit} are reserved; retry later or elsewhere"
    )]
    Pixels {
        /// Output pixels per second the session would need.
        asked: u64,
        /// Output pixels per second already promised to others.
        reserved: u64,
        /// What the engine was measured to sustain.
        limit: u64,
    },
    /// The engine's session limit is reached.
    #[error("busy: {open} sessions are open, the limit is {limit}; retry later or elsewhere")]
    Sessions {
        /// Sessions that hold a reservation.
        open: usize,
        /// Most sessions the engine takes.
        limit: usize,
    },
    /// The device has not as many encoder sessions.
    #[error(
        "busy: session needs {asked} encoder sessions, {reserved} of the device's {limit} are taken; retry later or elsewhere"
    )]
    Encoders {
        /// Encoder sessions the session would need.
        asked: u32,
        /// Encoder sessions already promised to others.
        reserved: u32,
        /// Encoder sessions of the device.
        limit: u32,
    },
    /// The device has not as much memory.
    #[error(
        "busy: session needs {asked} bytes of device memory, {reserved} of {limit} are taken; retry later or elsewhere"
    )]
    DeviceMemory {
        /// Bytes the session would need.
        asked: u64,
        /// Bytes already promised to others.
        reserved: u64,
        /// Bytes of the device.
        limit: u64,
    },
    /// The engine does not work for now.
    #[error("busy: the engine {engine} does not work for now; retry later or elsewhere")]
    Down {
        /// Name of the engine.
        engine: &'static str,
    },
    /// The source segments in flight fill the memory that is set aside for them.
    #[error(
        "busy: source segments would take {asked} bytes of memory, the limit is {limit}; retry later or elsewhere"
    )]
    Memory {
        /// Bytes in flight with the job.
        asked: u64,
        /// Most bytes in flight.
        limit: u64,
    },
    /// The session already has as many segments in flight as one session may.
    #[error("busy: session has {in_flight} segments in flight, the limit is {limit}; wait for one to end")]
    Jobs {
        /// Segments of this session in flight.
        in_flight: usize,
        /// Most segments of one session in flight.
        limit: usize,
    },
}

/// What a session takes of an engine while it is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Output pixels per second.
    pub pixels_per_second: u64,
    /// Encoder sessions: one for each rung.
    pub encoders: u32,
    /// Bytes of device memory.
    pub memory_bytes: u64,
}

impl From<u64> for Demand {
    /// Of an engine that has nothing to count but pixels per second.
    fn from(pixels_per_second: u64) -> Self {
        Self { pixels_per_second, ..Self::default() }
    }
}

impl Demand {
    fn is_within(self, held: Self) -> bool {
        self.pixels_per_second <= held.pixels_per_second
            && self.encoders <= held.encoders
            && self.memory_bytes <= held.memory_bytes
    }

    fn plus(self, other: Self) -> Self {
        Self {
            pixels_per_second: self.pixels_per_second.saturating_add(other.pixels_per_second),
            encoders: self.encoders.saturating_add(other.encoders),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }
}

#[derive(Debug)]
struct Reservation {
    demand: Demand,
    /// Of two sessions the one with the lower place came first.
    place: u64,
    in_flight: usize,
    last_used: Instant,
    /// Whoever could send more of it is gone.
    orphaned: bool,
}

/// The reservations held against one engine's [`Capacity`].
#[derive(Debug)]
pub struct Admission {
    capacity: Capacity,
    room: Room,
    sessions: HashMap<SessionId, Reservation>,
    next_place: u64,
}

impl Admission {
    /// An engine with nothing reserved.
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, room: Room::default(), sessions: HashMap::new(), next_place: 0 }
    }

    /// The same on a device that has this much room.
    #[must_use]
    pub fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Takes a job of `session` that needs this much while it plays (pixels per second, or a whole [`Demand`]), or says why not.
    ///
    /// A session that is alone is taken whatever its size: it can make nobody else late, and its sender has its own
    /// deadline. Every other session must fit beside what is reserved; one that asks for no more than it holds, beside what was
    /// reserved before it. So where the capacity is lowered, the sessions that came last lose their reservations, and no more of
    /// them than it takes.
    pub fn admit(
        &mut self,
        now: Instant,
        session: SessionId,
        demand: impl Into<Demand>,
    ) -> Result<(), Refusal> {
        let demand = demand.into();
        self.expire(now);
        let held = self.sessions.get(&session);
        if let Some(held) = held.filter(|held| held.in_flight >= JOBS_PER_SESSION) {
            return Err(Refusal::Jobs { in_flight: held.in_flight, limit: JOBS_PER_SESSION });
        }
        let place = held.map_or(self.next_place, |held| held.place);
        let same = held.is_some_and(|held| demand.is_within(held.demand));
        let (open, limit) = (self.earlier_than(place).count(), self.capacity.max_sessions as usize);
        if open >= limit {
            return Err(Refusal::Sessions { open, limit });
        }
        let others = if same { total(self.earlier_than(place)) } else { self.reserved_without(&session) };
        self.fits(others, demand)?;
        self.next_place = self.next_place.max(place + 1);
        let entry = self.sessions.entry(session).or_insert(Reservation {
            demand,
            place,
            in_flight: 0,
            last_used: now,
            orphaned: false,
        });
        entry.demand = demand;
        entry.orphaned = false;
        entry.in_flight += 1;
        entry.last_used = now;
        Ok(())
    }

    /// Whether a demand fits beside what others hold.
    fn fits(&self, others: Demand, asked: Demand) -> Result<(), Refusal> {
        if others == Demand::default() {
            return Ok(());
        }
        let sum = others.plus(asked);
        let limit = self.capacity.pixels_per_second;
        if others.pixels_per_second > 0 && sum.pixels_per_second > limit {
            let reserved = others.pixels_per_second;
            return Err(Refusal::Pixels { asked: asked.pixels_per_second, reserved, limit });
        }
        if let Some(limit) = self.room.encoders.filter(|&limit| sum.encoders > limit) {
            return Err(Refusal::Encoders { asked: asked.encoders, reserved: others.encoders, limit });
        }
        if let Some(limit) = self.room.memory_bytes.filter(|&limit| sum.memory_bytes > limit) {
            let (asked, reserved) = (asked.memory_bytes, others.memory_bytes);
            return Err(Refusal::DeviceMemory { asked, reserved, limit });
        }
        Ok(())
    }

    /// Ends a job that [`admit`](Self::admit) took. The session keeps its reservation for [`SESSION_IDLE`].
    pub fn finish(&mut self, now: Instant, session: &SessionId) {
        if let Some(held) = self.sessions.get_mut(session) {
            held.in_flight = held.in_flight.saturating_sub(1);
            held.last_used = now;
        }
    }

    /// Gives back the reservations of sessions that went quiet.
    pub fn expire(&mut self, now: Instant) {
        self.sessions.retain(|_, held| {
            let recent = !held.orphaned && now.saturating_duration_since(held.last_used) < SESSION_IDLE;
            held.in_flight > 0 || recent
        });
    }

    /// The sender of all sessions is gone, and comes back with new ones: each reservation ends with its last job.
    pub fn orphan(&mut self, now: Instant) {
        self.sessions.values_mut().for_each(|held| held.orphaned = true);
        self.expire(now);
    }

    /// Replaces the capacity. Reservations already given stand as far as it goes, in the order in which they were given.
    pub fn set_capacity(&mut self, capacity: Capacity) {
        self.capacity = capacity;
    }

    /// What is offered of the engine.
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Output pixels per second promised to open sessions.
    pub fn reserved(&self) -> u64 {
        self.sessions.values().fold(0, |sum, held| sum.saturating_add(held.demand.pixels_per_second))
    }

    /// Sessions that hold a reservation.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether a session holds a reservation.
    pub fn holds(&self, session: &SessionId) -> bool {
        self.sessions.contains_key(session)
    }

    /// Jobs taken and not ended.
    pub fn in_flight(&self) -> usize {
        self.sessions.values().map(|held| held.in_flight).sum()
    }

    /// Segments of a session in flight.
    pub fn jobs_of(&self, session: &SessionId) -> usize {
        self.sessions.get(session).map_or(0, |held| held.in_flight)
    }

    /// What all sessions but this one hold.
    fn reserved_without(&self, session: &SessionId) -> Demand {
        total(self.sessions.iter().filter(|(held, _)| *held != session).map(|(_, held)| held))
    }

    /// What was reserved before this place.
    fn earlier_than(&self, place: u64) -> impl Iterator<Item = &Reservation> {
        self.sessions.values().filter(move |held| held.place < place)
    }
}

fn total<'a>(reservations: impl Iterator<Item = &'a Reservation>) -> Demand {
    reservations.fold(Demand::default(), |sum, held| sum.plus(held.demand))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPACITY: Capacity = Capacity { pixels_per_second: 100, max_sessions: 3 };
    const A: SessionId = SessionId::repeat_byte(1);
    const B: SessionId = SessionId::repeat_byte(2);

    fn id(n: u8) -> SessionId {
        SessionId::repeat_byte(n)
    }

    #[test]
    fn refuses_a_session_that_would_make_others_late() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        assert_eq!(admission.admit(now, A, 70), Ok(()));
        let refusal = Refusal::Pixels { asked: 40, reserved: 70, limit: 100 };
        assert_eq!(admission.admit(now, B, 40), Err(refusal));
        assert_eq!(admission.admit(now, B, 30), Ok(()));
    }

    #[test]
    fn counts_encoder_sessions_and_memory_of_the_device() {
        let now = Instant::now();
        let room = Room { encoders: Some(5), memory_bytes: Some(1_000) };
        let mut admission = Admission::new(CAPACITY).with_room(room);
        let rungs = |encoders| Demand { pixels_per_second: 1, encoders, memory_bytes: 100 };
        assert_eq!(admission.admit(now, A, rungs(3)), Ok(()));
        let refusal = Refusal::Encoders { asked: 3, reserved: 3, limit: 5 };
        assert_eq!(admission.admit(now, B, rungs(3)), Err(refusal));
        let heavy = Demand { memory_bytes: 901, ..rungs(1) };
        let refusal = Refusal::DeviceMemory { asked: 901, reserved: 100, limit: 1_000 };
        assert_eq!(admission.admit(now, B, heavy), Err(refusal));
        assert_eq!(admission.admit(now, B, rungs(2)), Ok(()));
        assert_eq!(admission.admit(now, A, rungs(3)), Ok(()), "a session is not counted against itself");
    }

    #[test]
    fn takes_one_session_of_any_size_when_idle() {
        let mut admission = Admission::new(CAPACITY);
        assert_eq!(admission.admit(Instant::now(), A, 1_000), Ok(()));
    }

    #[test]
    fn counts_a_session_once_however_many_of_its_segments_run() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        for _ in 0..JOBS_PER_SESSION {
            assert_eq!(admission.admit(now, A, 60), Ok(()));
        }
        assert_eq!(admission.reserved(), 60);
        let full = Refusal::Jobs { in_flight: JOBS_PER_SESSION, limit: JOBS_PER_SESSION };
        assert_eq!(admission.admit(now, A, 60), Err(full));
    }

    #[test]
    fn refuses_more_sessions_than_the_engine_takes() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        for n in 0..3 {
            assert_eq!(admission.admit(now, id(n), 1), Ok(()));
        }
        assert_eq!(admission.admit(now, id(9), 1), Err(Refusal::Sessions { open: 3, limit: 3 }));
    }

    #[test]
    fn a_lower_capacity_costs_the_sessions_that_came_last() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        for session in [A, B, id(3)] {
            admission.admit(now, session, 30).expect("room for three");
            admission.finish(now, &session);
        }
        admission.set_capacity(Capacity { pixels_per_second: 70, max_sessions: 3 });
        assert!(admission.admit(now, id(3), 30).is_err());
        assert_eq!(admission.admit(now, B, 30), Ok(()));
        assert_eq!(admission.admit(now, A, 30), Ok(()));
        admission.set_capacity(Capacity { pixels_per_second: 70, max_sessions: 1 });
        assert_eq!(admission.admit(now, B, 30), Err(Refusal::Sessions { open: 1, limit: 1 }));
        assert_eq!(admission.admit(now, A, 30), Ok(()));
        admission.set_capacity(Capacity::default());
        assert_eq!(admission.admit(now, A, 30), Err(Refusal::Sessions { open: 0, limit: 0 }));
    }

    #[test]
    fn keeps_the_reservation_between_two_segments() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        admission.admit(now, A, 70).expect("idle engine");
        admission.finish(now, &A);
        let between = now + Duration::from_secs(2);
        assert!(admission.admit(between, B, 70).is_err());
    }

    #[test]
    fn gives_back_what_a_quiet_session_held() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        admission.admit(now, A, 70).expect("idle engine");
        admission.finish(now, &A);
        assert_eq!(admission.admit(now + SESSION_IDLE, B, 70), Ok(()));
        assert_eq!(admission.reserved(), 70);
    }

    #[test]
    fn sessions_of_a_sender_that_is_gone_hold_nothing_but_their_running_segments() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        admission.admit(now, A, 40).expect("idle engine");
        admission.admit(now, B, 40).expect("room for another");
        admission.finish(now, &A);
        admission.orphan(now);
        assert_eq!(admission.reserved(), 40);
        admission.finish(now, &B);
        assert_eq!(admission.admit(now, id(9), 100), Ok(()));
        assert_eq!(admission.sessions(), 1);
    }

    #[test]
    fn a_running_segment_holds_its_reservation_however_long_it_runs() {
        let now = Instant::now();
        let mut admission = Admission::new(CAPACITY);
        admission.admit(now, A, 70).expect("idle engine");
        assert!(admission.admit(now + SESSION_IDLE * 10, B, 70).is_err());
    }

    proptest! {
        #[test]
        fn never_promises_more_than_was_measured_to_two_sessions(
            steps in prop::collection::vec((0_u8..6, 0_u64..80, any::<bool>(), 0_u64..30), 1..200)
        ) {
            let mut now = Instant::now();
            let mut admission = Admission::new(CAPACITY);
            for (session, rate, start, wait) in steps {
                now += Duration::from_secs(wait);
                if start {
                    let _ = admission.admit(now, id(session), rate);
                } else {
                    admission.finish(now, &id(session));
                }
                prop_assert!(admission.sessions() <= CAPACITY.max_sessions as usize);
                prop_assert!(admission.sessions() <= 1 || admission.reserved() <= CAPACITY.pixels_per_second);
            }
        }
    }
}
