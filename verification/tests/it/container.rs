//! Lies of the container: each rule is broken once, and caught by exactly the check that is there for it.

use std::sync::OnceLock;

use bytes::Bytes;
use framemill_media::{ClipSpec, MediaLimits, Rational, generate_clip};
use framemill_network::ladder::{LadderEntry, Profile};
use framemill_verification::ts::{self, Reason};
use framemill_verification::{Policy, Report, SourceReference, Tier, verify};

use crate::rewrite::{PACKET, Parts, association, packet, section};
use crate::studio::{Clip, Recipe, entry, honest};

const VIDEO: u16 = 256;
const SOUND: u16 = 257;
const MAP: u16 = 0x1000;

pub(crate) struct Stage {
    source: SourceReference,
    entry: LadderEntry,
    honest: Bytes,
}

impl Stage {
    pub(crate) fn new(entry: LadderEntry) -> Self {
        // A size that whole macroblocks fill, so that no crop hides behind another.
        let rate = Rational::new(30, 1);
        let spec = ClipSpec { start_pts: 900_000, ..ClipSpec::new(640, 384, rate, 1) };
        let data = generate_clip(&spec, &MediaLimits::default()).expect("clip is made");
        let clip = Clip { name: "generated".into(), data, rate };
        let honest = honest(&clip, &entry, &Recipe::default());
        let source = SourceReference::new(clip.data, &MediaLimits::segment()).expect("source is sound");
        Self { source, entry, honest }
    }

    fn judge(&self, bytes: Vec<u8>) -> Report {
        verify(&self.source, &Bytes::from(bytes), &self.entry, &Policy::STRUCTURE_ONLY, &[0; 32])
            .expect("a verdict")
    }

    fn parts(&self) -> Parts {
        Parts::of(&self.honest)
    }

    /// What is said of each of these lies.
    pub(crate) fn judged(&self, lies: &[Lie]) -> Vec<(&'static str, Report)> {
        let judged = |&(name, lie, _): &Lie| {
            let mut parts = self.parts();
            lie(&mut parts);
            (name, self.judge(parts.write()))
        };
        lies.iter().map(judged).collect()
    }

    /// What is said of an honest rendition whose bytes were changed so.
    fn judge_changed(&self, change: fn(&mut Vec<u8>)) -> Report {
        let mut bytes = self.parts().write();
        change(&mut bytes);
        self.judge(bytes)
    }
}

pub(crate) fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| Stage::new(entry(320, 192, 300_000)))
}

/// What is said of every lie of this page.
#[allow(dead_code, reason = "only the whole suite counts them")]
pub(crate) fn judged() -> Vec<(&'static str, Report)> {
    let stage = stage();
    let packets = PACKET_LIES.iter().map(|&(name, lie, _)| (name, stage.judge_changed(lie)));
    let violations =
        VIOLATIONS.iter().map(|&(reason, violate)| (reason.message(), stage.judge_changed(violate)));
    stage.judged(CONTAINER_LIES).into_iter().chain(packets).chain(violations).collect()
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.failures().map(|check| check.name).collect()
}

/// A lie, and the checks that must see it: one, except where a lie is two by nature.
pub(crate) type Lie = (&'static str, fn(&mut Parts), &'static [&'static str]);

pub(crate) fn assert_each_is_seen(stage: &Stage, lies: &[Lie]) {
    assert_eq!(stage.judge(stage.parts().write()).reason(), None, "put together again, it is honest");
    let mut wrong = Vec::new();
    for ((name, report), (_, _, checks)) in stage.judged(lies).iter().zip(lies) {
        let found = failed(report);
        if found != *checks {
            wrong.push(format!("{name}: {found:?}, want {checks:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const CONTAINER_LIES: &[Lie] = &[
    (
        "a frame less",
        |p| {
            let last = p.last_shown();
            p.video().remove(last);
        },
        &["frames", "pixels"],
    ),
    (
        "a frame without a time",
        |p| {
            let last = p.last_shown();
            let unit = &mut p.video()[last];
            (unit.pts, unit.dts) = (None, None);
        },
        &["frames_without_time"],
    ),
    (
        "a frame two ticks late",
        |p| {
            let last = p.last_shown();
            let pts = &mut p.video()[last].pts;
            *pts = pts.map(|pts| pts + 2);
        },
        &["wrong_times"],
    ),
    (
        "all frames a frame late",
        |p| {
            for unit in p.video() {
                unit.pts = unit.pts.map(|pts| pts + 3000);
                unit.dts = unit.dts.map(|dts| dts + 3000);
            }
        },
        &["wrong_times"],
    ),
    (
        "a frame decoded after it is shown",
        |p| {
            let last = p.last_shown();
            let unit = &mut p.video()[last];
            unit.dts = unit.pts.map(|pts| pts + 1);
        },
        &["wrong_decoding_times"],
    ),
    (
        "frames decoded at one time",
        |p| {
            let before = (p.video()[2].dts.or(p.video()[2].pts), p.video()[2].clock);
            (p.video()[3].dts, p.video()[3].clock) = before;
        },
        &["wrong_decoding_times"],
    ),
    (
        "a clock that jumps ahead",
        |p| p.video()[5].clock = p.video()[5].pts.map(|pts| pts + 900_000),
        &["wrong_clock"],
    ),
    (
        "a clock far behind",
        |p| p.video().iter_mut().for_each(|unit| unit.clock = unit.clock.map(|_| 100)),
        // The clip starts at ten seconds.
        &["wrong_clock"],
    ),
    ("no clock", |p| p.video().iter_mut().for_each(|unit| unit.clock = None), &["wrong_clock"]),
    ("the clock of another stream", |p| p.clock_pid = SOUND, &["wrong_clock"]),
    (
        "a second video",
        |p| {
            let mut other = p.streams[0].clone();
            (other.pid, other.units) = (300, Vec::new());
            p.streams.push(other);
        },
        &["video_streams"],
    ),
    ("sound left out", |p| drop(p.streams.pop()), &["audio_streams", "audio_changed"]),
    (
        "sound twice",
        |p| {
            let mut other = p.streams[1].clone();
            other.pid = 300;
            p.streams.push(other);
        },
        &["audio_streams", "audio_changed"],
    ),
    (
        "one altered byte of sound",
        |p| *p.streams[1].units[3].data.last_mut().expect("a byte") ^= 1,
        &["audio_changed"],
    ),
    (
        "sound 200 ms late",
        |p| {
            for unit in &mut p.streams[1].units {
                unit.pts = unit.pts.map(|pts| pts + 18_000);
            }
        },
        &["audio_changed"],
    ),
    (
        "one packet of sound late",
        |p| p.streams[1].units[3].pts = p.streams[1].units[3].pts.map(|pts| pts + 91),
        &["audio_changed"],
    ),
    (
        "packets of sound in another order",
        |p| {
            let other = p.streams[1].units[4].data.clone();
            p.streams[1].units[4].data = std::mem::replace(&mut p.streams[1].units[5].data, other);
        },
        &["audio_changed"],
    ),
    (
        "bytes hidden behind the sound",
        |p| p.streams[1].units.last_mut().expect("a unit").data.extend([7; 40]),
        &["audio_changed"],
    ),
    ("sound of another type", |p| p.streams[1].stream_type = 0x81, &["audio_changed"]),
    ("video of another codec", |p| p.streams[0].stream_type = 0x24, &["codec", "pixels"]),
];

#[test]
fn every_lie_of_streams_and_times_is_seen_by_the_check_that_is_there_for_it() {
    assert_each_is_seen(stage(), CONTAINER_LIES);
}

/// A lie of packets, on the bytes themselves.
type PacketLie = (&'static str, fn(&mut Vec<u8>), &'static [&'static str]);

/// The checks that see the lies of streams, times and packets.
pub(crate) fn seen() -> impl Iterator<Item = &'static str> {
    let streams = CONTAINER_LIES.iter().map(|(_, _, checks)| *checks);
    streams.chain(PACKET_LIES.iter().map(|(_, _, checks)| *checks)).flatten().copied()
}

fn place(bytes: &[u8], pid: u16, nth: usize) -> usize {
    let is = |packet: &[u8]| u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) == pid;
    let found = bytes.chunks_exact(PACKET).enumerate().filter(|(_, packet)| is(packet)).nth(nth);
    found.expect("such a packet").0 * PACKET
}

/// A byte of the nth packet of an identifier.
fn byte(bytes: &mut [u8], pid: u16, nth: usize, offset: usize) -> &mut u8 {
    let at = place(bytes, pid, nth);
    &mut bytes[at + offset]
}

fn table(bytes: &[u8], pid: u16) -> Vec<u8> {
    bytes[place(bytes, pid, 0)..][..PACKET].to_vec()
}

const PACKET_LIES: &[PacketLie] = &[
    (
        "packets that no table names",
        |b| b.extend(packet(999, true, 0, None, &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0])),
        &["stray_packets"],
    ),
    (
        "a clock that no table names",
        |b| b.extend(packet(999, false, 0, Some(900_000), &[])),
        &["stray_packets"],
    ),
    ("a null packet", |b| b.extend(packet(0x1fff, false, 0, None, &[0xff; 184])), &["null_packets"]),
    ("a counter that jumps", |b| *byte(b, VIDEO, 0, 3) ^= 8, &["discontinuities"]),
    (
        "a table's counter that stands still",
        |b| {
            let again = table(b, 0);
            b.extend(again);
        },
        &["discontinuities"],
    ),
    (
        "private data",
        |b| {
            let at = b.chunks_exact(PACKET).position(|p| p[3] & 0x20 != 0 && p[4] > 20 && p[5] == 0);
            let field = at.expect("a packet that is filled up") * PACKET + 5;
            (b[field], b[field + 1]) = (2, 10);
        },
        &["private_bytes"],
    ),
    (
        "stuffing that says something",
        |b| {
            let at = b.chunks_exact(PACKET).position(|p| p[3] & 0x20 != 0 && p[4] > 20 && p[5] == 0);
            b[at.expect("a packet that is filled up") * PACKET + 10] = b'x';
        },
        &["private_bytes"],
    ),
    (
        "stuffing without end",
        |b| (0..250).for_each(|_| b.extend(packet(VIDEO, false, 0, None, &[]))),
        &["stuffing_bytes"],
    ),
    (
        "tables without end",
        |b| {
            let mut again = table(b, 0);
            for counter in 1..400u32 {
                again[3] = again[3] & 0xf0 | (counter & 15) as u8;
                b.extend(&again);
            }
        },
        &["table_packets"],
    ),
    (
        "a service description without end",
        |b| (0..400).for_each(|i| b.extend(packet(17, true, i as u8, None, &[7; 184]))),
        &["table_packets"],
    ),
    ("more bytes than anything allows", |b| b.resize(2_000 * 1024 / PACKET * PACKET, 0x47), &["total_bytes"]),
];

#[test]
fn every_lie_of_packets_is_seen_by_the_check_that_is_there_for_it() {
    let stage = stage();
    let mut wrong = Vec::new();
    for (name, lie, checks) in PACKET_LIES {
        let found = failed(&stage.judge_changed(*lie));
        if found != *checks {
            wrong.push(format!("{name}: {found:?}, want {checks:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the reader says of a violation, and the violation.
type Violation = (Reason, fn(&mut Vec<u8>));

/// Violations after which nothing more is read: one at least for every reason that the reader can give.
const VIOLATIONS: &[Violation] = &[
    (Reason::Empty, |b| b.clear()),
    (Reason::Torn, |b| b.push(0x47)),
    (Reason::NoSync, |b| *byte(b, VIDEO, 2, 0) = 0x48),
    (Reason::FlaggedError, |b| *byte(b, VIDEO, 2, 1) |= 0x80),
    (Reason::Scrambled, |b| *byte(b, VIDEO, 2, 3) |= 0x80),
    (Reason::ReservedControl, |b| *byte(b, VIDEO, 2, 3) &= 0xcf),
    (Reason::FieldLeaves, |b| {
        let at = place(b, VIDEO, 2);
        (b[at + 3], b[at + 4]) = (b[at + 3] | 0x30, 200);
    }),
    (Reason::SeveralPrograms, |b| replace(b, 0, &association(&[(1, MAP), (2, 0x1001)]))),
    (Reason::NoProgram, |b| replace(b, 0, &association(&[]))),
    (Reason::TableDamaged, |b| *byte(b, 0, 0, 12) ^= 1),
    (Reason::AssociationChanges, |b| append(b, 0, &association(&[(1, 0x1001)]))),
    (Reason::MapChanges, |b| {
        append(b, MAP, &section(2, &map(&[0xf0, 0, 0x1b, 0xe1, 0x2c, 0xf0, 0])));
    }),
    (Reason::OtherProgram, |b| replace(b, 0, &association(&[(7, MAP)]))),
    (Reason::SharedIdentifier, |b| {
        let stream = [0x1b, 0xe1, 0, 0xf0, 0];
        replace(b, MAP, &section(2, &map(&[&[0xf0, 0], &stream[..], &stream].concat())));
    }),
    (Reason::TableNotCurrent, |b| {
        replace(b, 0, &section(0, &[0, 1, 0xc0, 0, 0, 0, 1, 0xf0, 0]));
    }),
    (Reason::TableFollowed, |b| {
        let at = place(b, 0, 0);
        let second = section(0, &[0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 1]);
        b[at + 60..at + 60 + second.len()].copy_from_slice(&second);
    }),
    (Reason::TableNotFirst, |b| *byte(b, 0, 0, 4) = 1),
    (Reason::NoMap, |b| drop(b.splice(place(b, MAP, 0)..b.len(), []))),
    (Reason::OtherLength, |b| {
        let at = start_of_sound(b);
        b[at + 5] -= 1;
    }),
    (Reason::ShorterThanHeader, |b| {
        let at = start_of_sound(b);
        (b[at + 4], b[at + 5]) = (0, 1);
    }),
    (Reason::BadHeader, |b| {
        let at = start_of_sound(b);
        b[at + 2] = 2;
    }),
    (Reason::ScrambledHeader, |b| {
        let at = start_of_sound(b);
        b[at + 6] = 0xb0;
    }),
    (Reason::OnlyDecodingTime, |b| {
        let at = start_of_sound(b);
        b[at + 7] = 0x40;
    }),
    (Reason::BadTime, |b| {
        let at = start_of_sound(b);
        b[at + 9] &= 0xfe;
    }),
    (Reason::NoMap, |b| drop(b.drain(..PACKET))),
    (Reason::NoMap, |b| b.extend(&long_association()[..PACKET])),
    (Reason::StreamWithoutStart, |b| *byte(b, VIDEO, 0, 1) &= !0x40),
    (Reason::FieldContradicts, |b| {
        // All of the packet is field, and a payload announced.
        let at = place(b, VIDEO, 2);
        (b[at + 3], b[at + 4]) = (b[at + 3] | 0x30, 183);
    }),
    (Reason::FieldContradicts, |b| {
        let at = place(b, VIDEO, 2);
        (b[at + 3], b[at + 4]) = (b[at + 3] & 0xcf | 0x20, 100);
    }),
    (Reason::FieldShort, |b| {
        let at = place(b, VIDEO, 2);
        (b[at + 3], b[at + 4], b[at + 5]) = (b[at + 3] | 0x30, 3, 0x10);
    }),
    (Reason::BadClock, |b| {
        // The last nine bits count to 299.
        let at = place(b, VIDEO, 0);
        assert_eq!(b[at + 5], 0x10, "it carries the clock");
        (b[at + 10], b[at + 11]) = (b[at + 10] | 1, 44);
    }),
    (Reason::TableUnfinished, |b| {
        let first = long_association()[..PACKET].to_vec();
        b.splice(0..0, first);
    }),
    (Reason::TableWithoutStart, |b| b.extend(packet(0, false, 1, None, &[0xff; PACKET - 4]))),
    (Reason::TableTooLong, |b| {
        let at = place(b, 0, 0);
        (b[at + 6], b[at + 7]) = (0xb3, 0xfe);
    }),
    (Reason::NotAssociation, |b| replace(b, 0, &section(1, &[0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]))),
    (Reason::AssociationTrails, |b| {
        replace(b, 0, &section(0, &[0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 7, 7]));
    }),
    (Reason::NotMap, |b| replace(b, MAP, &section(3, &map(&[0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0])))),
    (Reason::NotMap, |b| replace(b, MAP, &section(2, &map(&[])[..5]))),
    (Reason::ProgramDescriptorsLeave, |b| replace(b, MAP, &section(2, &map(&[0xf0, 1])))),
    (Reason::StreamDescriptorsLeave, |b| {
        replace(b, MAP, &section(2, &map(&[0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 1])));
    }),
    (Reason::MapTrails, |b| replace(b, MAP, &section(2, &map(&[0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 7])))),
    (Reason::TooManyStreams, |b| {
        let streams = (0..33).flat_map(|pid| [0x0f, 0xe1, pid, 0xf0, 0]);
        replace(b, MAP, &section(2, &map(&[0xf0, 0].into_iter().chain(streams).collect::<Vec<_>>())));
    }),
    (Reason::TimeMissing, |b| {
        let at = start_of_sound(b);
        b[at + 8] = 4;
    }),
    (Reason::TimeMissing, |b| {
        b.extend(packet(SOUND, true, 0, None, &[0, 0, 1, 0xc0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1]));
    }),
    (Reason::HeaderLeaves, |b| {
        let at = start_of_sound(b);
        (b[at + 4], b[at + 5], b[at + 8]) = (0, 0, 200);
    }),
];

/// The body of a program map that names the video for its clock, and goes on so.
fn map(rest: &[u8]) -> Vec<u8> {
    [&[0, 1, 0xc1, 0, 0, 0xe1, 0], rest].concat()
}

/// Two packets of a program association that is too long for one.
fn long_association() -> Vec<u8> {
    let networks = [(0, 16); 50];
    let section = association(&[&[(1, MAP)], &networks[..]].concat());
    let (first, second) = section.split_at(PACKET - 5);
    let mut out = packet(0, true, 0, None, &[&[0], first].concat());
    out.extend(packet(0, false, 1, None, second));
    out
}

/// Where the payload of the first packet of sound begins.
fn start_of_sound(bytes: &[u8]) -> usize {
    let at = place(bytes, SOUND, 0);
    if bytes[at + 3] & 0x20 == 0 { at + 4 } else { at + 5 + usize::from(bytes[at + 4]) }
}

fn table_packet(pid: u16, counter: u8, section: &[u8]) -> Vec<u8> {
    let mut payload = vec![0];
    payload.extend(section);
    payload.resize(PACKET - 4, 0xff);
    packet(pid, true, counter, None, &payload)
}

fn replace(bytes: &mut [u8], pid: u16, section: &[u8]) {
    let at = place(bytes, pid, 0);
    bytes[at..at + PACKET].copy_from_slice(&table_packet(pid, 0, section));
}

fn append(bytes: &mut Vec<u8>, pid: u16, section: &[u8]) {
    bytes.extend(table_packet(pid, 1, section));
}

#[test]
fn every_violation_of_the_container_ends_the_reading() {
    let stage = stage();
    let mut wrong = Vec::new();
    for (reason, violate) in VIOLATIONS {
        let mut bytes = stage.parts().write();
        violate(&mut bytes);
        let found = ts::parse(&bytes).map_err(|error| error.reason);
        let verdict = failed(&stage.judge(bytes));
        if found.as_ref().err() != Some(reason) || verdict != ["transport_stream"] {
            wrong.push(format!("{reason}: {:?} {verdict:?}", found.err()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_program_association_may_span_packets() {
    let stage = stage();
    let report = stage.judge_changed(|b| drop(b.splice(..PACKET, long_association())));
    assert_eq!(failed(&report), Vec::<&str>::new());
}

#[test]
fn every_reason_of_the_reader_has_a_lie() {
    let broken = |reason: &&Reason| VIOLATIONS.iter().any(|(known, _)| known == *reason);
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !broken(reason)).collect();
    assert!(missing.is_empty(), "nothing breaks {missing:?}");
}

#[test]
fn a_profile_that_was_not_asked_for_is_refused() {
    let Stage { source, entry, honest } = stage();
    for (profile, passes) in [(Profile::High, true), (Profile::Main, false), (Profile::Baseline, false)] {
        let entry = LadderEntry { profile, ..entry.clone() };
        let report = verify(source, honest, &entry, &Policy::STRUCTURE_ONLY, &[0; 32]).expect("a verdict");
        assert_eq!(failed(&report).is_empty(), passes, "{profile:?}: {:?}", failed(&report));
    }
}

#[test]
fn a_lost_packet_is_noticed() {
    let mut bytes = stage().parts().write();
    let at = place(&bytes, VIDEO, 3);
    bytes.drain(at..at + PACKET);
    assert!(failed(&stage().judge(bytes)).contains(&"discontinuities"));
}

#[test]
fn a_rendition_that_is_two_put_together_is_refused() {
    let honest = &stage().honest;
    let report = stage().judge([&honest[..], &honest[..]].concat());
    assert!(failed(&report).contains(&"frames"), "{:?}", failed(&report));
}

#[test]
fn bytes_that_are_no_transport_stream_are_refused() {
    for bytes in [Vec::new(), b"not media at all".to_vec(), vec![0x47; PACKET * 4], vec![0; PACKET]] {
        assert_eq!(failed(&stage().judge(bytes)), ["transport_stream"]);
    }
}

#[test]
fn sound_in_other_units_is_the_same_sound() {
    let stage = stage();
    let mut parts = stage.parts();
    let mut units = std::mem::take(&mut parts.streams[1].units).into_iter();
    while let Some(mut unit) = units.next() {
        unit.data.extend(units.next().map(|next| next.data).unwrap_or_default());
        parts.streams[1].units.push(unit);
    }
    assert_eq!(stage.judge(parts.write()).reason(), None);
}

#[test]
fn the_picture_of_a_broken_container_is_not_looked_at() {
    let Stage { source, entry, .. } = stage();
    let mut parts = stage().parts();
    parts.video().pop();
    let bytes = Bytes::from(parts.write());
    let report = verify(source, &bytes, entry, &Policy::FULL, &[0; 32]).expect("a verdict");
    assert_eq!(report.tier, Tier::Structure);
}

#[test]
fn every_check_is_documented() {
    let Stage { source, entry, honest } = stage();
    let page = include_str!("../../../docs/verification.md");
    let report = verify(source, honest, entry, &Policy::FULL, &[0; 32]).expect("a verdict");
    let names = report.checks.iter().map(|check| check.name);
    let missing: Vec<_> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/verification.md does not explain {missing:?}");
}
