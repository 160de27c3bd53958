//! The frozen graph: flat arrays of links, and the loop that walks them.

use std::cell::RefCell;

use super::codes::{Codes, Query};
use super::kernel::Isa;

/// No link.
pub(crate) const NONE: u32 = u32::MAX;
/// Candidates are followed until this many new slots are to be compared.
const TOGETHER: usize = 24;
/// Marks a candidate whose links were followed; slots have 31 bits.
const FOLLOWED: u32 = 1 << 31;

/// A hierarchical graph over the slots of a segment.
///
/// Points of the upper layers have a rank, highest layer first: layer `l` holds the ranks below its size, so a
/// rank means the same point in every layer. Rank 0 is where every search starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Graph {
    /// Links per slot in the lowest layer, spare ones included.
    pub(crate) stride: usize,
    /// `[slots][stride]`: linked slots, then [`NONE`].
    pub(crate) links: Vec<u32>,
    /// Slot where a search starts if there are no upper layers.
    pub(crate) entry: u32,
    /// Slots of the upper layers' points by rank.
    pub(crate) ranked: Vec<u32>,
    /// Links per rank in the upper layers.
    pub(crate) upper_stride: usize,
    /// Layers from 1 up, each `[size][upper_stride]`: linked ranks, then [`NONE`].
    pub(crate) upper: Vec<Vec<u32>>,
}

/// A slot and its similarity to the query at 8 bits.
pub(crate) type Candidate = (f32, u32);

/// Memory of a walk, kept per thread.
#[derive(Default)]
pub(crate) struct Walk {
    visited: Vec<u64>,
    /// Nearest first; the slot may carry [`FOLLOWED`].
    pool: Vec<Candidate>,
    slots: Vec<u32>,
    products: Vec<i32>,
    similarities: Vec<f32>,
}

thread_local! {
    static WALK: RefCell<Walk> = RefCell::default();
}

impl Graph {
    pub(crate) fn len(&self) -> usize {
        self.links.len() / self.stride.max(1)
    }

    pub(crate) fn row(&self, slot: usize) -> &[u32] {
        &self.links[slot * self.stride..][..self.stride]
    }

    pub(crate) fn linked(&self, slot: usize) -> &[u32] {
        let row = self.row(slot);
        let end = row.iter().position(|&link| link == NONE).unwrap_or(row.len());
        &row[..end]
    }

    /// Number of links of all layers.
    pub(crate) fn count_links(&self) -> usize {
        let links = self.links.iter().chain(self.upper.iter().flatten());
        links.filter(|&&link| link != NONE).count()
    }

    /// The best `ef` slots found for `query`, nearest first; `skip` is never visited.
    pub(crate) fn walk<R>(
        &self,
        isa: Isa,
        codes: &Codes,
        query: &Query,
        ef: usize,
        skip: Option<u32>,
        then: impl FnOnce(&mut [Candidate]) -> R,
    ) -> R {
        WALK.with_borrow_mut(|walk| {
            walk.pool.clear();
            if self.len() > 0 {
                let mut search = Search { graph: self, isa, codes, query, ef: ef.max(1), next: 0, walk };
                search.start(skip);
                search.descend();
                search.spread(skip);
            }
            then(&mut walk.pool)
        })
    }
}

/// One search of a graph.
struct Search<'a> {
    graph: &'a Graph,
    isa: Isa,
    codes: &'a Codes,
    query: &'a Query,
    ef: usize,
    /// Everything before it in the pool was followed.
    next: usize,
    walk: &'a mut Walk,
}

impl Search<'_> {
    fn start(&mut self, skip: Option<u32>) {
        self.walk.visited.clear();
        self.walk.visited.resize(self.graph.len().div_ceil(64), 0);
        if let Some(skip) = skip {
            self.walk.visited[skip as usize / 64] |= 1 << (skip % 64);
        }
        self.walk.slots.clear();
    }

    /// Adds those of `linked`, up to the first [`NONE`], that are new to `walk.slots`.
    #[inline]
    fn gather(&mut self, linked: impl Iterator<Item = u32>) {
        let Walk { visited, slots, .. } = &mut *self.walk;
        for slot in linked {
            if slot == NONE {
                break;
            }
            let (word, bit) = (&mut visited[slot as usize / 64], 1_u64 << (slot % 64));
            if *word & bit == 0 {
                *word |= bit;
                Isa::prefetch(&self.codes.meta, slot as usize);
                slots.push(slot);
            }
        }
    }

    /// Compares the query with `walk.slots` and puts them into the pool.
    fn compare(&mut self) {
        let Walk { pool, slots, products, similarities, .. } = &mut *self.walk;
        self.codes.similarities8(self.isa, self.query, slots, products, similarities);
        for (&slot, &similarity) in slots.iter().zip(similarities.iter()) {
            if pool.len() == self.ef {
                if similarity <= pool[self.ef - 1].0 {
                    continue;
                }
                pool.pop();
            }
            // It may be followed next.
            let row = slot as usize * self.graph.stride;
            Isa::prefetch(&self.graph.links, row);
            Isa::prefetch(&self.graph.links, row + 16);
            let at = pool.partition_point(|candidate| candidate.0 >= similarity);
            pool.insert(at, (similarity, slot));
            self.next = self.next.min(at);
        }
    }

    /// Goes to the nearest point of each upper layer in turn. All that is met on the way is in the pool.
    fn descend(&mut self) {
        let graph = self.graph;
        let Some(&first) = graph.ranked.first() else {
            return self.visit(graph.entry);
        };
        self.visit(first);
        let mut best = self.walk.similarities.first().copied().unwrap_or(f32::NEG_INFINITY);
        let mut rank = 0_u32;
        for layer in graph.upper.iter().rev() {
            loop {
                let row = &layer[rank as usize * graph.upper_stride..][..graph.upper_stride];
                self.walk.slots.clear();
                self.gather(
                    row.iter().take_while(|&&link| link != NONE).map(|&link| graph.ranked[link as usize]),
                );
                self.compare();
                // Of those that are new; the others were no nearer than the point that they were met from.
                let found = self.walk.slots.iter().zip(&self.walk.similarities);
                let nearest = found.max_by(|a, b| a.1.total_cmp(b.1)).filter(|found| *found.1 > best);
                let Some((&slot, &similarity)) = nearest else { break };
                let at = row.iter().find(|&&link| graph.ranked.get(link as usize) == Some(&slot));
                let Some(&link) = at else { break };
                (best, rank) = (similarity, link);
            }
        }
    }

    fn visit(&mut self, slot: u32) {
        self.walk.slots.clear();
        self.gather(std::iter::once(slot));
        self.compare();
    }

    /// Best-first search of the lowest layer with one sorted pool of `ef` candidates.
    fn spread(&mut self, skip: Option<u32>) {
        let graph = self.graph;
        if let Some(skip) = skip.filter(|_| self.walk.pool.is_empty()) {
            // The start itself is to be skipped: from its neighbours, then.
            self.walk.slots.clear();
            self.gather(graph.row(skip as usize).iter().copied());
            self.compare();
        }
        loop {
            // Links of several candidates are compared together: while one row of a vector comes from memory, the
            // next are on their way.
            self.walk.slots.clear();
            while self.walk.slots.len() < TOGETHER {
                let pool = &mut self.walk.pool;
                while self.next < pool.len() && pool[self.next].1 & FOLLOWED != 0 {
                    self.next += 1;
                }
                let Some(candidate) = pool.get_mut(self.next) else {
                    break;
                };
                let slot = candidate.1 as usize;
                candidate.1 |= FOLLOWED;
                self.next += 1;
                self.gather(graph.row(slot).iter().copied());
            }
            if self.walk.slots.is_empty() {
                break;
            }
            self.compare();
        }
        for candidate in &mut self.walk.pool {
            candidate.1 &= !FOLLOWED;
        }
    }
}
