//! Five folds by group over real labelled vectors.

use voisin_learn::grouped_folds;
use voisin_learn::metrics;

use super::data::{Taggrams, argmax};

/// Figures of cross-validation, means over several repeats.
#[derive(Debug)]
#[allow(dead_code, reason = "some of it is only printed, by Debug")]
pub(crate) struct CrossValidated {
    /// Accuracies: fused, of the head (a plain regression), of the vote.
    pub(crate) fused: f64,
    pub(crate) head: f64,
    pub(crate) vote: f64,
    /// Standard error, over tracks, of the difference between `fused` and `head`.
    pub(crate) error: f64,
    pub(crate) calibration_error: f64,
    /// The same of each repeat.
    each: Vec<f64>,
}

/// Five folds by group, repeated, with or without the groups of the training part.
pub(crate) fn cross_validated(data: &Taggrams, knows_groups: bool, repeats: u64) -> CrossValidated {
    let n = data.classes.len();
    let classes: Vec<Vec<usize>> = data.classes.iter().map(|c| vec![*c]).collect();
    let mut right = [0.0; 3];
    let mut gain = vec![0.0f64; n];
    let mut each = Vec::new();
    for seed in 0..repeats {
        let folds = grouped_folds(&classes, 10, &data.groups, 5, 100 + seed);
        let mut sure = Vec::new();
        for fold in 0..5 {
            let (train, test): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| folds[i] != fold);
            let trained = data.subset(&train);
            let trained = if knows_groups {
                trained
            } else {
                trained.ungrouped()
            };
            let held_out = data.subset(&test);
            let p = trained.fit().probabilities(&held_out.queries()).unwrap();
            for (i, (&row, &class)) in test.iter().zip(&held_out.classes).enumerate() {
                let is_right = [&p.fused, &p.head, &p.vote].map(|p| argmax(p.row(i)) == class);
                for (sum, is_right) in right.iter_mut().zip(is_right) {
                    *sum += f64::from(u8::from(is_right)) / (n as u64 * repeats) as f64;
                }
                gain[row] +=
                    f64::from(i8::from(is_right[0]) - i8::from(is_right[1])) / repeats as f64;
                sure.push((f64::from(p.fused[[i, argmax(p.fused.row(i))]]), is_right[0]));
            }
        }
        each.push(metrics::expected_calibration_error(&sure, 10));
    }
    let mean = gain.iter().sum::<f64>() / n as f64;
    let variance = gain.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n as f64;
    let [fused, head, vote] = right;
    let calibration_error = each.iter().sum::<f64>() / repeats as f64;
    CrossValidated {
        fused,
        head,
        vote,
        error: (variance / n as f64).sqrt(),
        calibration_error,
        each,
    }
}
