//! Jobs whose threads are alive.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::TranscodeError;

/// How long after its deadline a job counts as hanging: cancellation is looked at once per frame, so a live one is gone.
const HANG_GRACE: Duration = Duration::from_secs(10);

/// Jobs that may hang before the engine takes no more. A thread inside a codec cannot be ended from outside, so each one
/// keeps its memory until the process ends.
const MAX_HANGING: usize = 4;

/// Deadlines of the jobs whose threads are alive.
#[derive(Debug, Default)]
pub(crate) struct Running {
    next: AtomicU64,
    deadlines: Mutex<HashMap<u64, Instant>>,
}

impl Running {
    /// A job that begins; it ends when what is returned drops.
    pub(crate) fn enter(running: &Arc<Self>, deadline: Instant) -> RunningJob {
        let id = running.next.fetch_add(1, Ordering::Relaxed);
        running.lock().insert(id, deadline);
        RunningJob { id, running: Arc::clone(running) }
    }

    /// Refuses a job while too many hang.
    ///
    /// # Errors
    /// [`TranscodeError::EngineStuck`] of the engine by this name.
    pub(crate) fn admit(&self, engine: &'static str) -> Result<(), TranscodeError> {
        match self.hanging(Instant::now()) {
            stuck if stuck >= MAX_HANGING => {
                Err(TranscodeError::EngineStuck { engine, stuck, limit: MAX_HANGING })
            }
            _ => Ok(()),
        }
    }

    /// Jobs that hang past their deadline.
    fn hanging(&self, now: Instant) -> usize {
        self.lock().values().filter(|&&deadline| now.saturating_duration_since(deadline) > HANG_GRACE).count()
    }

    /// Jobs that are alive.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Instant>> {
        // The map is whole after every operation, whatever thread panicked.
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job that is alive.
#[derive(Debug)]
pub(crate) struct RunningJob {
    id: u64,
    running: Arc<Running>,
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_jobs_that_hang_and_forgets_those_that_end() {
        let running = Arc::new(Running::default());
        let now = Instant::now();
        let hanging = Running::enter(&running, now);
        let _live = Running::enter(&running, now + HANG_GRACE * 2);
        let later = now + HANG_GRACE + Duration::from_millis(1);
        assert_eq!(running.hanging(now), 0);
        assert_eq!(running.hanging(later), 1);
        drop(hanging);
        assert_eq!(running.hanging(later), 0);
    }
}
