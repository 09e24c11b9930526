//! What the container of a rendition in fragmented MP4 says: of its pictures, against their own headers, and of time.

use bytes::Bytes;
use framemill_media::time::{WRAP, wrapped_difference};

use crate::av1;
use crate::mp4::{self, Format, Mp4Error, Sample, Samples, VideoFormat};
use crate::nal::NalWalk;
use crate::report::Check;
use crate::rules::structure::{MAX_LAST_INTERVALS, TIMESTAMP_SLACK};
use crate::ts::Unit;

/// Ticks of the clock of segments in a second.
const CLOCK: u32 = 90_000;

/// A segment in normal form.
#[derive(Debug)]
pub(crate) struct Fragmented {
    data: Bytes,
    tracks: Vec<Samples>,
}

/// The one video of a segment.
pub(crate) struct Video<'a> {
    data: &'a [u8],
    format: &'a VideoFormat,
    samples: &'a Samples,
}

impl Fragmented {
    /// Reads a whole segment.
    pub(crate) fn read(data: &Bytes) -> Result<Self, Mp4Error> {
        Ok(Self { tracks: mp4::parse(data)?, data: data.clone() })
    }

    /// How many videos there are.
    pub(crate) fn videos(&self) -> usize {
        self.tracks.iter().filter(|samples| matches!(samples.track.format, Format::Video(_))).count()
    }

    /// The first of them.
    pub(crate) fn video(&self) -> Option<Video<'_>> {
        self.tracks.iter().find_map(|samples| match &samples.track.format {
            Format::Video(format) => Some(Video { data: &self.data, format, samples }),
            Format::Sound(_) => None,
        })
    }

    /// The tracks of sound that carry anything.
    pub(crate) fn sound(&self) -> impl Iterator<Item = &Samples> {
        let is_sound = |samples: &&Samples| matches!(samples.track.format, Format::Sound(_));
        self.tracks.iter().filter(is_sound).filter(|samples| !samples.samples.is_empty())
    }

    /// The bytes of every sample of a track of this segment.
    pub(crate) fn data_of<'a>(&'a self, samples: &'a Samples) -> impl Iterator<Item = &'a [u8]> {
        samples.data(&self.data)
    }

    /// Samples whose times lie elsewhere than where times that begin in the first round of the clock lie: players without a clock
    /// that wraps would show them hours from where they belong.
    pub(crate) fn off_the_clock(&self) -> i64 {
        let times = |samples: &Samples| -> Vec<i64> {
            samples.samples.iter().map(|sample| ticks(samples, sample.pts)).collect()
        };
        let all: Vec<i64> = self.tracks.iter().flat_map(times).collect();
        let Some(first) = all.iter().copied().min() else { return 0 };
        // The clock of 33 bits begins anew at its end, and that of this container does not. Sound that counts in samples may be rounded
        // up to there.
        if !(0..=WRAP + TIMESTAMP_SLACK).contains(&first) {
            return all.len() as i64;
        }
        all.iter().filter(|&&time| time != first + wrapped_difference(first, time)).count() as i64
    }
}

/// A time of a track in ticks of 90 kHz, rounded.
pub(crate) fn ticks(samples: &Samples, time: i64) -> i64 {
    let scale = i128::from(samples.track.timescale);
    let scaled = (i128::from(time) * i128::from(CLOCK) + scale / 2).div_euclid(scale);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

impl Video<'_> {
    /// When every sample is shown and decoded.
    pub(crate) fn units(&self) -> Vec<Unit> {
        let ticks = |time| ticks(self.samples, time).cast_unsigned();
        let unit = |sample: &Sample| Unit {
            pts: Some(ticks(sample.pts)),
            dts: Some(ticks(sample.dts)),
            start: sample.start,
        };
        self.samples.samples.iter().map(unit).collect()
    }

    /// Bytes of all samples.
    pub(crate) fn bytes(&self) -> u64 {
        self.samples.samples.iter().map(|sample| sample.size as u64).sum()
    }

    /// The bytes of every sample.
    pub(crate) fn data(&self) -> impl Iterator<Item = &[u8]> {
        self.samples.data(self.data)
    }

    /// What its units say, and of which shape the container says that pixels are; and of every unit whether decoding may begin there.
    pub(crate) fn walk(&self) -> (NalWalk, Vec<bool>) {
        let (mut walk, keys) = av1::walk(self.data());
        if let Some(sequence) = &mut walk.sequence {
            sequence.aspect = self.format.aspect;
        }
        (walk, keys)
    }

    /// What the container says beside that; `expected` are the times that it should say.
    pub(crate) fn checks(&self, (walk, keys): &(NalWalk, Vec<bool>), expected: &[i64]) -> [Check; 5] {
        let samples = &self.samples.samples;
        let false_sync = samples.iter().zip(keys).filter(|(sample, key)| sample.sync != **key).count();
        let late = samples.iter().filter(|sample| (sample.pts - sample.dts).abs() > TIMESTAMP_SLACK).count();
        [
            Check::is("timescale", i64::from(self.samples.track.timescale), i64::from(CLOCK)),
            Check::is("sample_entry_differs", i64::from(!self.is_described(walk)), 0),
            Check::is("false_sync", false_sync as i64, 0),
            // Of AV1 what is decoded next is shown next.
            Check::is("shown_later", late as i64, 0),
            Check::is("wrong_durations", self.wrong_durations(expected), 0),
        ]
    }

    /// Whether players that believe the sample entry and players that believe the pictures show the same.
    fn is_described(&self, walk: &NalWalk) -> bool {
        let Some(sequence) = &walk.sequence else { return false };
        let color = self.format.color.is_none_or(|color| color.canonical() == sequence.color.canonical());
        let set_up = self.data().next().is_some_and(|unit| av1::is_setup_of(&self.format.setup, unit));
        color && set_up && (self.format.width, self.format.height) == (sequence.width, sequence.height)
    }

    /// Samples that end before or behind the beginning of the next, and a last one that lasts half as long as any frame should, or
    /// twice.
    fn wrong_durations(&self, expected: &[i64]) -> i64 {
        let distances = || expected.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = distances().max().unwrap_or(i64::from(CLOCK));
        let shortest = distances().min().unwrap_or(1);
        let next = self.samples.samples.iter().skip(1).map(Some).chain([None]);
        let wrong = self.samples.samples.iter().zip(next).filter(|(sample, next)| {
            let duration = i64::from(sample.duration);
            match next {
                Some(next) => (next.dts - sample.dts - duration).abs() > TIMESTAMP_SLACK,
                None => duration * 2 < shortest || duration > longest.saturating_mul(MAX_LAST_INTERVALS),
            }
        });
        wrong.count() as i64
    }
}
