//! Inverted lists: short codes of near vectors are stored together, and a search reads a few lists.
//!
//! The short code of a vector is its projection on the 64 directions in which the vectors of the
//! index differ most, at 8 bits a component, or on 128 at 4 bits or 256 at 2 ([`Directions`]): one
//! cache line. A search compares the query's projection with the centres of the lists, which
//! [`Grouping`] makes, then with the codes of the nearest lists, and compares the best at 8 and 16
//! bits.
//!
//! Products are sums of integers and means are summed in the order of slots: the same bits on any
//! number of threads.

mod calibration;

use std::cell::RefCell;
use std::ops::Range;
use std::slice::from_ref;

use super::best::BestScored;
use super::codes::{CodeSource, Codes, Plane, PreparedQuery};
use super::directions::{Along, Directions};
use super::grouping::{Grouping, Spill};
use super::kmeans::Projections;
use super::order::{ListScores, ListWalk};
use super::residual::Residuals;
use super::subset::Bitmap;
use super::trials::{Hidden, Trial};
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
pub use voisin_kernels::dot::short::{
    BLOCK_BYTES, LANES, NOBODY, SHORT, ShortQuery, ShortSearch, code, empty_blocks, read, write,
};

/// Cost of comparing a vector at 8 bits, in comparisons by short code, as measured: its row is at a
/// random place in memory.
const HANDED_ON_COST: usize = 24;
/// Bytes of lists that stay in a core's own cache, so that sharing reads between queries or
/// prefetching saves nothing.
pub(crate) const CACHED: usize = 2 << 20;
/// First blocks of a list that are prefetched while the list before it is compared.
const FIRST_BLOCKS: usize = 3;

/// Bound of valid scales and offsets, even of the [farthest](super::metric::FARTHEST) vectors;
/// those of unit vectors are below 1. Within it no score is infinite.
const LARGEST_SCALE: f32 = 1e15;
const LARGEST_OFFSET: f32 = 1e30;
/// Queries that are compared with the same blocks together.
const TOGETHER: usize = 4;

/// How much of the lists a search compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Lists, on average.
    pub(crate) lists: f32,
    /// Lists at most.
    pub(crate) most: usize,
    /// A list is compared if its score is at most this far below the worst candidate's.
    pub(crate) margin: f32,
    /// Vectors compared at 8 bits.
    pub(crate) codes: usize,
}

impl Reach {
    /// A fixed number of lists.
    pub(crate) fn fixed(lists: usize, codes: usize) -> Self {
        Self {
            lists: lists as f32,
            most: lists,
            margin: f32::INFINITY,
            codes,
        }
    }
}

/// The codes by which the best by short code are compared next.
#[derive(Clone, Copy)]
pub(crate) enum Next<'a> {
    Codes(&'a Codes),
    Residuals(&'a Residuals),
}

/// Inverted lists over the slots of a segment.
pub(crate) struct Lists {
    pub(crate) directions: Directions,
    /// Blocks of the lists' centres.
    pub(crate) centres: Vec<u8>,
    /// Lists that a vector is in: one or two.
    pub(crate) copies: usize,
    /// The first block of each list or, if vectors are in two, of its vectors with it as first and
    /// as second list; and the end.
    pub(crate) starts: Vec<u32>,
    /// Blocks of the vectors.
    pub(crate) blocks: Plane,
    pub(crate) vectors: usize,
}

/// Buffers of a search, kept per thread.
#[derive(Default)]
struct ListBuffers {
    pool: BestScored,
    scores: [ListScores; TOGETHER],
    walk: ListWalk,
    /// One for each query of a batch.
    pools: Vec<BestScored>,
    walks: Vec<ListWalk>,
    /// Lists with the queries that request them; and the same by list.
    requests: Vec<(u32, u32)>,
    by_list: Vec<(u32, u32)>,
    slots: Vec<u32>,
    products: Vec<i32>,
    found: Vec<Scored>,
    /// A bit for each slot, cleared after use.
    seen: Vec<u64>,
}

thread_local! {
    static BUFFERS: RefCell<ListBuffers> = RefCell::default();
}

/// Whether blocks have valid scales, offsets, and names of `n` vectors that are `new`.
///
/// - `block`: bytes of one
fn are_places(blocks: &[u8], block: usize, n: usize, mut new: impl FnMut(usize) -> bool) -> bool {
    blocks.chunks_exact(block).all(|block| {
        (0..LANES).all(|lane| {
            let (scale, offset, name) = read(block, lane);
            if name == NOBODY {
                return scale == 0. && offset == f32::NEG_INFINITY;
            }
            (name as usize) < n
                && new(name as usize)
                && scale.abs() <= LARGEST_SCALE
                && offset.abs() <= LARGEST_OFFSET
        })
    })
}

/// Whether there is exactly one place for each of the names 0 to n - 1, for blocks from a file.
///
/// - `block`: bytes of one
pub(crate) fn are_all_places<'a>(
    mut parts: impl Iterator<Item = &'a [u8]>,
    block: usize,
    n: usize,
) -> bool {
    let mut seen = vec![false; n];
    let mut left = n;
    // With a repeated name `left` wraps below zero or another name is missing, so it cannot end at
    // 0.
    let mut new = |name| {
        left = left.wrapping_sub(1);
        !std::mem::replace(&mut seen[name], true)
    };
    let sane = parts.all(|blocks| are_places(blocks, block, n, &mut new));
    sane && left == 0
}

/// Keeps the first of those with the same name.
///
/// - `seen`: scratch memory
fn leave_out_repeated(found: &mut Vec<Scored>, n: usize, seen: &mut Vec<u64>) {
    seen.resize(seen.len().max(n.div_ceil(64)), 0);
    found.retain(|candidate| {
        let word = &mut seen[candidate.name() as usize / 64];
        let bit = 1 << (candidate.name() % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    });
    // Only the used words are cleared: all of them would cost more than the search.
    found
        .iter()
        .for_each(|candidate| seen[candidate.name() as usize / 64] = 0);
}

impl Lists {
    /// Groups all vectors, in parallel on rayon's current pool; the result does not depend on its
    /// size.
    pub(crate) fn build(source: CodeSource<'_>, trials: &[Trial], spill: Option<Spill>) -> Self {
        let n = source.codes.len();
        let directions = Directions::fit(source, trials);
        let stored = |slot| source.codec.stored_at(source.codes, slot);
        let vectors = Projections::of_all(source, &directions, stored);
        let Grouping {
            centres, members, ..
        } = Grouping::fit(source, &directions, &vectors, trials, spill);
        let mut starts = Vec::new();
        let mut blocks = Vec::new();
        // Members are written list by list, so that a search reads memory in order.
        for list in 0..members[0].len() {
            for members in members.iter().map(|members| &members[list]) {
                starts.push((blocks.len() / BLOCK_BYTES) as u32);
                let mut part = empty_blocks(members.len(), SHORT);
                for (place, &slot) in members.iter().enumerate() {
                    let vector = vectors.at(slot as usize);
                    let offset = source.codes.meta[slot as usize].offset;
                    let (code, scale) = directions.encode(vector.code, vector.factor);
                    write(&mut part, place, &code, scale, offset, slot);
                }
                blocks.append(&mut part);
            }
        }
        starts.push((blocks.len() / BLOCK_BYTES) as u32);
        // In huge pages, as every search reads them at several places.
        let blocks = Plane::pages(&blocks);
        Self {
            directions,
            centres,
            copies: members.len(),
            starts,
            blocks,
            vectors: n,
        }
    }

    /// Whether every vector has one place in the blocks, or one in its first and one in its second
    /// list, with valid numbers; for lists from a file.
    pub(crate) fn has_every_vector(&self) -> bool {
        (0..self.copies).all(|copy| {
            let places = (0..self.len() as u32).map(|list| self.place_of_part(list, copy));
            are_all_places(
                places.map(|place| &self.blocks.raw()[place]),
                BLOCK_BYTES,
                self.vectors,
            )
        })
    }

    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        (self.starts.len() - 1) / self.copies
    }

    /// Bytes of all parts.
    pub(crate) fn bytes(&self) -> usize {
        self.directions.rows.plane().len()
            + self.centres.len()
            + 4 * self.starts.len()
            + self.blocks.len()
    }

    /// Approximate cost of a search, in comparisons by short code.
    pub(crate) fn cost(&self, reach: Reach) -> usize {
        // Places and not vectors: blocks are padded, and empty places are compared as well.
        let places = self.blocks.len() / BLOCK_BYTES * LANES;
        let share = (f64::from(reach.lists) / self.len().max(1) as f64).min(1.);
        ((places as f64 * share) as usize)
            .saturating_add(reach.codes.saturating_mul(HANDED_ON_COST))
    }

    fn place_of_part(&self, list: u32, copy: usize) -> Range<usize> {
        let at = list as usize * self.copies + copy;
        self.starts[at] as usize * BLOCK_BYTES..self.starts[at + 1] as usize * BLOCK_BYTES
    }

    fn place(&self, list: u32) -> Range<usize> {
        self.place_of_part(list, 0).start..self.place_of_part(list, self.copies - 1).end
    }

    fn blocks_at(&self, place: Range<usize>) -> &[u8] {
        let sane = |blocks: &[u8]| are_places(blocks, BLOCK_BYTES, self.vectors, |_| true);
        self.blocks.sane_part(place, sane)
    }

    /// One of all blocks.
    pub(crate) fn block(&self, at: usize) -> &[u8] {
        self.blocks_at(at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES)
    }

    /// Blocks of a list.
    pub(crate) fn list(&self, list: u32) -> &[u8] {
        self.blocks_at(self.place(list))
    }

    /// Blocks of the vectors with a list as their first (0) or second (1) one; over all lists,
    /// every vector once.
    pub(crate) fn part(&self, list: u32, copy: usize) -> &[u8] {
        self.blocks_at(self.place_of_part(list, copy))
    }

    /// Prefetches the first blocks of a list.
    fn prefetch(&self, list: Scored) {
        let start = self.place(list.name()).start;
        (0..FIRST_BLOCKS * BLOCK_BYTES)
            .step_by(64)
            .for_each(|line| Isa::prefetch(self.blocks.raw(), start + line));
    }

    /// A query along the directions.
    pub(crate) fn along(&self, isa: Isa, query: &PreparedQuery) -> Along {
        self.directions.along(isa, (&query.code, query.scale))
    }

    /// As [`along`](Self::along), of many.
    pub(crate) fn along_all(&self, isa: Isa, queries: &[PreparedQuery]) -> Vec<Along> {
        let vectors: Vec<_> = queries
            .iter()
            .map(|query| (&query.code, query.scale))
            .collect();
        self.directions.along_all(isa, &vectors)
    }

    /// The query for comparison with short codes.
    pub(crate) fn short<'a>(&self, along: &'a Along) -> ShortQuery<'a> {
        along.query(self.directions.bits)
    }

    /// Scores of all lists for each of some queries.
    fn score<const N: usize>(&self, isa: Isa, mut all: [(&mut ListScores, &Along); N]) {
        all.iter_mut().for_each(|(scores, _)| scores.lists.clear());
        isa.near_each(
            &self.centres,
            all.each_mut().map(|(scores, query)| ShortSearch {
                query: query.query(8),
                limit: f32::NEG_INFINITY,
                out: &mut scores.lists,
            }),
        );
    }

    /// Passes on the scores of all lists for each query, with its index.
    pub(crate) fn score_all(
        &self,
        isa: Isa,
        along: &[Along],
        each: impl FnMut(usize, &mut ListScores),
    ) {
        BUFFERS.with_borrow_mut(|buffers| self.score_all_in(isa, along, &mut buffers.scores, each));
    }

    fn score_all_in(
        &self,
        isa: Isa,
        along: &[Along],
        some: &mut [ListScores; TOGETHER],
        mut each: impl FnMut(usize, &mut ListScores),
    ) {
        let (together, rest) = along.as_chunks::<TOGETHER>();
        for (group, queries) in together.iter().enumerate() {
            let mut queries = queries.each_ref().into_iter();
            self.score(
                isa,
                some.each_mut()
                    .map(|scores| (scores, queries.next().unwrap_or(&along[0]))),
            );
            // Prefetches its blocks while the other queries' scores are evaluated.
            some.iter()
                .filter_map(|scores| scores.nearest(isa).next())
                .for_each(|list| self.prefetch(list));
            some.iter_mut()
                .enumerate()
                .for_each(|(at, scores)| each(group * TOGETHER + at, scores));
        }
        for (at, query) in rest.iter().enumerate() {
            self.score(isa, [(&mut some[0], query)]);
            each(together.len() * TOGETHER + at, &mut some[0]);
        }
    }

    /// Code, scale and offset of each slot, of `n`.
    pub(crate) fn codes_by_slot(&self, n: usize) -> Vec<([u8; SHORT], f32, f32)> {
        let mut codes = vec![([0; SHORT], 0., f32::NEG_INFINITY); n];
        for block in self.blocks.raw().chunks_exact(BLOCK_BYTES) {
            for lane in 0..LANES {
                let (scale, offset, name) = read(block, lane);
                if let Some(to) = codes.get_mut(name as usize) {
                    *to = (code(block, lane), scale, offset);
                }
            }
        }
        codes
    }

    /// Whether a slot is in one of the lists nearest to this vector, with its short code except for
    /// rounding.
    pub(crate) fn holds(&self, isa: Isa, slot: u32, vector: &PreparedQuery) -> bool {
        const NEAREST: usize = 3;
        let along = self.along(isa, vector);
        // Rounding may move a vector's component by one value, and with it the order of two lists;
        // hence the nearest three.
        let (expected, factor) = self.directions.encode(&along.code, along.factor);
        let expected = self.directions.decode(&expected);
        // Neighbouring values of two bits are -3, -1, 1 and 3.
        let step = if self.directions.bits == 8 { 1 } else { 2 };
        let mut nearest = Vec::new();
        self.score_all(isa, from_ref(&along), |_, scores| {
            nearest.extend(scores.nearest(isa).take(NEAREST));
        });
        let mut blocks = nearest
            .iter()
            .flat_map(|candidate| self.list(candidate.name()).chunks_exact(BLOCK_BYTES));
        blocks.any(|block| {
            let Some(lane) = (0..LANES).find(|&lane| read(block, lane).2 == slot) else {
                return false;
            };
            let code = self.directions.decode(&code(block, lane));
            let scale = read(block, lane).0;
            code.iter()
                .zip(&expected)
                .all(|(a, &b)| a.abs_diff(b) <= step)
                && (scale - factor).abs() <= 1e-3 * factor.abs()
        })
    }

    /// The best slots by short code within `reach`, each with its similarity by what is `next`, in
    /// no order; `hidden` are left out.
    pub(crate) fn nearest<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        query: &PreparedQuery,
        reach: Reach,
        hidden: &Hidden,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        BUFFERS.with_borrow_mut(|buffers| {
            let along = self.along(isa, query);
            let ListBuffers {
                pool,
                scores: [scores, ..],
                walk,
                ..
            } = buffers;
            self.score(isa, [(scores, &along)]);
            pool.clear(reach.codes);
            self.begin(isa, scores, self.short(&along), (pool, walk), reach, hidden);
            // Lists that fit the second cache are there anyway.
            let is_far = self.blocks.len() > CACHED;
            while walk.round(isa, reach.most, |list, next| {
                // The kernel prefetches within a list.
                next.filter(|_| is_far)
                    .into_iter()
                    .for_each(|next| self.prefetch(next));
                self.compare(isa, list, self.short(&along), pool, hidden);
            }) {
                // Once a round, as finding the worst takes a selection.
                walk.floor = pool.worst(isa) - reach.margin;
            }
            self.finish(isa, next, query, buffers, then)
        })
    }

    /// Compares the nearest lists until there are enough candidates; returns where the search
    /// continues.
    fn begin(
        &self,
        isa: Isa,
        scores: &mut ListScores,
        query: ShortQuery<'_>,
        (pool, walk): (&mut BestScored, &mut ListWalk),
        reach: Reach,
        hidden: &Hidden,
    ) {
        // As many lists as hold enough vectors on average; prefetched together, as a cold disk
        // serves them in parallel.
        let enough = (reach.codes * self.len())
            .div_ceil(self.vectors.max(1))
            .min(reach.most);
        self.blocks.expect(
            scores
                .nearest(isa)
                .take(enough)
                .map(|list| self.place(list.name())),
        );
        let mut last = (0, None);
        for list in scores.nearest(isa).take(reach.most) {
            self.compare(isa, list, query, pool, hidden);
            last = (last.0 + 1, Some(list));
            if pool.is_full() {
                break;
            }
        }
        walk.begin(
            isa,
            scores,
            last,
            pool.worst(isa) - reach.margin,
            reach.most,
        );
        self.blocks
            .expect(walk.left().iter().map(|list| self.place(list.name())));
    }

    /// Compares a list with a query; `hidden` are left out.
    fn compare(
        &self,
        isa: Isa,
        list: Scored,
        query: ShortQuery<'_>,
        pool: &mut BestScored,
        hidden: &Hidden,
    ) {
        let blocks = self.list(list.name());
        if hidden.is_empty() {
            pool.compare(isa, blocks, query);
        } else {
            pool.compare_allowed(isa, blocks, query, |slot| !hidden.contains(slot));
        }
    }

    /// As [`nearest`](Self::nearest), the best `codes` of the allowed in all lists.
    pub(crate) fn nearest_allowed<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        query: &PreparedQuery,
        codes: usize,
        allowed: &Bitmap,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        BUFFERS.with_borrow_mut(|buffers| {
            // With a filter that leaves few, the allowed may be in any list.
            let along = self.along(isa, query);
            buffers.pool.clear(codes);
            for list in 0..self.len() as u32 {
                // Only the first place of each vector, as with two lists it has two.
                let is_allowed = |slot: u32| allowed.contains(slot as usize);
                buffers.pool.compare_allowed(
                    isa,
                    self.part(list, 0),
                    self.short(&along),
                    is_allowed,
                );
            }
            self.finish(isa, next, query, buffers, then)
        })
    }

    fn finish<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        query: &PreparedQuery,
        buffers: &mut ListBuffers,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        let ListBuffers {
            pool,
            slots,
            products,
            found,
            seen,
            ..
        } = buffers;
        // There may still be up to twice as many as requested.
        pool.cut(isa);
        if self.copies > 1 {
            leave_out_repeated(&mut pool.found, self.vectors, seen);
        }
        match next {
            Next::Codes(codes) => {
                slots.clear();
                slots.extend(pool.found.iter().map(|candidate| candidate.name()));
                codes.similarities8(isa, query, slots, products, found);
            }
            Next::Residuals(residuals) => {
                found.clone_from(&pool.found);
                residuals.add(isa, query, products, slots, found);
            }
        }
        then(found)
    }

    /// Compares lists with the queries that request them: (list, query).
    ///
    /// - `by_list`: scratch memory
    fn compare_requests(
        &self,
        isa: Isa,
        requests: &[(u32, u32)],
        along: &[Along],
        pools: &mut [BestScored],
        by_list: &mut Vec<(u32, u32)>,
    ) {
        // A counting sort by list, so that each list is read once for all queries.
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
        for same_list in by_list.chunk_by(|a, b| a.0 == b.0) {
            let blocks = self.list(same_list[0].0);
            // Four queries share the reads of a block; the rest by two and one.
            let (fours, rest) = same_list.as_chunks::<TOGETHER>();
            let (pairs, rest) = rest.as_chunks::<2>();
            fours
                .iter()
                .for_each(|some| self.compare_some(isa, blocks, *some, along, pools));
            pairs
                .iter()
                .for_each(|some| self.compare_some(isa, blocks, *some, along, pools));
            rest.iter()
                .for_each(|&query| self.compare_some(isa, blocks, [query], along, pools));
        }
    }

    /// Compares a list with several of the queries that request it, all different.
    fn compare_some<const N: usize>(
        &self,
        isa: Isa,
        blocks: &[u8],
        requests: [(u32, u32); N],
        along: &[Along],
        pools: &mut [BestScored],
    ) {
        let places = requests.map(|(_, at)| at as usize);
        if let Ok(pools) = pools.get_disjoint_mut(places) {
            let mut places = places.into_iter();
            let each = |pool| (pool, self.short(&along[places.next().unwrap_or_default()]));
            BestScored::compare_each(isa, blocks, pools.map(each));
        }
    }

    /// As [`nearest`](Self::nearest) for each of `queries`, but every list is read once for all of
    /// them.
    pub(crate) fn nearest_of_all<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        queries: &[PreparedQuery],
        reach: Reach,
        mut then: impl FnMut(usize, &mut [Scored]) -> R,
    ) -> Vec<R> {
        BUFFERS.with_borrow_mut(|buffers| {
            let along = self.along_all(isa, queries);
            // Buffers are kept from batch to batch: fresh memory costs as much as comparing.
            let mut pools = std::mem::take(&mut buffers.pools);
            let mut walks = std::mem::take(&mut buffers.walks);
            let mut requests = std::mem::take(&mut buffers.requests);
            let mut by_list = std::mem::take(&mut buffers.by_list);
            pools.resize_with(queries.len().max(pools.len()), BestScored::default);
            walks.resize_with(queries.len().max(walks.len()), ListWalk::default);
            self.score_all_in(isa, &along, &mut buffers.scores, |at, scores| {
                pools[at].clear(reach.codes);
                let query = self.short(&along[at]);
                self.begin(
                    isa,
                    scores,
                    query,
                    (&mut pools[at], &mut walks[at]),
                    reach,
                    &Hidden::NONE,
                );
            });
            let mut open: Vec<usize> = (0..queries.len()).collect();
            while !open.is_empty() {
                requests.clear();
                open.retain(|&at| {
                    walks[at].round(isa, reach.most, |list, _| {
                        requests.push((list.name(), at as u32));
                    })
                });
                // Round by round for all queries: in each round a list is read once.
                self.compare_requests(isa, &requests, &along, &mut pools, &mut by_list);
                open.iter()
                    .for_each(|&at| walks[at].floor = pools[at].worst(isa) - reach.margin);
            }
            let mut answers = Vec::with_capacity(queries.len());
            for (at, query) in queries.iter().enumerate() {
                std::mem::swap(&mut buffers.pool, &mut pools[at]);
                answers.push(self.finish(isa, next, query, buffers, |found| then(at, found)));
                std::mem::swap(&mut buffers.pool, &mut pools[at]);
            }
            (buffers.pools, buffers.walks) = (pools, walks);
            (buffers.requests, buffers.by_list) = (requests, by_list);
            answers
        })
    }

    /// The first list of each slot, of `n`, and the second.
    pub(crate) fn lists_of(&self, n: usize) -> Vec<Vec<u32>> {
        let mut lists_of = vec![vec![0; n]; self.copies];
        for (copy, lists_of) in lists_of.iter_mut().enumerate() {
            for list in 0..self.len() as u32 {
                names(self.part(list, copy)).for_each(|name| lists_of[name as usize] = list);
            }
        }
        lists_of
    }

    /// Slots in the order of lists: neighbours are near each other.
    pub(crate) fn order(&self) -> Vec<u32> {
        (0..self.len() as u32)
            .flat_map(|list| names(self.part(list, 0)))
            .collect()
    }
}

/// Names of the vectors in blocks.
fn names(blocks: &[u8]) -> impl Iterator<Item = u32> {
    let places = blocks.chunks_exact(BLOCK_BYTES);
    let names = places.flat_map(|block| (0..LANES).map(move |lane| read(block, lane).2));
    names.filter(|&name| name != NOBODY)
}
