//! Sound that is passed through: the same bytes at the same times.

use std::sync::OnceLock;

use alloy_primitives::B256;
use bytes::Bytes;
use framemill_media::time::{TICKS_PER_SECOND, onto_the_clock, wrapped_difference};
use framemill_media::{
    Container, Demuxer, MediaError, MediaLimits, Muxer, OutputFormat, Packet, repair_timestamps,
};

use crate::fragmented::{Fragmented, ticks};
use crate::mp4::{Samples, Track};
use crate::outline::sha256;
use crate::rules::structure::AUDIO_SLACK;
use crate::ts::{self, Elementary, StreamKind, TransportStream};

/// One packet of sound as FFmpeg tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SoundPacket {
    pts: i64,
    size: usize,
    sha256: B256,
}

/// Packets of every track that has any.
type Tracks = Vec<Vec<SoundPacket>>;

/// The sound of a source segment.
#[derive(Debug)]
pub(crate) struct Sound {
    data: Bytes,
    limits: MediaLimits,
    /// The elementary streams, where the strict reader could take the segment apart.
    streams: Option<Vec<Elementary>>,
    /// The packets; read when a rendition's streams are cut up in another way.
    packets: OnceLock<Result<Tracks, MediaError>>,
    /// The same in MP4; made when a rendition is.
    in_mp4: OnceLock<Result<Option<Fragmented>, MediaError>>,
}

impl Sound {
    /// Of a segment that the strict reader took apart.
    pub(crate) fn of_streams(data: &Bytes, limits: &MediaLimits, streams: Vec<Elementary>) -> Self {
        Self {
            data: data.clone(),
            limits: limits.clone(),
            streams: Some(streams),
            packets: OnceLock::new(),
            in_mp4: OnceLock::new(),
        }
    }

    /// Of any other segment.
    pub(crate) fn of_packets(data: &Bytes, limits: &MediaLimits) -> Result<Self, MediaError> {
        let packets = read_source(data, limits)?;
        Ok(Self {
            data: data.clone(),
            limits: limits.clone(),
            streams: None,
            packets: OnceLock::from(Ok(packets)),
            in_mp4: OnceLock::new(),
        })
    }

    /// Tracks that carry anything.
    pub(crate) fn tracks(&self) -> usize {
        match (&self.streams, self.packets.get()) {
            (Some(streams), _) => streams.len(),
            (None, Some(Ok(packets))) => packets.len(),
            (None, _) => 0,
        }
    }

    /// Bytes of all tracks.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = match (&self.streams, self.packets.get()) {
            (Some(streams), _) => streams.iter().map(|stream| stream.data.len()).sum::<usize>(),
            (None, Some(Ok(packets))) => packets.iter().flatten().map(|packet| packet.size).sum(),
            (None, _) => 0,
        };
        bytes as u64
    }

    /// Packets of a rendition that are missing, added, altered or at another time.
    ///
    /// Equal streams in equal units are equal, whatever codec they are. A muxer may cut the same stream into other
    /// units; then FFmpeg tells the packets of both.
    ///
    /// # Errors
    /// What keeps the source from being read.
    pub(crate) fn changed(
        &self,
        rendition: &Bytes,
        limits: &MediaLimits,
        shown: &TransportStream,
    ) -> Result<i64, MediaError> {
        let shown: Vec<&Elementary> = others(shown).collect();
        if let Some(streams) = &self.streams
            && streams.len() == shown.len()
            && streams.iter().zip(&shown).all(|(source, shown)| same_stream(source, shown))
        {
            return Ok(0);
        }
        let source = self.packets.get_or_init(|| read_source(&self.data, &self.limits));
        let source = source.as_ref().map_err(Clone::clone)?;
        let read = match read(rendition, limits) {
            Ok(read) => read,
            Err(error) if error.is_bad_media() => Tracks::new(),
            Err(error) => return Err(error),
        };
        // Bytes that FFmpeg passes over may be sound to another player.
        let told: usize = read.iter().flatten().map(|packet| packet.size).sum();
        let carried: usize = shown.iter().map(|stream| stream.data.len()).sum();
        let hidden = told != carried && Some(carried) != self.carried()?;
        Ok(changed(source, &read) + i64::from(hidden))
    }

    /// Bytes of the source's sound alone in a transport stream, with headers that FFmpeg takes off, as of Opus; `None` without sound.
    fn carried(&self) -> Result<Option<usize>, MediaError> {
        let mut demuxer = Demuxer::from_bytes(self.data.clone(), &self.limits)?;
        let alone = sound_alone(&mut demuxer, OutputFormat::MpegTs)?;
        let stream = alone.and_then(|alone| ts::parse(&alone).ok());
        Ok(stream.map(|stream| others(&stream).map(|stream| stream.data.len()).sum()))
    }

    /// The same of a rendition in fragmented MP4: its tracks must be those that the source's sound makes in this container, with the
    /// same decoders and the same samples.
    ///
    /// # Errors
    /// As [`Sound::changed`].
    pub(crate) fn changed_in_mp4(&self, shown: &Fragmented) -> Result<i64, MediaError> {
        let source = self.in_mp4.get_or_init(|| in_mp4(&self.data, &self.limits));
        let source = source.as_ref().map_err(Clone::clone)?;
        let mut tracks = source.iter().flat_map(|source| source.sound().map(move |track| (source, track)));
        let mut shown_tracks = shown.sound().map(|track| (shown, track));
        let mut changed = 0;
        loop {
            changed += match (tracks.next(), shown_tracks.next()) {
                (None, None) => return Ok(changed),
                (Some(source), Some(shown)) => changed_samples(source, shown),
                (Some((_, track)), None) | (None, Some((_, track))) => track.samples.len() as i64,
            };
        }
    }
}

/// Samples of a track that are missing, added, altered or at another time: all of them where they are decoded in another way, or
/// heard unasked in one and not in the other.
fn changed_samples(source: (&Fragmented, &Samples), shown: (&Fragmented, &Samples)) -> i64 {
    let longer = source.1.samples.len().max(shown.1.samples.len());
    let heard = |track: &Track| (track.enabled, track.timescale, track.format.clone());
    if heard(&source.1.track) != heard(&shown.1.track) {
        return longer as i64;
    }
    let time = |track: &Samples, at: usize| ticks(track, track.samples[at].pts);
    let bytes = source.0.data_of(source.1).zip(shown.0.data_of(shown.1));
    let same = |(at, (a, b)): &(usize, (&[u8], &[u8]))| {
        a == b && near(time(source.1, *at), time(shown.1, *at)) && is_plain_sample(shown.1, *at)
    };
    (longer - bytes.enumerate().filter(same).count()) as i64
}

/// Whether a sample of sound is heard when it is decoded, and until the next or for as long as packets may last.
fn is_plain_sample(track: &Samples, at: usize) -> bool {
    let (sample, timescale) = (&track.samples[at], i64::from(track.track.timescale));
    let slack = timescale * AUDIO_SLACK / TICKS_PER_SECOND;
    let next = track.samples.get(at + 1).map_or(0, |next| next.dts - sample.dts);
    let longest = next.max(timescale / LONGEST_PACKET);
    sample.sync
        && (sample.pts - sample.dts).abs() <= slack
        && (1..=longest).contains(&i64::from(sample.duration))
}

/// Parts of a second that the longest packet of any codec takes: Opus has some of 120 ms.
const LONGEST_PACKET: i64 = 8;

/// The sound alone in fragmented MP4; `None` where there is none.
fn in_mp4(data: &Bytes, limits: &MediaLimits) -> Result<Option<Fragmented>, MediaError> {
    let alone = sound_alone(&mut Demuxer::from_bytes(data.clone(), limits)?, OutputFormat::FragmentedMp4)?;
    let read = |alone| {
        Fragmented::read(&alone)
            .map_err(|error| MediaError::Truncated { reason: format!("sound in mp4: {error}") })
    };
    alone.map(read).transpose()
}

/// The streams beside the video that carry anything.
pub(crate) fn others(stream: &TransportStream) -> impl Iterator<Item = &Elementary> {
    stream.streams.iter().filter(|stream| !stream.is_video() && !stream.units.is_empty())
}

/// Whether the strict reader knows this stream for sound that FFmpeg takes as it is.
pub(crate) fn is_plain(stream: &Elementary) -> bool {
    let [first, second, ..] = stream.data[..] else { return false };
    match stream.kind {
        StreamKind::Adts => first == 0xff && second & 0xf6 == 0xf0,
        StreamKind::MpegAudio => first == 0xff && second & 0xe0 == 0xe0,
        StreamKind::Ac3 => (first, second) == (0x0b, 0x77),
        StreamKind::Video | StreamKind::Other => false,
    }
}

fn same_stream(source: &Elementary, shown: &Elementary) -> bool {
    let same_time = |a: Option<u64>, b: Option<u64>| match (a, b) {
        (Some(a), Some(b)) => near(a as i64, b as i64),
        (a, b) => a == b,
    };
    let same_units = source.units.len() == shown.units.len()
        && source.units.iter().zip(&shown.units).all(|(a, b)| a.start == b.start && same_time(a.pts, b.pts));
    source.kind == shown.kind && same_units && source.data == shown.data
}

fn near(a: i64, b: i64) -> bool {
    wrapped_difference(a, b).abs() <= AUDIO_SLACK
}

/// The sound of a source as a rendition has to carry it: other containers frame the packets of some codecs in another way.
fn read_source(data: &Bytes, limits: &MediaLimits) -> Result<Tracks, MediaError> {
    match in_transport_stream(data, limits)? {
        Some(framed) => read(&framed, limits),
        None => read(data, limits),
    }
}

/// The sound alone in a transport stream; `None` where it is in one already, or where there is none.
fn in_transport_stream(data: &Bytes, limits: &MediaLimits) -> Result<Option<Bytes>, MediaError> {
    let mut demuxer = Demuxer::from_bytes(data.clone(), limits)?;
    if demuxer.probe().container == Container::MpegTs {
        return Ok(None);
    }
    sound_alone(&mut demuxer, OutputFormat::MpegTs)
}

/// The sound alone in another container; `None` where there is none.
fn sound_alone(demuxer: &mut Demuxer, format: OutputFormat) -> Result<Option<Bytes>, MediaError> {
    let mut tracks: Vec<(usize, Vec<Packet>)> =
        demuxer.probe().audio.iter().map(|audio| (audio.stream, Vec::new())).collect();
    while let Some(packet) = demuxer.next_packet()? {
        if let Some((_, track)) = tracks.iter_mut().find(|(stream, _)| *stream == packet.stream()) {
            track.push(packet);
        }
    }
    tracks.retain(|(_, packets)| !packets.is_empty());
    if tracks.is_empty() {
        return Ok(None);
    }
    let mut builder = Muxer::builder(format).in_pieces();
    let first = tracks.iter().flat_map(|(_, packets)| packets).filter_map(time).min().unwrap_or(0);
    let mut written = Vec::new();
    for (stream, packets) in &mut tracks {
        repair_timestamps(packets)?;
        let output = builder.add_stream(&demuxer.parameters(*stream).ok_or(MediaError::NoAudio)?)?;
        written.extend(packets.iter().map(|packet| (output, packet.shifted(onto_the_clock(first)))));
    }
    written.sort_by_key(|(_, packet)| packet.dts());
    let mut muxer = builder.start()?;
    for (output, packet) in written {
        muxer.write(output, &packet)?;
    }
    muxer.finish().map(Some)
}

fn read(data: &Bytes, limits: &MediaLimits) -> Result<Tracks, MediaError> {
    let mut demuxer = Demuxer::from_bytes(data.clone(), limits)?;
    let indices: Vec<usize> = demuxer.probe().audio.iter().map(|audio| audio.stream).collect();
    let mut tracks = vec![Vec::new(); indices.len()];
    while let Some(packet) = demuxer.next_packet()? {
        let track = indices.iter().position(|&index| index == packet.stream());
        if let (Some(track), Some(pts)) = (track, time(&packet)) {
            let data = packet.data();
            tracks[track].push(SoundPacket { pts, size: data.len(), sha256: sha256(data) });
        }
    }
    tracks.retain(|track| !track.is_empty());
    Ok(tracks)
}

fn time(packet: &Packet) -> Option<i64> {
    packet.pts().or(packet.dts())
}

fn changed(source: &Tracks, shown: &Tracks) -> i64 {
    let same = |a: &SoundPacket, b: &SoundPacket| a.sha256 == b.sha256 && near(a.pts, b.pts);
    let none = Vec::new();
    let changed = (0..source.len().max(shown.len())).map(|track| {
        let (a, b) = (source.get(track).unwrap_or(&none), shown.get(track).unwrap_or(&none));
        let altered = a.iter().zip(b).filter(|(a, b)| !same(a, b)).count();
        altered + a.len().abs_diff(b.len())
    });
    changed.sum::<usize>() as i64
}
