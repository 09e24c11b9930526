//! Answers that are asked for often and cost something: kept for a while, made by one at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

/// One such answer, with the mark of when it was made. However many ask, it is made once at a time, and an error is not kept.
#[derive(Debug)]
pub(super) struct Fresh<T, M = Instant>(Mutex<Option<(M, Arc<T>)>>);

impl<T, M> Default for Fresh<T, M> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Fresh<T> {
    /// The answer, made anew where it is older than `keep`.
    pub(super) async fn within<E>(
        &self,
        keep: Duration,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        self.get(|made| made.elapsed() < keep, Instant::now, make).await
    }
}

impl<T> Fresh<T, u64> {
    /// The answer, made anew where the one that is kept was made at another block.
    ///
    /// `block` is the newest, read before anything that `make` reads.
    pub(super) async fn at<E>(
        &self,
        block: u64,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        self.get(|made| *made == block, || block, make).await
    }
}

impl<T, M> Fresh<T, M> {
    /// Whether what is kept will do is asked once it is this caller's turn.
    async fn get<E>(
        &self,
        will_do: impl Fn(&M) -> bool,
        mark: impl Fn() -> M,
        make: impl Future<Output = Result<T, E>>,
    ) -> Result<Arc<T>, E> {
        let mut kept = self.0.lock().await;
        if let Some((made, value)) = &*kept
            && will_do(made)
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make.await?);
        *kept = Some((mark(), Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_made_again_at_another_block_and_an_error_is_not_kept() {
        let fresh = Fresh::<u8, u64>::default();
        let made = Cell::new(0);
        let make = async |result: Result<u8, ()>| {
            made.set(made.get() + 1);
            result
        };
        assert_eq!(fresh.at(7, make(Err(()))).await, Err(()));
        assert_eq!(fresh.at(7, make(Ok(1))).await, Ok(Arc::new(1)));
        assert_eq!(fresh.at(7, make(Ok(2))).await, Ok(Arc::new(1)));
        assert_eq!(fresh.at(8, make(Ok(3))).await, Ok(Arc::new(3)));
        assert_eq!(fresh.at(7, make(Ok(4))).await, Ok(Arc::new(4)), "the chain went back");
        assert_eq!(made.get(), 4);
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_while() {
        let fresh = Fresh::<u8>::default();
        let make = async |number: u8| Ok::<_, ()>(number);
        assert_eq!(fresh.within(Duration::MAX, make(1)).await, Ok(Arc::new(1)));
        assert_eq!(fresh.within(Duration::MAX, make(2)).await, Ok(Arc::new(1)));
        assert_eq!(fresh.within(Duration::ZERO, make(3)).await, Ok(Arc::new(3)));
    }
}
