//! The whole: fitted halves, their fusion, and what held-out tracks say of its quality.

use ndarray::Array2;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Agreement, Confidence, Fusion, Genre, GenreError, GenrePrediction, GenreShare, Nesting,
    QueryVectors, Settings, UnknownReason, Voter, Votes, WELL_KNOWN,
    fitted::{AnswerSources, Core},
    held_out::HeldOut,
};
use voisin_base::track::TrackId;

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Genres with fewer tracks are left to the neighbours.
    pub min_tracks: usize,
    /// Folds of the validation, groups kept whole.
    pub folds: usize,
    /// Tracks used, at most; more are sampled by whole groups.
    pub max_tracks: usize,
    /// Start of the random numbers that deal the folds.
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

/// Predictions for the training tracks by models that had not seen their group.
#[derive(Debug, Clone)]
pub struct OutOfFold {
    /// Row in the training set given, of each row here.
    pub rows: Vec<usize>,
    /// Their tracks.
    pub ids: Vec<TrackId>,
    /// The columns' genres.
    pub genres: Vec<Genre>,
    /// Classes (columns) each track is labelled with.
    pub classes: Vec<Vec<usize>>,
    /// Joined probabilities, `[rows, genres]`.
    pub fused: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// The vote's.
    pub vote: Array2<f32>,
    /// Novelty scores, larger is stranger.
    pub novelty: Vec<f64>,
}

/// Figures of a model on held-out tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Held-out tracks.
    pub tracks: usize,
    /// Groups (artists) that they were held out by. As many as tracks: nothing is known of who made
    /// them, and copies of a recording on both sides of a fold make all these figures too kind.
    pub groups: usize,
    /// Share of them whose best genre is one of their own: of what answers.
    pub accuracy: f64,
    /// The head alone.
    pub head_accuracy: f64,
    /// The vote alone.
    pub vote_accuracy: f64,
    /// Head and vote joined.
    pub fused_accuracy: f64,
    /// Mean over genres of the share found.
    pub balanced_accuracy: f64,
    /// Expected calibration error of the joined probability, ten bins.
    pub calibration_error: f64,
}

/// A fitted genre engine.
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
    /// Of the tracks that vote.
    pub(super) nesting: Nesting,
    /// Predictions for the tracks that it was trained on, by models that had not seen their groups.
    pub(super) held: HeldOut,
    pub(super) min_tracks: usize,
    /// Fitted by [`load`](Self::load), since the file was of an older layout.
    pub(super) refitted: bool,
}

/// A step of the risk–coverage curve on held-out tracks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrecisionStep {
    /// Answers with at least this probability …
    pub threshold: f32,
    /// … are right this often …
    pub precision: f32,
    /// … and are this share of all.
    pub coverage: f32,
}

/// How answers are given.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// Precision that answers must have; less sure ones are unknown.
    pub precision: Option<f32>,
    /// Tracks more novel than this share of the collection's own are unknown; above 1: never.
    pub novelty: f32,
    /// Voters kept as evidence: those of most weight.
    pub voters: usize,
    /// Genres kept in each list of shares.
    pub genres: usize,
    /// Genres that an answer may be; none: all. The lists of the head and of the votes show every
    /// genre.
    pub among: Vec<Genre>,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self {
            precision: None,
            novelty: 0.99,
            voters: 10,
            genres: 10,
            among: Vec::new(),
        }
    }
}

impl GenreModel {
    /// The genres it knows.
    pub fn genres(&self) -> &[Genre] {
        &self.genres
    }

    /// Genres with too few tracks for the head, which the neighbours alone speak for.
    pub fn genres_without_head(&self) -> Vec<&Genre> {
        let with = &self.core.settings.head_classes;
        self.genres
            .iter()
            .enumerate()
            .filter(|(c, _)| with.binary_search(c).is_err())
            .map(|(_, g)| g)
            .collect()
    }

    /// Whether reading it meant fitting it anew, so that it should be saved.
    pub fn is_refitted(&self) -> bool {
        self.refitted
    }

    /// Width of the vectors it takes.
    pub fn dimension(&self) -> usize {
        self.core.raw.ncols()
    }

    /// Tracks it was trained on.
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

    /// How head and vote are joined.
    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// BLAKE3 of what it was trained on (ids, labels, vectors), in hexadecimal.
    pub fn training_digest(&self) -> &str {
        &self.digest
    }

    /// The least probability at which answers are right as often as asked, on held-out tracks, with
    /// a standard error to spare: the threshold is chosen on those tracks, so what they promise is
    /// a little too good.
    ///
    /// Above 1 when no threshold reaches it.
    pub fn threshold(&self, precision: f32) -> f32 {
        let tracks = self.quality.tracks as f64;
        // A lower bound, because the threshold is the best of many on these very tracks.
        let kept = |step: &PrecisionStep| {
            let n = (f64::from(step.coverage) * tracks).round().max(1.0);
            lower_bound(f64::from(step.precision), n) >= f64::from(precision)
        };
        self.precision
            .iter()
            .rev()
            .find(|step| kept(step))
            // Above every probability: no answer is sure enough.
            .map_or(1.1, |step| step.threshold)
    }

    /// Answers for many tracks.
    pub fn predict(
        &self,
        queries: &QueryVectors,
        options: &PredictOptions,
    ) -> Result<Vec<GenrePrediction>, GenreError> {
        queries.check(self.dimension())?;
        let mut voices = self.voices(queries);
        let (mut fused, mut scores) = self.fusion.apply(&voices);
        // Probabilities from here on: the folds' answers are kept as such.
        voices.head.mapv_inplace(f32::exp);
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
            let answer = (&mut fused, &mut scores[to], &mut voices);
            // A track that trained the model gets the answer of a model that had not seen it.
            self.held.answer(row, to, &self.genres, &reference, answer);
        }
        self.nesting.undivide(&mut voices.head);
        let mut unlimited = (!options.among.is_empty()).then(|| fused.clone());
        self.keep_among(&mut fused, &options.among)?;
        unlimited
            .iter_mut()
            .chain([&mut fused])
            .for_each(|p| self.nesting.undivide(p));
        let threshold = options.precision.map_or(0.0, |p| self.threshold(p));
        Ok((0..queries.vectors.nrows())
            .into_par_iter()
            .map(|i| {
                let mut answer =
                    self.answer(queries, &voices, &fused, scores[i], threshold, i, options);
                answer.held_out = held[i].is_some();
                match &unlimited {
                    Some(all) => self.limited(answer, all.row(i)),
                    None => answer,
                }
            })
            .collect())
    }

    /// Leaves nothing to genres that are not asked for; rows add up to 1 again.
    fn keep_among(
        &self,
        probabilities: &mut Array2<f32>,
        among: &[Genre],
    ) -> Result<(), GenreError> {
        if among.is_empty() {
            return Ok(());
        }
        GenreError::check_among(among, self.genres.iter())?;
        let is_allowed: Vec<bool> = self
            .genres
            .iter()
            .map(|genre| among.contains(genre))
            .collect();
        for mut row in probabilities.rows_mut() {
            let sum: f32 = row
                .iter()
                .zip(&is_allowed)
                .filter(|(_, is_allowed)| **is_allowed)
                .map(|(p, _)| p)
                .sum();
            // No probability for any of them: each is as likely as the other.
            let even = 1.0 / is_allowed.iter().filter(|is_allowed| **is_allowed).count() as f32;
            for (p, &is_allowed) in row.iter_mut().zip(&is_allowed) {
                *p = match (is_allowed, sum > 0.0) {
                    (true, true) => *p / sum,
                    (true, false) => even,
                    (false, _) => 0.0,
                };
            }
        }
        Ok(())
    }

    /// Joined, head's and vote's probabilities, `[queries, genres]` each, and novelty scores.
    pub fn probabilities(&self, queries: &QueryVectors) -> Result<Probabilities, GenreError> {
        queries.check(self.dimension())?;
        let voices = self.voices(queries);
        let (mut fused, novelty) = self.fusion.apply(&voices);
        let mut head = voices.head.mapv(f32::exp);
        [&mut fused, &mut head]
            .into_iter()
            .for_each(|p| self.nesting.undivide(p));
        Ok(Probabilities {
            fused,
            head,
            vote: voices.whole,
            novelty,
        })
    }

    fn voices(&self, queries: &QueryVectors) -> AnswerSources {
        self.core.voices(queries.vectors, |q, r| {
            let same_track = queries
                .ids
                .get(q)
                .copied()
                .flatten()
                .is_some_and(|id| id == self.ids[r]);
            // For evaluation: the tracks of a query's own artist would make it too easy.
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

    /// Where the folds' answer for a query lies, if it, or another copy of it, trained the model.
    fn held_row(&self, queries: &QueryVectors, q: usize) -> Option<usize> {
        let id = queries.ids.get(q).copied().flatten();
        id.and_then(|id| self.held.row(id)).or_else(|| {
            let least = queries.same_recording?;
            // Another file of a recording that trained the model is known to it as well.
            let copy = (0..self.ids.len()).find(|&r| self.cosine(queries, q, r) >= least)?;
            self.held.row(self.ids[copy])
        })
    }

    /// Cosine similarity of a query and a reference track, as they came; 0 where either is all
    /// zeros.
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
        voices: &AnswerSources,
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
        // Novelty first: a probability among known genres means nothing for a track of none of
        // them.
        let novelty = self.fusion.novelty.percentile(score) as f32;
        let unknown = if novelty > options.novelty {
            Some(UnknownReason::Novel)
        } else if probability < threshold {
            Some(UnknownReason::Unsure)
        } else {
            None
        };
        let agreement = if self
            .core
            .settings
            .head_classes
            .binary_search(&best)
            .is_err()
        {
            Agreement::NoHead
        } else {
            match (
                first(voices.head.row(i)) == best,
                first(voices.whole.row(i)) == best,
            ) {
                (true, true) => Agreement::Both,
                (true, false) => Agreement::HeadOnly,
                (false, true) => Agreement::NeighboursOnly,
                (false, false) => Agreement::Neither,
            }
        };
        let temperature = self.core.settings.vote.temperature;
        let near = &voices.neighbours[i];
        // Relative to the nearest, and corrected for how common the genres are, as in the vote itself.
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
        // By cosine of the vectors as they are stored, which is what a user sees beside them.
        voters.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.track.cmp(&b.track))
        });
        let head = if self.core.settings.head_classes.is_empty() {
            Vec::new()
        } else {
            list(voices.head.row(i))
        };
        let probabilities = self.ranked(fused.row(i), usize::MAX);
        let genres = self.nesting.together(&probabilities);
        GenrePrediction {
            words: self.nesting.words(&genres),
            genres: if unknown.is_none() {
                genres
            } else {
                Vec::new()
            },
            genre: unknown.is_none().then(|| self.genres[best].clone()),
            best: self.genres[best].clone(),
            probability,
            without_limit: None,
            answers_by: self.fusion.part,
            held_out: false,
            unknown,
            novelty,
            novelty_score: score as f32,
            confidence: Confidence::of(probability),
            agreement,
            probabilities: list(fused.row(i)),
            head,
            votes: Votes {
                shares: list(voices.whole.row(i)),
                voters,
                count: near.len(),
                collection: 0.0,
            },
        }
    }

    /// Says of an answer among some genres what it would be among all, and how sure it is seen from
    /// there.
    fn limited(
        &self,
        mut answer: GenrePrediction,
        all: ndarray::ArrayView1<f32>,
    ) -> GenrePrediction {
        let best = self.order(all).first().copied().unwrap_or(0);
        if self.genres[best] != answer.best {
            let share_of =
                |genre: &Genre| self.genres.binary_search(genre).map_or(0.0, |at| all[at]);
            answer.confidence = Confidence::of(share_of(&answer.best));
            answer.without_limit = Some(GenreShare {
                genre: self.genres[best].clone(),
                share: all[best],
            });
        }
        answer
    }

    /// Classes by their share, of equals the commoner first; those of nothing left out.
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
    /// Joined, `[queries, genres]`: how likely a track bears each; rows sum to 1 where no track has
    /// several.
    pub fused: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// The vote's.
    pub vote: Array2<f32>,
    /// Novelty scores, larger is stranger.
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
    fn few_answers_promise_less() {
        // nineteen of nineteen are no more than 95 %
        assert!((lower_bound(1.0, 19.0) - 0.95).abs() < 1e-12);
        assert!((lower_bound(0.9, 1e9) - 0.9).abs() < 1e-4);
        assert!((lower_bound(0.9, 236.0) - 0.8787).abs() < 1e-3);
    }
}
