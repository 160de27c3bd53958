//! NEON: sixteen products in two instructions; sums of two stay within 16 bits because factors are
//! within ±127.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddvq_s32, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_low_s8, vld1q_s8,
    vld1q_u8, vmlal_high_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8,
};

use super::QueryCode;

const LANES: usize = 16;

#[inline]
#[target_feature(enable = "neon")]
fn stored(chunk: &[u8]) -> int8x16_t {
    assert!(chunk.len() >= LANES);
    // SAFETY: the slice holds at least 16 bytes.
    let bytes = unsafe { vld1q_u8(chunk.as_ptr()) };
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

#[inline]
#[target_feature(enable = "neon")]
fn load_query(chunk: &[i8]) -> int8x16_t {
    assert!(chunk.len() >= LANES);
    // SAFETY: the slice holds at least 16 bytes.
    unsafe { vld1q_s8(chunk.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
// Products of two signed bytes are widened to 16 bits before they are added, and the sum of two
// cannot overflow there because factors stay within ±127.
fn multiply_add(total: int32x4_t, x: int8x16_t, y: int8x16_t) -> int32x4_t {
    let products = vmlal_high_s8(vmull_s8(vget_low_s8(x), vget_low_s8(y)), x, y);
    vpadalq_s16(total, products)
}

#[inline]
#[target_feature(enable = "neon")]
fn dot(row: &[u8], query: &[i8]) -> i32 {
    let mut even = vdupq_n_s32(0);
    let mut odd = vdupq_n_s32(0);
    for (row, query) in row
        .chunks_exact(2 * LANES)
        .zip(query.chunks_exact(2 * LANES))
    {
        even = multiply_add(even, stored(&row[..LANES]), load_query(&query[..LANES]));
        odd = multiply_add(odd, stored(&row[LANES..]), load_query(&query[LANES..]));
    }
    vaddvq_s32(even) + vaddvq_s32(odd)
}

#[target_feature(enable = "neon")]
pub(super) fn dot8_list(plane: &[u8], ids: &[u32], query: &[i8], _sum: i32, out: &mut [i32]) {
    for (&id, out) in ids.iter().zip(out) {
        *out = dot(&plane[id as usize * query.len()..][..query.len()], query);
    }
}

#[target_feature(enable = "neon")]
pub(super) fn dot16(hi: &[u8], lo: &[u8], query: &QueryCode) -> [i32; 3] {
    [
        dot(hi, &query.hi),
        dot(hi, &query.lo) + dot(lo, &query.hi),
        dot(lo, &query.lo),
    ]
}

#[target_feature(enable = "neon")]
pub(super) fn dot8_stored(a: &[u8], b: &[u8]) -> i32 {
    let mut total = vdupq_n_s32(0);
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        total = multiply_add(total, stored(a), stored(b));
    }
    vaddvq_s32(total)
}
