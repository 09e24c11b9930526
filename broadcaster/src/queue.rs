//! Room for results in judgement: bounded, so that a backlog of pictures costs neither memory nor anybody's deadline.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cores::Core;

/// The queue before the cores that judge renditions.
pub(crate) struct VerifyQueue {
    room: Arc<Semaphore>,
    /// Room for as many that publication does not wait for.
    later: Arc<Semaphore>,
    capacity: u32,
    /// Cores for results of which the structure alone is looked at: a few milliseconds each, which wait for no picture.
    express: Arc<Semaphore>,
}

/// Where a result is judged.
pub(crate) enum Place {
    /// In the queue, for as long as this is held.
    Queued { _room: OwnedSemaphorePermit },
    /// Beside it: nothing is decoded.
    Express,
}

impl VerifyQueue {
    /// A queue for `capacity` renditions before `cores`.
    pub(crate) fn new(capacity: usize, cores: usize) -> Self {
        let capacity = u32::try_from(capacity.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            room: Arc::new(Semaphore::new(capacity as usize)),
            later: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            express: Arc::new(Semaphore::new(cores.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for all renditions of a result, where there is room now.
    pub(crate) fn try_enter(&self, renditions: usize) -> Option<Place> {
        let count = u32::try_from(renditions).ok()?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(count).ok()?;
        Some(Place::Queued { _room: room })
    }

    /// Room of their own for renditions that publication does not wait for, where there is some: what it does wait for finds as much
    /// as ever however long these take.
    pub(crate) fn try_later(&self, renditions: usize) -> Option<Place> {
        let count = u32::try_from(renditions).ok()?;
        let room = Arc::clone(&self.later).try_acquire_many_owned(count).ok()?;
        Some(Place::Queued { _room: room })
    }

    /// Waits for room. A result with more renditions than there is room for waits until all of it is free.
    pub(crate) async fn enter(&self, renditions: usize) -> Place {
        let count = u32::try_from(renditions).unwrap_or(u32::MAX).min(self.capacity);
        let room = Arc::clone(&self.room).acquire_many_owned(count).await;
        Place::Queued { _room: room.expect("the semaphore is never closed") }
    }

    /// A core for a result beside the queue.
    pub(crate) async fn express(&self) -> Core {
        let permit = Arc::clone(&self.express).acquire_owned().await;
        Core::now(permit.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_result_enters_only_with_all_its_renditions() {
        let queue = VerifyQueue::new(5, 1);
        let first = queue.try_enter(3).unwrap();
        assert!(queue.try_enter(3).is_none());
        let second = queue.try_enter(2).unwrap();
        assert!(queue.try_enter(1).is_none());
        drop((first, second));
        assert!(queue.try_enter(5).is_some());
    }

    #[tokio::test]
    async fn who_waits_enters_when_there_is_room_and_not_before() {
        let queue = VerifyQueue::new(3, 1);
        let first = queue.try_enter(2).unwrap();
        let mut waiting = Box::pin(queue.enter(2));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(queue.try_enter(1).is_none(), "nobody passes who waits");
        drop(first);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn what_publication_does_not_wait_for_takes_no_room_from_what_it_does() {
        let queue = VerifyQueue::new(3, 1);
        let later = queue.try_later(3).unwrap();
        assert!(queue.try_later(1).is_none());
        assert!(queue.try_enter(3).is_some());
        drop(later);
        assert!(queue.try_later(3).is_some());
    }

    #[tokio::test]
    async fn a_result_larger_than_the_queue_has_it_to_itself() {
        let queue = VerifyQueue::new(2, 1);
        assert!(queue.try_enter(3).is_none());
        let alone = queue.enter(3).await;
        assert!(queue.try_enter(1).is_none());
        drop(alone);
        assert!(queue.try_enter(2).is_some());
    }
}
