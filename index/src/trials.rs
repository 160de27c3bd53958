//! Questions that no copy answers, for measurements at the build.
//!
//! Typical queries are not in the index, and its own vectors are poor substitutes: copies are alike
//! and find each other easily. So a trial is a vector whose near copies are hidden, at any place.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::segment::Segment;
use super::subset::Bitmap;
use super::top::Top;
use voisin_base::random::hash;

/// Trials. A recall of 0.95, of ten neighbours each, then has a standard error of about 0.004.
const TRIALS: usize = 400;
/// Most true neighbours of a trial.
pub(crate) const DEPTH: usize = 100;
/// Most near copies of one vector that are hidden.
const COPIES: usize = 128;
/// Factor by which the squared distance grows after the last near copy.
const GAP: f32 = 2.;
/// Nearest vectors that are hidden if there is no such gap.
const NEAREST: usize = 10;
/// Squared distances below this share of the farthest considered one are rounding errors.
const SAME: f32 = 1e-3;

/// A query and its true neighbours, without the hidden ones.
pub(crate) struct Trial {
    pub(crate) query: PreparedQuery,
    pub(crate) allowed: Bitmap,
    /// Nearest first.
    pub(crate) nearest: Vec<u32>,
    /// Whether near copies of the query are hidden.
    pub(crate) has_copies: bool,
}

/// Trials spread over all vectors, at most one of each group of near copies.
pub(crate) fn trials(source: CodeSource<'_>, base: &Segment) -> Vec<Trial> {
    let all = distinct(source);
    let slots: Vec<u32> = spread(all.len()).map(|at| all[at]).collect();
    // Each part reads all vectors once.
    let together = slots.len().div_ceil(rayon::current_num_threads()).max(1);
    let trials: Vec<(u32, Trial, Vec<u32>)> = slots
        .par_chunks(together)
        .flat_map_iter(|slots| of_slots(source, base, slots))
        .collect();
    let mut seen = HashSet::new();
    let mut is_first_of_group = |(slot, _, hidden): &(u32, Trial, Vec<u32>)| {
        let is_first = !seen.contains(slot);
        seen.extend(hidden.iter().copied());
        is_first
    };
    let mut first = trials;
    first.retain(&mut is_first_of_group);
    first.into_iter().map(|(_, trial, _)| trial).collect()
}

/// A random index of each of at most [`TRIALS`] parts of `n`.
fn spread(n: usize) -> impl Iterator<Item = usize> {
    let step = n.div_ceil(TRIALS).max(1);
    // Not every n-th, as the set may have the same period.
    let any =
        move |start: usize| start + (hash(start as u64) % step.min(n - start) as u64) as usize;
    (0..n).step_by(step).map(any)
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

/// A trial of each slot, with the slots that it hides.
fn of_slots(source: CodeSource<'_>, base: &Segment, slots: &[u32]) -> Vec<(u32, Trial, Vec<u32>)> {
    let stored = |&slot: &u32| source.codec.stored_at(source.codes, slot as usize);
    let queries: Vec<PreparedQuery> = slots.iter().map(stored).collect();
    let mut tops = vec![Top::new(DEPTH + COPIES + 1); slots.len()];
    base.exact(source.isa, source.codec, &queries, &base.live, &mut tops);
    let made = |((query, top), &slot): ((PreparedQuery, Top), &u32)| {
        let found = top.into_sorted();
        let squares: Vec<f32> = found.iter().map(|found| 1. - found.similarity).collect();
        let copies = near_copies(&squares);
        let hidden = copies.unwrap_or(NEAREST + 1);
        let slot_of = |id| base.ids.binary_search(&id).unwrap_or_default() as u32;
        let mut nearest: Vec<u32> = found.iter().map(|found| slot_of(found.id)).collect();
        // Its copies may all rank before it.
        nearest.retain(|&other| other != slot);
        let after = nearest.split_off((hidden - 1).min(nearest.len()));
        let mut hidden = std::mem::replace(&mut nearest, after);
        hidden.push(slot);
        nearest.truncate(DEPTH);
        let mut allowed = Bitmap::full(base.len());
        hidden.iter().for_each(|&slot| allowed.unset(slot as usize));
        let trial = Trial {
            query,
            allowed,
            nearest,
            has_copies: copies.is_some(),
        };
        (slot, trial, hidden)
    };
    queries.into_iter().zip(tops).zip(slots).map(made).collect()
}

/// How many of the nearest are near copies of a vector, including itself: all before the last gap;
/// `None` without a gap.
///
/// - `squares`: squared distances, ascending
fn near_copies(squares: &[f32]) -> Option<usize> {
    let least = SAME * squares.last().copied().unwrap_or(0.);
    let is_gap = |at: &usize| squares[at + 1] >= GAP * squares[*at].max(least);
    let last = (1..COPIES.min(squares.len().saturating_sub(1)))
        .rev()
        .find(is_gap);
    last.map(|last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_copies_end_at_the_last_gap() {
        let rest = (0..200).map(|at| 0.6 + 0.002 * at as f32);
        let set = |copies: &[f32]| {
            let squares: Vec<f32> = copies.iter().copied().chain(rest.clone()).collect();
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
