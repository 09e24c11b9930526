//! What a sequence parameter set promises, alike for H.264 and HEVC.

use crate::bits::BitReader;

/// What the numbers of a pixel mean, as ISO/IEC 23091-2 numbers it. 2 stands for "not said".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    /// Luma of 0 to 255 and not of 16 to 235.
    pub full_range: bool,
    /// `ColourPrimaries`
    pub primaries: u32,
    /// `TransferCharacteristics`
    pub transfer: u32,
    /// `MatrixCoefficients`
    pub matrix: u32,
}

impl Default for Color {
    fn default() -> Self {
        Self { full_range: false, primaries: 2, transfer: 2, matrix: 2 }
    }
}

impl Color {
    /// The same with one number for each meaning: the standard gives some curves and matrices several, and numbers that
    /// it reserves say nothing.
    #[must_use]
    pub fn canonical(self) -> Self {
        Self {
            full_range: self.full_range,
            primaries: match self.primaries {
                // SMPTE 240M has the primaries of SMPTE 170M.
                7 => 6,
                known @ (1 | 4..=12 | 22) => known,
                _ => 2,
            },
            transfer: match self.transfer {
                // BT.601, BT.2020 of 10 and of 12 bits use the curve of BT.709.
                6 | 14 | 15 => 1,
                known @ (1 | 4..=18) => known,
                _ => 2,
            },
            matrix: match self.matrix {
                // BT.470 BG and SMPTE 170M.
                5 => 6,
                known @ (0 | 1 | 4..=17) => known,
                _ => 2,
            },
        }
    }
}

/// A sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// `profile_idc`, in HEVC the general one.
    pub profile: u32,
    /// Width of the picture shown.
    pub width: u32,
    /// Height of the picture shown.
    pub height: u32,
    /// Pixels that are coded and not shown: left, right, top, bottom.
    pub crop: [u32; 4],
    /// `chroma_format_idc`: 1 for 4:2:0.
    pub chroma_format: u32,
    /// Bits of a sample, of luma or chroma whichever has more.
    pub depth: u32,
    /// Whether fields may be coded or pictures are fields.
    pub interlaced: bool,
    /// Shape of a pixel, `(1, 1)` where it is not said.
    pub aspect: (u32, u32),
    /// Range, matrix, primaries and curve.
    pub color: Color,
    /// Whether players are asked to show less than the picture: overscan, or a default display window.
    pub trimmed: bool,
    pub(crate) id: u32,
    pub(crate) syntax: SliceSyntax,
    pub(crate) picture_struct: Option<PictureStruct>,
}

/// What must be known to read the slice headers of refreshing pictures of H.264.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SliceSyntax {
    pub(crate) frame_num_bits: u32,
    /// Whether slices say if they are of a field.
    pub(crate) fields: bool,
    /// Bits of the picture order, none where its type is not 0.
    pub(crate) order_bits: Option<u32>,
    /// Whether slices carry differences of the picture order: type 1.
    pub(crate) order_deltas: bool,
}

/// Where a picture timing message says whether a picture is a frame or a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureStruct {
    /// Bits before it.
    pub(crate) skip: u32,
}

/// What matters of a picture parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureSet {
    pub(crate) id: u32,
    pub(crate) sequence: u32,
    /// Whether slices of H.264 carry another difference of the picture order.
    pub(crate) order_bottom: bool,
    /// Whether it allows pictures, or parts of them, that some decoders show and others do not: redundant pictures,
    /// slice groups, pictures that are not put out, header bits that nobody knows.
    pub(crate) ambiguous: bool,
}

/// What matters of a slice header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// Whether it starts a picture.
    pub(crate) first: bool,
    /// The picture parameter set it refers to.
    pub(crate) picture_set: u32,
    /// Whether a refreshing picture tells decoders to throw away what they have not shown yet.
    pub(crate) withholds: bool,
}

/// `sample_aspect_ratio` by its number, table E-1 of both standards.
const ASPECTS: [(u32, u32); 17] = [
    (1, 1),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
const EXTENDED_ASPECT: u32 = 255;

/// The part of the usability information with which both standards begin.
pub(crate) struct Usability {
    pub(crate) aspect: (u32, u32),
    pub(crate) overscan: bool,
    pub(crate) color: Color,
}

impl Usability {
    pub(crate) fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let mut aspect = (1, 1);
        if bits.flag()? {
            let number = bits.bits(8)?;
            aspect = match number {
                EXTENDED_ASPECT => (bits.bits(16)?, bits.bits(16)?),
                _ => *ASPECTS.get(number as usize)?,
            };
            if aspect.0 == 0 || aspect.1 == 0 {
                aspect = (1, 1);
            }
        }
        let overscan = bits.flag()? && bits.flag()?;
        let mut color = Color::default();
        if bits.flag()? {
            bits.skip(3)?;
            color.full_range = bits.flag()?;
            if bits.flag()? {
                color.primaries = bits.bits(8)?;
                color.transfer = bits.bits(8)?;
                color.matrix = bits.bits(8)?;
            }
        }
        // Where chroma samples lie.
        if bits.flag()? {
            bits.skip_ue(2)?;
        }
        Some(Self { aspect, overscan, color })
    }
}

/// Subtracts the cropped pixels; `None` where nothing is left.
pub(crate) fn shown(coded: u32, first: u32, last: u32) -> Option<u32> {
    coded.checked_sub(first.checked_add(last)?).filter(|&shown| shown > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_meaning_are_one_and_reserved_ones_say_nothing() {
        let color =
            |primaries, transfer, matrix| Color { full_range: true, primaries, transfer, matrix }.canonical();
        assert_eq!(color(7, 14, 5), color(6, 1, 6));
        assert_eq!(color(0, 3, 3), color(2, 2, 2));
        assert_ne!(color(1, 16, 9), color(9, 1, 1));
    }
}
