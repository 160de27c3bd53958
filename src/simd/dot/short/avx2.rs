//! AVX2: half a block at a time.

use std::arch::x86_64::{
    __m256i, _CMP_GE_OQ, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
    _mm256_and_si256, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_sign_epi8,
    _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256,
};

use super::{
    BLOCK_BYTES, CENTRE_BYTES, COMPONENTS, GROUP, LANES, LARGEST, OFFSETS, SCALES, SHORT, Scored,
    ShortQuery, ShortSearch, collect, word,
};

#[inline]
#[target_feature(enable = "avx2")]
fn load(block: &[u8], at: usize) -> __m256i {
    let half = &block[at..at + 32];
    // SAFETY: the slice holds 32 bytes.
    unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
}

/// - `sum`: products of a half of a block's codes with the query's
#[inline]
#[target_feature(enable = "avx2")]
fn with_sums<const BYTES: usize>(
    blocks: &[u8],
    query: ShortQuery<'_>,
    limit: f32,
    out: &mut Vec<Scored>,
    sum: impl Fn(&[u8; BYTES], usize) -> __m256i,
) {
    let factor = _mm256_set1_ps(query.factor);
    let limit = _mm256_set1_ps(limit);
    let mut scores = [0_f32; LANES];
    for block in blocks.as_chunks::<BYTES>().0 {
        let mut near = 0;
        for half in 0..2 {
            // Scale and offset are at the same distance from the block's end for codes of every
            // length.
            let at = |from_end: usize| &block[block.len() - from_end + 32 * half..][..32];
            let scales = at(SCALES);
            let offsets = at(OFFSETS);
            // SAFETY: the slices hold 32 bytes each, and any bits are a float.
            let (scale, offset) = unsafe {
                (
                    _mm256_loadu_ps(scales.as_ptr().cast()),
                    _mm256_loadu_ps(offsets.as_ptr().cast()),
                )
            };
            let sum = sum(block, half);
            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(scale, factor));
            let score = _mm256_add_ps(product, offset);
            let reached = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(score, limit)) as u32;
            near |= reached << (8 * half);
            let half = &mut scores[8 * half..][..8];
            // SAFETY: the slice holds 32 bytes.
            unsafe { _mm256_storeu_ps(half.as_mut_ptr(), score) };
        }
        collect(block, near, &scores, out);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn near_bytes<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    let bias = _mm256_set1_epi8(-128);
    let ones = _mm256_set1_epi16(1);
    for ShortSearch { query, limit, out } in to {
        let q = &query.groups()[..COMPONENTS / 4];
        with_sums::<CENTRE_BYTES>(blocks, query, limit, out, |block, half| {
            let mut sum = _mm256_setzero_si256();
            for group in 0..COMPONENTS / 4 {
                let q = _mm256_set1_epi32(word(q[group]));
                let x = _mm256_xor_si256(load(block, GROUP * group + 32 * half), bias);
                // Both are within ±127: no sum of two products leaves 16 bits.
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(q, x));
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            sum
        });
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    const GROUPS: usize = SHORT / 4;
    /// Groups whose sums, of two products in each of two fields, stay within 16 bits.
    const TOGETHER: usize = 4;
    let fields = _mm256_set1_epi8(LARGEST as i8);
    let ones = _mm256_set1_epi16(1);
    for ShortSearch { query, limit, out } in to {
        let (low, high) = query.groups()[..2 * GROUPS].split_at(GROUPS);
        let bias = _mm256_set1_epi32(-LARGEST * query.sum);
        with_sums::<BLOCK_BYTES>(blocks, query, limit, out, |block, half| {
            let mut sum = _mm256_setzero_si256();
            for first in (0..GROUPS).step_by(TOGETHER) {
                let mut pairs = _mm256_setzero_si256();
                for group in first..first + TOGETHER {
                    let codes = load(block, GROUP * group + 32 * half);
                    let shifted = _mm256_srli_epi16::<4>(codes);
                    for (codes, q) in [(codes, low[group]), (shifted, high[group])] {
                        let codes = _mm256_and_si256(codes, fields);
                        let q = _mm256_set1_epi32(word(q));
                        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes, q));
                    }
                }
                // The widening to 32 bits is paid once for several groups.
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            // A field holds (value + largest) / 2: the sum is doubled, and the query's sum times
            // the largest subtracted.
            _mm256_add_epi32(bias, _mm256_add_epi32(sum, sum))
        });
    }
}
