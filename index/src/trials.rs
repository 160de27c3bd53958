//! Queries made while an index is built, and the vectors nearest to them.
//!
//! An index is asked for what it does not have, and its own vectors are poor questions: what was
//! added together is alike, and so are copies wherever they stand, so that a vector is answered by
//! its own kind. Trials are of three kinds, and the one that a search does worst at counts:
//!
//! - *beside*: a vector, with what stands beside it in the order of ids hidden;
//! - *similar*: a vector, with its near copies hidden wherever they are;
//! - *between*: the middle of two vectors.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::segment::Segment;
use super::top::Top;
use super::types::Neighbor;
use voisin_base::random::hash;

/// Vectors that are searched for with those beside them hidden. A recall of 0.95, of ten neighbours
/// each, then has a standard error of about 0.004.
const SAMPLE: usize = 400;
/// Vectors that are searched for with those like them hidden.
const SIMILAR: usize = 200;
/// Middles of two vectors that are searched for.
const BETWEEN: usize = 100;
/// Slots beside a trial that are hidden with it: as many as there are from one trial to the next,
/// but within these.
const BESIDE: [usize; 2] = [64, 512];
/// Times as many are hidden with every other trial. With one recording hidden and the rest of its
/// album left, windows of strange recordings found 0.990 of their neighbours for a target of 0.995.
const WIDE: usize = 8;
/// True neighbours that are looked at.
const DEPTH: usize = 100;
/// Near copies of one vector that are hidden, at most.
const COPIES: usize = 128;
/// Behind the last near copy the squared distance is so many times as large.
const GAP: f64 = 2.;
/// Nearest that are hidden beside the vector where there is no such gap.
const NEAREST: usize = 10;
/// Squared distances below this share of the farthest one that is looked at are rounding.
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

/// A query and its true neighbours, those that are hidden left out.
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
    /// Groups of near copies that trials of the second kind were taken from.
    groups: usize,
}

impl Trials {
    /// None of few: so few vectors are scanned, and no widths are needed.
    pub(crate) fn new(source: CodeSource<'_>, base: &Segment) -> Self {
        if base.len() < 10 * DEPTH {
            return Self::default();
        }
        // Of equal vectors one is asked for, lest a set that is mostly one vector asks for nothing
        // else.
        let all = distinct(source);
        let strangers: Vec<u32> = spread(all.len(), SIMILAR).map(|at| all[at]).collect();
        let opposite = |at: usize| strangers[(at + strangers.len() / 2) % strangers.len()];
        let pairs = strangers.iter().enumerate().step_by(SIMILAR / BETWEEN);
        let pairs: Vec<(u32, u32)> = pairs.map(|(at, &slot)| (slot, opposite(at))).collect();
        let similar = in_parts(&strangers, |slots| similar(source, base, slots));
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
    /// together, so that trials of a group tell no more than one, and the next group may be the
    /// first to be missed (Laplace's rule of succession).
    pub(crate) fn unknown(&self) -> f64 {
        if self.has_copies {
            1. / (self.groups as f64 + 1.)
        } else {
            0.
        }
    }

    /// Those kinds that there are.
    pub(crate) fn kinds(&self) -> Vec<&[Trial]> {
        let kinds = [&self.beside[..], &self.similar, &self.between];
        kinds.into_iter().filter(|kind| !kind.is_empty()).collect()
    }

    pub(crate) fn all(&self) -> Vec<&Trial> {
        self.kinds().into_iter().flatten().collect()
    }
}

/// One of each part of `n`, of `parts` at most.
fn spread(n: usize, parts: usize) -> impl Iterator<Item = usize> {
    let step = n.div_ceil(parts).max(1);
    // Not every n-th: what is there may come round as regularly.
    let any =
        move |start: usize| start + (hash(start as u64) % step.min(n - start) as u64) as usize;
    (0..n).step_by(step).map(any)
}

/// Makes trials of parts, one a thread: each part reads all vectors once.
fn in_parts<T: Sync>(all: &[T], make: impl Fn(&[T]) -> Vec<Trial> + Sync + Send) -> Vec<Trial> {
    let together = all.len().div_ceil(rayon::current_num_threads()).max(1);
    all.par_chunks(together).flat_map_iter(make).collect()
}

/// The first slot of each vector, as far as a part of the codes shows.
fn distinct(CodeSource { codes, .. }: CodeSource<'_>) -> Vec<u32> {
    /// Bytes that vectors which are not equal differ in.
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

fn query_at(source: CodeSource<'_>, slot: u32) -> PreparedQuery {
    source
        .codec
        .query_at(source.isa, source.codes, slot as usize)
}

/// The nearest to each query, itself among them, each with its slot.
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

/// A vector of each n-th part, with those beside it hidden: windows of a recording above all, and
/// those of recordings of one album, are nearer than anything is to music that is not there. More
/// of it is hidden with every other trial.
fn beside(source: CodeSource<'_>, base: &Segment) -> Vec<Trial> {
    let n = base.len();
    let beside = n.div_ceil(SAMPLE).clamp(BESIDE[0], BESIDE[1]) / 2;
    let widths = [beside, WIDE * beside].into_iter().cycle();
    let slots: Vec<(usize, usize)> = spread(n, SAMPLE).zip(widths).collect();
    in_parts(&slots, |slots| {
        let query = |&(slot, _): &(usize, usize)| query_at(source, slot as u32);
        let queries: Vec<PreparedQuery> = slots.iter().map(query).collect();
        // Hidden ones may all be nearer than the true neighbours, so as many more are looked for.
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
fn similar(source: CodeSource<'_>, base: &Segment, slots: &[u32]) -> Vec<Trial> {
    let queries: Vec<PreparedQuery> = slots.iter().map(|&slot| query_at(source, slot)).collect();
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
    let made = |((query, &slot), found): ((PreparedQuery, &u32), &Vec<(u32, Neighbor)>)| {
        let squares: Vec<f64> = found.iter().map(squared).collect();
        let copies = near_copies(&squares);
        let hidden = found[..copies.unwrap_or(NEAREST + 1)].iter();
        let mut hidden: Vec<u32> = hidden.map(|&(slot, _)| slot).collect();
        // Copies of it may all come before it.
        if !hidden.contains(&slot) {
            hidden.push(slot);
        }
        Trial {
            has_copies: copies.is_some(),
            ..trial(query, Hidden::similar(hidden), found)
        }
    };
    let queries = queries.into_iter().zip(slots);
    queries.zip(&found).map(made).collect()
}

/// How many of the nearest are near copies of a vector, itself among them: all before the last gap;
/// `None` where there is none.
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
        // Itself, two copies to the bit, and nine that were changed.
        let changed = [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18];
        assert_eq!(set(&[&[0., 1e-7, 3e-7][..], &changed].concat()), Some(12));
        assert_eq!(set(&[0., 0.2]), Some(2));
        // Nothing is near.
        assert_eq!(set(&[0.]), None);
        assert_eq!(set(&[0., 0.55]), None);
    }
}
