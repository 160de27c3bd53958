//! AVX2: half a block at a time.

use std::arch::x86_64::{
    __m256i, _CMP_GE_OQ, _mm_cvtsi32_si128, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_movemask_ps, _mm256_mul_ps,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256,
    _mm256_sign_epi8, _mm256_srl_epi16, _mm256_storeu_ps, _mm256_xor_si256,
};

use super::{
    BLOCK_BYTES, GROUP, LANES, OFFSETS, SCALES, SHORT, Scored, ShortQuery, ShortSearch, collect,
    field_bits, groups, largest, whole_sums, word,
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
pub(super) fn near<const BYTES: usize, const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    to.into_iter().for_each(|to| near_one::<BYTES>(blocks, to));
}

#[target_feature(enable = "avx2")]
fn near_one<const BYTES: usize>(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
    let q = &query.groups()[..const { groups(BYTES) }];
    let bias = _mm256_set1_epi8(-128);
    let ones = _mm256_set1_epi16(1);
    with_sums::<BYTES>(blocks, query, limit, out, |block, half| {
        let mut sum = _mm256_setzero_si256();
        for group in 0..const { groups(BYTES) } {
            let q = _mm256_set1_epi32(word(q[group]));
            let x = _mm256_xor_si256(load(block, GROUP * group + 32 * half), bias);
            // Both are within ±127: no sum of two products leaves 16 bits.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(q, x));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        sum
    });
}

#[target_feature(enable = "avx2")]
pub(super) fn near_fields<const FIELDS: usize, const N: usize>(
    blocks: &[u8],
    to: [ShortSearch<'_>; N],
) {
    to.into_iter()
        .for_each(|to| near_fields_one::<FIELDS>(blocks, to));
}

#[target_feature(enable = "avx2")]
fn near_fields_one<const FIELDS: usize>(
    blocks: &[u8],
    ShortSearch { query, limit, out }: ShortSearch<'_>,
) {
    const GROUPS: usize = SHORT / 4;
    // Groups whose sums stay within 16 bits.
    // 16 bits hold the sums of several groups, so the widening to 32 bits is paid once for them
    // all.
    let together = const { whole_sums(GROUPS, 2 * FIELDS, largest(FIELDS)) };
    let q = &query.groups()[..FIELDS * GROUPS];
    let low = _mm256_set1_epi8(largest(FIELDS) as i8);
    let ones = _mm256_set1_epi16(1);
    let bias = _mm256_set1_epi32(-largest(FIELDS) * query.sum);
    with_sums::<BLOCK_BYTES>(blocks, query, limit, out, |block, half| {
        let mut sum = _mm256_setzero_si256();
        for first in (0..GROUPS).step_by(together) {
            let mut pairs = _mm256_setzero_si256();
            for group in first..first + together {
                let codes = load(block, GROUP * group + 32 * half);
                for field in 0..FIELDS {
                    let shift = _mm_cvtsi32_si128((field_bits(FIELDS) * field) as i32);
                    let codes = _mm256_and_si256(_mm256_srl_epi16(codes, shift), low);
                    let q = _mm256_set1_epi32(word(q[GROUPS * field + group]));
                    let products = _mm256_maddubs_epi16(codes, q);
                    pairs = _mm256_add_epi16(pairs, products);
                }
            }
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        // A field holds (value + largest) / 2: the sum is doubled, and the query's sum times the
        // largest subtracted.
        _mm256_add_epi32(bias, _mm256_add_epi32(sum, sum))
    });
}
