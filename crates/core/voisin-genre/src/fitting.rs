//! Fitting the whole: choices, held-out predictions, fusion, and what they say of its quality.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};

use super::{
    FitOptions, Fusion, FusionPart, GenreError, GenreModel, LabelledVectors, Near, Nesting,
    Novelty, OutOfFold, PrecisionStep, Quality, Settings,
    choose::{choose, sample_groups},
    data::Examples,
    fitted::{AnswerSources, Core},
    held_out::HeldOut,
    parallel,
};
use voisin_learn::Fold;
use voisin_learn::metrics::{self, argmax};

/// Tracks from which on three folds are as exact as five.
const MANY: usize = 4000;
impl GenreModel {
    /// Chooses settings by validation on held-out groups, fits everything, joins and calibrates it.
    ///
    /// Deterministic for a seed, whatever the number of threads. Above 4000 tracks there are at
    /// most three folds.
    pub fn fit(
        set: &LabelledVectors,
        options: &FitOptions,
    ) -> Result<(Self, OutOfFold), GenreError> {
        Self::fit_examples(Examples::new(set)?, options)
    }

    pub(super) fn fit_examples(
        examples: Examples,
        options: &FitOptions,
    ) -> Result<(Self, OutOfFold), GenreError> {
        let examples = sampled(examples, options);
        let Validated {
            settings,
            core,
            nesting,
            fusion,
            accuracies,
            mut voices,
            covered,
            divided,
            scores,
        } = Validated::of(&examples, options, true)?;
        let core = core.unwrap_or_else(|| Core::fit(examples.clone(), &settings));
        let held = HeldOut::new(
            examples.ids.clone(),
            examples.genres.clone(),
            [
                divided.clone(),
                voices.head.mapv(f32::exp),
                voices.whole.clone(),
            ],
            scores.iter().map(|score| *score as f32).collect(),
            std::mem::take(&mut voices.neighbours),
        );
        let oof = out_of_fold(&examples, &nesting, voices, divided, scores);
        let quality = Quality::of(&oof, &covered, &examples.groups, &accuracies);
        let model = Self {
            core,
            digest: digest(&examples),
            genres: examples.genres,
            ids: examples.ids,
            groups: examples.groups,
            fusion,
            precision: precision_steps(&oof, &covered),
            quality,
            nesting,
            held,
            min_tracks: options.min_tracks,
            refitted: false,
        };
        Ok((model, oof))
    }
}

impl OutOfFold {
    /// Predictions of [`GenreModel::fit`] for tracks by models that had not seen their group,
    /// without the model of all of them.
    pub(super) fn of(set: &LabelledVectors, options: &FitOptions) -> Result<Self, GenreError> {
        let examples = sampled(Examples::new(set)?, options);
        let Validated {
            nesting,
            voices,
            divided,
            scores,
            ..
        } = Validated::of(&examples, options, false)?;
        Ok(out_of_fold(&examples, &nesting, voices, divided, scores))
    }
}

fn sampled(examples: Examples, options: &FitOptions) -> Examples {
    let most = options.max_tracks;
    if examples.len() <= most {
        examples
    } else {
        sample_groups(&examples, most, options.seed)
    }
}

/// Choices, and what held-out tracks say of them.
struct Validated {
    settings: Settings,
    /// Fitted on all tracks.
    core: Option<Core>,
    nesting: Nesting,
    fusion: Fusion,
    /// Of the vote, and where there is a head of that and of both.
    accuracies: Vec<f64>,
    /// Of all tracks, by models that had not seen their group.
    voices: AnswerSources,
    /// Tracks that a fold answered for.
    covered: Vec<usize>,
    /// Joined, which a track's genres divide among them.
    divided: Array2<f32>,
    /// Novelty.
    scores: Vec<f64>,
}

impl Validated {
    /// - `with_whole`: fit all tracks too
    fn of(examples: &Examples, options: &FitOptions, with_whole: bool) -> Result<Self, GenreError> {
        let most = if examples.len() > MANY { 3 } else { usize::MAX };
        let folds = options.folds.clamp(2, most);
        let settings = choose(examples, options.min_tracks.max(2), folds, options.seed)?;
        // Another split than the one that choices were made on: these would look too good on their
        // own folds.
        let folds = examples.folds(folds, options.seed + 1);
        // the whole first, as it takes longest
        let whole = with_whole.then_some(None);
        let jobs: Vec<Option<&Fold>> = whole.into_iter().chain(folds.iter().map(Some)).collect();
        let done = parallel::map(&jobs, |job| {
            Ok::<_, GenreError>(match job {
                None => Done::Whole(Box::new(Core::fit(examples.clone(), &settings))),
                Some(fold) => {
                    let core = Core::fit(examples.subset(&fold.rest), &settings);
                    let held_out = examples.x.select(Axis(0), &fold.held);
                    Done::Fold(Box::new(core.voices(held_out.view(), |_, _| true)))
                }
            })
        })?;
        let mut core = None;
        let mut voices_of_folds = Vec::new();
        for result in done {
            match result {
                Done::Whole(whole) => core = Some(*whole),
                Done::Fold(voices) => voices_of_folds.push(*voices),
            }
        }
        let (voices, covered) = join_folds(examples, &folds, voices_of_folds);
        let known: Vec<[f32; 2]> = covered.iter().map(|&r| voices.novelty[r]).collect();
        let novelty = Novelty::fit(&known);
        let nesting = Nesting::new(examples.genres.clone(), &examples.classes);
        let targets = examples.targets();
        let mut parts = vec![FusionPart::Vote];
        if !settings.head_classes.is_empty() {
            parts.extend([FusionPart::Head, FusionPart::Fused]);
        }
        let mut tried: Vec<(Fusion, Vec<bool>)> = parts
            .into_iter()
            .map(|part| {
                let fusion = Fusion::fit(part, novelty.clone(), &voices, &targets, &covered);
                let (mut probabilities, _) = fusion.apply(&voices);
                nesting.undivide(&mut probabilities);
                let is_correct =
                    |&r: &usize| examples.classes[r].contains(&argmax(probabilities.row(r)));
                (fusion, covered.iter().map(is_correct).collect())
            })
            .collect();
        let hits: Vec<&[bool]> = tried.iter().map(|(_, correct)| &correct[..]).collect();
        let chosen = last_unless_worse(&hits);
        let share = |correct: &[bool]| {
            correct.iter().filter(|r| **r).count() as f64 / correct.len().max(1) as f64
        };
        let accuracies: Vec<f64> = hits.iter().map(|correct| share(correct)).collect();
        let (fusion, _) = tried.swap_remove(chosen);
        let (divided, scores) = fusion.apply(&voices);
        Ok(Self {
            settings,
            core,
            nesting,
            fusion,
            accuracies,
            voices,
            covered,
            divided,
            scores,
        })
    }
}

fn out_of_fold(
    examples: &Examples,
    nesting: &Nesting,
    voices: AnswerSources,
    mut fused: Array2<f32>,
    novelty: Vec<f64>,
) -> OutOfFold {
    let mut head = voices.head.mapv(f32::exp);
    [&mut fused, &mut head]
        .into_iter()
        .for_each(|p| nesting.undivide(p));
    OutOfFold {
        rows: examples.origin.clone(),
        ids: examples.ids.clone(),
        genres: examples.genres.clone(),
        classes: examples.classes.clone(),
        head,
        vote: voices.whole,
        fused,
        novelty,
    }
}

/// One of the independent fits.
enum Done {
    /// On all tracks: what is kept.
    Whole(Box<Core>),
    /// On all tracks but a fold's, which were then asked about.
    Fold(Box<AnswerSources>),
}

/// Puts the folds' predictions in the order of the tracks, and says which tracks they cover. Rows
/// that are in no fold's test part keep flat predictions.
fn join_folds(
    examples: &Examples,
    folds: &[Fold],
    voices_of_folds: Vec<AnswerSources>,
) -> (AnswerSources, Vec<usize>) {
    let n = examples.len();
    let k = examples.n_classes();
    let flat = (1.0 / k as f32).ln();
    let mut all = AnswerSources {
        head: Array2::from_elem((n, k), flat),
        vote: Array2::from_elem((n, k), flat),
        shares: Array2::from_elem((n, k), 1.0 / k as f32),
        whole: Array2::from_elem((n, k), 1.0 / k as f32),
        wide: Array2::from_elem((n, k), flat),
        novelty: vec![[0.0; 2]; n],
        neighbours: vec![Vec::new(); n],
    };
    let mut covered = Vec::new();
    for (fold, voices) in folds.iter().zip(voices_of_folds) {
        for (i, &row) in fold.held.iter().enumerate() {
            all.head.row_mut(row).assign(&voices.head.row(i));
            all.vote.row_mut(row).assign(&voices.vote.row(i));
            all.shares.row_mut(row).assign(&voices.shares.row(i));
            all.whole.row_mut(row).assign(&voices.whole.row(i));
            all.wide.row_mut(row).assign(&voices.wide.row(i));
            all.novelty[row] = voices.novelty[i];
            // Voters are rows of the fold's training part; the model counts rows of all tracks.
            let near = |near: &Near| Near {
                row: fold.rest[near.row],
                ..*near
            };
            all.neighbours[row] = voices.neighbours[i].iter().map(near).collect();
            covered.push(row);
        }
    }
    covered.sort_unstable();
    (all, covered)
}

impl Quality {
    /// Whether any two tracks are known to be by the same artist.
    pub fn knows_groups(&self) -> bool {
        self.groups < self.tracks
    }

    /// - `covered`: the rows that were held out; `groups`: of every row
    /// - `accuracies`: of the vote, and where there is a head of that and of both
    fn of(oof: &OutOfFold, covered: &[usize], groups: &[usize], accuracies: &[f64]) -> Self {
        let accuracy_of_part = |at: usize| {
            accuracies
                .get(at)
                .or(accuracies.first())
                .copied()
                .unwrap_or_default()
        };
        let mut hits = 0;
        let mut recalled = vec![(0usize, 0usize); oof.genres.len()];
        let mut sure = Vec::with_capacity(covered.len());
        // Rows that no fold held out have flat predictions, which say nothing of quality.
        for &r in covered {
            let best = argmax(oof.fused.row(r));
            let is_correct = oof.classes[r].contains(&best);
            hits += usize::from(is_correct);
            for &class in &oof.classes[r] {
                recalled[class].0 += usize::from(best == class);
                recalled[class].1 += 1;
            }
            sure.push((f64::from(oof.fused[[r, best]]), is_correct));
        }
        let recalls: Vec<f64> = recalled
            .iter()
            .filter(|f| f.1 > 0)
            .map(|f| f.0 as f64 / f.1 as f64)
            .collect();
        Self {
            tracks: covered.len(),
            groups: covered
                .iter()
                .map(|&r| groups[r])
                .collect::<BTreeSet<_>>()
                .len(),
            accuracy: hits as f64 / covered.len().max(1) as f64,
            vote_accuracy: accuracy_of_part(0),
            head_accuracy: accuracy_of_part(1),
            fused_accuracy: accuracy_of_part(2),
            balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
            calibration_error: metrics::expected_calibration_error(&sure, 10),
        }
    }
}

/// The last list, head and vote together, unless another is right clearly more often: beyond the 95 % point of the paired
/// test of McNemar (1947). Copies of a recording and albums on both sides of a fold flatter the vote, which finds them again,
/// so that a small lead of one part inside the training tracks says little of other music.
fn last_unless_worse(rights: &[&[bool]]) -> usize {
    let Some((together, parts)) = rights.split_last() else {
        return 0;
    };
    let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as f64;
    let lead = |part: &[bool]| {
        let more = only(part, together);
        let less = only(together, part);
        (more - less) / (more + less).sqrt().max(1.0)
    };
    let best = (0..parts.len()).max_by(|&a, &b| lead(parts[a]).total_cmp(&lead(parts[b])));
    best.filter(|&part| lead(parts[part]) > 1.96)
        .unwrap_or(parts.len())
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
    // At most 200 steps, however many tracks there are: the file keeps them.
    let stride = answers.len().div_ceil(200).max(1);
    let mut hits = 0;
    let mut steps = Vec::new();
    for (i, &(threshold, correct)) in answers.iter().enumerate() {
        hits += usize::from(correct);
        if (i + 1) % stride == 0 || i + 1 == answers.len() {
            steps.push(PrecisionStep {
                threshold,
                precision: hits as f32 / (i + 1) as f32,
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
            // A separator: without it, two names could run together into a third.
            hasher.update(&[0]);
        }
        for v in examples.x.row(i) {
            hasher.update(&v.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answer_unless_one_alone_is_clearly_better() {
        let right = |n: usize| -> Vec<bool> { (0..100).map(|i| i < n).collect() };
        let [low, near, far] = [right(76), right(79), right(90)];
        assert_eq!(
            last_unless_worse(&[&low, &near, &low]),
            2,
            "three tracks more may be chance"
        );
        assert_eq!(
            last_unless_worse(&[&low, &far, &low]),
            1,
            "fourteen more that nobody loses"
        );
        assert_eq!(last_unless_worse(&[&far, &low, &low]), 0);
        assert_eq!(
            last_unless_worse(&[&low]),
            0,
            "the vote alone, where there is no head"
        );
        // Four more, but each is right where the other is wrong.
        let first: Vec<bool> = (0..100).map(|i| i < 52).collect();
        let second: Vec<bool> = (0..100).map(|i| i >= 52).collect();
        assert_eq!(last_unless_worse(&[&first, &second]), 1);
        assert_eq!(last_unless_worse(&[]), 0);
    }
}
