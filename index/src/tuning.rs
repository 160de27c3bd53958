//! Finds the widths of searches, on the index's own vectors against the exact search.

use rayon::prelude::*;

use super::codes::CodeSource;
use super::fields::{FieldResult, HeaderFields};
use super::graph::Graph;
use super::lists::Lists;
use super::segment::nearest16;
use super::trials::{DEPTH, Trial};
use voisin_simd::dot::best::Scored;

/// Numbers of neighbours for which widths are measured; others are on the line through both.
const AT: [usize; 2] = [10, DEPTH];
/// Most candidates, of a walk or of lists.
const WIDEST: usize = 4096;
/// The aim for lists, as a share of the way from the target to 1: for vectors that are not in the
/// index, such as other recordings, they find fewer neighbours than for trials. Walks find more.
const ABOVE: f64 = 0.5;
/// The same for the vectors that lists pass on to be compared at 8 bits.
const PASSED_ON: f64 = 0.75;
/// Codes of a list, one after the other, that are compared in the time of one of a walk, which lies
/// anywhere: at least (three to six, with AVX2 and with AVX-512).
const LISTED: usize = 3;

/// Factor on all widths if most vectors have near copies, which are found or missed together: a list
/// then holds few groups of copies, one of them the trial's own, near which its neighbours are, so
/// that a stranger needs more.
const TOGETHER: usize = 4;

/// Widths for [`AT`] neighbours each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tuning {
    /// Candidates of a walk.
    ef: [usize; 2],
    /// Lists that are read, and vectors of them that are compared at 8 bits.
    lists: [usize; 2],
    codes: [usize; 2],
    /// For the first of [`AT`].
    pub(crate) recall: f64,
}

impl Default for Tuning {
    /// For indexes too small to measure: close to exact.
    fn default() -> Self {
        Self {
            ef: [200, 400],
            lists: [1000, 2000],
            codes: [400, 800],
            recall: 1.,
        }
    }
}

impl Tuning {
    /// Candidates of a walk for `k` neighbours.
    pub(crate) fn ef(&self, k: usize) -> usize {
        line(self.ef, k)
    }

    /// Whether a walk for `k` neighbours takes longer than reading lists.
    pub(crate) fn prefers_lists(&self, k: usize, [slots, stride, lists]: [usize; 3]) -> bool {
        let read = self.reach(k).0 * slots / lists.max(1);
        read <= LISTED * self.ef(k) * stride
    }

    /// Lists and codes for `k` neighbours.
    pub(crate) fn reach(&self, k: usize) -> (usize, usize) {
        (line(self.lists, k), line(self.codes, k))
    }

    pub(crate) fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        fields.numbers(&mut self.ef)?;
        fields.numbers(&mut self.lists)?;
        fields.numbers(&mut self.codes)?;
        fields.real(&mut self.recall)
    }

    /// Whether the values are valid, for those from a file.
    pub(crate) fn is_sane(&self) -> bool {
        let widths = [self.ef, self.lists, self.codes];
        widths.as_flattened().iter().all(|&width| width <= 1 << 31)
            && (0. ..=1.).contains(&self.recall)
    }
}

/// The line through the widths for [`AT`].
fn line([low, high]: [usize; 2], k: usize) -> usize {
    // Every further neighbour needs at least one further candidate, however flat the measured line
    // is.
    let more = k.saturating_sub(AT[0]);
    let slope = high.saturating_sub(low) as f64 / (AT[1] - AT[0]) as f64;
    let along = (low as f64 + slope * more as f64).ceil() as usize;
    along.max(low.saturating_add(more)).max(k)
}

/// Finds the least widths that reach the target.
pub(crate) fn measure(
    source: CodeSource<'_>,
    trials: &[Trial],
    graph: &Graph,
    lists: &Lists,
    target: f64,
) -> Tuning {
    let mut tuning = Tuning::default();
    if trials.iter().any(|trial| trial.nearest.len() < DEPTH) || trials.is_empty() {
        return tuning;
    }
    let copied = trials.iter().filter(|trial| trial.has_copies).count();
    let times = if 2 * copied > trials.len() {
        TOGETHER
    } else {
        1
    };
    let above = |share: f64| target + share * (1. - target);
    for (at, k) in AT.into_iter().enumerate() {
        let walk = |ef: usize| walk_recall(source, trials, (graph, lists), ef, k);
        let read =
            |count: usize, codes: usize| read_recall(source, trials, lists, (count, codes), k);
        tuning.ef[at] = times * bisect(k, WIDEST, |ef| walk(ef) >= target);
        let most = source.codes.len().min(WIDEST);
        let mut codes = 4 * k;
        while codes < most && read(lists.len(), codes) < above(PASSED_ON) {
            codes *= 2;
        }
        let codes = codes.min(most);
        let count = bisect(1, lists.len(), |count| read(count, codes) >= above(ABOVE));
        tuning.lists[at] = (times * count).min(lists.len());
        tuning.codes[at] = codes;
        if k == AT[0] {
            let recall = walk(tuning.ef[at]).min(read(tuning.lists[at], tuning.codes[at]));
            // The next question may be the first that is missed (Laplace's rule of succession).
            let n = trials.len() as f64;
            tuning.recall = recall * (n / (n + 1.));
        }
    }
    tuning
}

/// The least of `low..=high` that is enough, from `low` on; `high` if none is.
fn bisect(low: usize, high: usize, is_enough: impl Fn(usize) -> bool) -> usize {
    let mut low = low.min(high);
    // Measuring takes longer for larger widths, so these are tried last.
    let mut high_tried = low;
    while high_tried < high && !is_enough(high_tried) {
        low = high_tried + 1;
        high_tried = high.min(2 * high_tried);
    }
    let mut high = high_tried;
    // Within a sixteenth, which costs few measurements.
    while low + high / 16 < high {
        let middle = low.midpoint(high);
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

/// Recall of walks of this width.
fn walk_recall(
    source: CodeSource<'_>,
    trials: &[Trial],
    (graph, lists): (&Graph, &Lists),
    ef: usize,
    k: usize,
) -> f64 {
    let walk = |trial: &Trial| -> usize {
        let Trial { query, allowed, .. } = trial;
        graph.walk(lists, source, query, ef, Some(allowed), |found| {
            hits(source, trial, k, found)
        })
    };
    let all: usize = trials.par_iter().map(walk).sum();
    all as f64 / (trials.len() * k) as f64
}

/// Recall of searches that read this many lists and compare this many of their vectors.
fn read_recall(
    source: CodeSource<'_>,
    trials: &[Trial],
    lists: &Lists,
    reach: (usize, usize),
    k: usize,
) -> f64 {
    /// Trials that read lists together.
    const TOGETHER: usize = 64;
    let part = |trials: &[Trial]| -> usize {
        let queries: Vec<_> = trials.iter().map(|trial| trial.query.clone()).collect();
        let allowed = |at: usize| Some(&trials[at].allowed);
        let found = lists.nearest_of_all(source, &queries, reach, allowed, |at, found| {
            hits(source, &trials[at], k, found)
        });
        found.into_iter().sum()
    };
    let all: usize = trials.par_chunks(TOGETHER).map(part).sum();
    all as f64 / (trials.len() * k) as f64
}

/// How many of a trial's `k` nearest are among candidates.
fn hits(source: CodeSource<'_>, trial: &Trial, k: usize, candidates: &[Scored]) -> usize {
    nearest16(source, &trial.query, candidates, k, |found| {
        let is_true = |found: &&Scored| trial.nearest[..k].contains(&found.name());
        found.iter().filter(is_true).count()
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, s};
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use crate::tests::normal;
    use crate::{Id, IndexOptions, SearchParams, VectorIndex};

    const WINDOWS: usize = 40;
    const DIMENSION: usize = 96;

    /// Windows of recordings, in order, which differ less than recordings do.
    fn recordings(n: usize, windows: usize, rng: &mut StdRng) -> Array2<f32> {
        let mut vectors = Array2::zeros((n * windows, DIMENSION));
        for mut windows in vectors.axis_chunks_iter_mut(Axis(0), windows) {
            let mut at: Vec<f32> = (0..DIMENSION).map(|_| rng.random::<f32>() - 0.5).collect();
            for mut window in windows.outer_iter_mut() {
                at.iter_mut()
                    .for_each(|x| *x += 0.1 * (rng.random::<f32>() - 0.5));
                window.iter_mut().zip(&at).for_each(|(to, &x)| *to = x);
            }
        }
        vectors
    }

    fn build(ids: &[Id], vectors: &Array2<f32>, target_recall: f64) -> VectorIndex {
        let options = IndexOptions {
            graph_from: 0,
            target_recall,
            ..IndexOptions::default()
        };
        VectorIndex::build(ids, vectors.view(), &options).unwrap()
    }

    /// Share of the ten nearest that walks find, and lists, whichever is lower; equally near ones
    /// count as found.
    fn recall_of(index: &VectorIndex, strangers: &Array2<f32>) -> f64 {
        let params = SearchParams::default();
        let exact = SearchParams {
            exact: true,
            ..params
        };
        let walk = SearchParams {
            width: Some(index.tuning.ef(10)),
            ..params
        };
        let truth = index.search_batch(strangers.view(), 10, &exact).unwrap();
        let walks = strangers
            .outer_iter()
            .map(|query| index.search(&query.to_vec(), 10, &walk).unwrap())
            .collect();
        let batch = index.search_batch(strangers.view(), 10, &params).unwrap();
        let share = |found: Vec<Vec<crate::Neighbor>>| {
            let near = found.iter().zip(&truth).map(|(found, truth)| {
                let least = truth[9].similarity - 1e-5;
                found.iter().filter(|one| one.similarity >= least).count()
            });
            near.sum::<usize>() as f64 / (10 * strangers.nrows()) as f64
        };
        share(walks).min(share(batch))
    }

    fn ids(vectors: &Array2<f32>) -> Vec<Id> {
        (0..vectors.nrows() as i64).map(Id).collect()
    }

    #[test]
    fn near_copies_at_any_place_do_not_answer_for_strangers() {
        let mut rng = StdRng::seed_from_u64(8);
        let mut random = |n: usize| Array2::from_shape_simple_fn((n, 64), || normal(&mut rng));
        for (copies, noise) in [(2, 0.1), (12, 0.1), (12, 0.), (100, 0.3)] {
            let originals = random(9600 / copies);
            let noises = random(9600);
            let vectors = Array2::from_shape_fn((9600, 64), |(row, at)| {
                originals[(row % originals.nrows(), at)] + noise * noises[(row, at)]
            });
            let recall = recall_of(&build(&ids(&vectors), &vectors, 0.995), &random(400));
            assert!(recall >= 0.9915, "{copies} copies, {noise}: {recall}");
        }
        // Nearly all are one vector.
        let mut vectors = random(6000);
        let one = vectors.row(0).to_owned();
        (0..6000)
            .filter(|row| row % 50 != 0)
            .for_each(|row| vectors.row_mut(row).assign(&one));
        let recall = recall_of(&build(&ids(&vectors), &vectors, 0.995), &random(200));
        assert!(recall >= 0.9915, "one vector: {recall}");
    }

    #[test]
    fn targets_are_met_for_each_kind_of_set_or_reported() {
        let mut rng = StdRng::seed_from_u64(21);
        let mut random = |n: usize| Array2::from_shape_simple_fn((n, 48), || normal(&mut rng));
        let mut sets = Vec::new();
        for copies in [2, 100] {
            let originals = random(3000 / copies);
            let vectors = Array2::from_shape_fn((3000, 48), |(row, at)| {
                originals[(row % originals.nrows(), at)]
            });
            let name = format!("{copies} copies");
            sets.push((name, vectors + 0.1 * &random(3000), random(200)));
        }
        let mut rng = StdRng::seed_from_u64(22);
        // Seventy-five trials are too few for a miss that one in a hundred strangers has.
        for (n, windows) in [(75, 40), (30, 100)] {
            let some: Vec<usize> = (0..3000).step_by(10).collect();
            let vectors = recordings(n, windows, &mut rng);
            let strangers = recordings(n, windows, &mut rng).select(Axis(0), &some);
            sets.push((format!("{n} recordings"), vectors, strangers));
        }
        for (name, vectors, strangers) in &sets {
            // Copies, or windows, beside each other, as far apart as possible, or at random.
            let sorted = ids(vectors);
            let mut anywhere = sorted.clone();
            anywhere.shuffle(&mut rng);
            for target in [0.99, 0.9999] {
                for ids in [&sorted, &anywhere] {
                    let index = build(ids, vectors, target);
                    let real = recall_of(&index, strangers);
                    let stated = index.stats().recall.unwrap();
                    let promised = target - (1. - target) / 2. - 0.001;
                    assert!(
                        real >= promised || stated < promised && real >= stated - 0.01,
                        "{name}, {target}: {real}, stated {stated}"
                    );
                }
            }
        }
    }

    #[test]
    fn widths_are_wide_enough_for_recordings_that_are_not_there() {
        let mut rng = StdRng::seed_from_u64(4);
        let vectors = recordings(300, WINDOWS, &mut rng);
        let strangers = recordings(100, WINDOWS, &mut rng);
        let some = strangers.slice(s![..;10, ..]).to_owned();
        let mut ids = ids(&vectors);
        let in_order = recall_of(&build(&ids, &vectors, 0.995), &some);
        ids.shuffle(&mut rng);
        let anywhere = recall_of(&build(&ids, &vectors, 0.995), &some);
        assert!(in_order.min(anywhere) >= 0.985, "{in_order} {anywhere}");
    }
}
