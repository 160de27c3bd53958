//! Short codes: 64 components of one byte, sixteen vectors side by side, compared with a query that stays in registers.
//!
//! ```text
//! block: codes u8 [16 groups of four components, 16 vectors, 4] · scale f32 [16] · offset f32 [16] · name u32 [16]
//! ```
//!
//! Little-endian. Codes are biased by 128, values are within ±127. A vector's score is
//! `Σ code · query · scale · factor + offset`: an exact sum of integers, then two products and a sum, each rounded by
//! itself, so every instruction set gives the same bits.

use super::dispatch;
use crate::Isa;
use crate::isa::Set;

/// Components of a short code.
pub const SHORT: usize = 64;
/// Vectors of a block.
pub const LANES: usize = 16;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = SHORT * LANES + 3 * 4 * LANES;
/// The name of a place in a block that no vector has taken.
pub const NOBODY: u32 = u32::MAX;

const GROUP: usize = 4 * LANES;
const SCALES: usize = SHORT * LANES;
const OFFSETS: usize = SCALES + 4 * LANES;
const NAMES: usize = OFFSETS + 4 * LANES;

/// A query at the length of a short code.
#[derive(Debug, Clone, Copy)]
pub struct ShortQuery {
    /// The components, one signed byte each.
    pub code: [i8; SHORT],
    /// Value of one step of `code`.
    pub factor: f32,
}

impl ShortQuery {
    fn group(&self, group: usize) -> i32 {
        let code = &self.code[4 * group..][..4];
        i32::from_le_bytes([code[0] as u8, code[1] as u8, code[2] as u8, code[3] as u8])
    }

    /// What the bias of the stored codes adds to each sum, taken back.
    #[cfg(target_arch = "x86_64")]
    fn bias(&self) -> i32 {
        -128 * self.code.iter().map(|&x| i32::from(x)).sum::<i32>()
    }
}

/// A vector by its name, with its score.
pub type Scored = (f32, u32);

/// Blocks of nobody, room for `n` vectors.
pub fn empty_blocks(n: usize) -> Vec<u8> {
    let mut block = [0x80; BLOCK_BYTES];
    for lane in 0..LANES {
        write(&mut block, lane, &[0; SHORT], 0., f32::NEG_INFINITY, NOBODY);
    }
    block.repeat(n.div_ceil(LANES))
}

/// Puts a vector into a place of its block.
pub fn write(block: &mut [u8], lane: usize, code: &[i8; SHORT], scale: f32, offset: f32, name: u32) {
    for (group, values) in code.chunks_exact(4).enumerate() {
        for (byte, &value) in block[GROUP * group + 4 * lane..][..4].iter_mut().zip(values) {
            *byte = value as u8 ^ 0x80;
        }
    }
    block[SCALES + 4 * lane..][..4].copy_from_slice(&scale.to_le_bytes());
    block[OFFSETS + 4 * lane..][..4].copy_from_slice(&offset.to_le_bytes());
    block[NAMES + 4 * lane..][..4].copy_from_slice(&name.to_le_bytes());
}

/// The components in a place.
pub fn code(block: &[u8], lane: usize) -> [i8; SHORT] {
    std::array::from_fn(|i| (block[GROUP * (i / 4) + 4 * lane + i % 4] ^ 0x80) as i8)
}

/// Scale, offset and name of a place.
pub fn read(block: &[u8], lane: usize) -> (f32, f32, u32) {
    let at = |start: usize| {
        let bytes = &block[start + 4 * lane..][..4];
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    };
    (f32::from_le_bytes(at(SCALES)), f32::from_le_bytes(at(OFFSETS)), u32::from_le_bytes(at(NAMES)))
}

impl Isa {
    /// Appends every vector of `blocks` whose score is at least `limit`.
    #[inline]
    pub fn near(self, blocks: &[u8], query: &ShortQuery, limit: f32, out: &mut Vec<Scored>) {
        assert!(blocks.len().is_multiple_of(BLOCK_BYTES), "whole blocks of {BLOCK_BYTES} bytes");
        dispatch!(self, near(blocks, query, limit, out));
    }
}

/// Appends what is marked of a block; whether there is anything at all cannot be foreseen, so this is kept small.
#[inline]
fn collect(block: &[u8], mut near: u32, scores: &[f32; LANES], out: &mut Vec<Scored>) {
    while near != 0 {
        let lane = near.trailing_zeros() as usize;
        near &= near - 1;
        let name = read(block, lane).2;
        if name != NOBODY {
            out.push((scores[lane], name));
        }
    }
}

mod portable {
    use super::{BLOCK_BYTES, GROUP, LANES, Scored, ShortQuery, collect, read};

    pub(super) fn near(blocks: &[u8], query: &ShortQuery, limit: f32, out: &mut Vec<Scored>) {
        for block in blocks.chunks_exact(BLOCK_BYTES) {
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

    /// Scores from sums, and those that reach the limit.
    pub(super) fn score(
        block: &[u8],
        sums: &[i32; LANES],
        query: &ShortQuery,
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
        __m512, __m512i, _CMP_GE_OQ, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_add_ps,
        _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512, _mm512_storeu_ps,
    };

    use super::{BLOCK_BYTES, GROUP, LANES, OFFSETS, SCALES, SHORT, Scored, ShortQuery, collect};

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
    fn floats(block: &[u8], at: usize) -> __m512 {
        let line = &block[at..at + 64];
        // SAFETY: the slice holds 64 bytes, and any bits are a float.
        unsafe { _mm512_loadu_ps(line.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx512vpopcntdq")]
    pub(super) fn near(blocks: &[u8], query: &ShortQuery, limit: f32, out: &mut Vec<Scored>) {
        let mut q = [_mm512_setzero_si512(); SHORT / 4];
        for (group, q) in q.iter_mut().enumerate() {
            *q = _mm512_set1_epi32(query.group(group));
        }
        let (bias, factor) = (_mm512_set1_epi32(query.bias()), _mm512_set1_ps(query.factor));
        let limit = _mm512_set1_ps(limit);
        let mut scores = [0_f32; LANES];
        for (b, block) in blocks.chunks_exact(BLOCK_BYTES).enumerate() {
            let ahead = (b + AHEAD) * BLOCK_BYTES;
            if ahead + BLOCK_BYTES <= blocks.len() {
                for line in 0..BLOCK_BYTES / 64 {
                    // SAFETY: inside the slice; and a prefetch does not access memory.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(blocks.as_ptr().add(ahead + 64 * line).cast()) };
                }
            }
            let zero = _mm512_setzero_si512();
            let mut sums = [bias, zero, zero, zero];
            for group in 0..SHORT / 4 {
                let sum = &mut sums[group % 4];
                *sum = _mm512_dpbusd_epi32(*sum, load(block, GROUP * group), q[group]);
            }
            let sum =
                _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]));
            let step = _mm512_mul_ps(floats(block, SCALES), factor);
            let score = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), step), floats(block, OFFSETS));
            let near = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, limit);
            if near != 0 {
                // SAFETY: the array holds 64 bytes.
                unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), score) };
                collect(block, u32::from(near), &scores, out);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _CMP_GE_OQ, _mm256_abs_epi8, _mm256_add_epi32, _mm256_add_ps, _mm256_cmp_ps,
        _mm256_cvtepi32_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32,
        _mm256_set1_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_ps, _mm256_xor_si256,
    };

    use super::{BLOCK_BYTES, GROUP, LANES, OFFSETS, SCALES, SHORT, Scored, ShortQuery, collect};

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(block: &[u8], at: usize) -> __m256i {
        let half = &block[at..at + 32];
        // SAFETY: the slice holds 32 bytes.
        unsafe { _mm256_loadu_si256(half.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn near(blocks: &[u8], query: &ShortQuery, limit: f32, out: &mut Vec<Scored>) {
        let mut q = [_mm256_setzero_si256(); SHORT / 4];
        for (group, q) in q.iter_mut().enumerate() {
            *q = _mm256_set1_epi32(query.group(group));
        }
        let (bias, ones) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
        let (factor, limit) = (_mm256_set1_ps(query.factor), _mm256_set1_ps(limit));
        let mut scores = [0_f32; LANES];
        for block in blocks.chunks_exact(BLOCK_BYTES) {
            let mut near = 0;
            for half in 0..2 {
                let mut sum = _mm256_setzero_si256();
                for (group, &q) in q.iter().enumerate() {
                    let x = _mm256_xor_si256(load(block, GROUP * group + 32 * half), bias);
                    // Both are within ±127: no sum of two products leaves 16 bits.
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(q, x));
                    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
                }
                let (scales, offsets) =
                    (&block[SCALES + 32 * half..][..32], &block[OFFSETS + 32 * half..][..32]);
                // SAFETY: the slices hold 32 bytes each, and any bits are a float.
                let (scale, offset) = unsafe {
                    (_mm256_loadu_ps(scales.as_ptr().cast()), _mm256_loadu_ps(offsets.as_ptr().cast()))
                };
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
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::{
        vaddq_s32, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_high_s8, vget_low_s8, vld1q_u8, vmull_s8,
        vpaddlq_s16, vpaddq_s32, vreinterpretq_s8_s32, vreinterpretq_s8_u8, vst1q_s32,
    };

    use super::{BLOCK_BYTES, GROUP, LANES, SHORT, Scored, ShortQuery, portable};

    #[target_feature(enable = "neon")]
    pub(super) fn near(blocks: &[u8], query: &ShortQuery, limit: f32, out: &mut Vec<Scored>) {
        for block in blocks.chunks_exact(BLOCK_BYTES) {
            let mut sums = [0_i32; LANES];
            for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
                let mut sum = vdupq_n_s32(0);
                for group in 0..SHORT / 4 {
                    let codes = &block[GROUP * group + 16 * quarter..][..16];
                    // SAFETY: the slice holds 16 bytes.
                    let codes = unsafe { vld1q_u8(codes.as_ptr()) };
                    let x = vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(0x80)));
                    let q = vreinterpretq_s8_s32(vdupq_n_s32(query.group(group)));
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn every_instruction_set_finds_the_same_with_the_same_scores() {
        let mut rng = StdRng::seed_from_u64(5);
        let n = 16 * 9 - 5;
        let mut blocks = empty_blocks(n);
        let mut codes = Vec::new();
        for i in 0..n {
            let extreme = i % 10 == 0;
            let code: [i8; SHORT] =
                std::array::from_fn(|_| if extreme { 127 } else { rng.random_range(-127..=127) });
            let (scale, offset) = (rng.random::<f32>() * 1e-3, rng.random::<f32>() - 0.5);
            let block = &mut blocks[i / LANES * BLOCK_BYTES..][..BLOCK_BYTES];
            write(block, i % LANES, &code, scale, offset, 1000 + i as u32);
            assert_eq!(read(block, i % LANES), (scale, offset, 1000 + i as u32));
            codes.push((code, scale, offset));
        }
        for extreme in [None, Some(127), Some(-127)] {
            let code = std::array::from_fn(|_| extreme.unwrap_or_else(|| rng.random_range(-127..=127)));
            let query = ShortQuery { code, factor: 0.01 };
            let all: Vec<Scored> = codes
                .iter()
                .zip(1000..)
                .map(|((x, scale, offset), name)| {
                    let sum: i32 = x.iter().zip(&code).map(|(&x, &q)| i32::from(x) * i32::from(q)).sum();
                    (sum as f32 * (scale * query.factor) + offset, name)
                })
                .collect();
            let mut sorted: Vec<f32> = all.iter().map(|one| one.0).collect();
            sorted.sort_by(f32::total_cmp);
            for limit in [f32::NEG_INFINITY, sorted[n / 2], sorted[n - 1], f32::INFINITY] {
                let want: Vec<Scored> = all.iter().copied().filter(|one| one.0 >= limit).collect();
                for isa in Isa::available() {
                    let mut got = Vec::new();
                    isa.near(&blocks, &query, limit, &mut got);
                    assert_eq!(got, want, "{isa:?} {extreme:?} {limit}");
                }
            }
        }
    }
}
