//! Connected transcoders, and a segment's claim on one of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use framemill_network::{PeerId, WorkCapacity, WorkServer, WorkerEvent, WorkerHandle, WorkerLink};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{Shared, locked};
use crate::dispatch::{Capacity, Demand, Dispatcher, JobId, MAX_WORKERS, WorkerId};
use crate::events::{Events, OrchestratorEvent};
use crate::metrics::{Metrics, level};
use crate::refusal::Refusal;

#[derive(Default)]
struct State {
    dispatcher: Dispatcher,
    handles: HashMap<WorkerId, WorkerHandle>,
}

/// The transcoders connected now.
pub(crate) struct Pool {
    state: Mutex<State>,
    next_id: AtomicU64,
    metrics: Metrics,
    events: Events,
}

impl Pool {
    pub(crate) fn new(metrics: Metrics, events: Events) -> Self {
        Self { state: Mutex::default(), next_id: AtomicU64::new(0), metrics, events }
    }

    /// Output pixels per second of all transcoders.
    pub(crate) fn capacity(&self) -> u64 {
        locked(&self.state).dispatcher.capacity()
    }

    /// Segments in work.
    pub(crate) fn jobs(&self) -> usize {
        locked(&self.state).dispatcher.jobs()
    }

    /// Tells every transcoder that no new jobs will come.
    pub(crate) fn drain(&self) {
        for handle in locked(&self.state).handles.values() {
            handle.drain();
        }
    }

    /// Claims a transcoder for a segment, before its upload.
    pub(crate) fn reserve(self: &Arc<Self>, demand: Demand) -> Result<Slot, Refusal> {
        let job = JobId(self.next_id());
        locked(&self.state).dispatcher.reserve(Instant::now(), job, demand)?;
        Ok(Slot { pool: self.clone(), job })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn join(&self, link: &WorkerLink) -> Option<WorkerId> {
        let id = WorkerId(self.next_id());
        let mut state = locked(&self.state);
        if !state.dispatcher.set_capacity(id, capacity(link.hello().capacity)) {
            return None;
        }
        state.handles.insert(id, link.handle());
        self.measure(&state);
        Some(id)
    }

    fn update(&self, id: WorkerId, event: WorkerEvent) {
        let mut state = locked(&self.state);
        match event {
            WorkerEvent::Capacity(measured) => {
                state.dispatcher.set_capacity(id, capacity(measured));
            }
            WorkerEvent::Draining => state.dispatcher.drain(id),
            other => warn!(event = ?other, "transcoder's notice is of a newer version; ignored"),
        }
        self.measure(&state);
    }

    fn leave(&self, id: WorkerId) {
        let mut state = locked(&self.state);
        state.dispatcher.leave(id);
        state.handles.remove(&id);
        self.measure(&state);
    }

    fn measure(&self, state: &State) {
        self.metrics.transcoders.set(level(state.dispatcher.workers()));
        self.metrics.capacity.set(level(state.dispatcher.capacity()));
    }
}

/// A segment's claim on a transcoder; given back when dropped.
pub(crate) struct Slot {
    pool: Arc<Pool>,
    job: JobId,
}

impl Slot {
    /// The job's number on the wire.
    pub(crate) fn id(&self) -> u64 {
        self.job.0
    }

    /// The segment is paid for.
    pub(crate) fn confirm(&self) {
        locked(&self.pool.state).dispatcher.confirm(Instant::now(), self.job);
    }

    /// The transcoder to use now.
    pub(crate) fn assign(&self) -> Result<WorkerHandle, Refusal> {
        let mut state = locked(&self.pool.state);
        let worker = state.dispatcher.assign(Instant::now(), self.job)?;
        state.handles.get(&worker).cloned().ok_or(Refusal::NoTranscoder)
    }

    /// The assigned transcoder failed.
    pub(crate) fn failed(&self) {
        locked(&self.pool.state).dispatcher.failed(self.job);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        locked(&self.pool.state).dispatcher.over(Instant::now(), self.job);
    }
}

/// Takes transcoders in and follows each until it leaves.
pub(crate) async fn serve(shared: Arc<Shared>, mut server: WorkServer) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            link = server.next(), if links.len() < MAX_WORKERS => match link {
                Some(link) => { links.spawn(follow(shared.pool.clone(), link)); }
                None => break,
            },
            Some(_) = links.join_next() => {}
        }
    }
    while links.join_next().await.is_some() {}
}

async fn follow(pool: Arc<Pool>, mut link: WorkerLink) {
    let (peer, name) = (link.peer(), link.hello().name.clone());
    let Some(worker) = pool.join(&link) else {
        warn!(%peer, %name, limit = MAX_WORKERS, "transcoder turned away: the pool is full");
        return;
    };
    let _leave = Membership { pool: &pool, worker, peer };
    let pixels_per_second = link.hello().capacity.pixels_per_second;
    info!(%peer, %name, pixels_per_second, "transcoder connected");
    pool.events.send(OrchestratorEvent::TranscoderConnected { peer, name, pixels_per_second });
    loop {
        match link.next().await {
            Ok(event) => pool.update(worker, event),
            Err(error) => {
                info!(%peer, %error, "transcoder left");
                return;
            }
        }
    }
}

/// Ends a transcoder's membership however its task ends.
struct Membership<'a> {
    pool: &'a Pool,
    worker: WorkerId,
    peer: PeerId,
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        self.pool.leave(self.worker);
        self.pool.events.send(OrchestratorEvent::TranscoderLeft { peer: self.peer });
    }
}

fn capacity(measured: WorkCapacity) -> Capacity {
    Capacity { pixels_per_second: measured.pixels_per_second, max_sessions: measured.max_sessions }
}
