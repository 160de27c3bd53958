//! The frozen graph: flat arrays of links, and the loop that walks them.

use std::cell::RefCell;

use super::codes::{Codes, Query};
use super::kernel::Isa;

/// No link.
pub(crate) const NONE: u32 = u32::MAX;
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
                let entry = self.descend(isa, codes, query, walk);
                self.spread(isa, codes, query, ef.max(1), entry, skip, walk);
            }
            then(&mut walk.pool)
        })
    }

    /// Goes to the nearest point of each upper layer in turn.
    fn descend(&self, isa: Isa, codes: &Codes, query: &Query, walk: &mut Walk) -> u32 {
        let Some(&first) = self.ranked.first() else {
            return self.entry;
        };
        let mut rank = 0_u32;
        codes.similarities8(isa, query, &[first], &mut walk.products, &mut walk.similarities);
        let mut best = walk.similarities[0];
        for layer in self.upper.iter().rev() {
            loop {
                let row = &layer[rank as usize * self.upper_stride..][..self.upper_stride];
                walk.slots.clear();
                let linked = row.iter().take_while(|&&link| link != NONE);
                walk.slots.extend(linked.map(|&link| self.ranked[link as usize]));
                codes.similarities8(isa, query, &walk.slots, &mut walk.products, &mut walk.similarities);
                let mut next = rank;
                for (&link, &similarity) in row.iter().zip(&walk.similarities) {
                    if similarity > best {
                        (best, next) = (similarity, link);
                    }
                }
                if next == rank {
                    break;
                }
                rank = next;
            }
        }
        self.ranked[rank as usize]
    }

    /// Best-first search of the lowest layer with one sorted pool of `ef` candidates.
    #[allow(clippy::too_many_arguments)]
    fn spread(
        &self,
        isa: Isa,
        codes: &Codes,
        query: &Query,
        ef: usize,
        entry: u32,
        skip: Option<u32>,
        walk: &mut Walk,
    ) {
        let Walk { visited, pool, slots, products, similarities } = walk;
        visited.clear();
        visited.resize(self.len().div_ceil(64), 0);
        if let Some(skip) = skip {
            visited[skip as usize / 64] |= 1 << (skip % 64);
        }
        slots.clear();
        if skip == Some(entry) {
            slots.extend(self.linked(entry as usize));
        } else {
            slots.push(entry);
        }
        let mut next = 0;
        loop {
            slots.retain(|&slot| {
                let (word, bit) = (&mut visited[slot as usize / 64], 1_u64 << (slot % 64));
                let new = *word & bit == 0;
                *word |= bit;
                new
            });
            codes.similarities8(isa, query, slots, products, similarities);
            for (&slot, &similarity) in slots.iter().zip(similarities.iter()) {
                if pool.len() == ef {
                    if similarity <= pool[ef - 1].0 {
                        continue;
                    }
                    pool.pop();
                }
                let at = pool.partition_point(|candidate| candidate.0 >= similarity);
                pool.insert(at, (similarity, slot));
                next = next.min(at);
            }
            while next < pool.len() && pool[next].1 & FOLLOWED != 0 {
                next += 1;
            }
            let Some(candidate) = pool.get_mut(next) else {
                break;
            };
            let slot = candidate.1 as usize;
            candidate.1 |= FOLLOWED;
            next += 1;
            slots.clear();
            slots.extend(self.row(slot).iter().take_while(|&&link| link != NONE));
            if let Some(&(_, after)) = pool[next..].iter().find(|candidate| candidate.1 & FOLLOWED == 0) {
                let row = after as usize * self.stride;
                Isa::prefetch(&self.links, row);
                Isa::prefetch(&self.links, row + 16);
                Isa::prefetch(&self.links, row + 32);
            }
        }
        for candidate in pool {
            candidate.1 &= !FOLLOWED;
        }
    }
}
