//! A contiguous set of vectors, and the comparison of queries with them at 8 and then 16 bits.

use std::cell::RefCell;
use std::sync::Arc;

use voisin_base::track::Id;

use super::codes::{CodeSource, Codec, Codes, Meta, PreparedQuery};
use super::subset::Bitmap;
use super::top::Top;
use voisin_simd::Isa;
use voisin_simd::dot::best::{Scored, keep_best};

/// Slots multiplied in one call.
const CHUNK: usize = 128;
/// Likely error of a product of 8-bit codes, in steps of one vector times the length of the other:
/// four standard deviations of rounding.
const LIKELY: f64 = 1.2;

/// Copies share all parts and copy a part on its first change.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) ids: Arc<Vec<Id>>,
    pub(crate) codes: Arc<Codes>,
    pub(crate) live: Arc<Bitmap>,
    /// Whether ids ascend.
    is_sorted: bool,
}

/// Buffers of a search, kept per thread.
#[derive(Default)]
struct CompareBuffers {
    slots: Vec<u32>,
    products: Vec<i32>,
    ranked: Vec<Scored>,
}

thread_local! {
    static BUFFERS: RefCell<CompareBuffers> = RefCell::default();
}

impl Segment {
    pub(crate) fn new(ids: Vec<Id>, codes: Codes) -> Self {
        let live = Arc::new(Bitmap::full(ids.len()));
        let is_sorted = ids.is_sorted_by(|a, b| a < b);
        Self {
            ids: Arc::new(ids),
            codes: Arc::new(codes),
            live,
            is_sorted,
        }
    }

    pub(crate) fn empty(codec: &Codec) -> Self {
        Self::new(Vec::new(), Codes::with_room(codec.width, 0))
    }

    /// The live vectors of several segments, in the order of ids.
    pub(crate) fn merged(segments: &[Self], codec: &Codec) -> Self {
        let mut rows: Vec<(Id, &Self, usize)> = Vec::new();
        for segment in segments {
            let live = segment.live.slots().map(|slot| slot as usize);
            rows.extend(live.map(|slot| (segment.ids[slot], segment, slot)));
        }
        rows.sort_unstable_by_key(|&(id, ..)| id);
        let mut codes = Codes::with_room(codec.width, rows.len());
        for &(_, segment, slot) in &rows {
            let from = &segment.codes;
            codes.push_row(from.hi_row(slot), from.lo_row(slot), from.meta[slot]);
        }
        Self::new(rows.iter().map(|&(id, ..)| id).collect(), codes)
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn push(&mut self, id: Id, codec: &Codec, vector: &[f32]) {
        Arc::make_mut(&mut self.codes).push(codec, vector);
        self.is_sorted &= self.ids.last().is_none_or(|&last| last < id);
        Arc::make_mut(&mut self.live).push_set(self.ids.len());
        Arc::make_mut(&mut self.ids).push(id);
    }

    /// The slot of a live vector.
    pub(crate) fn slot(&self, id: Id) -> Option<usize> {
        let is_live = |&slot: &usize| self.live.contains(slot);
        if self.is_sorted {
            return self.ids.binary_search(&id).ok().filter(is_live);
        }
        // Only the last part of a tail, of 64 vectors, is in order of insertion.
        (0..self.len()).find(|slot| self.ids[*slot] == id && is_live(slot))
    }

    /// Removes a vector from all later searches; returns whether it existed.
    pub(crate) fn remove(&mut self, id: Id) -> bool {
        let slot = self.slot(id);
        if let Some(slot) = slot {
            Arc::make_mut(&mut self.live).unset(slot);
        }
        slot.is_some()
    }

    /// Adds the allowed vectors nearest to each query to its `top`; all are compared, and read
    /// once.
    ///
    /// 16-bit products are only computed if the 8-bit one and its error bound allow a result.
    pub(crate) fn exact(
        &self,
        isa: Isa,
        codec: &Codec,
        queries: &[PreparedQuery],
        allowed: &Bitmap,
        tops: &mut [Top],
    ) {
        if allowed.count == 0 {
            return;
        }
        // The bound is proven, so a vector that is skipped cannot be among the nearest.
        let bounds: Vec<ErrorBound> = queries
            .iter()
            .map(|query| ErrorBound::new(codec, query, f64::INFINITY))
            .collect();
        BUFFERS.with_borrow_mut(|buffers| {
            let CompareBuffers {
                slots,
                products,
                ranked,
            } = buffers;
            let mut left = allowed.slots();
            loop {
                slots.clear();
                slots.extend(left.by_ref().take(CHUNK));
                if slots.is_empty() {
                    return;
                }
                for ((query, bound), top) in queries.iter().zip(&bounds).zip(&mut *tops) {
                    self.codes
                        .similarities8(isa, query, slots, products, ranked);
                    for candidate in &*ranked {
                        let slot = candidate.name() as usize;
                        if candidate.score() + bound.of(self.codes.meta[slot]) >= top.worst() {
                            top.push(self.codes.similarity(isa, query, slot), self.ids[slot]);
                        }
                    }
                }
            }
        });
    }
}

/// Passes on the `k` nearest candidates by their similarities at 16 bits, nearest first.
///
/// The best `k` by 8 bits are compared, then those others that are likely to be nearer than the
/// farthest of these.
///
/// - `candidates`: with their similarities at 8 bits, in any order
pub(crate) fn nearest16<R>(
    CodeSource { isa, codec, codes }: CodeSource<'_>,
    query: &PreparedQuery,
    candidates: &[Scored],
    k: usize,
    then: impl FnOnce(&[Scored]) -> R,
) -> R {
    let worst = |some: &[Scored]| some.iter().max().copied();
    BUFFERS.with_borrow_mut(|CompareBuffers { ranked, .. }| {
        ranked.clear();
        ranked.extend_from_slice(candidates);
        if 0 < k && k < ranked.len() {
            keep_best(ranked, k);
        }
        let last = worst(ranked);
        let first = ranked.len();
        ranked
            .iter()
            .for_each(|candidate| codes.prefetch_low(candidate.name() as usize));
        codes.similarities16(isa, query, ranked);
        let limit = worst(ranked).map_or(f32::NEG_INFINITY, voisin_simd::dot::best::Scored::score);
        let bound = ErrorBound::new(codec, query, LIKELY);
        let may_be_nearer = |candidate: &&Scored| {
            // Those that were compared already are better than `last`.
            let meta = codes.meta[candidate.name() as usize];
            Some(**candidate) > last && candidate.score() + bound.of(meta) >= limit
        };
        ranked.extend(candidates.iter().filter(may_be_nearer));
        codes.similarities16(isa, query, &mut ranked[first..]);
        ranked.sort_unstable();
        ranked.truncate(k);
        then(ranked)
    })
}

/// How far an 8-bit similarity can be from the 16-bit one.
struct ErrorBound {
    /// Times a vector's scale: the query's high part against a vector's low part.
    per_scale: f32,
    /// Times a vector's centred norm: the query's low part.
    per_norm: f32,
    mean_norm2: f32,
}

impl ErrorBound {
    /// - `steps`: larger sums of rounding errors are ignored, in steps of one vector times the
    ///   length of the other; infinite: the bound is proven
    fn new(codec: &Codec, query: &PreparedQuery, steps: f64) -> Self {
        let norm = |plane: &[i8]| {
            let squares = plane.iter().map(|&x| i32::from(x) * i32::from(x));
            f64::from(squares.sum::<i32>()).sqrt()
        };
        let scale = f64::from(query.scale);
        let rounding = (0.5 * (codec.dimension as f64).sqrt()).min(steps);
        Self {
            per_scale: (norm(&query.code.hi) * scale * rounding) as f32,
            per_norm: ((norm(&query.code.lo) / 254.).min(steps) * scale) as f32,
            mean_norm2: codec.mean_norm2() as f32,
        }
    }

    fn of(&self, meta: Meta) -> f32 {
        let norm = (1. - 2. * meta.offset + self.mean_norm2).max(0.).sqrt();
        self.per_scale * meta.scale + self.per_norm * (norm + 1e-3) + 1e-4
    }
}
