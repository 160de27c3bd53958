//! Vectors of an index that are searched for while it is built, and what is nearest to them.

use std::ops::Range;

use rayon::prelude::*;

use super::codes::{CodeSource, PreparedQuery};
use super::segment::Segment;
use super::top::Top;
use voisin_base::random::hash;

/// Vectors that are searched for. A recall of 0.95, of ten neighbours each, then has a standard
/// error of about 0.004.
const SAMPLE: usize = 400;
/// Slots beside a trial that are hidden with it: as many as there are from one trial to the next,
/// but within these.
const BESIDE: [usize; 2] = [64, 512];
/// Times as many are hidden with every other trial. With one recording hidden and the rest of its
/// album left, windows of strange recordings found 0.990 of their neighbours for a target of 0.995.
const WIDE: usize = 8;
/// True neighbours that are looked at.
const DEPTH: usize = 100;

/// One vector of the sample and its true neighbours, those that are hidden left out.
pub(crate) struct Trial {
    pub(crate) slot: u32,
    /// Itself and those that stand beside it.
    pub(crate) hidden: Range<u32>,
    pub(crate) nearest: Vec<u32>,
}

/// A vector of each n-th part, hidden from the searches for it with those beside it: as if these
/// were not in the index. What was added together is alike, windows of a recording above all, and
/// those of recordings of one album, and nearer than anything is to music that is not there: more
/// of it is hidden with every other trial. None of few.
pub(crate) fn trials(source: CodeSource<'_>, base: &Segment) -> Vec<Trial> {
    // So few vectors are scanned, and no widths are needed.
    if base.len() < 10 * DEPTH {
        return Vec::new();
    }
    let step = base.len().div_ceil(SAMPLE);
    // Not every n-th: what is there may come round as regularly.
    let any =
        |start: usize| start + (hash(start as u64) % step.min(base.len() - start) as u64) as usize;
    let beside = step.clamp(BESIDE[0], BESIDE[1]) / 2;
    let slots = (0..base.len())
        .step_by(step)
        .map(any)
        .zip([beside, WIDE * beside].into_iter().cycle());
    let slots: Vec<(usize, usize)> = slots.collect();
    // One part a thread: each part reads all vectors once.
    let together = slots.len().div_ceil(rayon::current_num_threads());
    slots
        .par_chunks(together)
        .flat_map_iter(|slots| trials_of(source, base, slots))
        .collect()
}

/// The trials of some slots, for which the vectors are read once.
///
/// - `slots`: each with the number of slots before it that are hidden, and of those behind it
fn trials_of(source: CodeSource<'_>, base: &Segment, slots: &[(usize, usize)]) -> Vec<Trial> {
    let query = |&(slot, _): &(usize, usize)| source.codec.query_at(source.isa, source.codes, slot);
    let queries: Vec<PreparedQuery> = slots.iter().map(query).collect();
    // Hidden ones may all be nearer than the true neighbours, so as many more are looked for.
    let mut tops: Vec<Top> = slots
        .iter()
        .map(|(_, beside)| Top::new(DEPTH + 2 * beside + 1))
        .collect();
    base.exact(source.isa, source.codec, &queries, &base.live, &mut tops);
    let trial = |(&(slot, beside), top): (&(usize, usize), Top)| {
        let hidden = slot.saturating_sub(beside) as u32..(slot + beside + 1).min(base.len()) as u32;
        let found = top.into_sorted().into_iter();
        let nearest = found.filter_map(|found| base.ids.binary_search(&found.track).ok());
        let nearest = nearest
            .map(|slot| slot as u32)
            .filter(|slot| !hidden.contains(slot));
        Trial {
            slot: slot as u32,
            nearest: nearest.take(DEPTH).collect(),
            hidden,
        }
    };
    slots.iter().zip(tops).map(trial).collect()
}
