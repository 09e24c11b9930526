//! A source segment taken apart: packets of the video in decoding order, packets of each audio track.

use std::sync::Arc;

use bytes::Bytes;
use framemill_media::{
    Decoder, DecoderConfig, Demuxer, GpuDevice, GpuFrame, MediaError, MediaLimits, Packet, Rational,
    StreamParameters, TICKS_PER_SECOND, Ticks, VideoInfo, repair_timestamps,
};

use crate::TranscodeError;

/// A deviation from the mean frame distance up to this many ticks is rounding (containers that count milliseconds), not a
/// variable frame rate.
const ROUNDING: Ticks = 180;

/// One audio track: passed into every rendition as it is.
#[derive(Debug)]
pub(crate) struct AudioTrack {
    pub(crate) parameters: StreamParameters,
    /// In decoding order, with times a muxer takes.
    pub(crate) packets: Vec<Packet>,
}

/// A source segment, read once.
pub(crate) struct Source {
    /// What the container says of the video.
    pub(crate) video: VideoInfo,
    /// Video packets in decoding order.
    pub(crate) packets: Vec<Packet>,
    /// Audio tracks that carry packets.
    pub(crate) audio: Arc<[AudioTrack]>,
    /// When frames are shown, as the packets say.
    pub(crate) timing: Timing,
    demuxer: Demuxer,
}

impl Source {
    /// Reads all packets of a segment.
    pub(crate) fn read(data: Bytes, limits: &MediaLimits) -> Result<Self, TranscodeError> {
        let mut demuxer = Demuxer::from_bytes(data, limits)?;
        let video = demuxer.probe().require_video()?.clone();
        let mut tracks: Vec<(usize, Vec<Packet>)> =
            demuxer.probe().audio.iter().map(|audio| (audio.stream, Vec::new())).collect();
        let mut packets = Vec::new();
        while let Some(packet) = demuxer.next_packet()? {
            if packet.stream() == video.stream {
                packets.push(packet);
            } else if let Some((_, track)) = tracks.iter_mut().find(|(stream, _)| *stream == packet.stream())
            {
                track.push(packet);
            }
        }
        let timing = Timing::of(&packets).ok_or(MediaError::NoFrames)?;
        let audio = audio_tracks(&demuxer, tracks)?;
        Ok(Self { video, packets, audio, timing, demuxer })
    }

    /// A decoder that fails on the first damaged packet.
    pub(crate) fn decoder(&self, threads: u32) -> Result<Decoder, TranscodeError> {
        Ok(self.demuxer.decoder(&DecoderConfig { threads, strict: true })?)
    }

    /// As [`Source::decoder`], on a device.
    pub(crate) fn decoder_on(
        &self,
        device: &GpuDevice,
        limits: &MediaLimits,
    ) -> Result<Decoder<GpuFrame>, TranscodeError> {
        let parameters = self.demuxer.parameters(self.video.stream).ok_or(MediaError::NoVideo)?;
        let config = DecoderConfig { threads: 1, strict: true };
        Ok(Decoder::on_gpu(&parameters, &config, limits, device)?)
    }
}

/// Tracks that are announced and carry nothing are left out: a muxer would wait for them.
fn audio_tracks(
    demuxer: &Demuxer,
    tracks: Vec<(usize, Vec<Packet>)>,
) -> Result<Arc<[AudioTrack]>, MediaError> {
    let filled = tracks.into_iter().filter(|(_, packets)| !packets.is_empty());
    let track = |(stream, mut packets): (usize, Vec<Packet>)| {
        repair_timestamps(&mut packets)?;
        let parameters = demuxer.parameters(stream).ok_or(MediaError::NoAudio)?;
        Ok(AudioTrack { parameters, packets })
    };
    filled.map(track).collect()
}

/// When the frames of a segment are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Number of frames.
    pub(crate) frames: u64,
    /// Average frame rate; 30 for a single frame, of which nobody can say.
    pub(crate) rate: Rational,
    /// Whether frames come at uneven distances.
    pub(crate) variable: bool,
}

impl Timing {
    fn of(packets: &[Packet]) -> Option<Self> {
        let mut pts: Vec<Ticks> = packets.iter().filter_map(|packet| packet.pts().or(packet.dts())).collect();
        pts.sort_unstable();
        pts.dedup();
        Self::of_sorted(&pts)
    }

    fn of_sorted(pts: &[Ticks]) -> Option<Self> {
        let (first, last) = (*pts.first()?, *pts.last()?);
        let steps = pts.len() as u64 - 1;
        let span = last.abs_diff(first);
        if span == 0 {
            return Some(Self { frames: 1, rate: Rational::new(30, 1), variable: false });
        }
        let mean = i64::try_from(span / steps).unwrap_or(Ticks::MAX);
        let uneven = |pair: &[Ticks]| {
            (pair[1] - pair[0]).abs_diff(mean) > mean.unsigned_abs() / 10 + ROUNDING.unsigned_abs()
        };
        Some(Self { frames: steps + 1, rate: rate(steps, span), variable: pts.windows(2).any(uneven) })
    }
}

/// `steps` frames in `span` ticks as a fraction: the usual rates exactly, others to a thousandth.
fn rate(steps: u64, span: u64) -> Rational {
    let second = TICKS_PER_SECOND.unsigned_abs();
    for (num, den) in
        [(24, 1), (25, 1), (30, 1), (50, 1), (60, 1), (24_000, 1_001), (30_000, 1_001), (60_000, 1_001)]
    {
        let expected = steps * second * u64::from(den) / u64::from(num);
        // Half a rounding of each end.
        if expected.abs_diff(span) <= 1 {
            return Rational::new(num, den);
        }
    }
    let thousandths = u128::from(steps) * u128::from(second) * 1_000 / u128::from(span);
    Rational::new(u32::try_from(thousandths).unwrap_or(u32::MAX).max(1), 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(pts: &[Ticks]) -> Timing {
        Timing::of_sorted(pts).expect("there are frames")
    }

    #[test]
    fn knows_the_usual_rates_exactly() {
        let ntsc: Vec<_> = (0..120).map(|frame| 7 + frame * 3003 / 2).collect();
        assert_eq!(
            timing(&ntsc),
            Timing { frames: 120, rate: Rational::new(60_000, 1_001), variable: false }
        );
        let film: Vec<_> = (0..48).map(|frame| frame * 3750).collect();
        assert_eq!(timing(&film).rate, Rational::new(24, 1));
    }

    #[test]
    fn millisecond_rounding_is_no_variable_rate() {
        let flv: Vec<_> = (0..60).map(|frame| (frame * 1_000 / 30) * 90).collect();
        assert!(!timing(&flv).variable);
    }

    #[test]
    fn uneven_frames_are_a_variable_rate() {
        assert!(timing(&[0, 3000, 6000, 12_000, 15_000]).variable);
    }

    #[test]
    fn one_frame_has_a_rate_too() {
        assert_eq!(timing(&[90_000]), Timing { frames: 1, rate: Rational::new(30, 1), variable: false });
        assert_eq!(Timing::of_sorted(&[]), None);
    }
}
