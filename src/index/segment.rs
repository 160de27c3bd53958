//! A run of vectors that is scanned: exactly, or by a cascade of 1, 8 and 16 bits a component.

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::track::TrackId;

use super::codes::{Codec, Codes, Query};
use super::kernel::{BLOCK, BitBlocks, BitMatch, Isa};
use super::subset::Bitmap;
use super::top::Top;

/// Slots multiplied in one call.
const CHUNK: usize = 128;
/// A cascade pays from this many allowed vectors per candidate on.
const PAYS: usize = 3;

/// How many candidates each stage of the cascade hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Budget {
    /// From the signs to 8 bits.
    pub(crate) bits: usize,
    /// From 8 bits to 16.
    pub(crate) rerank: usize,
}

pub(crate) struct Segment {
    pub(crate) ids: Vec<TrackId>,
    pub(crate) codes: Codes,
    pub(crate) live: Bitmap,
    /// Signs of the centred components, `[blocks][words][BLOCK]`; made at the first cascade.
    bits: OnceLock<Vec<u64>>,
}

/// Buffers of a search, kept per thread.
#[derive(Default)]
struct Buffers {
    matches: Vec<BitMatch>,
    slots: Vec<u32>,
    products: Vec<i32>,
    similarities: Vec<f32>,
    ranked: Vec<(f32, u32)>,
    histogram: Vec<u32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Segment {
    pub(crate) fn new(ids: Vec<TrackId>, codes: Codes) -> Self {
        let live = Bitmap::full(ids.len());
        Self { ids, codes, live, bits: OnceLock::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn push(&mut self, id: TrackId, codec: &Codec, vector: &[f32]) {
        self.codes.push(codec, vector);
        self.pushed(id);
    }

    /// Registers a row that was just appended to `codes`.
    pub(crate) fn pushed(&mut self, id: TrackId) {
        let slot = self.ids.len();
        self.ids.push(id);
        self.live.push_set(slot);
        if let Some(bits) = self.bits.get_mut() {
            let step = self.codes.width / 64 * BLOCK;
            bits.resize(slot.div_ceil(BLOCK).max(slot / BLOCK + 1) * step, 0);
            let block = &mut bits[slot / BLOCK * step..][..step];
            self.codes.write_bits(slot, block, slot % BLOCK);
        }
    }

    pub(crate) fn bits(&self) -> &[u64] {
        self.bits.get_or_init(|| {
            use rayon::prelude::*;
            let step = self.codes.width / 64 * BLOCK;
            let mut bits = vec![0; self.len().div_ceil(BLOCK) * step];
            let write = |(b, block): (usize, &mut [u64])| {
                for lane in 0..BLOCK.min(self.len() - b * BLOCK) {
                    self.codes.write_bits(b * BLOCK + lane, block, lane);
                }
            };
            bits.par_chunks_exact_mut(step.max(1)).enumerate().for_each(write);
            bits
        })
    }

    /// Adds the allowed vectors nearest to the query to `top`: all of them are compared.
    ///
    /// 16-bit products are only made where the 8-bit one and the bound of its error leave a chance.
    pub(crate) fn exact(&self, isa: Isa, codec: &Codec, query: &Query, allowed: &Bitmap, top: &mut Top) {
        if allowed.count == 0 {
            return;
        }
        BUFFERS.with_borrow_mut(|buffers| {
            let bound = ErrorBound::new(codec, query);
            let mut slots = allowed.slots();
            loop {
                buffers.slots.clear();
                buffers.slots.extend(slots.by_ref().take(CHUNK));
                if buffers.slots.is_empty() {
                    return;
                }
                self.codes.similarities8(
                    isa,
                    query,
                    &buffers.slots,
                    &mut buffers.products,
                    &mut buffers.similarities,
                );
                for (&slot, &estimate) in buffers.slots.iter().zip(&buffers.similarities) {
                    let slot = slot as usize;
                    let meta = self.codes.meta[slot];
                    if estimate + bound.of(meta.scale, meta.offset) >= top.worst() {
                        top.push(self.codes.similarity(isa, query, slot), self.ids[slot]);
                    }
                }
            }
        });
    }

    /// Adds the nearest allowed vectors to `top`, found by the cascade where it pays.
    pub(crate) fn scan(
        &self,
        isa: Isa,
        codec: &Codec,
        query: &Query,
        allowed: &Bitmap,
        budget: Budget,
        top: &mut Top,
    ) {
        if allowed.count <= PAYS * budget.bits {
            return self.exact(isa, codec, query, allowed, top);
        }
        let bits = self.bits();
        BUFFERS.with_borrow_mut(|buffers| {
            let blocks = BitBlocks {
                words: bits,
                per_vector: self.codes.width / 64,
                allowed: &allowed.bytes,
                first_slot: 0,
            };
            nearest_signs(
                isa,
                blocks,
                &query.bits,
                allowed.count,
                budget.bits,
                &mut buffers.matches,
                &mut buffers.histogram,
            );
            buffers.slots.clear();
            buffers.slots.extend(buffers.matches.iter().map(|candidate| candidate.slot));
            self.codes.similarities8(
                isa,
                query,
                &buffers.slots,
                &mut buffers.products,
                &mut buffers.similarities,
            );
            buffers.ranked.clear();
            buffers.ranked.extend(buffers.similarities.iter().copied().zip(buffers.slots.iter().copied()));
            keep_best(&mut buffers.ranked, budget.rerank);
            for &(_, slot) in &buffers.ranked {
                let slot = slot as usize;
                top.push(self.codes.similarity(isa, query, slot), self.ids[slot]);
            }
        });
    }

    /// For calibration: how many live vectors' signs are at most as far from the query's as those of each of `slots`.
    pub(crate) fn sign_ranks(&self, isa: Isa, query: &Query, slots: &[u32]) -> Vec<usize> {
        let blocks = BitBlocks {
            words: self.bits(),
            per_vector: self.codes.width / 64,
            allowed: &self.live.bytes,
            first_slot: 0,
        };
        let mut matches = Vec::new();
        isa.hamming(blocks, &query.bits, u32::MAX, &mut matches);
        let mut within = vec![0_usize; self.codes.width + 2];
        for candidate in &matches {
            within[candidate.distance as usize] += 1;
        }
        let mut sum = 0;
        for count in &mut within {
            sum += *count;
            *count = sum;
        }
        let of = |slot: &u32| {
            let at = matches.binary_search_by_key(slot, |candidate| candidate.slot);
            at.map_or(usize::MAX, |at| within[matches[at].distance as usize])
        };
        slots.iter().map(of).collect()
    }
}

/// Keeps the `n` highest, in no order.
pub(crate) fn keep_best(ranked: &mut Vec<(f32, u32)>, n: usize) {
    if ranked.len() > n && n > 0 {
        ranked.select_nth_unstable_by(n - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.truncate(n);
    }
}

/// At least `want` (or all) allowed vectors with the fewest differing signs.
fn nearest_signs(
    isa: Isa,
    blocks: BitBlocks<'_>,
    query: &[u64],
    count: usize,
    want: usize,
    out: &mut Vec<BitMatch>,
    histogram: &mut Vec<u32>,
) {
    const RUN: usize = 8;
    let step = BLOCK * blocks.per_vector;
    let dimension = blocks.per_vector * 64;
    let n_blocks = blocks.allowed.len();
    // A sixteenth of the blocks tells which distance about a third more than wanted will be within.
    out.clear();
    for first in (0..n_blocks).step_by(RUN * 16) {
        let end = (first + RUN).min(n_blocks);
        let part = BitBlocks {
            words: &blocks.words[first * step..end * step],
            allowed: &blocks.allowed[first..end],
            ..blocks
        };
        isa.hamming(part, query, u32::MAX, out);
    }
    tally(out, dimension, histogram);
    let share = out.len() as f64 / count as f64;
    let aim = ((want as f64 * 1.25 + 32.) * share).ceil() as u32;
    let mut limit = distance_of(histogram, aim);
    loop {
        out.clear();
        isa.hamming(blocks, query, limit, out);
        if out.len() >= want.min(count) || limit as usize >= dimension {
            break;
        }
        limit += (limit / 32).max(1);
    }
    tally(out, dimension, histogram);
    let cut = distance_of(histogram, want as u32);
    out.retain(|candidate| candidate.distance <= cut);
}

fn tally(matches: &[BitMatch], dimension: usize, histogram: &mut Vec<u32>) {
    histogram.clear();
    histogram.resize(dimension + 1, 0);
    for candidate in matches {
        histogram[candidate.distance as usize] += 1;
    }
}

/// The smallest distance that at least `n` lie within; the largest if there are fewer.
fn distance_of(histogram: &[u32], n: u32) -> u32 {
    let mut sum = 0;
    let at = histogram.iter().position(|&count| {
        sum += count;
        sum >= n
    });
    at.unwrap_or(histogram.len() - 1) as u32
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
    fn new(codec: &Codec, query: &Query) -> Self {
        let norm = |plane: &[i8]| plane.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        let scale = f64::from(query.scale);
        Self {
            per_scale: (norm(&query.code.hi) * scale * 0.5 * (codec.dimension as f64).sqrt()) as f32,
            per_norm: (norm(&query.code.lo) * scale / 254.) as f32,
            mean_norm2: codec.mean.iter().map(|&x| x * x).sum(),
        }
    }

    fn of(&self, scale: f32, offset: f32) -> f32 {
        let norm = (1. - 2. * offset + self.mean_norm2).max(0.).sqrt();
        self.per_scale * scale + self.per_norm * (norm + 1e-3) + 1e-4
    }
}
