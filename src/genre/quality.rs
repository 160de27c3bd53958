//! Figures of a model on held-out tracks.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::OutOfFold;
use super::metrics::{self, argmax};

/// Figures of a model on held-out tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Held-out tracks.
    pub tracks: usize,
    /// Their groups (artists). As many as tracks if no artists are known; then copies of a recording
    /// on both sides of a fold make all these figures too good.
    pub groups: usize,
    /// Share of them whose best genre is among their labels, by head and vote together.
    pub accuracy: f64,
    /// The same for the head alone.
    pub head_accuracy: f64,
    /// The same for the vote alone.
    pub vote_accuracy: f64,
    /// Mean recall over genres.
    pub balanced_accuracy: f64,
    /// Expected calibration error of the probability, ten bins.
    pub calibration_error: f64,
}

impl Quality {
    /// Whether any group has two tracks.
    pub fn knows_groups(&self) -> bool {
        self.groups < self.tracks
    }

    /// - `groups`: of every row
    pub(super) fn of(oof: &OutOfFold, groups: &[usize]) -> Self {
        let n = oof.covered.len().max(1) as f64;
        let share = |is_right: &dyn Fn(usize) -> bool| {
            oof.covered.iter().filter(|&&row| is_right(row)).count() as f64 / n
        };
        let mut recalled = vec![(0usize, 0usize); oof.genres.len()];
        let mut sure = Vec::with_capacity(oof.covered.len());
        // Rows outside all test parts have flat predictions, which must not count.
        for &row in &oof.covered {
            let (best, probability, is_right) = oof.answer(row);
            for &class in &oof.classes[row] {
                recalled[class].0 += usize::from(best == class);
                recalled[class].1 += 1;
            }
            sure.push((f64::from(probability), is_right));
        }
        let recalls: Vec<f64> = recalled
            .iter()
            .filter(|(_, tracks)| *tracks > 0)
            .map(|(right, tracks)| *right as f64 / *tracks as f64)
            .collect();
        let groups: BTreeSet<usize> = oof.covered.iter().map(|&row| groups[row]).collect();
        Self {
            tracks: oof.covered.len(),
            groups: groups.len(),
            accuracy: share(&|row| oof.answer(row).2),
            head_accuracy: share(&|row| oof.classes[row].contains(&argmax(oof.head.row(row)))),
            vote_accuracy: share(&|row| oof.classes[row].contains(&argmax(oof.votes.row(row)))),
            balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
            calibration_error: metrics::expected_calibration_error(&sure, 10),
        }
    }
}

/// A step of the risk–coverage curve on held-out tracks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct PrecisionStep {
    /// Least probability.
    pub(super) threshold: f32,
    /// Precision of the predictions with at least this probability.
    pub(super) precision: f32,
    /// Their share of all predictions.
    pub(super) coverage: f32,
}

/// At most 200 steps of precision against coverage, from the most certain prediction down.
pub(super) fn precision_steps(oof: &OutOfFold) -> Vec<PrecisionStep> {
    let answer = |&row: &usize| {
        let (_, probability, is_right) = oof.answer(row);
        (probability, is_right)
    };
    let mut answers: Vec<(f32, bool)> = oof.covered.iter().map(answer).collect();
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

/// Lower end of Wilson's interval of one standard error around a share `p` of `n`.
pub(super) fn lower_bound(p: f64, n: f64) -> f64 {
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
