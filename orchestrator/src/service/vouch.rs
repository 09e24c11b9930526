//! What is said of a rendition beside its bytes: the commitment to its features, its quality, and the share of the price
//! that follows from it.

use std::sync::{Arc, OnceLock};

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::{MediaError, MediaLimits};
use framemill_network::{LadderEntry, PPM};
use framemill_verification::{
    Commitment, CommitmentError, SourceReference, VerifyError, commit, declare, price_share_ppm,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::warn;

use super::Shared;
use super::segments::{Failed, buffer_units};
use crate::openings::Committed;
use crate::refusal::Refusal;
use crate::relay::Fault;
use crate::session::Terms;

/// The source of a segment, decoded when the first quality is measured and for all renditions.
pub(super) struct Original {
    data: Bytes,
    limits: MediaLimits,
    read: OnceLock<Result<SourceReference, VerifyError>>,
    /// Room for its pictures, where they will be decoded.
    _room: Option<OwnedSemaphorePermit>,
}

/// Bytes that a pixel of a kept picture takes: 4:2:0 in 16 bits.
const BYTES_PER_PIXEL: u64 = 3;

impl Original {
    /// Waits for room where pictures of so many pixels are going to be kept. Cancel safe.
    pub(super) async fn new(
        shared: &Shared,
        terms: &Terms,
        (data, pixels): (Bytes, u64),
        limits: MediaLimits,
    ) -> Result<Arc<Self>, Refusal> {
        let room = match terms.quality.is_whole() {
            true => None,
            false => Some(room_for(shared, pixels).await?),
        };
        Ok(Arc::new(Self { data, limits, read: OnceLock::new(), _room: room }))
    }

    /// Decodes the source while transcoders work, so that the first rendition does not wait for it.
    pub(super) fn decode_ahead(self: &Arc<Self>, shared: &Shared, terms: &Terms) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if !terms.quality.is_whole() {
            tasks.spawn(Arc::clone(self).decode_once(Arc::clone(&shared.commitments)));
        }
        tasks
    }

    async fn decode_once(self: Arc<Self>, slots: Arc<Semaphore>) {
        let Ok(slot) = slots.acquire_owned().await else { return };
        let decode = move || {
            // Held for as long as the core is, also when nobody waits any more.
            let _slot = slot;
            self.get()?.decode_pictures().map_err(CommitmentError::Judge)
        };
        // What goes wrong is found again, and told, with the first rendition.
        drop(tokio::task::spawn_blocking(decode).await);
    }

    /// Blocks on reading the first time.
    fn get(&self) -> Result<&SourceReference, CommitmentError> {
        let read = || SourceReference::new(self.data.clone(), &self.limits);
        let read = self.read.get_or_init(read);
        read.as_ref().map_err(|error| CommitmentError::Judge(error.clone()))
    }
}

async fn room_for(shared: &Shared, pixels: u64) -> Result<OwnedSemaphorePermit, Refusal> {
    let kept = pixels.saturating_mul(BYTES_PER_PIXEL * SourceReference::KEPT_PICTURES);
    let bytes = kept.min(shared.config.segments.max_picture_bytes);
    let room = Arc::clone(&shared.pictures).acquire_many_owned(buffer_units(bytes)).await;
    room.map_err(|_| Refusal::ShuttingDown)
}

/// What this orchestrator vouches for.
#[derive(Debug)]
pub(super) struct Vouched {
    /// Zero where the session has no commitments.
    pub(super) feature_root: B256,
    /// None where any quality is paid in whole.
    pub(super) psnr_centi_db: Option<u32>,
    /// Millionths of the price that it earns.
    pub(super) share_ppm: u32,
    /// What was committed to, to be opened when asked.
    pub(super) committed: Option<Arc<Committed>>,
}

impl Vouched {
    fn of(rendition: Bytes, commitment: Commitment, psnr_centi_db: Option<u32>, share_ppm: u32) -> Self {
        let feature_root = commitment.root();
        let committed = Some(Arc::new(Committed::new(rendition, commitment)));
        Self { feature_root, psnr_centi_db, share_ppm, committed }
    }
}

/// Decodes a rendition as far as the session's terms ask for it. What cannot be committed to does not decode cleanly, so
/// that another transcoder may do better.
pub(super) async fn vouch(
    shared: &Shared,
    terms: &Terms,
    original: &Arc<Original>,
    entry: &LadderEntry,
    (index, rendition): (u32, Bytes),
) -> Result<Vouched, Failed> {
    if !terms.commitments {
        return Ok(Vouched {
            feature_root: B256::ZERO,
            psnr_centi_db: None,
            share_ppm: PPM,
            committed: None,
        });
    }
    let internal = |_| Failed::Segment(Refusal::Internal);
    let slot = Arc::clone(&shared.commitments).acquire_owned().await;
    let slot = slot.map_err(|_| Failed::Segment(Refusal::ShuttingDown))?;
    let (quality, original, entry) = (terms.quality, Arc::clone(original), entry.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        if quality.is_whole() {
            let commitment = commit(&rendition, &original.limits)?;
            return Ok(Vouched::of(rendition, commitment, None, PPM));
        }
        let declared = declare(&rendition, original.get()?, &entry, &original.limits)?;
        let psnr_centi_db = declared.psnr_centi_db();
        let share_ppm = price_share_ppm(&quality, psnr_centi_db, declared.quality.bits_per_second, &entry);
        Ok(Vouched::of(rendition, declared.commitment, psnr_centi_db, share_ppm))
    });
    let vouched = looked.await.map_err(internal)?.map_err(|error| failed(index, error))?;
    if vouched.share_ppm < PPM {
        shared.metrics.discounted.inc();
    }
    Ok(vouched)
}

/// Whose fault it is.
fn failed(index: u32, error: CommitmentError) -> Failed {
    if error.is_nonconforming() {
        return Fault::NotMedia { index, reason: error.to_string() }.into();
    }
    Failed::Segment(match error {
        CommitmentError::Judge(VerifyError::Judge(error) | VerifyError::Source(error)) => match error {
            MediaError::DeadlineExceeded => Refusal::Late,
            // Nobody could hold the renditions against such a source.
            error if error.is_bad_media() => Refusal::BadMedia(error.to_string()),
            error => unread(&error),
        },
        CommitmentError::Judge(VerifyError::NoSourcePicture) => {
            Refusal::BadMedia(VerifyError::NoSourcePicture.to_string())
        }
        error => unread(&error),
    })
}

fn unread(error: &dyn std::error::Error) -> Refusal {
    warn!(%error, "a rendition's features or quality could not be read");
    Refusal::Internal
}
