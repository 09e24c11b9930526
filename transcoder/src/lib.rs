//! The miner's worker: encode engines behind one interface, and the daemon that offers them to an orchestrator.
//!
//! [`Engine`] is what encodes: submit a [`Job`], get a stream of [`RenditionEvent`]s. [`SoftwareEngine`] is the one on the
//! CPU, [`NvidiaEngine`] the one on a card's video engines, in a process of its own for each card ([`work_on_gpu`]);
//! [`Failover`] puts others behind one. [`choose_engines`] makes them of what `framemill_gpu::list_devices` finds.
//!
//! [`measure_capacity`] times an engine; [`Admission`] counts what is promised against that. [`WatchConfig`] says when less of it is
//! offered, because the machine does other work. [`Daemon`] connects outward to an
//! orchestrator, offers the engines, serves its jobs and comes back when the connection breaks. It ends when its
//! [`DaemonHandle`] is told to drain, or when the orchestrator never accepted its token.

mod admission;
mod backoff;
mod capacity;
mod choose;
mod daemon;
mod engine;
mod error;
mod failover;
mod metrics;
mod nvidia;
mod pipeline;
mod software;
mod trial;
mod watchdog;

pub use admission::{Admission, Demand, JOBS_PER_SESSION, Refusal, SESSION_IDLE};
pub use capacity::{Capacity, Measurement, measure, measure_capacity};
pub use choose::{ChooseError, Chosen, EngineChoice, EngineConfig, Gpus, Offer, choose_engines};
pub use daemon::{Daemon, DaemonConfig, DaemonError, DaemonHandle, DaemonState};
pub use engine::{
    CHUNK_BYTES, Capabilities, Card, Engine, Job, Rendition, RenditionEvent, RenditionSink, RenditionSummary,
    Renditions, Room,
};
pub use error::TranscodeError;
pub use failover::Failover;
pub use metrics::{Metrics, every_series};
pub use nvidia::{NvidiaConfig, NvidiaEngine, WorkerError, WorkerProgram, work_on_gpu};
pub use software::{Preset, SoftwareConfig, SoftwareEngine};
pub use trial::{Paced, Sustained, TrialClip, TrialError, most_streams, pace, sustain};
pub use watchdog::{PauseCondition, PauseError, WatchConfig};

/// A name for a paying session: the id of the quote it pays by.
pub type SessionId = alloy_primitives::B256;
