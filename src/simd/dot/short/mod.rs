//! Short codes: 64 bytes a vector, sixteen vectors interleaved, compared with a query.
//!
//! ```text
//! block: codes u8 [16 groups of four bytes, 16 vectors, 4] · scale f32 [16] · offset f32 [16] · name u32 [16]
//! ```
//!
//! Little-endian. A byte has two fields of 4 bits, which stand for odd numbers from -15 to 15: byte
//! `i` has the components `i` and `64 + i`, lowest bits first. Centres have a byte for each of 128
//! components, biased by 128 and within ±127. A vector's score is
//! `Σ code · query · scale · factor + offset`: an exact sum of integers, then two products and a
//! sum, each rounded by itself, so every instruction set gives the same bits.

use super::best::Scored;
use super::dispatch;
use crate::Isa;
use crate::isa::Set;

pub const SHORT: usize = 64;
pub const LANES: usize = 16;
/// Bytes of a block of short codes.
pub const BLOCK_BYTES: usize = block_bytes(SHORT);
/// Components of a short code, of a centre and of a query.
pub const COMPONENTS: usize = 2 * SHORT;
/// Bytes of a block of centres.
pub const CENTRE_BYTES: usize = block_bytes(COMPONENTS);
/// The name of an empty place in a block.
pub const NOBODY: u32 = u32::MAX;

const GROUP: usize = 4 * LANES;
/// Bytes from the end of a block.
const SCALES: usize = 3 * GROUP;
const OFFSETS: usize = 2 * GROUP;
const NAMES: usize = GROUP;

/// Bytes of a block of codes of this many bytes.
const fn block_bytes(code: usize) -> usize {
    code * LANES + SCALES
}

/// The largest value of a field; the least is its negative.
const LARGEST: i32 = 15;

/// A query to compare with codes.
#[derive(Debug, Clone, Copy)]
pub struct ShortQuery<'a> {
    /// The [`COMPONENTS`].
    pub code: &'a [i8],
    pub sum: i32,
    /// Value of one step of `code`.
    pub factor: f32,
}

impl<'a> ShortQuery<'a> {
    /// The components by four, as the groups of a block.
    fn groups(self) -> &'a [[i8; 4]] {
        self.code.as_chunks().0
    }
}

#[inline]
fn word(group: [i8; 4]) -> i32 {
    i32::from_le_bytes(group.map(|x| x as u8))
}

/// Empty blocks for `n` codes of this many bytes.
// An offset of -∞ keeps empty places below every limit, so the kernels need no test for them.
pub fn empty_blocks(n: usize, code: usize) -> Vec<u8> {
    let mut block = vec![0; block_bytes(code)];
    let nothing = vec![0x80; code];
    (0..LANES).for_each(|place| write(&mut block, place, &nothing, 0., f32::NEG_INFINITY, NOBODY));
    block.repeat(n.div_ceil(LANES))
}

/// Writes a vector into a place of blocks of such codes.
pub fn write(blocks: &mut [u8], place: usize, code: &[u8], scale: f32, offset: f32, name: u32) {
    let bytes = block_bytes(code.len());
    let block = &mut blocks[place / LANES * bytes..][..bytes];
    let lane = place % LANES;
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
    (
        f32::from_le_bytes(at(SCALES)),
        f32::from_le_bytes(at(OFFSETS)),
        u32::from_le_bytes(at(NAMES)),
    )
}

/// A query to compare with vectors, and the output for its matches.
pub struct ShortSearch<'a> {
    pub query: ShortQuery<'a>,
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

    /// As [`near`](Self::near) for each of some queries, which read the blocks together.
    #[inline]
    pub fn near_each<const N: usize>(self, blocks: &[u8], to: [ShortSearch<'_>; N]) {
        check::<BLOCK_BYTES>(blocks);
        dispatch!(self, near_fields::<N>(blocks, to));
    }

    /// As [`near_each`](Self::near_each), of centres.
    #[inline]
    pub fn near_centres<const N: usize>(self, blocks: &[u8], to: [ShortSearch<'_>; N]) {
        check::<CENTRE_BYTES>(blocks);
        dispatch!(self, near_bytes::<N>(blocks, to));
    }
}

/// A constant block size makes the division fast.
fn check<const BYTES: usize>(blocks: &[u8]) {
    assert!(
        blocks.len().is_multiple_of(BYTES),
        "whole blocks of {BYTES} bytes"
    );
}

/// Appends the marked vectors of a block; kept small, as the branch is unpredictable.
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
    use super::{
        BLOCK_BYTES, CENTRE_BYTES, GROUP, LANES, LARGEST, SHORT, Scored, ShortQuery, ShortSearch,
        collect, read,
    };

    pub(super) fn near_bytes<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        let value = |x: u8| i32::from((x ^ 0x80) as i8);
        for ShortSearch { query, limit, out } in to {
            for block in blocks.as_chunks::<CENTRE_BYTES>().0 {
                let mut sums = [0_i32; LANES];
                add_products(&mut sums, block, query.code, value);
                score(block, &sums, query, limit, out);
            }
        }
    }

    pub(super) fn near_fields<const N: usize>(blocks: &[u8], to: [ShortSearch<'_>; N]) {
        for ShortSearch { query, limit, out } in to {
            let (low, high) = query.code.split_at(SHORT);
            for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
                let mut sums = [0_i32; LANES];
                add_products(&mut sums, block, low, |x| 2 * i32::from(x & 15) - LARGEST);
                add_products(&mut sums, block, high, |x| 2 * i32::from(x >> 4) - LARGEST);
                score(block, &sums, query, limit, out);
            }
        }
    }

    /// - `value`: of a byte of the codes
    #[inline(always)]
    fn add_products(
        sums: &mut [i32; LANES],
        block: &[u8],
        query: &[i8],
        value: impl Fn(u8) -> i32,
    ) {
        for (codes, query) in block.chunks_exact(GROUP).zip(query.chunks_exact(4)) {
            for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
                for (&x, &q) in codes.iter().zip(query) {
                    *sum += value(x) * i32::from(q);
                }
            }
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
mod avx512;

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    /// The components of a code.
    fn components(code: &[u8]) -> Vec<i32> {
        if code.len() == COMPONENTS {
            return code.iter().map(|&byte| i32::from(byte) - 128).collect();
        }
        let field = |byte: u8| 2 * i32::from(byte & 15) - 15;
        let low = code.iter().map(|&byte| field(byte));
        low.chain(code.iter().map(|&byte| field(byte >> 4)))
            .collect()
    }

    fn near<const N: usize>(isa: Isa, bytes: usize, blocks: &[u8], to: [ShortSearch<'_>; N]) {
        if bytes == SHORT {
            isa.near_each(blocks, to);
        } else {
            isa.near_centres(blocks, to);
        }
    }

    #[test]
    fn every_instruction_set_finds_the_same_with_the_same_scores() {
        let mut rng = StdRng::seed_from_u64(5);
        for bytes in [SHORT, COMPONENTS] {
            let n = 16 * 9 - 5;
            let mut blocks = empty_blocks(n, bytes);
            let mut codes = Vec::new();
            for i in 0..n {
                let least = if i % 10 == 0 { 255 } else { 1 };
                let code: Vec<u8> = (0..bytes).map(|_| rng.random_range(least..=255)).collect();
                let scale = rng.random::<f32>() * 1e-3;
                let offset = rng.random::<f32>() - 0.5;
                write(&mut blocks, i, &code, scale, offset, 1000 + i as u32);
                let block = &blocks[i / LANES * block_bytes(bytes)..][..block_bytes(bytes)];
                assert_eq!(read(block, i % LANES), (scale, offset, 1000 + i as u32));
                assert_eq!(super::code(block, i % LANES)[..], code[..SHORT]);
                codes.push((components(&code), scale, offset));
            }
            for extreme in [None, Some(127), Some(-127)] {
                let mut component = || extreme.unwrap_or_else(|| rng.random_range(-127..=127));
                let code: [i8; COMPONENTS] = std::array::from_fn(|_| component());
                let query = ShortQuery {
                    code: &code,
                    sum: code.iter().map(|&x| i32::from(x)).sum(),
                    factor: 0.01,
                };
                let all = codes.iter().zip(1000..).map(|((x, scale, offset), name)| {
                    let sum: i32 = x.iter().zip(&code).map(|(&x, &q)| x * i32::from(q)).sum();
                    Scored::new(sum as f32 * (scale * query.factor) + offset, name)
                });
                let all: Vec<Scored> = all.collect();
                let mut sorted: Vec<f32> = all.iter().map(|candidate| candidate.score()).collect();
                sorted.sort_by(f32::total_cmp);
                let limits = [
                    f32::NEG_INFINITY,
                    sorted[n / 2],
                    sorted[n - 1],
                    f32::INFINITY,
                ];
                let want = limits.map(|limit| -> Vec<Scored> {
                    let near = all.iter().filter(|candidate| candidate.score() >= limit);
                    near.copied().collect()
                });
                for isa in Isa::available() {
                    let mut got = [const { Vec::new() }; 4];
                    for (&limit, out) in limits.iter().zip(&mut got) {
                        near(isa, bytes, &blocks, [ShortSearch { query, limit, out }]);
                    }
                    assert_eq!(got, want, "{isa:?} {bytes} {extreme:?}");
                    // Four queries together, each with its own limit.
                    let mut together = [const { Vec::new() }; 4];
                    let mut each = limits.into_iter();
                    let searches = together.each_mut().map(|out| ShortSearch {
                        query,
                        limit: each.next().expect("four"),
                        out,
                    });
                    near(isa, bytes, &blocks, searches);
                    assert_eq!(together, want, "{isa:?} {bytes} {extreme:?}");
                }
            }
        }
    }
}
