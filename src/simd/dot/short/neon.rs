//! NEON: a quarter of a block at a time.

use std::arch::aarch64::{
    int16x8_t, uint8x16_t, vaddq_s32, vandq_u8, vdupq_n_s16, vdupq_n_s32, vdupq_n_u8, veorq_u8,
    vget_high_s8, vget_low_s8, vld1q_u8, vmlal_s8, vmull_s8, vpaddlq_s16, vpaddq_s32,
    vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshrq_n_u8, vst1q_s32,
};

use super::{
    BLOCK_BYTES, CENTRE_BYTES, COMPONENTS, GROUP, LANES, LARGEST, SHORT, ShortSearch, portable,
    word,
};

#[inline]
#[target_feature(enable = "neon")]
fn load(block: &[u8], group: usize, quarter: usize) -> uint8x16_t {
    let codes = &block[GROUP * group + 16 * quarter..][..16];
    // SAFETY: the slice holds 16 bytes.
    unsafe { vld1q_u8(codes.as_ptr()) }
}

#[target_feature(enable = "neon")]
pub(super) fn near_bytes<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    for ShortSearch { query, limit, out } in to {
        let q = &query.groups()[..COMPONENTS / 4];
        for block in blocks.as_chunks::<CENTRE_BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
                let mut sum = vdupq_n_s32(0);
                for group in 0..COMPONENTS / 4 {
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
}

#[target_feature(enable = "neon")]
pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
    const GROUPS: usize = SHORT / 4;
    /// Groups whose sums, of a product in each of two fields, stay within 16 bits.
    const TOGETHER: usize = 8;
    let fields = vdupq_n_u8(LARGEST as u8);
    for ShortSearch { query, limit, out } in to {
        let (first_half, second_half) = query.groups()[..2 * GROUPS].split_at(GROUPS);
        let bias = vdupq_n_s32(-LARGEST * query.sum);
        for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
                let mut sum = vdupq_n_s32(0);
                for first in (0..GROUPS).step_by(TOGETHER) {
                    let [mut low, mut high]: [int16x8_t; 2] = [vdupq_n_s16(0); 2];
                    for group in first..first + TOGETHER {
                        let codes = load(block, group, quarter);
                        let shifted = vshrq_n_u8::<4>(codes);
                        let of_fields = [(codes, first_half[group]), (shifted, second_half[group])];
                        for (codes, q) in of_fields {
                            let x = vreinterpretq_s8_u8(vandq_u8(codes, fields));
                            let q = vreinterpretq_s8_s32(vdupq_n_s32(word(q)));
                            low = vmlal_s8(low, vget_low_s8(x), vget_low_s8(q));
                            high = vmlal_s8(high, vget_high_s8(x), vget_high_s8(q));
                        }
                    }
                    sum = vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
                }
                let sum = vaddq_s32(bias, vaddq_s32(sum, sum));
                // SAFETY: the slice holds four sums.
                unsafe { vst1q_s32(sums.as_mut_ptr(), sum) };
            }
            portable::score(block, &sums, query, limit, out);
        }
    }
}
