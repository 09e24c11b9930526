//! Decides whether a rendition is a faithful encode of its source segment, in integer arithmetic that gives every machine the same answer.
//!
//! The broadcaster calls [`verify`] for every rendition before it publishes it, and [`verify_receipt`] for every signed
//! receipt; a jury calls the same functions and must reach the same [`Report::hash`].
//!
//! A judgement has up to three tiers. The structure of container and bitstream is always checked: one strict normal
//! form, so that verifier and player cannot be shown different pictures. Then, as the [`Policy`] draws, the first frame
//! or every frame is decoded and compared with the source by integer features: exact area means on lattices,
//! displacement of tiles, colour, and the order of frames in time. Thresholds stand in [`rules`].
//!
//! ```no_run
//! use framemill_media::MediaLimits;
//! use framemill_network::ladder::LadderEntry;
//! use framemill_verification::{Policy, SourceReference, verify};
//!
//! # fn judge(source: bytes::Bytes, rendition: bytes::Bytes, entry: &LadderEntry) -> Result<(), Box<dyn std::error::Error>> {
//! let source = SourceReference::new(source, &MediaLimits::segment())?;
//! let report = verify(&source, &rendition, entry, &Policy::FULL, &[7; 32])?;
//! println!("{}", report.to_json());
//! # Ok(())
//! # }
//! ```

mod av1;
mod avc;
mod bisection;
mod bits;
mod cells;
mod claim;
mod commitment;
mod compare;
mod declare;
mod detail;
mod error;
pub mod evidence;
pub mod features;
mod fit;
mod fragmented;
mod frames;
mod hevc;
mod inspect;
mod judge;
mod kernel;
mod likeness;
mod means;
mod meter;
mod mp4;
pub mod nal;
mod opening;
mod outline;
mod pay;
mod pes;
mod pixels;
pub mod plane;
pub mod policy;
mod psi;
mod quality;
mod reason;
mod receipt;
mod register;
mod report;
pub mod rules;
mod sei;
mod sequence;
mod sound;
mod source;
mod structure;
mod tempo;
mod track;
pub mod ts;

pub use bisection::{Answer, Bisection, BisectionError, Question, answer};
pub use claim::{ClaimReport, RenditionFeatures, check_claim};
pub use commitment::{
    BLOCK_BYTES, COMMITMENT_VERSION, Commitment, CommitmentError, FrameBlocks, Shape, commit, open_frame,
};
pub use declare::{Declared, declare};
pub use error::VerifyError;
pub use inspect::{DeviationMap, InspectedFrame, Inspection, Still, inspect};
pub use judge::{verify, verify_hashed};
pub use kernel::Kernel;
pub use meter::FeatureMeter;
pub use opening::{BadOpening, BlockOpening, Difference, Features, FrameContent, FrameOpening, Opening};
pub use outline::plain_video;
pub use pay::{DOUBLING, price_share_ppm, reached_centi_db};
pub use policy::{PPM, Policy};
pub use receipt::{Delivery, ReceiptError, pixels_match, quality_match, receipt_signer, verify_receipt};
pub use report::{Check, Quality, Relation, Report, Tier, Verdict};
pub use source::SourceReference;
