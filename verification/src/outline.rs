//! What the packets of a segment say, without decoding.

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::time::wrapped_difference;
use framemill_media::{Demuxer, MediaError, MediaLimits};
use sha2::{Digest, Sha256};

/// One audio packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioPacket {
    pub(crate) pts: i64,
    pub(crate) sha256: B256,
}

/// Figures of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) rotation: u16,
    /// Presentation times of the video's packets, rising.
    pub(crate) pts: Vec<i64>,
    /// Packets of every audio stream that has any, in the order of the streams.
    pub(crate) audio: Vec<Vec<AudioPacket>>,
}

impl Outline {
    /// Reads every packet once.
    pub(crate) fn read(data: &Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        let mut demuxer = Demuxer::from_bytes(data.clone(), limits)?;
        let video = demuxer.probe().require_video()?.clone();
        let mut audio: BTreeMap<usize, Vec<AudioPacket>> = BTreeMap::new();
        let mut pts = Vec::new();
        while let Some(packet) = demuxer.next_packet()? {
            let Some(time) = packet.pts().or(packet.dts()) else {
                continue;
            };
            if packet.stream() == video.stream {
                pts.push(time);
            } else {
                let sha256 = sha256(packet.data());
                audio.entry(packet.stream()).or_default().push(AudioPacket { pts: time, sha256 });
            }
        }
        pts.sort_unstable();
        if pts.is_empty() {
            return Err(MediaError::NoFrames);
        }
        Ok(Self {
            width: video.width,
            height: video.height,
            rotation: video.rotation,
            pts,
            audio: audio.into_values().collect(),
        })
    }

    /// Ticks from the first frame to the end of the last, which is taken to last as long as the average one.
    pub(crate) fn duration(&self) -> u64 {
        let (Some(first), Some(last)) = (self.pts.first(), self.pts.last()) else {
            return 0;
        };
        let span = last.abs_diff(*first);
        span + span / (self.pts.len() as u64 - 1).max(1)
    }
}

/// Puts a time on the timeline around `origin`, whatever side of a 33-bit wrap it was read on.
pub(crate) fn near(origin: i64, pts: i64) -> i64 {
    origin + wrapped_difference(origin, pts)
}

pub(crate) fn sha256(bytes: &[u8]) -> B256 {
    B256::from_slice(&Sha256::digest(bytes))
}
