//! The trained head: logistic regression on the genres of enough tracks, its penalty chosen on
//! held-out groups.

use ndarray::{Array2, ArrayView2, Axis};

use super::{Fold, Logistic, Regression};
use super::{
    examples::{Examples, targets},
    parallel,
};

/// Most tracks for the choice of the penalty.
const SELECTION_ROWS: usize = 2000;
/// Penalties to try, strongest first.
const PENALTIES: [f64; 8] = [1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3];
/// Least log probability, so that the head cannot rule out a genre completely.
const LEAST_LOG: f32 = -12.0;

/// A fitted head.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) regression: Logistic,
    /// The classes of its columns, ascending.
    pub(super) classes: Vec<usize>,
}

/// How a head is fitted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HeadSettings {
    /// Weight of half the squared parameters relative to the sum of the tracks' losses (1 / `C` in
    /// scikit-learn).
    pub(super) penalty: f64,
    /// Its classes, ascending; empty: no head.
    pub(super) classes: Vec<usize>,
}

impl HeadSettings {
    /// Classes of enough tracks, and the penalty that held-out groups choose.
    ///
    /// - `least`: tracks of a class
    pub(super) fn choose(examples: &Examples, least: usize, folds: usize, seed: u64) -> Self {
        let counts = examples.counts();
        let classes: Vec<usize> = (0..examples.n_classes())
            .filter(|&class| counts[class] >= least.max(2))
            .collect();
        let sample = examples.clone().sampled(SELECTION_ROWS, seed);
        let folds = sample.folds(folds, seed);
        // With one class, or one fold, there is nothing to choose between.
        if classes.len() < 2 || folds.len() < 2 {
            return Self {
                penalty: PENALTIES[0],
                classes: Vec::new(),
            };
        }
        Self {
            penalty: choose_penalty(&sample, &folds, &classes),
            classes,
        }
    }
}

impl Head {
    /// Fits the rows with a class of the head; `None` without classes.
    pub(super) fn fit(
        examples: &Examples,
        rows: &[usize],
        settings: &HeadSettings,
    ) -> Option<Self> {
        if settings.classes.is_empty() {
            return None;
        }
        let (x, t) = head_rows(examples, rows, &settings.classes);
        Some(Self {
            regression: Logistic::fit(x.view(), t.view(), settings.penalty),
            classes: settings.classes.clone(),
        })
    }

    /// Log probabilities of the head's classes, `[m, head classes]`.
    pub(super) fn log_probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        self.regression
            .log_probabilities(x)
            .mapv(|p| p.max(LEAST_LOG))
    }
}

/// The log probability of every class: genres outside the head keep their share of the votes, the
/// others divide the rest.
///
/// - `head`: of the head's `classes`; `votes`: shares of all classes
pub(super) fn complete(head: &[f32], classes: &[usize], votes: &[f32]) -> Vec<f32> {
    let mut row: Vec<f32> = votes.iter().map(|share| share.ln()).collect();
    let known: f32 = classes.iter().map(|&class| votes[class]).sum();
    let small = votes.iter().sum::<f32>() - known;
    // The rest may be 0, of which there is no logarithm.
    let rest = (1.0 - small).max(1e-3).ln();
    for (&class, &p) in classes.iter().zip(head) {
        row[class] = p + rest;
    }
    row
}

/// The rows that have a class of the head, and their targets over those classes.
fn head_rows(
    examples: &Examples,
    rows: &[usize],
    head_classes: &[usize],
) -> (Array2<f32>, Array2<f32>) {
    let inside = |row: &usize| -> Vec<usize> {
        examples.classes[*row]
            .iter()
            .filter_map(|class| head_classes.binary_search(class).ok())
            .collect()
    };
    let (rows, known): (Vec<usize>, Vec<Vec<usize>>) = rows
        .iter()
        .map(|row| (*row, inside(row)))
        .filter(|(_, known)| !known.is_empty())
        .unzip();
    (
        examples.x.select(Axis(0), &rows),
        targets(&known, head_classes.len()),
    )
}

/// The strongest penalty whose held-out loss is within one standard error of the minimum.
///
/// Copies of a recording, or tracks of one artist without tags, on both sides of a fold make
/// held-out losses of weak penalties too low. Losses within a standard error are not significantly
/// different, and the strongest penalty is affected least (Breiman et al., "Classification and
/// Regression Trees", 1984, 3.4.3).
fn choose_penalty(examples: &Examples, folds: &[Fold], classes: &[usize]) -> f64 {
    let fold_losses: Vec<Vec<Vec<f64>>> = parallel::map(folds, |fold| {
        let (x, t) = head_rows(examples, &fold.train, classes);
        let (held, wanted) = head_rows(examples, &fold.test, classes);
        let regression = Regression::new(x.view(), t.view());
        let mut fit = None;
        // Strongest first, each fit starting from the previous one, since similar penalties have
        // similar minima.
        PENALTIES
            .map(|penalty| {
                let next = regression.at(penalty, fit.as_ref());
                let log = fit.insert(next).log_probabilities(held.view());
                let rows = log.outer_iter().zip(wanted.outer_iter());
                rows.map(|(p, t)| -f64::from(p.dot(&t))).collect()
            })
            .to_vec()
    });
    let losses: Vec<Vec<f64>> = (0..PENALTIES.len())
        .map(|i| {
            fold_losses
                .iter()
                .flat_map(|fold| &fold[i])
                .copied()
                .collect()
        })
        .collect();
    PENALTIES[strongest_within_error(&losses)]
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
    fn genres_outside_the_head_keep_their_votes() {
        let row = complete(&[0.75f32.ln(), 0.25f32.ln()], &[0, 2], &[0.5, 0.2, 0.3]);
        let found: Vec<f32> = row.iter().map(|v| v.exp()).collect();
        for (p, expected) in found.iter().zip([0.6, 0.2, 0.2]) {
            assert!((p - expected).abs() < 1e-6, "{found:?}");
        }
        let none = complete(&[], &[], &[0.5, 0.2, 0.3]);
        assert!((none[1].exp() - 0.2).abs() < 1e-6);
    }
}
