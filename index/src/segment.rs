//! A contiguous set of vectors that is scanned exactly, or by a cascade of 1, 8 and 16 bits a
//! component.

use std::cell::RefCell;
use std::slice::{from_mut, from_ref};
use std::sync::{Arc, OnceLock};

use voisin_base::track::Id;

use super::codes::{CodeSource, Codec, Codes, Meta, PreparedQuery};
use super::fill::fill;
use super::subset::Bitmap;
use super::top::Top;
use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::{BLOCK, BitBlocks, BitMatch};

/// Slots multiplied in one call.
const CHUNK: usize = 128;
/// A cascade pays from this many allowed vectors per candidate on: below, comparing all is as fast
/// as counting signs.
const PAYS: usize = 3;
/// If a filter leaves at most this many vectors, all are compared, within a millisecond: the signs
/// for a cascade are computed once per process, which takes a hundred times as long.
const FEW: usize = 1 << 16;

/// Candidates that the stages of the cascade pass on, and the errors that they allow for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Budget {
    /// Candidates by sign, to begin with.
    pub(crate) bits: usize,
    /// How far beyond its expectation the number of differing signs may be, in standard deviations.
    pub(crate) sign_error: f32,
    /// How far a similarity at 8 bits may be from the one at 16.
    pub(crate) error8: f32,
}

/// The number of differing signs expected for the angle between two centred vectors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignModel {
    /// Expected number.
    pub(crate) mean: f32,
    /// Standard deviation if dimensions were independent.
    pub(crate) deviation: f32,
}

impl SignModel {
    pub(crate) fn new(codec: &Codec, query: &PreparedQuery, meta: Meta, similarity: f32) -> Self {
        // One sign per component of a row, as the rotation spreads the vector over the padding,
        // too.
        let dimension = codec.width as f32;
        let query_norm2 = 1. - 2. * query.offset - codec.mean_norm2() as f32;
        // Centred norms and product follow from similarity and offsets, since both vectors have
        // length 1.
        let norm2 = 1. - 2. * meta.offset + codec.mean_norm2() as f32;
        let product = similarity - query.offset - meta.offset;
        let cosine = (product / (query_norm2 * norm2).max(1e-12).sqrt()).clamp(-1., 1.);
        // Two signs differ with a probability of the angle over π, in any direction (Goemans and
        // Williamson, 1995).
        let share = cosine.acos() / std::f32::consts::PI;
        Self {
            mean: share * dimension,
            deviation: (dimension * share * (1. - share)).sqrt(),
        }
    }
}

/// Copies share all parts and copy a part on its first change.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) ids: Arc<Vec<Id>>,
    pub(crate) codes: Arc<Codes>,
    pub(crate) live: Arc<Bitmap>,
    /// Whether ids ascend.
    is_sorted: bool,
    /// Signs of the rotated components, `[blocks][words][BLOCK]`; made at the first cascade.
    bits: Arc<OnceLock<Vec<u64>>>,
}

/// Buffers of a search, kept per thread.
#[derive(Default)]
struct ScanBuffers {
    matches: Vec<BitMatch>,
    slots: Vec<u32>,
    products: Vec<i32>,
    ranked: Vec<Scored>,
    histogram: Vec<u32>,
    /// Approximate rise of the limit of differing signs in recent searches. It only affects speed.
    rise: u32,
}

thread_local! {
    static BUFFERS: RefCell<ScanBuffers> = RefCell::default();
    static NEAREST: RefCell<(Vec<Scored>, Vec<Scored>)> = RefCell::default();
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
            bits: Arc::default(),
        }
    }

    pub(crate) fn empty(codec: &Codec) -> Self {
        Self::new(Vec::new(), Codes::empty(codec))
    }

    /// The live vectors of several segments, in the order of ids.
    pub(crate) fn merged(segments: &[Self], codec: &Codec) -> Self {
        let live = |segment: &'_ Self| {
            segment
                .live
                .slots()
                .map(|slot| slot as usize)
                .collect::<Vec<_>>()
        };
        let mut rows: Vec<(Id, &Self, usize)> = segments
            .iter()
            .flat_map(|segment| {
                live(segment)
                    .into_iter()
                    .map(move |slot| (segment.ids[slot], segment, slot))
            })
            .collect();
        rows.sort_unstable_by_key(|&(id, ..)| id);
        let mut codes = Codes::with_room((codec.width, codec.low_width()), rows.len());
        for &(_, segment, slot) in &rows {
            let from = &segment.codes;
            codes.push_row(from.hi_row(slot), from.lo_row(slot), from.meta[slot]);
        }
        let merged = Self::new(rows.iter().map(|&(id, ..)| id).collect(), codes);
        if segments.iter().any(|segment| segment.bits.get().is_some()) {
            // Signs that existed before are computed now, so that the next search need not wait.
            merged.bits();
        }
        merged
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn push(&mut self, id: Id, codec: &Codec, vector: &[f32]) {
        Arc::make_mut(&mut self.codes).push(codec, vector);
        self.is_sorted &= self.ids.last().is_none_or(|&last| last < id);
        Arc::make_mut(&mut self.live).push_set(self.ids.len());
        Arc::make_mut(&mut self.ids).push(id);
        // Signs are dropped; a tail is short and computes them again when it is scanned.
        self.bits = Arc::default();
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

    /// Bytes of the signs, if computed.
    pub(crate) fn sign_bytes(&self) -> usize {
        self.bits.get().map_or(0, |bits| size_of_val(&bits[..]))
    }

    pub(crate) fn bits(&self) -> &[u64] {
        self.bits.get_or_init(|| {
            let step = self.codes.width / 64 * BLOCK;
            let mut bits = vec![0; self.len().div_ceil(BLOCK) * step];
            fill(&mut bits, step, |b, block| {
                let mut buffer = Vec::new();
                for lane in 0..BLOCK.min(self.len() - b * BLOCK) {
                    self.codes
                        .write_bits(b * BLOCK + lane, &mut buffer, block, lane);
                }
            });
            bits
        })
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
        BUFFERS.with_borrow_mut(|buffers| {
            let bounds: Vec<ErrorBound> = queries
                .iter()
                .map(|query| ErrorBound::new(codec, query))
                .collect();
            let distances: Vec<DistanceBound> = queries
                .iter()
                .map(|query| DistanceBound::new(codec, query, f64::INFINITY))
                .collect();
            let mut slots = allowed.slots();
            loop {
                buffers.slots.clear();
                buffers.slots.extend(slots.by_ref().take(CHUNK));
                if buffers.slots.is_empty() {
                    return;
                }
                let bounds = bounds.iter().zip(&distances);
                for ((query, (bound, distance)), top) in queries.iter().zip(bounds).zip(&mut *tops)
                {
                    let ScanBuffers {
                        slots,
                        products,
                        ranked,
                        ..
                    } = buffers;
                    self.codes
                        .similarities8(isa, query, slots, products, ranked);
                    for candidate in ranked {
                        let slot = candidate.name() as usize;
                        let meta = self.codes.meta[slot];
                        // The bound is proven, so a vector that is skipped cannot be among the
                        // nearest.
                        let is_near = if query.is_euclidean() {
                            distance.least(candidate.score(), meta) <= -f64::from(top.worst())
                        } else {
                            candidate.score() + bound.of(meta.scale, meta.offset) >= top.worst()
                        };
                        if is_near {
                            top.push(self.codes.similarity(isa, query, slot), self.ids[slot]);
                        }
                    }
                }
            }
        });
    }

    /// Adds the nearest allowed vectors to `top`, by the cascade if it pays.
    pub(crate) fn scan(
        &self,
        isa: Isa,
        codec: &Codec,
        query: &PreparedQuery,
        allowed: &Bitmap,
        budget: Budget,
        top: &mut Top,
    ) {
        let is_filtered = allowed.count < self.live.count;
        // If most are candidates, signs exclude too few to pay; and they do not show distances
        // between vectors of different lengths.
        if query.is_euclidean()
            || allowed.count <= PAYS * budget.bits
            || is_filtered && allowed.count <= FEW
        {
            return self.exact(isa, codec, from_ref(query), allowed, from_mut(top));
        }
        let bits = self.bits();
        BUFFERS.with_borrow_mut(|buffers| {
            let blocks = BitBlocks {
                words: bits,
                per_vector: self.codes.width / 64,
                allowed: &allowed.bytes,
                first_slot: 0,
            };
            let ScanBuffers {
                matches, histogram, ..
            } = buffers;
            let first = first_limit(
                isa,
                blocks,
                query.bits(),
                allowed.count,
                budget.bits,
                matches,
                histogram,
            );
            let mut limit = first;
            // The limit will probably rise as for earlier queries, so those matches are collected
            // at once.
            let mut collected = first + buffers.rise;
            matches_within(
                isa,
                blocks,
                query.bits(),
                collected,
                None,
                &mut buffers.matches,
            );
            let mut ranked = None;
            let mut reference = None;
            loop {
                self.rank_matches(isa, query, ranked, limit, buffers);
                let entered = rerank(&mut buffers.ranked, budget.error8, top, |slot| {
                    (self.codes.similarity(isa, query, slot), self.ids[slot])
                });
                reference = entered.or(reference);
                // Vectors as near as the worst result are not expected to differ in more signs than
                // this; if the limit was lower, go on to those in between.
                let needed = match reference {
                    Some(slot) if top.worst() > f32::NEG_INFINITY => {
                        let model =
                            SignModel::new(codec, query, self.codes.meta[slot], top.worst());
                        (model.mean + budget.sign_error * model.deviation).ceil() as u32
                    }
                    _ => limit + limit / 4 + 8,
                };
                if needed <= limit || limit as usize >= self.codes.width {
                    break;
                }
                ranked = Some(limit);
                limit = needed;
                if limit > collected {
                    matches_within(
                        isa,
                        blocks,
                        query.bits(),
                        limit,
                        ranked,
                        &mut buffers.matches,
                    );
                    collected = limit;
                }
            }
            // A running mean with weight 3/4 on the old value.
            buffers.rise = (3 * buffers.rise + limit - first).div_ceil(4);
        });
    }

    /// Similarities at 8 bits of the matches with at most `limit` differing signs, without those
    /// `before`.
    fn rank_matches(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        before: Option<u32>,
        limit: u32,
        buffers: &mut ScanBuffers,
    ) {
        let ScanBuffers {
            matches,
            slots,
            products,
            ranked,
            ..
        } = buffers;
        slots.clear();
        slots.resize(matches.len(), 0);
        let from = before.map_or(0, |before| before + 1);
        let mut n = 0;
        // Always written, but only counted if it fits, as a branch would be unpredictable.
        for candidate in matches.iter() {
            slots[n] = candidate.slot;
            n += usize::from((from..=limit).contains(&candidate.distance));
        }
        slots.truncate(n);
        self.codes
            .similarities8(isa, query, slots, products, ranked);
    }

    /// For calibration: for each of `slots`, the number of live vectors whose signs differ from the
    /// query's in at most as many places, and that number of places.
    pub(crate) fn sign_ranks(
        &self,
        isa: Isa,
        query: &PreparedQuery,
        slots: &[u32],
    ) -> Vec<(usize, u32)> {
        let blocks = BitBlocks {
            words: self.bits(),
            per_vector: self.codes.width / 64,
            allowed: &self.live.bytes,
            first_slot: 0,
        };
        let mut matches = Vec::new();
        isa.hamming(blocks, query.bits(), u32::MAX, &mut matches);
        let mut within = vec![0_usize; self.codes.width + 1];
        for candidate in &matches {
            within[candidate.distance as usize] += 1;
        }
        let mut sum = 0;
        for count in &mut within {
            sum += *count;
            *count = sum;
        }
        let rank_of = |slot: &u32| {
            let at = matches
                .binary_search_by_key(slot, |candidate| candidate.slot)
                .ok()?;
            let distance = matches[at].distance;
            Some((within[distance as usize], distance))
        };
        slots.iter().filter_map(rank_of).collect()
    }
}

/// Passes on the `k` nearest candidates by their similarities at 16 bits, nearest first.
///
/// The best `k` by 8 bits are compared, then those others that may be nearer than the farthest of
/// these.
///
/// - `candidates`: with their similarities at 8 bits, in any order
/// - `error8`: how much more a similarity is at 16 bits, at most
pub(crate) fn nearest16<R>(
    CodeSource { isa, codec, codes }: CodeSource<'_>,
    query: &PreparedQuery,
    candidates: &[Scored],
    k: usize,
    error8: f32,
    then: impl FnOnce(&[Scored]) -> R,
) -> R {
    let fetch = |candidate: &Scored| codes.prefetch_low(candidate.name() as usize);
    let worst = |some: &[Scored]| some.iter().max().copied();
    NEAREST.with_borrow_mut(|(found, spare)| {
        found.clear();
        found.extend_from_slice(candidates);
        if 0 < k && k < found.len() {
            isa.keep_best(found, (k, k), spare);
        }
        let last = worst(found);
        // Those that were compared already are better than `last`.
        let is_other = |candidate: &&Scored| Some(**candidate) > last;
        let first = found.len();
        if query.is_euclidean() {
            found.iter().for_each(fetch);
            codes.similarities16(isa, query, found);
            let farthest = worst(found).map_or(f64::INFINITY, |worst| -f64::from(worst.score()));
            let bound = DistanceBound::new(codec, query, LIKELY);
            let others = candidates.iter().filter(is_other).filter(|candidate| {
                let meta = codes.meta[candidate.name() as usize];
                bound.least(candidate.score(), meta) <= farthest
            });
            found.extend(others);
        } else {
            // Exact similarities may be `error8` lower for one of the k and as much higher for
            // others: twice the error.
            let limit = last.map_or(f32::NEG_INFINITY, |last| last.score() - 2. * error8);
            candidates
                .iter()
                .filter(|candidate| candidate.score() >= limit)
                .for_each(fetch);
            codes.similarities16(isa, query, found);
            let limit = worst(found).map_or(f32::NEG_INFINITY, |worst| worst.score() - error8);
            let others = candidates
                .iter()
                .filter(is_other)
                .filter(|candidate| candidate.score() >= limit);
            found.extend(others);
        }
        codes.similarities16(isa, query, &mut found[first..]);
        found.sort_unstable();
        found.truncate(k);
        then(found)
    })
}

/// Computes 16-bit products of the candidates in the order of their 8-bit ones, until these exclude
/// the rest.
///
/// Returns the slot of the last that entered `top`, `None` if there were no candidates.
fn rerank(
    ranked: &mut [Scored],
    error8: f32,
    top: &mut Top,
    exact: impl Fn(usize) -> (f32, Id),
) -> Option<usize> {
    const FIRST: usize = 64;
    // The first few set the worst of the top; the others are compared only if all of these were
    // possible.
    let first = ranked.len().min(FIRST.max(top.k() + top.k() / 4));
    if first < ranked.len() {
        // Selected, not sorted, as the far ones are rarely needed.
        ranked.select_nth_unstable(first);
    }
    let mut last = ranked.first().map(|candidate| candidate.name() as usize);
    let (near, far) = ranked.split_at_mut(first);
    near.sort_unstable();
    let mut offer = |candidate: &Scored| {
        let chance = candidate.score() + error8 >= top.worst();
        if chance {
            let slot = candidate.name() as usize;
            let (similarity, track) = exact(slot);
            if similarity >= top.worst() {
                last = Some(slot);
            }
            top.push(similarity, track);
        }
        chance
    };
    if near.iter().all(&mut offer) {
        for candidate in far.iter() {
            offer(candidate);
        }
    }
    last
}

/// A limit of differing signs that about `want` of the `count` allowed vectors meet, estimated from
/// a sixteenth of them.
fn first_limit(
    isa: Isa,
    blocks: BitBlocks<'_>,
    query: &[u64],
    count: usize,
    want: usize,
    matches: &mut Vec<BitMatch>,
    histogram: &mut Vec<u32>,
) -> u32 {
    const RUN: usize = 8;
    let step = BLOCK * blocks.per_vector;
    let n_blocks = blocks.allowed.len();
    matches.clear();
    // Eight blocks in every 128, spread over the whole segment: vectors that were added together
    // are alike.
    for first in (0..n_blocks).step_by(RUN * 16) {
        let end = (first + RUN).min(n_blocks);
        let part = BitBlocks {
            words: &blocks.words[first * step..end * step],
            allowed: &blocks.allowed[first..end],
            ..blocks
        };
        isa.hamming(part, query, u32::MAX, matches);
    }
    histogram.clear();
    histogram.resize(blocks.per_vector * 64 + 1, 0);
    for candidate in matches.iter() {
        histogram[candidate.distance as usize] += 1;
    }
    let aim = (want as f64 * matches.len() as f64 / count as f64).ceil() as u32;
    let mut sum = 0;
    let at = histogram.iter().position(|&count| {
        sum += count;
        sum >= aim
    });
    at.unwrap_or(histogram.len() - 1) as u32
}

/// The allowed vectors with at most `limit` differing signs, without those `seen` within a lower
/// limit.
fn matches_within(
    isa: Isa,
    blocks: BitBlocks<'_>,
    query: &[u64],
    limit: u32,
    seen: Option<u32>,
    matches: &mut Vec<BitMatch>,
) {
    matches.clear();
    isa.hamming(blocks, query, limit, matches);
    if let Some(seen) = seen {
        matches.retain(|candidate| candidate.distance > seen);
    }
}

/// Likely error of a product of 8-bit codes, in steps of one vector times the length of the other:
/// five standard deviations of rounding.
const LIKELY: f64 = 1.5;

/// Bound of the distance of a vector by its 8-bit score, for Euclidean distances.
struct DistanceBound {
    radius: f64,
    /// The query's length, and the value of one step.
    length: f64,
    scale: f64,
    /// Largest length of a code's rounding error, in steps.
    rounding: f64,
    /// Largest considered error, in steps.
    steps: f64,
}

impl DistanceBound {
    /// - `steps`: errors beyond this many steps are ignored; infinite: the bound is proven
    fn new(codec: &Codec, query: &PreparedQuery, steps: f64) -> Self {
        let rounding = 0.5 * (codec.dimension as f64).sqrt();
        Self {
            radius: codec.space.radius,
            length: query.length,
            scale: f64::from(query.scale),
            rounding,
            steps: rounding.min(steps),
        }
    }

    fn least(&self, score: f32, meta: Meta) -> f64 {
        let length = meta.length();
        let scale = f64::from(meta.scale);
        let error = self.steps * (self.length * scale + length * self.scale)
            + self.rounding * self.rounding * scale * self.scale
            // Single precision of three sums.
            + 1e-6 * (self.length + length) * (self.length + length);
        // By Cauchy and Schwarz the error of ⟨z, y⟩ is at most this; the rest is not rounded.
        let square = -2. * (f64::from(score) + error);
        // A little less, as the compared value is rounded, too.
        square.max(0.).sqrt() * self.radius * (1. - 1e-6)
    }
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
    fn new(codec: &Codec, query: &PreparedQuery) -> Self {
        let norm = |plane: &[i8]| {
            plane
                .iter()
                .map(|&x| f64::from(x) * f64::from(x))
                .sum::<f64>()
                .sqrt()
        };
        let scale = f64::from(query.scale);
        Self {
            per_scale: (norm(&query.code.hi) * scale * 0.5 * (codec.dimension as f64).sqrt())
                as f32,
            per_norm: (norm(&query.code.lo) * scale / 254.) as f32,
            mean_norm2: codec.mean.iter().map(|&x| x * x).sum(),
        }
    }

    fn of(&self, scale: f32, offset: f32) -> f32 {
        let norm = (1. - 2. * offset + self.mean_norm2).max(0.).sqrt();
        self.per_scale * scale + self.per_norm * (norm + 1e-3) + 1e-4
    }
}
