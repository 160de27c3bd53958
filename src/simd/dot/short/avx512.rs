//! AVX-512: a block of sixteen vectors in sixteen lanes, four queries with one block.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GE_OQ, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32,
    _mm512_add_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_si256,
    _mm512_cmp_ps_mask, _mm512_cmpneq_epi32_mask, _mm512_cvtepi32_ps, _mm512_cvtepu32_epi64,
    _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_maskz_compress_epi64, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srai_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};

use std::array::from_fn;

use super::{
    BLOCK_BYTES, CENTRE_BYTES, GROUP, LANES, LARGEST, NAMES, NOBODY, OFFSETS, SCALES, SHORT,
    ShortSearch, word,
};

/// Blocks prefetched ahead of the one being compared.
const AHEAD: usize = 3;
/// Groups of a short code.
const GROUPS: usize = SHORT / 4;

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

/// Sums of several blocks with each of several queries.
type BlockSums<const BLOCKS: usize, const N: usize> = [[__m512i; N]; BLOCKS];

/// - `sums`: products of the codes of some blocks with those of each query
/// - `sums_of_one`: the same for each of the blocks that are left
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
fn with_sums<const BYTES: usize, const BLOCKS: usize, const N: usize>(
    blocks: &[u8],
    to: &mut [ShortSearch<'_>; N],
    sums: impl Fn(&[[u8; BYTES]; BLOCKS]) -> BlockSums<BLOCKS, N>,
    sums_of_one: impl Fn(&[[u8; BYTES]; 1]) -> BlockSums<1, N>,
) {
    // Room for all, as matches are written eight at a time.
    to.iter_mut()
        .for_each(|to| to.out.reserve(blocks.len() / BYTES * LANES));
    let terms = from_fn(|at| {
        (
            _mm512_set1_ps(to[at].query.factor),
            _mm512_set1_ps(to[at].limit),
        )
    });
    let fetch = |from: usize| {
        let ahead = from + AHEAD * BYTES;
        // Blocks of centres are in the second cache and read in order.
        if BYTES == BLOCK_BYTES && ahead + BYTES <= blocks.len() {
            for line in 0..BYTES / 64 {
                // SAFETY: inside the slice, and a prefetch does not access memory.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>(blocks.as_ptr().add(ahead + 64 * line).cast());
                };
            }
        }
    };
    let (some, rest) = blocks.as_chunks::<BYTES>().0.as_chunks::<BLOCKS>();
    for (s, some) in some.iter().enumerate() {
        (0..BLOCKS).for_each(|b| fetch((s * BLOCKS + b) * BYTES));
        for (block, sums) in some.iter().zip(sums(some)) {
            collect(block, to, &terms, sums);
        }
    }
    for block in rest {
        let [sums] = sums_of_one(std::array::from_ref(block));
        collect(block, to, &terms, sums);
    }
}

/// Appends the matches of a block; `to` must have room for all its vectors.
///
/// - `terms`: factor and limit of each query
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
fn collect<const BYTES: usize, const N: usize>(
    block: &[u8; BYTES],
    to: &mut [ShortSearch<'_>; N],
    terms: &[(__m512, __m512); N],
    sums: [__m512i; N],
) {
    let scales = floats(block, SCALES);
    let offsets = floats(block, OFFSETS);
    let mut scores = [offsets; N];
    let mut near = [0; N];
    for at in 0..N {
        let step = _mm512_mul_ps(scales, terms[at].0);
        scores[at] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[at]), step), offsets);
        near[at] = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(scores[at], terms[at].1);
    }
    // One branch for all sums, so that they are computed in parallel.
    if near.iter().fold(0, |any, near| any | near) == 0 {
        return;
    }
    for at in 0..N {
        if near[at] != 0 {
            let names = load(block, block.len() - NAMES);
            let near = near[at] & _mm512_cmpneq_epi32_mask(names, _mm512_set1_epi32(NOBODY as i32));
            let out = &mut *to[at].out;
            for (keys, near) in keys(scores[at], names)
                .into_iter()
                .zip([near as u8, (near >> 8) as u8])
            {
                let end = out.len();
                debug_assert!(out.capacity() - end >= LANES / 2);
                // SAFETY: `with_sums` made room for the sixteen vectors of each block; of `b`
                // blocks before this one at most 16 `b` were written, and 8 of this one before its
                // second half.
                unsafe {
                    let place = out.as_mut_ptr().add(end);
                    _mm512_storeu_si512(place.cast(), _mm512_maskz_compress_epi64(near, keys));
                    out.set_len(end + near.count_ones() as usize);
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
    let negative = _mm512_srai_epi32::<31>(bits);
    let top = _mm512_set1_epi32(i32::MIN);
    let descending = _mm512_ternarylogic_epi32::<DESCENDING>(bits, negative, top);
    let key = |descending: __m256i, names: __m256i| {
        let high = _mm512_slli_epi64::<32>(_mm512_cvtepu32_epi64(descending));
        _mm512_or_si512(high, _mm512_cvtepu32_epi64(names))
    };
    let upper = _mm512_extracti64x4_epi64::<1>(descending);
    let upper_names = _mm512_extracti64x4_epi64::<1>(names);
    [
        key(
            _mm512_castsi512_si256(descending),
            _mm512_castsi512_si256(names),
        ),
        key(upper, upper_names),
    ]
}

/// The components of each query by four; with their number known at compile time, no index is
/// checked.
fn by_groups<'a, const N: usize>(to: &[ShortSearch<'a>; N]) -> [&'a [[i8; 4]; 2 * GROUPS]; N] {
    to.each_ref()
        .map(|to| to.query.groups().first_chunk().expect("all components"))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
pub(super) fn near_bytes<const N: usize>(blocks: &[u8], mut to: [ShortSearch<'_>; N]) {
    /// Sums that do not wait for each other.
    const CHAINS: usize = 4;
    let queries = by_groups(&to);
    // The bias of the codes adds 128 times the query's sum to each sum of products.
    let bias: [__m512i; N] = from_fn(|at| _mm512_set1_epi32(-128 * to[at].query.sum));
    let sums = |[block]: &[[u8; CENTRE_BYTES]; 1]| {
        let mut sums = [[_mm512_setzero_si512(); CHAINS]; N];
        // In steps of this, each sum is known at compile time and stays in a register.
        for first in (0..2 * GROUPS).step_by(CHAINS) {
            for group in 0..CHAINS {
                let chain = group % const { CHAINS.div_ceil(N) };
                let group = first + group;
                let codes = load(block, GROUP * group);
                for at in 0..N {
                    let q = _mm512_set1_epi32(word(queries[at][group]));
                    sums[at][chain] = _mm512_dpbusd_epi32(sums[at][chain], codes, q);
                }
            }
        }
        [from_fn(|at| {
            let [a, b, c, d] = sums[at];
            let all = _mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d));
            _mm512_add_epi32(all, bias[at])
        })]
    };
    with_sums::<CENTRE_BYTES, 1, N>(blocks, &mut to, sums, sums);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    // Eight sums that do not wait for each other.
    if const { N == 1 } {
        near_fields_in::<4, N>(blocks, to);
    } else {
        near_fields_in::<1, N>(blocks, to);
    }
}

/// As [`near_fields`], several blocks at once.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
fn near_fields_in<const BLOCKS: usize, const N: usize>(
    blocks: &[u8],
    mut to: [ShortSearch<'_>; N],
) {
    let queries = by_groups(&to);
    let bias: [__m512i; N] = from_fn(|at| _mm512_set1_epi32(-LARGEST * to[at].query.sum));
    with_sums::<BLOCK_BYTES, BLOCKS, N>(
        blocks,
        &mut to,
        |some| products_of_fields::<BLOCKS, N>(some, &queries, &bias),
        |some| products_of_fields::<1, N>(some, &queries, &bias),
    );
}

/// Sums of products of codes whose bytes have two fields.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni,popcnt")]
fn products_of_fields<const BLOCKS: usize, const N: usize>(
    blocks: &[[u8; BLOCK_BYTES]; BLOCKS],
    queries: &[&[[i8; 4]; 2 * GROUPS]; N],
    bias: &[__m512i; N],
) -> BlockSums<BLOCKS, N> {
    let low = _mm512_set1_epi8(LARGEST as i8);
    let high = _mm512_set1_epi8((LARGEST << 4) as i8);
    let mut sums = [[[_mm512_setzero_si512(); 2]; N]; BLOCKS];
    for group in 0..GROUPS {
        let codes: [__m512i; BLOCKS] = from_fn(|b| load(&blocks[b], GROUP * group));
        for (field, mask) in [low, high].into_iter().enumerate() {
            // The upper field is masked in place instead of shifted down: the shift is exact on the
            // sum and done once there.
            let codes = codes.map(|codes| _mm512_and_si512(codes, mask));
            for at in 0..N {
                let q = _mm512_set1_epi32(word(queries[at][GROUPS * field + group]));
                for b in 0..BLOCKS {
                    sums[b][at][field] = _mm512_dpbusd_epi32(sums[b][at][field], codes[b], q);
                }
            }
        }
    }
    let total = |[low, high]: [__m512i; 2], at: usize| {
        let sum = _mm512_add_epi32(low, _mm512_srai_epi32::<4>(high));
        _mm512_add_epi32(bias[at], _mm512_add_epi32(sum, sum))
    };
    sums.map(|sums| from_fn(|at| total(sums[at], at)))
}
