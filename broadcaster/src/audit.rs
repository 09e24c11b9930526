//! The audit of quality: a few results are encoded again here, and compared. Of consequence for who gets work, and for
//! nothing else: another encoder is not wrong for being worse.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, keccak256};
use bytes::Bytes;
use framemill_media::{
    CancelFlag, DecoderConfig, Encoder, EncoderConfig, H264Profile, MediaError, MediaLimits, Muxer, Rational,
    Scaler, ScalerConfig, VideoReader,
};
use framemill_network::ladder::{FrameGate, Gop, LadderEntry, Profile};
use framemill_network::{Ladder, PPM, QualityTerms};
use framemill_verification::{
    CommitmentError, Quality, SourceReference, VerifyError, declare, price_share_ppm, reached_centi_db,
};

use crate::check::Delivered;
use crate::directory::OrchestratorId;
use crate::event::{AuditReport, Events, StreamEvent};
use crate::format::{output_format, video_codec};
use crate::metrics::AuditEnd;
use crate::service::Shared;
use crate::sessions::Session;
use crate::stream::Segment;

/// Audits at a time, each on one core: beside the stream's own work there is no hurry.
pub(crate) const AUDITS_AT_ONCE: usize = 1;

/// An audit that takes longer is given up: the machine has better things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pairs of frames that are measured beside the usual ones. They are drawn after the result, so that nobody can keep the
/// bits for them.
const DRAWN_PAIRS: u64 = 3;

/// Luma PSNR below the second encode, in hundredths of a decibel, that costs nothing. Honest encodes without look-ahead or
/// by other scalers stay within it or within [`SSIM_SLACK`], but for a blurred grid of single pixels.
const MARGIN: u32 = 150;

/// From there on down to where least is left.
const SLOPE: u32 = 300;

/// What is left at least, in millionths.
const LEAST: u32 = 500_000;

/// SSIM below the second encode, in millionths, that costs nothing whatever PSNR says.
const SSIM_SLACK: u32 = 15_000;

/// Whether this seed draws an audit: independent of what else the same seed draws.
pub(crate) fn drawn(ppm: u32, seed: &[u8; 32]) -> bool {
    number(seed, b"drawn") % u64::from(PPM) < u64::from(ppm)
}

fn number(seed: &[u8; 32], what: &[u8]) -> u64 {
    let hash = keccak256([b"framemill-quality-audit".as_slice(), what, seed].concat());
    u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
}

/// Starts an audit of a result that passed, if its seed draws one and the machine has nothing better to do.
pub(crate) fn consider(
    shared: &Arc<Shared>,
    events: &Events,
    session: &Session,
    segment: &Segment,
    (ladder, delivered): (&Ladder, &Delivered),
    seed: [u8; 32],
) {
    if !drawn(shared.config.quality_audits_ppm, &seed) {
        return;
    }
    let slot = Arc::clone(&shared.audit_slots).try_acquire_owned();
    let (Ok(slot), false) = (slot, shared.sampling.has_waiting()) else {
        return shared.metrics.quality_audits.inc(AuditEnd::Skipped);
    };
    // A ladder has an entry, and as many renditions.
    let rung = (number(&seed, b"rung") % ladder.len() as u64) as usize;
    let cancel = CancelFlag::new();
    let limits = MediaLimits::segment().with_deadline(Instant::now() + PATIENCE).with_cancel(cancel.clone());
    let job = Job {
        entry: ladder.entries()[rung].clone(),
        source: segment.data.clone(),
        rendition: delivered.renditions[rung].clone(),
        frames: frames(&seed, segment.frames()),
        limits,
    };
    let subject = Subject {
        id: session.id(),
        orchestrator: session.account,
        sequence: segment.sequence,
        rendition: job.entry.name.clone(),
    };
    let (shared, events) = (Arc::clone(shared), events.clone());
    shared.clone().tasks.spawn(async move {
        let _slot = slot;
        let mut work = tokio::task::spawn_blocking(move || job.run());
        let outcome = tokio::select! {
            outcome = &mut work => outcome,
            () = shared.cancel.cancelled() => {
                cancel.cancel();
                work.await
            }
        };
        match outcome {
            Ok(Ok(outcome)) => subject.conclude(&shared, &events, &outcome),
            failed => {
                tracing::debug!(?failed, "quality audit came to no end");
                shared.metrics.quality_audits.inc(AuditEnd::Failed);
            }
        }
    });
}

/// Neighbours, so that one of them survives a halved frame rate.
fn frames(seed: &[u8; 32], count: u32) -> Vec<usize> {
    let pair = |index: u64| {
        let first = number(seed, &index.to_be_bytes()) % u64::from(count.max(1));
        [first as usize, first as usize + 1]
    };
    (0..DRAWN_PAIRS).flat_map(pair).collect()
}

/// Whose work is audited.
struct Subject {
    id: OrchestratorId,
    orchestrator: Address,
    sequence: u64,
    rendition: String,
}

impl Subject {
    fn conclude(self, shared: &Shared, events: &Events, outcome: &Outcome) {
        let Outcome { reference, found, worth_ppm } = *outcome;
        let end = if worth_ppm < PPM { AuditEnd::Below } else { AuditEnd::Met };
        shared.metrics.quality_audits.inc(end);
        shared.audited(&self.id, worth_ppm);
        if worth_ppm < PPM {
            tracing::info!(
                orchestrator = %self.orchestrator, worth_ppm, psnr_centi_db = found.psnr_centi_db,
                reference_centi_db = reference.psnr_centi_db,
                "rendition is worse than a second encode; its orchestrator gets less work"
            );
        }
        events.send(StreamEvent::Audit(AuditReport {
            sequence: self.sequence,
            orchestrator: self.orchestrator,
            rendition: self.rendition,
            psnr_centi_db: found.psnr_centi_db,
            ssim_ppm: found.ssim_ppm,
            reference_psnr_centi_db: reference.psnr_centi_db,
            reference_ssim_ppm: reference.ssim_ppm,
            worth_ppm,
        }));
    }
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    reference: Quality,
    found: Quality,
    worth_ppm: u32,
}

/// One audit: blocks for as long as decoding twice and encoding once takes.
struct Job {
    entry: LadderEntry,
    source: Bytes,
    rendition: Bytes,
    frames: Vec<usize>,
    limits: MediaLimits,
}

impl Job {
    fn run(self) -> Result<Outcome, CommitmentError> {
        let again = encode(&self.source, &self.entry, &self.limits)?;
        let source = SourceReference::new(self.source.clone(), &self.limits)
            .map_err(CommitmentError::Judge)?
            .with_frames_kept(self.frames.clone());
        let measure = |data: &Bytes| declare(data, &source, &self.entry, &self.limits);
        let (reference, found) = (measure(&again)?.quality, measure(&self.rendition)?.quality);
        Ok(Outcome { reference, found, worth_ppm: worth_ppm(&reference, &found, &self.entry) })
    }
}

/// What a rendition is worth beside a second encode for the same entry, in millionths.
fn worth_ppm(reference: &Quality, found: &Quality, entry: &LadderEntry) -> u32 {
    if found.frames == 0 || found.ssim_ppm.saturating_add(SSIM_SLACK) >= reference.ssim_ppm {
        return PPM;
    }
    let terms = QualityTerms::around(reached_centi_db(reference, entry), MARGIN, SLOPE, LEAST);
    price_share_ppm(&terms, Some(found.psnr_centi_db), found.bits_per_second, entry)
}

/// Encodes the source for the entry as an ordinary transcoder does, x264 or x265 `veryfast` for instance, at the bits that were asked for.
/// At the bits that came back instead, who spends half of them would look honest.
fn encode(source: &Bytes, entry: &LadderEntry, limits: &MediaLimits) -> Result<Bytes, CommitmentError> {
    let judge = |error| CommitmentError::Judge(VerifyError::Judge(error));
    encode_video(source, entry, limits).map_err(judge)
}

fn encode_video(source: &Bytes, entry: &LadderEntry, limits: &MediaLimits) -> Result<Bytes, MediaError> {
    let config = DecoderConfig { threads: 1, strict: false };
    let mut reader = VideoReader::open(source.clone(), &config, limits)?;
    let rate = reader.probe().require_video()?.frame_rate;
    let mut scaler = Scaler::new(ScalerConfig::yuv420p(entry.width, entry.height), limits)?;
    let mut gate = FrameGate::new(entry.fps);
    let mut output: Option<(Encoder, Muxer)> = None;
    while let Some(frame) = reader.next_frame()? {
        if !frame.pts().is_some_and(|pts| gate.keep(pts)) {
            continue;
        }
        let scaled = scaler.scale(&frame)?;
        let (encoder, muxer) = match &mut output {
            Some(output) => output,
            None => {
                let color = scaled.color();
                let encoder = Encoder::new(&EncoderConfig { color, ..settings(entry, rate) })?;
                let mut builder = Muxer::builder(output_format(entry.codec)).in_pieces();
                builder.add_stream(encoder.parameters())?;
                output.insert((encoder, builder.start()?))
            }
        };
        encoder.send(&scaled)?;
        drain(encoder, muxer)?;
    }
    let (mut encoder, mut muxer) = output.ok_or(MediaError::NoFrames)?;
    encoder.flush()?;
    drain(&mut encoder, &mut muxer)?;
    muxer.finish()
}

fn drain(encoder: &mut Encoder, muxer: &mut Muxer) -> Result<(), MediaError> {
    while let Some(packet) = encoder.receive()? {
        muxer.write(0, &packet)?;
    }
    Ok(())
}

fn settings(entry: &LadderEntry, source: Rational) -> EncoderConfig {
    let asked = Rational::new(entry.fps.num(), entry.fps.den());
    let lower = u64::from(asked.num) * u64::from(source.den) < u64::from(source.num) * u64::from(asked.den);
    let rate = if !asked.is_zero() && lower { asked } else { source };
    let profile = match entry.profile {
        Profile::Baseline => Some(H264Profile::Baseline),
        Profile::Main => Some(H264Profile::Main),
        _ => None,
    };
    let gop = match entry.gop {
        Gop::Intra => 1,
        Gop::Millis(millis) => {
            let frames = u64::from(millis) * u64::from(rate.num) / (u64::from(rate.den.max(1)) * 1_000);
            u32::try_from(frames).unwrap_or(u32::MAX).max(1)
        }
        _ => 0,
    };
    let base = EncoderConfig::h264(entry.width, entry.height, entry.bitrate.into(), rate);
    // A codec that cannot be encoded here ends the audit.
    EncoderConfig { codec: video_codec(entry.codec), profile, gop, ..base }
}

#[cfg(test)]
mod tests {
    use framemill_media::{ClipSpec, generate_clip};
    use framemill_network::{Codec, FrameRate};

    use super::*;

    fn entry(bitrate: u32) -> LadderEntry {
        LadderEntry { width: 256, ..LadderEntry::from_height(144, FrameRate::SOURCE, bitrate, Codec::H264) }
    }

    fn source() -> Bytes {
        let spec = ClipSpec { bitrate: 2_000_000, ..ClipSpec::new(480, 270, Rational::new(30, 1), 1) };
        generate_clip(&spec, &MediaLimits::default()).unwrap()
    }

    fn audit(rendition: Bytes) -> Outcome {
        let (entry, limits) = (entry(200_000), MediaLimits::segment());
        Job { entry, source: source(), rendition, frames: frames(&[3; 32], 30), limits }.run().unwrap()
    }

    #[test]
    fn the_same_encode_is_worth_its_price_and_one_of_half_the_bits_is_not() {
        let made = |bitrate| encode(&source(), &entry(bitrate), &MediaLimits::segment()).unwrap();
        let honest = audit(made(200_000));
        assert_eq!((honest.worth_ppm, honest.found), (PPM, honest.reference));
        assert!(honest.found.frames > 3);
        let lazy = audit(made(70_000));
        assert!((LEAST..PPM - 100_000).contains(&lazy.worth_ppm), "{lazy:?}");
    }

    #[test]
    fn quality_that_was_bought_with_bits_beyond_the_agreed_ones_does_not_count() {
        let agreed = Quality {
            frames: 3,
            psnr_centi_db: 3_800,
            ssim_ppm: 950_000,
            bits_per_second: 200_000,
            ..Quality::default()
        };
        let bought = Quality { ssim_ppm: 930_000, bits_per_second: 400_000, ..agreed };
        assert_eq!(worth_ppm(&agreed, &agreed, &entry(200_000)), PPM);
        assert!(worth_ppm(&agreed, &bought, &entry(200_000)) < PPM);
        // Both spent as much: no difference.
        let dearer = Quality { bits_per_second: 400_000, ..agreed };
        assert_eq!(worth_ppm(&dearer, &bought, &entry(200_000)), PPM);
    }

    #[test]
    fn little_structure_lost_costs_nothing_whatever_psnr_says() {
        let reference = Quality { frames: 3, psnr_centi_db: 4_500, ssim_ppm: 985_000, ..Quality::default() };
        let found = Quality { psnr_centi_db: 3_000, ssim_ppm: 970_000, ..reference };
        assert_eq!(worth_ppm(&reference, &found, &entry(200_000)), PPM);
        let worse = Quality { ssim_ppm: 969_999, ..found };
        assert_eq!(worth_ppm(&reference, &worse, &entry(200_000)), LEAST);
    }

    #[test]
    fn audits_follow_their_rate_and_their_frames_the_seed() {
        let seeds = (0u32..4000).map(|index| keccak256(index.to_be_bytes()).0);
        assert!((30..55).contains(&seeds.clone().filter(|seed| drawn(10_000, seed)).count()));
        assert_eq!(seeds.clone().filter(|seed| drawn(0, seed)).count(), 0);
        assert_ne!(frames(&[1; 32], 60), frames(&[2; 32], 60));
        assert!(seeds.into_iter().flat_map(|seed| frames(&seed, 60)).all(|frame| frame <= 60));
    }
}
