//! Matroska (RFC 9559) around the messages of "Enhanced RTMP" v1: HEVC, AV1 and VP9, with AAC beside them.

use bytes::{BufMut, BytesMut};

use super::RtmpError;
use super::chunk::kind;
use super::container::Tag;

/// Video and audio by their numbers, which are one byte of a variable length.
const VIDEO: u8 = 1;
const AUDIO: u8 = 2;
/// The size of an element that ends with the file.
const UNKNOWN_SIZE: u64 = (1 << 56) - 1;
/// Nanoseconds of a tick: RTMP counts milliseconds.
const TICK: u64 = 1_000_000;
/// Sampling rates by their index ("Information technology — Coding of audio-visual objects", part 3, table 1.18).
const SAMPLING_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// Names of elements.
mod id {
    pub(super) const EBML: u32 = 0x1a45_dfa3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(super) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_a966;
    pub(super) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
    pub(super) const MUXING_APP: u32 = 0x4d80;
    pub(super) const WRITING_APP: u32 = 0x5741;
    pub(super) const TRACKS: u32 = 0x1654_ae6b;
    pub(super) const TRACK_ENTRY: u32 = 0xae;
    pub(super) const TRACK_NUMBER: u32 = 0xd7;
    pub(super) const TRACK_UID: u32 = 0x73c5;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    pub(super) const FLAG_LACING: u32 = 0x9c;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63a2;
    pub(super) const VIDEO: u32 = 0xe0;
    pub(super) const DISPLAY_UNIT: u32 = 0x54b2;
    pub(super) const AUDIO: u32 = 0xe1;
    pub(super) const SAMPLING_FREQUENCY: u32 = 0xb5;
    pub(super) const CHANNELS: u32 = 0x9f;
    pub(super) const CLUSTER: u32 = 0x1f43_b675;
    pub(super) const TIMESTAMP: u32 = 0xe7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xa3;
}

/// A file that has begun.
#[derive(Debug)]
pub(super) struct Matroska {
    codec: Codec,
    /// What decoders are set up by.
    record: Vec<u8>,
    audio: bool,
    /// The last message's timestamp, and the same without its wraps.
    clock: Option<(u32, i64)>,
}

impl Matroska {
    /// Writes the header for the streams that the first messages name.
    pub(super) fn begin(out: &mut BytesMut, tags: &[Tag]) -> Result<Self, RtmpError> {
        let (mut video, mut audio) = (None, None);
        for tag in tags {
            match Part::of(tag)? {
                Part::VideoConfig(codec, record) => video = Some((codec, record)),
                Part::AudioConfig(config) => audio = Some(config),
                Part::Frame { .. } | Part::Nothing => {}
            }
        }
        let (codec, record) = video.ok_or(RtmpError::Malformed("pictures without their codec's header"))?;
        put_header(out, codec, record, audio);
        Ok(Self { codec, record: record.to_vec(), audio: audio.is_some(), clock: None })
    }

    /// Appends a message: nothing where it holds neither picture nor sound.
    pub(super) fn put(&mut self, out: &mut BytesMut, tag: &Tag) -> Result<(), RtmpError> {
        let at = self.unwrapped(tag.timestamp);
        match Part::of(tag)? {
            // Players of the file would not hear of it.
            Part::VideoConfig(codec, record) if (codec, record) != (self.codec, &self.record) => {
                return Err(RtmpError::Refused(
                    "its video changes in mid-stream; begin another stream".to_owned(),
                ));
            }
            Part::Frame { track, .. } if track == AUDIO && !self.audio => {}
            Part::Frame { track, key, delay, data } => {
                let shown = u64::try_from(at + i64::from(delay)).unwrap_or(0);
                put_frame(out, track, shown, key, data);
            }
            Part::VideoConfig(..) | Part::AudioConfig(_) | Part::Nothing => {}
        }
        Ok(())
    }

    fn unwrapped(&mut self, timestamp: u32) -> i64 {
        let at = match self.clock {
            Some((last, at)) => at + i64::from(timestamp.wrapping_sub(last) as i32),
            None => timestamp.into(),
        };
        self.clock = Some((timestamp, at));
        at
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    Hevc,
    Av1,
    Vp9,
}

impl Codec {
    fn of(name: [u8; 4]) -> Result<Self, RtmpError> {
        match &name {
            b"avc1" => Ok(Self::H264),
            b"hvc1" => Ok(Self::Hevc),
            b"av01" => Ok(Self::Av1),
            b"vp09" => Ok(Self::Vp9),
            _ => {
                let name = name.escape_ascii();
                Err(RtmpError::Refused(format!("video of codec \"{name}\"; publish H.264, HEVC, AV1 or VP9")))
            }
        }
    }

    /// Whether pictures may be shown in another order than they are coded in.
    const fn reorders(self) -> bool {
        matches!(self, Self::H264 | Self::Hevc)
    }

    const fn id(self) -> &'static str {
        match self {
            Self::H264 => "V_MPEG4/ISO/AVC",
            Self::Hevc => "V_MPEGH/ISO/HEVC",
            Self::Av1 => "V_AV1",
            Self::Vp9 => "V_VP9",
        }
    }
}

/// What a message holds.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    VideoConfig(Codec, &'a [u8]),
    AudioConfig(&'a [u8]),
    Frame {
        track: u8,
        key: bool,
        /// Milliseconds from decoding to showing it.
        delay: i32,
        data: &'a [u8],
    },
    /// The end of a sequence, metadata, commands.
    Nothing,
}

impl<'a> Part<'a> {
    fn of(tag: &'a Tag) -> Result<Self, RtmpError> {
        match tag.kind {
            kind::VIDEO => Self::video(&tag.data),
            _ => Self::audio(&tag.data),
        }
    }

    fn video(data: &'a [u8]) -> Result<Self, RtmpError> {
        let [first, a, b, c, d, ref rest @ ..] = *data else { return Ok(Self::Nothing) };
        if first & 0x80 == 0 {
            let told =
                "video in RTMP's old layout beside sound or video in the enhanced one; publish sound as AAC";
            return Err(RtmpError::Refused(told.to_owned()));
        }
        const KEY: u8 = 1;
        const COMMAND: u8 = 5;
        let frame_type = first >> 4 & 7;
        let frame = |delay, data| Self::Frame { track: VIDEO, key: frame_type == KEY, delay, data };
        let codec = Codec::of([a, b, c, d])?;
        Ok(match (first & 0x0f, rest) {
            _ if frame_type == COMMAND => Self::Nothing,
            (0, record) => Self::VideoConfig(codec, record),
            (1, [a, b, c, rest @ ..]) if codec.reorders() => {
                frame(i32::from_be_bytes([*a, *b, *c, 0]) >> 8, rest)
            }
            (1, rest) if !codec.reorders() => frame(0, rest),
            (3, rest) => frame(0, rest),
            _ => Self::Nothing,
        })
    }

    fn audio(data: &'a [u8]) -> Result<Self, RtmpError> {
        const AAC: u8 = 10;
        const ENHANCED: u8 = 9;
        let (what, data) = match *data {
            [first, what, ref data @ ..] if first >> 4 == AAC => (what, data),
            [first, b'm', b'p', b'4', b'a', ref data @ ..] if first >> 4 == ENHANCED => (first & 0x0f, data),
            [] | [_] => return Ok(Self::Nothing),
            _ => return Err(RtmpError::Refused("sound beside HEVC, AV1 or VP9 has to be AAC".to_owned())),
        };
        Ok(match what {
            0 => Self::AudioConfig(data),
            1 => Self::Frame { track: AUDIO, key: true, delay: 0, data },
            _ => Self::Nothing,
        })
    }
}

fn put_header(out: &mut BytesMut, codec: Codec, record: &[u8], audio: Option<&[u8]>) {
    put(out, id::EBML, |out| {
        put_text(out, id::DOC_TYPE, "matroska");
        put_number(out, id::DOC_TYPE_VERSION, 4);
        put_number(out, id::DOC_TYPE_READ_VERSION, 2);
    });
    put_id(out, id::SEGMENT);
    put_size(out, UNKNOWN_SIZE);
    put(out, id::INFO, |out| {
        put_number(out, id::TIMESTAMP_SCALE, TICK);
        put_text(out, id::MUXING_APP, "framemill");
        put_text(out, id::WRITING_APP, "framemill");
    });
    put(out, id::TRACKS, |out| {
        put_track(out, VIDEO, codec.id(), (codec != Codec::Vp9).then_some(record), |out| {
            // Sizes are the bit stream's. Nothing here asks for another shape of the pixels: "unknown".
            put(out, id::VIDEO, |out| put_number(out, id::DISPLAY_UNIT, 4));
        });
        if let Some(config) = audio {
            let (rate, channels) = aac(config);
            put_track(out, AUDIO, "A_AAC", Some(config), |out| {
                put(out, id::AUDIO, |out| {
                    put(out, id::SAMPLING_FREQUENCY, |out| out.put_f64(rate.into()));
                    put_number(out, id::CHANNELS, channels.into());
                });
            });
        }
    });
}

fn put_track(
    out: &mut BytesMut,
    number: u8,
    codec: &str,
    record: Option<&[u8]>,
    more: impl FnOnce(&mut BytesMut),
) {
    put(out, id::TRACK_ENTRY, |out| {
        // Video is of type 1 and audio of type 2, too.
        for id in [id::TRACK_NUMBER, id::TRACK_UID, id::TRACK_TYPE] {
            put_number(out, id, number.into());
        }
        put_number(out, id::FLAG_LACING, 0);
        put_text(out, id::CODEC_ID, codec);
        if let Some(record) = record {
            put(out, id::CODEC_PRIVATE, |out| out.put_slice(record));
        }
        more(out);
    });
}

/// A frame in a cluster of its own, so that its time needs no other's.
fn put_frame(out: &mut BytesMut, track: u8, shown: u64, key: bool, data: &[u8]) {
    put(out, id::CLUSTER, |out| {
        put_number(out, id::TIMESTAMP, shown);
        put(out, id::SIMPLE_BLOCK, |out| {
            out.put_slice(&[0x80 | track, 0, 0, u8::from(key) << 7]);
            out.put_slice(data);
        });
    });
}

/// Sampling rate and channels by an `AudioSpecificConfig`; those that most use where it does not say.
fn aac(config: &[u8]) -> (u32, u8) {
    let [first, second, ..] = *config else { return (44_100, 2) };
    let index = (first & 7) << 1 | second >> 7;
    let rate = SAMPLING_RATES.get(usize::from(index)).copied().unwrap_or(44_100);
    (rate, (second >> 3 & 0x0f).max(1))
}

fn put(out: &mut BytesMut, id: u32, body: impl FnOnce(&mut BytesMut)) {
    let mut inside = BytesMut::new();
    body(&mut inside);
    put_id(out, id);
    put_size(out, inside.len() as u64);
    out.put_slice(&inside);
}

fn put_number(out: &mut BytesMut, id: u32, number: u64) {
    put(out, id, |out| out.put_u64(number));
}

fn put_text(out: &mut BytesMut, id: u32, text: &str) {
    put(out, id, |out| out.put_slice(text.as_bytes()));
}

/// Names hold their length.
fn put_id(out: &mut BytesMut, id: u32) {
    out.put_uint(id.into(), 4 - id.leading_zeros() as usize / 8);
}

/// In eight bytes, of which the first says so.
fn put_size(out: &mut BytesMut, size: u64) {
    out.put_u64(1 << 56 | size);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = b"\x90hvc1record";

    fn tag(kind: u8, timestamp: u32, data: &[u8]) -> Tag {
        Tag { kind, timestamp, data: data.to_vec().into() }
    }

    fn begun(tags: &[Tag]) -> Result<(Matroska, BytesMut), RtmpError> {
        let mut out = BytesMut::new();
        let matroska = Matroska::begin(&mut out, tags)?;
        Ok((matroska, out))
    }

    fn put_one(matroska: &mut Matroska, tag: &Tag) -> Vec<u8> {
        let mut out = BytesMut::new();
        matroska.put(&mut out, tag).unwrap();
        out.to_vec()
    }

    /// The time of a cluster, and its block.
    fn read(cluster: &[u8]) -> (u64, &[u8]) {
        let time = cluster[4 + 8 + 1 + 8..][..8].try_into().unwrap();
        (u64::from_be_bytes(time), &cluster[4 + 8 + 1 + 8 + 8 + 1 + 8..])
    }

    #[test]
    fn frames_are_shown_when_they_are_to_be_whatever_wraps() {
        let (mut matroska, _) = begun(&[tag(kind::VIDEO, 0, RECORD)]).unwrap();
        let late = put_one(&mut matroska, &tag(kind::VIDEO, u32::MAX - 1, b"\x91hvc1\x00\x00\x28key"));
        assert_eq!(read(&late), (u64::from(u32::MAX) - 1 + 40, &b"\x81\x00\x00\x80key"[..]));
        let wrapped = put_one(&mut matroska, &tag(kind::VIDEO, 8, b"\xa1hvc1\xff\xff\xfdx"));
        assert_eq!(read(&wrapped), (u64::from(u32::MAX) + 9 - 3, &b"\x81\x00\x00\x00x"[..]));
        let without = put_one(&mut matroska, &tag(kind::VIDEO, 18, b"\xa3hvc1x"));
        assert_eq!(read(&without).0, u64::from(u32::MAX) + 19);
    }

    #[test]
    fn what_is_no_frame_is_left_out() {
        let first = [tag(kind::VIDEO, 0, RECORD), tag(kind::AUDIO, 0, &[0xaf, 0, 0x12, 0x08])];
        let (mut matroska, header) = begun(&first).unwrap();
        assert!(header.windows(5).any(|bytes| bytes == b"A_AAC"));
        for nothing in [RECORD, b"\x92hvc1", b"\x94hvc1metadata", b"\xd1hvc1\x00", b"\x91hv"] {
            assert_eq!(put_one(&mut matroska, &tag(kind::VIDEO, 0, nothing)), b"", "{nothing:?}");
        }
        for sound in [&[0xaf, 1, 7][..], b"\x91mp4a\x07"] {
            let sound = put_one(&mut matroska, &tag(kind::AUDIO, 23, sound));
            assert_eq!(read(&sound), (23, &[0x82, 0, 0, 0x80, 7][..]));
        }
        // Sound that began after the header was written has no track.
        let (mut silent, _) = begun(&first[..1]).unwrap();
        assert_eq!(put_one(&mut silent, &tag(kind::AUDIO, 23, &[0xaf, 1, 7])), b"");
    }

    #[test]
    fn what_the_file_cannot_hold_is_refused_by_name() {
        let told = |tags: &[Tag]| begun(tags).unwrap_err().to_string();
        assert!(told(&[tag(kind::VIDEO, 0, b"\x90vvc1record")]).contains("\"vvc1\""));
        assert!(told(&[tag(kind::VIDEO, 0, b"\x91hvc1\x00\x00\x00key")]).contains("header"));
        let opus = [tag(kind::VIDEO, 0, RECORD), tag(kind::AUDIO, 0, b"\x90Opus")];
        assert!(told(&opus).contains("AAC"));
        let (mut matroska, mut out) = begun(&[tag(kind::VIDEO, 0, RECORD)]).unwrap();
        for other in [&b"\x90hvc1another"[..], b"\x17\x01\x00\x00\x00legacy"] {
            assert!(matroska.put(&mut out, &tag(kind::VIDEO, 0, other)).is_err(), "{other:?}");
        }
    }

    #[test]
    fn rate_and_channels_are_read_where_they_are() {
        assert_eq!(aac(&[0x12, 0x08]), (44_100, 1));
        assert_eq!(aac(&[0x11, 0x90]), (48_000, 2));
        assert_eq!(aac(&[]), (44_100, 2));
    }
}
