//! The loops for NEON. What runs over cells rather than samples is the scalar code: every machine of this kind has NEON, so
//! the compiler makes what it can of it.

use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, uint32x4_t, vaddvq_s32, vaddw_high_u8, vaddw_high_u16, vaddw_u8, vaddw_u16,
    vdupq_n_s32, vdupq_n_u16, vdupq_n_u32, vget_low_s16, vget_low_u8, vget_low_u16, vld1q_s16, vld1q_u8,
    vld1q_u16, vmlal_high_s16, vmlal_s16, vmlaq_n_u16, vmlaq_n_u32, vmovl_high_u8, vmovl_high_u16, vmovl_u8,
    vmovl_u16, vmulq_n_u16, vmulq_n_u32, vpadalq_u8, vpaddlq_u16, vpaddq_u32, vreinterpretq_s16_u16,
    vreinterpretq_u16_u8, vst1q_u16, vst1q_u32,
};

pub(super) use super::scalar::{
    divide, haar, moments, roughness, square_error, sum_abs_diff, sum_chunks, sum_parts,
};
use super::{Band, Window, scalar, starts};

/// Bytes of a register.
const LANE: usize = 16;

/// Strips that are summed at once: as many as keep the adders busy.
const STRIPS: usize = 4;

/// Rows of which two neighbouring 8-bit samples add up to 16 bits.
const PAIR_ROWS: usize = 128;

#[target_feature(enable = "neon")]
pub(super) fn sum_columns(band: &Band<'_>, out: &mut [u16]) {
    if band.width < LANE || band.sample_bytes != 1 {
        return scalar::sum_columns(band, out);
    }
    let (groups, singles) = starts(band.width, LANE, STRIPS);
    for x in groups {
        for (at, sums) in (x..).step_by(LANE).zip(columns::<STRIPS>(band, x)) {
            store_columns(&mut out[at..at + LANE], sums);
        }
    }
    for x in singles {
        let [sums] = columns(band, x);
        store_columns(&mut out[x..x + LANE], sums);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_columns(out: &mut [u16], [left, right]: [uint16x8_t; 2]) {
    let (low, high) = out.split_at_mut(LANE / 2);
    store_16(low, left);
    store_16(high, right);
}

/// Sums of the columns of neighbouring strips of 16 samples of 8 bits.
#[inline]
#[target_feature(enable = "neon")]
fn columns<const N: usize>(band: &Band<'_>, x: usize) -> [[uint16x8_t; 2]; N] {
    let mut sums = [[vdupq_n_u16(0); 2]; N];
    let (rows, own) = band.rows_from(x);
    for row in rows {
        let row = &row[..N * LANE];
        for ([left, right], row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *left = vaddw_u8(*left, vget_low_u8(row));
            *right = vaddw_high_u8(*right, row);
        }
    }
    if band.between != 1 {
        for sum in sums.iter_mut().flatten() {
            *sum = vmulq_n_u16(*sum, band.between as u16);
        }
    }
    for (row, weight) in own {
        let Some(row) = row else { continue };
        for ([left, right], row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *left = vmlaq_n_u16(*left, vmovl_u8(vget_low_u8(row)), weight as u16);
            *right = vmlaq_n_u16(*right, vmovl_high_u8(row), weight as u16);
        }
    }
    sums
}

#[target_feature(enable = "neon")]
pub(super) fn sum_wide(band: &Band<'_>, out: &mut [u32]) {
    if 2 * band.width < LANE || band.sample_bytes != 2 {
        return scalar::sum_wide(band, out);
    }
    let (groups, singles) = starts(2 * band.width, LANE, STRIPS);
    for x in groups {
        for (at, sums) in (x..).step_by(LANE).zip(wide_columns::<STRIPS>(band, x)) {
            store_wide(&mut out[at / 2..at / 2 + LANE / 2], sums);
        }
    }
    for x in singles {
        let [sums] = wide_columns(band, x);
        store_wide(&mut out[x / 2..x / 2 + LANE / 2], sums);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_wide(out: &mut [u32], [left, right]: [uint32x4_t; 2]) {
    let (low, high) = out.split_at_mut(LANE / 4);
    store_32(low, left);
    store_32(high, right);
}

/// Sums of the columns of neighbouring strips of 8 samples of 16 bits.
#[inline]
#[target_feature(enable = "neon")]
fn wide_columns<const N: usize>(band: &Band<'_>, x: usize) -> [[uint32x4_t; 2]; N] {
    let mut sums = [[vdupq_n_u32(0); 2]; N];
    let (rows, own) = band.rows_from(x);
    for row in rows {
        let row = &row[..N * LANE];
        for ([left, right], row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = vreinterpretq_u16_u8(load(row));
            *left = vaddw_u16(*left, vget_low_u16(row));
            *right = vaddw_high_u16(*right, row);
        }
    }
    if band.between != 1 {
        for sum in sums.iter_mut().flatten() {
            *sum = vmulq_n_u32(*sum, band.between);
        }
    }
    for (row, weight) in own {
        let Some(row) = row else { continue };
        for ([left, right], row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = vreinterpretq_u16_u8(load(row));
            *left = vmlaq_n_u32(*left, vmovl_u16(vget_low_u16(row)), weight);
            *right = vmlaq_n_u32(*right, vmovl_high_u16(row), weight);
        }
    }
    sums
}

#[target_feature(enable = "neon")]
pub(super) fn sum_quads(band: &Band<'_>, out: &mut [u32]) {
    match band.sample_bytes {
        2 if 2 * band.width >= 2 * LANE => wide_quads(band, out),
        2 => scalar::sum_wide_quads(band, out),
        _ if band.width < LANE => scalar::sum_quads(band, out),
        _ if band.is_plain() && band.rows <= PAIR_ROWS => plain_quads(band, out),
        _ => weighted_quads(band, out),
    }
}

/// Of rows that count as they are: neighbours are added as they are read.
#[inline]
#[target_feature(enable = "neon")]
fn plain_quads(band: &Band<'_>, out: &mut [u32]) {
    let (groups, singles) = starts(band.width, LANE, STRIPS);
    for x in groups {
        for (at, sums) in (x..).step_by(LANE).zip(pairs::<STRIPS>(band, x)) {
            store_32(&mut out[at / 4..at / 4 + 4], vpaddlq_u16(sums));
        }
    }
    for x in singles {
        let [sums] = pairs(band, x);
        store_32(&mut out[x / 4..x / 4 + 4], vpaddlq_u16(sums));
    }
}

/// Sums of every two columns of neighbouring strips of 16 samples of 8 bits.
#[inline]
#[target_feature(enable = "neon")]
fn pairs<const N: usize>(band: &Band<'_>, x: usize) -> [uint16x8_t; N] {
    let mut sums = [vdupq_n_u16(0); N];
    for row in band.data[x..].chunks(band.stride) {
        let row = &row[..N * LANE];
        for (sum, row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            *sum = vpadalq_u8(*sum, load(row));
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "neon")]
fn weighted_quads(band: &Band<'_>, out: &mut [u32]) {
    let (groups, last) = starts(band.width, LANE, 1);
    for x in groups.chain(last) {
        let [[left, right]] = columns(band, x);
        store_32(&mut out[x / 4..x / 4 + 4], vpaddq_u32(vpaddlq_u16(left), vpaddlq_u16(right)));
    }
}

/// Of 16-bit samples, two registers of them at a time.
#[inline]
#[target_feature(enable = "neon")]
fn wide_quads(band: &Band<'_>, out: &mut [u32]) {
    let (groups, last) = starts(2 * band.width, 2 * LANE, 1);
    for x in groups.chain(last) {
        let [left, right] = wide_columns::<2>(band, x).map(|[low, high]| vpaddq_u32(low, high));
        store_32(&mut out[x / 8..x / 8 + 4], vpaddq_u32(left, right));
    }
}

#[target_feature(enable = "neon")]
pub(super) fn sum_windows(columns: &[u16], windows: &[Window], for_each: usize, cells: &mut [u32]) {
    for (cell, windows) in cells.iter_mut().zip(windows.chunks_exact(for_each)) {
        let mut sum = vdupq_n_s32(0);
        for window in windows {
            let levels = window.of(columns);
            // SAFETY: windows are as long as the register.
            let (levels, weights) = unsafe {
                (vreinterpretq_s16_u16(vld1q_u16(levels.as_ptr())), vld1q_s16(window.weights.as_ptr()))
            };
            sum = vmlal_s16(sum, vget_low_s16(levels), vget_low_s16(weights));
            sum = vmlal_high_s16(sum, levels, weights);
        }
        *cell = vaddvq_s32(sum) as u32;
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8]) -> uint8x16_t {
    let bytes = &bytes[..LANE];
    // SAFETY: the slice is as long as the register.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store_16(to: &mut [u16], value: uint16x8_t) {
    let to = &mut to[..LANE / 2];
    // SAFETY: the slice is as long as the register.
    unsafe { vst1q_u16(to.as_mut_ptr(), value) };
}

#[inline]
#[target_feature(enable = "neon")]
fn store_32(to: &mut [u32], value: uint32x4_t) {
    let to = &mut to[..LANE / 4];
    // SAFETY: the slice is as long as the register.
    unsafe { vst1q_u32(to.as_mut_ptr(), value) };
}
