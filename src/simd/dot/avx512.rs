//! AVX-512: 64 products an instruction by VNNI.

use std::arch::x86_64::{
    __m512i, _MM_HINT_T1, _mm_add_epi32, _mm_prefetch, _mm_storeu_si128, _mm256_add_epi32,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm512_add_epi32, _mm512_castsi512_si256,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi32,
    _mm512_set1_epi8, _mm512_setzero_si512, _mm512_sub_epi32, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::{ALIGN, QueryCode};

/// Rows fetched ahead of the one being multiplied, into the second cache.
const AHEAD: usize = 48;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot8_list(plane: &[u8], ids: &[u32], query: &[i8], sum: i32, out: &mut [i32]) {
    // With the width known at compile time, the whole query stays in registers; 256 and 512 bytes
    // are the usual widths.
    match query.len() / ALIGN {
        4 => dot8_fixed::<4>(plane, ids, query, sum, out),
        8 => dot8_fixed::<8>(plane, ids, query, sum, out),
        _ => {
            for (&id, out) in ids.iter().zip(out) {
                let row = &plane[id as usize * query.len()..][..query.len()];
                let mut total = _mm512_setzero_si512();
                for (row, query) in row.chunks_exact(ALIGN).zip(query.chunks_exact(ALIGN)) {
                    total = _mm512_dpbusd_epi32(total, load(row), load(query));
                }
                // The plane's bytes are unsigned, 128 too large each, which adds 128 · Σ query to
                // the sum.
                *out = _mm512_reduce_add_epi32(total) - 128 * sum;
            }
        }
    }
}

/// One cache line of a row or a query.
#[inline]
#[target_feature(enable = "avx512f")]
fn load<T>(chunk: &[T]) -> __m512i {
    assert!(size_of_val(chunk) >= ALIGN);
    // SAFETY: the slice holds at least 64 bytes of plain integers.
    unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) }
}

/// Rows of `N` cache lines, the query kept in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dot8_fixed<const N: usize>(plane: &[u8], ids: &[u32], query: &[i8], sum: i32, out: &mut [i32]) {
    let width = N * ALIGN;
    let mut q = [_mm512_setzero_si512(); N];
    for (q, chunk) in q.iter_mut().zip(query.chunks_exact(ALIGN)) {
        *q = load(chunk);
    }
    let fetch = |id: u32| {
        // A core can have few lines in flight to the first cache and would stall; the second cache
        // takes more.
        let at = id as usize * width;
        if at + width <= plane.len() {
            for line in 0..N {
                // SAFETY: inside the plane, and a prefetch does not access memory.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T1>(plane.as_ptr().add(at + line * ALIGN).cast());
                };
            }
        }
    };
    let total = |id: u32| {
        let row = &plane[id as usize * width..][..width];
        let mut even = _mm512_setzero_si512();
        let mut odd = _mm512_setzero_si512();
        for (line, pair) in row.chunks_exact(2 * ALIGN).enumerate() {
            even = _mm512_dpbusd_epi32(even, load(&pair[..ALIGN]), q[2 * line]);
            odd = _mm512_dpbusd_epi32(odd, load(&pair[ALIGN..]), q[2 * line + 1]);
        }
        _mm512_add_epi32(even, odd)
    };
    ids.iter().take(AHEAD).for_each(|&id| fetch(id));
    // Four sums are reduced together, which takes fewer shuffles.
    let (fours, rest) = ids.as_chunks::<4>();
    let (sums, rest_sums) = out.as_chunks_mut::<4>();
    for (i, (four, sums)) in fours.iter().zip(sums).enumerate() {
        ids.iter()
            .skip(4 * i + AHEAD)
            .take(4)
            .for_each(|&id| fetch(id));
        *sums = reduce(four.map(&total)).map(|total| total - 128 * sum);
    }
    for (&id, out) in rest.iter().zip(rest_sums) {
        *out = _mm512_reduce_add_epi32(total(id)) - 128 * sum;
    }
}

/// The sums of the lanes of four registers.
#[inline]
#[target_feature(enable = "avx512f")]
fn reduce([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
    // In each part of four lanes, two of the four sums, and then all.
    let pair = |x, y| _mm512_add_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
    let ab = pair(a, b);
    let cd = pair(c, d);
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(
        _mm512_castsi512_si256(all),
        _mm512_extracti64x4_epi64::<1>(all),
    );
    let quarter = _mm_add_epi32(
        _mm256_castsi256_si128(half),
        _mm256_extracti128_si256::<1>(half),
    );
    let mut sums = [0; 4];
    // SAFETY: the array holds 16 bytes.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), quarter) };
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot16(hi: &[u8], lo: &[u8], query: &QueryCode) -> [i32; 3] {
    let zero = _mm512_setzero_si512();
    // The two cross products have a register each: the products of one line must not wait for each
    // other.
    let mut high = zero;
    let mut middle = zero;
    let mut cross = zero;
    let mut low = zero;
    let rows = hi.chunks_exact(ALIGN).zip(lo.chunks_exact(ALIGN));
    let queries = query
        .hi
        .chunks_exact(ALIGN)
        .zip(query.lo.chunks_exact(ALIGN));
    for ((hi, lo), (query_hi, query_lo)) in rows.zip(queries) {
        let hi = load(hi);
        let lo = load(lo);
        let query_hi = load(query_hi);
        let query_lo = load(query_lo);
        high = _mm512_dpbusd_epi32(high, hi, query_hi);
        middle = _mm512_dpbusd_epi32(middle, hi, query_lo);
        cross = _mm512_dpbusd_epi32(cross, lo, query_hi);
        low = _mm512_dpbusd_epi32(low, lo, query_lo);
    }
    let [high, middle, low, _] = reduce([high, _mm512_add_epi32(middle, cross), low, zero]);
    [
        high - 128 * query.hi_sum,
        middle - 128 * (query.hi_sum + query.lo_sum),
        low - 128 * query.lo_sum,
    ]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot8_stored(a: &[u8], b: &[u8]) -> i32 {
    let bias = _mm512_set1_epi8(-128);
    let mut total = _mm512_setzero_si512();
    let mut biased = _mm512_setzero_si512();
    for (a, b) in a.chunks_exact(ALIGN).zip(b.chunks_exact(ALIGN)) {
        let b = _mm512_xor_si512(load(b), bias);
        total = _mm512_dpbusd_epi32(total, load(a), b);
        // 128 · b: the excess that the bias of `a` adds.
        biased = _mm512_dpbusd_epi32(biased, bias, b);
    }
    _mm512_reduce_add_epi32(_mm512_sub_epi32(total, biased))
}
