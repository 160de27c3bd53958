//! Queries for measurements at the build, and their nearest vectors.
//!
//! Typical queries are not in the index, and its own vectors are poor substitutes: vectors that
//! were added together, and copies at any place, are alike and find each other easily. Trials are
//! of three kinds, and the kind with the worst result counts:
//!
//! - *beside*: a vector, with its neighbours in the order of ids hidden;
//! - *similar*: a vector, with its near copies hidden at any place;
//! - *between*: the middle of two vectors.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::ops::Range;

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::metric::IndexMetric;
use super::segment::Segment;
use super::top::Top;
use super::types::Neighbor;
use voisin_base::random::hash;

/// Trials of the first kind. A recall of 0.95, of ten neighbours each, then has a standard error of
/// about 0.004.
const SAMPLE: usize = 400;
/// Trials of the second kind.
const SIMILAR: usize = 200;
/// Trials of the third kind.
const BETWEEN: usize = 100;
/// Bounds of the number of slots hidden beside a trial, which is the distance of two trials.
const BESIDE: [usize; 2] = [64, 512];
/// Factor on the hidden slots of every other trial. With only one recording hidden, and not its
/// album, windows of strange recordings found 0.990 of their neighbours for a target of 0.995.
const WIDE: usize = 8;
/// Most true neighbours of a trial.
const DEPTH: usize = 100;
/// Most near copies of one vector that are hidden.
const COPIES: usize = 128;
/// Factor by which the squared distance grows after the last near copy.
const GAP: f64 = 2.;
/// Nearest vectors that are hidden if there is no such gap.
const NEAREST: usize = 10;
/// Squared distances below this share of the farthest considered one are rounding errors.
const SAME: f64 = 1e-3;

/// Slots that are left out of a search.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hidden {
    beside: Range<u32>,
    /// Ascending.
    similar: Vec<u32>,
}

impl Hidden {
    pub(crate) const NONE: Self = Self::beside(0..0);

    pub(crate) const fn beside(beside: Range<u32>) -> Self {
        let similar = Vec::new();
        Self { beside, similar }
    }

    fn similar(mut similar: Vec<u32>) -> Self {
        similar.sort_unstable();
        let beside = 0..0;
        Self { beside, similar }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.beside.is_empty() && self.similar.is_empty()
    }

    #[inline]
    pub(crate) fn contains(&self, slot: u32) -> bool {
        self.beside.contains(&slot)
            || !self.similar.is_empty() && self.similar.binary_search(&slot).is_ok()
    }
}

/// A query and its true neighbours, without the hidden ones.
pub(crate) struct Trial {
    pub(crate) query: PreparedQuery,
    pub(crate) hidden: Hidden,
    pub(crate) nearest: Vec<u32>,
    /// Whether near copies of the query are hidden.
    has_copies: bool,
}

/// Trials by kind.
#[derive(Default)]
pub(crate) struct Trials {
    pub(crate) beside: Vec<Trial>,
    pub(crate) similar: Vec<Trial>,
    between: Vec<Trial>,
    /// Whether most vectors have near copies.
    pub(crate) has_copies: bool,
    /// Groups of near copies with trials of the second kind.
    groups: usize,
}

impl Trials {
    /// No trials for few vectors, which are scanned, so that no widths are needed.
    pub(crate) fn new(source: CodeSource<'_>, base: &Segment) -> Self {
        if base.len() < 10 * DEPTH {
            return Self::default();
        }
        // One of equal vectors, so that a set of mostly one vector has other trials as well.
        let all = distinct(source);
        let strangers: Vec<u32> = spread(all.len(), SIMILAR).map(|at| all[at]).collect();
        let opposite = |at: usize| strangers[(at + strangers.len() / 2) % strangers.len()];
        let pairs = strangers.iter().enumerate().step_by(SIMILAR / BETWEEN);
        let pairs: Vec<(u32, u32)> = pairs.map(|(at, &slot)| (slot, opposite(at))).collect();
        let copies = equal_rows(source, &strangers);
        let with_copies: Vec<(u32, Vec<u32>)> = strangers.iter().copied().zip(copies).collect();
        let similar = in_parts(&with_copies, |slots| similar(source, base, slots));
        let copied = similar.iter().filter(|trial| trial.has_copies).count();
        let mut seen: HashSet<u32> = HashSet::new();
        let mut is_first_of_group = |(slot, trial): &(&u32, &Trial)| {
            let is_first = !seen.contains(*slot);
            seen.extend(&trial.hidden.similar);
            is_first
        };
        let of_slots = strangers.iter().zip(&similar);
        Self {
            beside: beside(source, base),
            has_copies: 2 * copied > similar.len(),
            groups: of_slots.filter(|pair| is_first_of_group(pair)).count(),
            similar,
            between: in_parts(&pairs, |pairs| between(source, base, pairs)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.beside.is_empty()
    }

    /// The share that may be missed though no trial missed any: near copies are found or missed
    /// together, so trials of a group count as one, and the next group may be the first that is
    /// missed (Laplace's rule of succession).
    pub(crate) fn unknown(&self) -> f64 {
        if self.has_copies {
            1. / (self.groups as f64 + 1.)
        } else {
            0.
        }
    }

    /// The kinds with trials.
    pub(crate) fn kinds(&self) -> Vec<&[Trial]> {
        let kinds = [&self.beside[..], &self.similar, &self.between];
        kinds.into_iter().filter(|kind| !kind.is_empty()).collect()
    }

    pub(crate) fn all(&self) -> Vec<&Trial> {
        self.kinds().into_iter().flatten().collect()
    }
}

/// A random index of each of at most `parts` parts of `n`.
fn spread(n: usize, parts: usize) -> impl Iterator<Item = usize> {
    let step = n.div_ceil(parts).max(1);
    // Not every n-th, as the set may have the same period.
    let any =
        move |start: usize| start + (hash(start as u64) % step.min(n - start) as u64) as usize;
    (0..n).step_by(step).map(any)
}

/// Makes trials in parts, one per thread: each part reads all vectors once.
fn in_parts<T: Sync>(all: &[T], make: impl Fn(&[T]) -> Vec<Trial> + Sync + Send) -> Vec<Trial> {
    let together = all.len().div_ceil(rayon::current_num_threads()).max(1);
    all.par_chunks(together).flat_map_iter(make).collect()
}

/// The first slot of each distinct vector, compared by a part of the codes.
fn distinct(CodeSource { codes, .. }: CodeSource<'_>) -> Vec<u32> {
    /// Bytes that are compared.
    const BYTES: usize = 64;
    let digest = |slot: u32| {
        let mut hasher = DefaultHasher::new();
        let row = codes.hi_row(slot as usize);
        row[..BYTES.min(row.len())].hash(&mut hasher);
        codes.meta[slot as usize].scale.to_bits().hash(&mut hasher);
        (hasher.finish(), slot)
    };
    let n = codes.len() as u32;
    let mut digests: Vec<(u64, u32)> = (0..n).into_par_iter().map(digest).collect();
    digests.par_sort_unstable();
    digests.dedup_by_key(|digest| digest.0);
    let mut slots: Vec<u32> = digests.into_iter().map(|(_, slot)| slot).collect();
    slots.sort_unstable();
    slots
}

/// For inner products, by which a vector's copies need not be its nearest: the slots with the same
/// vector as each of these, itself included. For other metrics none.
fn equal_rows(CodeSource { codec, codes, .. }: CodeSource<'_>, slots: &[u32]) -> Vec<Vec<u32>> {
    let mut equal = vec![Vec::new(); slots.len()];
    if codec.space.metric != IndexMetric::InnerProduct {
        return equal;
    }
    let row = |slot: u32| {
        let slot = slot as usize;
        let scale = codes.meta[slot].scale.to_bits();
        (scale, codes.hi_row(slot), codes.lo_row(slot))
    };
    let places = slots.iter().enumerate();
    let places: HashMap<_, usize> = places.map(|(at, &slot)| (row(slot), at)).collect();
    let all = (0..codes.len() as u32).into_par_iter();
    let found: Vec<(usize, u32)> = all
        .filter_map(|slot| Some((*places.get(&row(slot))?, slot)))
        .collect();
    found.iter().for_each(|&(at, slot)| equal[at].push(slot));
    equal
}

fn query_at(source: CodeSource<'_>, slot: u32) -> PreparedQuery {
    source
        .codec
        .query_at(source.isa, source.codes, slot as usize)
}

/// The nearest to each query, including itself, each with its slot.
fn nearest(
    source: CodeSource<'_>,
    base: &Segment,
    queries: &[PreparedQuery],
    counts: impl Iterator<Item = usize>,
) -> Vec<Vec<(u32, Neighbor)>> {
    let mut tops: Vec<Top> = counts.map(Top::new).collect();
    base.exact(source.isa, source.codec, queries, &base.live, &mut tops);
    let slots = |top: Top| {
        let slot = |found: Neighbor| {
            let slot = base.ids.binary_search(&found.id).ok()? as u32;
            Some((slot, found))
        };
        top.into_sorted().into_iter().filter_map(slot).collect()
    };
    tops.into_iter().map(slots).collect()
}

fn trial(query: PreparedQuery, hidden: Hidden, found: &[(u32, Neighbor)]) -> Trial {
    let slots = found.iter().map(|&(slot, _)| slot);
    let nearest = slots.filter(|&slot| !hidden.contains(slot));
    let nearest = nearest.take(DEPTH).collect();
    Trial {
        query,
        hidden,
        nearest,
        has_copies: false,
    }
}

/// A vector of each n-th part, with those beside it hidden: windows of one recording, or album, are
/// nearer to each other than to unseen music. Every other trial hides more.
fn beside(source: CodeSource<'_>, base: &Segment) -> Vec<Trial> {
    let n = base.len();
    let beside = n.div_ceil(SAMPLE).clamp(BESIDE[0], BESIDE[1]) / 2;
    let widths = [beside, WIDE * beside].into_iter().cycle();
    let slots: Vec<(usize, usize)> = spread(n, SAMPLE).zip(widths).collect();
    in_parts(&slots, |slots| {
        let query = |&(slot, _): &(usize, usize)| query_at(source, slot as u32);
        let queries: Vec<PreparedQuery> = slots.iter().map(query).collect();
        // Hidden ones may all be nearer than the true neighbours, so as many more are searched.
        let counts = slots.iter().map(|(_, beside)| DEPTH + 2 * beside + 1);
        let found = nearest(source, base, &queries, counts);
        let made = |((query, &(slot, beside)), found): ((_, &(usize, usize)), &Vec<_>)| {
            let hidden = slot.saturating_sub(beside) as u32..(slot + beside + 1).min(n) as u32;
            trial(query, Hidden::beside(hidden), found)
        };
        let queries = queries.into_iter().zip(slots);
        queries.zip(&found).map(made).collect()
    })
}

/// Each of some slots, with its near copies hidden.
///
/// - `slots`: each with its [equal rows](equal_rows)
fn similar(source: CodeSource<'_>, base: &Segment, slots: &[(u32, Vec<u32>)]) -> Vec<Trial> {
    let queries: Vec<PreparedQuery> = slots.iter().map(|row| query_at(source, row.0)).collect();
    let counts = slots.iter().map(|_| DEPTH + COPIES + 1);
    let found = nearest(source, base, &queries, counts);
    let is_euclidean = source.codec.space.is_euclidean();
    let squared = |found: &(u32, Neighbor)| {
        let similarity = f64::from(found.1.similarity);
        if is_euclidean {
            similarity * similarity
        } else {
            1. - similarity
        }
    };
    let made = |((query, (slot, equal)), found): ((_, &(u32, Vec<u32>)), &Vec<_>)| {
        let squares: Vec<f64> = found.iter().map(squared).collect();
        let copies = near_copies(&squares);
        let has_equal = copies.is_none() && (2..=COPIES).contains(&equal.len());
        let nearest = found[..copies.unwrap_or(NEAREST + 1)].iter();
        let mut hidden: Vec<u32> = if has_equal {
            equal.clone()
        } else {
            nearest.map(|&(slot, _)| slot).collect()
        };
        // Its copies may all rank before it.
        if !hidden.contains(slot) {
            hidden.push(*slot);
        }
        Trial {
            has_copies: copies.is_some() || has_equal,
            ..trial(query, Hidden::similar(hidden), found)
        }
    };
    let queries = queries.into_iter().zip(slots);
    queries.zip(&found).map(made).collect()
}

/// How many of the nearest are near copies of a vector, including itself: all before the last gap;
/// `None` without a gap.
///
/// - `squares`: squared distances, ascending
fn near_copies(squares: &[f64]) -> Option<usize> {
    let least = SAME * squares.last().copied().unwrap_or(0.);
    let is_gap = |at: &usize| squares[at + 1] >= GAP * squares[*at].max(least);
    let last = (1..COPIES.min(squares.len() - 1)).rev().find(is_gap);
    last.map(|last| last + 1)
}

/// The middles of pairs of slots; those without a direction are left out.
fn between(source: CodeSource<'_>, base: &Segment, pairs: &[(u32, u32)]) -> Vec<Trial> {
    let vector = |slot: u32| source.codec.lowered(source.codes, slot as usize);
    let middle = |&(a, b): &(u32, u32)| {
        let both = vector(a).into_iter().zip(vector(b));
        let middle: Vec<f32> = both.map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        source.codec.query(source.isa, &middle).ok()
    };
    let queries: Vec<PreparedQuery> = pairs.iter().filter_map(middle).collect();
    let found = nearest(source, base, &queries, queries.iter().map(|_| DEPTH));
    let queries = queries.into_iter().zip(&found);
    queries
        .map(|(query, found)| trial(query, Hidden::NONE, found))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_copies_end_at_the_last_gap() {
        let rest = (0..200).map(|at| 0.6 + 0.002 * f64::from(at));
        let set = |copies: &[f64]| {
            let squares: Vec<f64> = copies.iter().copied().chain(rest.clone()).collect();
            near_copies(&squares)
        };
        // Itself, two exact copies, and nine modified ones.
        let changed = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18];
        assert_eq!(set(&[&[0., 1e-7, 3e-7][..], &changed].concat()), Some(12));
        assert_eq!(set(&[0., 0.2]), Some(2));
        // Nothing is near.
        assert_eq!(set(&[0.]), None);
        assert_eq!(set(&[0., 0.55]), None);
    }
}
