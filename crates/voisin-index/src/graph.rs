//! The frozen graph: flat arrays of links, and the loop that walks them.

use std::cell::RefCell;

use super::codes::{Codes, PreparedQuery};
use voisin_kernels::Isa;

/// No link.
pub(crate) const NONE: u32 = u32::MAX;
/// Candidates are followed until this many new slots are to be compared.
const TOGETHER: usize = 24;
/// Marks a pooled candidate whose links were followed.
const FOLLOWED: u64 = 1;

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

/// The order of candidates: nearest first, equals by slot.
#[inline]
pub(crate) fn better(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// A candidate as one number, nearer ones smaller, equals by slot: similarity, slot (31 bits), [`FOLLOWED`].
///
/// Numbers sort and merge without branches, floats with an order of their own do not.
type Pooled = u64;

#[inline]
fn pooled((similarity, slot): Candidate) -> Pooled {
    let bits = similarity.to_bits();
    // Of positive numbers larger bits are larger, of negative ones smaller; and nearest comes first.
    let ascending = bits ^ ((bits as i32 >> 31) as u32 | 1 << 31);
    u64::from(!ascending) << 32 | u64::from(slot) << 1
}

#[inline]
fn slot_of(pooled: Pooled) -> u32 {
    pooled as u32 >> 1
}

fn candidate(pooled: Pooled) -> Candidate {
    let ascending = !((pooled >> 32) as u32);
    let bits = ascending ^ (!(ascending as i32 >> 31) as u32 | 1 << 31);
    (f32::from_bits(bits), slot_of(pooled))
}

/// Memory of a walk, kept per thread.
#[derive(Default)]
pub(crate) struct GraphWalk {
    visited: Vec<u64>,
    /// Nearest first.
    pool: Vec<Pooled>,
    slots: Vec<u32>,
    products: Vec<i32>,
    similarities: Vec<f32>,
    /// Those of one comparison that enter the pool.
    fresh: Vec<Pooled>,
    found: Vec<Candidate>,
}

thread_local! {
    static WALK: RefCell<GraphWalk> = RefCell::default();
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
        query: &PreparedQuery,
        ef: usize,
        skip: Option<u32>,
        then: impl FnOnce(&mut [Candidate]) -> R,
    ) -> R {
        WALK.with_borrow_mut(|walk| {
            walk.pool.clear();
            walk.found.clear();
            if self.len() > 0 {
                let mut search = Search { graph: self, isa, codes, query, ef: ef.max(1), next: 0, walk };
                search.start(skip);
                search.descend();
                search.spread(skip);
            }
            walk.found.extend(walk.pool.iter().copied().map(candidate));
            then(&mut walk.found)
        })
    }
}

/// One search of a graph.
struct Search<'a> {
    graph: &'a Graph,
    isa: Isa,
    codes: &'a Codes,
    query: &'a PreparedQuery,
    ef: usize,
    /// Everything before it in the pool was followed.
    next: usize,
    walk: &'a mut GraphWalk,
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
    fn gather(&mut self, linked: impl ExactSizeIterator<Item = u32>) {
        let GraphWalk { visited, slots, .. } = &mut *self.walk;
        let mut n = slots.len();
        slots.resize(n + linked.len(), 0);
        for slot in linked {
            if slot == NONE {
                break;
            }
            // Without a branch: whether a slot is new cannot be foreseen.
            let (word, bit) = (&mut visited[slot as usize / 64], slot % 64);
            let new = !*word >> bit & 1;
            *word |= 1 << bit;
            Isa::prefetch(&self.codes.meta, slot as usize);
            slots[n] = slot;
            n += new as usize;
        }
        slots.truncate(n);
    }

    /// Compares the query with `walk.slots` and puts them into the pool.
    fn compare(&mut self) {
        let GraphWalk { pool, slots, products, similarities, fresh, .. } = &mut *self.walk;
        self.codes.similarities8(self.isa, self.query, slots, products, similarities);
        // As large as the farthest, if there is no room for more: what is not smaller cannot enter.
        let limit = if pool.len() == self.ef { pool[self.ef - 1] >> 32 << 32 } else { u64::MAX };
        fresh.resize(slots.len(), 0);
        let mut n = 0;
        for (&slot, &similarity) in slots.iter().zip(similarities.iter()) {
            let new = pooled((similarity, slot));
            fresh[n] = new;
            n += usize::from(new < limit);
        }
        fresh.truncate(n);
        if n == 0 {
            return;
        }
        for &new in &*fresh {
            // It may be followed next.
            let row = slot_of(new) as usize * self.graph.stride;
            Isa::prefetch(&self.graph.links, row);
            Isa::prefetch(&self.graph.links, row + 16);
        }
        fresh.sort_unstable();
        self.next = self.next.min(merge(pool, fresh, self.ef));
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
                let end = row.iter().position(|&link| link == NONE).unwrap_or(row.len());
                self.gather(row[..end].iter().map(|&link| graph.ranked[link as usize]));
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
                while self.next < pool.len() && pool[self.next] & FOLLOWED != 0 {
                    self.next += 1;
                }
                let Some(nearest) = pool.get_mut(self.next) else {
                    break;
                };
                let slot = slot_of(*nearest) as usize;
                *nearest |= FOLLOWED;
                self.next += 1;
                self.gather(graph.row(slot).iter().copied());
            }
            if self.walk.slots.is_empty() {
                break;
            }
            self.compare();
        }
    }
}

/// Merges `fresh` into `pool`, both sorted, and keeps the `most` nearest; returns where the first of `fresh` came to
/// stand.
fn merge(pool: &mut Vec<Pooled>, fresh: &[Pooled], most: usize) -> usize {
    let (mut old, mut new) = (pool.len(), fresh.len());
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
        let mut all: Vec<Candidate> = [-1., -0.5, -1e-9, 0., 1e-9, 0.3, 0.999_999, 1.]
            .into_iter()
            .flat_map(|similarity| [0, 1, 77, (1 << 31) - 2].map(|slot| (similarity, slot)))
            .collect();
        let mut keys: Vec<Pooled> = all.iter().copied().map(pooled).collect();
        keys.sort_unstable();
        all.sort_by(better);
        assert_eq!(keys.iter().map(|&key| candidate(key | FOLLOWED)).collect::<Vec<_>>(), all);
    }

    #[test]
    fn merging_is_sorting_all() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        for round in 0..500 {
            let mut draw = |from: u32, most: usize| -> Vec<Pooled> {
                let n = rng.random_range(0..=most);
                // Few values: many equals.
                let mut all: Vec<_> =
                    (0..n as u32).map(|i| pooled((rng.random_range(0..20) as f32, from + i))).collect();
                all.sort_unstable();
                all
            };
            let most = 1 + round % 17;
            let (mut pool, fresh) = (draw(0, most), draw(100, 25));
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
