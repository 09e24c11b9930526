//! The transcoder's side of the work protocol.

use bytes::Bytes;
use libp2p::PeerId;

use super::{JobHeader, WorkCapacity};
use crate::error::NetworkError;
use crate::transfer::{RenditionEnd, SourceReader};
use crate::wire_error::WireError;

/// An authenticated session with an orchestrator. Dropping it ends the session.
#[derive(Debug)]
pub struct WorkSession {
    pub(crate) _private: (),
}

/// Tells the orchestrator about this transcoder, from any task.
#[derive(Debug, Clone)]
pub struct WorkControl {
    pub(crate) _private: (),
}

/// What happens in a work session.
#[derive(Debug)]
#[non_exhaustive]
pub enum WorkEvent {
    /// The orchestrator offers a job.
    Job(IncomingJob),
    /// The orchestrator shuts down: jobs in flight are finished, no new ones come.
    OrchestratorDraining,
}

/// A job waiting for a decision. Dropping it tells the orchestrator that this transcoder is busy.
#[derive(Debug)]
pub struct IncomingJob {
    pub(crate) _private: (),
}

/// The way back to the orchestrator.
#[derive(Debug)]
pub struct JobReply {
    pub(crate) _private: (),
}

impl WorkSession {
    /// The orchestrator.
    pub fn orchestrator(&self) -> PeerId {
        todo!()
    }

    /// A handle that tells the orchestrator about this transcoder.
    pub fn control(&self) -> WorkControl {
        todo!()
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// Why the session ended; the transcoder should connect again after a pause.
    pub async fn next(&mut self) -> Result<WorkEvent, NetworkError> {
        todo!()
    }
}

impl WorkControl {
    /// Tells the orchestrator the present capacity; only the newest value counts.
    pub fn set_capacity(&self, capacity: WorkCapacity) {
        let _ = capacity;
        todo!()
    }

    /// Tells the orchestrator that this transcoder takes no new jobs.
    pub fn drain(&self) {
        todo!()
    }
}

impl IncomingJob {
    /// What is offered, within the protocol's bounds.
    pub fn header(&self) -> &JobHeader {
        todo!()
    }

    /// Takes the job.
    ///
    /// # Errors
    /// When the orchestrator is gone.
    pub async fn accept(self) -> Result<(SourceReader, JobReply), NetworkError> {
        todo!()
    }

    /// Refuses the job before its upload.
    pub async fn reject(self, error: WireError) {
        let _ = error;
        todo!()
    }
}

impl JobReply {
    /// Sends bytes of a rendition, in pieces that fit the wire. Waits while the orchestrator is slow.
    ///
    /// # Errors
    /// When the orchestrator is gone or too slow, or the rendition does not exist or has ended.
    pub async fn chunk(&mut self, index: u32, data: Bytes) -> Result<(), NetworkError> {
        let _ = (index, data);
        todo!()
    }

    /// Ends a rendition. Hash and length are taken from the bytes that were sent.
    ///
    /// # Errors
    /// As [`JobReply::chunk`].
    pub async fn end(&mut self, index: u32, pixels: u64, frames: u32) -> Result<RenditionEnd, NetworkError> {
        let _ = (index, pixels, frames);
        todo!()
    }

    /// Ends the job.
    ///
    /// # Errors
    /// When the orchestrator is gone, or a rendition has not ended.
    pub async fn finish(self) -> Result<(), NetworkError> {
        todo!()
    }

    /// Tells the orchestrator why there is no result, and ends the job.
    pub async fn fail(self, error: WireError) {
        let _ = error;
        todo!()
    }
}
