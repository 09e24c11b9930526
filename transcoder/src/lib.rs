//! The miner's worker: encode engines behind one interface, and the daemon that offers them to an orchestrator.
//!
//! [`Engine`] is what encodes: submit a [`Job`], get a stream of [`RenditionEvent`]s. [`SoftwareEngine`] is the one on the
//! CPU; an NVIDIA engine will be another implementation of the same contract, chosen by [`choose_engines`] from what
//! `framemill_gpu::list_devices` finds.
//!
//! [`measure_capacity`] times an engine; [`Admission`] counts what is promised against that. [`Daemon`] connects outward to an
//! orchestrator, offers the engines, serves its jobs and comes back when the connection breaks. It ends when its
//! [`DaemonHandle`] is told to drain, or when the orchestrator never accepted its token.

mod admission;
mod backoff;
mod capacity;
mod choose;
mod daemon;
mod engine;
mod error;
mod metrics;
mod software;

pub use admission::{Admission, JOBS_PER_SESSION, Refusal, SESSION_IDLE};
pub use capacity::{Capacity, Measurement, measure, measure_capacity};
pub use choose::{ChooseError, EngineChoice, EngineConfig, choose_engines};
pub use daemon::{Daemon, DaemonConfig, DaemonError, DaemonHandle, DaemonState};
pub use engine::{
    CHUNK_BYTES, Capabilities, Engine, Job, Rendition, RenditionEvent, RenditionSink, RenditionSummary,
    Renditions,
};
pub use error::TranscodeError;
pub use metrics::Metrics;
pub use software::{Preset, SoftwareConfig, SoftwareEngine};

/// A name for a paying session: the id of the quote it pays by.
pub type SessionId = alloy_primitives::B256;
