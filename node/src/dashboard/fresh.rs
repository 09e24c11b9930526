//! Answers that are asked for often and cost something: kept for a while, made by one at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// One such answer. However many ask, it is made once at a time, and an error is not kept.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    kept: Mutex<Option<(Instant, Arc<T>)>>,
    keep: Duration,
}

impl<T> Fresh<T> {
    pub(super) fn new(keep: Duration) -> Self {
        Self { kept: Mutex::new(None), keep }
    }

    /// The answer, made anew where it is too old.
    pub(super) async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        self.get_at(Instant::now, make).await
    }

    /// The clock is read once it is this caller's turn.
    async fn get_at<E>(
        &self,
        now: impl Fn() -> Instant,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let mut kept = self.kept.lock().await;
        if let Some((made, value)) = &*kept
            && now().duration_since(*made) < self.keep
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make.await?);
        *kept = Some((now(), Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_made_again_when_it_is_too_old_and_an_error_is_not_kept() {
        let (keep, begun) = (Duration::from_secs(2), Instant::now());
        let fresh = Fresh::new(keep);
        let made = Cell::new(0);
        let make = async |result: Result<u8, ()>| {
            made.set(made.get() + 1);
            result
        };
        assert_eq!(fresh.get_at(|| begun, make(Err(()))).await, Err(()));
        assert_eq!(fresh.get_at(|| begun, make(Ok(1))).await, Ok(Arc::new(1)));
        assert_eq!(fresh.get_at(|| begun + keep / 2, make(Ok(2))).await, Ok(Arc::new(1)));
        assert_eq!(fresh.get_at(|| begun + keep, make(Ok(3))).await, Ok(Arc::new(3)));
        assert_eq!(made.get(), 3);
    }
}
