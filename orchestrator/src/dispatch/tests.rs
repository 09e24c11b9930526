use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const A: u8 = 1;
const B: u8 = 2;

struct Sim {
    core: Dispatcher,
    now: Instant,
}

impl Sim {
    /// Workers that make the given pixels per second, for two sessions at a time.
    fn new(rates: &[u64]) -> Self {
        let mut sim = Self { core: Dispatcher::default(), now: Instant::now() };
        for (id, rate) in (0..).zip(rates) {
            sim.join(id, *rate, 2);
        }
        sim
    }

    fn join(&mut self, id: u64, pixels_per_second: u64, max_sessions: u32) -> bool {
        self.core.set_capacity(WorkerId(id), Capacity { pixels_per_second, max_sessions })
    }

    /// One second of a session's video, due in `budget`.
    fn reserve(&mut self, job: u64, session: u8, rate: u64, budget: Duration) -> Result<(), Refusal> {
        let demand = Demand {
            session: B256::repeat_byte(session),
            pixels_per_second: rate,
            pixels: rate,
            deadline: self.now + budget,
        };
        self.core.reserve(self.now, JobId(job), demand)
    }

    /// Reserves, pays and starts.
    fn start(&mut self, job: u64, session: u8, rate: u64) -> Result<u64, Refusal> {
        self.reserve(job, session, rate, 100 * SECOND)?;
        self.core.confirm(self.now, JobId(job));
        self.assign(job)
    }

    fn assign(&mut self, job: u64) -> Result<u64, Refusal> {
        self.core.assign(self.now, JobId(job)).map(|worker| worker.0)
    }

    fn fail(&mut self, job: u64) -> Result<u64, Refusal> {
        self.core.failed(JobId(job));
        self.assign(job)
    }

    fn over(&mut self, job: u64) {
        self.core.over(self.now, JobId(job));
    }
}

fn busy<T>(result: &Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::Busy { .. }))
}

#[test]
fn refuses_before_upload_without_a_transcoder() {
    assert_eq!(Sim::new(&[]).reserve(1, A, 10, SECOND), Err(Refusal::NoTranscoder));
}

#[test]
fn a_worker_without_capacity_does_not_count() {
    assert_eq!(Sim::new(&[0]).reserve(1, A, 10, SECOND), Err(Refusal::NoTranscoder));
}

#[test]
fn a_draining_worker_gets_nothing_new() {
    let mut sim = Sim::new(&[100]);
    sim.core.drain(WorkerId(0));
    assert_eq!(sim.reserve(1, A, 10, SECOND), Err(Refusal::NoTranscoder));
}

#[test]
fn a_new_session_goes_to_the_least_loaded_worker() {
    let mut sim = Sim::new(&[100, 300]);
    assert_eq!(sim.start(1, A, 90), Ok(1));
    assert_eq!(sim.start(2, B, 20), Ok(0));
}

#[test]
fn a_session_stays_on_its_worker() {
    let mut sim = Sim::new(&[300, 100]);
    assert_eq!(sim.start(1, A, 90), Ok(0));
    sim.over(1);
    sim.start(2, B, 10).unwrap();
    assert_eq!(sim.start(3, A, 90), Ok(0));
}

#[test]
fn a_silent_session_gives_its_place_up() {
    let mut sim = Sim::new(&[100]);
    sim.start(1, A, 80).unwrap();
    sim.over(1);
    assert!(busy(&sim.reserve(2, B, 80, 100 * SECOND)));
    sim.now += PLACE_IDLE;
    assert_eq!(sim.reserve(2, B, 80, 100 * SECOND), Ok(()));
}

#[test]
fn is_busy_when_no_worker_has_room_for_another_session() {
    let mut sim = Sim::new(&[100, 100]);
    sim.start(1, A, 60).unwrap();
    sim.start(2, B, 60).unwrap();
    assert!(busy(&sim.reserve(3, 3, 60, 100 * SECOND)));
}

#[test]
fn respects_the_sessions_a_worker_takes() {
    let mut sim = Sim::new(&[100]);
    sim.start(1, A, 1).unwrap();
    sim.start(2, B, 1).unwrap();
    assert!(busy(&sim.reserve(3, 3, 1, 100 * SECOND)));
}

#[test]
fn a_session_that_is_alone_is_taken_whatever_its_size() {
    let mut sim = Sim::new(&[100]);
    assert_eq!(sim.start(1, A, 250), Ok(0));
}

#[test]
fn is_busy_when_no_worker_would_make_the_deadline() {
    let mut sim = Sim::new(&[100]);
    sim.start(1, A, 500).unwrap();
    let late = Refusal::Busy { retry_after: 4 * SECOND };
    assert_eq!(sim.reserve(2, A, 100, 2 * SECOND), Err(late));
}

#[test]
fn a_session_overflows_to_another_worker_when_its_own_would_be_late() {
    let mut sim = Sim::new(&[100, 100]);
    assert_eq!(sim.start(1, A, 100), Ok(0));
    sim.reserve(2, A, 100, SECOND).unwrap();
    assert_eq!(sim.assign(2), Ok(1));
}

#[test]
fn an_unpaid_segment_leaves_no_place_behind() {
    let mut sim = Sim::new(&[100]);
    sim.reserve(1, A, 80, 100 * SECOND).unwrap();
    sim.over(1);
    assert_eq!(sim.reserve(2, B, 80, 100 * SECOND), Ok(()));
}

#[test]
fn moves_a_failed_segment_and_its_session_to_another_worker() {
    let mut sim = Sim::new(&[300, 100]);
    assert_eq!(sim.start(1, A, 10), Ok(0));
    assert_eq!(sim.fail(1), Ok(1));
    sim.over(1);
    assert_eq!(sim.start(2, A, 10), Ok(1));
}

#[test]
fn moves_a_segment_whose_worker_left_during_the_upload() {
    let mut sim = Sim::new(&[300, 100]);
    sim.reserve(1, A, 10, 100 * SECOND).unwrap();
    sim.core.leave(WorkerId(0));
    assert_eq!(sim.assign(1), Ok(1));
}

#[test]
fn gives_up_when_no_other_worker_is_left() {
    let mut sim = Sim::new(&[100]);
    sim.start(1, A, 10).unwrap();
    assert_eq!(sim.fail(1), Err(Refusal::TranscoderFailed { attempts: 1 }));
}

#[test]
fn gives_up_after_three_workers() {
    let mut sim = Sim::new(&[400, 300, 200, 100]);
    sim.start(1, A, 10).unwrap();
    sim.fail(1).unwrap();
    sim.fail(1).unwrap();
    assert_eq!(sim.fail(1), Err(Refusal::TranscoderFailed { attempts: MAX_ATTEMPTS }));
}

#[test]
fn bounds_the_workers_it_serves() {
    let mut sim = Sim::new(&[1; MAX_WORKERS]);
    assert!(!sim.join(MAX_WORKERS as u64, 1, 1));
    assert_eq!(sim.core.workers(), MAX_WORKERS);
}

#[derive(Debug, Clone)]
enum Op {
    Join(u64, u32),
    Drain(u64),
    Leave(u64),
    Reserve(u8, u64, u32),
    Confirm(usize),
    Assign(usize),
    Fail(usize),
    Over(usize),
    Wait(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u64..500, 0u32..4).prop_map(|(rate, sessions)| Op::Join(rate, sessions)),
        (0u64..8).prop_map(Op::Drain),
        (0u64..8).prop_map(Op::Leave),
        (0u8..6, 0u64..300, 0u32..20).prop_map(|(s, p, d)| Op::Reserve(s, p, d)),
        (0usize..20).prop_map(Op::Confirm),
        (0usize..20).prop_map(Op::Assign),
        (0usize..20).prop_map(Op::Fail),
        (0usize..20).prop_map(Op::Over),
        (0u32..10).prop_map(Op::Wait),
    ]
}

proptest! {
    /// Whatever happens: a segment is never given to a worker that failed it or that is gone, and a
    /// worker's books are the sum of the segments placed on it.
    #[test]
    fn books_balance(ops in prop::collection::vec(op(), 1..200)) {
        let mut sim = Sim::new(&[100, 200]);
        let mut next_worker = 2;
        let mut jobs = 0;
        for op in ops {
            match op {
                Op::Join(rate, sessions) => {
                    sim.join(next_worker, rate, sessions);
                    next_worker += 1;
                }
                Op::Drain(w) => sim.core.drain(WorkerId(w)),
                Op::Leave(w) => sim.core.leave(WorkerId(w)),
                Op::Reserve(session, rate, seconds) => {
                    let _ = sim.reserve(jobs, session, rate, SECOND * seconds);
                    jobs += 1;
                }
                Op::Confirm(j) => sim.core.confirm(sim.now, JobId(j as u64)),
                Op::Assign(j) => {
                    if let Ok(worker) = sim.core.assign(sim.now, JobId(j as u64)) {
                        let job = &sim.core.jobs[&JobId(j as u64)];
                        prop_assert!(!job.tried.contains(&worker));
                        prop_assert!(sim.core.workers.contains_key(&worker));
                    }
                }
                Op::Fail(j) => sim.core.failed(JobId(j as u64)),
                Op::Over(j) => sim.core.over(sim.now, JobId(j as u64)),
                Op::Wait(s) => sim.now += SECOND * s,
            }
            for (id, worker) in &sim.core.workers {
                let placed = sim.core.jobs.values().filter(|job| job.worker == *id);
                prop_assert_eq!(worker.pixels, placed.map(|job| job.demand.pixels).sum::<u64>());
            }
        }
    }
}
