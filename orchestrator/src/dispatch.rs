//! Which transcoder gets which segment.
//!
//! Pure: the time comes in, decisions go out. A session is placed on the least loaded transcoder and
//! stays there, because a transcoder reserves capacity (and keeps encoders open) per session. A
//! segment gets its place before its upload, which is when "busy" can still be said, and moves on
//! when its transcoder leaves or fails it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use alloy_primitives::B256;

use crate::refusal::Refusal;

/// Transcoders one orchestrator serves: each costs a connection and is looked at for every segment.
pub(crate) const MAX_WORKERS: usize = 1024;

/// Segments in work at once: each may hold a source and its renditions in memory.
pub(crate) const MAX_JOBS: usize = 1024;

/// Transcoders one segment is tried on: a segment that breaks three is likely the cause itself.
pub(crate) const MAX_ATTEMPTS: usize = 3;

/// How long a silent session keeps its place. Longer than a transcoder keeps the session's
/// reservation, so that we never count less than it does.
const PLACE_IDLE: Duration = Duration::from_secs(25);

/// The shortest and longest time a client is told to wait before it asks again.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// A connected transcoder; a new one for every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(crate) u64);

/// One segment on its way through a transcoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct JobId(pub(crate) u64);

/// What a transcoder says it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Output pixels per second, all sessions together.
    pub(crate) pixels_per_second: u64,
    /// Sessions at a time.
    pub(crate) max_sessions: u32,
}

/// What a segment asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// Its session.
    pub(crate) session: B256,
    /// Output pixels per second of the session while it plays.
    pub(crate) pixels_per_second: u64,
    /// Output pixels of this segment.
    pub(crate) pixels: u64,
    /// When the result is worth nothing any more.
    pub(crate) deadline: Instant,
}

#[derive(Debug)]
struct Worker {
    capacity: Capacity,
    draining: bool,
    /// Output pixels of the segments placed here and not over.
    pixels: u64,
}

impl Worker {
    fn usable(&self) -> bool {
        !self.draining && self.capacity.pixels_per_second > 0 && self.capacity.max_sessions > 0
    }

    /// Time until it would be through with what it has plus `pixels`.
    fn eta(&self, pixels: u64) -> Duration {
        time_for(self.pixels.saturating_add(pixels), self.capacity.pixels_per_second)
    }
}

/// Where a paying session's segments go.
#[derive(Debug)]
struct Place {
    worker: WorkerId,
    pixels_per_second: u64,
    until: Instant,
}

#[derive(Debug)]
struct Job {
    demand: Demand,
    worker: WorkerId,
    /// Where it failed; at most [`MAX_ATTEMPTS`].
    tried: Vec<WorkerId>,
    paid: bool,
}

/// What sessions hold of one worker.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    sessions: u32,
    pixels_per_second: u64,
}

impl Load {
    fn add(&mut self, pixels_per_second: u64) {
        self.sessions += 1;
        self.pixels_per_second = self.pixels_per_second.saturating_add(pixels_per_second);
    }

    /// Whether another session fits beside. One that is alone fits whatever its size: it makes
    /// nobody late, and its own deadline is checked apart.
    fn has_room(&self, asked: u64, capacity: &Capacity) -> bool {
        let fits = self.pixels_per_second.saturating_add(asked) <= capacity.pixels_per_second;
        self.sessions < capacity.max_sessions && (self.sessions == 0 || fits)
    }
}

/// The state of all transcoders, places and segments in work.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    workers: BTreeMap<WorkerId, Worker>,
    places: HashMap<B256, Place>,
    jobs: HashMap<JobId, Job>,
}

impl Dispatcher {
    /// Output pixels per second of all transcoders that take work.
    pub(crate) fn capacity(&self) -> u64 {
        let usable = self.workers.values().filter(|worker| worker.usable());
        usable.fold(0, |sum, worker| sum.saturating_add(worker.capacity.pixels_per_second))
    }

    /// Transcoders connected, draining ones included.
    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Segments in work.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// A transcoder connected, or measured itself again. False when there are too many.
    pub(crate) fn set_capacity(&mut self, id: WorkerId, capacity: Capacity) -> bool {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.capacity = capacity;
        } else if self.workers.len() < MAX_WORKERS {
            self.workers.insert(id, Worker { capacity, draining: false, pixels: 0 });
        } else {
            return false;
        }
        true
    }

    /// A transcoder finishes what it has and takes no more.
    pub(crate) fn drain(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.draining = true;
        }
    }

    /// A transcoder's connection is gone. Its segments report their own failure.
    pub(crate) fn leave(&mut self, id: WorkerId) {
        self.workers.remove(&id);
        self.places.retain(|_, place| place.worker != id);
    }

    /// Finds a place for a segment before its upload.
    ///
    /// # Errors
    /// No transcoder is there, none has room, or none would make the deadline.
    pub(crate) fn reserve(&mut self, now: Instant, id: JobId, demand: Demand) -> Result<(), Refusal> {
        self.places.retain(|_, place| place.until > now);
        if self.jobs.len() >= MAX_JOBS {
            return Err(Refusal::Busy { retry_after: RETRY_AFTER.1 });
        }
        let worker = self.choose(now, &demand, &[])?;
        self.jobs.insert(id, Job { demand, worker, tried: Vec::new(), paid: false });
        self.load_pixels(worker, demand.pixels);
        Ok(())
    }

    /// The segment is paid for: its session keeps the place.
    pub(crate) fn confirm(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.paid = true;
        let (session, place) = place_of(job, now);
        self.places.insert(session, place);
    }

    /// The transcoder to run the segment on now: the reserved one, or another when that one left.
    ///
    /// # Errors
    /// As [`Dispatcher::reserve`]; the segment stays known until [`Dispatcher::over`].
    pub(crate) fn assign(&mut self, now: Instant, id: JobId) -> Result<WorkerId, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::Internal)?;
        if !job.tried.contains(&job.worker) && self.workers.contains_key(&job.worker) {
            return Ok(job.worker);
        }
        self.replace(now, id)
    }

    /// The transcoder that the segment ran on failed it; the next [`Dispatcher::assign`] gives another.
    pub(crate) fn failed(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.tried.contains(&job.worker)) else { return };
        job.tried.push(job.worker);
        let (session, worker) = (job.demand.session, job.worker);
        if self.places.get(&session).is_some_and(|place| place.worker == worker) {
            self.places.remove(&session);
        }
    }

    /// The segment is over, for good or bad.
    pub(crate) fn over(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.unload_pixels(job.worker, job.demand.pixels);
        let place = self.places.get_mut(&job.demand.session);
        if let Some(place) = place.filter(|place| place.worker == job.worker) {
            place.until = now + PLACE_IDLE;
        }
    }

    fn replace(&mut self, now: Instant, id: JobId) -> Result<WorkerId, Refusal> {
        let job = self.jobs.get(&id).ok_or(Refusal::Internal)?;
        let (demand, left, attempts) = (job.demand, job.worker, job.tried.len());
        let given_up = Refusal::TranscoderFailed { attempts };
        if attempts >= MAX_ATTEMPTS {
            return Err(given_up);
        }
        let worker = self.choose(now, &demand, &job.tried).map_err(|refusal| match attempts {
            0 => refusal,
            _ => given_up,
        })?;
        self.unload_pixels(left, demand.pixels);
        self.load_pixels(worker, demand.pixels);
        let job = self.jobs.get_mut(&id).ok_or(Refusal::Internal)?;
        job.worker = worker;
        if job.paid {
            let (session, place) = place_of(job, now);
            self.places.insert(session, place);
        }
        Ok(worker)
    }

    fn choose(&self, now: Instant, demand: &Demand, tried: &[WorkerId]) -> Result<WorkerId, Refusal> {
        let budget = demand.deadline.saturating_duration_since(now);
        let usable: Vec<_> =
            self.workers.iter().filter(|(id, worker)| worker.usable() && !tried.contains(id)).collect();
        let soonest = usable.iter().map(|(_, worker)| worker.eta(demand.pixels)).min();
        let soonest = soonest.ok_or(Refusal::NoTranscoder)?;
        let in_time = |worker: &Worker| worker.eta(demand.pixels) <= budget;

        let home = self.places.get(&demand.session).map(|place| place.worker);
        if let Some((id, _)) = usable.iter().find(|(id, worker)| Some(**id) == home && in_time(worker)) {
            return Ok(**id);
        }
        let loads = self.loads(&demand.session);
        let load = |id: &WorkerId| loads.get(id).copied().unwrap_or_default();
        usable
            .iter()
            .filter(|(id, worker)| {
                in_time(worker) && load(id).has_room(demand.pixels_per_second, &worker.capacity)
            })
            .min_by_key(|(id, worker)| {
                let held = load(id).pixels_per_second.saturating_add(demand.pixels_per_second);
                (time_for(held, worker.capacity.pixels_per_second), **id)
            })
            .map(|(id, _)| **id)
            .ok_or_else(|| {
                let late = soonest.saturating_sub(budget);
                Refusal::Busy { retry_after: late.clamp(RETRY_AFTER.0, RETRY_AFTER.1) }
            })
    }

    /// What the other sessions hold: those with a place, and first segments that have none yet.
    fn loads(&self, except: &B256) -> HashMap<WorkerId, Load> {
        let mut loads: HashMap<WorkerId, Load> = HashMap::new();
        for (session, place) in &self.places {
            if session != except {
                loads.entry(place.worker).or_default().add(place.pixels_per_second);
            }
        }
        for job in self.jobs.values() {
            let session = &job.demand.session;
            let placed = self.places.get(session).is_some_and(|place| place.worker == job.worker);
            if session != except && !placed {
                loads.entry(job.worker).or_default().add(job.demand.pixels_per_second);
            }
        }
        loads
    }

    fn load_pixels(&mut self, worker: WorkerId, pixels: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.pixels = worker.pixels.saturating_add(pixels);
        }
    }

    fn unload_pixels(&mut self, worker: WorkerId, pixels: u64) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.pixels = worker.pixels.saturating_sub(pixels);
        }
    }
}

fn place_of(job: &Job, now: Instant) -> (B256, Place) {
    let Demand { session, pixels_per_second, deadline, .. } = job.demand;
    // While the segment runs its place must not expire under it.
    let until = deadline.max(now) + PLACE_IDLE;
    (session, Place { worker: job.worker, pixels_per_second, until })
}

/// Time that `pixels` take at `rate` pixels per second, rounded up; for ever at rate zero.
fn time_for(pixels: u64, rate: u64) -> Duration {
    const MICROS: u128 = 1_000_000;
    if rate == 0 {
        return Duration::MAX;
    }
    let micros = (u128::from(pixels) * MICROS).div_ceil(u128::from(rate));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
