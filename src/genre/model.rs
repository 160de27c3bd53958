//! The whole: fitted halves, their fusion, and what held-out tracks say of its quality.

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Agreement, Confidence, Fusion, Genre, GenreError, GenrePrediction, GenreShare, HeadOptions, Queries,
    Settings, TrainingSet, UnknownReason, Voter, Votes,
    choose::{Splits, choose, sample_groups},
    data::Problem,
    fusion::{Evidence, Novelty},
    halves::{Core, Parts},
    parallel,
};
use crate::track::TrackId;

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Genres with fewer tracks are left to the neighbours.
    pub min_tracks: usize,
    /// Folds of the validation, groups kept whole.
    pub folds: usize,
    /// Tracks used, at most; more are sampled by whole groups.
    pub max_tracks: usize,
    /// Where heads start from; its seed is everybody's.
    pub head: HeadOptions,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { min_tracks: 8, folds: 5, max_tracks: 20_000, head: HeadOptions::default() }
    }
}

/// Predictions for the training tracks by models that had not seen their group.
#[derive(Debug, Clone)]
pub struct OutOfFold {
    /// Row in the training set given, of each row here.
    pub rows: Vec<usize>,
    /// Their tracks.
    pub ids: Vec<TrackId>,
    /// What the columns are.
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

/// What held-out tracks say of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Held-out tracks.
    pub tracks: usize,
    /// Share of them whose best genre is one of their own: joined.
    pub accuracy: f64,
    /// The head alone.
    pub head_accuracy: f64,
    /// The vote alone.
    pub vote_accuracy: f64,
    /// Mean over genres of the share found.
    pub balanced_accuracy: f64,
    /// Expected calibration error of the joined probability, ten bins.
    pub calibration_error: f64,
    /// AUROC of novelty: tracks of genres left out of training against held-out tracks of known ones.
    pub novelty_auc: Option<f64>,
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
    pub(super) min_tracks: usize,
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
    /// Voters kept as evidence.
    pub voters: usize,
    /// Genres kept in each list of shares.
    pub genres: usize,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { precision: None, novelty: 0.99, voters: 10, genres: 10 }
    }
}

impl GenreModel {
    /// Chooses settings by validation on held-out groups, fits everything, joins and calibrates it.
    ///
    /// Deterministic for a seed, whatever the number of threads.
    pub fn fit(set: &TrainingSet, options: &FitOptions) -> Result<(Self, OutOfFold), GenreError> {
        let problem = sample_groups(&Problem::new(set)?, options.max_tracks, options.head.seed);
        let folds = options.folds.max(2);
        let settings = choose(&problem, options.min_tracks.max(2), folds, &options.head)?;
        Self::fit_with(&problem, &settings, folds, options)
    }

    fn fit_with(
        problem: &Problem,
        settings: &Settings,
        folds: usize,
        options: &FitOptions,
    ) -> Result<(Self, OutOfFold), GenreError> {
        let seed = options.head.seed;
        // another dealing of folds than the one choices were made on
        let (parts, covered) = held_out(problem, settings, &Splits::new(problem, folds, seed + 1))?;
        let strange = left_out_genres(problem, settings, seed)?;
        let known: Vec<[f32; 2]> = covered.iter().map(|&r| parts.novelty[r]).collect();
        let outside: Vec<[f32; 2]> = strange.iter().flat_map(|s| s.parts.novelty.iter().copied()).collect();
        let novelty = Novelty::fit(&known, &outside);
        let novelty_auc = (!outside.is_empty()).then(|| {
            let scores: Vec<f64> = known.iter().chain(&outside).map(|d| novelty.score(d)).collect();
            let labels: Vec<bool> = (0..scores.len()).map(|i| i >= known.len()).collect();
            crate::eval::metrics::auc(&scores, &labels).unwrap_or(f64::NAN)
        });

        let targets = problem.targets();
        let nobody = vec![None; problem.len()];
        let mut evidence = vec![Evidence { parts: &parts, targets: &targets, absent: &nobody, weight: 1.0 }];
        let total: usize = strange.iter().map(|s| s.parts.novelty.len()).sum();
        for s in &strange {
            evidence.push(Evidence {
                parts: &s.parts,
                targets: &s.targets,
                absent: &s.absent,
                weight: STRANGE_WEIGHT * s.parts.novelty.len() as f64 / total.max(1) as f64,
            });
        }
        let fusion = Fusion::fit(novelty, &evidence);
        let (fused, scores) = fusion.apply(&parts);
        let oof = OutOfFold {
            rows: problem.origin.clone(),
            ids: problem.ids.clone(),
            genres: problem.genres.clone(),
            classes: problem.classes.clone(),
            head: parts.head.mapv(f32::exp),
            vote: parts.shares.clone(),
            fused,
            novelty: scores,
        };
        let quality = Quality::of(&oof, &covered, novelty_auc);
        let model = Self {
            core: Core::fit(problem, settings)?,
            genres: problem.genres.clone(),
            ids: problem.ids.clone(),
            groups: problem.groups.clone(),
            fusion,
            precision: precision_steps(&oof, &covered),
            quality,
            digest: digest(problem),
            min_tracks: options.min_tracks,
        };
        Ok((model, oof))
    }

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

    /// Width of the vectors it takes.
    pub fn dimension(&self) -> usize {
        self.core.raw.ncols()
    }

    /// Tracks it was trained on.
    pub fn tracks(&self) -> usize {
        self.core.raw.nrows()
    }

    /// What held-out tracks say of it.
    pub fn quality(&self) -> &Quality {
        &self.quality
    }

    /// What validation chose.
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

    /// The risk–coverage curve on held-out tracks, from sure to unsure.
    pub fn precision_curve(&self) -> &[PrecisionStep] {
        &self.precision
    }

    /// The least probability at which answers are right as often as asked, on held-out tracks.
    ///
    /// Above 1 when no threshold reaches it.
    pub fn threshold(&self, precision: f32) -> f32 {
        self.precision.iter().rev().find(|s| s.precision >= precision).map_or(1.1, |s| s.threshold)
    }

    /// Answers for many tracks.
    pub fn predict(
        &self,
        queries: &Queries,
        options: &PredictOptions,
    ) -> Result<Vec<GenrePrediction>, GenreError> {
        queries.check(self.dimension())?;
        let parts = self.parts(queries)?;
        let (fused, scores) = self.fusion.apply(&parts);
        let threshold = options.precision.map_or(0.0, |p| self.threshold(p));
        Ok((0..queries.vectors.nrows())
            .into_par_iter()
            .map(|i| self.answer(queries, &parts, &fused, scores[i], threshold, i, options))
            .collect())
    }

    /// Joined, head's and vote's probabilities, `[queries, genres]` each, and novelty scores.
    pub fn probabilities(&self, queries: &Queries) -> Result<Probabilities, GenreError> {
        queries.check(self.dimension())?;
        let parts = self.parts(queries)?;
        let (fused, novelty) = self.fusion.apply(&parts);
        Ok(Probabilities { fused, head: parts.head.mapv(f32::exp), vote: parts.shares, novelty })
    }

    fn parts(&self, queries: &Queries) -> Result<Parts, GenreError> {
        let windows = queries.windows.map(|w| (w.vectors, w.owner));
        self.core.parts(queries.vectors, windows, |q, r| {
            let same_track = queries.ids.get(q).copied().flatten().is_some_and(|id| id == self.ids[r]);
            let same_group =
                queries.exclude_groups.get(q).copied().flatten().is_some_and(|g| g == self.groups[r]);
            !same_track
                && !same_group
                && !queries.same_recording.is_some_and(|least| self.cosine(queries, q, r) >= least)
        })
    }

    /// Cosine similarity of a query and a reference track, as they came; 0 where either is all zeros.
    fn cosine(&self, queries: &Queries, q: usize, r: usize) -> f32 {
        let (query, row) = (queries.vectors.row(q), self.core.raw.row(r));
        let lengths = (query.dot(&query) * row.dot(&row)).sqrt();
        if lengths > 0.0 { query.dot(&row) / lengths } else { 0.0 }
    }

    #[allow(clippy::too_many_arguments, reason = "one call, in the line above")]
    fn answer(
        &self,
        queries: &Queries,
        parts: &Parts,
        fused: &Array2<f32>,
        score: f64,
        threshold: f32,
        i: usize,
        options: &PredictOptions,
    ) -> GenrePrediction {
        let list = |row: ndarray::ArrayView1<f32>| self.ranked(row, options.genres);
        let first = |row: ndarray::ArrayView1<f32>| argmax(row);
        let best = first(fused.row(i));
        let probability = fused[[i, best]];
        let novelty = self.fusion.novelty.percentile(score) as f32;
        let unknown = if novelty > options.novelty {
            Some(UnknownReason::Novel)
        } else if probability < threshold {
            Some(UnknownReason::Unsure)
        } else {
            None
        };
        let agreement = if self.core.settings.head_classes.binary_search(&best).is_err() {
            Agreement::NoHead
        } else {
            match (first(parts.head.row(i)) == best, first(parts.shares.row(i)) == best) {
                (true, true) => Agreement::Both,
                (true, false) => Agreement::HeadOnly,
                (false, true) => Agreement::NeighboursOnly,
                (false, false) => Agreement::Neither,
            }
        };
        let temperature = self.core.settings.vote.temperature;
        let near = &parts.neighbours[i];
        let top = near.first().map_or(0.0, |n| n.similarity);
        let weights: Vec<f32> = near.iter().map(|n| ((n.similarity - top) / temperature).exp()).collect();
        let total: f32 = weights.iter().sum();
        let voters = near
            .iter()
            .zip(&weights)
            .take(options.voters)
            .map(|(n, w)| Voter {
                track: self.ids[n.row],
                genres: self.core.classes[n.row].iter().map(|&c| self.genres[c].clone()).collect(),
                similarity: self.cosine(queries, i, n.row),
                weight: w / total,
            })
            .collect();
        let head = if self.core.settings.head_classes.is_empty() {
            Vec::new()
        } else {
            list(parts.head.row(i).mapv(f32::exp).view())
        };
        GenrePrediction {
            genre: unknown.is_none().then(|| self.genres[best].clone()),
            best: self.genres[best].clone(),
            probability,
            unknown,
            novelty,
            novelty_score: score as f32,
            confidence: Confidence::of(probability),
            agreement,
            probabilities: list(fused.row(i)),
            head,
            votes: Votes { shares: list(parts.shares.row(i)), voters },
        }
    }

    /// The largest shares, ties by genre; those of nothing left out.
    fn ranked(&self, row: ndarray::ArrayView1<f32>, most: usize) -> Vec<GenreShare> {
        let mut order: Vec<usize> = (0..row.len()).filter(|&c| row[c] > 0.0).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
        order.truncate(most);
        order.iter().map(|&c| GenreShare { genre: self.genres[c].clone(), share: row[c] }).collect()
    }
}

/// Probabilities of many tracks.
#[derive(Debug, Clone)]
pub struct Probabilities {
    /// Joined, `[queries, genres]`; rows sum to 1.
    pub fused: Array2<f32>,
    /// The head's.
    pub head: Array2<f32>,
    /// The vote's.
    pub vote: Array2<f32>,
    /// Novelty scores, larger is stranger.
    pub novelty: Vec<f64>,
}

/// Column of the largest value, the first of equals.
pub(crate) fn argmax(row: ndarray::ArrayView1<f32>) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Predicts each fold by a core fitted on the others. Rows that are in no fold's test part keep flat predictions.
fn held_out(
    problem: &Problem,
    settings: &Settings,
    splits: &Splits,
) -> Result<(Parts, Vec<usize>), GenreError> {
    let (n, k) = (problem.len(), problem.n_classes());
    let flat = (1.0 / k as f32).ln();
    let mut all = Parts {
        head: Array2::from_elem((n, k), flat),
        vote: Array2::from_elem((n, k), flat),
        shares: Array2::from_elem((n, k), 1.0 / k as f32),
        wide: Array2::from_elem((n, k), flat),
        novelty: vec![[0.0; 2]; n],
        neighbours: vec![Vec::new(); n],
    };
    let folds: Vec<Parts> = parallel::map(&splits.parts, |(train, test)| {
        let core = Core::fit(&problem.subset(train), settings)?;
        let asked = problem.subset(test);
        let windows = asked.windows.as_ref().map(|(w, owner)| (w.view(), owner.as_slice()));
        core.parts(asked.x.view(), windows, |_, _| true)
    })?;
    let mut covered = Vec::new();
    for ((_, test), parts) in splits.parts.iter().zip(folds) {
        for (i, &row) in test.iter().enumerate() {
            all.head.row_mut(row).assign(&parts.head.row(i));
            all.vote.row_mut(row).assign(&parts.vote.row(i));
            all.shares.row_mut(row).assign(&parts.shares.row(i));
            all.wide.row_mut(row).assign(&parts.wide.row(i));
            all.novelty[row] = parts.novelty[i];
            covered.push(row);
        }
    }
    covered.sort_unstable();
    Ok((all, covered))
}

/// Tracks of a genre that was left out of training, and where they should land: with the genre's kin.
struct LeftOut {
    parts: Parts,
    targets: Array2<f32>,
    absent: Vec<Option<usize>>,
}

/// Weight of tracks of left-out genres, all together, against all others.
const STRANGE_WEIGHT: f64 = 0.15;

/// Leaves each genre out in turn, as if nobody had ever labelled it.
///
/// The kin of a genre is what all its tracks' neighbours vote for together: single tracks should land there too.
fn left_out_genres(problem: &Problem, settings: &Settings, seed: u64) -> Result<Vec<LeftOut>, GenreError> {
    const ROWS: usize = 1500;
    const GENRES: usize = 12;
    if settings.head_classes.len() < 3 {
        return Ok(Vec::new());
    }
    let sample = sample_groups(problem, ROWS, seed);
    let counts = sample.counts();
    let mut genres: Vec<usize> = settings.head_classes.iter().copied().filter(|&c| counts[c] >= 5).collect();
    genres.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
    genres.truncate(GENRES);
    let left_out = parallel::map(&genres, |&genre| {
        let (inside, rest): (Vec<usize>, Vec<usize>) =
            (0..sample.len()).partition(|&i| sample.classes[i].contains(&genre));
        let asked: Vec<usize> = inside.into_iter().filter(|&i| sample.classes[i].len() == 1).collect();
        let mut settings = settings.clone();
        settings.head_classes.retain(|&c| c != genre);
        let left = sample.subset(&rest);
        let still = left.counts();
        settings.head_classes.retain(|&c| still[c] > 0);
        if asked.is_empty() || settings.head_classes.len() < 2 {
            return Ok(None);
        }
        let core = Core::fit(&left, &settings)?;
        let asked = sample.subset(&asked);
        let windows = asked.windows.as_ref().map(|(w, owner)| (w.view(), owner.as_slice()));
        // an artist of the genre may have tracks elsewhere
        let parts = core.parts(asked.x.view(), windows, |q, r| asked.groups[q] != left.groups[r])?;
        let mut kin = parts.wide.mapv(f32::exp).sum_axis(ndarray::Axis(0));
        kin[genre] = 0.0;
        kin.mapv_inplace(|v| v * v);
        kin /= kin.sum().max(1e-9);
        let m = asked.len();
        let targets = Array2::from_shape_fn((m, kin.len()), |(_, c)| kin[c]);
        Ok::<_, GenreError>(Some(LeftOut { parts, targets, absent: vec![Some(genre); m] }))
    })?;
    Ok(left_out.into_iter().flatten().collect())
}

impl Quality {
    fn of(oof: &OutOfFold, covered: &[usize], novelty_auc: Option<f64>) -> Self {
        let share = |p: &Array2<f32>| {
            let right = covered.iter().filter(|&&r| oof.classes[r].contains(&argmax(p.row(r)))).count();
            right as f64 / covered.len().max(1) as f64
        };
        let mut found = vec![(0usize, 0usize); oof.genres.len()];
        let mut sure = Vec::with_capacity(covered.len());
        for &r in covered {
            let best = argmax(oof.fused.row(r));
            let right = oof.classes[r].contains(&best);
            for &class in &oof.classes[r] {
                found[class].0 += usize::from(best == class);
                found[class].1 += 1;
            }
            sure.push((f64::from(oof.fused[[r, best]]), right));
        }
        let recalls: Vec<f64> = found.iter().filter(|f| f.1 > 0).map(|f| f.0 as f64 / f.1 as f64).collect();
        Self {
            tracks: covered.len(),
            accuracy: share(&oof.fused),
            head_accuracy: share(&oof.head),
            vote_accuracy: share(&oof.vote),
            balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
            calibration_error: crate::eval::metrics::expected_calibration_error(&sure, 10),
            novelty_auc,
        }
    }
}

/// At most 200 steps of precision against coverage, from the surest answer down.
fn precision_steps(oof: &OutOfFold, covered: &[usize]) -> Vec<PrecisionStep> {
    let mut answers: Vec<(f32, bool)> = covered
        .iter()
        .map(|&r| {
            let best = argmax(oof.fused.row(r));
            (oof.fused[[r, best]], oof.classes[r].contains(&best))
        })
        .collect();
    answers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let stride = answers.len().div_ceil(200).max(1);
    let mut right = 0;
    let mut steps = Vec::new();
    for (i, &(threshold, correct)) in answers.iter().enumerate() {
        right += usize::from(correct);
        if (i + 1) % stride == 0 || i + 1 == answers.len() {
            steps.push(PrecisionStep {
                threshold,
                precision: right as f32 / (i + 1) as f32,
                coverage: (i + 1) as f32 / answers.len() as f32,
            });
        }
    }
    steps
}

/// BLAKE3 over ids, labels and vectors in row order.
fn digest(problem: &Problem) -> String {
    let mut hasher = blake3::Hasher::new();
    for (i, id) in problem.ids.iter().enumerate() {
        hasher.update(&id.0.to_le_bytes());
        for &class in &problem.classes[i] {
            hasher.update(problem.genres[class].key().as_bytes());
            hasher.update(&[0]);
        }
        for v in problem.x.row(i) {
            hasher.update(&v.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
