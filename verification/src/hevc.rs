//! Parameter sets and slice headers of HEVC (ITU-T H.265, 7.3.2 and 7.3.6), as far as a strict reader needs them.

use crate::bits::BitReader;
use crate::sequence::{Color, PictureSet, PictureStruct, Sequence, Slice, SliceSyntax, Usability, shown};

/// Largest side that any level allows, with room.
const MAX_SIDE: u32 = 1 << 15;
/// Most sets of short-term references of a sequence.
const MAX_REFERENCE_SETS: u32 = 64;
/// Most pictures of such a set, in either direction.
const MAX_REFERENCES: u32 = 16;
/// Most long-term references of a sequence.
const MAX_LONG_TERM: u32 = 32;

/// Reads a sequence parameter set behind its two header bytes.
pub(crate) fn sequence(payload: &[u8]) -> Option<Sequence> {
    let mut bits = BitReader::new(payload);
    bits.skip(4)?;
    let layers = bits.bits(3).filter(|&layers| layers < 7)?;
    bits.skip(1)?;
    let profile = profile(&mut bits, layers)?;
    let id = bits.ue_up_to(15)?;
    let chroma_format = bits.ue_up_to(3)?;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let coded = (bits.ue_up_to(MAX_SIDE)?, bits.ue_up_to(MAX_SIDE)?);
    let crop = window(&mut bits, chroma_format)?;
    let depth = 8 + bits.ue_up_to(8)?.max(bits.ue_up_to(8)?);
    coding_tools(&mut bits, layers)?;
    let usability = if bits.flag()? { Some(usability(&mut bits, chroma_format)?) } else { None };
    let (aspect, color, fields, trimmed, picture_struct) =
        usability.unwrap_or(((1, 1), Color::default(), false, false, None));
    Some(Sequence {
        profile,
        width: shown(coded.0, crop[0], crop[1])?,
        height: shown(coded.1, crop[2], crop[3])?,
        crop,
        chroma_format,
        depth,
        interlaced: fields,
        aspect,
        color,
        trimmed,
        id,
        syntax: SliceSyntax::default(),
        picture_struct,
    })
}

/// The general profile; passes over everything else that is said of profiles and levels.
fn profile(bits: &mut BitReader<'_>, layers: u32) -> Option<u32> {
    bits.skip(3)?;
    let profile = bits.bits(5)?;
    bits.skip(32 + 48 + 8)?;
    let mut present = Vec::with_capacity(layers as usize);
    for _ in 0..layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers))?;
    }
    for (profile, level) in present {
        bits.skip(88 * u32::from(profile) + 8 * u32::from(level))?;
    }
    Some(profile)
}

/// Pixels cut off on each side.
fn window(bits: &mut BitReader<'_>, chroma_format: u32) -> Option<[u32; 4]> {
    if !bits.flag()? {
        return Some([0; 4]);
    }
    let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
    let down = if chroma_format == 1 { 2 } else { 1 };
    let mut side = |unit: u32| bits.ue()?.checked_mul(unit);
    Some([side(across)?, side(across)?, side(down)?, side(down)?])
}

/// Passes over everything between the depth and the usability information.
fn coding_tools(bits: &mut BitReader<'_>, layers: u32) -> Option<()> {
    let order_bits = bits.ue_up_to(12)? + 4;
    let every_layer = bits.flag()?;
    bits.skip_ue(3 * if every_layer { layers + 1 } else { 1 })?;
    bits.skip_ue(6)?;
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.skip_ue(2)?;
        bits.skip(1)?;
    }
    reference_sets(bits)?;
    if bits.flag()? {
        let count = bits.ue_up_to(MAX_LONG_TERM)?;
        bits.skip(count * (order_bits + 1))?;
    }
    bits.skip(2)
}

fn scaling_lists(bits: &mut BitReader<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.skip_ue(1)?;
                continue;
            }
            bits.skip_ue(u32::from(size > 1) + 64.min(1 << (4 + 2 * size)))?;
        }
    }
    Some(())
}

fn reference_sets(bits: &mut BitReader<'_>) -> Option<()> {
    let mut before = 0;
    for index in 0..bits.ue_up_to(MAX_REFERENCE_SETS)? {
        before = if index > 0 && bits.flag()? { predicted_set(bits, before)? } else { plain_set(bits)? };
    }
    Some(())
}

/// Pictures of a set that is told as a difference to the one before.
fn predicted_set(bits: &mut BitReader<'_>, before: u32) -> Option<u32> {
    bits.skip(1)?;
    bits.skip_ue(1)?;
    let mut count = 0;
    for _ in 0..=before {
        let kept = bits.flag()? || bits.flag()?;
        count += u32::from(kept);
    }
    Some(count).filter(|&count| count <= 2 * MAX_REFERENCES)
}

fn plain_set(bits: &mut BitReader<'_>) -> Option<u32> {
    let count = bits.ue_up_to(MAX_REFERENCES)? + bits.ue_up_to(MAX_REFERENCES)?;
    for _ in 0..count {
        bits.skip_ue(1)?;
        bits.skip(1)?;
    }
    Some(count)
}

type Shown = ((u32, u32), Color, bool, bool, Option<PictureStruct>);

fn usability(bits: &mut BitReader<'_>, chroma_format: u32) -> Option<Shown> {
    let common = Usability::read(bits)?;
    bits.skip(1)?;
    let fields = bits.flag()?;
    let picture_struct = bits.flag()?.then_some(PictureStruct { skip: 0 });
    let trimmed = common.overscan || window(bits, chroma_format)? != [0; 4];
    Some((common.aspect, common.color, fields, trimmed, picture_struct))
}

/// Reads a picture parameter set behind its two header bytes.
pub(crate) fn picture_set(payload: &[u8]) -> Option<PictureSet> {
    let mut bits = BitReader::new(payload);
    let id = bits.ue_up_to(63)?;
    let sequence = bits.ue_up_to(15)?;
    bits.skip(1)?;
    let may_hide = bits.flag()?;
    let unknown_bits = bits.bits(3)? > 0;
    Some(PictureSet { id, sequence, order_bottom: false, ambiguous: may_hide || unknown_bits })
}

/// Reads a slice header behind its two header bytes.
pub(crate) fn slice(unit_type: u8, payload: &[u8]) -> Option<Slice> {
    let mut bits = BitReader::new(payload);
    let first = bits.flag()?;
    let withholds = (16..=23).contains(&unit_type) && bits.flag()?;
    Some(Slice { first, picture_set: bits.ue_up_to(63)?, withholds })
}
