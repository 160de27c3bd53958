//! Inverted lists: short codes of near vectors are stored together, and a search reads a few lists.
//!
//! The short code of a vector is its projection on 128 [directions](super::directions) at 4 bits: one
//! cache line. Lists are those of k-means over the projections. A list's score for a query is the
//! query's product with the mean of its vectors, plus a term for their spread, as the best of them
//! are better than the mean. A vector is in the list with the highest score for it, so that a
//! search for it begins there.
//!
//! Products are sums of integers and means are summed in the order of slots: the same bits on any
//! number of threads.

use std::cell::RefCell;
use std::ops::Range;

use super::best::BestScored;
use super::codes::{CodeSource, Plane, PreparedQuery};
use super::directions::{Along, Directions, encode};
use super::kmeans::Projections;
use super::subset::Bitmap;
use voisin_simd::Isa;
use voisin_simd::dot::best::{Scored, keep_best};
pub(crate) use voisin_simd::dot::short::{
    BLOCK_BYTES, LANES, NOBODY, SHORT, ShortQuery, ShortSearch, code, empty_blocks, read, write,
};

/// Number of lists in square roots of the number of vectors.
const LISTS: f64 = 2.5;
/// Least mean number of vectors of a list, as lists are padded to whole blocks.
const LEAST: usize = 32;
/// Added to a list's score, in root mean squares of its vectors' distances from their mean; chosen
/// for the fewest comparisons on synthetic sets and windows, which are in groups of very different
/// widths.
const SPREAD: f32 = 0.6;
/// Share of a query's lists that are compared first, to find a limit for the vectors of the others.
const FIRST: usize = 4;
/// Queries that are compared with the same blocks together.
const TOGETHER: usize = 4;
/// Bounds of valid scales and offsets, which are below 1 for unit vectors.
const LARGEST: f32 = 1e6;

/// Inverted lists over the slots of a segment.
pub(crate) struct Lists {
    pub(crate) directions: Directions,
    /// Blocks of the lists' centres.
    pub(crate) centres: Vec<u8>,
    /// The first block of each list, and the end.
    pub(crate) starts: Vec<u32>,
    /// Blocks of the vectors.
    pub(crate) blocks: Plane,
    pub(crate) vectors: usize,
}

/// Scores of all lists for some queries.
type ListScores = [Vec<Scored>; TOGETHER];

/// Buffers of a search, kept per thread: fresh memory costs as much as comparing.
#[derive(Default)]
struct ListBuffers {
    /// One for each query of a batch.
    pools: Vec<BestScored>,
    /// Lists with the queries that read them.
    requests: Vec<(u32, u32)>,
    later: Vec<(u32, u32)>,
    by_list: Vec<(u32, u32)>,
    slots: Vec<u32>,
    products: Vec<i32>,
    found: Vec<Scored>,
}

thread_local! {
    static SCORES: RefCell<ListScores> = RefCell::default();
    static BUFFERS: RefCell<ListBuffers> = RefCell::default();
}

/// Whether there is exactly one place for each of the names 0 to n - 1, with a valid scale and
/// offset, for blocks from a file.
///
/// - `block`: bytes of one
pub(crate) fn are_all_places(blocks: &[u8], block: usize, n: usize) -> bool {
    let mut seen = vec![false; n];
    let mut left = n;
    let mut is_sane = |(scale, offset, name): (f32, f32, u32)| {
        if name == NOBODY {
            return scale == 0. && offset == f32::NEG_INFINITY;
        }
        let is_new =
            (seen.get_mut(name as usize)).is_some_and(|seen| !std::mem::replace(seen, true));
        left -= usize::from(is_new);
        is_new && scale.abs() <= LARGEST && offset.abs() <= LARGEST
    };
    let mut blocks = blocks.chunks_exact(block);
    blocks.all(|block| (0..LANES).all(|lane| is_sane(read(block, lane)))) && left == 0
}

impl Lists {
    /// Groups all vectors, in parallel on rayon's current pool; the result does not depend on its
    /// size.
    pub(crate) fn build(source: CodeSource<'_>) -> Self {
        let n = source.codes.len();
        let directions = Directions::find(source);
        let vectors = Projections::of_all(source, &directions);
        let (centres, members) = group(source, &vectors);
        let mut starts = vec![0];
        let mut blocks = Vec::new();
        // Members are written list by list, so that a search reads memory in order.
        for members in members {
            let mut part = empty_blocks(members.len(), SHORT);
            for (place, &slot) in members.iter().enumerate() {
                let vector = vectors.at(slot as usize);
                let offset = source.codes.meta[slot as usize].offset;
                let (code, scale) = encode(vector.code, vector.factor);
                write(&mut part, place, &code, scale, offset, slot);
            }
            blocks.append(&mut part);
            starts.push((blocks.len() / BLOCK_BYTES) as u32);
        }
        // In huge pages, as every search reads them at several places.
        let blocks = Plane::pages(&blocks);
        Self {
            directions,
            centres,
            starts,
            blocks,
            vectors: n,
        }
    }

    /// Whether every vector has one place in the blocks, with valid numbers; for lists from a file.
    pub(crate) fn has_every_vector(&self) -> bool {
        are_all_places(self.all_blocks(), BLOCK_BYTES, self.vectors)
    }

    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn place(&self, list: u32) -> Range<usize> {
        let at = list as usize;
        self.starts[at] as usize * BLOCK_BYTES..self.starts[at + 1] as usize * BLOCK_BYTES
    }

    /// Blocks of all lists.
    pub(crate) fn all_blocks(&self) -> &[u8] {
        let end = self.starts.last().map_or(0, |&end| end as usize);
        &self.blocks.bytes()[..end * BLOCK_BYTES]
    }

    /// Blocks of a list.
    pub(crate) fn list(&self, list: u32) -> &[u8] {
        &self.blocks.bytes()[self.place(list)]
    }

    /// Vectors along the directions.
    pub(crate) fn along_all(&self, isa: Isa, queries: &[PreparedQuery]) -> Vec<Along> {
        let vectors: Vec<_> = queries
            .iter()
            .map(|query| (&query.code, query.scale))
            .collect();
        self.directions.along_all(isa, &vectors)
    }

    /// Passes on the best `count` lists for each query, nearest first, with its index.
    pub(crate) fn nearest_lists(
        &self,
        isa: Isa,
        along: &[Along],
        count: usize,
        mut each: impl FnMut(usize, &[Scored]),
    ) {
        SCORES.with_borrow_mut(|scores| {
            let mut pass = |at: usize, scores: &mut Vec<Scored>| {
                keep_best(scores, count);
                scores.sort_unstable();
                each(at, scores);
            };
            // Four queries to a pass over the centres.
            let (together, rest) = along.as_chunks::<TOGETHER>();
            for (group, queries) in together.iter().enumerate() {
                let mut queries = queries.iter();
                self.score(
                    isa,
                    scores
                        .each_mut()
                        .map(|scores| (scores, queries.next().unwrap_or(&along[0]))),
                );
                for (at, scores) in scores.iter_mut().enumerate() {
                    pass(group * TOGETHER + at, scores);
                }
            }
            for (at, query) in (together.len() * TOGETHER..).zip(rest) {
                self.score(isa, [(&mut scores[0], query)]);
                pass(at, &mut scores[0]);
            }
        });
    }

    /// Scores of all lists for each of some queries.
    fn score<const N: usize>(&self, isa: Isa, mut all: [(&mut Vec<Scored>, &Along); N]) {
        all.iter_mut().for_each(|(scores, _)| scores.clear());
        isa.near_centres(
            &self.centres,
            all.each_mut().map(|(scores, query)| ShortSearch {
                query: query.query(),
                limit: f32::NEG_INFINITY,
                out: scores,
            }),
        );
    }

    /// For each of `queries`: the best `codes` allowed slots by short code of the nearest `lists`
    /// lists, each with its similarity at 8 bits, in no order. Every list is read once for all
    /// queries.
    pub(crate) fn nearest_of_all<'a, R>(
        &self,
        CodeSource { isa, codes, .. }: CodeSource<'_>,
        queries: &[PreparedQuery],
        (lists, most): (usize, usize),
        allowed: impl Fn(usize) -> Option<&'a Bitmap>,
        mut then: impl FnMut(usize, &mut [Scored]) -> R,
    ) -> Vec<R> {
        let along = self.along_all(isa, queries);
        BUFFERS.with_borrow_mut(|buffers| {
            let ListBuffers {
                pools,
                requests,
                later,
                by_list,
                slots,
                products,
                found,
            } = buffers;
            requests.clear();
            later.clear();
            self.nearest_lists(isa, &along, lists.max(1), |at, nearest| {
                let (first, rest) = nearest.split_at(nearest.len().div_ceil(FIRST));
                requests.extend(first.iter().map(|list| (list.name(), at as u32)));
                later.extend(rest.iter().map(|list| (list.name(), at as u32)));
            });
            pools.resize_with(queries.len().max(pools.len()), BestScored::default);
            let pools = &mut pools[..queries.len()];
            pools.iter_mut().for_each(|pool| pool.clear(most));
            for requests in [requests, later] {
                self.sort_by_list(requests, by_list);
                self.compare_requests(isa, by_list, &along, pools, &allowed);
                pools.iter_mut().for_each(BestScored::cut);
            }
            let finish = |(at, query): (usize, &PreparedQuery)| {
                slots.clear();
                slots.extend(self.existing(&pools[at].found));
                codes.similarities8(isa, query, slots, products, found);
                then(at, found)
            };
            queries.iter().enumerate().map(finish).collect()
        })
    }

    /// A counting sort.
    fn sort_by_list(&self, requests: &[(u32, u32)], by_list: &mut Vec<(u32, u32)>) {
        let mut ends = vec![0_u32; self.len() + 1];
        requests
            .iter()
            .for_each(|&(list, _)| ends[list as usize + 1] += 1);
        (1..ends.len()).for_each(|list| ends[list] += ends[list - 1]);
        by_list.clear();
        by_list.resize(requests.len(), (0, 0));
        for &request in requests {
            let place = &mut ends[request.0 as usize];
            by_list[*place as usize] = request;
            *place += 1;
        }
    }

    /// Names of found vectors: a damaged file may name others.
    fn existing(&self, found: &[Scored]) -> impl Iterator<Item = u32> {
        let names = found.iter().map(|candidate| candidate.name());
        names.filter(|&name| (name as usize) < self.vectors)
    }

    /// Compares lists with the queries that request them: (list, query), by lists.
    fn compare_requests<'a>(
        &self,
        isa: Isa,
        requests: &[(u32, u32)],
        along: &[Along],
        pools: &mut [BestScored],
        allowed: &impl Fn(usize) -> Option<&'a Bitmap>,
    ) {
        for same_list in requests.chunk_by(|a, b| a.0 == b.0) {
            let blocks = self.list(same_list[0].0);
            // Four queries share the reads of a block; the rest by two and one.
            let (fours, rest) = same_list.as_chunks::<TOGETHER>();
            let (pairs, rest) = rest.as_chunks::<2>();
            for some in fours {
                compare_some(isa, blocks, *some, along, pools, allowed);
            }
            for some in pairs {
                compare_some(isa, blocks, *some, along, pools, allowed);
            }
            for &one in rest {
                compare_some(isa, blocks, [one], along, pools, allowed);
            }
        }
    }

    /// Slots in the order of lists: neighbours are near each other.
    pub(crate) fn order(&self) -> Vec<u32> {
        let blocks = self.all_blocks().chunks_exact(BLOCK_BYTES);
        let names = blocks.flat_map(|block| (0..LANES).map(move |lane| read(block, lane).2));
        names.filter(|&name| name != NOBODY).collect()
    }
}

/// Compares a list with several of the queries that request it, all different.
fn compare_some<'a, const N: usize>(
    isa: Isa,
    blocks: &[u8],
    requests: [(u32, u32); N],
    along: &[Along],
    pools: &mut [BestScored],
    allowed: &impl Fn(usize) -> Option<&'a Bitmap>,
) {
    let places = requests.map(|(_, at)| at as usize);
    if let Ok(pools) = pools.get_disjoint_mut(places) {
        let mut places = places.into_iter();
        let each = |pool| {
            let at = places.next().unwrap_or_default();
            (pool, along[at].query(), allowed(at))
        };
        BestScored::compare_each(isa, blocks, pools.map(each));
    }
}

/// Blocks of the lists' centres, and the slots in each list, ascending.
fn group(source: CodeSource<'_>, vectors: &Projections) -> (Vec<u8>, Vec<Vec<u32>>) {
    let n = vectors.len();
    let groups = ((LISTS * (n as f64).sqrt()) as usize).min(n / LEAST).max(1);
    let (means, members) = vectors.grouped(source.isa, groups);
    let centres = means.centre_blocks(|list| {
        let mean = |value: &dyn Fn(usize) -> f32| {
            let sum: f32 = members[list].iter().map(|&slot| value(slot as usize)).sum();
            sum / members[list].len().max(1) as f32
        };
        // The mean square of distances from the mean, by E|x|² − |E x|²; rounding may make it
        // negative.
        let square = mean(&|slot| vectors.square(slot)) - means.square(list);
        mean(&|slot| source.codes.meta[slot].offset) + SPREAD * square.max(0.).sqrt()
    });
    let members = vectors.members(source.isa, &centres, groups);
    (centres, members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{built, clustered};

    #[test]
    fn a_vector_is_in_the_list_that_a_search_for_it_begins_with() {
        let index = built(&clustered(1, 3000, 64, 20));
        let lists = index.lists.as_deref().unwrap();
        assert!(lists.has_every_vector());
        let stored = |slot| index.codec.stored_at(&index.base.codes, slot);
        let queries: Vec<_> = (0..3000).map(stored).collect();
        let along = lists.along_all(index.isa, &queries);
        lists.nearest_lists(index.isa, &along, 1, |slot, nearest| {
            let blocks = lists.list(nearest[0].name()).chunks_exact(BLOCK_BYTES);
            let mut names = blocks.flat_map(|block| (0..LANES).map(|lane| read(block, lane).2));
            assert!(names.any(|name| name as usize == slot));
        });
    }

    #[test]
    fn forged_places_are_found() {
        let index = built(&clustered(1, 3000, 64, 20));
        let good = index.lists.as_deref().unwrap().all_blocks();
        for (scale, offset, name) in [
            (0., 0., 1),
            (0., 0., 3000),
            (f32::NAN, 0., 0),
            (0., f32::INFINITY, 0),
        ] {
            let mut blocks = good.to_vec();
            write(&mut blocks, 0, &[0; SHORT], scale, offset, name);
            assert!(!are_all_places(&blocks, BLOCK_BYTES, 3000));
        }
    }
}
