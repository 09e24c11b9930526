//! Bodies on their way in: how many, and how much memory those may take that no stream has taken over yet.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Unit in which memory is counted; a semaphore counts far enough for any machine in these.
const UNIT: usize = 1024;
/// A body grows from this size at most: its announced length is only believed as bytes arrive.
const FIRST_ALLOCATION: usize = 1 << 20;

/// Why a body is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UploadError {
    /// All places, or all memory, are in use.
    Full,
    /// It is longer than a body may be.
    TooLong { limit: usize },
    /// The connection failed.
    Broken(String),
}

/// Room for bodies that no stream has taken yet.
#[derive(Debug)]
pub(super) struct Uploads {
    places: Semaphore,
    memory: Semaphore,
}

/// One body's place and memory; both are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    uploads: &'a Uploads,
    _place: SemaphorePermit<'a>,
    memory: Option<SemaphorePermit<'a>>,
}

impl Uploads {
    pub(super) fn new(places: usize, bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Semaphore::new(places.min(Semaphore::MAX_PERMITS)), memory: Semaphore::new(units) }
    }

    /// A place for one body, where there is one.
    pub(super) fn begin(&self) -> Result<Upload<'_>, UploadError> {
        let place = self.places.try_acquire().map_err(|_| UploadError::Full)?;
        Ok(Upload { uploads: self, _place: place, memory: None })
    }
}

impl Upload<'_> {
    /// Reads a body of at most `limit` bytes, of which `announced` are expected. Not cancel safe: what was read is lost.
    pub(super) async fn read(
        &mut self,
        body: Body,
        announced: Option<usize>,
        limit: usize,
    ) -> Result<Bytes, UploadError> {
        let mut chunks = body.into_data_stream();
        let expected = announced.unwrap_or(0).min(limit).min(FIRST_ALLOCATION);
        let mut data = BytesMut::with_capacity(expected);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| UploadError::Broken(error.to_string()))?;
            let length = data.len() + chunk.len();
            if length > limit {
                return Err(UploadError::TooLong { limit });
            }
            self.hold(length)?;
            data.extend_from_slice(&chunk);
        }
        Ok(data.freeze())
    }

    /// Counts `bytes` in all as this body's.
    fn hold(&mut self, bytes: usize) -> Result<(), UploadError> {
        let held = self.memory.as_ref().map_or(0, SemaphorePermit::num_permits);
        let missing = u32::try_from(bytes.div_ceil(UNIT).saturating_sub(held)).unwrap_or(u32::MAX);
        let more = self.uploads.memory.try_acquire_many(missing).map_err(|_| UploadError::Full)?;
        match &mut self.memory {
            Some(memory) => memory.merge(more),
            None => self.memory = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(upload: &mut Upload<'_>, bytes: usize, limit: usize) -> Result<usize, UploadError> {
        upload.read(Body::from(vec![7; bytes]), Some(bytes), limit).await.map(|data| data.len())
    }

    #[tokio::test]
    async fn memory_is_free_again_when_a_stream_has_taken_the_body() {
        let uploads = Uploads::new(4, 10 * UNIT);
        let mut first = uploads.begin().unwrap();
        assert_eq!(read(&mut first, 8 * UNIT, 20 * UNIT).await, Ok(8 * UNIT));
        let mut second = uploads.begin().unwrap();
        assert_eq!(read(&mut second, 3 * UNIT, 20 * UNIT).await, Err(UploadError::Full));
        drop(first);
        assert_eq!(read(&mut second, 3 * UNIT, 20 * UNIT).await, Ok(3 * UNIT));
    }

    #[tokio::test]
    async fn more_bodies_than_places_are_refused() {
        let uploads = Uploads::new(1, UNIT);
        let first = uploads.begin().unwrap();
        assert!(matches!(uploads.begin(), Err(UploadError::Full)));
        drop(first);
        assert!(uploads.begin().is_ok());
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_whatever_it_announced() {
        let uploads = Uploads::new(1, 100 * UNIT);
        let mut upload = uploads.begin().unwrap();
        let body = Body::from(vec![7; 2 * UNIT]);
        assert_eq!(upload.read(body, Some(1), UNIT).await, Err(UploadError::TooLong { limit: UNIT }));
    }
}
