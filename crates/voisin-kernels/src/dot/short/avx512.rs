//! AVX-512: a block of sixteen vectors in sixteen lanes, four questions with one block.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GE_OQ, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_add_ps,
    _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cmpneq_epi32_mask, _mm512_cvtepi32_ps, _mm512_cvtepu32_epi64, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_maskz_compress_epi64,
    _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srai_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32,
};

use std::array::from_fn;

use super::{
    BLOCK_BYTES, FIELDS, GROUP, LANES, NAMES, NOBODY, OFFSETS, SCALES, SHORT, ShortSearch, groups, word,
};

/// Blocks asked for ahead of the one being compared.
const AHEAD: usize = 3;

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &[u8], at: usize) -> __m512i {
    let line = &block[at..at + 64];
    // SAFETY: the slice holds 64 bytes.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn floats(block: &[u8], from_end: usize) -> __m512 {
    let line = &block[block.len() - from_end..][..64];
    // SAFETY: the slice holds 64 bytes, and any bits are a float.
    unsafe { _mm512_loadu_ps(line.as_ptr().cast()) }
}

/// - `sums`: products of a block's codes with those of each query
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vpopcntdq")]
fn with_sums<const BYTES: usize, const N: usize>(
    blocks: &[u8],
    to: &mut [ShortSearch<'_>; N],
    sums: impl Fn(&[u8; BYTES]) -> [__m512i; N],
) {
    // Room for all: what is near is written eight at a time.
    to.iter_mut().for_each(|to| to.out.reserve(blocks.len() / BYTES * LANES));
    let terms: [(__m512, __m512); N] =
        from_fn(|at| (_mm512_set1_ps(to[at].query.factor), _mm512_set1_ps(to[at].limit)));
    for (b, block) in blocks.as_chunks::<BYTES>().0.iter().enumerate() {
        let ahead = (b + AHEAD) * BYTES;
        // Centres are in the second cache, and read one after the other.
        if BYTES == BLOCK_BYTES && ahead + BYTES <= blocks.len() {
            for line in 0..BYTES / 64 {
                // SAFETY: inside the slice; and a prefetch does not access memory.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(blocks.as_ptr().add(ahead + 64 * line).cast()) };
            }
        }
        let (scales, offsets) = (floats(block, SCALES), floats(block, OFFSETS));
        for ((to, (factor, limit)), sum) in to.iter_mut().zip(terms).zip(sums(block)) {
            let step = _mm512_mul_ps(scales, factor);
            let score = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), step), offsets);
            let near = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, limit);
            if near != 0 {
                let names = load(block, block.len() - NAMES);
                let near = near & _mm512_cmpneq_epi32_mask(names, _mm512_set1_epi32(NOBODY as i32));
                for (keys, near) in keys(score, names).into_iter().zip([near as u8, (near >> 8) as u8]) {
                    let end = to.out.len();
                    // SAFETY: there is room for the sixteen vectors of each block; before this half at most 16 `b`, and
                    // 8 of this block, were written.
                    unsafe {
                        let place = to.out.as_mut_ptr().add(end);
                        _mm512_storeu_si512(place.cast(), _mm512_maskz_compress_epi64(near, keys));
                        to.out.set_len(end + near.count_ones() as usize);
                    }
                }
            }
        }
    }
}

/// [`Scored`] of sixteen scores and names.
#[inline]
#[target_feature(enable = "avx512f")]
fn keys(score: __m512, names: __m512i) -> [__m512i; 2] {
    /// `!(a ^ (b | c))`
    const DESCENDING: i32 = 0b1110_0001;
    let bits = _mm512_castps_si512(score);
    let (negative, top) = (_mm512_srai_epi32::<31>(bits), _mm512_set1_epi32(i32::MIN));
    let descending = _mm512_ternarylogic_epi32::<DESCENDING>(bits, negative, top);
    let key = |descending: __m256i, names: __m256i| {
        let high = _mm512_slli_epi64::<32>(_mm512_cvtepu32_epi64(descending));
        _mm512_or_si512(high, _mm512_cvtepu32_epi64(names))
    };
    let (upper, upper_names) =
        (_mm512_extracti64x4_epi64::<1>(descending), _mm512_extracti64x4_epi64::<1>(names));
    [key(_mm512_castsi512_si256(descending), _mm512_castsi512_si256(names)), key(upper, upper_names)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vpopcntdq")]
pub(super) fn near<const BYTES: usize, const N: usize>(blocks: &[u8], mut to: [ShortSearch<'_>; N]) {
    /// Groups of a query that stay in registers.
    const HELD: usize = 16;
    /// Sums that do not wait for each other.
    const CHAINS: usize = 4;
    let zero = _mm512_setzero_si512();
    let queries: [&[[i8; 4]]; N] = from_fn(|at| &to[at].query.groups()[..const { groups(BYTES) }]);
    let is_held = const { N == 1 && groups(BYTES) <= HELD };
    let mut held = [zero; HELD];
    if is_held {
        for group in 0..HELD {
            held[group] = _mm512_set1_epi32(word(queries[0][group]));
        }
    }
    // What the bias of the codes adds to each sum is taken back.
    let bias: [__m512i; N] = from_fn(|at| _mm512_set1_epi32(-128 * to[at].query.sum));
    with_sums::<BYTES, N>(blocks, &mut to, move |block| {
        let mut sums = [[zero; CHAINS]; N];
        for group in 0..const { groups(BYTES) } {
            let codes = load(block, GROUP * group);
            for at in 0..N {
                let q = if is_held { held[group] } else { _mm512_set1_epi32(word(queries[at][group])) };
                let sum = &mut sums[at][group % const { CHAINS.div_ceil(N) }];
                *sum = _mm512_dpbusd_epi32(*sum, codes, q);
            }
        }
        let total = |at: usize| {
            let [a, b, c, d] = sums[at];
            let all = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
            _mm512_add_epi32(all, bias[at])
        };
        from_fn(total)
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vpopcntdq")]
pub(super) fn near_fields<const N: usize>(blocks: &[u8], mut to: [ShortSearch<'_>; N]) {
    const GROUPS: usize = SHORT / 4;
    let zero = _mm512_setzero_si512();
    let queries: [&[[i8; 4]]; N] = from_fn(|at| &to[at].query.groups()[..FIELDS * GROUPS]);
    let masks = [3, 12, 48, -64].map(|mask| _mm512_set1_epi8(mask));
    let bias: [__m512i; N] = from_fn(|at| _mm512_set1_epi32(-3 * to[at].query.sum));
    with_sums::<BLOCK_BYTES, N>(blocks, &mut to, move |block| {
        // A field where it stands is its value times 4^field.
        let mut sums = [[zero; FIELDS]; N];
        for group in 0..GROUPS {
            let codes = load(block, GROUP * group);
            for field in 0..FIELDS {
                let codes = _mm512_and_si512(codes, masks[field]);
                for at in 0..N {
                    let q = _mm512_set1_epi32(word(queries[at][GROUPS * field + group]));
                    sums[at][field] = _mm512_dpbusd_epi32(sums[at][field], codes, q);
                }
            }
        }
        let total = |at: usize| {
            let [first, second, third, fourth] = sums[at];
            let (second, third) = (_mm512_srai_epi32::<2>(second), _mm512_srai_epi32::<4>(third));
            let sum = _mm512_add_epi32(
                _mm512_add_epi32(first, second),
                _mm512_add_epi32(third, _mm512_srai_epi32::<6>(fourth)),
            );
            _mm512_add_epi32(bias[at], _mm512_add_epi32(sum, sum))
        };
        from_fn(total)
    });
}
