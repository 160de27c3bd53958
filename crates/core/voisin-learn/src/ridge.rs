//! Ridge regression, evaluated on held-out groups.
//!
//! Not for: classes (`logistic`), or the origin of the data (`voisin-engine`).

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::grouped_folds;
use crate::simple::solve;
use voisin_base::random::Random;

/// Penalties to try, for standardised columns, relative to a sum over rows.
const PENALTIES: [f64; 9] = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4];
const FOLDS: usize = 5;
/// Sign flips of the paired test.
const FLIPS: usize = 4000;

/// A linear function of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    /// Weight of each column, including the standardisation.
    weights: Vec<f64>,
    intercept: f64,
}

/// Figures of a regression on held-out groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RidgeFigures {
    /// Number of rows.
    pub rows: usize,
    /// Number of groups.
    pub groups: usize,
    /// The penalty of the final fit.
    pub penalty: f64,
    /// Root mean squared error on held-out groups.
    pub error: f64,
    /// The same for the mean of the other groups as prediction.
    pub error_of_mean: f64,
    /// Rank correlation of held-out predictions with the truth.
    pub spearman: f64,
    /// Error that two of three held-out predictions do not exceed.
    pub two_thirds: f64,
    /// Error that nine of ten do not exceed.
    pub nine_tenths: f64,
    /// p-value of the improvement over the mean, by a sign-flip test over groups.
    pub p: f64,
}

/// A regression with its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct RidgeFit {
    /// Fitted on all rows and calibrated on held-out ones.
    pub ridge: Ridge,
    /// Measured on held-out groups.
    pub figures: RidgeFigures,
    /// The calibrated prediction of each row from other groups.
    pub held_out: Vec<f64>,
}

impl Ridge {
    /// The prediction for a row.
    pub fn predict(&self, row: impl IntoIterator<Item = f32>) -> f64 {
        let products = self.weights.iter().zip(row);
        self.intercept
            + products
                .map(|(weight, value)| weight * f64::from(value))
                .sum::<f64>()
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.weights.len()
    }

    /// Fits rows, once with each penalty.
    fn fit(x: ArrayView2<f32>, y: &[f64], rows: &[usize], penalties: &[f64]) -> Vec<Self> {
        let mut x = x.select(Axis(0), rows).mapv(f64::from);
        let count = rows.len() as f64;
        let means = x.sum_axis(Axis(0)) / count;
        x -= &means;
        let deviations = x
            .mapv(|value| value * value)
            .sum_axis(Axis(0))
            .mapv(|sum| (sum / count).sqrt())
            // A constant column has no weight.
            .mapv(|deviation| {
                if deviation > 1e-9 {
                    deviation
                } else {
                    f64::INFINITY
                }
            });
        x /= &deviations;
        let mean = rows.iter().map(|&row| y[row]).sum::<f64>() / count;
        let targets = rows.iter().map(|&row| y[row] - mean).collect();
        let targets = Array2::from_shape_vec((rows.len(), 1), targets).unwrap_or_default();
        // The smaller of the two equivalent systems.
        let is_dual = x.nrows() < x.ncols();
        let gram = if is_dual {
            x.dot(&x.t())
        } else {
            x.t().dot(&x)
        };
        let right = if is_dual {
            targets
        } else {
            x.t().dot(&targets)
        };
        let fit = |penalty: &f64| {
            let mut system = gram.clone();
            system.diag_mut().mapv_inplace(|value| value + penalty);
            let mut solution = right.clone();
            solve(system, &mut solution);
            let weights = if is_dual {
                x.t().dot(&solution)
            } else {
                solution
            };
            let weights: Vec<f64> = weights
                .iter()
                .zip(&deviations)
                .map(|(weight, deviation)| weight / deviation)
                .collect();
            let offset: f64 = weights.iter().zip(&means).map(|(w, m)| w * m).sum();
            Self {
                weights,
                intercept: mean - offset,
            }
        };
        penalties.iter().map(fit).collect()
    }
}

/// Fits a regression with nested cross-validation: folds keep groups together, the penalty is chosen within each fold, and
/// held-out predictions calibrate the fit and evaluate it against the mean. `None` for fewer than three groups.
///
/// - `x`: `[rows, columns]`; `y`: the target of each row; `groups`: the group of each row
pub fn learn_ridge(x: ArrayView2<f32>, y: &[f64], groups: &[usize], seed: u64) -> Option<RidgeFit> {
    let all: Vec<usize> = (0..y.len()).collect();
    let held = folds(groups, &all, seed);
    if held.len() < 3 {
        return None;
    }
    let mut raw = vec![0.0; y.len()];
    let mut means = vec![0.0; y.len()];
    for fold in &held {
        let rest: Vec<usize> = all
            .iter()
            .copied()
            .filter(|row| !fold.contains(row))
            .collect();
        let penalty = choose_penalty(x, y, groups, &rest, seed);
        let mean = rest.iter().map(|&row| y[row]).sum::<f64>() / rest.len() as f64;
        for ridge in Ridge::fit(x, y, &rest, &[penalty]) {
            for &row in fold {
                raw[row] = ridge.predict(x.row(row).iter().copied());
                means[row] = mean;
            }
        }
    }
    let (slope, offset) = line(&raw, y);
    let held_out: Vec<f64> = raw.iter().map(|value| offset + slope * value).collect();
    let penalty = choose_penalty(x, y, groups, &all, seed);
    let mut ridge = Ridge::fit(x, y, &all, &[penalty]).pop()?;
    ridge.weights.iter_mut().for_each(|weight| *weight *= slope);
    ridge.intercept = offset + slope * ridge.intercept;
    let squares =
        |found: &[f64]| -> Vec<f64> { found.iter().zip(y).map(|(a, b)| (a - b).powi(2)).collect() };
    // From raw predictions, since the calibration was fitted to these rows.
    let ours = squares(&raw);
    let of_mean = squares(&means);
    let root = |squares: &[f64]| (squares.iter().sum::<f64>() / squares.len() as f64).sqrt();
    let mut gains: BTreeMap<usize, f64> = BTreeMap::new();
    for (row, group) in groups.iter().enumerate() {
        *gains.entry(*group).or_default() += of_mean[row] - ours[row];
    }
    let mut off: Vec<f64> = squares(&held_out)
        .iter()
        .map(|square| square.sqrt())
        .collect();
    off.sort_by(f64::total_cmp);
    let quantile =
        |share: f64| off[((share * off.len() as f64).ceil() as usize).clamp(1, off.len()) - 1];
    let figures = RidgeFigures {
        rows: y.len(),
        groups: gains.len(),
        penalty,
        error: root(&ours),
        error_of_mean: root(&of_mean),
        spearman: spearman(&raw, y),
        two_thirds: quantile(2.0 / 3.0),
        nine_tenths: quantile(0.9),
        p: flipped(&gains.into_values().collect::<Vec<_>>(), seed),
    };
    Some(RidgeFit {
        ridge,
        figures,
        held_out,
    })
}

/// Rows of each fold, which keep groups together.
fn folds(groups: &[usize], rows: &[usize], seed: u64) -> Vec<Vec<usize>> {
    let of_rows: Vec<usize> = rows.iter().map(|&row| groups[row]).collect();
    // One class: folds of equal size.
    let fold_of = grouped_folds(&vec![vec![0]; rows.len()], 1, &of_rows, FOLDS, seed);
    let mut folds = vec![Vec::new(); FOLDS];
    for (row, fold) in rows.iter().zip(fold_of) {
        folds[fold].push(*row);
    }
    folds.retain(|fold| !fold.is_empty());
    folds
}

/// The penalty with the least squared error on held-out groups of these rows.
fn choose_penalty(
    x: ArrayView2<f32>,
    y: &[f64],
    groups: &[usize],
    rows: &[usize],
    seed: u64,
) -> f64 {
    let mut errors = [0.0; PENALTIES.len()];
    for fold in folds(groups, rows, seed) {
        let rest: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|row| !fold.contains(row))
            .collect();
        if rest.is_empty() {
            continue;
        }
        for (error, ridge) in errors.iter_mut().zip(Ridge::fit(x, y, &rest, &PENALTIES)) {
            let off = |&row: &usize| ridge.predict(x.row(row).iter().copied()) - y[row];
            *error += fold.iter().map(|row| off(row).powi(2)).sum::<f64>();
        }
    }
    let best = (0..PENALTIES.len()).min_by(|&a, &b| errors[a].total_cmp(&errors[b]));
    PENALTIES[best.unwrap_or_default()]
}

/// Slope (not negative) and offset of the least-squares line from `from` to `to`.
fn line(from: &[f64], to: &[f64]) -> (f64, f64) {
    let count = from.len() as f64;
    let mean_from = from.iter().sum::<f64>() / count;
    let mean_to = to.iter().sum::<f64>() / count;
    let mut products = 0.0;
    let mut squares = 0.0;
    for (a, b) in from.iter().zip(to) {
        products += (a - mean_from) * (b - mean_to);
        squares += (a - mean_from).powi(2);
    }
    let slope = (products / f64::max(squares, 1e-12)).max(0.0);
    (slope, mean_to - slope * mean_from)
}

/// Share of random sign flips for which the sum is at least as great.
fn flipped(gains: &[f64], seed: u64) -> f64 {
    let sum: f64 = gains.iter().sum();
    let mut random = Random::stream(seed, 1);
    let as_great = |_: &usize| {
        let flip = |gain: &f64| {
            if random.u64() & (1 << 40) == 0 {
                *gain
            } else {
                -gain
            }
        };
        gains.iter().map(flip).sum::<f64>() >= sum
    };
    let count = (0..FLIPS).filter(as_great).count();
    (count + 1) as f64 / (FLIPS + 1) as f64
}

/// Spearman's rank correlation; equal values share their mean rank. 0 if either is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let a = ranks(a);
    let b = ranks(b);
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| -> f64 {
        let products = x.iter().zip(y);
        products.map(|(x, y)| (x - middle) * (y - middle)).sum()
    };
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    if scale > 0.0 {
        sum(&a, &b) / scale
    } else {
        0.0
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&i, &j| values[i].total_cmp(&values[j]).is_eq()) {
        let rank = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of 12 columns by artists with four each and an offset of their own, and targets from two columns plus noise.
    fn rows(count: usize, signal: f64) -> (Array2<f32>, Vec<f64>, Vec<usize>) {
        let mut random = Random::new(5);
        let groups: Vec<usize> = (0..count).map(|row| row / 4).collect();
        let offsets: Vec<f64> = (0..count).map(|_| random.normal()).collect();
        let x = Array2::from_shape_fn((count, 12), |(row, column)| {
            let shared = if column > 5 {
                offsets[groups[row]]
            } else {
                0.0
            };
            (random.normal() + shared) as f32
        });
        let y = (0..count).map(|row| {
            let known = f64::from(x[[row, 0]]) - 0.5 * f64::from(x[[row, 7]]);
            50.0 + 10.0 * (signal * known + random.normal())
        });
        let y = y.collect();
        (x, y, groups)
    }

    #[test]
    fn a_signal_is_learned_with_the_expected_error() {
        let (x, y, groups) = rows(160, 2.0);
        let fit = learn_ridge(x.view(), &y, &groups, 1).unwrap();
        let figures = &fit.figures;
        assert!(figures.spearman > 0.85 && figures.p < 0.01, "{figures:?}");
        assert!((8.0..14.0).contains(&figures.error), "{figures:?}");
        assert!(figures.error_of_mean > 20.0, "{figures:?}");
        assert!(figures.two_thirds < figures.nine_tenths, "{figures:?}");
        assert_eq!((figures.rows, figures.groups), (160, 40));
        // Weights of about 20 and -10, and near zero for the others.
        let unit = |column: usize| (0..12).map(move |i| if i == column { 1.0 } else { 0.0 });
        let zero = fit.ridge.predict([0.0; 12]);
        assert!((fit.ridge.predict(unit(0)) - zero - 20.0).abs() < 3.0);
        assert!((fit.ridge.predict(unit(7)) - zero + 10.0).abs() < 3.0);
        assert!((fit.ridge.predict(unit(3)) - zero).abs() < 3.0);
        assert_eq!(fit.ridge.columns(), 12);
    }

    #[test]
    fn noise_does_not_beat_the_mean() {
        let (x, y, groups) = rows(160, 0.0);
        let figures = learn_ridge(x.view(), &y, &groups, 1).unwrap().figures;
        assert!(figures.p > 0.05, "{figures:?}");
        assert!(
            learn_ridge(x.view(), &y, &[0; 160], 1).is_none(),
            "one group"
        );
    }

    #[test]
    fn fewer_rows_than_columns_give_the_same_fit() {
        let (x, y, _) = rows(40, 2.0);
        let few: Vec<usize> = (0..10).collect();
        let dual = Ridge::fit(x.view(), &y, &few, &[3.0]).remove(0);
        // Repeated rows are more than columns and count twice.
        let twice: Vec<usize> = few.iter().chain(&few).copied().collect();
        let primal = Ridge::fit(x.view(), &y, &twice, &[6.0]).remove(0);
        for (a, b) in dual.weights.iter().zip(&primal.weights) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert!((dual.intercept - primal.intercept).abs() < 1e-6);
    }

    #[test]
    fn rank_correlation_shares_equal_ranks() {
        let a = [1.0, 2.0, 2.0, 4.0];
        assert_eq!(spearman(&a, &a), 1.0);
        // scipy.stats.spearmanr
        let found = spearman(&a, &[4.0, 1.0, 3.0, 2.0]);
        assert!((found + 0.632_455_532).abs() < 1e-6, "{found}");
        assert_eq!(spearman(&a, &[1.0; 4]), 0.0);
    }
}
