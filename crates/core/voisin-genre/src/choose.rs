//! Chooses the space and the temperature of the vote and the penalty of the head by validation.

use ndarray::{Array2, Axis};

use super::{
    GenreError, LabelCount, Near, Settings, Space, Transform, VoteSettings,
    data::{Examples, priors, targets},
    nearest::nearest,
    parallel,
    vote::{VotePart, floored_log, vote_shares},
};
use voisin_base::random::Random;
use voisin_learn::{Fold, Regression, best_scale, log_softmax};

/// Most tracks for the validation.
const SELECTION_ROWS: usize = 2000;
/// Number of voters. Ten and forty give the same quality.
const NEIGHBOURS: usize = 20;
/// Exponent of the correction for the sizes of the genres.
const PRIOR_CORRECTION: f32 = 0.5;
/// Temperatures tried for the vote.
const TEMPERATURES: [f32; 3] = [0.05, 0.1, 0.2];
/// Spaces tried for the vote: whitened by the within-genre covariance, and not whitened.
const SHRINKAGES: [f32; 2] = [0.3, 1.0];
/// Penalties tried for the head, strongest first.
const PENALTIES: [f64; 8] = [1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3];

/// Whole groups up to some number of tracks, in a seeded order.
pub(super) fn sample_groups(examples: &Examples, rows: usize, seed: u64) -> Examples {
    if examples.len() <= rows {
        return examples.clone();
    }
    let mut groups: Vec<usize> = examples.groups.clone();
    groups.sort_unstable();
    groups.dedup();
    // Groups are drawn, so that an artist is in the sample with all tracks.
    Random::new(seed).shuffle(&mut groups);
    let place: std::collections::HashMap<usize, usize> =
        groups.iter().enumerate().map(|(i, g)| (*g, i)).collect();
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| place[&examples.groups[i]]);
    order.truncate(rows);
    order.sort_unstable();
    examples.subset(&order)
}

/// Rows that have a class of the head, and their targets over those classes.
pub(super) fn head_rows(
    classes: &[Vec<usize>],
    head_classes: &[usize],
) -> (Vec<usize>, Array2<f32>) {
    let inside = |row_classes: &Vec<usize>| -> Vec<usize> {
        row_classes
            .iter()
            .filter_map(|c| head_classes.binary_search(c).ok())
            .collect()
    };
    let (rows, known): (Vec<usize>, Vec<Vec<usize>>) = classes
        .iter()
        .map(inside)
        .enumerate()
        .filter(|(_, known)| !known.is_empty())
        .unzip();
    (rows, targets(&known, head_classes.len()))
}

/// Chooses everything in [`Settings`] on held-out groups.
pub(super) fn choose(
    examples: &Examples,
    min_tracks: usize,
    folds: usize,
    seed: u64,
) -> Result<Settings, GenreError> {
    let counts = examples.counts();
    let mut head_classes: Vec<usize> = (0..examples.n_classes())
        .filter(|&c| counts[c] >= min_tracks)
        .collect();
    let sample = sample_groups(examples, SELECTION_ROWS, seed);
    let folds = sample.folds(folds, seed);
    let vote = choose_vote(&sample, &folds)?;
    // With one class, or one fold, there is nothing to choose between.
    let (penalty, sharpness) = if head_classes.len() < 2 || folds.len() < 2 {
        head_classes.clear();
        (PENALTIES[0], 1.0)
    } else {
        choose_penalty(&sample, &folds, &head_classes)?
    };
    Ok(Settings {
        vote,
        penalty,
        sharpness,
        head_classes,
    })
}

/// The space and the temperature with the greatest likelihood of held-out tracks' genres by the
/// vote alone.
fn choose_vote(examples: &Examples, folds: &[Fold]) -> Result<VoteSettings, GenreError> {
    let transform = Transform::of(examples.x.view());
    let targets = examples.targets();
    let mut best: Option<(f64, VoteSettings)> = None;
    for shrinkage in SHRINKAGES {
        let settings = TEMPERATURES.map(|temperature| VoteSettings {
            transform,
            shrinkage,
            k: NEIGHBOURS,
            temperature,
            prior_correction: PRIOR_CORRECTION,
        });
        let fold_losses = parallel::map(folds, |Fold { train, test, .. }| {
            let x = examples.x.select(Axis(0), train);
            let t = targets.select(Axis(0), train);
            let space = Space::fit(x.view(), t.view(), transform, shrinkage);
            let reference = space.apply(x.view());
            let queries = space.apply(examples.x.select(Axis(0), test).view());
            let lists: Vec<Vec<Near>> =
                nearest(queries.view(), reference.view(), NEIGHBOURS, |_, _| true);
            let classes: Vec<Vec<usize>> =
                train.iter().map(|&r| examples.classes[r].clone()).collect();
            // Priors of the training part alone, since those of all tracks would include the test
            // part.
            let priors = priors(&classes, examples.n_classes());
            let wanted = targets.select(Axis(0), test);
            Ok::<_, GenreError>(settings.each_ref().map(|vote| {
                let log = floored_log(&vote_shares(
                    &lists,
                    &classes,
                    &priors,
                    vote,
                    VotePart::Divided,
                ));
                -log.iter()
                    .zip(&wanted)
                    .map(|(l, t)| f64::from(l * t))
                    .sum::<f64>()
            }))
        })?;
        for (i, vote) in settings.into_iter().enumerate() {
            let loss: f64 = fold_losses.iter().map(|losses| losses[i]).sum();
            // `<`, so that with equal losses the stronger whitening, which is first, is kept.
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, vote));
            }
        }
    }
    let labels = || LabelCount {
        tracks: examples.len(),
        genres: examples.n_classes(),
        well_known: 0,
    };
    best.map(|(_, vote)| vote)
        .ok_or_else(|| GenreError::TooFew(labels()))
}

/// The strongest penalty whose held-out loss is within one standard error of the minimum.
///
/// Copies of a recording, or tracks of one artist without tags, on both sides of a fold make
/// held-out losses of weak penalties too low. Losses within a standard error are not significantly
/// different, and the strongest penalty is affected least (Breiman et al., "Classification and
/// Regression Trees", 1984, 3.4.3).
///
/// Also returns the factor of the logits with the greatest likelihood of the held-out tracks, since
/// a strong penalty makes probabilities too even.
fn choose_penalty(
    examples: &Examples,
    folds: &[Fold],
    head_classes: &[usize],
) -> Result<(f64, f64), GenreError> {
    let fold_logs: Vec<(Vec<Array2<f32>>, Array2<f32>)> = parallel::map(folds, |fold| {
        let examples_of = |rows: &[usize]| {
            let classes: Vec<Vec<usize>> =
                rows.iter().map(|&r| examples.classes[r].clone()).collect();
            let (inside, t) = head_rows(&classes, head_classes);
            let rows: Vec<usize> = inside.iter().map(|&i| rows[i]).collect();
            (examples.x.select(Axis(0), &rows), t)
        };
        let (x, t) = examples_of(&fold.train);
        let (held, wanted) = examples_of(&fold.test);
        let regression = Regression::new(x.view(), t.view());
        let mut fit = None;
        let mut log = Vec::with_capacity(PENALTIES.len());
        // Strongest first, each fit starting from the previous one, since similar penalties have
        // similar minima.
        for penalty in PENALTIES {
            let next = regression.at(penalty, fit.as_ref());
            log.push(fit.insert(next).log_probabilities(held.view()));
        }
        Ok::<_, GenreError>((log, wanted))
    })?;
    let losses_of = |log: &Array2<f32>, wanted: &Array2<f32>| -> Vec<f64> {
        log.outer_iter()
            .zip(wanted.outer_iter())
            .map(|(p, t)| -f64::from(p.dot(&t)))
            .collect()
    };
    let losses: Vec<Vec<f64>> = (0..PENALTIES.len())
        .map(|i| {
            fold_logs
                .iter()
                .flat_map(|(log, wanted)| losses_of(&log[i], wanted))
                .collect()
        })
        .collect();
    let chosen = strongest_within_error(&losses);
    // After the penalty: a strong one makes probabilities too even, which the factor corrects.
    let sharpness = best_scale(|scale| {
        let loss = |(log, wanted): &(Vec<Array2<f32>>, Array2<f32>)| -> f64 {
            let mut scaled = &log[chosen] * scale as f32;
            log_softmax(&mut scaled);
            losses_of(&scaled, wanted).iter().sum()
        };
        fold_logs.iter().map(loss).sum()
    });
    Ok((PENALTIES[chosen], sharpness))
}

/// The first list whose mean is within one standard error of the least mean's.
fn strongest_within_error(losses: &[Vec<f64>]) -> usize {
    let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len().max(1) as f64;
    let means: Vec<f64> = losses.iter().map(|list| mean(list)).collect();
    let best = (0..means.len())
        .min_by(|&a, &b| means[a].total_cmp(&means[b]))
        .unwrap_or(0);
    let squares: Vec<f64> = losses[best]
        .iter()
        .map(|l| (l - means[best]).powi(2))
        .collect();
    let error = (mean(&squares) / squares.len().max(1) as f64).sqrt();
    means
        .iter()
        .position(|&m| m <= means[best] + error)
        .unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_within_an_error_of_the_best_is_chosen() {
        // means 1.3, 1.1, 1.0, 1.2; 100 losses spread by 1 have an error of 0.1
        let list = |mean: f64| {
            (0..100)
                .map(|i| mean + if i % 2 == 0 { 1.0 } else { -1.0 })
                .collect()
        };
        let losses: Vec<Vec<f64>> = [1.3, 1.0999, 1.0, 1.2].map(list).into();
        assert_eq!(strongest_within_error(&losses), 1);
        let sharp: Vec<Vec<f64>> = [1.3, 1.1, 1.0, 1.2].map(|mean| vec![mean; 100]).into();
        assert_eq!(strongest_within_error(&sharp), 2);
    }

    #[test]
    fn rows_without_a_class_of_the_head_are_left_out() {
        let (rows, t) = head_rows(&[vec![0], vec![1, 2], vec![1], vec![2]], &[0, 2]);
        assert_eq!(rows, [0, 1, 3]);
        assert_eq!(t, ndarray::array![[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]);
    }
}
