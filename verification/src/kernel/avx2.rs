//! The loops for AVX2. What the compiler vectorises by itself is the scalar code, compiled again for wider registers.

use std::arch::x86_64::{
    __m128i, __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_blend_epi32, _mm256_castsi128_si256, _mm256_extract_epi32, _mm256_hadd_epi32,
    _mm256_i32gather_epi32, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mullo_epi16, _mm256_mullo_epi32, _mm256_permute2x128_si256,
    _mm256_permute4x64_epi64, _mm256_permutevar8x32_epi32, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256, _mm256_shuffle_epi32, _mm256_slli_epi16,
    _mm256_slli_epi32, _mm256_srli_epi16, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_sub_epi16,
    _mm256_sub_epi32, _mm256_unpackhi_epi8, _mm256_unpackhi_epi32, _mm256_unpacklo_epi8,
    _mm256_unpacklo_epi32,
};

use super::{Band, MOMENT_SIDE, Moments, SmallDivisor, Window, scalar, starts};

/// Bytes of a register.
const LANE: usize = 32;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Weights of which two samples of 8 bits make 15.
const MOST_WEIGHT: u32 = 64;

/// Rows of which two neighbouring 8-bit samples add up to 16 bits.
const PAIR_ROWS: usize = 128;

#[target_feature(enable = "avx2")]
pub(super) fn sum_columns(band: &Band<'_>, out: &mut [u16]) {
    if band.width < LANE || band.sample_bytes != 1 {
        return scalar::sum_columns(band, out);
    }
    if [band.first, band.last, band.between].iter().any(|&weight| weight > MOST_WEIGHT) {
        return scalar::sum_columns(band, out);
    }
    let (groups, singles) = starts(band.width, LANE, 4);
    for x in groups {
        for (at, sums) in (x..).step_by(LANE).zip(weighted::<4>(band, x)) {
            store_columns(&mut out[at..at + LANE], sums);
        }
    }
    for x in singles {
        let [sums] = weighted::<1>(band, x);
        store_columns(&mut out[x..x + LANE], sums);
    }
}

/// Weighted sums of the columns of neighbouring strips of 32 samples of 8 bits: every two rows are multiplied and added at once. Of
/// a strip come the columns 0 to 7 and 16 to 23 first.
#[inline]
#[target_feature(enable = "avx2")]
fn weighted<const N: usize>(band: &Band<'_>, x: usize) -> [(__m256i, __m256i); N] {
    let mut sums = [(_mm256_setzero_si256(), _mm256_setzero_si256()); N];
    for first in (0..band.rows).step_by(2) {
        // The last one may be alone.
        let (second, its_weight) =
            if first + 1 < band.rows { (first + 1, band.weight(first + 1)) } else { (first, 0) };
        let weights = _mm256_set1_epi16((band.weight(first) | its_weight << 8) as i16);
        let upper = &band.data[first * band.stride + x..][..N * LANE];
        let lower = &band.data[second * band.stride + x..][..N * LANE];
        for (strip, (left, right)) in sums.iter_mut().enumerate() {
            let (upper, lower) = (load(&upper[strip * LANE..]), load(&lower[strip * LANE..]));
            let low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(upper, lower), weights);
            let high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(upper, lower), weights);
            (*left, *right) = (_mm256_add_epi16(*left, low), _mm256_add_epi16(*right, high));
        }
    }
    prefetch(band, x, N * LANE);
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_columns(out: &mut [u16], (low, high): (__m256i, __m256i)) {
    let (left, right) = out.split_at_mut(LANE / 2);
    store(left, _mm256_permute2x128_si256::<0x20>(low, high));
    store(right, _mm256_permute2x128_si256::<0x31>(low, high));
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_wide(band: &Band<'_>, out: &mut [u32]) {
    if 2 * band.width < LANE || band.sample_bytes != 2 {
        return scalar::sum_wide(band, out);
    }
    let (pairs, singles) = starts(2 * band.width, LANE, 2);
    for x in pairs {
        for (at, sums) in [x, x + LANE].into_iter().zip(strips::<2, 2>(band, x)) {
            store_wide(&mut out[at / 2..at / 2 + LANE / 2], sums);
        }
    }
    for x in singles {
        let [sums] = strips::<2, 1>(band, x);
        store_wide(&mut out[x / 2..x / 2 + LANE / 2], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_wide(out: &mut [u32], (even, odd): (__m256i, __m256i)) {
    let (low, high) = (_mm256_unpacklo_epi32(even, odd), _mm256_unpackhi_epi32(even, odd));
    let (left, right) = out.split_at_mut(LANE / 4);
    store(left, _mm256_permute2x128_si256::<0x20>(low, high));
    store(right, _mm256_permute2x128_si256::<0x31>(low, high));
}

#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
fn plain_quads(band: &Band<'_>, out: &mut [u32]) {
    let mut keep = |x: usize, sums: &[__m256i]| {
        for (at, &sums) in (x..).step_by(LANE).zip(sums) {
            store(&mut out[at / 4..at / 4 + 8], halves(sums));
        }
    };
    // As many lines of the cache of each row as there are registers for.
    let wide = band.width / (8 * LANE) * (8 * LANE);
    for x in (0..wide).step_by(8 * LANE) {
        keep(x, &pairs::<8>(band, x));
    }
    let (groups, singles) = starts(band.width, LANE, 4);
    for x in groups.skip_while(|&x| x < wide) {
        keep(x, &pairs::<4>(band, x));
    }
    for x in singles {
        keep(x, &pairs::<1>(band, x));
    }
}

/// Sums of every two columns of neighbouring strips of 32 samples of 8 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs<const N: usize>(band: &Band<'_>, x: usize) -> [__m256i; N] {
    let ones = _mm256_set1_epi8(1);
    let mut sums = [_mm256_setzero_si256(); N];
    for row in band.data[x..].chunks(band.stride) {
        let row = &row[..N * LANE];
        for (sum, row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(load(row), ones));
        }
    }
    prefetch(band, x, N * LANE);
    sums
}

#[inline]
#[target_feature(enable = "avx2")]
fn weighted_quads(band: &Band<'_>, out: &mut [u32]) {
    let (pairs, singles) = starts(band.width, LANE, 2);
    for x in pairs {
        for (at, sums) in [x, x + LANE].into_iter().zip(strips::<1, 2>(band, x)) {
            store_quads(&mut out[at / 4..at / 4 + 8], sums);
        }
    }
    for x in singles {
        let [sums] = strips::<1, 1>(band, x);
        store_quads(&mut out[x / 4..x / 4 + 8], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_quads(out: &mut [u32], (even, odd): (__m256i, __m256i)) {
    store(out, _mm256_add_epi32(halves(even), halves(odd)));
}

/// Of 16-bit samples, two registers of them at a time.
#[inline]
#[target_feature(enable = "avx2")]
fn wide_quads(band: &Band<'_>, out: &mut [u32]) {
    let (groups, last) = starts(2 * band.width, 2 * LANE, 1);
    for x in groups.chain(last) {
        let [left, right] = strips::<2, 2>(band, x).map(|(even, odd)| _mm256_add_epi32(even, odd));
        // The halves of both registers come out alternating.
        let quads = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(left, right));
        store(&mut out[x / 8..x / 8 + 8], quads);
    }
}

/// Sums of the even and of the odd columns of neighbouring strips of 32 bytes, for samples of `BYTES` in words twice as
/// long.
///
/// A register of samples is also one of words `even + 2^bits * odd`. These words are added up modulo their length as they
/// are, beside their upper halves; what the odd columns put into the words is taken away at the end.
#[inline]
#[target_feature(enable = "avx2")]
fn strips<const BYTES: usize, const N: usize>(band: &Band<'_>, x: usize) -> [(__m256i, __m256i); N] {
    let mut sums = [(_mm256_setzero_si256(), _mm256_setzero_si256()); N];
    let (rows, own) = band.rows_from(x);
    for row in rows {
        let row = &row[..N * LANE];
        for ((words, odd), row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *words = add::<BYTES>(*words, row);
            *odd = add::<BYTES>(*odd, upper::<BYTES>(row));
        }
    }
    if band.between != 1 {
        for (words, odd) in &mut sums {
            *words = times::<BYTES>(*words, band.between);
            *odd = times::<BYTES>(*odd, band.between);
        }
    }
    for (row, weight) in own {
        let Some(row) = row else { continue };
        for ((words, odd), row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *words = add::<BYTES>(*words, times::<BYTES>(row, weight));
            *odd = add::<BYTES>(*odd, times::<BYTES>(upper::<BYTES>(row), weight));
        }
    }
    prefetch(band, x, N * LANE);
    sums.map(|(words, odd)| (subtract::<BYTES>(words, raised::<BYTES>(odd)), odd))
}

#[inline]
#[target_feature(enable = "avx2")]
fn add<const BYTES: usize>(a: __m256i, b: __m256i) -> __m256i {
    if BYTES == 1 { _mm256_add_epi16(a, b) } else { _mm256_add_epi32(a, b) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn subtract<const BYTES: usize>(a: __m256i, b: __m256i) -> __m256i {
    if BYTES == 1 { _mm256_sub_epi16(a, b) } else { _mm256_sub_epi32(a, b) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn times<const BYTES: usize>(words: __m256i, weight: u32) -> __m256i {
    if BYTES == 1 {
        _mm256_mullo_epi16(words, _mm256_set1_epi16(weight as i16))
    } else {
        _mm256_mullo_epi32(words, _mm256_set1_epi32(weight as i32))
    }
}

/// The upper halves of words, where the odd samples lie.
#[inline]
#[target_feature(enable = "avx2")]
fn upper<const BYTES: usize>(words: __m256i) -> __m256i {
    if BYTES == 1 { _mm256_srli_epi16::<8>(words) } else { _mm256_srli_epi32::<16>(words) }
}

/// The opposite of [`upper`].
#[inline]
#[target_feature(enable = "avx2")]
fn raised<const BYTES: usize>(words: __m256i) -> __m256i {
    if BYTES == 1 { _mm256_slli_epi16::<8>(words) } else { _mm256_slli_epi32::<16>(words) }
}

/// Fetches the next rows of what was just read, once for every line of the cache.
#[inline]
#[target_feature(enable = "avx2")]
fn prefetch(band: &Band<'_>, x: usize, bytes: usize) {
    if !x.is_multiple_of(LINE) {
        return;
    }
    for row in band.next.get(x..).unwrap_or_default().chunks(band.stride) {
        for line in row[..bytes.min(row.len())].chunks(LINE) {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
}

/// Adds the two 16-bit halves of every 32-bit word.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(words: __m256i) -> __m256i {
    let low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
    _mm256_add_epi32(low, _mm256_srli_epi32::<16>(words))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<T: Integer>(from: &[T]) -> __m256i {
    let from = &from[..LANE / size_of::<T>()];
    // SAFETY: the slice is as long as the register, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store<T: Integer>(to: &mut [T], value: __m256i) {
    assert_eq!(size_of_val(to), LANE, "a register's worth of integers");
    // SAFETY: the slice is as long as the register, any bits are an integer, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) };
}

/// Integers of which any bits are a value.
trait Integer {}
impl Integer for u8 {}
impl Integer for i16 {}
impl Integer for u16 {}
impl Integer for u32 {}

#[target_feature(enable = "avx2")]
pub(super) fn sum_windows(columns: &[u16], windows: &[Window], for_each: usize, cells: &mut [u32]) {
    let (eights, rest) = cells.as_chunks_mut::<8>();
    let (of_eights, of_rest) = windows.split_at(eights.len() * 8 * for_each);
    for (cells, windows) in eights.iter_mut().zip(of_eights.chunks_exact(8 * for_each)) {
        // The usual number is told to the compiler.
        store(
            cells,
            if for_each == 1 { eight(columns, windows, 1) } else { eight(columns, windows, for_each) },
        );
    }
    scalar::sum_windows(columns, of_rest, for_each, rest);
}

/// The sums of eight cells.
#[inline]
#[target_feature(enable = "avx2")]
fn eight(columns: &[u16], windows: &[Window], for_each: usize) -> __m256i {
    let windows = &windows[..8 * for_each];
    // Each register holds the sums of two cells, four apart.
    let pair = |cell: usize| {
        let mut sum = _mm256_setzero_si256();
        for place in 0..for_each {
            let [low, high] = [cell, cell + 4].map(|cell| &windows[cell * for_each + place]);
            let levels = both(half(low.of(columns)), half(high.of(columns)));
            let weights = both(half(&low.weights), half(&high.weights));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(levels, weights));
        }
        sum
    };
    _mm256_hadd_epi32(_mm256_hadd_epi32(pair(0), pair(1)), _mm256_hadd_epi32(pair(2), pair(3)))
}

/// Eight 16-bit integers.
#[inline]
#[target_feature(enable = "avx2")]
fn half<T: Integer>(from: &[T]) -> __m128i {
    assert_eq!(size_of_val(from), LANE / 2, "half a register's worth of integers");
    // SAFETY: the slice is as long as the register, and the load needs no alignment.
    unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn both(low: __m128i, high: __m128i) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_chunks(columns: &[u32], samples: usize, cells: &mut [u32]) {
    scalar::sum_chunks(columns, samples, cells);
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_parts(lefts: &[u32], (columns, cuts): (&[u32], &[u32]), parts: u32, cells: &mut [u32]) {
    let inside = |&column: &u32| (column as usize) < lefts.len().min(i32::MAX as usize) - 1;
    assert!(!lefts.is_empty() && columns.iter().all(inside), "cells end in columns");
    let whole = cells.len() / 8 * 8;
    let parts_of_all = _mm256_set1_epi32(parts as i32);
    let turn = _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6);
    let mut before = _mm256_setzero_si256();
    for ((cells, columns), cuts) in
        cells.chunks_exact_mut(8).zip(columns.chunks_exact(8)).zip(cuts.chunks_exact(8))
    {
        let columns = load(columns);
        // SAFETY: all columns are below the last of `lefts`, as is checked above.
        let left = unsafe { _mm256_i32gather_epi32::<4>(lefts.as_ptr().cast(), columns) };
        // SAFETY: all columns have one after them in `lefts`, as is checked above.
        let right = unsafe { _mm256_i32gather_epi32::<4>(lefts[1..].as_ptr().cast(), columns) };
        let cut = _mm256_mullo_epi32(_mm256_sub_epi32(right, left), load(cuts));
        let here = _mm256_add_epi32(_mm256_mullo_epi32(left, parts_of_all), cut);
        // Each cell's left end is the one before it.
        let turned = _mm256_permutevar8x32_epi32(here, turn);
        store(cells, _mm256_sub_epi32(here, _mm256_blend_epi32::<1>(turned, before)));
        before = turned;
    }
    let before = _mm256_extract_epi32::<0>(before) as u32;
    let rest = &mut cells[whole..];
    scalar::sum_parts(lefts, (&columns[whole..], &cuts[whole..]), parts, rest);
    if let Some(first) = rest.first_mut() {
        *first = first.wrapping_sub(before);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn divide(sums: &[u32], by: SmallDivisor, out: &mut [u16]) {
    scalar::divide(sums, by, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_abs_diff(a: &[u16], b: &[u16]) -> u32 {
    scalar::sum_abs_diff(a, b)
}

#[target_feature(enable = "avx2")]
pub(super) fn square_error(a: &[u16], b: &[u16]) -> u64 {
    scalar::square_error(a, b)
}

#[target_feature(enable = "avx2")]
pub(super) fn haar(upper: &[u16], lower: &[u16]) -> u64 {
    scalar::haar(upper, lower)
}

/// Two blocks at a time, each in its half of the registers. Levels are below 2^15 and the sums below 2^31, so that signed
/// arithmetic is exact.
#[target_feature(enable = "avx2")]
pub(super) fn moments(source: &[u16], shown: &[u16], stride: usize, out: &mut [Moments]) {
    let (pairs, last) = out.as_chunks_mut::<2>();
    let paired = pairs.len() * 2 * MOMENT_SIDE;
    for (index, pair) in pairs.iter_mut().enumerate() {
        let x = index * 2 * MOMENT_SIDE;
        *pair = pair_moments(&source[x..], &shown[x..], stride);
    }
    for moments in last {
        *moments = scalar::block_moments(&source[paired..], &shown[paired..], stride);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn pair_moments(source: &[u16], shown: &[u16], stride: usize) -> [Moments; 2] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); 5];
    for (source, shown) in source.chunks(stride).zip(shown.chunks(stride)).take(MOMENT_SIDE) {
        let (a, b) = (load_levels(source), load_levels(shown));
        for (sum, (left, right)) in sums.iter_mut().zip([(a, ones), (b, ones), (a, a), (b, b), (a, b)]) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(left, right));
        }
    }
    let [a, b, aa, bb, ab] = sums;
    let four = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(aa, bb));
    let products = _mm256_hadd_epi32(ab, ab);
    let (mut first, mut second) = ([0u32; 8], [0u32; 8]);
    store(&mut first, four);
    store(&mut second, _mm256_hadd_epi32(products, products));
    [0, 4].map(|half| Moments {
        source: first[half],
        shown: first[half + 1],
        source_squares: first[half + 2],
        shown_squares: first[half + 3],
        products: second[half],
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_levels(levels: &[u16]) -> __m256i {
    let levels = &levels[..LANE / 2];
    // SAFETY: the slice is as long as the register, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(levels.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
pub(super) fn roughness(above: &[u16], row: &[u16], blocks: &mut [u64]) {
    // A block of sixteen and the one right of it.
    let whole = (row.len().saturating_sub(1) / 16).min(blocks.len());
    let (inside, rest) = blocks.split_at_mut(whole);
    for (index, sum) in inside.iter_mut().enumerate() {
        let x = 16 * index;
        let here = load(&row[x..]);
        let down = _mm256_sub_epi16(here, load(&above[x..]));
        let across = _mm256_sub_epi16(here, load(&row[x + 1..]));
        // Levels are at most 2^12: their squared differences add up to less than 2^30.
        let squares = _mm256_add_epi32(_mm256_madd_epi16(down, down), _mm256_madd_epi16(across, across));
        *sum += u64::from(sum_of(squares));
    }
    scalar::roughness(&above[16 * whole..], &row[16 * whole..], rest);
}

/// The sum of eight 32-bit integers.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_of(words: __m256i) -> u32 {
    let fours = _mm256_add_epi32(words, _mm256_permute2x128_si256::<0x01>(words, words));
    let pairs = _mm256_add_epi32(fours, _mm256_shuffle_epi32::<0b01_00_11_10>(fours));
    _mm256_extract_epi32::<0>(_mm256_add_epi32(pairs, _mm256_shuffle_epi32::<0b10_11_00_01>(pairs))) as u32
}
