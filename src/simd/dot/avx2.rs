//! AVX2: 32 products in four instructions, without saturation because both factors stay within
//! ±127.

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_abs_epi8,
    _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_sign_epi8, _mm256_xor_si256,
};

use super::QueryCode;
use crate::Isa;

const LANES: usize = 32;
/// Rows fetched ahead of the one being multiplied.
const AHEAD: usize = 8;

#[inline]
#[target_feature(enable = "avx2")]
fn load<T>(chunk: &[T]) -> __m256i {
    assert!(size_of_val(chunk) >= LANES);
    // SAFETY: the slice holds at least 32 bytes of plain integers.
    unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) }
}

/// `total + x · y` in eight sums of four products; `x` and `y` signed, within ±127.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_add(total: __m256i, x: __m256i, y: __m256i) -> __m256i {
    // `maddubs` takes an unsigned first factor, so the sign of x moves to y. With 127 as the
    // largest factor a sum of two products is at most 32 258, which fits 16 bits.
    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(y, x));
    _mm256_add_epi32(total, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn unbias(x: __m256i) -> __m256i {
    _mm256_xor_si256(x, _mm256_set1_epi8(-128))
}

#[inline]
#[target_feature(enable = "avx2")]
fn reduce(x: __m256i) -> i32 {
    let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b00_00_11_10>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b00_00_00_01>(x));
    _mm_cvtsi128_si32(x)
}

#[target_feature(enable = "avx2")]
pub(super) fn dot8_list(plane: &[u8], ids: &[u32], query: &[i8], _sum: i32, out: &mut [i32]) {
    let width = query.len();
    // Rows are at random places of the plane, which the hardware prefetcher cannot predict.
    let fetch = |id: u32| {
        for line in (0..width).step_by(64) {
            Isa::prefetch(plane, id as usize * width + line);
        }
    };
    ids.iter().take(AHEAD).for_each(|&id| fetch(id));
    for (i, (&id, out)) in ids.iter().zip(out).enumerate() {
        if let Some(&ahead) = ids.get(i + AHEAD) {
            fetch(ahead);
        }
        let row = &plane[id as usize * width..][..width];
        // Two sums, so that an addition does not wait for the one before it.
        let mut even = _mm256_setzero_si256();
        let mut odd = _mm256_setzero_si256();
        for (row, query) in row
            .chunks_exact(2 * LANES)
            .zip(query.chunks_exact(2 * LANES))
        {
            even = multiply_add(even, unbias(load(&row[..LANES])), load(&query[..LANES]));
            odd = multiply_add(odd, unbias(load(&row[LANES..])), load(&query[LANES..]));
        }
        *out = reduce(_mm256_add_epi32(even, odd));
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn dot16(hi: &[u8], lo: &[u8], query: &QueryCode) -> [i32; 3] {
    let zero = _mm256_setzero_si256();
    let mut high = zero;
    let mut middle = zero;
    let mut low = zero;
    let rows = hi.chunks_exact(LANES).zip(lo.chunks_exact(LANES));
    let queries = query
        .hi
        .chunks_exact(LANES)
        .zip(query.lo.chunks_exact(LANES));
    for ((hi, lo), (query_hi, query_lo)) in rows.zip(queries) {
        let hi = unbias(load(hi));
        let lo = unbias(load(lo));
        let query_hi = load(query_hi);
        let query_lo = load(query_lo);
        high = multiply_add(high, hi, query_hi);
        middle = multiply_add(multiply_add(middle, hi, query_lo), lo, query_hi);
        low = multiply_add(low, lo, query_lo);
    }
    [reduce(high), reduce(middle), reduce(low)]
}

#[target_feature(enable = "avx2")]
pub(super) fn dot8_stored(a: &[u8], b: &[u8]) -> i32 {
    let mut total = _mm256_setzero_si256();
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        total = multiply_add(total, unbias(load(a)), unbias(load(b)));
    }
    reduce(total)
}
