//! Assignment of vectors to lists.
//!
//! Lists are those of k-means over the projections at 8 bits. A list's score for a query is the
//! query's product with the mean of its vectors, plus a term for their spread, as the best of them
//! are better than the mean. A vector is in the list with the highest score for it, so that a
//! search for it begins there.
//!
//! If it pays, each vector is in a second list, too, which is near it in another direction (SOAR:
//! Sun et al., `NeurIPS` 2023), so that fewer vectors have to be compared. The saving is measured.

use rayon::prelude::*;

use super::codes::CodeSource;
use super::directions::{Along, Directions};
use super::kmeans::Projections;
use super::trials::Trial;
use super::types::IndexOptions;
use voisin_kernels::Isa;

/// Least mean number of vectors of a list, as lists are padded to whole blocks.
const LEAST: usize = 32;
/// Factor on the number of lists if vectors are in two.
const SPILL_LISTS: f64 = 1.5;
/// Nearest vectors of each trial that decide this.
const NEAREST: usize = 10;

/// The condition for vectors in two lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spill {
    /// The recall to reach.
    pub(crate) recall: f64,
    /// Largest number of comparisons, centres and vectors, relative to one list each.
    pub(crate) pays: f64,
}

impl Spill {
    /// `None` for an index without vectors, which is meant to be small.
    pub(crate) fn of(options: &IndexOptions) -> Option<Self> {
        options.residual_bits.is_none().then_some(Self {
            recall: options.target_recall,
            pays: 0.75,
        })
    }
}

/// Lists, and the vectors that each has.
pub(crate) struct Grouping {
    means: Projections,
    /// Blocks of the lists' centres.
    pub(crate) centres: Vec<u8>,
    /// Slots in each list, ascending: those with it as first list, and, if vectors are in two, as
    /// second.
    pub(crate) members: Vec<Vec<Vec<u32>>>,
}

impl Grouping {
    /// Groups all vectors, in parallel on rayon's current pool; the result does not depend on its
    /// size.
    pub(crate) fn fit(
        source: CodeSource<'_>,
        directions: &Directions,
        vectors: &Projections,
        trials: &[Trial],
        spill: Option<Spill>,
    ) -> Self {
        let groups = count(vectors.len(), directions);
        // Most sets need no second lists, which trials on the first grouping show before any are
        // made.
        let once = Self::of(source, directions, vectors, groups);
        let Some(spill) = spill.filter(|_| groups > 1 && !trials.is_empty()) else {
            return once;
        };
        let mut is_near_a_trial = vec![false; vectors.len()];
        trials
            .iter()
            .flat_map(nearest)
            .for_each(|slot| is_near_a_trial[slot as usize] = true);
        // Only neighbours of trials are evaluated, so only these need a second list for now.
        let near_a_trial = |members: &Vec<u32>| {
            members
                .iter()
                .copied()
                .filter(|&slot| is_near_a_trial[slot as usize])
                .collect()
        };
        let first: Vec<Vec<u32>> = once.members[0].iter().map(near_a_trial).collect();
        let second = vectors.second(source.isa, &once.means, &first);
        let compared =
            |lists: &[&[Vec<u32>]]| once.compared(source, directions, trials, spill.recall, lists);
        let more = (SPILL_LISTS * groups as f64) as usize;
        // Centres are compared, too, so more lists have a cost of their own.
        let cost_of_one = groups as f64 + compared(&[&first]);
        let cost_of_two = more as f64 + compared(&[&first, &second]);
        if cost_of_two > spill.pays * cost_of_one {
            return once;
        }
        let mut twice = Self::of(source, directions, vectors, more);
        let second = vectors.second(source.isa, &twice.means, &twice.members[0]);
        twice.members.push(second);
        twice
    }

    fn of(
        source: CodeSource<'_>,
        directions: &Directions,
        vectors: &Projections,
        groups: usize,
    ) -> Self {
        let (means, members) = vectors.grouped(source.isa, groups);
        let spread = spread(directions);
        let centres = means.centre_blocks(|list| {
            let mean = |value: &dyn Fn(usize) -> f32| {
                let sum: f32 = members[list].iter().map(|&slot| value(slot as usize)).sum();
                sum / members[list].len().max(1) as f32
            };
            // The mean square of distances from the mean, by E|x|² − |E x|²; rounding may make it
            // negative.
            let square = mean(&|slot| vectors.square(slot)) - means.square(list);
            let offset = mean(&|slot| source.codes.meta[slot].offset);
            if source.codec.space.is_euclidean() {
                // Only the distance from the centre: half of the squared spread is in the vectors'
                // offsets.
                offset + 0.5 * square.max(0.)
            } else {
                offset + spread * square.max(0.).sqrt()
            }
        });
        let members = if source.codec.space.is_euclidean() {
            // A search has 16 bits of it.
            let prepared = |slot| source.codec.query_at(source.isa, source.codes, slot);
            Projections::of_all(source, directions, prepared).members(source.isa, &centres, groups)
        } else {
            vectors.members(source.isa, &centres, groups)
        };
        Self {
            means,
            centres,
            members: vec![members],
        }
    }

    /// Approximate number of vectors to compare to find a share of the nearest of all trials.
    ///
    /// - `members`: of the lists, each of these once in their first, and, if they are in two, once
    ///   in their second
    fn compared(
        &self,
        source: CodeSource<'_>,
        directions: &Directions,
        trials: &[Trial],
        share: f64,
        members: &[&[Vec<u32>]],
    ) -> f64 {
        let mut lists_of = vec![vec![0_u32; source.codes.len()]; members.len()];
        for (lists_of, members) in lists_of.iter_mut().zip(members) {
            for (list, slots) in (0..).zip(*members) {
                slots
                    .iter()
                    .for_each(|&slot| lists_of[slot as usize] = list);
            }
        }
        let places_of = |trial: &Trial| {
            let query = &trial.query;
            let along = directions.along(source.isa, (&query.code, query.scale));
            let place = places(source.isa, &self.centres, &along);
            let lists_of = &lists_of;
            let first = move |slot: u32| {
                lists_of
                    .iter()
                    .map(|lists_of| place[lists_of[slot as usize] as usize])
                    .min()
                    .unwrap_or(0)
            };
            nearest(trial).map(first).collect::<Vec<usize>>()
        };
        let mut places: Vec<usize> = trials.par_iter().flat_map_iter(places_of).collect();
        let at = ((share * places.len() as f64).ceil() as usize).clamp(1, places.len()) - 1;
        // With two lists per vector, this many lists have twice as many places.
        let lists = (*places.select_nth_unstable(at).1 + 1) * members.len();
        (lists * source.codes.len()) as f64 / self.members[0].len() as f64
    }
}

/// Neighbours of a trial that decide about lists.
fn nearest(trial: &Trial) -> impl Iterator<Item = u32> {
    trial.nearest.iter().copied().take(NEAREST)
}

/// Number of lists for `n` vectors: fewer for projections of more components.
fn count(n: usize, directions: &Directions) -> usize {
    // A search with a margin needs fewer lists than one with a fixed number, and codes of more
    // components make centres more expensive. Found by trials.
    let times = match directions.bits {
        8 => 4.,
        4 => 2.5,
        _ => 2.,
    };
    ((times * (n as f64).sqrt()) as usize).min(n / LEAST).max(1)
}

/// Added to a list's score, in root mean squares of its vectors' distances from their mean; chosen
/// for the fewest comparisons in trials of synthetic sets, windows and texts. Windows are in groups
/// of very different widths.
fn spread(directions: &Directions) -> f32 {
    if directions.bits == 4 { 0.6 } else { 0.4 }
}

/// The rank of each list by nearness to a query.
pub(crate) fn places(isa: Isa, centres: &[u8], query: &Along) -> Vec<usize> {
    let mut ranked = Vec::new();
    isa.near(centres, query.query(8), f32::NEG_INFINITY, &mut ranked);
    ranked.sort_unstable();
    let mut place = vec![0; ranked.len()];
    ranked
        .iter()
        .enumerate()
        .for_each(|(at, list)| place[list.name() as usize] = at);
    place
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use ndarray::Array2;

    use super::*;
    use crate::codes::Plane;
    use crate::directions::tests::sparse;
    use crate::lists::{BLOCK_BYTES, LANES, NOBODY, code, read, write};
    use crate::{Id, IndexMetric, IndexOptions, SearchMode, SearchParams, VectorIndex};

    /// An index all of whose vectors are in two lists.
    pub(crate) fn spilled(vectors: &Array2<f32>, options: &IndexOptions) -> VectorIndex {
        let ids: Vec<Id> = (0..vectors.nrows() as i64).map(Id).collect();
        let spill = Spill {
            recall: 0.99,
            pays: f64::INFINITY,
        };
        VectorIndex::build_spilled(&ids, vectors.view(), options, Some(spill)).unwrap()
    }

    #[test]
    fn a_vector_is_in_the_list_that_a_search_for_it_begins_with() {
        for (vectors, metric) in [
            (sparse(256, 6), IndexMetric::Cosine),
            (sparse(64, 20), IndexMetric::Cosine),
            (sparse(64, 20), IndexMetric::Euclidean),
        ] {
            let options = IndexOptions {
                lists_from: 0,
                metric,
                ..IndexOptions::default()
            };
            let ids: Vec<Id> = (0..vectors.nrows() as i64).map(Id).collect();
            let once = VectorIndex::build(&ids, vectors.view(), &options).unwrap();
            for built in [once, spilled(&vectors, &options)] {
                let lists = built.lists.as_ref().unwrap();
                let first = &lists.lists_of(vectors.nrows())[0];
                let query = |slot| built.codec.query_at(built.isa, &built.base.codes, slot);
                let queries: Vec<_> = (0..vectors.nrows()).map(query).collect();
                let along = lists.along_all(built.isa, &queries);
                lists.score_all(built.isa, &along, |slot, scores| {
                    let nearest = scores.nearest(built.isa).next().unwrap();
                    assert_eq!(nearest.name(), first[slot]);
                });
            }
        }
    }

    #[test]
    fn vectors_in_two_lists_are_in_different_ones_and_found_once() {
        IndexMetric::ALL.into_iter().for_each(in_two_lists);
    }

    fn in_two_lists(metric: IndexMetric) {
        let vectors = sparse(256, 6);
        let options = IndexOptions {
            lists_from: 0,
            graph_from: 0,
            metric,
            ..IndexOptions::default()
        };
        let built = spilled(&vectors, &options);
        let lists = built.lists.as_ref().unwrap();
        assert_eq!(lists.copies, 2);
        assert!(lists.has_every_vector());
        let [first, second] = &lists.lists_of(vectors.nrows())[..] else {
            panic!()
        };
        assert!(
            first
                .iter()
                .zip(second)
                .all(|(first, second)| first != second)
        );
        let order: HashSet<u32> = lists.order().into_iter().collect();
        assert_eq!(order.len(), vectors.nrows());
        let queries = vectors.slice(ndarray::s![..40, ..]);
        let params = |mode| SearchParams {
            mode,
            ..SearchParams::default()
        };
        let exact = built
            .search_batch(queries, 100, &params(SearchMode::Exact))
            .unwrap();
        let together = built
            .search_batch(queries, 100, &params(SearchMode::Lists))
            .unwrap();
        let mut hits = 0;
        for ((query, exact), together) in queries.outer_iter().zip(exact).zip(together) {
            let query = query.to_vec();
            let found = built
                .search(&query, 100, &params(SearchMode::Lists))
                .unwrap();
            assert_eq!(found, together);
            let found: HashSet<Id> = found.iter().map(|neighbor| neighbor.id).collect();
            assert_eq!(found.len(), 100);
            hits += exact
                .iter()
                .filter(|neighbor| found.contains(&neighbor.id))
                .count();
            // Every vector that passes is compared once.
            let odd = |track: Id| track.0 % 2 == 1;
            let filter = SearchParams {
                filter: Some(&odd),
                ..params(SearchMode::Lists)
            };
            let filtered = built.search(&query, 20, &filter).unwrap();
            let found: HashSet<Id> = filtered.iter().map(|neighbor| neighbor.id).collect();
            assert!(found.len() == 20 && found.iter().all(|track| odd(*track)));
        }
        assert!(hits >= 3960, "{hits} of 4000");
        // Of the last list the last one, in place of the one before it.
        let mut forged = built;
        let lists = forged.lists.as_mut().and_then(Arc::get_mut).unwrap();
        let mut blocks = lists.blocks.raw().to_vec();
        let name = |lane| read(&blocks[blocks.len() - BLOCK_BYTES..], lane).2;
        let lane = (1..LANES).rev().find(|&lane| name(lane) != NOBODY).unwrap();
        let end = blocks.len();
        let other = name(lane - 1);
        let block = &mut blocks[end - BLOCK_BYTES..];
        let (scale, offset, _) = read(block, lane);
        let code = code(block, lane);
        write(block, lane, &code, scale, offset, other);
        lists.blocks = Plane::pages(&blocks);
        assert!(!lists.has_every_vector());
    }
}
