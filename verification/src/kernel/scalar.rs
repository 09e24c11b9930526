//! The loops in plain Rust, for the compiler to make of them what the machine has.

use super::{Band, MOMENT_SIDE, Moments, SmallDivisor, Window};

/// Columns summed at once: as many as stay in registers.
const STRIP: usize = 32;

pub(super) fn sum_columns(band: &Band<'_>, out: &mut [u16]) {
    strips(band.width, |x, width| {
        if width == STRIP {
            out[x..x + STRIP].copy_from_slice(&strip::<STRIP>(band, x));
        } else {
            out[x] = strip::<1>(band, x)[0];
        }
    });
}

pub(super) fn sum_quads(band: &Band<'_>, out: &mut [u32]) {
    if band.sample_bytes == 2 {
        return sum_wide_quads(band, out);
    }
    strips(band.width, |x, width| {
        if width == STRIP {
            for (sum, quad) in out[x / 4..].iter_mut().zip(strip::<STRIP>(band, x).chunks_exact(4)) {
                *sum = quad.iter().map(|&column| u32::from(column)).sum();
            }
        } else {
            let sum = u32::from(strip::<1>(band, x)[0]);
            out[x / 4] = if x % 4 == 0 { sum } else { out[x / 4] + sum };
        }
    });
}

#[inline(always)]
pub(super) fn sum_wide_quads(band: &Band<'_>, out: &mut [u32]) {
    out.fill(0);
    for y in 0..band.rows {
        let weight = band.weight(y);
        for (sum, quad) in out.iter_mut().zip(band.row(y).as_chunks::<8>().0) {
            let samples = quad.as_chunks::<2>().0.iter().map(|&sample| u32::from(u16::from_le_bytes(sample)));
            *sum = sum.wrapping_add(weight.wrapping_mul(samples.sum()));
        }
    }
}

/// Calls for every strip of the columns and then for every column that is left.
fn strips(width: usize, mut sum: impl FnMut(usize, usize)) {
    let whole = width / STRIP * STRIP;
    (0..whole).step_by(STRIP).for_each(|x| sum(x, STRIP));
    (whole..width).for_each(|x| sum(x, 1));
}

#[inline(always)]
fn strip<const N: usize>(band: &Band<'_>, x: usize) -> [u16; N] {
    let mut sums = [0u16; N];
    for y in 0..band.rows {
        let weight = band.weight(y) as u16;
        for (sum, &sample) in sums.iter_mut().zip(&band.row(y)[x..x + N]) {
            *sum = sum.wrapping_add(weight.wrapping_mul(u16::from(sample)));
        }
    }
    sums
}

#[inline(always)]
pub(super) fn sum_wide(band: &Band<'_>, out: &mut [u32]) {
    out.fill(0);
    for y in 0..band.rows {
        let weight = band.weight(y);
        if band.sample_bytes == 1 {
            for (sum, &sample) in out.iter_mut().zip(band.row(y)) {
                *sum = sum.wrapping_add(weight.wrapping_mul(u32::from(sample)));
            }
        } else {
            for (sum, sample) in out.iter_mut().zip(band.row(y).chunks_exact(2)) {
                let sample = u32::from(u16::from_le_bytes([sample[0], sample[1]]));
                *sum = sum.wrapping_add(weight.wrapping_mul(sample));
            }
        }
    }
}

/// The usual numbers of columns have loops of their own, which need no counting.
#[inline(always)]
pub(super) fn sum_chunks(columns: &[u32], samples: usize, cells: &mut [u32]) {
    match samples {
        1 => cells.copy_from_slice(columns),
        2 => sum_chunks_of::<2>(columns, cells),
        3 => sum_chunks_of::<3>(columns, cells),
        4 => sum_chunks_of::<4>(columns, cells),
        6 => sum_chunks_of::<6>(columns, cells),
        _ => {
            for (cell, columns) in cells.iter_mut().zip(columns.chunks_exact(samples)) {
                *cell = columns.iter().sum();
            }
        }
    }
}

#[inline(always)]
fn sum_chunks_of<const N: usize>(columns: &[u32], cells: &mut [u32]) {
    for (cell, columns) in cells.iter_mut().zip(columns.as_chunks::<N>().0) {
        *cell = columns.iter().sum();
    }
}

pub(super) fn sum_parts(lefts: &[u32], (columns, cuts): (&[u32], &[u32]), parts: u32, cells: &mut [u32]) {
    let mut before = 0u32;
    for (cell, (&column, &cut)) in cells.iter_mut().zip(columns.iter().zip(cuts)) {
        let column = column as usize;
        let (left, right) = (lefts[column], lefts[column + 1]);
        let here = left.wrapping_mul(parts).wrapping_add(right.wrapping_sub(left).wrapping_mul(cut));
        *cell = here.wrapping_sub(before);
        before = here;
    }
}

pub(super) fn sum_windows(columns: &[u16], windows: &[Window], for_each: usize, cells: &mut [u32]) {
    for (cell, windows) in cells.iter_mut().zip(windows.chunks_exact(for_each)) {
        *cell = windows.iter().map(|window| sum_window(columns, window)).sum();
    }
}

#[inline(always)]
fn sum_window(columns: &[u16], window: &Window) -> u32 {
    let columns = window.of(columns).iter().zip(window.weights);
    // Below 2^31.
    columns.map(|(&column, weight)| i32::from(column as i16) * i32::from(weight)).sum::<i32>() as u32
}

#[inline(always)]
pub(super) fn divide(sums: &[u32], by: SmallDivisor, out: &mut [u16]) {
    for (mean, &sum) in out.iter_mut().zip(sums) {
        *mean = by.mean(sum);
    }
}

#[inline(always)]
pub(super) fn sum_abs_diff(a: &[u16], b: &[u16]) -> u32 {
    // Lattices have thousands of cells of at most 2^12: far below 32 bits.
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum()
}

/// Squares of differences of levels, which are at most 2^12, that add up to less than 2^32.
const SQUARES: usize = 128;

#[inline(always)]
pub(super) fn square_error(a: &[u16], b: &[u16]) -> u64 {
    let chunks = a.chunks(SQUARES).zip(b.chunks(SQUARES));
    let part = |(a, b): (&[u16], &[u16])| -> u64 {
        let squares = a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)) * u32::from(a.abs_diff(b)));
        u64::from(squares.sum::<u32>())
    };
    chunks.map(part).sum()
}

/// Levels whose wavelets' energy adds up to less than 2^32: 2^27 for every two.
const WAVES: usize = 32;

#[inline(always)]
pub(super) fn haar(upper: &[u16], lower: &[u16]) -> u64 {
    let chunks = upper.chunks(WAVES).zip(lower.chunks(WAVES));
    let part = |(upper, lower): (&[u16], &[u16])| -> u64 {
        let mut energy = 0u32;
        for (a, b) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
            let [a, b, c, d] = [a[0], a[1], b[0], b[1]].map(i32::from);
            // Down squared and diagonal squared are together twice the squares of both columns' differences.
            let across = a - b + c - d;
            energy += (across * across + 2 * ((a - c) * (a - c) + (b - d) * (b - d))) as u32;
        }
        u64::from(energy)
    };
    chunks.map(part).sum()
}

pub(super) fn moments(source: &[u16], shown: &[u16], stride: usize, out: &mut [Moments]) {
    for (index, moments) in out.iter_mut().enumerate() {
        *moments = block_moments(&source[index * MOMENT_SIDE..], &shown[index * MOMENT_SIDE..], stride);
    }
}

pub(super) fn block_moments(source: &[u16], shown: &[u16], stride: usize) -> Moments {
    let mut sums = Moments::default();
    let rows = source.chunks(stride).zip(shown.chunks(stride));
    for (source, shown) in rows.take(MOMENT_SIDE) {
        for (&a, &b) in source[..MOMENT_SIDE].iter().zip(&shown[..MOMENT_SIDE]) {
            let (a, b) = (u32::from(a), u32::from(b));
            sums.source += a;
            sums.shown += b;
            sums.source_squares += a * a;
            sums.shown_squares += b * b;
            sums.products += a * b;
        }
    }
    sums
}

/// Samples of a block's row. Levels are at most 2^12: the squared differences of a block's row fit 32 bits.
const BLOCK: usize = 16;

#[inline(always)]
pub(super) fn roughness(above: &[u16], row: &[u16], blocks: &mut [u64]) {
    let energy = |a: &[u16], b: &[u16]| -> u32 {
        let squares = a.iter().zip(b).map(|(&a, &b)| {
            let difference = i32::from(a as i16 - b as i16);
            (difference * difference) as u32
        });
        squares.sum()
    };
    let right = row.get(1..).unwrap_or(&[]);
    for (index, (sum, (row, above))) in
        blocks.iter_mut().zip(row.chunks(BLOCK).zip(above.chunks(BLOCK))).enumerate()
    {
        let from = (index * BLOCK).min(right.len());
        let right = &right[from..(from + BLOCK).min(right.len())];
        *sum += u64::from(energy(row, above)) + u64::from(energy(row, right));
    }
}
