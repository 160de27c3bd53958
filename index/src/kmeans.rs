//! k-means over vectors along the directions in which they differ most.
//!
//! Products are sums of integers and means are summed in the order of slots: the same bits on any
//! number of threads.

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::directions::{Directions, PROJECTED, random_bits, sum, whole};
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::short::{
    NOBODY, ShortQuery, ShortSearch, block_bytes, empty_blocks, write,
};

/// Most vectors per group that centres are computed from.
const PER_CENTRE: usize = 40;
/// Iterations of k-means.
const ROUNDS: usize = 8;
/// λ of [`Projections::second`].
const ALONG: f32 = 1.5;
/// Bytes of the centres that are compared with several queries or vectors in a row: they stay in
/// the first cache.
const CENTRES_AT_ONCE: usize = 20 << 10;

/// Vectors along the directions, at 8 bits, the input of k-means.
pub(crate) struct Projections {
    /// Components of each.
    width: usize,
    codes: Vec<i8>,
    factors: Vec<f32>,
}

impl Projections {
    /// Projects the vector that `vector` returns for each slot, in parallel on rayon's current
    /// pool.
    pub(crate) fn of_all(
        source: CodeSource<'_>,
        directions: &Directions,
        vector: impl Fn(usize) -> PreparedQuery + Sync,
    ) -> Self {
        let width = directions.len();
        let mut all = Self::zeroed(width, source.codes.len());
        let rows = all
            .codes
            .par_chunks_mut(PROJECTED * width)
            .zip(all.factors.par_chunks_mut(PROJECTED));
        rows.enumerate().for_each(|(place, (codes, factors))| {
            let slots = place * PROJECTED..place * PROJECTED + factors.len();
            let vectors: Vec<PreparedQuery> = slots.map(&vector).collect();
            let vectors: Vec<_> = vectors
                .iter()
                .map(|vector| (&vector.code, vector.scale))
                .collect();
            let along = directions.along_all(source.isa, &vectors).into_iter();
            for ((along, code), factor) in along.zip(codes.chunks_exact_mut(width)).zip(factors) {
                code.copy_from_slice(&along.code);
                *factor = along.factor;
            }
        });
        all
    }

    /// The centres of this many groups, and the members of each, ascending.
    pub(crate) fn grouped(&self, isa: Isa, groups: usize) -> (Self, Vec<Vec<u32>>) {
        // 40 vectors per centre suffice; all would take many times as long.
        let sample =
            self.of((0..self.len()).step_by(self.len().div_ceil(groups * PER_CENTRE).max(1)));
        // One vector of each part of the sample to begin with, since neighbours in the order of ids
        // are alike.
        let first = |group: usize| {
            let from = group * sample.len() / groups;
            let to = (group + 1) * sample.len() / groups;
            from + (random_bits(group, 0) % (to - from).max(1) as u64) as usize
        };
        let mut centres = sample.of((0..groups).map(first));
        for _ in 0..ROUNDS {
            // An empty group keeps its centre: another round may fill it.
            let members = sample.members(isa, &centres.by_distance(), groups);
            centres
                .rows_mut()
                .zip(&members)
                .filter(|(_, members)| !members.is_empty())
                .for_each(|((code, factor), members)| *factor = sample.mean(members, code));
        }
        let members = self.members(isa, &centres.by_distance(), groups);
        (centres, members)
    }

    /// A second group for each, and the members of each group, ascending: the one of the least ‖x −
    /// c‖² + λ (⟨x − c, r⟩ / ‖r‖)², where r is the residual of x from the centre of the first group
    /// (Sun et al., `NeurIPS` 2023). If r points away from a query, so that the first group is
    /// missed, the second one is not.
    ///
    /// - `first`: members of the first groups, two at least
    pub(crate) fn second(&self, isa: Isa, centres: &Self, first: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let blocks = centres.by_distance();
        let squares: Vec<f32> = (0..centres.len()).map(|at| centres.square(at)).collect();
        let choose = |(group, members): (usize, &Vec<u32>)| {
            let mut found = Vec::new();
            // Scores with all other centres, once for all members of the group: products minus half
            // of the centre's square.
            let mut beside = vec![0_f32; centres.len()];
            isa.near(&blocks, centres.at(group), f32::NEG_INFINITY, &mut found);
            found
                .iter()
                .for_each(|candidate| beside[candidate.name() as usize] = candidate.score());
            let second = |&slot: &u32| {
                found.clear();
                isa.near(
                    &blocks,
                    self.at(slot as usize),
                    f32::NEG_INFINITY,
                    &mut found,
                );
                let to_first = found
                    .iter()
                    .find(|candidate| candidate.name() as usize == group)
                    .map_or(0., |candidate| candidate.score());
                let square = self.square(slot as usize);
                // |x − c|² from the products, without the vectors; rounding must not make it zero.
                let left = (square - 2. * to_first).max(f32::MIN_POSITIVE);
                let constant = square - to_first - 0.5 * squares[group];
                let mut least = f32::INFINITY;
                let mut nearest = NOBODY;
                for candidate in &found {
                    // The second term is not negative, so a centre that is too far already is
                    // skipped.
                    let distance = square - 2. * candidate.score();
                    if distance < least && candidate.name() as usize != group {
                        let along =
                            constant + beside[candidate.name() as usize] - candidate.score();
                        let loss = distance + ALONG * (along * along / left);
                        if loss < least {
                            (least, nearest) = (loss, candidate.name());
                        }
                    }
                }
                (slot, nearest)
            };
            members.iter().map(second).collect::<Vec<_>>()
        };
        let chosen: Vec<Vec<(u32, u32)>> = first.par_iter().enumerate().map(choose).collect();
        let mut members = vec![Vec::new(); centres.len()];
        chosen
            .into_iter()
            .flatten()
            .for_each(|(slot, group)| members[group as usize].push(slot));
        members
            .iter_mut()
            .for_each(|members| members.sort_unstable());
        members
    }

    fn zeroed(width: usize, n: usize) -> Self {
        Self {
            width,
            codes: vec![0; n * width],
            factors: vec![0.; n],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.factors.len()
    }

    pub(crate) fn at(&self, at: usize) -> ShortQuery<'_> {
        let code = &self.codes[at * self.width..][..self.width];
        ShortQuery {
            code,
            sum: sum(code),
            factor: self.factors[at],
            bits: 8,
        }
    }

    fn rows_mut(&mut self) -> impl IndexedParallelIterator<Item = (&mut [i8], &mut f32)> {
        self.codes
            .par_chunks_exact_mut(self.width)
            .zip(&mut self.factors)
    }

    /// The vectors at some positions.
    fn of(&self, places: impl Iterator<Item = usize>) -> Self {
        let mut some = Self::zeroed(self.width, 0);
        for at in places {
            let vector = self.at(at);
            some.codes.extend_from_slice(vector.code);
            some.factors.push(vector.factor);
        }
        some
    }

    pub(crate) fn square(&self, at: usize) -> f32 {
        let vector = self.at(at);
        let square: i32 = vector
            .code
            .iter()
            .map(|&x| i32::from(x) * i32::from(x))
            .sum();
        square as f32 * (vector.factor * vector.factor)
    }

    /// Writes the mean of some vectors; returns the value of one step.
    fn mean(&self, members: &[u32], to: &mut [i8]) -> f32 {
        let mut sum = vec![0_f64; self.width];
        for &at in members {
            let vector = self.at(at as usize);
            for (sum, &x) in sum.iter_mut().zip(vector.code) {
                *sum += f64::from(x) * f64::from(vector.factor);
            }
        }
        // Sums in f64 in the order of slots: the same on any number of threads.
        sum.iter_mut().for_each(|x| *x /= members.len() as f64);
        let (code, step) = whole(&sum, self.width);
        to.copy_from_slice(&code.hi);
        step as f32
    }

    /// Blocks of these as centres, each with an offset: the score of a vector is its product with
    /// the centre plus the offset.
    pub(crate) fn centre_blocks(&self, offset: impl Fn(usize) -> f32) -> Vec<u8> {
        let mut blocks = empty_blocks(self.len(), self.width);
        for at in 0..self.len() {
            let centre = self.at(at);
            let code: Vec<u8> = centre.code.iter().map(|&x| x as u8 ^ 0x80).collect();
            write(&mut blocks, at, &code, centre.factor, offset(at), at as u32);
        }
        blocks
    }

    /// Blocks with which the nearest centre has the highest score.
    pub(crate) fn by_distance(&self) -> Vec<u8> {
        self.centre_blocks(|at| -0.5 * self.square(at))
    }

    /// The vectors for which each of this many centres has the highest score, ascending.
    pub(crate) fn members(&self, isa: Isa, centres: &[u8], groups: usize) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); groups];
        for (at, centre) in (0..).zip(self.assign(isa, centres)) {
            members[centre as usize].push(at);
        }
        members
    }

    /// The nearest centre of each; among equals the lowest number.
    fn assign(&self, isa: Isa, centres: &[u8]) -> Vec<u32> {
        /// Vectors compared with a part of the centres, then with the next.
        const TOGETHER: usize = 256;
        /// Vectors compared with one block.
        const AT_ONCE: usize = 4;
        // Equal scores go to the lower number, in whichever part of the centres.
        let better = |best: &mut Scored, found: &[Scored]| {
            *best = found
                .iter()
                .fold(*best, |best, &candidate| best.min(candidate));
        };
        let mut nearest = vec![0_u32; self.len()];
        nearest
            .par_chunks_mut(TOGETHER)
            .enumerate()
            .for_each(|(chunk, nearest)| {
                let mut best = vec![Scored::new(f32::NEG_INFINITY, NOBODY); nearest.len()];
                let mut found = [const { Vec::new() }; AT_ONCE];
                for part in centre_parts(centres, self.width) {
                    let (groups, rest) = best.as_chunks_mut::<AT_ONCE>();
                    for (group, best) in groups.iter_mut().enumerate() {
                        let mut at = TOGETHER * chunk + AT_ONCE * group..;
                        let mut limits = best.iter();
                        isa.near_each(
                            part,
                            found.each_mut().map(|out| {
                                out.clear();
                                let limit =
                                    // Only a centre better than the best so far is worth writing.
                                    limits.next().map_or(f32::NEG_INFINITY, |best| best.score());
                                ShortSearch {
                                    query: self.at(at.next().unwrap_or_default()),
                                    limit,
                                    out,
                                }
                            }),
                        );
                        best.iter_mut()
                            .zip(&found)
                            .for_each(|(best, found)| better(best, found));
                    }
                    let at = TOGETHER * chunk + AT_ONCE * groups.len()..;
                    for (best, at) in rest.iter_mut().zip(at) {
                        found[0].clear();
                        isa.near(part, self.at(at), best.score(), &mut found[0]);
                        better(best, &found[0]);
                    }
                }
                nearest
                    .iter_mut()
                    .zip(best)
                    .for_each(|(to, best)| *to = best.name());
            });
        nearest
    }
}

/// Blocks of centres in parts that fit into the first cache.
fn centre_parts(centres: &[u8], width: usize) -> std::slice::Chunks<'_, u8> {
    let block = block_bytes(width);
    centres.chunks(CENTRES_AT_ONCE / block * block)
}
