//! k-means over vectors along the directions in which they differ most.
//!
//! Products are sums of integers and means are summed in the order of slots: the same bits on any
//! number of threads.

use rayon::prelude::*;

use super::codes::CodeSource;
use super::directions::{Along, Directions, PROJECTED, random_bits, whole};
use voisin_simd::Isa;
use voisin_simd::dot::best::Scored;
use voisin_simd::dot::short::{
    CENTRE_BYTES, COMPONENTS, NOBODY, ShortQuery, ShortSearch, empty_blocks, write,
};

/// Most vectors per group that centres are computed from.
const PER_CENTRE: usize = 40;
/// Iterations of k-means.
const ROUNDS: usize = 8;
/// Bytes of the centres that are compared with several queries or vectors in a row: they stay in
/// the first cache.
const CENTRES_AT_ONCE: usize = 20 << 10;

/// Vectors along the directions, at 8 bits, the input of k-means.
pub(crate) struct Projections(Vec<Along>);

impl Projections {
    /// Projects all vectors, in parallel on rayon's current pool.
    pub(crate) fn of_all(source: CodeSource<'_>, directions: &Directions) -> Self {
        let slots: Vec<usize> = (0..source.codes.len()).collect();
        let project = |slots: &[usize]| {
            let stored = |&slot: &usize| source.codec.stored_at(source.codes, slot);
            let vectors: Vec<_> = slots.iter().map(stored).collect();
            let vectors: Vec<_> = vectors
                .iter()
                .map(|vector| (&vector.code, vector.scale))
                .collect();
            directions.along_all(source.isa, &vectors)
        };
        Self(slots.par_chunks(PROJECTED).flat_map_iter(project).collect())
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
                .0
                .par_iter_mut()
                .zip(&members)
                .filter(|(_, members)| !members.is_empty())
                .for_each(|(centre, members)| *centre = sample.mean(members));
        }
        let members = self.members(isa, &centres.by_distance(), groups);
        (centres, members)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn at(&self, at: usize) -> ShortQuery<'_> {
        self.0[at].query()
    }

    /// The vectors at some positions.
    fn of(&self, places: impl Iterator<Item = usize>) -> Self {
        Self(places.map(|at| self.0[at].clone()).collect())
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

    /// The mean of some vectors.
    fn mean(&self, members: &[u32]) -> Along {
        // Sums in f64 in the order of slots: the same on any number of threads.
        let mut sum = vec![0_f64; COMPONENTS];
        for &at in members {
            let vector = self.at(at as usize);
            for (sum, &x) in sum.iter_mut().zip(vector.code) {
                *sum += f64::from(x) * f64::from(vector.factor);
            }
        }
        sum.iter_mut().for_each(|x| *x /= members.len() as f64);
        let (code, step) = whole(&sum, COMPONENTS);
        Along::new(&code.hi, step as f32)
    }

    /// Blocks of these as centres, each with an offset: the score of a vector is its product with
    /// the centre plus the offset.
    pub(crate) fn centre_blocks(&self, offset: impl Fn(usize) -> f32) -> Vec<u8> {
        let mut blocks = empty_blocks(self.len(), COMPONENTS);
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
                for part in centres.chunks(CENTRES_AT_ONCE / CENTRE_BYTES * CENTRE_BYTES) {
                    let (groups, rest) = best.as_chunks_mut::<AT_ONCE>();
                    for (group, best) in groups.iter_mut().enumerate() {
                        let mut at = TOGETHER * chunk + AT_ONCE * group..;
                        let mut limits = best.iter();
                        isa.near_centres(
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
                        let out = &mut found[0];
                        let query = self.at(at);
                        let limit = best.score();
                        isa.near_centres(part, [ShortSearch { query, limit, out }]);
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
