//! Which side's rungs look better, and how large they are.

use std::{fs, path::Path};

use bytes::Bytes;
use framemill_media::{DecoderConfig, Demuxer, Frame, MediaLimits, Scaler, ScalerConfig, VideoReader};

use crate::{Result, sides, sources::Source};

/// One rung of both sides.
pub(crate) struct Quality {
    /// Luma PSNR in dB against the source, scaled once to the rung's size: ours.
    pub(crate) psnr: f64,
    /// The command line's.
    pub(crate) peer_psnr: f64,
    /// Bits of our video to one of the command line's.
    pub(crate) bitrate: f64,
}

/// Compares what both sides have last made of the source.
pub(crate) fn compare(source: &Source, rung: &str, folder: &Path) -> Result<Quality> {
    let read = |path| fs::read(path).map(Bytes::from);
    let source = read(source.path.clone())?;
    let (ours, theirs) = (read(sides::ours(folder, rung))?, read(sides::theirs(folder, rung))?);
    let bitrate = video_bytes(&ours)? / video_bytes(&theirs)?;
    Ok(Quality { psnr: psnr(&source, &ours)?, peer_psnr: psnr(&source, &theirs)?, bitrate })
}

fn video_bytes(data: &Bytes) -> Result<f64> {
    let mut demuxer = Demuxer::from_bytes(data.clone(), &MediaLimits::default())?;
    let video = demuxer.probe().require_video()?.stream;
    let mut bytes = 0;
    while let Some(packet) = demuxer.next_packet()? {
        if packet.stream() == video {
            bytes += packet.data().len();
        }
    }
    Ok(bytes as f64)
}

fn psnr(source: &Bytes, rendition: &Bytes) -> Result<f64> {
    let limits = MediaLimits::default();
    let config = DecoderConfig { threads: 0, ..DecoderConfig::default() };
    let mut reference = VideoReader::open(source.clone(), &config, &limits)?;
    let mut coded = VideoReader::open(rendition.clone(), &config, &limits)?;
    let mut scaler: Option<Scaler> = None;
    let (mut error, mut pixels) = (0_u64, 0_u64);
    loop {
        let (reference, coded) = match (reference.next_frame()?, coded.next_frame()?) {
            (Some(reference), Some(coded)) => (reference, coded),
            (None, None) => break,
            _ => return Err("a rung has another number of frames than its source".into()),
        };
        let scaler = match &mut scaler {
            Some(scaler) => scaler,
            None => {
                scaler.insert(Scaler::new(ScalerConfig::yuv420p(coded.width(), coded.height()), &limits)?)
            }
        };
        error += luma_error(&scaler.scale(&reference)?, &coded)?;
        pixels += coded.pixels();
    }
    Ok(10.0 * (255.0 * 255.0 * pixels as f64 / error.max(1) as f64).log10())
}

fn luma_error(left: &Frame, right: &Frame) -> Result<u64> {
    let (left, right) = (left.plane(0).ok_or("no luma")?, right.plane(0).ok_or("no luma")?);
    let rows = left.iter_rows().zip(right.iter_rows());
    Ok(rows
        .flat_map(|(left, right)| left.iter().zip(right))
        .map(|(&left, &right)| u64::from(left.abs_diff(right)).pow(2))
        .sum())
}
