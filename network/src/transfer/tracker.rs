//! What an exchange may deliver and whether it did; no I/O.

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use super::RenditionEnd;
use crate::error::ProtocolError;
use crate::ladder::{Ladder, LadderEntry};
use crate::receipt::{TranscodeReceipt, renditions_root};
use crate::segment::SegmentHeader;
use crate::work::JobHeader;

/// Times a rendition may start anew: as often as a dispatcher can sensibly move to another transcoder within one deadline.
const MAX_RESTARTS: u8 = 3;
/// How far a rendition may exceed its average bitrate in one segment: encoders' buffers hold a few seconds.
const BITRATE_HEADROOM: u64 = 4;
/// Bytes a rendition may have beside its video: container and a first key frame of any size.
const FIXED_ALLOWANCE: u64 = 1024 * 1024;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) session: B256,
    pub(crate) sequence: u64,
    pub(crate) source_len: u64,
    pub(crate) source_sha256: B256,
    pub(crate) frames: u32,
    pub(crate) duration_90k: u64,
    pub(crate) ladder: Ladder,
}

impl From<&SegmentHeader> for Plan {
    fn from(header: &SegmentHeader) -> Self {
        Self {
            session: header.session,
            sequence: header.sequence,
            source_len: header.source_len,
            source_sha256: header.source_sha256,
            frames: header.frames,
            duration_90k: header.duration_90k,
            ladder: header.ladder.clone(),
        }
    }
}

impl From<&JobHeader> for Plan {
    fn from(header: &JobHeader) -> Self {
        Self {
            session: header.session,
            sequence: header.sequence,
            source_len: header.source_len,
            source_sha256: header.source_sha256,
            frames: header.frames,
            duration_90k: header.duration_90k,
            ladder: header.ladder.clone(),
        }
    }
}

impl Plan {
    /// Bytes that a rendition may have: its bitrate with headroom, and the source's audio.
    fn byte_limit(&self, entry: &LadderEntry) -> u64 {
        let bits = u64::from(entry.bitrate).saturating_mul(self.duration_90k) / 90_000;
        (bits / 8)
            .saturating_mul(BITRATE_HEADROOM)
            .saturating_add(FIXED_ALLOWANCE)
            .saturating_add(self.source_len)
    }
}

/// Progress of one rendition.
#[derive(Debug, Default)]
struct Progress {
    hasher: Sha256,
    bytes: u64,
    /// Bytes of all starts together.
    total: u64,
    restarts: u8,
    end: Option<RenditionEnd>,
}

/// Follows an exchange and refuses whatever was not asked for.
#[derive(Debug)]
pub(crate) struct RenditionTracker {
    plan: Plan,
    progress: Vec<Progress>,
}

impl RenditionTracker {
    pub(crate) fn new(plan: Plan) -> Self {
        let progress = plan.ladder.iter().map(|_| Progress::default()).collect();
        Self { plan, progress }
    }

    /// More bytes of a rendition.
    pub(crate) fn chunk(&mut self, index: u32, data: &[u8]) -> Result<(), ProtocolError> {
        let (plan, entry, progress) = self.open(index)?;
        let max = plan.byte_limit(entry);
        let bytes = progress.bytes.saturating_add(data.len() as u64);
        let total = progress.total.saturating_add(data.len() as u64);
        if bytes > max || total > max.saturating_mul(1 + u64::from(MAX_RESTARTS)) {
            return Err(ProtocolError::RenditionTooLong { index, max });
        }
        (progress.bytes, progress.total) = (bytes, total);
        progress.hasher.update(data);
        Ok(())
    }

    /// What came of a rendition is void.
    pub(crate) fn restart(&mut self, index: u32) -> Result<(), ProtocolError> {
        let (.., progress) = self.open(index)?;
        if progress.restarts >= MAX_RESTARTS {
            return Err(ProtocolError::RenditionMismatch { index, field: "number of restarts" });
        }
        progress.restarts += 1;
        progress.bytes = 0;
        progress.hasher = Sha256::new();
        Ok(())
    }

    /// The end of a rendition as its bytes so far make it.
    pub(crate) fn make_end(
        &self,
        index: u32,
        pixels: u64,
        frames: u32,
    ) -> Result<RenditionEnd, ProtocolError> {
        let progress = self.progress.get(index as usize).ok_or_else(|| self.no_such(index))?;
        Ok(RenditionEnd {
            index,
            sha256: digest(&progress.hasher),
            bytes: progress.bytes,
            pixels,
            frames,
            feature_root: B256::ZERO,
            psnr_centi_db: None,
        })
    }

    /// A rendition's end: it must be about the bytes that came and about frames that were asked for.
    pub(crate) fn end(&mut self, end: RenditionEnd) -> Result<(), ProtocolError> {
        let index = end.index;
        let (plan, entry, progress) = self.open(index)?;
        // A rate's grid may lie so that one frame more falls into the segment than its duration says.
        let spare = u64::from(!entry.fps.is_source());
        let most = (entry.expected_frames(plan.frames, plan.duration_90k) + spare).min(plan.frames.into());
        let field = if progress.bytes == 0 || end.bytes != progress.bytes {
            "number of bytes"
        } else if end.sha256 != digest(&progress.hasher) {
            "sha-256"
        } else if end.frames == 0 || u64::from(end.frames) > most {
            "number of frames"
        } else if u64::from(end.frames).checked_mul(entry.pixels_per_frame()) != Some(end.pixels) {
            "number of pixels"
        } else {
            progress.end = Some(end);
            return Ok(());
        };
        Err(ProtocolError::RenditionMismatch { index, field })
    }

    /// The ends in ladder order, once every rendition has one.
    pub(crate) fn ends(&self) -> Result<Vec<RenditionEnd>, ProtocolError> {
        let ends: Vec<_> = self.progress.iter().filter_map(|progress| progress.end).collect();
        if ends.len() < self.progress.len() {
            return Err(ProtocolError::RenditionsMissing { ended: ends.len(), count: self.progress.len() });
        }
        Ok(ends)
    }

    /// The receipt about exactly what was asked for and delivered.
    pub(crate) fn make_receipt(&self, round: u32) -> Result<TranscodeReceipt, ProtocolError> {
        let claims: Vec<_> = self.ends()?.iter().map(RenditionEnd::claim).collect();
        let pixels = claims.iter().try_fold(0_u64, |sum, claim| sum.checked_add(claim.pixels));
        Ok(TranscodeReceipt {
            session: self.plan.session,
            sequence: self.plan.sequence,
            source_hash: self.plan.source_sha256,
            ladder_hash: self.plan.ladder.hash(),
            renditions_root: renditions_root(&claims),
            pixels: pixels.ok_or(ProtocolError::ReceiptMismatch { field: "number of pixels" })?,
            round,
        })
    }

    /// Whether a receipt is about exactly what was asked for and delivered.
    pub(crate) fn check_receipt(&self, receipt: &TranscodeReceipt) -> Result<(), ProtocolError> {
        let right = self.make_receipt(receipt.round)?;
        let field = if receipt.session != right.session {
            "session"
        } else if receipt.sequence != right.sequence {
            "sequence"
        } else if receipt.source_hash != right.source_hash {
            "source hash"
        } else if receipt.ladder_hash != right.ladder_hash {
            "ladder hash"
        } else if receipt.renditions_root != right.renditions_root {
            "renditions root"
        } else if receipt.pixels != right.pixels {
            "number of pixels"
        } else {
            return Ok(());
        };
        Err(ProtocolError::ReceiptMismatch { field })
    }

    pub(crate) fn renditions(&self) -> usize {
        self.progress.len()
    }

    /// A rendition that exists and has not ended.
    fn open(&mut self, index: u32) -> Result<(&Plan, &LadderEntry, &mut Progress), ProtocolError> {
        let missing = self.no_such(index);
        let entry = self.plan.ladder.get(index).ok_or(missing)?;
        let progress = &mut self.progress[index as usize];
        if progress.end.is_some() {
            return Err(ProtocolError::RenditionEnded { index });
        }
        Ok((&self.plan, entry, progress))
    }

    fn no_such(&self, index: u32) -> ProtocolError {
        ProtocolError::RenditionIndex { index, count: self.progress.len() }
    }
}

fn digest(hasher: &Sha256) -> B256 {
    B256::from_slice(&hasher.clone().finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{FrameRate, SourceVideo};
    use proptest::prelude::*;

    fn plan() -> Plan {
        let source = SourceVideo { width: 640, height: 360, fps: FrameRate::new(30, 1).unwrap() };
        Plan {
            session: B256::repeat_byte(1),
            sequence: 7,
            source_len: 1_000,
            source_sha256: B256::repeat_byte(2),
            frames: 60,
            duration_90k: 180_000,
            ladder: "360:800k,240p15:400k".parse::<Ladder>().unwrap().resolve(&source).unwrap(),
        }
    }

    fn deliver(tracker: &mut RenditionTracker, index: u32, frames: u32) -> Result<(), ProtocolError> {
        let pixels = u64::from(frames) * tracker.plan.ladder.get(index).unwrap().pixels_per_frame();
        tracker.chunk(index, b"rendition")?;
        let end = tracker.make_end(index, pixels, frames)?;
        tracker.end(end)
    }

    fn receipt(tracker: &RenditionTracker) -> TranscodeReceipt {
        let claims: Vec<_> = tracker.ends().unwrap().iter().map(RenditionEnd::claim).collect();
        TranscodeReceipt {
            session: tracker.plan.session,
            sequence: 7,
            source_hash: tracker.plan.source_sha256,
            ladder_hash: tracker.plan.ladder.hash(),
            renditions_root: renditions_root(&claims),
            pixels: claims.iter().map(|claim| claim.pixels).sum(),
            round: 0,
        }
    }

    fn delivered() -> RenditionTracker {
        let mut tracker = RenditionTracker::new(plan());
        deliver(&mut tracker, 0, 60).unwrap();
        deliver(&mut tracker, 1, 30).unwrap();
        tracker
    }

    #[test]
    fn accepts_exactly_what_was_asked_for() {
        let tracker = delivered();
        assert!(tracker.check_receipt(&receipt(&tracker)).is_ok());
    }

    #[test]
    fn refuses_a_rendition_that_was_not_asked_for() {
        let error = RenditionTracker::new(plan()).chunk(2, b"x").unwrap_err();
        assert_eq!(error, ProtocolError::RenditionIndex { index: 2, count: 2 });
    }

    #[test]
    fn refuses_bytes_after_the_end() {
        assert_eq!(delivered().chunk(0, b"x"), Err(ProtocolError::RenditionEnded { index: 0 }));
    }

    #[test]
    fn refuses_more_bytes_than_the_bitrate_allows() {
        let mut tracker = RenditionTracker::new(plan());
        let chunk = vec![0; 64 * 1024];
        let refused = (0..1_000).find_map(|_| tracker.chunk(0, &chunk).err());
        assert!(matches!(refused, Some(ProtocolError::RenditionTooLong { index: 0, .. })));
    }

    #[test]
    fn refuses_an_end_before_any_byte() {
        let mut tracker = RenditionTracker::new(plan());
        let end = tracker.make_end(0, 640 * 360 * 60, 60).unwrap();
        assert_eq!(
            tracker.end(end),
            Err(ProtocolError::RenditionMismatch { index: 0, field: "number of bytes" })
        );
    }

    #[test]
    fn refuses_an_end_about_other_bytes() {
        let mut tracker = RenditionTracker::new(plan());
        tracker.chunk(0, b"rendition").unwrap();
        let end = tracker.make_end(0, 640 * 360 * 60, 60).unwrap();
        let forged = RenditionEnd { sha256: B256::ZERO, ..end };
        assert_eq!(tracker.end(forged), Err(ProtocolError::RenditionMismatch { index: 0, field: "sha-256" }));
    }

    #[test]
    fn refuses_more_frames_than_the_source_has() {
        let mut tracker = RenditionTracker::new(plan());
        assert!(deliver(&mut tracker, 0, 61).is_err());
        assert!(deliver(&mut tracker, 1, 32).is_err());
        assert!(deliver(&mut RenditionTracker::new(plan()), 1, 31).is_ok());
    }

    #[test]
    fn refuses_pixels_that_are_not_frames_of_the_rendition() {
        let mut tracker = RenditionTracker::new(plan());
        tracker.chunk(0, b"rendition").unwrap();
        let end = tracker.make_end(0, 640 * 360 * 60 + 1, 60).unwrap();
        assert_eq!(
            tracker.end(end),
            Err(ProtocolError::RenditionMismatch { index: 0, field: "number of pixels" })
        );
    }

    #[test]
    fn refuses_a_receipt_before_every_rendition_ended() {
        let mut tracker = RenditionTracker::new(plan());
        deliver(&mut tracker, 0, 60).unwrap();
        assert_eq!(tracker.ends(), Err(ProtocolError::RenditionsMissing { ended: 1, count: 2 }));
    }

    #[test]
    fn refuses_a_receipt_about_anything_else() {
        let tracker = delivered();
        let good = receipt(&tracker);
        let other = B256::repeat_byte(9);
        for bad in [
            TranscodeReceipt { session: other, ..good },
            TranscodeReceipt { sequence: 8, ..good },
            TranscodeReceipt { source_hash: other, ..good },
            TranscodeReceipt { ladder_hash: other, ..good },
            TranscodeReceipt { renditions_root: other, ..good },
            TranscodeReceipt { pixels: good.pixels + 1, ..good },
        ] {
            assert!(tracker.check_receipt(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_restarted_rendition_counts_from_its_new_start_a_few_times() {
        let mut tracker = RenditionTracker::new(plan());
        for _ in 0..MAX_RESTARTS {
            tracker.chunk(0, b"void").unwrap();
            tracker.restart(0).unwrap();
        }
        assert!(tracker.restart(0).is_err());
        deliver(&mut tracker, 0, 60).unwrap();
        assert_eq!(tracker.progress[0].bytes, 9);
    }

    proptest! {
        #[test]
        fn any_sequence_of_messages_keeps_within_the_bounds(
            steps in prop::collection::vec((0..4_u8, any::<u32>(), 0..100_000_usize), 0..60),
        ) {
            let mut tracker = RenditionTracker::new(plan());
            for (kind, index, size) in steps {
                let index = index % 3;
                let _ = match kind {
                    0 | 1 => tracker.chunk(index, &vec![0; size]),
                    2 => tracker.restart(index),
                    _ => tracker.make_end(index, size as u64, 1).and_then(|end| tracker.end(end)),
                };
            }
            for (progress, entry) in tracker.progress.iter().zip(&plan().ladder) {
                prop_assert!(progress.bytes <= plan().byte_limit(entry));
            }
        }
    }
}
