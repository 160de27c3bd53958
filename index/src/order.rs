//! The order of lists by nearness to a query, and the end of a search.
//!
//! How many lists hold what is nearest differs from query to query. A search compares the nearest
//! lists until it has enough candidates, and then only those whose score is at most a margin below
//! the worst candidate's, which is updated whenever [`GROWTH`] times as many lists were compared.
//! The margin is measured.

use voisin_kernels::Isa;
use voisin_kernels::dot::best::Scored;
use voisin_kernels::dot::short::NOBODY;

/// Factor on the compared lists between updates of the worst candidate, which take a selection.
const GROWTH: usize = 4;
/// Most lists that are sorted at once.
const FEW: usize = 32;

/// All lists by name with their scores, in no order.
#[derive(Debug, Default)]
pub(crate) struct ListScores {
    pub(crate) lists: Vec<Scored>,
    spare: Vec<Scored>,
}

impl ListScores {
    /// The lists, nearest first: for few of them.
    pub(crate) fn nearest(&self, isa: Isa) -> impl Iterator<Item = Scored> {
        let after = move |last: Option<Scored>| isa.best_after(&self.lists, last);
        std::iter::successors(after(None), move |&last| after(Some(last)))
    }
}

/// The progress of a search of lists.
#[derive(Debug, Default)]
pub(crate) struct ListWalk {
    /// The lists: those before `taken` are done, those before `sorted` are in order and nearer than
    /// the others.
    lists: Vec<Scored>,
    taken: usize,
    sorted: usize,
    spare: Vec<Scored>,
    /// Number of compared lists.
    pub(crate) count: usize,
    /// Least score of further lists.
    pub(crate) floor: f32,
    is_over: bool,
}

impl ListWalk {
    /// Begins after `count` lists, the last of which is `last`.
    ///
    /// - `most`: lists in all
    pub(crate) fn begin(
        &mut self,
        isa: Isa,
        all: &mut ListScores,
        (count, last): (usize, Option<Scored>),
        floor: f32,
        most: usize,
    ) {
        // A search that has found nothing has no floor, and one that compared all lists is done.
        (self.count, self.floor, self.is_over) = (count, floor, count == 0 || count >= most);
        (self.taken, self.sorted) = (0, 0);
        self.lists.clear();
        // Compared lists are all better than the last of them, so scores show which are left.
        if !self.is_over {
            isa.keep_between(&mut all.lists, last, Scored::new(floor, NOBODY));
            // Lists beyond `most` are never compared and not kept.
            isa.keep_best(&mut all.lists, (most - count, most - count), &mut all.spare);
            self.lists.extend_from_slice(&all.lists);
        }
    }

    /// Lists that are left.
    pub(crate) fn left(&self) -> &[Scored] {
        &self.lists[self.taken..]
    }

    fn next(&mut self, isa: Isa) -> Option<Scored> {
        if self.taken == self.sorted {
            // Sorted piece by piece: most searches end long before the last list.
            let rest = &mut self.lists[self.sorted..];
            let some = (self.count * (GROWTH - 1)).max(FEW).min(rest.len());
            if some < rest.len() {
                isa.split_best(rest, (some, some), &mut self.spare);
            }
            rest[..some].sort_unstable();
            self.sorted += some;
        }
        // The lists are in order, so the first one below the floor ends the search.
        let next = self
            .lists
            .get(self.taken)
            .copied()
            .filter(|next| next.score() >= self.floor)?;
        self.taken += 1;
        Some(next)
    }

    /// Passes on the lists of the next round, of `most` in all, each with the next one if known;
    /// returns whether another round may follow.
    pub(crate) fn round(
        &mut self,
        isa: Isa,
        most: usize,
        mut each: impl FnMut(Scored, Option<Scored>),
    ) -> bool {
        if self.is_over {
            return false;
        }
        let end = (self.count * GROWTH).min(most);
        while self.count < end
            && let Some(list) = self.next(isa)
        {
            self.count += 1;
            each(list, self.lists[..self.sorted].get(self.taken).copied());
        }
        // Fewer lists than a round's were good enough, so no further one is.
        self.is_over = self.count < end || end == most;
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    #[test]
    fn a_walk_goes_by_nearness_and_ends_where_lists_are_too_far() {
        let mut rng = StdRng::seed_from_u64(2);
        for n in [0, 1, 5, 40, 700] {
            // Few values: many equals.
            let all: Vec<Scored> = (0..n)
                .map(|name| Scored::new(rng.random_range(-50..50) as f32, name))
                .collect();
            let mut sorted = all.clone();
            sorted.sort_unstable();
            for isa in Isa::available() {
                for (first, floor, most) in [
                    (1, -10., usize::MAX),
                    (3, f32::NEG_INFINITY, usize::MAX),
                    (2, 45., 300),
                    (4, -60., 9),
                    (1, 99., 5),
                ] {
                    let mut scores = ListScores {
                        lists: all.clone(),
                        ..ListScores::default()
                    };
                    let begun: Vec<Scored> = scores.nearest(isa).take(first).collect();
                    assert_eq!(begun, sorted[..first.min(sorted.len())]);
                    let mut walk = ListWalk::default();
                    walk.begin(
                        isa,
                        &mut scores,
                        (begun.len(), begun.last().copied()),
                        floor,
                        most,
                    );
                    let mut walked = begun.clone();
                    // If the search improves while it continues.
                    let mut better = floor;
                    let mut ends = Vec::new();
                    while walk.round(isa, most, |list, next| {
                        assert!(next.is_none_or(|next| next > list));
                        walked.push(list);
                    }) {
                        ends.push(walked.len());
                        better += 1.;
                        walk.floor = better;
                    }
                    assert_eq!(walk.count, walked.len());
                    assert_eq!(
                        walked,
                        sorted[..walked.len()],
                        "{isa:?} {n} {first} {floor} {most}"
                    );
                    assert!(
                        ends.windows(2).all(|ends| ends[1] == GROWTH * ends[0]),
                        "{ends:?}"
                    );
                    let far = sorted
                        .get(walked.len())
                        .is_none_or(|next| next.score() < better);
                    assert!(
                        walked.len() == most.min(sorted.len()) || far,
                        "{isa:?} {n} {first} {floor} {most}"
                    );
                    assert!(
                        walked[begun.len()..]
                            .iter()
                            .all(|list| list.score() >= floor)
                    );
                }
            }
        }
    }
}
