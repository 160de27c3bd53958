//! The genre model: the head, how it is joined with the votes, and its quality on held-out tracks.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView1, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{
    Familiarity, Genre, GenreError, GenrePrediction, GenreShare, LabelledVectors, OutOfFold,
    Quality, UnknownReason, Votes, WELL_KNOWN,
    examples::{Examples, check_finite, same_rows},
    head::{Head, complete},
    quality::{PrecisionStep, lower_bound, precision_steps},
    validation::joined,
};
use voisin_base::track::TrackId;

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A fitted genre model.
#[derive(Debug, Clone)]
pub struct GenreModel {
    pub(super) genres: Vec<Genre>,
    /// `None` unless two genres have enough tracks.
    pub(super) head: Option<Head>,
    pub(super) penalty: f64,
    pub(super) scale: f64,
    pub(super) familiarity: Familiarity,
    pub(super) precision: Vec<PrecisionStep>,
    pub(super) quality: Quality,
    pub(super) digest: String,
    pub(super) dimension: usize,
    pub(super) ids: Vec<TrackId>,
    /// Log probabilities of heads without their artists, `[tracks, head classes]`.
    pub(super) held: Array2<f32>,
    pub(super) row_of: HashMap<TrackId, usize>,
}

/// Options of predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// Precision of known genres; less certain ones become unknown.
    pub precision: Option<f32>,
    /// Most genres in each list of shares.
    pub genres: usize,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            precision: None,
            genres: 10,
        }
    }
}

impl GenreModel {
    /// Chooses the penalty by validation on held-out groups, fits the head, and calibrates head and
    /// vote. Deterministic for a seed, regardless of the number of threads. Above 4000 tracks there
    /// are at most three folds.
    pub fn fit(
        set: &LabelledVectors,
        options: &FitOptions,
    ) -> Result<(Self, OutOfFold), GenreError> {
        let examples = Examples::new(set)?.sampled(options.max_tracks, options.seed);
        let oof = OutOfFold::of_examples(&examples, options);
        let all: Vec<usize> = (0..examples.len()).collect();
        let model = Self {
            head: Head::fit(&examples, &all, &oof.settings),
            penalty: oof.settings.penalty,
            scale: oof.scale,
            familiarity: oof.familiarity.clone(),
            precision: precision_steps(&oof),
            quality: Quality::of(&oof, &examples.groups),
            digest: digest(&examples),
            dimension: examples.x.ncols(),
            row_of: rows_of(&examples.ids),
            ids: examples.ids,
            genres: examples.genres,
            held: oof.head_logs.clone(),
        };
        Ok((model, oof))
    }

    pub fn genres(&self) -> &[Genre] {
        &self.genres
    }

    /// Genres with too few tracks for the head, which only neighbours can predict.
    pub fn genres_without_head(&self) -> Vec<&Genre> {
        let with: &[usize] = self.head.as_ref().map_or(&[], |head| &head.classes);
        let all = self.genres.iter().enumerate();
        all.filter(|(class, _)| with.binary_search(class).is_err())
            .map(|(_, genre)| genre)
            .collect()
    }

    pub fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// The penalty of the head that validation chose.
    pub fn penalty(&self) -> f64 {
        self.penalty
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    pub fn tracks(&self) -> usize {
        self.ids.len()
    }

    pub fn quality(&self) -> &Quality {
        &self.quality
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
    ///
    /// - `vectors`: raw; `votes`: of the labelled neighbours of each
    /// - `ids`: of the tracks, or of tracks that they are copies of: a training track is predicted
    ///   by a head without its artist
    pub fn predict(
        &self,
        vectors: ArrayView2<f32>,
        ids: &[Option<TrackId>],
        votes: &[Votes],
        options: &PredictOptions,
    ) -> Result<Vec<GenrePrediction>, GenreError> {
        if vectors.ncols() != self.dimension {
            return Err(GenreError::Dimension {
                what: "vectors",
                expected: self.dimension,
                found: vectors.ncols(),
            });
        }
        check_finite("vectors", vectors)?;
        same_rows("ids", vectors.nrows(), ids.len())?;
        same_rows("votes", vectors.nrows(), votes.len())?;
        let logs = self.head.as_ref().map_or_else(
            || Array2::zeros((vectors.nrows(), 0)),
            |head| head.log_probabilities(vectors),
        );
        let threshold = options.precision.map_or(0.0, |p| self.threshold(p));
        let tracks = logs.outer_iter().zip(ids).zip(votes);
        let predict = |((log, id), votes): ((ArrayView1<f32>, &Option<TrackId>), &Votes)| {
            let held = id.and_then(|id| self.row_of.get(&id));
            let log = held.map_or(log, |&row| self.held.row(row));
            let mut prediction = self.prediction(log, votes, threshold, options.genres);
            prediction.held_out = held.is_some();
            prediction
        };
        Ok(tracks.map(predict).collect())
    }

    fn prediction(
        &self,
        log: ArrayView1<f32>,
        votes: &Votes,
        threshold: f32,
        most: usize,
    ) -> GenrePrediction {
        let classes: &[usize] = self.head.as_ref().map_or(&[], |head| &head.classes);
        let shares = votes.spread(&self.genres);
        let head = complete(&log.to_vec(), classes, &shares);
        let both = joined(&head, &shares, self.scale);
        let familiar = self.familiarity.assess(votes.nearness);
        let probabilities = if familiar.is_unknown() {
            self.ranked(&shares, most)
        } else {
            self.ranked(&both.to_vec(), most)
        };
        let best = probabilities[0].genre.clone();
        // Novelty first, because the probability of a known genre means nothing for a track of an
        // unknown one; the collection's share of the votes is for neither.
        let (unknown, probability) = if familiar.is_unknown() {
            (Some(UnknownReason::Novel), votes.share(&best))
        } else {
            let probability = probabilities[0].share;
            let unsure = (probability < threshold).then_some(UnknownReason::Unsure);
            (unsure, probability)
        };
        let head: Vec<f32> = head.iter().map(|log| log.exp()).collect();
        GenrePrediction {
            best,
            probability,
            unknown,
            held_out: false,
            familiar: familiar.share,
            probabilities,
            head: if self.has_head() {
                self.ranked(&head, most)
            } else {
                Vec::new()
            },
        }
    }

    /// The largest shares, the largest first, of equals the first by key.
    fn ranked(&self, row: &[f32], most: usize) -> Vec<GenreShare> {
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        let share = |&class: &usize| GenreShare {
            genre: self.genres[class].clone(),
            share: row[class],
        };
        order.iter().take(most.max(1)).map(share).collect()
    }
}

pub(super) fn rows_of(ids: &[TrackId]) -> HashMap<TrackId, usize> {
    ids.iter().enumerate().map(|(row, id)| (*id, row)).collect()
}

/// BLAKE3 over ids, labels and vectors in row order.
fn digest(examples: &Examples) -> String {
    let mut hasher = blake3::Hasher::new();
    for (i, id) in examples.ids.iter().enumerate() {
        hasher.update(&id.0.to_le_bytes());
        for &class in &examples.classes[i] {
            hasher.update(examples.genres[class].key().as_bytes());
            // A separator, without which different lists of names could have the same digest.
            hasher.update(&[0]);
        }
        for v in examples.x.row(i) {
            hasher.update(&v.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
