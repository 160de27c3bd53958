//! Fitting the whole: choices, held-out predictions, genres left out, fusion, and what they say of its quality.

use ndarray::Array2;

use super::{
    FitOptions, Fusion, GenreError, GenreModel, LabelledVectors, Novelty, OutOfFold, PrecisionStep, Quality,
    Settings,
    choose::{Splits, choose, sample_groups},
    core::{Core, Voices},
    data::Examples,
    fusion::HeldOutVoices,
    parallel,
};
use crate::metrics::{self, argmax};

/// Tracks from which on three folds say as much as five.
const MANY: usize = 4000;
/// Weight of tracks of left-out genres, all together, against all others.
const STRANGE_WEIGHT: f64 = 0.15;
/// Tracks that genres are left out of, at most.
const STRANGE_ROWS: usize = 1500;
/// Genres left out in turn, at most: the largest.
const STRANGE_GENRES: usize = 12;

impl GenreModel {
    /// Chooses settings by validation on held-out groups, fits everything, joins and calibrates it.
    ///
    /// Deterministic for a seed, whatever the number of threads. Above 4000 tracks at most three folds are dealt.
    pub fn fit(set: &LabelledVectors, options: &FitOptions) -> Result<(Self, OutOfFold), GenreError> {
        let examples = sample_groups(&Examples::new(set)?, options.max_tracks, options.head.seed);
        let most = if examples.len() > MANY { 3 } else { usize::MAX };
        let folds = options.folds.clamp(2, most);
        let settings = choose(&examples, options.min_tracks.max(2), folds, &options.head)?;
        Self::fit_with(examples, &settings, folds, options)
    }

    fn fit_with(
        examples: Examples,
        settings: &Settings,
        folds: usize,
        options: &FitOptions,
    ) -> Result<(Self, OutOfFold), GenreError> {
        let seed = options.head.seed;
        // another dealing of folds than the one choices were made on
        let splits = Splits::new(&examples, folds, seed + 1);
        let sample = sample_groups(&examples, STRANGE_ROWS, seed);
        let strangers = strange_genres(&sample, settings);
        // the whole first, as it takes longest
        let jobs: Vec<Job> = std::iter::once(Job::Whole)
            .chain(splits.parts.iter().map(|(train, test)| Job::Fold(train, test)))
            .chain(strangers.into_iter().map(Job::LeftOut))
            .collect();
        let done = parallel::map(&jobs, |job| job.run(&examples, &sample, settings))?;
        let (mut core, mut of_folds, mut strange) = (None, Vec::new(), Vec::new());
        for result in done {
            match result {
                Done::Whole(whole) => core = Some(*whole),
                Done::Fold(voices) => of_folds.push(*voices),
                Done::LeftOut(left_out) => strange.extend(*left_out),
            }
        }
        let core = match core {
            Some(core) => core,
            None => Core::fit(&examples, settings)?,
        };
        let (voices, covered) = join_folds(&examples, &splits, of_folds);
        let known: Vec<[f32; 2]> = covered.iter().map(|&r| voices.novelty[r]).collect();
        let outside: Vec<[f32; 2]> = strange.iter().flat_map(|s| s.voices.novelty.iter().copied()).collect();
        let novelty = Novelty::fit(&known, &outside);
        let novelty_auc = (!outside.is_empty()).then(|| {
            let scores: Vec<f64> = known.iter().chain(&outside).map(|d| novelty.score(d)).collect();
            let labels: Vec<bool> = (0..scores.len()).map(|i| i >= known.len()).collect();
            metrics::auc(&scores, &labels).unwrap_or(f64::NAN)
        });
        let targets = examples.targets();
        let nobody = vec![None; examples.len()];
        let mut evidence =
            vec![HeldOutVoices { voices: &voices, targets: &targets, absent: &nobody, weight: 1.0 }];
        let total: usize = strange.iter().map(|s| s.voices.novelty.len()).sum();
        for s in &strange {
            evidence.push(HeldOutVoices {
                voices: &s.voices,
                targets: &s.targets,
                absent: &s.absent,
                weight: STRANGE_WEIGHT * s.voices.novelty.len() as f64 / total.max(1) as f64,
            });
        }
        let fusion = Fusion::fit(novelty, &evidence);
        let (fused, scores) = fusion.apply(&voices);
        let oof = OutOfFold {
            rows: examples.origin.clone(),
            ids: examples.ids.clone(),
            genres: examples.genres.clone(),
            classes: examples.classes.clone(),
            head: voices.head.mapv(f32::exp),
            vote: voices.shares.clone(),
            fused,
            novelty: scores,
        };
        let quality = Quality::of(&oof, &covered, novelty_auc);
        let model = Self {
            core,
            digest: digest(&examples),
            genres: examples.genres,
            ids: examples.ids,
            groups: examples.groups,
            fusion,
            precision: precision_steps(&oof, &covered),
            quality,
            min_tracks: options.min_tracks,
        };
        Ok((model, oof))
    }
}

/// One of the independent fits.
enum Job<'a> {
    /// On all tracks: what is kept.
    Whole,
    /// On all tracks but a fold's, which are then asked about.
    Fold(&'a [usize], &'a [usize]),
    /// Without a genre, whose tracks are then asked about.
    LeftOut(usize),
}

enum Done {
    Whole(Box<Core>),
    Fold(Box<Voices>),
    LeftOut(Box<Option<LeftOut>>),
}

impl Job<'_> {
    fn run(&self, examples: &Examples, sample: &Examples, settings: &Settings) -> Result<Done, GenreError> {
        Ok(match *self {
            Self::Whole => Done::Whole(Box::new(Core::fit(examples, settings)?)),
            Self::Fold(train, test) => {
                let core = Core::fit(&examples.subset(train), settings)?;
                let asked = examples.subset(test);
                let windows = asked.windows.as_ref().map(|(w, owner)| (w.view(), owner.as_slice()));
                Done::Fold(Box::new(core.voices(asked.x.view(), windows, |_, _| true)?))
            }
            Self::LeftOut(genre) => Done::LeftOut(Box::new(leave_out(sample, settings, genre)?)),
        })
    }
}

/// Puts the folds' predictions in the order of the tracks, and says which tracks they cover. Rows that are in no fold's
/// test part keep flat predictions.
fn join_folds(examples: &Examples, splits: &Splits, folds: Vec<Voices>) -> (Voices, Vec<usize>) {
    let (n, k) = (examples.len(), examples.n_classes());
    let flat = (1.0 / k as f32).ln();
    let mut all = Voices {
        head: Array2::from_elem((n, k), flat),
        vote: Array2::from_elem((n, k), flat),
        shares: Array2::from_elem((n, k), 1.0 / k as f32),
        wide: Array2::from_elem((n, k), flat),
        novelty: vec![[0.0; 2]; n],
        neighbours: vec![Vec::new(); n],
    };
    let mut covered = Vec::new();
    for ((_, test), voices) in splits.parts.iter().zip(folds) {
        for (i, &row) in test.iter().enumerate() {
            all.head.row_mut(row).assign(&voices.head.row(i));
            all.vote.row_mut(row).assign(&voices.vote.row(i));
            all.shares.row_mut(row).assign(&voices.shares.row(i));
            all.wide.row_mut(row).assign(&voices.wide.row(i));
            all.novelty[row] = voices.novelty[i];
            covered.push(row);
        }
    }
    covered.sort_unstable();
    (all, covered)
}

/// Tracks of a genre that was left out of training, and where they should land: with the genre's kin.
struct LeftOut {
    voices: Voices,
    targets: Array2<f32>,
    absent: Vec<Option<usize>>,
}

/// The genres to leave out in turn.
fn strange_genres(sample: &Examples, settings: &Settings) -> Vec<usize> {
    if settings.head_classes.len() < 3 {
        return Vec::new();
    }
    let counts = sample.counts();
    let mut genres: Vec<usize> = settings.head_classes.iter().copied().filter(|&c| counts[c] >= 5).collect();
    genres.sort_by_key(|&c| (std::cmp::Reverse(counts[c]), c));
    genres.truncate(STRANGE_GENRES);
    genres
}

/// Leaves a genre out, as if nobody had ever labelled it, and asks about its tracks.
///
/// The kin of a genre is what all its tracks' neighbours vote for together: single tracks should land there too.
fn leave_out(sample: &Examples, settings: &Settings, genre: usize) -> Result<Option<LeftOut>, GenreError> {
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
    let voices = core.voices(asked.x.view(), windows, |q, r| asked.groups[q] != left.groups[r])?;
    let mut kin = voices.wide.mapv(f32::exp).sum_axis(ndarray::Axis(0));
    kin[genre] = 0.0;
    kin.mapv_inplace(|v| v * v);
    kin /= kin.sum().max(1e-9);
    let m = asked.len();
    let targets = Array2::from_shape_fn((m, kin.len()), |(_, c)| kin[c]);
    Ok(Some(LeftOut { voices, targets, absent: vec![Some(genre); m] }))
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
            calibration_error: metrics::expected_calibration_error(&sure, 10),
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
fn digest(examples: &Examples) -> String {
    let mut hasher = blake3::Hasher::new();
    for (i, id) in examples.ids.iter().enumerate() {
        hasher.update(&id.0.to_le_bytes());
        for &class in &examples.classes[i] {
            hasher.update(examples.genres[class].key().as_bytes());
            hasher.update(&[0]);
        }
        for v in examples.x.row(i) {
            hasher.update(&v.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
