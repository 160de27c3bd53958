//! Inverted lists: vectors that are near each other stand side by side in short codes, and a search reads a few lists.
//!
//! The short code of a vector is its projection on the 64 directions in which the vectors of the index differ most, at
//! 8 bits a component, or on 128 at 4 bits or 256 at 2 ([`Directions`]): one cache line. A search compares the query's
//! projection with the centres of the lists, which [`Grouping`] makes, then with the codes of the nearest lists, and hands
//! the best on to 8 and 16 bits.
//!
//! Products are sums of integers and means are summed in the order of slots: the same bits on any number of threads.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::slice::from_ref;

use super::best::BestScored;
use super::codes::{CodeSource, Codes, Plane, PreparedQuery};
use super::directions::{Along, Directions};
use super::grouping::{Grouping, Spill, places};
use super::projections::Projections;
use super::residual::Residuals;
use super::subset::Bitmap;
use super::trials::Trial;
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
pub use voisin_kernels::dot::short::{
    BLOCK_BYTES, LANES, NOBODY, SHORT, ShortQuery, code, empty_blocks, read, write,
};

/// A vector that is handed on to 8 bits costs about as much as so many compared by their short codes.
const HANDED_ON_COST: usize = 16;
/// Lists of so many bytes stay in a core's own cache: to read each once for many queries, or to ask ahead for them, saves
/// nothing then.
pub(crate) const CACHED: usize = 2 << 20;
/// Blocks at the start of a list that are asked for while the list before it is compared.
const FIRST_BLOCKS: usize = 3;

/// Queries that are compared with the same blocks at once.
const TOGETHER: usize = 4;

/// How much of the lists a search looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reach {
    /// Lists.
    pub(crate) lists: usize,
    /// Vectors handed on to 8 bits.
    pub(crate) codes: usize,
}

/// What the best by short code are compared by next.
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
    /// The block that each list begins with or, if vectors are in two, those whose first it is and those whose second;
    /// behind the last, the end.
    pub(crate) starts: Vec<u32>,
    /// Blocks of the vectors.
    pub(crate) blocks: Plane,
    pub(crate) vectors: usize,
}

/// Buffers of a search, kept per thread.
#[derive(Default)]
struct ListBuffers {
    pool: BestScored,
    ranked: BestScored,
    ranked_together: [BestScored; TOGETHER],
    /// Of a batch, one for each query.
    pools: Vec<BestScored>,
    /// The nearest list with each query, and the others; and some of them by list.
    asked: [Vec<(u32, u32)>; 2],
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

/// Whether what stands in blocks can be scales, offsets, and names of `n` vectors that are `new`.
///
/// - `block`: bytes of one
fn are_places(blocks: &[u8], block: usize, n: usize, mut new: impl FnMut(usize) -> bool) -> bool {
    blocks.chunks_exact(block).all(|block| {
        (0..LANES).all(|lane| {
            let (scale, offset, name) = read(block, lane);
            if name == NOBODY {
                return scale == 0. && offset == f32::NEG_INFINITY;
            }
            (name as usize) < n && new(name as usize) && scale.abs() <= 100. && offset.abs() <= 100.
        })
    })
}

/// Whether there is one place for each of the names 0 to n - 1; for what is read from a file.
///
/// - `block`: bytes of one
pub(crate) fn are_all_places<'a>(mut parts: impl Iterator<Item = &'a [u8]>, block: usize, n: usize) -> bool {
    let mut seen = vec![false; n];
    let mut left = n;
    let mut new = |name| {
        left = left.wrapping_sub(1);
        !std::mem::replace(&mut seen[name], true)
    };
    let sane = parts.all(|blocks| are_places(blocks, block, n, &mut new));
    sane && left == 0
}

/// Leaves the first of those that have one name.
///
/// - `seen`: memory to work in
fn leave_out_repeated(found: &mut Vec<Scored>, n: usize, seen: &mut Vec<u64>) {
    seen.resize(seen.len().max(n.div_ceil(64)), 0);
    found.retain(|one| {
        let (word, bit) = (&mut seen[one.name() as usize / 64], 1 << (one.name() % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    });
    found.iter().for_each(|one| seen[one.name() as usize / 64] = 0);
}

impl Lists {
    /// Groups all vectors, in parallel on rayon's current pool; the result does not depend on its size.
    pub(crate) fn build(source: CodeSource<'_>, trials: &[Trial], spill: Option<Spill>) -> Self {
        let n = source.codes.len();
        let directions = Directions::fit(source, trials);
        let vectors = Projections::of_all(source, &directions);
        let Grouping { centres, members, .. } = Grouping::fit(source, &directions, &vectors, trials, spill);
        let (mut starts, mut blocks) = (Vec::new(), Vec::new());
        for list in 0..members[0].len() {
            for members in members.iter().map(|members| &members[list]) {
                starts.push((blocks.len() / BLOCK_BYTES) as u32);
                let mut part = empty_blocks(members.len(), SHORT);
                for (place, &slot) in members.iter().enumerate() {
                    let (vector, offset) =
                        (vectors.at(slot as usize), source.codes.meta[slot as usize].offset);
                    let (code, scale) = directions.encode(vector.code, vector.factor);
                    write(&mut part, place, &code, scale, offset, slot);
                }
                blocks.append(&mut part);
            }
        }
        starts.push((blocks.len() / BLOCK_BYTES) as u32);
        let blocks = Plane::pages(&blocks);
        Self { directions, centres, copies: members.len(), starts, blocks, vectors: n }
    }

    /// Whether every vector has one place in the blocks, or one as in its first list and one as in its second, with numbers
    /// that can be; for what is read from a file.
    pub(crate) fn has_every_vector(&self) -> bool {
        (0..self.copies).all(|copy| {
            let places = (0..self.len() as u32).map(|list| self.place_of_part(list, copy));
            are_all_places(places.map(|place| &self.blocks.raw()[place]), BLOCK_BYTES, self.vectors)
        })
    }

    /// Number of lists.
    pub(crate) fn len(&self) -> usize {
        (self.starts.len() - 1) / self.copies
    }

    /// Bytes of all parts.
    pub(crate) fn bytes(&self) -> usize {
        self.directions.rows.len() + self.centres.len() + 4 * self.starts.len() + self.blocks.len()
    }

    /// What a search costs, in vectors that are compared by their short codes, about.
    pub(crate) fn cost(&self, reach: Reach) -> usize {
        let places =
            self.blocks.len() / BLOCK_BYTES * LANES * reach.lists.min(self.len()) / self.len().max(1);
        places.saturating_add(reach.codes.saturating_mul(HANDED_ON_COST))
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

    /// Blocks of a list.
    pub(crate) fn list(&self, list: u32) -> &[u8] {
        self.blocks_at(self.place(list))
    }

    /// Blocks of those that are in a list as in their first, 0, or second, 1: of all lists, every vector once.
    pub(crate) fn part(&self, list: u32, copy: usize) -> &[u8] {
        self.blocks_at(self.place_of_part(list, copy))
    }

    /// Asks for the first blocks of a list.
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

    /// As it is compared with short codes.
    pub(crate) fn short<'a>(&self, along: &'a Along) -> ShortQuery<'a> {
        along.query(self.directions.bits)
    }

    /// The nearest `lists` lists, nearest first.
    fn rank(&self, isa: Isa, query: &Along, lists: usize, ranked: &mut BestScored) {
        self.rank_each(isa, [(ranked, query)], lists);
    }

    /// As [`rank`](Self::rank) for each of some queries.
    fn rank_each<const N: usize>(&self, isa: Isa, mut all: [(&mut BestScored, &Along); N], lists: usize) {
        all.iter_mut().for_each(|(ranked, _)| ranked.clear(lists.min(self.len())));
        let queries = all.each_mut().map(|(ranked, query)| (&mut **ranked, query.query(8)));
        BestScored::compare_each(isa, &self.centres, queries);
        for (ranked, _) in all {
            ranked.cut(isa);
            ranked.found.sort_unstable();
        }
    }

    /// Hands on the nearest `lists` lists of each query, nearest first, with its place.
    pub(crate) fn rank_all(
        &self,
        isa: Isa,
        along: &[Along],
        lists: usize,
        each: impl FnMut(usize, &[Scored]),
    ) {
        BUFFERS.with_borrow_mut(|buffers| {
            self.rank_all_in(isa, along, lists, &mut buffers.ranked_together, each);
        });
    }

    fn rank_all_in(
        &self,
        isa: Isa,
        along: &[Along],
        lists: usize,
        ranked: &mut [BestScored; TOGETHER],
        mut each: impl FnMut(usize, &[Scored]),
    ) {
        let (together, rest) = along.as_chunks::<TOGETHER>();
        for (group, queries) in together.iter().enumerate() {
            let mut queries = queries.each_ref().into_iter();
            let some = ranked.each_mut().map(|ranked| (ranked, queries.next().unwrap_or(&along[0])));
            self.rank_each(isa, some, lists);
            let ranked = ranked.iter().enumerate();
            ranked.for_each(|(at, ranked)| each(group * TOGETHER + at, &ranked.found));
        }
        for (at, query) in rest.iter().enumerate() {
            let ranked = &mut ranked[0];
            self.rank(isa, query, lists, ranked);
            each(together.len() * TOGETHER + at, &ranked.found);
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

    /// Whether a slot is in one of the lists nearest to this vector, with its short code but for rounding.
    pub(crate) fn holds(&self, isa: Isa, slot: u32, vector: &PreparedQuery) -> bool {
        const NEAREST: usize = 3;
        let along = self.along(isa, vector);
        let (own, factor) = self.directions.encode(&along.code, along.factor);
        let own = self.directions.decode(&own);
        // Neighbouring values of two bits are -3, -1, 1 and 3.
        let step = if self.directions.bits == 8 { 1 } else { 2 };
        let mut nearest = Vec::new();
        self.rank_all(isa, from_ref(&along), NEAREST, |_, lists| nearest.extend_from_slice(lists));
        let mut blocks = nearest.iter().flat_map(|one| self.list(one.name()).chunks_exact(BLOCK_BYTES));
        blocks.any(|block| {
            let Some(lane) = (0..LANES).find(|&lane| read(block, lane).2 == slot) else { return false };
            let code = self.directions.decode(&code(block, lane));
            let scale = read(block, lane).0;
            code.iter().zip(&own).all(|(a, &b)| a.abs_diff(b) <= step)
                && (scale - factor).abs() <= 1e-3 * factor.abs()
        })
    }

    /// The best slots by short code within `reach`, each with its similarity by what is `next`, in no order; `hidden` are left
    /// out.
    pub(crate) fn nearest<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        query: &PreparedQuery,
        reach: Reach,
        hidden: Range<u32>,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        BUFFERS.with_borrow_mut(|buffers| {
            let along = self.along(isa, query);
            self.rank(isa, &along, reach.lists, &mut buffers.ranked);
            // As many more as may be left out.
            buffers.pool.clear(reach.codes + self.copies * hidden.len());
            let ranked = &buffers.ranked.found;
            self.blocks.expect(ranked.iter().map(|one| self.place(one.name())));
            let is_far = self.blocks.len() > CACHED;
            for (at, list) in ranked.iter().enumerate() {
                // The kernel asks ahead inside a list.
                if let Some(next) = ranked.get(at + 1).filter(|_| is_far) {
                    self.prefetch(*next);
                }
                buffers.pool.compare(isa, self.list(list.name()), self.short(&along));
            }
            self.finish(isa, next, query, hidden, buffers, then)
        })
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
            let along = self.along(isa, query);
            buffers.pool.clear(codes);
            for list in 0..self.len() as u32 {
                buffers.pool.compare_allowed(isa, self.part(list, 0), self.short(&along), allowed);
            }
            self.finish(isa, next, query, 0..0, buffers, then)
        })
    }

    fn finish<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        query: &PreparedQuery,
        hidden: Range<u32>,
        buffers: &mut ListBuffers,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        let ListBuffers { pool, slots, products, found, seen, .. } = buffers;
        if !hidden.is_empty() {
            pool.found.retain(|one| !hidden.contains(&one.name()));
            pool.most -= self.copies * hidden.len();
        }
        pool.cut(isa);
        if self.copies > 1 {
            leave_out_repeated(&mut pool.found, self.vectors, seen);
        }
        match next {
            Next::Codes(codes) => {
                slots.clear();
                slots.extend(pool.found.iter().map(|one| one.name()));
                codes.similarities8(isa, query, slots, products, found);
            }
            Next::Residuals(residuals) => {
                found.clone_from(&pool.found);
                residuals.add(isa, query, products, slots, found);
            }
        }
        then(found)
    }

    /// Compares lists with the queries that ask for them: (list, query).
    ///
    /// - `by_list`: memory to work in
    fn compare_asked(
        &self,
        isa: Isa,
        asked: &[(u32, u32)],
        along: &[Along],
        pools: &mut [BestScored],
        by_list: &mut Vec<(u32, u32)>,
    ) {
        let mut ends = vec![0_u32; self.len() + 1];
        asked.iter().for_each(|&(list, _)| ends[list as usize + 1] += 1);
        (1..ends.len()).for_each(|list| ends[list] += ends[list - 1]);
        by_list.clear();
        by_list.resize(asked.len(), (0, 0));
        for &one in asked {
            let place = &mut ends[one.0 as usize];
            by_list[*place as usize] = one;
            *place += 1;
        }
        for asked in by_list.chunk_by(|a, b| a.0 == b.0) {
            let blocks = self.list(asked[0].0);
            let (fours, rest) = asked.as_chunks::<TOGETHER>();
            let (pairs, rest) = rest.as_chunks::<2>();
            fours.iter().for_each(|some| self.compare_some(isa, blocks, *some, along, pools));
            pairs.iter().for_each(|some| self.compare_some(isa, blocks, *some, along, pools));
            rest.iter().for_each(|&one| self.compare_some(isa, blocks, [one], along, pools));
        }
    }

    /// Compares a list with some of the queries that ask for it, all different.
    fn compare_some<const N: usize>(
        &self,
        isa: Isa,
        blocks: &[u8],
        asked: [(u32, u32); N],
        along: &[Along],
        pools: &mut [BestScored],
    ) {
        let places = asked.map(|(_, at)| at as usize);
        if let Ok(pools) = pools.get_disjoint_mut(places) {
            let mut places = places.into_iter();
            let each = |pool| (pool, self.short(&along[places.next().unwrap_or_default()]));
            BestScored::compare_each(isa, blocks, pools.map(each));
        }
    }

    /// As [`nearest`](Self::nearest) for each of `queries`, but every list is read once for all of them.
    pub(crate) fn nearest_of_all<R>(
        &self,
        isa: Isa,
        next: Next<'_>,
        queries: &[PreparedQuery],
        reach: Reach,
        mut then: impl FnMut(usize, &mut [Scored]) -> R,
    ) -> Vec<R> {
        BUFFERS.with_borrow_mut(|buffers| {
            let along: Vec<Along> = queries.iter().map(|query| self.along(isa, query)).collect();
            // Kept from batch to batch: fresh memory costs as much as comparing.
            let mut pools = std::mem::take(&mut buffers.pools);
            let mut asked = std::mem::take(&mut buffers.asked);
            let mut by_list = std::mem::take(&mut buffers.by_list);
            pools.resize_with(queries.len().max(pools.len()), BestScored::default);
            // Nearest lists of each query go first, as many as have what is handed on, so that limits are soon high.
            let first = (reach.codes * self.len()).div_ceil(self.vectors.max(1)).max(1);
            let [nearest, others] = &mut asked;
            nearest.clear();
            others.clear();
            self.rank_all_in(isa, &along, reach.lists, &mut buffers.ranked_together, |at, ranked| {
                pools[at].clear(reach.codes);
                let mut asks = ranked.iter().map(|list| (list.name(), at as u32));
                nearest.extend(asks.by_ref().take(first));
                others.extend(asks);
            });
            asked.iter().for_each(|asked| self.compare_asked(isa, asked, &along, &mut pools, &mut by_list));
            let mut answers = Vec::with_capacity(queries.len());
            for (at, query) in queries.iter().enumerate() {
                std::mem::swap(&mut buffers.pool, &mut pools[at]);
                answers.push(self.finish(isa, next, query, 0..0, buffers, |found| then(at, found)));
                std::mem::swap(&mut buffers.pool, &mut pools[at]);
            }
            (buffers.pools, buffers.asked, buffers.by_list) = (pools, asked, by_list);
            answers
        })
    }

    /// For calibration: of each of `slots`, how many lists are nearer than its own, and how many vectors of the nearest
    /// `lists` have a better score, each counted as often as it is there; `hidden` are left out.
    pub(crate) fn ranks(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        hidden: &Range<u32>,
        slots: &[u32],
        lists_of: &[Vec<u32>],
        lists: usize,
    ) -> Vec<(usize, usize)> {
        let along = self.along(isa, query);
        let place = places(isa, &self.centres, &along);
        let mut seen = Vec::new();
        for list in (0..self.len()).filter(|&list| place[list] < lists) {
            isa.near(self.list(list as u32), self.short(&along), f32::NEG_INFINITY, &mut seen);
        }
        seen.retain(|one| !hidden.contains(&one.name()));
        seen.sort_unstable();
        // Of two places of a vector the first counts.
        let rank: HashMap<u32, usize> =
            seen.iter().enumerate().rev().map(|(rank, one)| (one.name(), rank)).collect();
        let of = |slot: &u32| {
            let nearest = lists_of.iter().map(|lists_of| place[lists_of[*slot as usize] as usize]).min();
            (nearest.unwrap_or(self.len()), rank.get(slot).copied().unwrap_or(usize::MAX))
        };
        slots.iter().map(of).collect()
    }

    /// The first list that each slot is in, of `n`, and the second.
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
        (0..self.len() as u32).flat_map(|list| names(self.part(list, 0))).collect()
    }
}

/// Names of what stands in blocks.
fn names(blocks: &[u8]) -> impl Iterator<Item = u32> {
    let places = blocks.chunks_exact(BLOCK_BYTES);
    let names = places.flat_map(|block| (0..LANES).map(move |lane| read(block, lane).2));
    names.filter(|&name| name != NOBODY)
}
