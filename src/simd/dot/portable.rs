//! Plain Rust: the reference for tests, and the fallback.

use super::QueryCode;

pub(super) fn dot8_list(plane: &[u8], ids: &[u32], query: &[i8], _sum: i32, out: &mut [i32]) {
    let width = query.len();
    for (&id, out) in ids.iter().zip(out) {
        *out = dot(&plane[id as usize * width..][..width], query);
    }
}

fn dot(row: &[u8], query: &[i8]) -> i32 {
    row.iter()
        .zip(query)
        .map(|(&x, &q)| i32::from((x ^ 0x80) as i8) * i32::from(q))
        .sum()
}

pub(super) fn dot16(hi: &[u8], lo: &[u8], query: &QueryCode) -> [i32; 3] {
    [
        dot(hi, &query.hi),
        dot(hi, &query.lo) + dot(lo, &query.hi),
        dot(lo, &query.lo),
    ]
}

pub(super) fn dot8_stored(a: &[u8], b: &[u8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| i32::from((x ^ 0x80) as i8) * i32::from((y ^ 0x80) as i8))
        .sum()
}
