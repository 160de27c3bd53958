//! Short codes: 64 bytes a vector, sixteen vectors interleaved, compared with a query.
//!
//! ```text
//! block: codes u8 [16 groups of four bytes, 16 vectors, 4] · scale f32 [16] · offset f32 [16] · name u32 [16]
//! ```
//!
//! Little-endian. A byte is one component, biased by 128 and within ±127, or it has fields: two of
//! 4 bits or four of 2, which stand for odd numbers (of 2 bits -3, -1, 1 and 3). Byte `i` then has
//! the components `i`, `64 + i` and, of 2 bits, `128 + i` and `192 + i`, lowest bits first. Codes
//! of 128 and 256 bytes are compared with queries of as many components, too. A vector's score is
//! `Σ code · query · scale · factor + offset`: an exact sum of integers, then two products and a
//! sum, each rounded by itself, so every instruction set gives the same bits.

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
/// Bytes of blocks of codes of 128 and 256 bytes.
const BLOCK_BYTES_128: usize = block_bytes(128);
const BLOCK_BYTES_256: usize = block_bytes(256);
/// The name of an empty place in a block.
pub const NOBODY: u32 = u32::MAX;

const GROUP: usize = 4 * LANES;
/// Bytes from the end of a block.
const SCALES: usize = 3 * GROUP;
const OFFSETS: usize = 2 * GROUP;
const NAMES: usize = GROUP;

/// Bytes of a block of codes of this many bytes.
pub const fn block_bytes(code: usize) -> usize {
    code * LANES + SCALES
}

/// Components of a short code, of this many bits each.
pub const fn components(bits: usize) -> usize {
    8 / bits * SHORT
}

/// Bits of a field, with this many fields per byte.
const fn field_bits(fields: usize) -> usize {
    8 / fields
}

/// The largest value of a field; the least is its negative.
const fn largest(fields: usize) -> i32 {
    (1 << field_bits(fields)) - 1
}

/// The most groups of bytes, a power of two, whose summed products with a query's fit into 16 bits.
///
/// - `products`: in a sum, of each group
/// - `largest`: of the numbers that a field may hold
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const fn whole_sums(mut groups: usize, products: usize, largest: i32) -> usize {
    while groups * products * largest as usize * 127 > i16::MAX as usize {
        groups /= 2;
    }
    groups
}

/// A query and the kind of codes it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct ShortQuery<'a> {
    /// The components, one signed byte each: 64, 128 or 256.
    pub code: &'a [i8],
    /// Sum of `code`.
    pub sum: i32,
    /// Value of one step of `code`.
    pub factor: f32,
    /// Bits of a component of the codes: 8, or 4 for 128 components and 2 for 256.
    pub bits: usize,
}

impl<'a> ShortQuery<'a> {
    /// The components by four, as the groups of a block.
    fn groups(self) -> &'a [[i8; 4]] {
        self.code.as_chunks().0
    }
}

/// Groups of a block of this many bytes.
const fn groups(block: usize) -> usize {
    (block - SCALES) / GROUP
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

    /// As [`near`](Self::near) for each of some queries of one kind, which read the blocks
    /// together.
    #[inline]
    pub fn near_each<const N: usize>(self, blocks: &[u8], to: [ShortSearch<'_>; N]) {
        /// A constant block size makes the division fast.
        fn check<const BYTES: usize>(blocks: &[u8]) {
            assert!(
                blocks.len().is_multiple_of(BYTES),
                "whole blocks of {BYTES} bytes"
            );
        }
        // All queries of a kernel share constants: the first one's length and bits.
        let Some(first) = to.first().map(|to| (to.query.code.len(), to.query.bits)) else {
            return;
        };
        assert!(
            to.iter()
                .all(|to| (to.query.code.len(), to.query.bits) == first),
            "queries of one kind"
        );
        match first {
            (64, 8) => {
                check::<BLOCK_BYTES>(blocks);
                dispatch!(self, near::<BLOCK_BYTES, N>(blocks, to));
            }
            (128, 8) => {
                check::<BLOCK_BYTES_128>(blocks);
                dispatch!(self, near::<BLOCK_BYTES_128, N>(blocks, to));
            }
            (256, 8) => {
                check::<BLOCK_BYTES_256>(blocks);
                dispatch!(self, near::<BLOCK_BYTES_256, N>(blocks, to));
            }
            (128, 4) => {
                check::<BLOCK_BYTES>(blocks);
                dispatch!(self, near_fields::<2, N>(blocks, to));
            }
            (256, 2) => {
                check::<BLOCK_BYTES>(blocks);
                dispatch!(self, near_fields::<4, N>(blocks, to));
            }
            (components, bits) => panic!("{components} components of {bits} bits"),
        }
    }
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
        BLOCK_BYTES, GROUP, LANES, SHORT, Scored, ShortQuery, ShortSearch, collect, field_bits,
        largest, read,
    };

    pub(super) fn near<const BYTES: usize, const N: usize>(
        blocks: &[u8],
        to: [ShortSearch<'_>; N],
    ) {
        to.into_iter().for_each(|to| near_one::<BYTES>(blocks, to));
    }

    fn near_one<const BYTES: usize>(
        blocks: &[u8],
        ShortSearch { query, limit, out }: ShortSearch<'_>,
    ) {
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

    pub(super) fn near_fields<const FIELDS: usize, const N: usize>(
        blocks: &[u8],
        to: [ShortSearch<'_>; N],
    ) {
        to.into_iter()
            .for_each(|to| near_fields_one::<FIELDS>(blocks, to));
    }

    fn near_fields_one<const FIELDS: usize>(
        blocks: &[u8],
        ShortSearch { query, limit, out }: ShortSearch<'_>,
    ) {
        let largest = largest(FIELDS);
        for block in blocks.as_chunks::<BLOCK_BYTES>().0 {
            let mut sums = [0_i32; LANES];
            for (field, query) in query.code.chunks_exact(SHORT).enumerate().take(FIELDS) {
                for (codes, query) in block.chunks_exact(GROUP).zip(query.chunks_exact(4)) {
                    for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
                        for (&x, &q) in codes.iter().zip(query) {
                            let x = i32::from(x >> (field_bits(FIELDS) * field)) & largest;
                            *sum += (2 * x - largest) * i32::from(q);
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
    fn components(code: &[u8], bits: usize) -> Vec<i32> {
        let value_of = |byte: u8, field: usize| match bits {
            4 => [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15]
                [usize::from(byte >> (4 * field) & 15)],
            2 => [-3, -1, 1, 3][usize::from(byte >> (2 * field) & 3)],
            _ => i32::from(byte) - 128,
        };
        (0..8 / bits)
            .flat_map(|field| code.iter().map(move |&byte| value_of(byte, field)))
            .collect()
    }

    #[test]
    fn every_instruction_set_finds_the_same_with_the_same_scores() {
        let mut rng = StdRng::seed_from_u64(5);
        for (bytes, bits) in [(64, 8), (128, 8), (256, 8), (64, 4), (64, 2)] {
            let n = 16 * 9 - 5;
            let mut blocks = empty_blocks(n, bytes);
            let mut codes = Vec::new();
            for i in 0..n {
                let extreme = i % 10 == 0;
                let code: Vec<u8> = (0..bytes)
                    .map(|_| {
                        if extreme {
                            255
                        } else {
                            rng.random_range(1..=255)
                        }
                    })
                    .collect();
                let scale = rng.random::<f32>() * 1e-3;
                let offset = rng.random::<f32>() - 0.5;
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
                let query = ShortQuery {
                    code: &code,
                    sum,
                    factor: 0.01,
                    bits,
                };
                let all: Vec<Scored> = codes
                    .iter()
                    .zip(1000..)
                    .map(|((x, scale, offset), name)| {
                        let sum: i32 = x.iter().zip(&code).map(|(&x, &q)| x * i32::from(q)).sum();
                        Scored::new(sum as f32 * (scale * query.factor) + offset, name)
                    })
                    .collect();
                let mut sorted: Vec<f32> = all.iter().map(|candidate| candidate.score()).collect();
                sorted.sort_by(f32::total_cmp);
                let limits = [
                    f32::NEG_INFINITY,
                    sorted[n / 2],
                    sorted[n - 1],
                    f32::INFINITY,
                ];
                let want = limits.map(|limit| -> Vec<Scored> {
                    all.iter()
                        .copied()
                        .filter(|candidate| candidate.score() >= limit)
                        .collect()
                });
                for isa in Isa::available() {
                    let mut got = [const { Vec::new() }; 4];
                    let mut each = [const { Vec::new() }; 4];
                    for (&limit, out) in limits.iter().zip(&mut got) {
                        isa.near(&blocks, query, limit, out);
                    }
                    assert_eq!(got, want, "{isa:?} {bytes} {bits} {extreme:?}");
                    // Four queries together, each with its own limit and factor.
                    let mut factors = [1., 1., 2., 0.5].into_iter().zip(limits);
                    let together = each.each_mut().map(|out| {
                        let (factor, limit) = factors.next().expect("four");
                        ShortSearch {
                            query: ShortQuery {
                                factor: factor * query.factor,
                                ..query
                            },
                            limit,
                            out,
                        }
                    });
                    isa.near_each(&blocks, together);
                    let mut alone = [const { Vec::new() }; 4];
                    for ((factor, limit), out) in
                        [1., 1., 2., 0.5].into_iter().zip(limits).zip(&mut alone)
                    {
                        let query = ShortQuery {
                            factor: factor * query.factor,
                            ..query
                        };
                        Isa::PORTABLE.near(&blocks, query, limit, out);
                    }
                    assert_eq!(each, alone, "{isa:?} {bytes} {bits} {extreme:?}");
                }
            }
        }
    }
}
