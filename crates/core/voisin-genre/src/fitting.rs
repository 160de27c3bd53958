//! Fits the genre model: validation, out-of-fold predictions, fusion, and quality.

use std::collections::BTreeSet;

use ndarray::{Array2, Axis};

use super::{
    FitOptions, Fusion, FusionPart, GenreError, GenreModel, LabelledVectors, Near, Novelty,
    OutOfFold, PrecisionStep, Quality, Settings,
    choose::{choose, sample_groups},
    data::Examples,
    fitted::{AnswerSources, Core},
    held_out::HeldOut,
    parallel,
};
use voisin_learn::Fold;
use voisin_learn::metrics::{self, argmax};

/// Tracks from which three folds are as accurate as five.
const MANY: usize = 4000;
impl GenreModel {
    /// Chooses settings by validation on held-out groups, fits the parts, combines and calibrates
    /// them. Deterministic for a seed, regardless of the number of threads. Above 4000 tracks there
    /// are at most three folds.
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
            fusion,
            accuracies,
            mut sources,
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
                sources.head.mapv(f32::exp),
                sources.whole.clone(),
            ],
            scores.iter().map(|score| *score as f32).collect(),
            std::mem::take(&mut sources.neighbours),
        );
        let oof = out_of_fold(&examples, sources, divided, scores);
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
            held,
            min_tracks: options.min_tracks,
        };
        Ok((model, oof))
    }
}

impl OutOfFold {
    /// The out-of-fold predictions of [`GenreModel::fit`], without fitting the model to all
    /// tracks.
    pub(super) fn of(set: &LabelledVectors, options: &FitOptions) -> Result<Self, GenreError> {
        let examples = sampled(Examples::new(set)?, options);
        let Validated {
            sources,
            divided,
            scores,
            ..
        } = Validated::of(&examples, options, false)?;
        Ok(out_of_fold(&examples, sources, divided, scores))
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

/// Chosen settings and out-of-fold predictions.
struct Validated {
    settings: Settings,
    /// Fitted on all tracks.
    core: Option<Core>,
    fusion: Fusion,
    /// Of the vote, and if there is a head, of the head and of both.
    accuracies: Vec<f64>,
    /// Out-of-fold predictions of all tracks.
    sources: AnswerSources,
    /// Tracks in the test part of a fold.
    covered: Vec<usize>,
    /// Combined probabilities, divided among a track's genres.
    divided: Array2<f32>,
    /// Novelty scores.
    scores: Vec<f64>,
}

impl Validated {
    /// - `with_whole`: also fit all tracks
    fn of(examples: &Examples, options: &FitOptions, with_whole: bool) -> Result<Self, GenreError> {
        let most = if examples.len() > MANY { 3 } else { usize::MAX };
        let folds = options.folds.clamp(2, most);
        let settings = choose(examples, options.min_tracks.max(2), folds, options.seed)?;
        // Another split than that of the validation, on whose folds the chosen settings would look
        // too good.
        let folds = examples.folds(folds, options.seed + 1);
        // The fit of all tracks first, since it takes longest.
        let whole = with_whole.then_some(None);
        let jobs: Vec<Option<&Fold>> = whole.into_iter().chain(folds.iter().map(Some)).collect();
        let done = parallel::map(&jobs, |job| {
            Ok::<_, GenreError>(match job {
                None => Done::Whole(Box::new(Core::fit(examples.clone(), &settings))),
                Some(fold) => {
                    let core = Core::fit(examples.subset(&fold.train), &settings);
                    let held_out = examples.x.select(Axis(0), &fold.test);
                    Done::Fold(Box::new(core.sources(held_out.view(), |_, _| true)))
                }
            })
        })?;
        let mut core = None;
        let mut sources_of_folds = Vec::new();
        for result in done {
            match result {
                Done::Whole(whole) => core = Some(*whole),
                Done::Fold(sources) => sources_of_folds.push(*sources),
            }
        }
        let (sources, covered) = join_folds(examples, &folds, sources_of_folds);
        let known: Vec<[f32; 2]> = covered.iter().map(|&r| sources.novelty[r]).collect();
        let novelty = Novelty::fit(&known);
        let targets = examples.targets();
        let mut parts = vec![FusionPart::Vote];
        if !settings.head_classes.is_empty() {
            parts.extend([FusionPart::Head, FusionPart::Fused]);
        }
        let mut tried: Vec<(Fusion, Vec<bool>)> = parts
            .into_iter()
            .map(|part| {
                let fusion = Fusion::fit(part, novelty.clone(), &sources, &targets, &covered);
                let (probabilities, _) = fusion.apply(&sources);
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
        let (divided, scores) = fusion.apply(&sources);
        Ok(Self {
            settings,
            core,
            fusion,
            accuracies,
            sources,
            covered,
            divided,
            scores,
        })
    }
}

fn out_of_fold(
    examples: &Examples,
    sources: AnswerSources,
    fused: Array2<f32>,
    novelty: Vec<f64>,
) -> OutOfFold {
    OutOfFold {
        rows: examples.origin.clone(),
        ids: examples.ids.clone(),
        genres: examples.genres.clone(),
        classes: examples.classes.clone(),
        head: sources.head.mapv(f32::exp),
        vote: sources.whole,
        fused,
        novelty,
    }
}

/// One of the independent fits.
enum Done {
    /// On all tracks.
    Whole(Box<Core>),
    /// On a fold's training part, with predictions for its test part.
    Fold(Box<AnswerSources>),
}

/// Joins the folds' predictions in the order of the tracks, and returns which tracks they cover. Rows
/// outside all test parts keep flat predictions.
fn join_folds(
    examples: &Examples,
    folds: &[Fold],
    sources_of_folds: Vec<AnswerSources>,
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
    for (fold, sources) in folds.iter().zip(sources_of_folds) {
        for (i, &row) in fold.test.iter().enumerate() {
            all.head.row_mut(row).assign(&sources.head.row(i));
            all.vote.row_mut(row).assign(&sources.vote.row(i));
            all.shares.row_mut(row).assign(&sources.shares.row(i));
            all.whole.row_mut(row).assign(&sources.whole.row(i));
            all.wide.row_mut(row).assign(&sources.wide.row(i));
            all.novelty[row] = sources.novelty[i];
            // Converts rows of the fold's training part to rows of all tracks.
            let near = |near: &Near| Near {
                row: fold.train[near.row],
                ..*near
            };
            all.neighbours[row] = sources.neighbours[i].iter().map(near).collect();
            covered.push(row);
        }
    }
    covered.sort_unstable();
    (all, covered)
}

impl Quality {
    /// Whether any group has two tracks.
    pub fn knows_groups(&self) -> bool {
        self.groups < self.tracks
    }

    /// - `covered`: the rows that were held out; `groups`: of every row
    /// - `accuracies`: of the vote, and if there is a head, of the head and of both
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
        // Rows outside all test parts have flat predictions, which must not count.
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

/// The last list, head and vote combined, unless another is right significantly more often, by the paired test of McNemar
/// (1947) at 95 %. Copies of a recording and albums on both sides of a fold favour the vote, so that a small lead on the
/// training tracks is no evidence for other music.
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

/// At most 200 steps of precision against coverage, from the most certain prediction down.
fn precision_steps(oof: &OutOfFold, covered: &[usize]) -> Vec<PrecisionStep> {
    let mut answers: Vec<(f32, bool)> = covered
        .iter()
        .map(|&r| {
            let best = argmax(oof.fused.row(r));
            (oof.fused[[r, best]], oof.classes[r].contains(&best))
        })
        .collect();
    answers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    // At most 200 steps, since they are saved in the file.
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
            // A separator, without which different lists of names could have the same digest.
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
    fn both_parts_are_used_unless_one_is_significantly_better() {
        let right = |n: usize| -> Vec<bool> { (0..100).map(|i| i < n).collect() };
        let [low, near, far] = [right(76), right(79), right(90)];
        assert_eq!(
            last_unless_worse(&[&low, &near, &low]),
            2,
            "three more may be chance"
        );
        assert_eq!(
            last_unless_worse(&[&low, &far, &low]),
            1,
            "fourteen more without a loss"
        );
        assert_eq!(last_unless_worse(&[&far, &low, &low]), 0);
        assert_eq!(
            last_unless_worse(&[&low]),
            0,
            "the vote alone without a head"
        );
        // Four more, but with gains and losses.
        let first: Vec<bool> = (0..100).map(|i| i < 52).collect();
        let second: Vec<bool> = (0..100).map(|i| i >= 52).collect();
        assert_eq!(last_unless_worse(&[&first, &second]), 1);
        assert_eq!(last_unless_worse(&[]), 0);
    }
}
