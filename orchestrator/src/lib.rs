//! Sells transcoding: quotes a price, admits sessions, checks tickets, dispatches segments to transcoders, signs receipts and redeems winners.
//!
//! Who calls it: the node's `orchestrator` role and the demo, through [`Orchestrator::start`] with a
//! running [`Network`](framemill_network::Network) and, where work is paid, a [`Payments`]. It ends
//! with [`OrchestratorHandle::shutdown`]: no new work, segments in flight end, then everything stops.
//!
//! * **Money** is gated on this node's own stored quote, durable before a segment is accepted, and
//!   settled to the pixels that were made, and to their quality where it is priced, before the receipt is signed. Failed work costs nothing:
//!   what was held becomes the client's credit again.
//! * **Capacity** is what connected transcoders measured. A session reserves its pixel rate once it
//!   pays; "busy" is said before an upload, never after it.
//! * **A transcoder that dies in mid-segment** is replaced inside the segment's deadline. Complete
//!   renditions stay; a rendition that was half forwarded is restarted, which the client is told.
//! * **A receipt** is signed once per session and sequence. Sessions live in memory only, so that no
//!   restart can sign a second one.
//!
//! * **Jury duty** is done beside that: seats before the court are claimed, evidence is fetched and judged, votes are
//!   committed, revealed and paid, through restarts at any point.
//!
//! A source is read whole and looked at before it is dispatched: nothing is signed for media that
//! contradicts its header.

mod announce;
mod chain;
mod config;
mod dispatch;
mod duties;
mod error;
mod events;
mod evidence;
mod gate;
mod jury;
mod metrics;
mod openings;
mod payments;
mod refusal;
mod relay;
mod service;
mod session;
mod told;

pub use chain::ChainBroker;
pub use config::{
    CommitmentOffer, Offer, OrchestratorConfig, QUALITY_FLOOR, RedemptionConfig, SegmentLimits, SessionLimits,
};
pub use duties::{Duties, DutyPolicy};
pub use error::OrchestratorError;
pub use events::OrchestratorEvent;
pub use evidence::KeptReceipt;
pub use jury::{Colleagues, JuryDuty, JuryPolicy, accusation, court_receipt};
pub use metrics::every_series;
pub use payments::Payments;
pub use service::{Orchestrator, OrchestratorDeps, OrchestratorHandle};
