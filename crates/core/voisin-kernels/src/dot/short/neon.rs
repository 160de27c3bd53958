//! NEON: a quarter of a block at a time.

use std::arch::aarch64::{
    int16x8_t, uint8x16_t, vaddq_s32, vandq_u8, vdupq_n_s8, vdupq_n_s16, vdupq_n_s32, vdupq_n_u8,
    veorq_u8, vget_high_s8, vget_low_s8, vld1q_u8, vmlal_s8, vmull_s8, vpaddlq_s16, vpaddq_s32,
    vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshlq_u8, vst1q_s32,
};

use super::{
    BLOCK_BYTES, GROUP, LANES, SHORT, ShortSearch, field_bits, groups, largest, portable,
    whole_sums, word,
};

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
pub(super) fn near_fields<const FIELDS: usize, const N: usize>(
    blocks: &[u8],
    to: [ShortSearch<'_>; N],
) {
    to.into_iter()
        .for_each(|to| near_fields_one::<FIELDS>(blocks, to));
}

#[target_feature(enable = "neon")]
fn near_fields_one<const FIELDS: usize>(
    blocks: &[u8],
    ShortSearch { query, limit, out }: ShortSearch<'_>,
) {
    const GROUPS: usize = SHORT / 4;
    let q = &query.groups()[..FIELDS * GROUPS];
    // Groups whose sums stay within 16 bits.
    let together = const { whole_sums(GROUPS, FIELDS, largest(FIELDS)) };
    let lowest = vdupq_n_u8(largest(FIELDS) as u8);
    let bias = vdupq_n_s32(-largest(FIELDS) * query.sum);
    for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
        let mut sums = [0_i32; LANES];
        for (quarter, sums) in sums.chunks_exact_mut(4).enumerate() {
            let mut sum = vdupq_n_s32(0);
            for first in (0..GROUPS).step_by(together) {
                let [mut low, mut high]: [int16x8_t; 2] = [vdupq_n_s16(0); 2];
                for group in first..first + together {
                    let codes = load(block, group, quarter);
                    for field in 0..FIELDS {
                        // To the left by less than nothing is to the right.
                        let shift = vdupq_n_s8(-((field_bits(FIELDS) * field) as i8));
                        let x = vreinterpretq_s8_u8(vandq_u8(vshlq_u8(codes, shift), lowest));
                        let q = vreinterpretq_s8_s32(vdupq_n_s32(word(q[GROUPS * field + group])));
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
