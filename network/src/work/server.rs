//! The orchestrator's side of the work protocol.

use bytes::Bytes;
use libp2p::PeerId;

use super::{JobHeader, WorkCapacity, WorkHello};
use crate::error::NetworkError;
use crate::transfer::{RenditionChunk, RenditionEnd, SourceWriter};

/// Transcoders that connect. Dropping it ends the service; sessions go on.
#[derive(Debug)]
pub struct WorkServer {
    pub(crate) _private: (),
}

/// An authenticated transcoder. Dropping it ends the session.
#[derive(Debug)]
pub struct WorkerLink {
    pub(crate) _private: (),
}

/// Gives a transcoder work, from any task.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    pub(crate) _private: (),
}

/// What a transcoder tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// The capacity changed.
    Capacity(WorkCapacity),
    /// It finishes what it has and takes no new jobs.
    Draining,
}

/// A job that a transcoder accepted. The two halves are independent: renditions may arrive during the upload.
#[derive(Debug)]
pub struct JobExchange {
    /// Takes the source.
    pub upload: SourceWriter,
    /// Gives the renditions.
    pub download: JobDownload,
}

/// The renditions of one job as they arrive, checked against the ladder.
#[derive(Debug)]
pub struct JobDownload {
    pub(crate) _private: (),
}

/// What a transcoder sends back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// The next bytes of a rendition.
    Chunk(RenditionChunk),
    /// A rendition is complete and its bytes have the stated hash and length.
    End(RenditionEnd),
}

/// A whole job's result.
#[derive(Debug, Clone)]
pub struct JobResult {
    /// Bytes of each rendition in ladder order.
    pub renditions: Vec<Bytes>,
    /// End of each rendition in ladder order.
    pub ends: Vec<RenditionEnd>,
}

impl WorkServer {
    /// The next transcoder that proved it knows the token; `None` when the network has been shut down. Cancel safe.
    pub async fn next(&mut self) -> Option<WorkerLink> {
        todo!()
    }
}

impl WorkerLink {
    /// The transcoder's network identity.
    pub fn peer(&self) -> PeerId {
        todo!()
    }

    /// How it introduced itself.
    pub fn hello(&self) -> &WorkHello {
        todo!()
    }

    /// A handle that gives this transcoder work.
    pub fn handle(&self) -> WorkerHandle {
        todo!()
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// Why the session ended.
    pub async fn next(&mut self) -> Result<WorkerEvent, NetworkError> {
        todo!()
    }
}

impl WorkerHandle {
    /// The transcoder's network identity.
    pub fn peer(&self) -> PeerId {
        todo!()
    }

    /// Offers a job down the transcoder's own connection and waits for its decision.
    ///
    /// # Errors
    /// [`NetworkError::Refused`] when the transcoder declines, or why it cannot be reached.
    pub async fn open_job(&self, header: JobHeader) -> Result<JobExchange, NetworkError> {
        let _ = header;
        todo!()
    }

    /// Tells the transcoder that no new jobs will come.
    pub fn drain(&self) {
        todo!()
    }
}

impl JobExchange {
    /// Uploads the source and collects every rendition. Ends at the job's deadline at the latest; dropping the future ends the job.
    ///
    /// # Errors
    /// The transcoder's error where it gave one, even when the upload failed because of it.
    pub async fn complete(self, source: Bytes) -> Result<JobResult, NetworkError> {
        let _ = source;
        todo!()
    }
}

impl JobDownload {
    /// The next event; `None` when every rendition has ended. Cancel safe.
    ///
    /// # Errors
    /// The transcoder's error, a broken protocol, or the deadline; the job is over then.
    pub async fn next(&mut self) -> Result<Option<JobEvent>, NetworkError> {
        todo!()
    }
}
