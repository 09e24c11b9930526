//! The loops for AVX-512 with VNNI, whose dot products add four 8-bit or two 16-bit samples to a 32-bit sum at once.
//! Most of what runs over cells rather than samples stays on AVX2.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi16, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_dpwssd_epi32,
    _mm512_loadu_si512, _mm512_mullo_epi16, _mm512_permutex2var_epi16, _mm512_permutex2var_epi32,
    _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi16,
    _mm512_srli_epi16, _mm512_storeu_si512, _mm512_sub_epi16, _mm512_xor_si512,
};

pub(super) use super::avx2::{
    haar, moments, roughness, square_error, sum_abs_diff, sum_left, sum_parts, sum_wide,
};
use super::{Band, SmallDivisor, avx2, scalar, starts};

/// Bytes of a register, and of a line of the cache.
const LANE: usize = 64;

/// Strips that are summed at once: a dot product's result is ready after as many others.
const STRIPS: usize = 4;

#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
pub(super) fn sum_quads(band: &Band<'_>, out: &mut [u32]) {
    let largest = band.first.max(band.last).max(band.between);
    match band.sample_bytes {
        // Weights are signed bytes.
        1 if band.width >= LANE && largest <= 127 => {
            let (groups, singles) = starts(band.width, LANE, STRIPS);
            for x in groups {
                for (at, sums) in (x..).step_by(LANE).zip(quads::<STRIPS>(band, x)) {
                    store(&mut out[at / 4..at / 4 + 16], sums);
                }
            }
            for x in singles {
                let [sums] = quads(band, x);
                store(&mut out[x / 4..x / 4 + 16], sums);
            }
        }
        // Weights are signed words.
        2 if band.width >= LANE && largest <= 32_767 => {
            let (groups, last) = starts(2 * band.width, 2 * LANE, 1);
            for x in groups.chain(last) {
                store(&mut out[x / 8..x / 8 + 16], wide_quads(band, x));
            }
        }
        _ => avx2::sum_quads(band, out),
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn quads<const N: usize>(band: &Band<'_>, x: usize) -> [__m512i; N] {
    let mut sums = [_mm512_setzero_si512(); N];
    let (rows, own) = band.rows_from(x);
    let between = _mm512_set1_epi8(band.between as i8);
    for row in rows {
        let row = &row[..N * LANE];
        for (sum, row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            *sum = _mm512_dpbusd_epi32(*sum, load(row), between);
        }
    }
    for (row, weight) in own {
        let Some(row) = row else { continue };
        let weight = _mm512_set1_epi8(weight as i8);
        for (sum, row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            *sum = _mm512_dpbusd_epi32(*sum, load(row), weight);
        }
    }
    avx2::prefetch(band, x, N * LANE);
    sums
}

/// Of 64 samples of 16 bits. They are taken as signed, less 2^15 each; what is missing is added at the end.
#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn wide_quads(band: &Band<'_>, x: usize) -> __m512i {
    let middle = _mm512_set1_epi16(i16::MIN);
    let mut sums = [_mm512_setzero_si512(); 2];
    let mut weights = 0u32;
    let (rows, own) = band.rows_from(x);
    let between = rows.map(|row| (Some(row), band.between));
    for (row, weight) in between.chain(own) {
        let Some(row) = row else { continue };
        weights = weights.wrapping_add(weight);
        let weight = _mm512_set1_epi16(weight as i16);
        for (sum, row) in sums.iter_mut().zip(row[..2 * LANE].chunks_exact(LANE)) {
            *sum = _mm512_dpwssd_epi32(*sum, _mm512_xor_si512(load(row), middle), weight);
        }
    }
    avx2::prefetch(band, x, 2 * LANE);
    let [left, right] = sums;
    let even = _mm512_permutex2var_epi32(left, EVENS.register(), right);
    let odd = _mm512_permutex2var_epi32(left, ODDS.register(), right);
    let missing = _mm512_set1_epi32(weights.wrapping_mul(4 << 15) as i32);
    _mm512_add_epi32(_mm512_add_epi32(even, odd), missing)
}

#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
pub(super) fn sum_chunks(columns: &[u32], samples: usize, cells: &mut [u32]) {
    scalar::sum_chunks(columns, samples, cells);
}

#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
pub(super) fn divide(sums: &[u32], by: SmallDivisor, out: &mut [u16]) {
    scalar::divide(sums, by, out);
}

#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
pub(super) fn sum_columns(band: &Band<'_>, out: &mut [u16]) {
    if band.width < LANE || band.sample_bytes != 1 {
        return avx2::sum_columns(band, out);
    }
    let (groups, singles) = starts(band.width, LANE, 2);
    for x in groups {
        for (at, sums) in [x, x + LANE].into_iter().zip(columns::<2>(band, x)) {
            store_columns(&mut out[at..at + LANE], sums);
        }
    }
    for x in singles {
        let [sums] = columns(band, x);
        store_columns(&mut out[x..x + LANE], sums);
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn store_columns(out: &mut [u16], (even, odd): (__m512i, __m512i)) {
    let (left, right) = out.split_at_mut(LANE / 2);
    store(left, _mm512_permutex2var_epi16(even, LOWER.register(), odd));
    store(right, _mm512_permutex2var_epi16(even, UPPER.register(), odd));
}

/// Sums of the even and of the odd columns, as the AVX2 loop of the same purpose makes them.
#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn columns<const N: usize>(band: &Band<'_>, x: usize) -> [(__m512i, __m512i); N] {
    let mut sums = [(_mm512_setzero_si512(), _mm512_setzero_si512()); N];
    let (rows, own) = band.rows_from(x);
    for row in rows {
        let row = &row[..N * LANE];
        for ((words, odd), row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *words = _mm512_add_epi16(*words, row);
            *odd = _mm512_add_epi16(*odd, _mm512_srli_epi16::<8>(row));
        }
    }
    if band.between != 1 {
        let weight = _mm512_set1_epi16(band.between as i16);
        for (words, odd) in &mut sums {
            *words = _mm512_mullo_epi16(*words, weight);
            *odd = _mm512_mullo_epi16(*odd, weight);
        }
    }
    for (row, weight) in own {
        let Some(row) = row else { continue };
        let weight = _mm512_set1_epi16(weight as i16);
        for ((words, odd), row) in sums.iter_mut().zip(row.chunks_exact(LANE)) {
            let row = load(row);
            *words = _mm512_add_epi16(*words, _mm512_mullo_epi16(row, weight));
            *odd = _mm512_add_epi16(*odd, _mm512_mullo_epi16(_mm512_srli_epi16::<8>(row), weight));
        }
    }
    avx2::prefetch(band, x, N * LANE);
    sums.map(|(words, odd)| (_mm512_sub_epi16(words, _mm512_slli_epi16::<8>(odd)), odd))
}

/// Places in two registers, of which the second's follow the first's.
struct Places<T, const N: usize>([T; N]);

/// Every second sum, from the first one on.
static EVENS: Places<u32, 16> = Places(places_32(0));
/// Every second sum, from the second one on.
static ODDS: Places<u32, 16> = Places(places_32(1));
/// Even and odd columns of the lower half, alternating.
static LOWER: Places<u16, 32> = Places(places_16(0));
/// Even and odd columns of the upper half, alternating.
static UPPER: Places<u16, 32> = Places(places_16(16));

const fn places_32(first: u32) -> [u32; 16] {
    let mut places = [0; 16];
    let mut index = 0;
    while index < 16 {
        places[index] = first + 2 * index as u32;
        index += 1;
    }
    places
}

const fn places_16(first: u16) -> [u16; 32] {
    let mut places = [0; 32];
    let mut index = 0;
    while index < 32 {
        places[index] = first + index as u16 / 2 + 32 * (index as u16 % 2);
        index += 1;
    }
    places
}

impl<T, const N: usize> Places<T, N> {
    #[inline]
    #[target_feature(enable = "avx2,avx512bw,avx512vnni")]
    fn register(&self) -> __m512i {
        const { assert!(size_of::<[T; N]>() == LANE, "a register's worth of places") };
        // SAFETY: the array is as long as the register, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(self.0.as_ptr().cast()) }
    }
}

#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn load(bytes: &[u8]) -> __m512i {
    let bytes = &bytes[..LANE];
    // SAFETY: the slice is as long as the register, and the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512vnni")]
fn store<T: Integer>(to: &mut [T], value: __m512i) {
    assert_eq!(size_of_val(to), LANE, "a register's worth of integers");
    // SAFETY: the slice is as long as the register, any bits are an integer, and the store needs no alignment.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), value) };
}

/// Integers of which any bits are a value.
trait Integer {}
impl Integer for u16 {}
impl Integer for u32 {}
