//! The loops for AVX2. What the compiler vectorises by itself is the scalar code, compiled again for wider registers.

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_cvtepu16_epi32, _mm256_extract_epi32, _mm256_hadd_epi32, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_mullo_epi16, _mm256_permute2x128_si256, _mm256_permutevar8x32_epi32,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi32, _mm256_slli_epi16,
    _mm256_slli_si256, _mm256_srli_epi16, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_sub_epi16,
    _mm256_sub_epi32, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

use super::{Band, MOMENT_SIDE, Moments, SmallDivisor, scalar};

/// Bytes of a register.
const LANE: usize = 32;

#[target_feature(enable = "avx2")]
pub(super) fn sum_columns(band: &Band<'_>, out: &mut [u16]) {
    if band.width < LANE || band.sample_bytes != 1 {
        return scalar::sum_columns(band, out);
    }
    let (pairs, singles) = starts(band.width);
    for x in pairs {
        for (at, sums) in [x, x + LANE].into_iter().zip(strips::<2>(band, x)) {
            store_columns(&mut out[at..at + LANE], sums);
        }
    }
    for x in singles {
        let [sums] = strips(band, x);
        store_columns(&mut out[x..x + LANE], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_columns(out: &mut [u16], (even, odd): (__m256i, __m256i)) {
    let (low, high) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
    let (left, right) = out.split_at_mut(LANE / 2);
    store(left, _mm256_permute2x128_si256::<0x20>(low, high));
    store(right, _mm256_permute2x128_si256::<0x31>(low, high));
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_quads(band: &Band<'_>, out: &mut [u32]) {
    if band.width < LANE || band.sample_bytes != 1 {
        return scalar::sum_quads(band, out);
    }
    let (pairs, singles) = starts(band.width);
    for x in pairs {
        for (at, sums) in [x, x + LANE].into_iter().zip(strips::<2>(band, x)) {
            store_quads(&mut out[at / 4..at / 4 + 8], sums);
        }
    }
    for x in singles {
        let [sums] = strips(band, x);
        store_quads(&mut out[x / 4..x / 4 + 8], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_quads(out: &mut [u32], (even, odd): (__m256i, __m256i)) {
    store(out, _mm256_add_epi32(halves(even), halves(odd)));
}

/// Where pairs of strips start and then single ones: the last may overlap the one before, which gives the same sums
/// again.
fn starts(width: usize) -> (impl Iterator<Item = usize>, impl Iterator<Item = usize>) {
    let paired = width / (2 * LANE) * (2 * LANE);
    let last = (paired < width).then(|| width - LANE);
    let whole = (width - paired > LANE).then_some(paired);
    ((0..paired).step_by(2 * LANE), whole.into_iter().chain(last))
}

/// Sums of the even and of the odd columns of neighbouring strips of 32.
///
/// A register of bytes is also one of 16-bit words `even + 256 * odd`. These words are added up modulo 2^16 as they are,
/// beside their upper halves; what the odd columns put into the words is taken away at the end.
#[inline]
#[target_feature(enable = "avx2")]
fn strips<const N: usize>(band: &Band<'_>, x: usize) -> [(__m256i, __m256i); N] {
    let mut sums = [(_mm256_setzero_si256(), _mm256_setzero_si256()); N];
    let mut rows = band.data[x..].chunks(band.stride);
    let own = |weight| weight != band.between;
    let first = if own(band.first) { rows.next() } else { None };
    let last = if own(band.last) { rows.next_back() } else { None };
    for row in rows {
        for (index, (words, odd)) in sums.iter_mut().enumerate() {
            let row = load(&row[index * LANE..]);
            *words = _mm256_add_epi16(*words, row);
            *odd = _mm256_add_epi16(*odd, _mm256_srli_epi16::<8>(row));
        }
    }
    if band.between != 1 {
        let weight = _mm256_set1_epi16(band.between as i16);
        for (words, odd) in &mut sums {
            *words = _mm256_mullo_epi16(*words, weight);
            *odd = _mm256_mullo_epi16(*odd, weight);
        }
    }
    for (row, weight) in [(first, band.first), (last, band.last)] {
        let Some(row) = row else { continue };
        let weight = _mm256_set1_epi16(weight as i16);
        for (index, (words, odd)) in sums.iter_mut().enumerate() {
            let row = load(&row[index * LANE..]);
            *words = _mm256_add_epi16(*words, _mm256_mullo_epi16(row, weight));
            *odd = _mm256_add_epi16(*odd, _mm256_mullo_epi16(_mm256_srli_epi16::<8>(row), weight));
        }
    }
    prefetch(band, x);
    sums.map(|(words, odd)| (_mm256_sub_epi16(words, _mm256_slli_epi16::<8>(odd)), odd))
}

/// Fetches the rows that come next, once for every line of the cache.
#[inline]
#[target_feature(enable = "avx2")]
fn prefetch(band: &Band<'_>, x: usize) {
    if x.is_multiple_of(2 * LANE) {
        for row in band.next.get(x..).unwrap_or_default().chunks(band.stride) {
            _mm_prefetch::<_MM_HINT_T0>(row.as_ptr().cast());
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
fn load(bytes: &[u8]) -> __m256i {
    let bytes = &bytes[..LANE];
    // SAFETY: the slice is as long as the register, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
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
impl Integer for u16 {}
impl Integer for u32 {}

#[target_feature(enable = "avx2")]
pub(super) fn sum_wide(band: &Band<'_>, out: &mut [u32]) {
    scalar::sum_wide(band, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn sum_left(columns: &[u16], lefts: &mut [u32]) -> u32 {
    let mut sum = _mm256_setzero_si256();
    let (columns, rest) = columns.as_chunks::<8>();
    let (lefts, lefts_rest) = lefts.as_chunks_mut::<8>();
    for (left, columns) in lefts.iter_mut().zip(columns) {
        // SAFETY: eight 16-bit integers are as long as the register, and the load needs no alignment.
        let narrow = unsafe { _mm_loadu_si128(columns.as_ptr().cast()) };
        let own = _mm256_cvtepu16_epi32(narrow);
        // Sums up to each column: within fours, then the lower four's into the upper.
        let pairs = _mm256_add_epi32(own, _mm256_slli_si256::<4>(own));
        let fours = _mm256_add_epi32(pairs, _mm256_slli_si256::<8>(pairs));
        let lower = _mm256_shuffle_epi32::<0xff>(_mm256_permute2x128_si256::<0x08>(fours, fours));
        let eights = _mm256_add_epi32(fours, lower);
        store(left, _mm256_add_epi32(sum, _mm256_sub_epi32(eights, own)));
        sum = _mm256_add_epi32(sum, _mm256_permutevar8x32_epi32(eights, _mm256_set1_epi32(7)));
    }
    let sum = _mm256_extract_epi32::<0>(sum) as u32;
    let all = scalar::sum_left(rest, lefts_rest);
    lefts_rest.iter_mut().for_each(|left| *left = left.wrapping_add(sum));
    all.wrapping_add(sum)
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
    scalar::roughness(above, row, blocks);
}
