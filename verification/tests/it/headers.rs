//! Lies of the bitstream's headers: each rule is broken once, and caught by exactly the check that is there for it.

use std::collections::HashSet;
use std::sync::OnceLock;

use framemill_network::ladder::{Codec, LadderEntry};
use framemill_verification::Report;

use crate::container::{self, Lie, Stage, assert_each_is_seen, stage};
use crate::rewrite::{Bits, Parts, nal_units, ue};
use crate::studio::entry;

/// What is said of every lie of this page.
#[allow(dead_code, reason = "only the whole suite counts them")]
pub(crate) fn judged() -> Vec<(&'static str, Report)> {
    [stage().judged(HEADER_LIES), hevc_stage().judged(HEVC_LIES)].concat()
}

fn hevc_stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| Stage::new(LadderEntry { codec: Codec::Hevc, ..entry(320, 192, 300_000) }))
}

fn is_sps(head: u8) -> bool {
    head & 0x1f == 7
}

fn is_pps(head: u8) -> bool {
    head & 0x1f == 8
}

fn is_slice(head: u8) -> bool {
    matches!(head & 0x1f, 1 | 5)
}

/// The sequence parameter set that x264 writes in its high profile.
fn sps(unit: &[u8]) -> Bits {
    let mut bits = Bits::of(unit, 1);
    assert_eq!(bits.u("profile", 8), 100);
    bits.u("constraints and level", 16);
    bits.ue("id");
    bits.ue("chroma format");
    bits.ue("luma depth");
    bits.ue("chroma depth");
    bits.u("bypass and scaling", 2);
    bits.ue("frame num bits");
    assert_eq!(bits.ue("order type"), 0);
    bits.ue("order bits");
    bits.ue("references");
    bits.u("gaps", 1);
    bits.ue("columns");
    bits.ue("rows");
    bits.u("frames only", 1);
    bits.u("direct", 1);
    assert_eq!(bits.u("crop", 1), 0);
    assert_eq!(bits.u("usability", 1), 1);
    assert_eq!(bits.u("aspect present", 1), 1);
    bits.u("aspect", 8);
    bits.u("overscan", 1);
    assert_eq!(bits.u("signal", 1), 0);
    bits.u("chroma place", 1);
    assert_eq!(bits.u("timing present", 1), 1);
    bits.u("units in tick", 32);
    bits.u("time scale", 32);
    bits.u("fixed rate", 1);
    bits.u("buffer models", 2);
    bits.u("picture struct", 1);
    bits
}

fn with_sps(parts: &mut Parts, changes: &[(&str, &str)]) {
    parts.edit_first(is_sps, |unit| {
        let mut bits = sps(unit);
        for (field, value) in changes {
            bits.set(field, value);
        }
        *unit = bits.unit();
    });
}

fn with_color(parts: &mut Parts, full_range: bool, codes: [u8; 3]) {
    with_sps(parts, &[("signal", &format!("1 101 {} {}", u8::from(full_range), colour(codes)))]);
}

/// Says primaries, curve and matrix.
fn colour(codes: [u8; 3]) -> String {
    let codes: String = codes.iter().map(|code| format!("{code:08b}")).collect();
    format!("1 {codes}")
}

/// Changes a field of the header of the first slice of a unit.
fn with_slice(parts: &mut Parts, index: usize, field: &str, value: &str) {
    let set = parts.video()[0].data.clone();
    let set = nal_units(&set).into_iter().find(|unit| is_sps(unit[0])).expect("a set");
    let mut set = Bits::of(&set, 1);
    set.u("fixed", 24);
    set.ues(&["id", "chroma", "luma", "chroma depth"]);
    set.u("flags", 2);
    let frame_num = set.ue("frame num bits") as usize + 4;
    set.ue("order type");
    let order = set.ue("order bits") as usize + 4;
    parts.edit(index, |units| {
        let slice = units.iter_mut().find(|unit| is_slice(unit[0])).expect("a slice");
        let mut bits = Bits::of(slice, 1);
        bits.ue("first");
        bits.ue("type");
        bits.ue("picture set");
        bits.u("frame num", frame_num);
        if slice[0] & 0x1f == 5 {
            bits.ue("idr");
            bits.u("order", order);
            bits.u("withholds", 1);
        }
        *slice = bits.set(field, value).unit();
    });
}

fn sei(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut unit = vec![6, number];
    unit.extend(vec![0xff; payload.len() / 255]);
    unit.push((payload.len() % 255) as u8);
    unit.extend(payload);
    unit.push(0x80);
    unit
}

/// Puts a unit before the slices of the third picture.
fn before_slices(parts: &mut Parts, unit: Vec<u8>) {
    parts.edit(2, |units| {
        let at = units.iter().position(|unit| is_slice(unit[0])).expect("a slice");
        units.insert(at, unit);
    });
}

fn after_slices(parts: &mut Parts, unit: Vec<u8>) {
    parts.edit(2, |units| units.push(unit));
}

fn first_unit(parts: &mut Parts, is: fn(u8) -> bool) -> Vec<u8> {
    let units = nal_units(&parts.video()[0].data);
    units.into_iter().find(|unit| is(unit[0])).expect("such a unit")
}

const HEADER_LIES: &[Lie] = &[
    ("high 10 profile", |p| with_sps(p, &[("profile", "01101110")]), &["profile_allowed"]),
    ("4:2:2", |p| with_sps(p, &[("chroma format", &ue(2))]), &["chroma_format"]),
    ("9 bits of luma", |p| with_sps(p, &[("luma depth", &ue(1))]), &["bit_depth"]),
    ("10 bits of chroma", |p| with_sps(p, &[("chroma depth", &ue(2))]), &["bit_depth"]),
    ("fields", |p| with_sps(p, &[("frames only", "0 0"), ("rows", &ue(5))]), &["interlaced"]),
    (
        "crop at the left",
        |p| with_sps(p, &[("columns", &ue(20)), ("crop", &["1", &ue(8), &ue(0), &ue(0), &ue(0)].concat())]),
        &["cropped_start"],
    ),
    (
        "crop at the top",
        |p| with_sps(p, &[("rows", &ue(12)), ("crop", &["1", &ue(0), &ue(0), &ue(8), &ue(0)].concat())]),
        &["cropped_start"],
    ),
    (
        "crop of a whole macroblock at the right",
        |p| with_sps(p, &[("columns", &ue(20)), ("crop", &["1", &ue(0), &ue(8), &ue(0), &ue(0)].concat())]),
        &["cropped_end"],
    ),
    ("overscan", |p| with_sps(p, &[("overscan", "11")]), &["trimmed"]),
    ("pixels twice as wide", |p| with_sps(p, &[("aspect", "00010000")]), &["aspect_permille"]),
    ("full range", |p| with_color(p, true, [2, 2, 2]), &["full_range"]),
    ("other primaries", |p| with_color(p, false, [9, 2, 2]), &["color_primaries"]),
    ("another curve", |p| with_color(p, false, [2, 16, 2]), &["color_transfer"]),
    ("another matrix", |p| with_color(p, false, [2, 2, 9]), &["color_matrix"]),
    ("another width", |p| with_sps(p, &[("columns", &ue(20))]), &["width", "pixels"]),
    ("another height", |p| with_sps(p, &[("rows", &ue(10))]), &["height", "pixels"]),
    ("sides swapped", |p| with_sps(p, &[("columns", &ue(11)), ("rows", &ue(19))]), &["width", "height"]),
    (
        "a sequence set that changes",
        |p| {
            let unit = first_unit(p, is_sps);
            let mut changed = sps(&unit);
            before_slices(p, changed.set("references", &ue(7)).unit());
        },
        &["sequence_sets"],
    ),
    (
        "a second picture set",
        |p| {
            let unit = first_unit(p, is_pps);
            let mut bits = Bits::of(&unit, 1);
            bits.ue("id");
            before_slices(p, bits.set("id", &ue(1)).unit());
        },
        &["picture_sets"],
    ),
    (
        "redundant pictures",
        |p| {
            p.edit_first(is_pps, |unit| {
                let mut bits = Bits::of(unit, 1);
                bits.ue("id");
                bits.ue("sequence");
                bits.u("coding", 2);
                bits.ue("groups");
                bits.ue("list 0");
                bits.ue("list 1");
                bits.u("weights", 3);
                bits.ues(&["qp", "qs", "chroma"]);
                bits.u("filter", 2);
                bits.u("redundant", 1);
                *unit = bits.set("redundant", "1").unit();
            });
        },
        &["ambiguous_sets"],
    ),
    (
        "slice groups",
        |p| {
            p.edit_first(is_pps, |unit| {
                let mut bits = Bits::of(unit, 1);
                bits.ue("id");
                bits.ue("sequence");
                bits.u("coding", 2);
                bits.ue("groups");
                *unit = bits.set("groups", &[ue(1), ue(0), ue(3), ue(3)].concat()).unit();
            });
        },
        &["ambiguous_sets"],
    ),
    ("a slice of another picture set", |p| with_slice(p, 5, "picture set", &ue(1)), &["orphaned_slices"]),
    (
        "pictures that are thrown away unseen",
        |p| with_slice(p, 0, "withholds", "1"),
        &["withholding_pictures"],
    ),
    (
        "pictures that are fields by message",
        |p| {
            with_sps(p, &[("picture struct", "1")]);
            before_slices(p, sei(1, &[0x10]));
        },
        &["field_messages"],
    ),
    ("display orientation", |p| before_slices(p, sei(47, &[0x20, 0, 0x40])), &["display_messages"]),
    ("frame packing", |p| before_slices(p, sei(45, &[0x81, 0x80, 0x40])), &["display_messages"]),
    ("freeze", |p| before_slices(p, sei(13, &[0x80])), &["display_messages"]),
    (
        "a message behind another",
        |p| before_slices(p, [&sei(5, &[7; 20])[..23], &sei(19, &[1, 2])[1..]].concat()),
        &["display_messages"],
    ),
    ("captions of its own", |p| before_slices(p, sei(4, b"\xb5\x00\x31GA94\x03")), &["foreign_messages"]),
    ("an unknown message", |p| before_slices(p, sei(200, &[1])), &["foreign_messages"]),
    ("a message cut off", |p| before_slices(p, vec![6, 5, 200, 1, 0x80]), &["foreign_messages"]),
    ("an auxiliary picture", |p| after_slices(p, vec![0x33, 0x88, 0x84]), &["foreign_units"]),
    ("a data partition", |p| after_slices(p, vec![0x22, 0x88, 0x84]), &["foreign_units"]),
    ("a layer of scalable video", |p| after_slices(p, vec![0x74, 0x40, 0x80, 1, 0x88]), &["foreign_units"]),
    ("a forbidden bit", |p| after_slices(p, vec![0x86, 5, 1, 1, 0x80]), &["foreign_units"]),
    ("a message behind the slices", |p| after_slices(p, sei(5, &[7; 20])), &["misplaced_units"]),
    ("a delimiter behind the slices", |p| after_slices(p, vec![9, 0xf0]), &["misplaced_units"]),
    ("a stream that ends and goes on", |p| after_slices(p, vec![10]), &["misplaced_units"]),
    (
        "bytes before the first start code",
        |p| {
            let data = &mut p.video()[3].data;
            data.splice(0..0, [1, 2, 3]);
        },
        &["stray_bytes"],
    ),
    (
        "bytes that end a unit for some decoders",
        |p| p.edit(4, |units| units.last_mut().expect("a unit").extend([0, 0, 2, 9])),
        &["stray_bytes"],
    ),
    (
        "two pictures in one unit and none in another",
        |p| {
            let mut moved = Vec::new();
            p.edit(4, |units| moved = units.extract_if(.., |unit| is_slice(unit[0])).collect());
            p.edit(3, |units| units.extend(moved));
        },
        &["uneven_units"],
    ),
    (
        "a picture twice",
        |p| {
            let again = p.video()[3].data.clone();
            p.video()[3].data.extend(again);
        },
        &["pictures", "uneven_units", "misplaced_units"],
    ),
    (
        "no refreshing picture at the start",
        |p| p.edit_first(|head| head & 0x1f == 5, |unit| unit[0] = 0x61),
        &["starts_with_idr"],
    ),
    ("long messages", |p| before_slices(p, sei(5, &[7; 40_000])), &["message_bytes"]),
    (
        "filler beyond the agreed rate",
        |p| after_slices(p, [vec![12], vec![0xff; 80_000], vec![0x80]].concat()),
        &["idle_bytes"],
    ),
    ("zeros between units", |p| p.video()[3].data.extend([0; 80_000]), &["idle_bytes"]),
    ("padding words in a slice", |p| p.video()[3].data.extend([0, 0, 3].repeat(30_000)), &["idle_bytes"]),
    (
        "far more than the agreed rate",
        |p| p.edit(3, |units| units.last_mut().expect("a unit").extend([7; 700_000])),
        &["video_bytes"],
    ),
];

#[test]
fn every_lie_of_the_headers_is_seen_by_the_check_that_is_there_for_it() {
    assert_each_is_seen(stage(), HEADER_LIES);
}

fn hevc_type(head: u8) -> u8 {
    head >> 1 & 0x3f
}

fn hevc_before_slices(parts: &mut Parts, unit: Vec<u8>) {
    parts.edit(2, |units| {
        let at = units.iter().position(|unit| is_hevc_slice(unit[0])).expect("a slice");
        units.insert(at, unit);
    });
}

fn hevc_pps(parts: &mut Parts, field: &str, value: &str) {
    parts.edit_first(
        |head| hevc_type(head) == 34,
        |unit| {
            let mut bits = Bits::of(unit, 2);
            bits.ue("id");
            bits.ue("sequence");
            bits.u("dependent", 1);
            bits.u("hidden", 1);
            bits.u("extra", 3);
            *unit = bits.set(field, value).unit();
        },
    );
}

/// The sequence parameter set that x265 writes in its main profile.
fn hevc_sps(unit: &[u8]) -> Bits {
    let mut bits = Bits::of(unit, 2);
    bits.u("video set", 4);
    assert_eq!(bits.u("layers", 3), 0);
    bits.u("nesting and tier", 4);
    assert_eq!(bits.u("profile", 5), 1);
    bits.u("compatibility", 32);
    bits.u("constraints", 48);
    bits.u("level", 8);
    bits.ue("id");
    bits.ue("chroma format");
    bits.ue("width");
    bits.ue("height");
    assert_eq!(bits.u("crop", 1), 0);
    bits.ue("luma depth");
    bits.ue("chroma depth");
    bits.ue("order bits");
    bits.u("every layer", 1);
    bits.ues(&["buffered", "reordered", "latency"]);
    bits.ues(&["smallest block", "block sizes", "smallest transform", "transform sizes"]);
    bits.ues(&["inter depth", "intra depth"]);
    assert_eq!(bits.u("scaling lists", 1), 0);
    bits.u("shapes and filter", 2);
    assert_eq!(bits.u("raw samples", 1), 0);
    assert_eq!(bits.ue("reference sets"), 0);
    assert_eq!(bits.u("long-term references", 1), 0);
    bits.u("motion and smoothing", 2);
    assert_eq!(bits.u("usability", 1), 1);
    assert_eq!(bits.u("aspect present", 1), 1);
    bits.u("aspect", 8);
    assert_eq!(bits.u("overscan", 1), 0);
    assert_eq!(bits.u("signal present", 1), 1);
    bits.u("format", 3);
    bits.u("full range", 1);
    assert_eq!(bits.u("colour", 1), 0);
    assert_eq!(bits.u("chroma place", 1), 0);
    bits.u("neutral chroma", 1);
    bits.u("fields", 1);
    bits.u("picture struct", 1);
    assert_eq!(bits.u("window", 1), 0);
    bits
}

fn with_hevc_sps(parts: &mut Parts, changes: &[(&str, &str)]) {
    parts.edit_first(
        |head| hevc_type(head) == 33,
        |unit| {
            let mut bits = hevc_sps(unit);
            for (field, value) in changes {
                bits.set(field, value);
            }
            *unit = bits.unit();
        },
    );
}

/// Codes more than is shown: `crop` pixels, halved, on each side.
fn with_hevc_crop(parts: &mut Parts, (width, height): (u32, u32), crop: [u32; 4]) {
    let crop = ["1".to_owned()].into_iter().chain(crop.map(ue)).collect::<String>();
    with_hevc_sps(parts, &[("width", &ue(width)), ("height", &ue(height)), ("crop", &crop)]);
}

fn with_hevc_color(parts: &mut Parts, full_range: bool, codes: [u8; 3]) {
    let range = u8::from(full_range).to_string();
    with_hevc_sps(parts, &[("full range", &range), ("colour", &colour(codes))]);
}

fn hevc_sei(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x4e, 1], &sei(number, payload)[1..]].concat()
}

fn hevc_after_slices(parts: &mut Parts, unit: Vec<u8>) {
    parts.edit(2, |units| units.push(unit));
}

fn is_hevc_slice(head: u8) -> bool {
    hevc_type(head) < 22
}

const HEVC_LIES: &[Lie] = &[
    (
        "a video set that changes",
        |p| {
            let unit = first_unit(p, |head| hevc_type(head) == 32);
            let mut bits = Bits::of(&unit, 2);
            bits.u("id", 4);
            hevc_before_slices(p, bits.set("id", "0001").unit());
        },
        &["video_sets"],
    ),
    ("range extensions", |p| with_hevc_sps(p, &[("profile", "00100")]), &["profile_allowed"]),
    ("4:2:2", |p| with_hevc_sps(p, &[("chroma format", &ue(2))]), &["chroma_format"]),
    ("10 bits of luma", |p| with_hevc_sps(p, &[("luma depth", &ue(2))]), &["bit_depth"]),
    ("9 bits of chroma", |p| with_hevc_sps(p, &[("chroma depth", &ue(1))]), &["bit_depth"]),
    ("fields", |p| with_hevc_sps(p, &[("fields", "1")]), &["interlaced"]),
    ("crop at the left", |p| with_hevc_crop(p, (336, 192), [8, 0, 0, 0]), &["cropped_start"]),
    ("crop at the top", |p| with_hevc_crop(p, (320, 208), [0, 0, 8, 0]), &["cropped_start"]),
    (
        "crop of a whole block at the right",
        |p| with_hevc_crop(p, (384, 192), [0, 32, 0, 0]),
        &["cropped_end"],
    ),
    (
        "crop of a whole block at the bottom",
        |p| with_hevc_crop(p, (320, 256), [0, 0, 0, 32]),
        &["cropped_end"],
    ),
    ("overscan", |p| with_hevc_sps(p, &[("overscan", "11")]), &["trimmed"]),
    (
        "a window to be shown by default",
        |p| with_hevc_sps(p, &[("window", &["1", &ue(0), &ue(4), &ue(0), &ue(0)].concat())]),
        &["trimmed"],
    ),
    ("pixels twice as wide", |p| with_hevc_sps(p, &[("aspect", "00010000")]), &["aspect_permille"]),
    ("full range", |p| with_hevc_color(p, true, [2, 2, 2]), &["full_range"]),
    ("other primaries", |p| with_hevc_color(p, false, [9, 2, 2]), &["color_primaries"]),
    ("another curve", |p| with_hevc_color(p, false, [2, 16, 2]), &["color_transfer"]),
    ("another matrix", |p| with_hevc_color(p, false, [2, 2, 9]), &["color_matrix"]),
    ("another width", |p| with_hevc_sps(p, &[("width", &ue(336))]), &["width", "pixels"]),
    ("another height", |p| with_hevc_sps(p, &[("height", &ue(176))]), &["height", "pixels"]),
    (
        "sides swapped",
        |p| with_hevc_sps(p, &[("width", &ue(192)), ("height", &ue(320))]),
        &["width", "height"],
    ),
    (
        "a sequence set that changes",
        |p| {
            let unit = first_unit(p, |head| hevc_type(head) == 33);
            let mut changed = hevc_sps(&unit);
            hevc_before_slices(p, changed.set("latency", &ue(7)).unit());
        },
        &["sequence_sets"],
    ),
    (
        "a second picture set",
        |p| {
            let unit = first_unit(p, |head| hevc_type(head) == 34);
            let mut bits = Bits::of(&unit, 2);
            bits.ue("id");
            hevc_before_slices(p, bits.set("id", &ue(1)).unit());
        },
        &["picture_sets"],
    ),
    ("no video set", |p| p.edit(0, |units| units.retain(|unit| hevc_type(unit[0]) != 32)), &["video_sets"]),
    ("pictures that are not shown", |p| hevc_pps(p, "hidden", "1"), &["ambiguous_sets"]),
    ("bits that nobody knows", |p| hevc_pps(p, "extra", "001"), &["ambiguous_sets"]),
    (
        "pictures that are thrown away unseen",
        |p| {
            p.edit_first(
                |head| (16..=23).contains(&hevc_type(head)),
                |unit| {
                    let mut bits = Bits::of(unit, 2);
                    bits.u("first", 1);
                    bits.u("withholds", 1);
                    *unit = bits.set("withholds", "1").unit();
                },
            );
        },
        &["withholding_pictures"],
    ),
    ("a second layer", |p| p.edit(2, |units| units.push(vec![0x02, 0x09, 0xd0])), &["foreign_units"]),
    ("a reserved unit", |p| p.edit(2, |units| units.push(vec![0x60, 0x01, 0xd0])), &["foreign_units"]),
    (
        "display orientation",
        |p| hevc_before_slices(p, vec![0x4e, 1, 47, 3, 0x20, 0x11, 0x40, 0x80]),
        &["display_messages"],
    ),
    (
        "an unknown message behind the slices",
        |p| p.edit(2, |units| units.push(vec![0x50, 1, 201, 1, 7, 0x80])),
        &["foreign_messages"],
    ),
    (
        "a message of before behind",
        |p| p.edit(2, |units| units.push(vec![0x4e, 1, 5, 1, 7, 0x80])),
        &["misplaced_units"],
    ),
    (
        "a slice of another picture set",
        |p| {
            p.edit(3, |units| {
                let slice = units.iter_mut().find(|unit| hevc_type(unit[0]) < 10).expect("a slice");
                let mut bits = Bits::of(slice, 2);
                bits.u("first", 1);
                bits.ue("picture set");
                *slice = bits.set("picture set", &ue(2)).unit();
            });
        },
        &["orphaned_slices"],
    ),
    (
        "pictures that are fields by message",
        |p| {
            with_hevc_sps(p, &[("picture struct", "1")]);
            hevc_before_slices(p, hevc_sei(1, &[0x10]));
        },
        &["field_messages"],
    ),
    (
        "captions of its own",
        |p| hevc_before_slices(p, hevc_sei(4, b"\xb5\x00\x31GA94\x03")),
        &["foreign_messages"],
    ),
    ("a message cut off", |p| hevc_before_slices(p, vec![0x4e, 1, 5, 200, 1, 0x80]), &["foreign_messages"]),
    ("a forbidden bit", |p| hevc_after_slices(p, vec![0xd0, 1, 5, 1, 1, 0x80]), &["foreign_units"]),
    (
        "a unit of no temporal layer",
        |p| hevc_after_slices(p, vec![0x50, 0, 5, 1, 1, 0x80]),
        &["foreign_units"],
    ),
    ("a delimiter behind the slices", |p| hevc_after_slices(p, vec![0x46, 1, 0x50]), &["misplaced_units"]),
    ("a stream that ends and goes on", |p| hevc_after_slices(p, vec![0x48, 1]), &["misplaced_units"]),
    (
        "bytes before the first start code",
        |p| {
            let data = &mut p.video()[3].data;
            data.splice(0..0, [1, 2, 3]);
        },
        &["stray_bytes"],
    ),
    (
        "two pictures in one unit and none in another",
        |p| {
            let mut moved = Vec::new();
            p.edit(4, |units| moved = units.extract_if(.., |unit| is_hevc_slice(unit[0])).collect());
            p.edit(3, |units| units.extend(moved));
        },
        &["uneven_units"],
    ),
    (
        "no refreshing picture at the start",
        // A clean random access, whose leading pictures may be dropped.
        |p| p.edit_first(|head| matches!(hevc_type(head), 19 | 20), |unit| unit[0] = 0x2a),
        &["starts_with_idr"],
    ),
    ("long messages", |p| hevc_before_slices(p, hevc_sei(5, &[7; 40_000])), &["message_bytes"]),
    (
        "filler beyond the agreed rate",
        |p| hevc_after_slices(p, [vec![0x4c, 1], vec![0xff; 80_000], vec![0x80]].concat()),
        &["idle_bytes"],
    ),
    (
        "far more than the agreed rate",
        |p| p.edit(3, |units| units.last_mut().expect("a unit").extend([7; 700_000])),
        &["video_bytes"],
    ),
];

#[test]
fn every_lie_of_hevc_headers_is_seen_by_the_check_that_is_there_for_it() {
    assert_each_is_seen(hevc_stage(), HEVC_LIES);
}

#[test]
fn every_check_of_the_structure_has_a_lie() {
    let headers = HEADER_LIES.iter().chain(HEVC_LIES).flat_map(|(_, _, checks)| checks.iter().copied());
    let seen: HashSet<&str> = container::seen().chain(headers).collect();
    let checks = [stage(), hevc_stage()].map(|stage| stage.judged(&[("nothing", |_| {}, &[])]));
    let names = checks.iter().flatten().flat_map(|(_, report)| &report.checks).map(|check| check.name);
    // Whatever cannot be read has lies of its own.
    let missing: Vec<_> = names.filter(|name| !seen.contains(name) && *name != "transport_stream").collect();
    assert!(missing.is_empty(), "nothing breaks {missing:?}");
}
