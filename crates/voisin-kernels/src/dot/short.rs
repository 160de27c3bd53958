//! Short codes: 64 bytes a vector, sixteen vectors side by side, compared with a query.
//!
//! ```text
//! block: codes u8 [16 groups of four bytes, 16 vectors, 4] · scale f32 [16] · offset f32 [16] · name u32 [16]
//! ```
//!
//! Little-endian. A byte is one component, biased by 128 and within ±127, or four of two bits, which stand for -3, -1, 1
//! and 3: byte `i` then has the components `i`, `64 + i`, `128 + i` and `192 + i`, lowest bits first. Codes of 256 bytes,
//! in 64 groups, are compared with queries of 256 components, too. A vector's score is
//! `Σ code · query · scale · factor + offset`: an exact sum of integers, then two products and a sum, each rounded by
//! itself, so every instruction set gives the same bits.

use super::best::Scored;
use super::dispatch;
use crate::Isa;
use crate::isa::Set;

/// Bytes of a short code.
pub const SHORT: usize = 64;
/// Vectors of a block.
pub const LANES: usize = 16;
/// Bytes of a block of short codes.
pub const BLOCK_BYTES: usize = block_bytes(SHORT);
/// Bytes of a block of codes of a byte for each of [`FINE`] components.
const FINE_BLOCK_BYTES: usize = block_bytes(FINE);
/// The name of a place in a block that no vector has taken.
pub const NOBODY: u32 = u32::MAX;
/// Components of a code at two bits each.
pub const FINE: usize = FIELDS * SHORT;

const GROUP: usize = 4 * LANES;
const FIELDS: usize = 4;
/// From the end of a block.
const SCALES: usize = 3 * GROUP;
const OFFSETS: usize = 2 * GROUP;
const NAMES: usize = GROUP;

/// Bytes of a block of codes of so many bytes.
pub const fn block_bytes(code: usize) -> usize {
    code * LANES + SCALES
}

/// A query, and what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct ShortQuery<'a> {
    /// The components, one signed byte each: 64 or 256.
    pub code: &'a [i8],
    /// Sum of `code`.
    pub sum: i32,
    /// Value of one step of `code`.
    pub factor: f32,
    /// Bits of a component of the codes: 8, or 2 where there are 256.
    pub bits: usize,
}

impl<'a> ShortQuery<'a> {
    /// The components by four, as the groups of a block.
    fn groups(self) -> &'a [[i8; 4]] {
        self.code.as_chunks().0
    }
}

/// Groups of a block of so many bytes.
const fn groups(block: usize) -> usize {
    (block - SCALES) / GROUP
}

#[inline]
fn word(group: [i8; 4]) -> i32 {
    i32::from_le_bytes(group.map(|x| x as u8))
}

/// Blocks of nobody, room for `n` codes of so many bytes.
pub fn empty_blocks(n: usize, code: usize) -> Vec<u8> {
    let mut block = vec![0; block_bytes(code)];
    let nothing = vec![0x80; code];
    (0..LANES).for_each(|place| write(&mut block, place, &nothing, 0., f32::NEG_INFINITY, NOBODY));
    block.repeat(n.div_ceil(LANES))
}

/// Puts a vector into one of the places of blocks of such codes.
pub fn write(blocks: &mut [u8], place: usize, code: &[u8], scale: f32, offset: f32, name: u32) {
    let bytes = block_bytes(code.len());
    let (block, lane) = (&mut blocks[place / LANES * bytes..][..bytes], place % LANES);
    for (group, bytes) in code.chunks_exact(4).enumerate() {
        block[GROUP * group + 4 * lane..][..4].copy_from_slice(bytes);
    }
    let end = block.len() + 4 * lane;
    block[end - SCALES..][..4].copy_from_slice(&scale.to_le_bytes());
    block[end - OFFSETS..][..4].copy_from_slice(&offset.to_le_bytes());
    block[end - NAMES..][..4].copy_from_slice(&name.to_le_bytes());
}

/// The short code in a place.
pub fn code(block: &[u8], lane: usize) -> [u8; SHORT] {
    std::array::from_fn(|i| block[GROUP * (i / 4) + 4 * lane + i % 4])
}

/// Scale, offset and name of a place.
#[inline]
pub fn read(block: &[u8], lane: usize) -> (f32, f32, u32) {
    let at = |from_end: usize| {
        let bytes = &block[block.len() - from_end + 4 * lane..][..4];
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    };
    (f32::from_le_bytes(at(SCALES)), f32::from_le_bytes(at(OFFSETS)), u32::from_le_bytes(at(NAMES)))
}

/// What vectors are compared with, and where those go that are near.
pub struct ShortSearch<'a> {
    /// The query.
    pub query: ShortQuery<'a>,
    /// The least score.
    pub limit: f32,
    /// Every vector of this score is appended.
    pub out: &'a mut Vec<Scored>,
}

impl Isa {
    /// Appends every vector of `blocks` whose score is at least `limit`.
    #[inline]
    pub fn near(self, blocks: &[u8], query: ShortQuery<'_>, limit: f32, out: &mut Vec<Scored>) {
        self.near_each(blocks, [ShortSearch { query, limit, out }]);
    }

    /// As [`near`](Self::near) for each of some queries of one kind, which read the blocks together.
    #[inline]
    pub fn near_each<const N: usize>(self, blocks: &[u8], to: [ShortSearch<'_>; N]) {
        /// Constants are divided by at once.
        fn check<const BYTES: usize>(blocks: &[u8]) {
            assert!(blocks.len().is_multiple_of(BYTES), "whole blocks of {BYTES} bytes");
        }
        let Some(first) = to.first().map(|to| (to.query.code.len(), to.query.bits)) else { return };
        assert!(to.iter().all(|to| (to.query.code.len(), to.query.bits) == first), "queries of one kind");
        match first {
            (SHORT, 8) => {
                check::<BLOCK_BYTES>(blocks);
                dispatch!(self, near::<BLOCK_BYTES, N>(blocks, to));
            }
            (FINE, 8) => {
                check::<FINE_BLOCK_BYTES>(blocks);
                dispatch!(self, near::<FINE_BLOCK_BYTES, N>(blocks, to));
            }
            (FINE, 2) => {
                check::<BLOCK_BYTES>(blocks);
                dispatch!(self, near_fields::<N>(blocks, to));
            }
            (components, bits) => panic!("{components} components of {bits} bits"),
        }
    }
}

/// Appends what is marked of a block; whether there is anything at all cannot be foreseen, so this is kept small.
#[inline]
fn collect<const BYTES: usize>(
    block: &[u8; BYTES],
    mut near: u32,
    scores: &[f32; LANES],
    out: &mut Vec<Scored>,
) {
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        near &= near - 1;
        let name = read(block, lane).2;
        if name != NOBODY {
            out.push(Scored::new(scores[lane], name));
        }
    }
}

mod portable {
    use super::{BLOCK_BYTES, FIELDS, GROUP, LANES, SHORT, Scored, ShortQuery, ShortSearch, collect, read};

    pub(super) fn near<const BYTES: usize, const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        to.into_iter().for_each(|to| near_one::<BYTES>(blocks, to));
    }

    fn near_one<const BYTES: usize>(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
        for block in blocks.as_chunks::<BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (codes, query) in block.chunks_exact(GROUP).zip(query.code.chunks_exact(4)) {
                for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
                    for (&x, &q) in codes.iter().zip(query) {
                        *sum += i32::from((x ^ 0x80) as i8) * i32::from(q);
                    }
                }
            }
            score(block, &sums, query, limit, out);
        }
    }

    pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        to.into_iter().for_each(|to| near_fields_one(blocks, to));
    }

    fn near_fields_one(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
        for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (field, query) in query.code.chunks_exact(SHORT).enumerate().take(FIELDS) {
                for (codes, query) in block.chunks_exact(GROUP).zip(query.chunks_exact(4)) {
                    for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
                        for (&x, &q) in codes.iter().zip(query) {
                            *sum += (2 * i32::from(x >> (2 * field) & 3) - 3) * i32::from(q);
                        }
                    }
                }
            }
            score(block, &sums, query, limit, out);
        }
    }

    /// Scores from sums, and those that reach the limit.
    pub(super) fn score<const BYTES: usize>(
        block: &[u8; BYTES],
        sums: &[i32; LANES],
        query: ShortQuery<'_>,
        limit: f32,
        out: &mut Vec<Scored>,
    ) {
        let mut scores = [0_f32; LANES];
        let mut near = 0_u32;
        for lane in 0..LANES {
            let (scale, offset, _) = read(block, lane);
            scores[lane] = sums[lane] as f32 * (scale * query.factor) + offset;
            near |= u32::from(scores[lane] >= limit) << lane;
        }
        collect(block, near, &scores, out);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
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
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _CMP_GE_OQ, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_add_ps,
        _mm256_and_si256, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256,
        _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi8,
        _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_sign_epi8,
        _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256,
    };

    use super::{
        BLOCK_BYTES, FIELDS, GROUP, LANES, OFFSETS, SCALES, SHORT, Scored, ShortQuery, ShortSearch, collect,
        groups, word,
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
        let (factor, limit) = (_mm256_set1_ps(query.factor), _mm256_set1_ps(limit));
        let mut scores = [0_f32; LANES];
        for block in blocks.as_chunks::<BYTES>().0 {
            let mut near = 0;
            for half in 0..2 {
                let at = |from_end: usize| &block[block.len() - from_end + 32 * half..][..32];
                let (scales, offsets) = (at(SCALES), at(OFFSETS));
                // SAFETY: the slices hold 32 bytes each, and any bits are a float.
                let (scale, offset) = unsafe {
                    (_mm256_loadu_ps(scales.as_ptr().cast()), _mm256_loadu_ps(offsets.as_ptr().cast()))
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
        let (bias, ones) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
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
    pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        to.into_iter().for_each(|to| near_fields_one(blocks, to));
    }

    #[target_feature(enable = "avx2")]
    fn near_fields_one(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
        const GROUPS: usize = SHORT / 4;
        /// Groups whose sums stay within 16 bits: 4 · 2 · 3 · 127 each.
        const TOGETHER: usize = 8;
        let q = &query.groups()[..FIELDS * GROUPS];
        let (low, ones) = (_mm256_set1_epi8(3), _mm256_set1_epi16(1));
        let bias = _mm256_set1_epi32(-3 * query.sum);
        with_sums::<BLOCK_BYTES>(blocks, query, limit, out, |block, half| {
            let mut sum = _mm256_setzero_si256();
            for first in (0..GROUPS).step_by(TOGETHER) {
                let mut pairs = _mm256_setzero_si256();
                for group in first..first + TOGETHER {
                    let codes = load(block, GROUP * group + 32 * half);
                    let fields = [
                        codes,
                        _mm256_srli_epi16::<2>(codes),
                        _mm256_srli_epi16::<4>(codes),
                        _mm256_srli_epi16::<6>(codes),
                    ];
                    for (at, field) in fields.into_iter().enumerate() {
                        let q = _mm256_set1_epi32(word(q[GROUPS * at + group]));
                        let products = _mm256_maddubs_epi16(_mm256_and_si256(field, low), q);
                        pairs = _mm256_add_epi16(pairs, products);
                    }
                }
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
            }
            _mm256_add_epi32(bias, _mm256_add_epi32(sum, sum))
        });
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::{
        int16x8_t, uint8x16_t, vaddq_s32, vandq_u8, vdupq_n_s16, vdupq_n_s32, vdupq_n_u8, veorq_u8,
        vget_high_s8, vget_low_s8, vld1q_u8, vmlal_s8, vmull_s8, vpaddlq_s16, vpaddq_s32,
        vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshrq_n_u8, vst1q_s32,
    };

    use super::{BLOCK_BYTES, FIELDS, GROUP, LANES, SHORT, ShortSearch, groups, portable, word};

    #[inline]
    #[target_feature(enable = "neon")]
    fn load(block: &[u8], group: usize, quarter: usize) -> uint8x16_t {
        let codes = &block[GROUP * group + 16 * quarter..][..16];
        // SAFETY: the slice holds 16 bytes.
        unsafe { vld1q_u8(codes.as_ptr()) }
    }

    #[target_feature(enable = "neon")]
    pub(super) fn near<const BYTES: usize, const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        to.into_iter().for_each(|to| near_one::<BYTES>(blocks, to));
    }

    #[target_feature(enable = "neon")]
    fn near_one<const BYTES: usize>(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
        let q = &query.groups()[..const { groups(BYTES) }];
        for block in blocks.as_chunks::<BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
                let mut sum = vdupq_n_s32(0);
                for group in 0..const { groups(BYTES) } {
                    let codes = load(block, group, quarter);
                    let x = vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(0x80)));
                    let q = vreinterpretq_s8_s32(vdupq_n_s32(word(q[group])));
                    let low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(q)));
                    let high = vpaddlq_s16(vmull_s8(vget_high_s8(x), vget_high_s8(q)));
                    sum = vaddq_s32(sum, vpaddq_s32(low, high));
                }
                // SAFETY: the slice holds four sums.
                unsafe { vst1q_s32(sums.as_mut_ptr(), sum) };
            }
            portable::score(block, &sums, query, limit, out);
        }
    }

    #[target_feature(enable = "neon")]
    pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        to.into_iter().for_each(|to| near_fields_one(blocks, to));
    }

    #[target_feature(enable = "neon")]
    fn near_fields_one(blocks: &[u8], ShortSearch { query, limit, out }: ShortSearch<'_>) {
        const GROUPS: usize = SHORT / 4;
        let q = &query.groups()[..FIELDS * GROUPS];
        let three = vdupq_n_u8(3);
        let bias = vdupq_n_s32(-3 * query.sum);
        for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
                // 64 products of at most 3 · 127 each: within 16 bits.
                let [mut low, mut high]: [int16x8_t; 2] = [vdupq_n_s16(0); 2];
                for group in 0..GROUPS {
                    let codes = load(block, group, quarter);
                    let fields: [uint8x16_t; FIELDS] =
                        [codes, vshrq_n_u8::<2>(codes), vshrq_n_u8::<4>(codes), vshrq_n_u8::<6>(codes)];
                    for (field, codes) in fields.into_iter().enumerate() {
                        let x = vreinterpretq_s8_u8(vandq_u8(codes, three));
                        let q = vreinterpretq_s8_s32(vdupq_n_s32(word(q[GROUPS * field + group])));
                        low = vmlal_s8(low, vget_low_s8(x), vget_low_s8(q));
                        high = vmlal_s8(high, vget_high_s8(x), vget_high_s8(q));
                    }
                }
                let sum = vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
                let sum = vaddq_s32(bias, vaddq_s32(sum, sum));
                // SAFETY: the slice holds four sums.
                unsafe { vst1q_s32(sums.as_mut_ptr(), sum) };
            }
            portable::score(block, &sums, query, limit, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// The components of a code.
    fn components(code: &[u8], bits: usize) -> Vec<i32> {
        let fields = |field: usize| code.iter().map(move |&byte| 2 * i32::from(byte >> (2 * field) & 3) - 3);
        match bits {
            2 => (0..FIELDS).flat_map(fields).collect(),
            _ => code.iter().map(|&byte| i32::from(byte) - 128).collect(),
        }
    }

    #[test]
    fn every_instruction_set_finds_the_same_with_the_same_scores() {
        let mut rng = StdRng::seed_from_u64(5);
        for (bytes, bits) in [(SHORT, 8), (FINE, 8), (SHORT, 2)] {
            let n = 16 * 9 - 5;
            let mut blocks = empty_blocks(n, bytes);
            let mut codes = Vec::new();
            for i in 0..n {
                let extreme = i % 10 == 0;
                let code: Vec<u8> =
                    (0..bytes).map(|_| if extreme { 255 } else { rng.random_range(1..=255) }).collect();
                let (scale, offset) = (rng.random::<f32>() * 1e-3, rng.random::<f32>() - 0.5);
                write(&mut blocks, i, &code, scale, offset, 1000 + i as u32);
                let block = &blocks[i / LANES * block_bytes(bytes)..][..block_bytes(bytes)];
                assert_eq!(read(block, i % LANES), (scale, offset, 1000 + i as u32));
                assert_eq!(super::code(block, i % LANES)[..], code[..SHORT]);
                codes.push((components(&code, bits), scale, offset));
            }
            for extreme in [None, Some(127), Some(-127)] {
                let code: Vec<i8> = (0..bytes * 8 / bits)
                    .map(|_| extreme.unwrap_or_else(|| rng.random_range(-127..=127)))
                    .collect();
                let sum = code.iter().map(|&x| i32::from(x)).sum();
                let query = ShortQuery { code: &code, sum, factor: 0.01, bits };
                let all: Vec<Scored> = codes
                    .iter()
                    .zip(1000..)
                    .map(|((x, scale, offset), name)| {
                        let sum: i32 = x.iter().zip(&code).map(|(&x, &q)| x * i32::from(q)).sum();
                        Scored::new(sum as f32 * (scale * query.factor) + offset, name)
                    })
                    .collect();
                let mut sorted: Vec<f32> = all.iter().map(|one| one.score()).collect();
                sorted.sort_by(f32::total_cmp);
                let limits = [f32::NEG_INFINITY, sorted[n / 2], sorted[n - 1], f32::INFINITY];
                let want = limits.map(|limit| -> Vec<Scored> {
                    all.iter().copied().filter(|one| one.score() >= limit).collect()
                });
                for isa in Isa::available() {
                    let (mut got, mut each) = ([const { Vec::new() }; 4], [const { Vec::new() }; 4]);
                    for (&limit, out) in limits.iter().zip(&mut got) {
                        isa.near(&blocks, query, limit, out);
                    }
                    assert_eq!(got, want, "{isa:?} {bytes} {bits} {extreme:?}");
                    // Four queries together, each with a limit and a factor of its own.
                    let mut factors = [1., 1., 2., 0.5].into_iter().zip(limits);
                    let together = each.each_mut().map(|out| {
                        let (factor, limit) = factors.next().expect("four");
                        ShortSearch {
                            query: ShortQuery { factor: factor * query.factor, ..query },
                            limit,
                            out,
                        }
                    });
                    isa.near_each(&blocks, together);
                    let mut alone = [const { Vec::new() }; 4];
                    for ((factor, limit), out) in [1., 1., 2., 0.5].into_iter().zip(limits).zip(&mut alone) {
                        let query = ShortQuery { factor: factor * query.factor, ..query };
                        Isa::PORTABLE.near(&blocks, query, limit, out);
                    }
                    assert_eq!(each, alone, "{isa:?} {bytes} {bits} {extreme:?}");
                }
            }
        }
    }
}
