//! Renditions in AV1: honest ones pass, and each rule of their container and their headers is broken once, and caught by exactly the
//! check that is there for it.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{ClipAudio, ClipSpec, MediaLimits, OutputFormat, Rational, generate_clip};
use framemill_network::ladder::{Codec, LadderEntry};
use framemill_verification::{Policy, Report, SourceReference, Tier, commit, verify};

use crate::fuzzed::Draw;
use crate::rewrite::Bits;
use crate::rewrite_mp4::{Mp4Box, Mp4Parts};
use crate::studio::{Clip, Recipe, entry, ffmpeg, honest};

const RATE: Rational = Rational::new(30, 1);
const WRAP: i64 = 1 << 33;

fn av1(width: u32, height: u32, bitrate: u32) -> LadderEntry {
    LadderEntry { codec: Codec::Av1, ..entry(width, height, bitrate) }
}

fn clip(change: impl FnOnce(&mut ClipSpec)) -> Clip {
    let mut spec = ClipSpec { start_pts: 900_000, ..ClipSpec::new(640, 384, RATE, 1) };
    change(&mut spec);
    let data = generate_clip(&spec, &MediaLimits::default()).expect("clip is made");
    Clip { name: "generated".into(), data, rate: RATE }
}

fn reference(clip: &Clip) -> SourceReference {
    SourceReference::new(clip.data.clone(), &MediaLimits::segment()).expect("source is sound")
}

fn judged(clip: &Clip, entry: &LadderEntry, policy: &Policy) -> Report {
    let rendition = honest(clip, entry, &Recipe::default());
    verify(&reference(clip), &rendition, entry, policy, &[0; 32]).expect("a verdict")
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.failures().map(|check| check.name).collect()
}

#[test]
fn an_honest_rendition_passes_at_every_depth() {
    let clip = clip(|_| {});
    for policy in [&Policy::STRUCTURE_ONLY, &Policy::FULL] {
        let report = judged(&clip, &av1(320, 192, 300_000), policy);
        assert_eq!(failed(&report), [""; 0]);
    }
    let report = judged(&clip, &av1(320, 192, 300_000), &Policy::FULL);
    assert_eq!((report.tier, report.pixels), (Tier::Whole, 320 * 192 * 30));
}

#[test]
fn sound_sizes_and_times_of_every_kind_pass() {
    let sound = |sample_rate, channels, tracks| Some(ClipAudio { sample_rate, channels, tracks });
    type Case = (&'static str, fn(&mut ClipSpec), (u32, u32));
    let cases: [Case; 7] = [
        ("no sound", |spec| spec.audio = None, (320, 192)),
        ("a clock that wraps", |spec| spec.start_pts = WRAP - 40_000, (320, 192)),
        ("sound on the last tick of the clock", |spec| spec.start_pts = WRAP - 1, (320, 192)),
        ("the beginning of the clock", |spec| spec.start_pts = 0, (320, 192)),
        ("a source in mp4", |spec| spec.format = OutputFormat::FragmentedMp4, (320, 192)),
        ("sides that blocks do not fill", |_| {}, (302, 182)),
        ("a small picture", |_| {}, (128, 76)),
    ];
    for (name, change, (width, height)) in cases {
        let report = judged(&clip(change), &av1(width, height, 300_000), &Policy::STRUCTURE_ONLY);
        assert_eq!(failed(&report), [""; 0], "{name}");
    }
    for (name, audio) in [("44.1 kHz", sound(44_100, 1, 1)), ("two tracks", sound(48_000, 2, 2))] {
        let report =
            judged(&clip(|spec| spec.audio = audio), &av1(320, 192, 300_000), &Policy::STRUCTURE_ONLY);
        assert_eq!(failed(&report), [""; 0], "{name}");
    }
}

#[test]
fn sound_of_every_codec_that_is_carried_passes() {
    for codec in ["aac", "ac3", "eac3", "mp2", "libmp3lame", "libopus"] {
        let made = clip(|_| {});
        let data = ffmpeg(&made.data, &["-c:v", "copy", "-c:a", codec, "-mpegts_copyts", "1"]);
        let report = judged(&Clip { data, ..made }, &av1(320, 192, 300_000), &Policy::STRUCTURE_ONLY);
        assert_eq!(failed(&report), [""; 0], "{codec}");
    }
}

#[test]
fn an_honest_rendition_has_one_commitment_however_it_is_cut() {
    let clip = clip(|_| {});
    let rendition = honest(&clip, &av1(320, 192, 300_000), &Recipe::default());
    let rewritten = Bytes::from(Mp4Parts::of(&rendition).write());
    assert_ne!(rendition, rewritten, "one fragment and not several");
    let roots = [rendition, rewritten]
        .map(|bytes| commit(&bytes, &MediaLimits::segment()).expect("it decodes").root());
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn other_pictures_and_other_containers_fail() {
    let (clip, other) = (clip(|_| {}), clip(|spec| spec.seed = 7));
    let entry = av1(320, 192, 300_000);
    let judge = |rendition: &Bytes, entry: &LadderEntry| {
        let report = verify(&reference(&clip), rendition, entry, &Policy::FULL, &[0; 32]).expect("a verdict");
        failed(&report)
    };
    let replaced = judge(&honest(&other, &entry, &Recipe::default()), &entry);
    assert!(!replaced.is_empty() && !replaced.contains(&"fragmented_mp4"), "{replaced:?}");
    let h264 = LadderEntry { codec: Codec::H264, ..entry.clone() };
    assert_eq!(judge(&honest(&clip, &h264, &Recipe::default()), &entry), ["fragmented_mp4"]);
    assert_eq!(judge(&honest(&clip, &entry, &Recipe::default()), &h264), ["transport_stream"]);
}

struct Stage {
    source: SourceReference,
    entry: LadderEntry,
    honest: Bytes,
}

impl Stage {
    fn judge(&self, bytes: Vec<u8>) -> Report {
        verify(&self.source, &Bytes::from(bytes), &self.entry, &Policy::STRUCTURE_ONLY, &[0; 32])
            .expect("a verdict")
    }
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let (clip, entry) = (clip(|_| {}), av1(320, 192, 300_000));
        Stage { source: reference(&clip), honest: honest(&clip, &entry, &Recipe::default()), entry }
    })
}

/// A lie, and the checks that must see it.
type Lie = (&'static str, fn(&mut Mp4Parts), &'static [&'static str]);

fn assert_each_is_seen(lies: &[Lie]) {
    let stage = stage();
    let parts = Mp4Parts::of(&stage.honest);
    assert_eq!(failed(&stage.judge(parts.write())), [""; 0], "put together again, it is honest");
    let mut wrong = Vec::new();
    for (name, lie, checks) in lies {
        let mut parts = parts.clone();
        lie(&mut parts);
        let found = failed(&stage.judge(parts.write()));
        if found != *checks {
            wrong.push(format!("{name}: {found:?}, want {checks:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const NO_MP4: &[&str] = &["fragmented_mp4"];

/// Where in the sample description the content of a box begins.
fn inside(entry: &[u8], kind: &[u8; 4]) -> usize {
    entry.windows(4).position(|bytes| bytes == kind).expect("a box") + 4
}

const HEAD_LIES: &[Lie] = &[
    ("a box of no use", |p| p.head.push(Mp4Box::leaf(b"free", b"x")), NO_MP4),
    ("an index of segments", |p| p.head.insert(1, Mp4Box::leaf(b"sidx", &[0; 32])), NO_MP4),
    ("two movies", |p| p.head.push(p.head[1].clone()), NO_MP4),
    ("no file type", |p| drop(p.head.remove(0)), NO_MP4),
    ("a long file type", |p| p.head[0].content.resize(80, 0), NO_MP4),
    ("a turned movie", |p| p.moov().at("mvhd").content[36 + 3] = 1, NO_MP4),
    ("a movie at half speed", |p| p.moov().at("mvhd").content[22] = 0x80, NO_MP4),
    ("a file of a still picture", |p| p.head[0].content[..4].copy_from_slice(b"avif"), NO_MP4),
    ("a file without a brand", |p| p.head[0].content.truncate(4), NO_MP4),
    ("a movie that says how long it is", |p| p.moov().at("mvhd").content[19] = 1, NO_MP4),
    ("a movie without a timescale", |p| p.moov().at("mvhd").content[12..16].fill(0), NO_MP4),
    ("a track that says how long it is", |p| p.moov().at("trak/tkhd").content[23] = 1, NO_MP4),
    (
        "fragments that say how long they are",
        |p| p.moov().at("mvex").boxes.push(Mp4Box::leaf(b"mehd", &[0; 8])),
        NO_MP4,
    ),
    ("sound of another version", |p| p.moov().at("trak2/mdia/minf/stbl/stsd").content[25] = 1, NO_MP4),
    ("pictures of another depth", |p| p.entry()[91] = 32, NO_MP4),
    ("user data", |p| p.moov().boxes.push(Mp4Box::leaf(b"udta", b"\0\0\0\x08free")), NO_MP4),
    ("a turned track", |p| p.moov().at("trak/tkhd").content[40 + 4] = 1, NO_MP4),
    ("a track that is not enabled", |p| p.moov().at("trak/tkhd").content[3] = 2, NO_MP4),
    ("a track shown in half its size", |p| p.moov().at("trak/tkhd").content[77] /= 2, NO_MP4),
    (
        "an edit list",
        |p| p.moov().at("trak").boxes.push(Mp4Box::leaf(b"edts", &Mp4Box::leaf(b"elst", &[0; 8]).write())),
        NO_MP4,
    ),
    (
        "another track first",
        |p| {
            let trak = p.moov().at("trak2").clone();
            p.moov().boxes.push(trak);
        },
        NO_MP4,
    ),
    ("subtitles", |p| p.moov().at("trak2/mdia/hdlr").content[8..12].copy_from_slice(b"text"), NO_MP4),
    ("a long name", |p| p.moov().at("trak/mdia/hdlr").content.resize(200, b'x'), NO_MP4),
    ("data in another file", |p| p.moov().at("trak/mdia/minf/dinf/dref").content[19] = 0, NO_MP4),
    ("samples in the movie", |p| p.moov().at("trak/mdia/minf/stbl/stts").content[7] = 1, NO_MP4),
    ("two descriptions", |p| p.entry()[7] = 2, NO_MP4),
    ("a scrambled description", |p| p.entry()[12..16].copy_from_slice(b"encv"), NO_MP4),
    ("a clean aperture", |p| p.describe(b"clap", &[0; 32]), NO_MP4),
    ("defaults of another track", |p| p.moov().at("mvex/trex").content[7] = 9, NO_MP4),
    ("other defaults", |p| p.moov().at("mvex/trex").content[11] = 2, NO_MP4),
    (
        "wide pixels",
        |p| {
            let at = inside(p.entry(), b"pasp");
            p.entry()[at + 3] *= 2;
        },
        &["aspect_permille"],
    ),
    ("two shapes of pixels", |p| p.describe(b"pasp", &[0, 0, 0, 2, 0, 0, 0, 1]), NO_MP4),
    ("sound that is not heard unasked", |p| p.moov().at("trak2/tkhd").content[3] = 2, &["audio_changed"]),
    ("another colour", |p| p.describe(b"colr", b"nclx\0\x09\0\x10\0\x09\x80"), &["sample_entry_differs"]),
    ("colour by a profile", |p| p.describe(b"colr", b"prof"), NO_MP4),
    (
        "another level",
        |p| {
            let at = inside(p.entry(), b"av1C");
            p.entry()[at + 1] ^= 4;
        },
        &["sample_entry_differs"],
    ),
    (
        "another size",
        |p| {
            p.entry()[40 + 1] += 1;
            p.entry()[42 + 1] += 1;
            p.moov().at("trak/tkhd").content[77] += 1;
            p.moov().at("trak/tkhd").content[81] += 1;
        },
        &["sample_entry_differs"],
    ),
    (
        "a set-up of another sequence",
        |p| {
            let at = inside(p.entry(), b"av1C");
            let unit = &p.entry()[at + 4..];
            let (head, mut bits) = (unit[..2].to_vec(), sequence(&unit[2..2 + usize::from(unit[1])]));
            bits.set("grain", "1");
            let unit = [head, bits.bytes()].concat();
            p.entry()[at + 4..at + 4 + unit.len()].copy_from_slice(&unit);
        },
        &["sample_entry_differs"],
    ),
    (
        "another timescale",
        |p| {
            p.moov().at("trak/mdia/mdhd").content[12..16].copy_from_slice(&180_000u32.to_be_bytes());
            let video = p.video();
            video.start *= 2;
            video.samples.iter_mut().for_each(|sample| sample.duration *= 2);
        },
        &["timescale"],
    ),
    (
        "a decoder of sound with another set-up",
        |p| {
            let stsd = &mut p.moov().at("trak2/mdia/minf/stbl/stsd").content;
            let at = inside(stsd, b"esds");
            let setup = at
                + stsd[at..].windows(5).position(|bytes| bytes[..4] == [5, 0x80, 0x80, 0x80]).expect("one");
            stsd[setup + 5] ^= 8;
        },
        &["audio_changed"],
    ),
    (
        "sound of another rate",
        |p| p.moov().at("trak2/mdia/minf/stbl/stsd").content[40] ^= 1,
        &["audio_changed"],
    ),
];

#[test]
fn every_lie_of_the_head_is_seen() {
    assert_each_is_seen(HEAD_LIES);
}

const SAMPLE_LIES: &[Lie] = &[
    ("a frame less", |p| drop(p.video().samples.pop()), &["frames", "pixels"]),
    ("a frame two ticks late", |p| p.video().samples[3].shift = 2, &["wrong_times", "shown_later"]),
    ("all frames a frame late", |p| p.video().start += 3_000, &["wrong_times"]),
    (
        "another round of the clock",
        |p| {
            p.video().start += 1 << 33;
            p.tracks[1].start += (1 << 33) / 90_000 * 48_000;
        },
        &["wrong_clock", "audio_changed"],
    ),
    ("video of another round of the clock", |p| p.video().start += 1 << 33, &["wrong_clock"]),
    ("a last frame for ever", |p| p.video().samples[29].duration = 900_000, &["wrong_durations"]),
    ("a last frame of no duration", |p| p.video().samples[29].duration = 0, &["wrong_durations"]),
    (
        "every frame a beginning",
        |p| p.video().samples.iter_mut().for_each(|s| s.sync = true),
        &["false_sync"],
    ),
    ("no beginning", |p| p.video().samples[0].sync = false, &["false_sync"]),
    ("an empty frame", |p| p.video().samples[4].data.clear(), NO_MP4),
    (
        "a frame of no time",
        |p| {
            let gone = std::mem::take(&mut p.video().samples[4].duration);
            p.video().samples[5].duration += gone;
            p.video().samples[5].shift = gone;
        },
        &["wrong_decoding_times", "shown_later"],
    ),
    (
        "sound without samples",
        |p| {
            p.tracks.pop();
            p.moov().boxes.retain(|each| &each.kind != b"udta");
        },
        NO_MP4,
    ),
    (
        "sound left out",
        |p| {
            p.tracks.pop();
            let last = p.moov().boxes.iter().rposition(|each| &each.kind == b"trak").expect("a track");
            p.moov().boxes.remove(last);
            p.moov().at("mvex").boxes.pop();
        },
        &["audio_streams", "audio_changed"],
    ),
    (
        "sound that is decoded a second before it is heard",
        |p| {
            p.tracks[1].start -= 48_000;
            p.tracks[1].samples.iter_mut().for_each(|sample| sample.shift = 48_000);
        },
        &["audio_changed"],
    ),
    (
        "sound that lasts for ever",
        |p| p.tracks[1].samples.last_mut().expect("sound").duration = 480_000,
        &["audio_changed"],
    ),
    ("one altered byte of sound", |p| p.tracks[1].samples[5].data[9] ^= 1, &["audio_changed"]),
    ("sound 200 ms late", |p| p.tracks[1].start += 9_600, &["audio_changed"]),
    ("less sound", |p| drop(p.tracks[1].samples.pop()), &["audio_changed"]),
    (
        "two videos",
        |p| {
            let (mut trak, mut trex) = (p.moov().at("trak").clone(), p.moov().at("mvex/trex").clone());
            trak.at("tkhd").content[15] = 3;
            trex.content[7] = 3;
            let end = p.moov().boxes.iter().rposition(|each| &each.kind == b"trak").expect("a track") + 1;
            p.moov().boxes.insert(end, trak);
            p.moov().at("mvex").boxes.push(trex);
            let mut other = p.tracks[0].clone();
            other.id = 3;
            p.tracks.push(other);
        },
        &["video_streams"],
    ),
    ("a track that was not announced", |p| p.tracks[1].id = 7, NO_MP4),
];

#[test]
fn every_lie_of_the_samples_is_seen() {
    assert_each_is_seen(SAMPLE_LIES);
}

/// Lies of the fragment, which stands between head and data.
#[test]
fn every_lie_of_the_fragment_is_seen() {
    let stage = stage();
    let parts = Mp4Parts::of(&stage.honest);
    let head: Vec<u8> = parts.head.iter().flat_map(Mp4Box::write).collect();
    let (fragment, fields) = parts.fragment();
    let data = parts.data();
    let word =
        |bytes: &[u8], at: std::ops::Range<usize>| u32::from_be_bytes(bytes[at].try_into().expect("a word"));
    let judge = |fragment: &[u8], data: &[u8]| failed(&stage.judge([&head, fragment, data].concat()));
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut fragment = fragment.clone();
        edit(&mut fragment);
        judge(&fragment, &data)
    };
    assert_eq!(judge(&fragment, &data), [""; 0]);
    let moved = |by: u32| {
        let fields = fields.clone();
        move |fragment: &mut Vec<u8>| {
            let moved = word(fragment, fields[1].clone()).wrapping_add(by);
            fragment[fields[1].clone()].copy_from_slice(&moved.to_be_bytes());
        }
    };
    for by in [1, u32::MAX, 1 << 30] {
        assert_eq!(edited(&moved(by)), NO_MP4, "data {by} bytes on");
    }
    let kind = |name: &[u8; 4]| fragment.windows(4).position(|bytes| bytes == name).expect("a box") + 4;
    let (tfhd, trun) = (kind(b"tfhd"), kind(b"trun"));
    assert_eq!(edited(&|bytes| bytes[tfhd + 1] = 0), NO_MP4, "data relative to something else");
    assert_eq!(edited(&|bytes| bytes[tfhd + 1] |= 1), NO_MP4, "a flag of no meaning");
    assert_eq!(edited(&|bytes| bytes[tfhd + 3] |= 1), NO_MP4, "an offset of its own");
    assert_eq!(edited(&|bytes| bytes[trun] = 2), NO_MP4, "a run of another version");
    assert_eq!(edited(&|bytes| bytes[trun + 4..trun + 8].fill(0xff)), NO_MP4, "a run without end");
    assert_eq!(
        judge(&crowded(240_001), &Mp4Box::leaf(b"mdat", &[0; 240_001]).write()),
        NO_MP4,
        "a crowd of samples"
    );
    for (flags, checks) in
        [(0x0200_0000_u32, &[""; 0][..]), (0x0100_0000, NO_MP4), (0x0300_0000, NO_MP4), (0x0201_0000, NO_MP4)]
    {
        let first = trun + 12 + 8;
        let found = edited(&|bytes| bytes[first..first + 4].copy_from_slice(&flags.to_be_bytes()));
        assert_eq!(found, checks, "{flags:#x}");
    }
    let longer = Mp4Box::leaf(b"mdat", &[&data[8..], b"hidden"].concat()).write();
    assert_eq!(judge(&fragment, &longer), NO_MP4, "bytes of no sample");
    assert_eq!(judge(&fragment, &[]), NO_MP4, "no data");
    assert_eq!(judge(&fragment, &[&data[..], &data].concat()), NO_MP4, "data twice");
    assert_eq!(
        judge(&fragment, &[&data[..], &Mp4Box::leaf(b"mfra", &[]).write()].concat()),
        NO_MP4,
        "an index"
    );
    assert_eq!(judge(&[], &[]), NO_MP4, "no fragment");
}

/// A fragment of so many samples of one byte, which take no room in its tables.
fn crowded(count: u32) -> Vec<u8> {
    let header = [0x02_0018_u32, 1, 1, 1];
    let time = [0, 900_000_u32];
    let run = [1, count, 100];
    let leaf = |kind, words: &[u32]| {
        Mp4Box::leaf(kind, &words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
    };
    let traf = vec![leaf(b"tfhd", &header), leaf(b"tfdt", &time), leaf(b"trun", &run)];
    let traf = Mp4Box { kind: *b"traf", content: Vec::new(), boxes: traf };
    let boxes = vec![leaf(b"mfhd", &[0, 1]), traf];
    Mp4Box { kind: *b"moof", content: Vec::new(), boxes }.write()
}

/// Both halves of the segment in a fragment of its own; what is wrong with the first one's last frame is up to `change`.
fn in_halves(change: impl Fn(&mut Mp4Parts)) -> Vec<u8> {
    let parts = Mp4Parts::of(&stage().honest);
    let (mut first, mut second) = (parts.clone(), parts.clone());
    for (index, track) in parts.tracks.iter().enumerate() {
        let half = track.samples.len() / 2;
        let before: u64 = track.samples[..half].iter().map(|sample| u64::from(sample.duration)).sum();
        first.tracks[index].samples.truncate(half);
        second.tracks[index].samples.drain(..half);
        second.tracks[index].start += before;
    }
    change(&mut first);
    [first.write(), second.fragment().0, second.data()].concat()
}

#[test]
fn a_fragment_lasts_until_the_next() {
    assert_eq!(failed(&stage().judge(in_halves(|_| {}))), [""; 0]);
    for duration in [1, 1_500, 6_000] {
        let bytes = in_halves(|first| first.video().samples[14].duration = duration);
        assert_eq!(failed(&stage().judge(bytes)), ["wrong_durations"], "{duration}");
    }
}

#[test]
fn data_lies_in_the_order_in_which_it_is_told() {
    let parts = Mp4Parts::of(&stage().honest);
    let mut turned = parts.clone();
    turned.tracks.reverse();
    let head: Vec<u8> = parts.head.iter().flat_map(Mp4Box::write).collect();
    let sizes: Vec<usize> =
        parts.tracks.iter().map(|track| track.samples.iter().map(|sample| sample.data.len()).sum()).collect();
    let (mut fragment, fields) = parts.fragment();
    let start = u32::try_from(fragment.len() + 8).expect("a short box");
    let behind = start + u32::try_from(sizes[1]).expect("a short track");
    fragment[fields[0].clone()].copy_from_slice(&behind.to_be_bytes());
    fragment[fields[1].clone()].copy_from_slice(&start.to_be_bytes());
    let bytes = [head, fragment, turned.data()].concat();
    assert_eq!(failed(&stage().judge(bytes)), NO_MP4);
}

/// The fields of a sequence header as libaom writes it.
fn sequence(payload: &[u8]) -> Bits {
    let mut bits = Bits::plain(payload);
    assert_eq!(bits.u("profile", 3), 0);
    bits.u("still", 1);
    bits.u("reduced", 1);
    assert_eq!(bits.u("timing", 1), 0);
    assert_eq!(bits.u("delays", 1), 0);
    assert_eq!(bits.u("points", 5), 0);
    bits.u("point", 12);
    assert!(bits.u("level", 5) < 8);
    let (across, down) = (bits.u("width bits", 4), bits.u("height bits", 4));
    bits.u("width", across as usize + 1);
    bits.u("height", down as usize + 1);
    assert_eq!(bits.u("ids", 1), 0);
    bits.u("tools", 3 + 4);
    assert_eq!(bits.u("order", 1), 1);
    bits.u("order tools", 2);
    assert_eq!(bits.u("screen content is chosen", 1), 1);
    assert_eq!(bits.u("integer motion is chosen", 1), 1);
    bits.u("order bits", 3);
    bits.u("superres", 1);
    bits.u("filters", 2);
    bits.u("deep", 1);
    bits.u("grey", 1);
    let described = bits.u("described", 1);
    bits.u("description", 24 * described as usize);
    bits.u("full range", 1);
    bits.u("chroma place", 2);
    bits.u("separate", 1);
    bits.u("grain", 1);
    bits
}

/// A unit with its length.
fn unit(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind << 3 | 2];
    let mut length = payload.len();
    while length > 0x7f {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    [&out[..], payload].concat()
}

/// Types and payloads of the units of a temporal unit.
fn units(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut units = Vec::new();
    while let [head, rest @ ..] = bytes {
        let groups = rest.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        let length =
            rest[..groups].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        units.push((head >> 3 & 15, rest[groups..groups + length].to_vec()));
        bytes = &rest[groups + length..];
    }
    units
}

fn with_units(parts: &mut Mp4Parts, index: usize, edit: impl FnOnce(&mut Vec<(u8, Vec<u8>)>)) {
    let data = &mut parts.video().samples[index].data;
    let mut units = units(data);
    edit(&mut units);
    *data = units.iter().flat_map(|(kind, payload)| unit(*kind, payload)).collect();
}

fn with_sequence(parts: &mut Mp4Parts, field: &str, value: &str) {
    with_units(parts, 0, |units| {
        let payload = &mut units.iter_mut().find(|(kind, _)| *kind == 1).expect("a sequence header").1;
        let mut bits = sequence(payload);
        bits.set(field, value);
        *payload = bits.bytes();
    });
}

fn insert(parts: &mut Mp4Parts, index: usize, kind: u8, payload: &[u8]) {
    with_units(parts, index, |units| units.insert(0, (kind, payload.to_vec())));
}

const UNIT_LIES: &[Lie] = &[
    ("a temporal delimiter", |p| insert(p, 3, 2, &[]), &["foreign_units"]),
    ("a list of tiles", |p| insert(p, 3, 8, &[1, 2, 3]), &["foreign_units"]),
    ("a reserved unit", |p| insert(p, 3, 9, &[1]), &["foreign_units"]),
    ("a message", |p| insert(p, 3, 5, &[4, 0xb5, 0, 0x80]), &["foreign_messages"]),
    ("a megabyte of padding", |p| insert(p, 3, 15, &[0x80; 1 << 20]), &["foreign_units", "video_bytes"]),
    (
        "a unit of another layer",
        |p| p.video().samples[3].data[0] |= 4,
        &["pictures", "uneven_units", "foreign_units"],
    ),
    (
        "a unit without a length",
        |p| p.video().samples[3].data[0] &= !2,
        &["pictures", "uneven_units", "foreign_units"],
    ),
    ("tiles of no frame", |p| insert(p, 3, 4, &[1, 2, 3]), &["foreign_units"]),
    (
        "a frame behind the one that is shown",
        |p| {
            let mut frame = units(&p.video().samples[9].data);
            with_units(p, 4, |units| units.append(&mut frame));
        },
        &["pictures", "uneven_units", "misplaced_units"],
    ),
    (
        "two frames in one sample, and none in the next",
        |p| {
            let next = std::mem::replace(&mut p.video().samples[5].data, unit(15, &[0x80]));
            p.video().samples[4].data.extend(next);
        },
        &["uneven_units", "foreign_units", "misplaced_units"],
    ),
    (
        "grain that decoders add",
        |p| with_sequence(p, "grain", "1"),
        &["sample_entry_differs", "ambiguous_sets"],
    ),
    ("layers", |p| with_sequence(p, "point", "000100000001"), &["sample_entry_differs", "ambiguous_sets"]),
    ("full range", |p| with_sequence(p, "full range", "1"), &["sample_entry_differs", "full_range"]),
    (
        "no sequence header",
        |p| with_units(p, 0, |units| units.retain(|(kind, _)| *kind != 1)),
        &[
            "sample_entry_differs",
            "false_sync",
            "pictures",
            "uneven_units",
            "starts_with_idr",
            "sequence_sets",
            "orphaned_slices",
            "width",
            "height",
            "pixels",
        ],
    ),
    (
        "another sequence header later",
        |p| {
            let mut own =
                units(&p.video().samples[0].data).into_iter().find(|(kind, _)| *kind == 1).expect("one").1;
            let mut bits = sequence(&own);
            bits.set("separate", "1");
            own = bits.bytes();
            insert(p, 7, 1, &own);
        },
        &["sequence_sets"],
    ),
    (
        "a still picture",
        |p| with_sequence(p, "still", "1"),
        &[
            "sample_entry_differs",
            "false_sync",
            "pictures",
            "uneven_units",
            "starts_with_idr",
            "ambiguous_sets",
            "orphaned_slices",
            "width",
            "height",
            "pixels",
        ],
    ),
    (
        "a beginning that is none",
        |p| {
            let (sequence, next) =
                (units(&p.video().samples[0].data).remove(0), units(&p.video().samples[9].data));
            assert_eq!(sequence.0, 1);
            with_units(p, 0, |units| *units = [vec![sequence], next].concat());
        },
        &["false_sync", "starts_with_idr"],
    ),
    (
        "a key frame that wants to be shown larger",
        |p| {
            with_units(p, 0, |units| {
                let frame = &mut units.iter_mut().find(|(kind, _)| *kind == 6).expect("a frame").1;
                let mut bits = Bits::plain(frame);
                assert_eq!(bits.u("existing", 1), 0);
                assert_eq!(bits.u("type", 2), 0);
                assert_eq!(bits.u("shown", 1), 1);
                bits.u("no cdf update", 1);
                if bits.u("screen content", 1) == 1 {
                    bits.u("integer motion", 1);
                }
                assert_eq!(bits.u("size of its own", 1), 0);
                bits.u("order", 7);
                assert_eq!(bits.u("render size", 1), 0);
                bits.set("render size", &format!("1{:016b}{:016b}", 1279, 767));
                *frame = bits.bytes();
            });
        },
        &["orphaned_slices"],
    ),
];

#[test]
fn every_lie_of_the_units_is_seen() {
    assert_each_is_seen(UNIT_LIES);
}

#[test]
fn bytes_of_any_kind_are_judged() {
    let stage = stage();
    let mut draw = Draw::new(11);
    let moov = stage.honest.windows(4).position(|kind| kind == b"mdat").expect("data");
    for round in 0..400 {
        let mut bytes = stage.honest.to_vec();
        match round % 4 {
            0 => bytes.truncate(draw.below(bytes.len())),
            // The boxes are a small part of the bytes.
            1 => bytes[draw.below(moov)] ^= 1 << draw.below(8),
            2 => (0..20).for_each(|_| bytes[draw.below(moov)] = draw.below(256) as u8),
            _ => (0..20).for_each(|_| {
                let at = draw.below(bytes.len());
                bytes[at] = draw.below(256) as u8;
            }),
        }
        let report = verify(&stage.source, &Bytes::from(bytes), &stage.entry, &Policy::FULL, &[0; 32]);
        report.expect("a verdict");
    }
}
