//! Parameter sets and slice headers of H.264 (ITU-T H.264, 7.3.2 and 7.3.3), as far as a strict reader needs them.

use crate::bits::BitReader;
use crate::sequence::{Color, PictureSet, PictureStruct, Sequence, Slice, SliceSyntax, Usability, shown};

/// Profiles whose sequence parameter set says chroma format and depth.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Largest side that any level allows, in macroblocks.
const MAX_SIDE: u32 = 1055;
/// Pixels of a macroblock's side.
const MACROBLOCK: u32 = 16;
/// Most frames in a cycle of picture orders of type 1.
const MAX_ORDER_CYCLE: u32 = 255;
/// Most schedules of the model of a decoder's buffer.
const MAX_SCHEDULES: u32 = 31;

/// Reads a sequence parameter set behind its header byte.
pub(crate) fn sequence(payload: &[u8]) -> Option<Sequence> {
    let mut bits = BitReader::new(payload);
    let profile = bits.bits(8)?;
    bits.skip(16)?;
    let id = bits.ue_up_to(31)?;
    let (chroma_format, depth) = if HIGH_PROFILES.contains(&profile) { formats(&mut bits)? } else { (1, 8) };
    let mut syntax = slice_syntax(&mut bits)?;
    bits.skip_ue(1)?;
    bits.skip(1)?;
    let columns = bits.ue_up_to(MAX_SIDE)? + 1;
    let rows = bits.ue_up_to(MAX_SIDE)? + 1;
    let frames_only = bits.flag()?;
    syntax.fields = !frames_only;
    bits.skip(if frames_only { 1 } else { 2 })?;
    let field_factor = if frames_only { 1 } else { 2 };
    let (width, height) = (columns * MACROBLOCK, rows * MACROBLOCK * field_factor);
    let crop = crop(&mut bits, chroma_format, field_factor)?;
    let usability = if bits.flag()? { Some(usability(&mut bits)?) } else { None };
    let (aspect, color, trimmed, picture_struct) =
        usability.unwrap_or(((1, 1), Color::default(), false, None));
    Some(Sequence {
        profile,
        width: shown(width, crop[0], crop[1])?,
        height: shown(height, crop[2], crop[3])?,
        crop,
        chroma_format,
        depth,
        interlaced: !frames_only,
        aspect,
        color,
        trimmed,
        id,
        syntax,
        picture_struct,
    })
}

/// Chroma format and depth.
fn formats(bits: &mut BitReader<'_>) -> Option<(u32, u32)> {
    let chroma_format = bits.ue_up_to(3)?;
    if chroma_format == 3 {
        bits.skip(1)?;
    }
    let depth = 8 + bits.ue_up_to(6)?.max(bits.ue_up_to(6)?);
    bits.skip(1)?;
    if bits.flag()? {
        let lists = if chroma_format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((chroma_format, depth))
}

fn scaling_list(bits: &mut BitReader<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn slice_syntax(bits: &mut BitReader<'_>) -> Option<SliceSyntax> {
    let frame_num_bits = bits.ue_up_to(12)? + 4;
    let mut syntax = SliceSyntax { frame_num_bits, ..SliceSyntax::default() };
    match bits.ue_up_to(2)? {
        0 => syntax.order_bits = Some(bits.ue_up_to(12)? + 4),
        1 => {
            syntax.order_deltas = !bits.flag()?;
            bits.skip_ue(2)?;
            let cycle = bits.ue_up_to(MAX_ORDER_CYCLE)?;
            bits.skip_ue(cycle)?;
        }
        _ => {}
    }
    Some(syntax)
}

/// Pixels cut off on each side.
fn crop(bits: &mut BitReader<'_>, chroma_format: u32, field_factor: u32) -> Option<[u32; 4]> {
    if !bits.flag()? {
        return Some([0; 4]);
    }
    let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
    let down = if chroma_format == 1 { 2 } else { 1 } * field_factor;
    let mut side = |unit: u32| bits.ue()?.checked_mul(unit);
    Some([side(across)?, side(across)?, side(down)?, side(down)?])
}

type Shown = ((u32, u32), Color, bool, Option<PictureStruct>);

fn usability(bits: &mut BitReader<'_>) -> Option<Shown> {
    let common = Usability::read(bits)?;
    if bits.flag()? {
        bits.skip(65)?;
    }
    let mut delays = None;
    for _ in 0..2 {
        if bits.flag()? {
            delays = Some(buffer_model(bits)?);
        }
    }
    if delays.is_some() {
        bits.skip(1)?;
    }
    let picture_struct = bits.flag()?.then_some(PictureStruct { skip: delays.unwrap_or(0) });
    Some((common.aspect, common.color, common.overscan, picture_struct))
}

/// Bits that the model's delays take in a picture timing message.
fn buffer_model(bits: &mut BitReader<'_>) -> Option<u32> {
    let schedules = bits.ue_up_to(MAX_SCHEDULES)? + 1;
    bits.skip(8)?;
    for _ in 0..schedules {
        bits.skip_ue(2)?;
        bits.skip(1)?;
    }
    bits.skip(5)?;
    let removal = bits.bits(5)? + 1;
    let output = bits.bits(5)? + 1;
    bits.skip(5)?;
    Some(removal + output)
}

/// Reads a picture parameter set behind its header byte.
pub(crate) fn picture_set(payload: &[u8]) -> Option<PictureSet> {
    let mut bits = BitReader::new(payload);
    let id = bits.ue_up_to(255)?;
    let sequence = bits.ue_up_to(31)?;
    bits.skip(1)?;
    let order_bottom = bits.flag()?;
    let slice_groups = bits.ue()? > 0;
    if slice_groups {
        return Some(PictureSet { id, sequence, order_bottom, ambiguous: true });
    }
    bits.skip_ue(2)?;
    bits.skip(3)?;
    bits.skip_ue(3)?;
    bits.skip(2)?;
    let redundant_pictures = bits.flag()?;
    Some(PictureSet { id, sequence, order_bottom, ambiguous: redundant_pictures })
}

/// Reads a slice header behind its header byte `head`.
pub(crate) fn slice(head: u8, payload: &[u8], sets: Option<(&SliceSyntax, &PictureSet)>) -> Option<Slice> {
    let mut bits = BitReader::new(payload);
    let first = bits.ue()? == 0;
    bits.skip_ue(1)?;
    let picture_set = bits.ue_up_to(255)?;
    let refreshes = head & 0x1f == 5;
    let withholds = match sets {
        Some((syntax, set)) if refreshes => withholds(&mut bits, syntax, set)?,
        _ => false,
    };
    Some(Slice { first, picture_set, withholds })
}

/// `no_output_of_prior_pics_flag` of a refreshing picture, whose slices refer to no others.
fn withholds(bits: &mut BitReader<'_>, syntax: &SliceSyntax, set: &PictureSet) -> Option<bool> {
    bits.skip(syntax.frame_num_bits)?;
    let field = syntax.fields && bits.flag()?;
    bits.skip(u32::from(field))?;
    bits.skip_ue(1)?;
    let bottom = u32::from(set.order_bottom && !field);
    if let Some(order_bits) = syntax.order_bits {
        bits.skip(order_bits)?;
        bits.skip_ue(bottom)?;
    } else if syntax.order_deltas {
        bits.skip_ue(1 + bottom)?;
    }
    bits.flag()
}
