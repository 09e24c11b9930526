//! Processor time for judgements: some that publication waits for, and some that must not slow it down.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Niceness of what nobody waits for: a tenth of the weight of a thread that serves streams.
const LATER_NICENESS: i32 = 10;

/// When a judgement wants its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Publication waits for it.
    Now,
    /// Nothing waits for it: it gets what streams leave over.
    Later,
}

/// Cores to judge on, as many for each turn: a look that nothing waits for never holds up one that something does.
pub(crate) struct Cores {
    now: Arc<Semaphore>,
    later: Arc<Semaphore>,
}

impl Cores {
    /// `count` judgements at a time, of each turn.
    pub(crate) fn new(count: usize) -> Self {
        let room = || Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { now: room(), later: room() }
    }

    /// Waits for a core.
    pub(crate) async fn take(&self, turn: Turn) -> Core {
        let room = match turn {
            Turn::Now => &self.now,
            Turn::Later => &self.later,
        };
        let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
        Core { turn, _permit: permit }
    }
}

/// A core taken, until its job is over.
pub(crate) struct Core {
    turn: Turn,
    _permit: OwnedSemaphorePermit,
}

impl Core {
    /// One that publication waits for.
    pub(crate) fn now(permit: OwnedSemaphorePermit) -> Self {
        Self { turn: Turn::Now, _permit: permit }
    }

    /// Runs `job`, which may block, to its end even if this is dropped; `None` when it panicked or no thread could be had.
    pub(crate) async fn run<T: Send + 'static>(self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self.turn {
            Turn::Now => {
                let work = move || {
                    let made = job();
                    drop(self);
                    made
                };
                tokio::task::spawn_blocking(work).await.ok()
            }
            Turn::Later => {
                let (sender, done) = oneshot::channel();
                let work = move || {
                    give_way();
                    let made = job();
                    drop(self);
                    // Nobody waiting any more is fine: the broadcaster has ended.
                    let _ = sender.send(made);
                };
                // A thread of its own: one that has given way cannot take its priority back.
                std::thread::Builder::new().name("look-later".to_owned()).spawn(work).ok()?;
                done.await.ok()
            }
        }
    }
}

/// Lowers the priority of this thread, where the system has one for each thread. Without that it only competes harder.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LATER_NICENESS) {
        tracing::debug!(%error, "a look that nothing waits for keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_nothing_waits_for_takes_no_core_from_what_something_does() {
        let cores = Cores::new(1);
        let later = cores.take(Turn::Later).await;
        assert!(cores.take(Turn::Later).now_or_never().is_none());
        let now = cores.take(Turn::Now).now_or_never().expect("a core of its own");
        assert_eq!((now.run(|| 1).await, later.run(|| 2).await), (Some(1), Some(2)));
        assert!(cores.take(Turn::Later).now_or_never().is_some(), "it is given back");
    }

    #[tokio::test]
    async fn a_job_that_panics_gives_its_core_back() {
        let cores = Cores::new(1);
        for turn in [Turn::Now, Turn::Later] {
            assert_eq!(cores.take(turn).await.run(|| panic!("as told")).await, None::<()>);
            assert!(cores.take(turn).now_or_never().is_some());
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_what_nothing_waits_for_gives_way() {
        let niceness = || {
            rustix::process::getpriority_process(Some(rustix::thread::gettid())).expect("this thread exists")
        };
        let (cores, own) = (Cores::new(1), niceness());
        assert_eq!(cores.take(Turn::Now).await.run(niceness).await, Some(own));
        assert_eq!(cores.take(Turn::Later).await.run(niceness).await, Some(LATER_NICENESS.max(own)));
        assert_eq!(niceness(), own);
    }
}
