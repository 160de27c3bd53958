//! Predictions for labelled tracks by models that were fitted without their artist.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::best_scale;
use super::metrics::argmax;
use super::{
    Familiarity, FitOptions, Fold, Genre, GenreError, LabelledNeighbor, LabelledVectors, Near,
    Priors, Votes,
    examples::{Examples, unit_rows},
    head::{Head, HeadSettings, complete},
    nearest::nearest,
    parallel,
    vote::{VOTERS, vote},
};
use voisin_base::track::TrackId;

/// Weight of the logarithm of the votes beside that of the head. On held-out quarters of the training part of
/// gtzan-taggrams weights of 0 to 0.5 are right in 85.8 to 86.7 % of 886 answers, within a standard error: a small one
/// leaves the answer near the head's.
const VOTE_WEIGHT: f32 = 0.05;

/// Tracks from which three folds are as accurate as five.
const MANY: usize = 4000;

/// Zero vectors in the mean of the training tracks, as in that of a library.
const SHRINKING: f32 = 20.0;

/// Head and vote of one track together: `softmax(scale · (ln head + VOTE_WEIGHT · ln vote))`.
///
/// - `head`: log probabilities of all genres; `votes`: their shares
pub(super) fn joined(head: &[f32], votes: &[f32], scale: f64) -> Array1<f32> {
    let logits: Vec<f64> = head
        .iter()
        .zip(votes)
        .map(|(head, share)| scale * f64::from(head + VOTE_WEIGHT * share.ln()))
        .collect();
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits
        .iter()
        .map(|logit| ((logit - most).exp() / sum) as f32)
        .collect()
}

/// Out-of-fold predictions for the training tracks.
#[derive(Debug, Clone)]
pub struct OutOfFold {
    /// Row in the training set, for each row here.
    pub rows: Vec<usize>,
    pub ids: Vec<TrackId>,
    pub genres: Vec<Genre>,
    /// Labels of each track, as columns.
    pub classes: Vec<Vec<usize>>,
    /// Probabilities of head and vote together, `[rows, genres]`; where the neighbours alone
    /// answer, theirs.
    pub probabilities: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// Shares of the votes.
    pub votes: Array2<f32>,
    /// Rows in the test part of a fold; the others have flat predictions of the head.
    pub(super) covered: Vec<usize>,
    /// Log probabilities of the head's own classes, for a model file.
    pub(super) head_logs: Array2<f32>,
    pub(super) settings: HeadSettings,
    /// Inverse temperature that calibrates the probabilities.
    pub(super) scale: f64,
    pub(super) familiarity: Familiarity,
}

impl OutOfFold {
    /// The out-of-fold predictions of a model that is fitted to the set.
    pub fn of(set: &LabelledVectors, options: &FitOptions) -> Result<Self, GenreError> {
        let examples = Examples::new(set)?.sampled(options.max_tracks, options.seed);
        Ok(Self::of_examples(&examples, options))
    }

    pub(super) fn of_examples(examples: &Examples, options: &FitOptions) -> Self {
        let most = if examples.len() > MANY { 3 } else { usize::MAX };
        let folds = options.folds.clamp(2, most);
        let settings = HeadSettings::choose(examples, options.min_tracks, folds, options.seed);
        let votes = votes_of_others(examples);
        let shares: Vec<Vec<f32>> = votes
            .iter()
            .map(|votes| votes.spread(&examples.genres))
            .collect();
        // Another split than that of the choice, on whose folds the chosen penalty would look too
        // good.
        let folds = examples.folds(folds, options.seed + 1);
        let (head_logs, covered) = held_out_heads(examples, &folds, &settings);
        let heads: Vec<Vec<f32>> = head_logs
            .outer_iter()
            .zip(&shares)
            .map(|(head, shares)| complete(&head.to_vec(), &settings.classes, shares))
            .collect();
        let targets = examples.targets();
        let scale = calibrated(&heads, &shares, &targets, &covered);
        let mut probabilities = Array2::zeros(targets.dim());
        for (row, mut to) in probabilities.outer_iter_mut().enumerate() {
            to.assign(&joined(&heads[row], &shares[row], scale));
        }
        let familiarity = Familiarity::of(covered.iter().map(|&row| votes[row].nearness));
        let matrix = |rows: &[Vec<f32>]| {
            Array2::from_shape_fn(targets.dim(), |(row, class)| rows[row][class])
        };
        Self {
            rows: examples.origin.clone(),
            ids: examples.ids.clone(),
            genres: examples.genres.clone(),
            classes: examples.classes.clone(),
            probabilities,
            head: matrix(&heads).mapv(f32::exp),
            votes: matrix(&shares),
            covered,
            head_logs,
            settings,
            scale,
            familiarity,
        }
    }

    /// The most likely genre of a row, its probability, and whether it is one of its labels.
    pub(super) fn answer(&self, row: usize) -> (usize, f32, bool) {
        let best = argmax(self.probabilities.row(row));
        let is_right = self.classes[row].contains(&best);
        (best, self.probabilities[[row, best]], is_right)
    }
}

/// Log probabilities of heads without the artists of a row, and the rows in the test part of a fold.
fn held_out_heads(
    examples: &Examples,
    folds: &[Fold],
    settings: &HeadSettings,
) -> (Array2<f32>, Vec<usize>) {
    let fold_logs = parallel::map(folds, |fold| {
        let head = Head::fit(examples, &fold.train, settings)?;
        Some(head.log_probabilities(examples.x.select(Axis(0), &fold.test).view()))
    });
    let flat = -(settings.classes.len().max(1) as f32).ln();
    let mut head_logs = Array2::from_elem((examples.len(), settings.classes.len()), flat);
    let mut covered = Vec::new();
    for (fold, logs) in folds.iter().zip(fold_logs) {
        for (at, &row) in fold.test.iter().enumerate() {
            if let Some(logs) = &logs {
                head_logs.row_mut(row).assign(&logs.row(at));
            }
            covered.push(row);
        }
    }
    covered.sort_unstable();
    (head_logs, covered)
}

/// The scale of the joined logits with the greatest likelihood of the `rows`.
fn calibrated(
    heads: &[Vec<f32>],
    shares: &[Vec<f32>],
    targets: &Array2<f32>,
    rows: &[usize],
) -> f64 {
    best_scale(|scale| {
        let loss = |&row: &usize| {
            let p = joined(&heads[row], &shares[row], scale);
            let logs = p.iter().zip(targets.row(row));
            -logs
                .map(|(p, t)| f64::from(t * p.max(1e-12).ln()))
                .sum::<f64>()
        };
        rows.iter().map(loss).sum()
    })
}

/// The vote for every row of its neighbours by other artists.
fn votes_of_others(examples: &Examples) -> Vec<Votes> {
    votes_among(examples, examples.x.view(), |row, voter| {
        examples.groups[row] != examples.groups[voter]
    })
}

/// The vote of labelled tracks for vectors, by brute force.
///
/// - `allowed(row, voter)`: whether a track may vote for a row
fn votes_among(
    reference: &Examples,
    vectors: ArrayView2<f32>,
    allowed: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<Votes> {
    let count = reference.len() as f32 + SHRINKING;
    let mean = reference.x.sum_axis(Axis(0)) / count;
    let centred = |x: ArrayView2<f32>| unit_rows(&x - &mean);
    let near = nearest(
        centred(vectors).view(),
        centred(reference.x.view()).view(),
        VOTERS,
        allowed,
    );
    let genres: Vec<Vec<Genre>> = (0..reference.len())
        .map(|row| reference.genres_of(row))
        .collect();
    let priors = Priors::from_labels(genres.iter().map(Vec::as_slice));
    near.iter()
        .map(|near| {
            let neighbour = |near: &Near| LabelledNeighbor {
                track: reference.ids[near.row],
                similarity: near.similarity,
                genres: genres[near.row].clone(),
            };
            vote(&near.iter().map(neighbour).collect::<Vec<_>>(), &priors)
        })
        .collect()
}

/// The vote of labelled tracks for vectors of other tracks, for evaluations without an index.
pub fn votes_for(
    set: &LabelledVectors,
    vectors: ArrayView2<f32>,
) -> Result<Vec<Votes>, GenreError> {
    Ok(votes_among(&Examples::new(set)?, vectors, |_, _| true))
}
