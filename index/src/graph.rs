//! The immutable graph: rows of links, and the walk along them by short codes.
//!
//! Each slot has the short codes of the slots that it is linked to, in blocks like those of the
//! [lists](super::lists): one call of the lists' kernel compares them all (Gou et al.,
//! `SymphonyQG`, SIGMOD 2025, do so with signs). A search starts with the nearest lists, follows
//! the nearest by short code, and compares the result at 8 bits.
//!
//! A file has links and no blocks, which take eighteen times the memory. Until a process has walked
//! often enough for blocks to pay, each walk gathers the codes of its slots from the lists, with
//! the same results.

use std::cell::RefCell;
use std::slice::from_ref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rayon::prelude::*;

use super::codes::{CodeSource, Plane, PreparedQuery};
use super::fill::fill;
use super::lists::{BLOCK_BYTES, LANES, Lists, SHORT, ShortQuery, code, empty_blocks, read, write};
use super::subset::Bitmap;
use voisin_simd::Isa;
use voisin_simd::dot::best::Scored;

/// No link.
pub(crate) const NONE: u32 = u32::MAX;
/// Bytes of a slot, or of a position in the lists' blocks.
pub(crate) const WORD: usize = 4;
/// Candidates that are followed together: while one's blocks are compared, the next ones' are
/// fetched.
const TOGETHER: usize = 4;
/// Lists that a walk starts with. With four, a query between two clusters could find only one of
/// them: among 40 000 vectors of 300 clusters walks had to be three times as wide.
const ENTRIES: usize = 8;
/// Marks a pooled candidate whose links were followed.
const FOLLOWED: u64 = 1;
/// Blocks are made after one walk per this many slots: not for a few queries, but soon for many.
const SLOTS_PER_WALK: usize = 64;

/// Bytes of a [`SlotPlace`].
pub(crate) const PLACE: usize = 2 * WORD;

/// Positions of a slot's parts: two u32, little-endian.
struct SlotPlace {
    /// Its code in the lists' blocks, counted in codes.
    code: usize,
    /// Its row of links.
    row: usize,
}

impl SlotPlace {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = words(bytes).map(|word| word as usize);
        Some(Self {
            code: words.next()?,
            row: words.next()?,
        })
    }
}

/// A graph over the slots of a segment that has [`Lists`].
pub(crate) struct Graph {
    /// Links per slot: whole blocks.
    pub(crate) stride: usize,
    pub(crate) slots: usize,
    /// `[slots][stride]` u32, little-endian: linked slots, then [`NONE`]. Rows are in the order of
    /// the lists, so that a walk reads few parts of a file.
    links: Plane,
    /// `[slots]` [`SlotPlace`]s.
    places: Plane,
    /// `[slots][stride / LANES]` blocks of the linked slots' short codes.
    blocks: OnceLock<Plane>,
    /// Walks without blocks.
    walks: AtomicUsize,
}

/// A candidate as one integer, nearer ones smaller, equals by slot: similarity, slot (31 bits),
/// [`FOLLOWED`].
///
/// Integers sort and merge without branches, ordered floats do not.
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

/// Buffers of a walk, kept per thread.
#[derive(Default)]
struct GraphWalk {
    /// Nearest first.
    pool: Vec<Pooled>,
    /// A bit for each slot: whether it was in the pool at some time.
    seen: Vec<u64>,
    /// Words of `seen` that are not zero.
    marked: Vec<u32>,
    scored: Vec<Scored>,
    /// New candidates of one comparison.
    fresh: Vec<Pooled>,
    slots: Vec<u32>,
    products: Vec<i32>,
    found: Vec<Scored>,
    /// Codes of the linked slots that are gathered.
    gathered: Vec<u8>,
}

thread_local! {
    static WALK: RefCell<GraphWalk> = RefCell::default();
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes
        .chunks_exact(WORD)
        .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

fn plane_of<'a>(words: impl IntoIterator<Item = &'a u32>) -> Plane {
    let bytes: Vec<u8> = words
        .into_iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    Plane::pages(&bytes)
}

/// A row's links without the empty places.
fn linked(row: &[u8]) -> impl Iterator<Item = u32> {
    words(row).take_while(|&link| link != NONE)
}

impl Graph {
    /// From links, with blocks.
    ///
    /// - `links`: `[slots][stride]`
    pub(crate) fn new(stride: usize, links: &[u32], lists: &Lists) -> Self {
        let slots = links.len() / stride;
        let mut places = vec![[0; 2]; slots];
        for (at, block) in lists.all_blocks().chunks_exact(BLOCK_BYTES).enumerate() {
            for lane in 0..LANES {
                if let Some(place) = places.get_mut(read(block, lane).2 as usize) {
                    place[0] = (at * LANES + lane) as u32;
                }
            }
        }
        let order = lists.order();
        for (row, &slot) in order.iter().enumerate() {
            places[slot as usize][1] = row as u32;
        }
        let rows = order
            .iter()
            .flat_map(|&slot| &links[slot as usize * stride..][..stride]);
        let links = plane_of(rows);
        let graph = Self::linked(stride, slots, links, plane_of(places.as_flattened()));
        graph.make_blocks(lists);
        graph
    }

    /// From the parts of a file, without blocks.
    pub(crate) fn linked(stride: usize, slots: usize, links: Plane, places: Plane) -> Self {
        Self {
            stride,
            slots,
            links,
            places,
            blocks: OnceLock::new(),
            walks: AtomicUsize::new(0),
        }
    }

    /// Links and places in the format of a file.
    pub(crate) fn sections(&self) -> [&[u8]; 2] {
        [
            &self.links.bytes()[..self.slots * self.stride * WORD],
            &self.places.bytes()[..self.slots * PLACE],
        ]
    }

    /// Whether all links and places are valid, for those from a file.
    pub(crate) fn is_sane(&self, lists: &Lists) -> bool {
        let [links, places] = self.sections();
        let blocks = lists.all_blocks();
        let is_at = |(slot, place): (usize, &[u8])| {
            SlotPlace::read(place).is_some_and(|SlotPlace { code, row }| {
                let block = blocks.chunks_exact(BLOCK_BYTES).nth(code / LANES);
                row < self.slots
                    && block.is_some_and(|block| read(block, code % LANES).2 as usize == slot)
            })
        };
        links
            .par_chunks(self.stride * WORD)
            .all(|row| self.are_slots(row))
            && places.par_chunks(PLACE).enumerate().all(is_at)
    }

    fn are_slots(&self, row: &[u8]) -> bool {
        words(row).all(|link| link == NONE || (link as usize) < self.slots)
    }

    /// The slots that a slot is linked to, but none that a damaged file may name.
    fn linked_to(&self, slot: u32) -> impl Iterator<Item = u32> {
        let step = self.stride * WORD;
        let row = self
            .place(slot)
            .map_or(0, |place| place.row.min(self.slots - 1));
        let row = &self.links.bytes()[row * step..][..step];
        linked(row).filter(|&link| (link as usize) < self.slots)
    }

    /// Counts upcoming walks; returns true once, when there are enough to make blocks.
    pub(crate) fn wants_blocks(&self, walks: usize) -> bool {
        let enough = self.slots / SLOTS_PER_WALK;
        if self.blocks.get().is_some() {
            return false;
        }
        let before = self.walks.fetch_add(walks, Relaxed);
        (before..before.saturating_add(walks)).contains(&enough)
    }

    /// Makes the blocks.
    pub(crate) fn make_blocks(&self, lists: &Lists) {
        self.blocks.get_or_init(|| {
            let step = self.stride / LANES * BLOCK_BYTES;
            let empty = empty_blocks(self.stride, SHORT);
            let mut plane = Plane::zeroed(self.slots * step);
            let write_row = |slot: usize, blocks: &mut [u8]| {
                blocks.copy_from_slice(&empty);
                for (at, link) in self.linked_to(slot as u32).enumerate() {
                    self.copy_code(lists, link, blocks, at);
                }
            };
            fill(&mut plane.as_mut()[..self.slots * step], step, write_row);
            plane
        });
    }

    fn place(&self, slot: u32) -> Option<SlotPlace> {
        SlotPlace::read(&self.places.bytes()[slot as usize * PLACE..][..PLACE])
    }

    /// Copies a slot's code from the lists into a place of other blocks; nothing if a damaged file
    /// has none.
    fn copy_code(&self, lists: &Lists, slot: u32, to: &mut [u8], at: usize) {
        let code_at = self.place(slot).map_or(0, |place| place.code);
        let mut blocks = lists.all_blocks().chunks_exact(BLOCK_BYTES);
        if let Some(block) = blocks.nth(code_at / LANES) {
            let lane = code_at % LANES;
            let (scale, offset, _) = read(block, lane);
            write(to, at, &code(block, lane), scale, offset, slot);
        }
    }

    /// Passes on the best `ef` allowed slots found for `query` by short code, with their
    /// similarities at 8 bits, in no order.
    pub(crate) fn walk<R>(
        &self,
        lists: &Lists,
        CodeSource { isa, codes, .. }: CodeSource<'_>,
        query: &PreparedQuery,
        ef: usize,
        allowed: Option<&Bitmap>,
        then: impl FnOnce(&mut [Scored]) -> R,
    ) -> R {
        let along = lists.along_all(isa, from_ref(query));
        WALK.with_borrow_mut(|walk| {
            walk.seen
                .resize(walk.seen.len().max(self.slots.div_ceil(64)), 0);
            walk.pool.clear();
            // Only the words that were marked are cleared; all of them would cost more than a walk.
            walk.marked
                .drain(..)
                .for_each(|word| walk.seen[word as usize] = 0);
            let mut search = Search {
                graph: self,
                lists,
                blocks: self.blocks.get().map(Plane::bytes),
                isa,
                short: along[0].query(),
                ef: ef.max(1),
                allowed,
                next: 0,
                walk,
            };
            // Any list is a valid start, but the nearest ones save steps.
            lists.nearest_lists(isa, &along, ENTRIES, |_, nearest| {
                nearest
                    .iter()
                    .for_each(|list| search.compare(lists.list(list.name())));
            });
            search.spread();
            let GraphWalk {
                pool,
                slots,
                products,
                found,
                ..
            } = walk;
            slots.clear();
            slots.extend(pool.iter().copied().map(slot_of));
            codes.similarities8(isa, query, slots, products, found);
            then(found)
        })
    }
}

/// One search of a graph: best first, with one sorted pool of `ef` candidates.
struct Search<'a> {
    graph: &'a Graph,
    lists: &'a Lists,
    blocks: Option<&'a [u8]>,
    isa: Isa,
    short: ShortQuery<'a>,
    ef: usize,
    allowed: Option<&'a Bitmap>,
    /// Everything before it in the pool was followed.
    next: usize,
    walk: &'a mut GraphWalk,
}

impl Search<'_> {
    /// Writes those of `blocks` that are near enough into `walk.scored`.
    fn near(&mut self, blocks: &[u8]) {
        let pool = &self.walk.pool;
        // The kernel drops vectors that cannot enter the pool, so few candidates are handled one by
        // one.
        let limit = if pool.len() == self.ef {
            candidate(pool[self.ef - 1]).score()
        } else {
            f32::NEG_INFINITY
        };
        self.isa
            .near(blocks, self.short, limit, &mut self.walk.scored);
    }

    /// Adds new candidates of `walk.scored` to the pool.
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
            let slot = candidate.name() as usize;
            let word = slot / 64;
            let bit = 1 << (slot % 64);
            let new = pooled(candidate);
            // The lists of a damaged file may name other slots.
            let is_allowed = slot < self.graph.slots
                && self.allowed.is_none_or(|allowed| allowed.contains(slot));
            // A slot that was once too far stays out, since the pool's worst only gets better.
            if new < limit && is_allowed && seen[word] & bit == 0 {
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

    /// As [`near`](Self::near) for a slot's linked slots that were not in the pool, whose codes are
    /// gathered from the lists.
    fn gather(&mut self, slot: u32) {
        let mut gathered = std::mem::take(&mut self.walk.gathered);
        gathered.clear();
        let is_new = |&link: &u32| self.walk.seen[link as usize / 64] & 1 << (link % 64) == 0;
        for (at, link) in self.graph.linked_to(slot).filter(is_new).enumerate() {
            if at % LANES == 0 {
                gathered.extend(empty_blocks(1, SHORT));
            }
            self.graph.copy_code(self.lists, link, &mut gathered, at);
        }
        self.near(&gathered);
        self.walk.gathered = gathered;
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
                followed[n] = slot_of(*nearest) as usize;
                // Prefetches its blocks while those of earlier candidates are compared.
                if let Some(blocks) = blocks {
                    for line in (0..step).step_by(64) {
                        Isa::prefetch(blocks, followed[n] * step + line);
                    }
                }
                self.next += 1;
                n += 1;
            }
            if n == 0 {
                return;
            }
            for &slot in &followed[..n] {
                match blocks {
                    Some(blocks) => self.near(&blocks[slot * step..][..step]),
                    None => self.gather(slot as u32),
                }
            }
            self.enter();
        }
    }
}

/// Merges `fresh` into `pool`, both sorted, and keeps the `most` nearest; returns the position of
/// the first of `fresh`.
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
    // From the end, so that the part before the first new one is never touched.
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
