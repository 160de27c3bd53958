//! Plain Rust: the reference for tests, and the fallback.

use super::{BLOCK, BitBlocks, BitMatch, QueryCode};

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

pub(super) fn hamming(blocks: BitBlocks<'_>, query: &[u64], limit: u32, out: &mut Vec<BitMatch>) {
    let step = BLOCK * blocks.per_vector;
    for (b, (block, &allowed)) in blocks
        .words
        .chunks_exact(step)
        .zip(blocks.allowed)
        .enumerate()
    {
        // Blocks without an allowed vector, most of them with a narrow filter, are not read.
        if allowed == 0 {
            continue;
        }
        let mut counts = [0_u32; BLOCK];
        for (words, &query) in block.chunks_exact(BLOCK).zip(query) {
            for (count, &word) in counts.iter_mut().zip(words) {
                *count += (word ^ query).count_ones();
            }
        }
        for (lane, &distance) in counts.iter().enumerate() {
            if allowed >> lane & 1 == 1 && distance <= limit {
                out.push(BitMatch {
                    slot: blocks.first_slot + (b * BLOCK + lane) as u32,
                    distance,
                });
            }
        }
    }
}
