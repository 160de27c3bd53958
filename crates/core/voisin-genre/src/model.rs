//! The genre model: head, vote, their fusion, and its quality on held-out tracks.

use ndarray::Array2;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Confidence, Fusion, Genre, GenreError, GenrePrediction, GenreShare, QueryVectors, Settings,
    UnknownReason, Voter, Votes, WELL_KNOWN,
    fitted::{AnswerSources, Core},
    held_out::HeldOut,
};
use voisin_base::track::TrackId;

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Genres with fewer tracks are predicted by the neighbours alone.
    pub min_tracks: usize,
    /// Folds of the validation, which never split a group.
    pub folds: usize,
    /// Most tracks to use; more are sampled by whole groups.
    pub max_tracks: usize,
    /// Seed of the random numbers for the folds.
    pub seed: u64,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            min_tracks: WELL_KNOWN,
            folds: 5,
            max_tracks: 20_000,
            seed: 1,
        }
    }
}

/// Out-of-fold predictions for the training tracks.
#[derive(Debug, Clone)]
pub struct OutOfFold {
    /// Row in the training set, for each row here.
    pub rows: Vec<usize>,
    /// Their tracks.
    pub ids: Vec<TrackId>,
    /// The genres of the columns.
    pub genres: Vec<Genre>,
    /// Labels of each track, as columns.
    pub classes: Vec<Vec<usize>>,
    /// Combined probabilities, `[rows, genres]`.
    pub fused: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// The vote's.
    pub vote: Array2<f32>,
    /// Novelty scores, larger is more unusual.
    pub novelty: Vec<f64>,
}

/// Figures of a model on held-out tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Held-out tracks.
    pub tracks: usize,
    /// Their groups (artists). As many as tracks if no artists are known; then copies of a recording
    /// on both sides of a fold make all these figures too good.
    pub groups: usize,
    /// Share of them whose best genre is among their labels, for the part that is used.
    pub accuracy: f64,
    /// The same for the head alone.
    pub head_accuracy: f64,
    /// The same for the vote alone.
    pub vote_accuracy: f64,
    /// The same for head and vote combined.
    pub fused_accuracy: f64,
    /// Mean recall over genres.
    pub balanced_accuracy: f64,
    /// Expected calibration error of the combined probability, ten bins.
    pub calibration_error: f64,
}

/// A fitted genre model.
#[derive(Debug, Clone)]
pub struct GenreModel {
    pub(super) core: Core,
    pub(super) genres: Vec<Genre>,
    pub(super) ids: Vec<TrackId>,
    pub(super) groups: Vec<usize>,
    pub(super) fusion: Fusion,
    pub(super) precision: Vec<PrecisionStep>,
    pub(super) quality: Quality,
    pub(super) digest: String,
    /// Out-of-fold predictions for the training tracks.
    pub(super) held: HeldOut,
    pub(super) min_tracks: usize,
}

/// A step of the risk–coverage curve on held-out tracks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrecisionStep {
    /// Least probability.
    pub threshold: f32,
    /// Precision of the predictions with at least this probability.
    pub precision: f32,
    /// Their share of all predictions.
    pub coverage: f32,
}

/// Options of predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// Precision of known genres; less certain ones become unknown.
    pub precision: Option<f32>,
    /// Tracks more novel than this share of the training tracks are unknown; above 1: never.
    pub novelty: f32,
    /// Most voters to return, those with the greatest weights.
    pub voters: usize,
    /// Most genres in each list of shares.
    pub genres: usize,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            precision: None,
            novelty: 0.99,
            voters: 10,
            genres: 10,
        }
    }
}

impl GenreModel {
    /// Its genres.
    pub fn genres(&self) -> &[Genre] {
        &self.genres
    }

    /// Genres with too few tracks for the head, which only neighbours can predict.
    pub fn genres_without_head(&self) -> Vec<&Genre> {
        let with = &self.core.settings.head_classes;
        self.genres
            .iter()
            .enumerate()
            .filter(|(c, _)| with.binary_search(c).is_err())
            .map(|(_, g)| g)
            .collect()
    }

    /// Dimension of its input vectors.
    pub fn dimension(&self) -> usize {
        self.core.raw.ncols()
    }

    /// Number of training tracks.
    pub fn tracks(&self) -> usize {
        self.core.raw.nrows()
    }

    /// Its figures on held-out tracks.
    pub fn quality(&self) -> &Quality {
        &self.quality
    }

    /// The settings that validation chose.
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// How head and vote are combined.
    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// BLAKE3 of its training data (ids, labels, vectors), in hexadecimal.
    pub fn training_digest(&self) -> &str {
        &self.digest
    }

    /// The least probability at which predictions for held-out tracks have the requested precision
    /// with a margin of one standard error, since a threshold chosen on these tracks is biased.
    ///
    /// Above 1 if no threshold reaches the precision.
    pub fn threshold(&self, precision: f32) -> f32 {
        let tracks = self.quality.tracks as f64;
        // A lower bound, because the threshold is the best of many on these tracks.
        let kept = |step: &PrecisionStep| {
            let n = (f64::from(step.coverage) * tracks).round().max(1.0);
            lower_bound(f64::from(step.precision), n) >= f64::from(precision)
        };
        self.precision
            .iter()
            .rev()
            .find(|step| kept(step))
            // Above every probability: no prediction is certain enough.
            .map_or(1.1, |step| step.threshold)
    }

    /// Predicts the genres of many tracks.
    pub fn predict(
        &self,
        queries: &QueryVectors,
        options: &PredictOptions,
    ) -> Result<Vec<GenrePrediction>, GenreError> {
        queries.check(self.dimension())?;
        let mut sources = self.sources(queries);
        let (mut fused, mut scores) = self.fusion.apply(&sources);
        // Probabilities from here on, as in the stored predictions of the folds.
        sources.head.mapv_inplace(f32::exp);
        let held: Vec<Option<usize>> = (0..scores.len())
            .map(|q| self.held_row(queries, q))
            .collect();
        let reference = self
            .ids
            .iter()
            .enumerate()
            .map(|(row, id)| (*id, row))
            .collect();
        for (to, row) in held
            .iter()
            .enumerate()
            .filter_map(|(to, row)| Some((to, (*row)?)))
        {
            let answer = (&mut fused, &mut scores[to], &mut sources);
            // A training track gets its out-of-fold prediction.
            self.held.answer(row, to, &self.genres, &reference, answer);
        }
        let threshold = options.precision.map_or(0.0, |p| self.threshold(p));
        Ok((0..queries.vectors.nrows())
            .into_par_iter()
            .map(|i| {
                let mut answer =
                    self.answer(queries, &sources, &fused, scores[i], threshold, i, options);
                answer.held_out = held[i].is_some();
                answer
            })
            .collect())
    }

    /// Combined, head's and vote's probabilities, `[queries, genres]` each, and novelty scores.
    pub fn probabilities(&self, queries: &QueryVectors) -> Result<Probabilities, GenreError> {
        queries.check(self.dimension())?;
        let sources = self.sources(queries);
        let (fused, novelty) = self.fusion.apply(&sources);
        Ok(Probabilities {
            fused,
            head: sources.head.mapv(f32::exp),
            vote: sources.whole,
            novelty,
        })
    }

    fn sources(&self, queries: &QueryVectors) -> AnswerSources {
        self.core.sources(queries.vectors, |q, r| {
            let same_track = queries
                .ids
                .get(q)
                .copied()
                .flatten()
                .is_some_and(|id| id == self.ids[r]);
            // For evaluations, which leave out the query's artist.
            let same_group = queries
                .exclude_groups
                .get(q)
                .copied()
                .flatten()
                .is_some_and(|g| g == self.groups[r]);
            !same_track
                && !same_group
                && !queries
                    .same_recording
                    .is_some_and(|least| self.cosine(queries, q, r) >= least)
        })
    }

    /// The row of the out-of-fold prediction for a query, if it or a copy of it is a training track.
    fn held_row(&self, queries: &QueryVectors, q: usize) -> Option<usize> {
        let id = queries.ids.get(q).copied().flatten();
        id.and_then(|id| self.held.row(id)).or_else(|| {
            let least = queries.same_recording?;
            // A copy of a training track counts as one.
            let copy = (0..self.ids.len()).find(|&r| self.cosine(queries, q, r) >= least)?;
            self.held.row(self.ids[copy])
        })
    }

    /// Cosine similarity of the raw vectors of a query and a reference track; 0 if either is
    /// zero.
    fn cosine(&self, queries: &QueryVectors, q: usize, r: usize) -> f32 {
        let query = queries.vectors.row(q);
        let row = self.core.raw.row(r);
        let lengths = (query.dot(&query) * row.dot(&row)).sqrt();
        if lengths > 0.0 {
            query.dot(&row) / lengths
        } else {
            0.0
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call, in the line above")]
    fn answer(
        &self,
        queries: &QueryVectors,
        sources: &AnswerSources,
        fused: &Array2<f32>,
        score: f64,
        threshold: f32,
        i: usize,
        options: &PredictOptions,
    ) -> GenrePrediction {
        let list = |row: ndarray::ArrayView1<f32>| self.ranked(row, options.genres);
        let first = |row: ndarray::ArrayView1<f32>| self.order(row).first().copied().unwrap_or(0);
        let best = first(fused.row(i));
        let probability = fused[[i, best]];
        // Novelty first, because the probability of a known genre means nothing for a track of an
        // unknown one.
        let novelty = self.fusion.novelty.percentile(score) as f32;
        let unknown = if novelty > options.novelty {
            Some(UnknownReason::Novel)
        } else if probability < threshold {
            Some(UnknownReason::Unsure)
        } else {
            None
        };
        let temperature = self.core.settings.vote.temperature;
        let near = &sources.neighbours[i];
        // Relative to the nearest and corrected for the frequency of genres, as in the vote.
        let top = near.first().map_or(0.0, |n| n.similarity);
        let power = self.core.settings.vote.prior_correction;
        let weights: Vec<f32> = near
            .iter()
            .map(|n| {
                let commonest = self.core.classes[n.row]
                    .iter()
                    .map(|&class| self.core.priors[class])
                    .fold(0.0, f32::max);
                ((n.similarity - top) / temperature).exp() * commonest.powf(-power)
            })
            .collect();
        let total: f32 = weights.iter().sum();
        let mut voters: Vec<Voter> = near
            .iter()
            .zip(&weights)
            .take(options.voters)
            .map(|(n, w)| Voter {
                track: self.ids[n.row],
                genres: self.core.classes[n.row]
                    .iter()
                    .map(|&c| self.genres[c].clone())
                    .collect(),
                similarity: self.cosine(queries, i, n.row),
                weight: w / total,
            })
            .collect();
        // By cosine of raw vectors, which is shown to the user.
        voters.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.track.cmp(&b.track))
        });
        let head = if self.core.settings.head_classes.is_empty() {
            Vec::new()
        } else {
            list(sources.head.row(i))
        };
        GenrePrediction {
            genre: unknown.is_none().then(|| self.genres[best].clone()),
            best: self.genres[best].clone(),
            probability,
            answers_by: self.fusion.part,
            held_out: false,
            unknown,
            novelty,
            novelty_score: score as f32,
            confidence: Confidence::of(probability),
            probabilities: list(fused.row(i)),
            head,
            votes: Votes {
                shares: list(sources.whole.row(i)),
                voters,
                count: near.len(),
                collection: 0.0,
            },
        }
    }

    /// Classes with a share, largest first, of equals the more common first.
    fn order(&self, row: ndarray::ArrayView1<f32>) -> Vec<usize> {
        let priors = &self.core.priors;
        let mut order: Vec<usize> = (0..row.len()).filter(|&c| row[c] > 0.0).collect();
        order.sort_by(|&a, &b| {
            row[b]
                .total_cmp(&row[a])
                .then(priors[b].total_cmp(&priors[a]))
                .then(a.cmp(&b))
        });
        order
    }

    /// The largest shares.
    fn ranked(&self, row: ndarray::ArrayView1<f32>, most: usize) -> Vec<GenreShare> {
        self.order(row)
            .iter()
            .take(most)
            .map(|&c| GenreShare {
                genre: self.genres[c].clone(),
                share: row[c],
            })
            .collect()
    }
}

/// Probabilities of many tracks.
#[derive(Debug, Clone)]
pub struct Probabilities {
    /// Combined probability of each genre, `[queries, genres]`; rows sum to 1.
    pub fused: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// The vote's.
    pub vote: Array2<f32>,
    /// Novelty scores, larger is more unusual.
    pub novelty: Vec<f64>,
}

/// Lower end of Wilson's interval of one standard error around a share `p` of `n`.
fn lower_bound(p: f64, n: f64) -> f64 {
    (p + 0.5 / n - (p * (1.0 - p) / n + 0.25 / (n * n)).sqrt()) / (1.0 + 1.0 / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_bound_is_lower_for_few_predictions() {
        // Nineteen of nineteen give at most 95 %.
        assert!((lower_bound(1.0, 19.0) - 0.95).abs() < 1e-12);
        assert!((lower_bound(0.9, 1e9) - 0.9).abs() < 1e-4);
        assert!((lower_bound(0.9, 236.0) - 0.8787).abs() < 1e-3);
    }
}
