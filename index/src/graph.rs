//! The frozen graph: rows of links, and the loop that walks them by short codes.
//!
//! Beside each slot stand the short codes of the slots that it is linked to, in blocks as the
//! [lists](super::lists) have them: one sweep of the lists' kernel compares them all (Gou et al.,
//! `SymphonyQG`, SIGMOD 2025, do so with signs). A search starts with the nearest list, follows the
//! nearest by short code, and compares what it ends with at 8 bits. The blocks are made of links
//! and lists at the first walk: a file has the links alone.

use std::cell::RefCell;
use std::slice::from_ref;
use std::sync::OnceLock;

use super::codes::{CodeSource, Plane, PreparedQuery};
use super::directions::Along;
use super::fill::fill;
use super::lists::{BLOCK_BYTES, LANES, Lists, SHORT, ShortQuery, empty_blocks};
use super::trials::Hidden;
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::short;

/// No link.
pub(crate) const NONE: u32 = u32::MAX;
/// Candidates that are followed together: while one's blocks are compared, the next ones' come from
/// memory.
const TOGETHER: usize = 4;
/// Lists that a walk starts with.
const ENTRIES: usize = 4;
/// Marks a pooled candidate whose links were followed.
const FOLLOWED: u64 = 1;

/// A graph over the slots of a segment that has [`Lists`].
#[derive(Default)]
pub(crate) struct Graph {
    /// Links per slot: whole blocks.
    pub(crate) stride: usize,
    /// `[slots][stride]`: linked slots, then [`NONE`].
    pub(crate) links: Vec<u32>,
    /// `[slots][stride / LANES]` blocks of the linked slots' short codes; made at the first walk.
    blocks: OnceLock<Plane>,
}

/// A candidate as one number, nearer ones smaller, equals by slot: similarity, slot (31 bits),
/// [`FOLLOWED`].
///
/// Numbers sort and merge without branches, floats with an order of their own do not.
type Pooled = u64;

#[inline]
fn pooled(scored: Scored) -> Pooled {
    // The lowest bit of the name's place marks a followed candidate, so names have 31 bits.
    scored.key() >> 32 << 32 | u64::from(scored.name()) << 1
}

#[inline]
fn slot_of(pooled: Pooled) -> u32 {
    pooled as u32 >> 1
}

fn candidate(pooled: Pooled) -> Scored {
    Scored::from(pooled >> 32 << 32 | u64::from(slot_of(pooled)))
}

/// Memory of a walk, kept per thread.
#[derive(Default)]
struct GraphWalk {
    /// Nearest first.
    pool: Vec<Pooled>,
    /// A bit for each slot: whether it was in the pool at some time.
    seen: Vec<u64>,
    /// Words of `seen` with any.
    marked: Vec<u32>,
    scored: Vec<Scored>,
    /// Those of one comparison that enter the pool.
    fresh: Vec<Pooled>,
    slots: Vec<u32>,
    products: Vec<i32>,
    found: Vec<Scored>,
}

thread_local! {
    static WALK: RefCell<GraphWalk> = RefCell::default();
}

impl Graph {
    pub(crate) fn new(stride: usize, links: Vec<u32>) -> Self {
        Self {
            stride,
            links,
            blocks: OnceLock::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len() / self.stride.max(1)
    }

    pub(crate) fn linked(&self, slot: usize) -> &[u32] {
        let row = &self.links[slot * self.stride..][..self.stride];
        let end = row
            .iter()
            .position(|&link| link == NONE)
            .unwrap_or(row.len());
        &row[..end]
    }

    /// Number of links.
    pub(crate) fn count_links(&self) -> usize {
        self.links.iter().filter(|&&link| link != NONE).count()
    }

    /// Bytes of the blocks, made or not.
    pub(crate) fn block_bytes(&self) -> usize {
        self.links.len() / LANES * BLOCK_BYTES
    }

    fn blocks(&self, lists: &Lists) -> &[u8] {
        self.blocks
            // Made at the first walk and not on opening: an index that is never walked does
            // without.
            .get_or_init(|| {
                let codes = lists.codes_by_slot(self.len());
                let step = self.stride / LANES * BLOCK_BYTES;
                let mut plane = Plane::zeroed(self.len() * step);
                let write = |slot: usize, blocks: &mut [u8]| {
                    blocks.copy_from_slice(&empty_blocks(self.stride, SHORT));
                    for (at, &link) in self.linked(slot).iter().enumerate() {
                        let (code, scale, offset) = &codes[link as usize];
                        short::write(blocks, at, code, *scale, *offset, link);
                    }
                };
                fill(&mut plane.as_mut()[..self.len() * step], step, write);
                plane
            })
            .raw()
    }

    /// The best `ef` slots found for `query` by short code, with their similarities at 8 bits, in
    /// no order; `hidden` are left out.
    pub(crate) fn walk<R>(
        &self,
        lists: &Lists,
        source: CodeSource<'_>,
        query: &PreparedQuery,
        ef: usize,
        hidden: &Hidden,
        mut then: impl FnMut(&mut [Scored]) -> R,
    ) -> Option<R> {
        self.walk_all(lists, source, from_ref(query), ef, hidden, |_, found| {
            then(found)
        })
        .pop()
    }

    /// As [`walk`](Self::walk) for each of `queries`, with its place among them.
    pub(crate) fn walk_all<R>(
        &self,
        lists: &Lists,
        CodeSource { isa, codes, .. }: CodeSource<'_>,
        queries: &[PreparedQuery],
        ef: usize,
        hidden: &Hidden,
        mut then: impl FnMut(usize, &mut [Scored]) -> R,
    ) -> Vec<R> {
        let blocks = self.blocks(lists);
        // Entry lists of all queries are found together, four queries to a pass over the centres.
        let along = lists.along_all(isa, queries);
        let mut entries = Vec::with_capacity(ENTRIES * queries.len());
        lists.score_all(isa, &along, |_, scores| {
            entries.extend(scores.nearest(isa).take(ENTRIES).map(Scored::name));
        });
        let entries = entries.chunks(ENTRIES.min(lists.len()).max(1));
        WALK.with_borrow_mut(|walk| {
            walk.seen
                .resize(walk.seen.len().max(self.len().div_ceil(64)), 0);
            let walks = queries.iter().zip(&along).zip(entries).enumerate();
            let walk_from = |(at, ((query, along), entries)): (usize, ((_, &Along), &[u32]))| {
                walk.pool.clear();
                // Only the words that were marked are cleared; all of them would cost more than a
                // walk.
                walk.marked
                    .drain(..)
                    .for_each(|word| walk.seen[word as usize] = 0);
                let short = lists.short(along);
                let mut search = Search {
                    graph: self,
                    blocks,
                    isa,
                    short,
                    ef: ef.max(1),
                    hidden,
                    next: 0,
                    walk,
                };
                // Any list is a start, but the nearest ones save the steps towards them.
                entries
                    .iter()
                    .for_each(|&list| search.compare(lists.part(list, 0)));
                search.spread();
                let GraphWalk {
                    pool,
                    slots,
                    products,
                    found,
                    ..
                } = &mut *walk;
                slots.clear();
                slots.extend(pool.iter().copied().map(slot_of));
                codes.similarities8(isa, query, slots, products, found);
                then(at, found)
            };
            walks.map(walk_from).collect()
        })
    }
}

/// One search of a graph: best first, with one sorted pool of `ef` candidates.
struct Search<'a> {
    graph: &'a Graph,
    blocks: &'a [u8],
    isa: Isa,
    short: ShortQuery<'a>,
    ef: usize,
    hidden: &'a Hidden,
    /// Everything before it in the pool was followed.
    next: usize,
    walk: &'a mut GraphWalk,
}

impl Search<'_> {
    /// Puts those of `blocks` that are near enough into `walk.scored`.
    fn near(&mut self, blocks: &[u8]) {
        let pool = &self.walk.pool;
        // The kernel drops what cannot enter the pool, so that few candidates have to be looked at
        // one by one.
        let limit = if pool.len() == self.ef {
            candidate(pool[self.ef - 1]).score()
        } else {
            f32::NEG_INFINITY
        };
        self.isa
            .near(blocks, self.short, limit, &mut self.walk.scored);
    }

    /// Puts those of `walk.scored` into the pool that were not there before.
    fn enter(&mut self) {
        let GraphWalk {
            pool,
            seen,
            marked,
            scored,
            fresh,
            ..
        } = &mut *self.walk;
        let limit = if pool.len() == self.ef {
            pool[self.ef - 1] & !FOLLOWED
        } else {
            u64::MAX
        };
        fresh.clear();
        for candidate in scored.drain(..) {
            let word = candidate.name() as usize / 64;
            let bit = 1 << (candidate.name() % 64);
            let new = pooled(candidate);
            // A slot that was once too far stays out, since the pool's worst only gets better.
            if new < limit && seen[word] & bit == 0 && !self.hidden.contains(candidate.name()) {
                if seen[word] == 0 {
                    marked.push(word as u32);
                }
                seen[word] |= bit;
                fresh.push(new);
            }
        }
        if fresh.is_empty() {
            return;
        }
        fresh.sort_unstable();
        // A new candidate nearer than all followed ones sends the walk back to it.
        self.next = self.next.min(merge(pool, fresh, self.ef));
    }

    fn compare(&mut self, blocks: &[u8]) {
        self.near(blocks);
        self.enter();
    }

    fn spread(&mut self) {
        let step = self.graph.stride / LANES * BLOCK_BYTES;
        let blocks = self.blocks;
        let mut followed = [0_usize; TOGETHER];
        loop {
            let mut n = 0;
            while n < TOGETHER {
                let pool = &mut self.walk.pool;
                while self.next < pool.len() && pool[self.next] & FOLLOWED != 0 {
                    self.next += 1;
                }
                let Some(nearest) = pool.get_mut(self.next) else {
                    break;
                };
                *nearest |= FOLLOWED;
                followed[n] = slot_of(*nearest) as usize * step;
                // Its blocks are on their way while those of the candidates before it are compared.
                for line in (0..step).step_by(64) {
                    Isa::prefetch(blocks, followed[n] + line);
                }
                self.next += 1;
                n += 1;
            }
            if n == 0 {
                return;
            }
            for &at in &followed[..n] {
                self.near(&blocks[at..at + step]);
            }
            self.enter();
        }
    }
}

/// Merges `fresh` into `pool`, both sorted, and keeps the `most` nearest; returns where the first
/// of `fresh` came to stand.
fn merge(pool: &mut Vec<Pooled>, fresh: &[Pooled], most: usize) -> usize {
    let mut old = pool.len();
    let mut new = fresh.len();
    // The pool may only keep `most`, so the farthest of both are dropped before anything moves.
    while old + new > most {
        let farther = old > 0 && (new == 0 || pool[old - 1] > fresh[new - 1]);
        old -= usize::from(farther);
        new -= usize::from(!farther);
    }
    let mut at = old + new;
    pool.resize(at, 0);
    // From the end, so that what stands before the first new one is never touched.
    while new > 0 {
        at -= 1;
        let last = fresh[new - 1];
        let before = if old > 0 { pool[old - 1] } else { 0 };
        let moved = before > last;
        pool[at] = before.max(last);
        old -= usize::from(moved);
        new -= usize::from(!moved);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};

    #[test]
    fn pooled_candidates_sort_by_similarity_then_slot_and_come_back() {
        let mut all: Vec<Scored> = [-1., -0.5, -1e-9, 0., 1e-9, 0.3, 0.999_999, 1.]
            .into_iter()
            .flat_map(|similarity| {
                [0, 1, 77, (1 << 31) - 2].map(|slot| Scored::new(similarity, slot))
            })
            .collect();
        let mut keys: Vec<Pooled> = all.iter().copied().map(pooled).collect();
        keys.sort_unstable();
        all.sort_unstable();
        assert_eq!(
            keys.iter()
                .map(|&key| candidate(key | FOLLOWED))
                .collect::<Vec<_>>(),
            all
        );
    }

    #[test]
    fn merging_is_sorting_all() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for round in 0..500 {
            let mut draw = |from: u32, most: usize| -> Vec<Pooled> {
                let n = rng.random_range(0..=most);
                // Few values: many equals.
                let mut all: Vec<_> = (0..n as u32)
                    .map(|i| pooled(Scored::new(rng.random_range(0..20) as f32, from + i)))
                    .collect();
                all.sort_unstable();
                all
            };
            let most = 1 + round % 17;
            let mut pool = draw(0, most);
            let fresh = draw(100, 25);
            let mut want = [pool.as_slice(), &fresh].concat();
            want.sort_unstable();
            want.truncate(most);
            let first = want.iter().position(|&found| slot_of(found) >= 100);
            let at = merge(&mut pool, &fresh, most);
            assert_eq!(pool, want);
            assert_eq!(first.unwrap_or(at), at);
        }
    }
}
