//! Choosing by validation: the vote's space and settings, the heads and how long they are fitted.

use ndarray::{Array2, Axis};

use super::{
    GenreError, Head, HeadOptions, MemberSettings, Near, Settings, Space, Transform, Unit, VoteSettings,
    data::Examples,
    folds::grouped_folds,
    head::HeldOut,
    member::{head_input, head_rows, log_softmax, mean_by_owner, member_data, windows_of},
    nearest::nearest,
    parallel,
    vote::{floored_log, vote_shares},
};
use crate::base::random::Random;

/// Tracks that choices are made on, at most.
const SELECTION_ROWS: usize = 2000;
/// Neighbours kept for the vote's grid.
const GRID_K: usize = 40;
const GRID_NEIGHBOURS: [usize; 4] = [5, 10, 20, 40];
const GRID_TEMPERATURES: [f32; 4] = [0.05, 0.1, 0.2, 0.4];
const GRID_PRIORS: [f32; 3] = [0.0, 0.5, 1.0];
/// Whitening tried after the transform is chosen.
const GRID_SHRINKAGE: [f32; 1] = [1.0];
const FIRST_SHRINKAGE: f32 = 0.3;
/// Steps past the best held-out loss after which a fit ends.
const PATIENCE: usize = 25;
/// A further head must lower the loss by this share.
const WORTH: f64 = 0.004;
const MEMBERS: usize = 5;
/// Heads on other transforms join if their loss is within this factor of the best.
const NEAR_BEST: f64 = 1.1;
/// Later steps are preferred while the loss is within this factor of the best.
const SETTLED: f64 = 1.05;

/// Rows of training and test of each fold.
pub(super) struct Splits {
    pub(super) parts: Vec<(Vec<usize>, Vec<usize>)>,
}

impl Splits {
    /// At most `k` folds; folds without rows, or without anything left to train on, are dropped.
    pub(super) fn new(examples: &Examples, k: usize, seed: u64) -> Self {
        let folds = grouped_folds(&examples.classes, examples.n_classes(), &examples.groups, k, seed);
        let parts = (0..k)
            .map(|fold| (0..examples.len()).partition::<Vec<usize>, _>(|&i| folds[i] != fold))
            .filter(|(train, test)| !train.is_empty() && !test.is_empty())
            .collect();
        Self { parts }
    }
}

/// Whole groups up to some number of tracks, in a seeded order.
pub(super) fn sample_groups(examples: &Examples, rows: usize, seed: u64) -> Examples {
    if examples.len() <= rows {
        return examples.clone();
    }
    let mut groups: Vec<usize> = examples.groups.clone();
    groups.sort_unstable();
    groups.dedup();
    Random::new(seed).shuffle(&mut groups);
    let place: std::collections::HashMap<usize, usize> =
        groups.iter().enumerate().map(|(i, g)| (*g, i)).collect();
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| place[&examples.groups[i]]);
    order.truncate(rows);
    order.sort_unstable();
    examples.subset(&order)
}

/// Chooses everything in [`Settings`] on held-out groups.
pub(super) fn choose(
    examples: &Examples,
    min_tracks: usize,
    folds: usize,
    base: &HeadOptions,
) -> Result<Settings, GenreError> {
    let counts = examples.counts();
    let mut head_classes: Vec<usize> =
        (0..examples.n_classes()).filter(|&c| counts[c] >= min_tracks).collect();
    if head_classes.len() < 2 {
        head_classes.clear();
    }
    let sample = sample_groups(examples, SELECTION_ROWS, base.seed);
    let splits = Splits::new(&sample, folds, base.seed);
    let transforms = Transform::candidates(sample.x.view());
    let vote = choose_vote(&sample, &splits, &transforms)?;
    let members = if head_classes.is_empty() || splits.parts.len() < 2 {
        Vec::new()
    } else {
        choose_heads(&sample, &splits, &transforms, &vote, &head_classes, base)?
    };
    // without heads there are no head classes either
    if members.is_empty() {
        head_classes.clear();
    }
    Ok(Settings { vote, members, head_classes })
}

fn choose_vote(
    examples: &Examples,
    splits: &Splits,
    transforms: &[Transform],
) -> Result<VoteSettings, GenreError> {
    let mut best: (f64, VoteSettings) = (
        f64::INFINITY,
        VoteSettings {
            transform: Transform::Identity,
            shrinkage: FIRST_SHRINKAGE,
            k: 10,
            temperature: 0.1,
            prior_correction: 0.5,
        },
    );
    let consider =
        |transform: Transform, shrinkage: f32, best: &mut (f64, VoteSettings)| -> Result<(), GenreError> {
            let (loss, vote) = grid_vote(examples, splits, transform, shrinkage)?;
            if loss < best.0 {
                *best = (loss, vote);
            }
            Ok(())
        };
    for &transform in transforms {
        consider(transform, FIRST_SHRINKAGE, &mut best)?;
    }
    for shrinkage in GRID_SHRINKAGE {
        let transform = best.1.transform;
        consider(transform, shrinkage, &mut best)?;
    }
    Ok(best.1)
}

/// The best of the grid in one space: its held-out loss and settings.
fn grid_vote(
    examples: &Examples,
    splits: &Splits,
    transform: Transform,
    shrinkage: f32,
) -> Result<(f64, VoteSettings), GenreError> {
    struct FoldVotes {
        lists: Vec<Vec<Near>>,
        classes: Vec<Vec<usize>>,
        priors: Vec<f32>,
        targets: Array2<f32>,
    }
    let targets = examples.targets();
    let folds: Vec<FoldVotes> = parallel::map(&splits.parts, |(train, test)| {
        let (x, t) = (examples.x.select(Axis(0), train), targets.select(Axis(0), train));
        let space = Space::fit(x.view(), t.view(), transform, shrinkage);
        let reference = space.apply(x.view());
        let queries = space.apply(examples.x.select(Axis(0), test).view());
        Ok::<_, GenreError>(FoldVotes {
            lists: nearest(queries.view(), reference.view(), GRID_K, |_, _| true),
            classes: train.iter().map(|&r| examples.classes[r].clone()).collect(),
            priors: t.sum_axis(Axis(0)).iter().map(|p| p.max(0.5) / train.len() as f32).collect(),
            targets: targets.select(Axis(0), test),
        })
    })?;
    let mut grid = Vec::new();
    for k in GRID_NEIGHBOURS {
        for temperature in GRID_TEMPERATURES {
            for prior_correction in GRID_PRIORS {
                grid.push(VoteSettings { transform, shrinkage, k, temperature, prior_correction });
            }
        }
    }
    let losses: Vec<f64> = parallel::map(&grid, |vote| {
        Ok::<_, GenreError>(
            folds
                .iter()
                .map(|fold| {
                    let log = floored_log(&vote_shares(&fold.lists, &fold.classes, &fold.priors, vote));
                    -log.iter().zip(&fold.targets).map(|(l, t)| f64::from(l * t)).sum::<f64>()
                })
                .sum(),
        )
    })?;
    let at = (0..grid.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap_or(0);
    Ok((losses[at], grid.swap_remove(at)))
}

/// A head tried on the folds.
struct Trial {
    settings: MemberSettings,
    /// Held-out loss after the best scaling of its log probabilities.
    loss: f64,
    /// Held-out log probabilities over the head's classes, rows in the order of `test_rows`.
    log: Array2<f32>,
}

fn choose_heads(
    examples: &Examples,
    splits: &Splits,
    transforms: &[Transform],
    vote: &VoteSettings,
    head_classes: &[usize],
    base: &HeadOptions,
) -> Result<Vec<MemberSettings>, GenreError> {
    let (known, _) = head_rows(&examples.classes, head_classes);
    let is_known: std::collections::HashSet<usize> = known.into_iter().collect();
    let splits = Splits {
        parts: splits
            .parts
            .iter()
            .map(|(train, test)| {
                (train.clone(), test.iter().copied().filter(|i| is_known.contains(i)).collect())
            })
            .filter(|(_, test): &(Vec<usize>, Vec<usize>)| !test.is_empty())
            .collect(),
    };
    let test_rows: Vec<usize> = splits.parts.iter().flat_map(|(_, test)| test.iter().copied()).collect();
    let test_classes: Vec<Vec<usize>> = test_rows.iter().map(|&r| examples.classes[r].clone()).collect();
    let (_, targets) = head_rows(&test_classes, head_classes);

    let mut trials: Vec<Trial> = Vec::new();
    let run = |unit, transform, hidden, l2, trials: &mut Vec<Trial>| -> Result<f64, GenreError> {
        let shrinkage = vote.shrinkage.max(0.1);
        let settings =
            MemberSettings { unit, transform, shrinkage, head: HeadOptions { hidden, l2, ..base.clone() } };
        let trial = try_head(examples, &splits, &settings, head_classes, &targets)?;
        trials.push(trial);
        Ok(trials[trials.len() - 1].loss)
    };
    let best_of = |trials: &[Trial]| -> (Transform, f64) {
        trials
            .iter()
            .min_by(|a, b| a.loss.total_cmp(&b.loss))
            .map_or((Transform::Identity, base.l2), |t| (t.settings.transform, t.settings.head.l2))
    };
    // the weight of the squares first, then every transform with it
    for l2 in [base.l2, base.l2 / 3.0, base.l2 * 3.0] {
        run(Unit::Track, vote.transform, None, l2, &mut trials)?;
    }
    let (_, l2) = best_of(&trials);
    for &transform in transforms.iter().filter(|t| **t != vote.transform) {
        run(Unit::Track, transform, None, l2, &mut trials)?;
    }
    let (transform, _) = best_of(&trials);
    run(Unit::Track, transform, Some(64), l2, &mut trials)?;
    if examples.windows.is_some() {
        run(Unit::Window, transform, None, l2, &mut trials)?;
    }

    // an average errs less than a choice: all transforms that are near the best, then whatever else still helps
    let best = trials.iter().map(|t| t.loss).fold(f64::INFINITY, f64::min);
    let mut chosen: Vec<usize> = (0..trials.len())
        .filter(|&i| {
            let h = &trials[i].settings;
            h.unit == Unit::Track
                && h.head.hidden.is_none()
                && h.head.l2 == l2
                && trials[i].loss < best * NEAR_BEST
        })
        .collect();
    let average = |members: &[usize]| {
        let mut mean = Array2::<f32>::zeros(targets.dim());
        members.iter().for_each(|&m| mean += &trials[m].log);
        scaled_loss(&(mean / members.len().max(1) as f32), &targets)
    };
    let mut loss = if chosen.is_empty() { f64::INFINITY } else { average(&chosen) };
    while chosen.len() < MEMBERS {
        let candidates = (0..trials.len()).filter(|i| !chosen.contains(i)).map(|i| {
            let mut with = chosen.clone();
            with.push(i);
            (average(&with), i)
        });
        let Some((l, at)) = candidates.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        if l > loss * (1.0 - WORTH) {
            break;
        }
        loss = l;
        chosen.push(at);
    }
    Ok(chosen.iter().map(|&i| trials[i].settings.clone()).collect())
}

/// Held-out log probabilities after each step, and their losses at all scales.
type History = Vec<(Array2<f32>, [f64; 8])>;

/// Fits one kind of head on every fold, watching the held-out loss; returns it at the best number of steps.
fn try_head(
    examples: &Examples,
    splits: &Splits,
    settings: &MemberSettings,
    head_classes: &[usize],
    targets: &Array2<f32>,
) -> Result<Trial, GenreError> {
    let histories: Vec<History> = parallel::map(&splits.parts, |(train, test)| {
        let classes: Vec<Vec<usize>> = train.iter().map(|&r| examples.classes[r].clone()).collect();
        let (inside, t) = head_rows(&classes, head_classes);
        let rows: Vec<usize> = inside.iter().map(|&i| train[i]).collect();
        let (x, t) = member_data(examples, settings.unit, &rows, &t);
        let space = Space::fit(x.view(), t.view(), settings.transform, settings.shrinkage);
        let input = head_input(&space, x.view());
        let test_classes: Vec<Vec<usize>> = test.iter().map(|&r| examples.classes[r].clone()).collect();
        let (_, test_targets) = head_rows(&test_classes, head_classes);
        let (held, owner) = match (&examples.windows, settings.unit) {
            (Some((windows, owner)), Unit::Window) => {
                let (kept, places) = windows_of(owner, test, examples.len());
                (head_input(&space, windows.select(Axis(0), &kept).view()), Some(places))
            }
            _ => (head_input(&space, examples.x.select(Axis(0), test).view()), None),
        };
        let mut history = History::new();
        let mut best = (f64::INFINITY, 0);
        let mut watch = |logits: Array2<f32>| {
            let mut log = match &owner {
                Some(owner) => mean_by_owner(&logits, owner, test.len()).0,
                None => logits,
            };
            log_softmax(&mut log);
            let losses = scaled_losses(&log, &test_targets);
            let loss = least(&losses);
            history.push((log, losses));
            if loss < best.0 {
                best = (loss, history.len());
            }
            history.len() < best.1 + PATIENCE
        };
        Head::fit(
            input.view(),
            t.view(),
            Some(HeldOut { x: held.view(), watch: &mut watch }),
            &settings.head,
        )?;
        Ok::<_, GenreError>(history)
    })?;

    let steps = histories.iter().map(Vec::len).max().unwrap_or(0);
    let at_step = |step: usize| -> Array2<f32> {
        let mut log = Array2::zeros(targets.dim());
        let mut row = 0;
        for ((_, test), history) in splits.parts.iter().zip(&histories) {
            if let Some((fold, _)) = history.get(step).or(history.last()) {
                log.slice_mut(ndarray::s![row..row + test.len(), ..]).assign(fold);
            }
            row += test.len();
        }
        log
    };
    let losses: Vec<f64> = (0..steps)
        .map(|step| {
            let mut sum = [0.0; 8];
            for (_, of_fold) in histories.iter().filter_map(|h| h.get(step).or(h.last())) {
                sum.iter_mut().zip(of_fold).for_each(|(sum, l)| *sum += l);
            }
            least(&sum) / targets.nrows().max(1) as f64
        })
        .collect();
    let (mut loss, mut best) = (f64::INFINITY, 0);
    for (step, &l) in losses.iter().enumerate() {
        if l < loss {
            (loss, best) = (l, step);
        }
    }
    // the last step that is about as good: a settled fit varies less from fold to fold than one cut short
    let best = (best..steps).rev().find(|&s| losses[s] <= loss * SETTLED).unwrap_or(best);
    let mut settings = settings.clone();
    settings.head.max_iterations = best + 1;
    Ok(Trial { settings, loss, log: at_step(best) })
}

/// Scales of log probabilities that are tried: calibration comes later, so it must not decide.
const SCALES: [f32; 8] = [0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0];

/// Total loss of log probabilities at each of [`SCALES`].
///
/// Every second scale is the double of another, so two exponentials a number give all eight sums.
fn scaled_losses(log: &Array2<f32>, targets: &Array2<f32>) -> [f64; 8] {
    let mut losses = [0.0f64; 8];
    for (row, target) in log.outer_iter().zip(targets.outer_iter()) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0f32; 8];
        let mut said = 0.0f32;
        for (v, t) in row.iter().zip(target) {
            let below = v - max;
            said += t * below;
            let mut powers = [(below * SCALES[0]).exp(), (below * SCALES[1]).exp()];
            for pair in sums.as_chunks_mut::<2>().0 {
                pair[0] += powers[0];
                pair[1] += powers[1];
                powers = [powers[0] * powers[0], powers[1] * powers[1]];
            }
        }
        for ((loss, sum), scale) in losses.iter_mut().zip(sums).zip(SCALES) {
            *loss += f64::from(sum.ln() - said * scale);
        }
    }
    losses
}

/// The least of the losses at all scales.
fn least(losses: &[f64; 8]) -> f64 {
    losses.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Mean loss after the best common scaling of log probabilities.
fn scaled_loss(log: &Array2<f32>, targets: &Array2<f32>) -> f64 {
    least(&scaled_losses(log, targets)) / log.nrows().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_at_all_scales_are_those_of_each() {
        let mut log = Array2::from_shape_fn((7, 4), |(i, j)| ((i * 5 + j * 3) % 11) as f32 * -0.7);
        log_softmax(&mut log);
        let targets = Array2::from_shape_fn((7, 4), |(i, j)| f32::from(u8::from(i % 4 == j)));
        for (loss, scale) in scaled_losses(&log, &targets).into_iter().zip(SCALES) {
            let mut scaled = &log * scale;
            log_softmax(&mut scaled);
            let plain: f64 = -scaled.iter().zip(&targets).map(|(l, t)| f64::from(l * t)).sum::<f64>();
            assert!((loss - plain).abs() < 1e-4, "{scale}: {loss} {plain}");
        }
    }
}
