//! Multinomial logistic regression on standardised vectors: the trained head of genres, and an
//! algorithm of the laboratory.

use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::Standardiser;
use super::optimise::lbfgs;

const MOST_STEPS: usize = 500;
/// Rows per block, which fits into a core's cache.
const TOGETHER: usize = 512;

/// A fitted regression: vectors to logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    pub standard: Standardiser,
    /// `[classes, d]`, of standardised vectors.
    pub weight: Array2<f32>,
    /// `[classes]`
    pub bias: Array1<f32>,
}

impl Logistic {
    /// Fits at one penalty; see [`Regression::at`].
    ///
    /// - `x`: `[n, d]`; `targets`: `[n, classes]`, rows sum to 1
    pub fn fit(x: ArrayView2<f32>, targets: ArrayView2<f32>, penalty: f64) -> Self {
        Regression::new(x, targets).at(penalty, None)
    }

    /// The same for rows with one class each, and with scikit-learn's `C` in place of a
    /// penalty.
    pub fn of_classes(x: ArrayView2<f32>, class_of: &[usize], classes: usize, c: f64) -> Self {
        let mut targets = Array2::zeros((class_of.len(), classes));
        targets
            .outer_iter_mut()
            .zip(class_of)
            .for_each(|(mut row, &class)| row[class] = 1.0);
        Self::fit(x, targets.view(), 1.0 / c)
    }

    /// Logits, `[m, classes]`.
    pub fn logits(&self, x: ArrayView2<f32>) -> Array2<f32> {
        self.standard.apply(x).dot(&self.weight.t()) + &self.bias
    }

    /// Log probabilities, `[m, classes]`.
    pub fn log_probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut logits = self.logits(x);
        log_softmax(&mut logits);
        logits
    }
}

/// Rows of logits to log probabilities.
pub fn log_softmax(logits: &mut Array2<f32>) {
    for mut row in logits.outer_iter_mut() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = row.iter().map(|v| (v - max).exp()).sum::<f32>().ln() + max;
        row.mapv_inplace(|v| v - log_sum);
    }
}

/// Rows and targets, to be fitted with several penalties.
pub struct Regression<'a> {
    standard: Standardiser,
    /// Standardised rows, `[n, d]`.
    rows: Array2<f32>,
    targets: ArrayView2<'a, f32>,
}

impl<'a> Regression<'a> {
    /// - `x`: `[n, d]`; `targets`: `[n, classes]`, rows sum to 1
    pub fn new(x: ArrayView2<f32>, targets: ArrayView2<'a, f32>) -> Self {
        let (standard, rows) = Standardiser::fit(x);
        Self {
            standard,
            // Products of other layouts are rounded differently.
            rows: rows.as_standard_layout().into_owned(),
            targets,
        }
    }

    /// Minimises `Σ -ln p(target) + penalty · |W|² / 2` (biases are free) by L-BFGS, as
    /// scikit-learn does with `C = 1 / penalty`.
    ///
    /// - `start`: a fit of the same rows with another penalty to start from
    pub fn at(&self, penalty: f64, start: Option<&Logistic>) -> Logistic {
        let begin = start.map_or_else(
            || vec![0.0; self.numbers()],
            |start| {
                start
                    .weight
                    .iter()
                    .chain(&start.bias)
                    .map(|&v| f64::from(v))
                    .collect()
            },
        );
        self.fitted(&lbfgs(begin, MOST_STEPS, |values| {
            self.loss(penalty, values)
        }))
    }

    fn numbers(&self) -> usize {
        self.targets.ncols() * (self.rows.ncols() + 1)
    }

    fn parts(&self, values: &[f64]) -> (Array2<f32>, Array1<f32>) {
        let classes = self.targets.ncols();
        let d = self.rows.ncols();
        let narrow = |part: &[f64]| part.iter().map(|&w| w as f32).collect::<Vec<f32>>();
        let (weight, bias) = values.split_at(classes * d);
        let weight =
            Array2::from_shape_vec((classes, d), narrow(weight)).expect("classes × d values");
        (weight, Array1::from_vec(narrow(bias)))
    }

    fn fitted(&self, values: &[f64]) -> Logistic {
        let (weight, bias) = self.parts(values);
        Logistic {
            standard: self.standard.clone(),
            weight,
            bias,
        }
    }

    /// Mean loss with `penalty` for half the weights' squares, and its gradient. Divided by the
    /// number of rows, so that the tolerances of the minimiser fit.
    fn loss(&self, penalty: f64, values: &[f64]) -> (f64, Vec<f64>) {
        let n = self.rows.nrows().max(1) as f64;
        let (weight, bias) = self.parts(values);
        let mut loss = 0.0f64;
        let mut gradient = vec![0.0f64; values.len()];
        let (of_weights, of_biases) = gradient.split_at_mut(weight.len());
        let blocks = self
            .rows
            .axis_chunks_iter(Axis(0), TOGETHER)
            .zip(self.targets.axis_chunks_iter(Axis(0), TOGETHER));
        for (block, targets) in blocks {
            let mut slopes = block.dot(&weight.t()) + &bias;
            for (mut row, target) in slopes.outer_iter_mut().zip(targets.outer_iter()) {
                // Subtracted before the exponential, which would overflow for large logits.
                let most = row.iter().fold(f32::NEG_INFINITY, |m, &v| m.max(v));
                row -= most;
                let target_logit = row.dot(&target);
                row.mapv_inplace(f32::exp);
                let sum = row.sum();
                loss += f64::from(sum.ln() - target_logit);
                row /= sum;
                row -= &target;
                let sums = of_biases.iter_mut().zip(&row);
                sums.for_each(|(sum, &slope)| *sum += f64::from(slope));
            }
            let products = slopes.t().dot(&block);
            let sums = of_weights.iter_mut().zip(&products);
            sums.for_each(|(sum, &slope)| *sum += f64::from(slope));
        }
        let weights = &values[..weight.len()];
        // Biases are free: only the weights are penalised.
        let squares: f64 = weights.iter().map(|w| w * w).sum();
        gradient
            .iter_mut()
            .zip(weights)
            .for_each(|(g, w)| *g += penalty * w);
        gradient.iter_mut().for_each(|g| *g /= n);
        ((loss + 0.5 * penalty * squares) / n, gradient)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    /// Three overlapping clouds in six dimensions.
    fn clouds(n: usize, seed: u64) -> (Array2<f32>, Array2<f32>) {
        let mut random = StdRng::seed_from_u64(seed);
        let x = Array2::from_shape_fn((n, 6), |(i, j)| {
            let centre = if j % 3 == i % 3 { 1.0 } else { 0.0 };
            centre + (random.random::<f32>() - 0.5) * 3.0
        });
        (
            x,
            Array2::from_shape_fn((n, 3), |(i, c)| if i % 3 == c { 1.0 } else { 0.0 }),
        )
    }

    /// The objective in double precision, by its definition.
    fn objective(fit: &Logistic, x: &Array2<f32>, t: &Array2<f32>, penalty: f64) -> f64 {
        let p = fit.log_probabilities(x.view());
        let loss: f64 = -p
            .iter()
            .zip(t)
            .map(|(p, t)| f64::from(*p) * f64::from(*t))
            .sum::<f64>();
        loss + 0.5
            * penalty
            * fit
                .weight
                .iter()
                .map(|w| f64::from(*w).powi(2))
                .sum::<f64>()
    }

    #[test]
    fn no_point_near_the_minimum_is_lower() {
        let (x, mut t) = clouds(90, 1);
        // A track of two genres.
        t.row_mut(0).assign(&ndarray::arr1(&[0.5, 0.5, 0.0]));
        let regression = Regression::new(x.view(), t.view());
        for penalty in [0.5, 5.0, 50.0] {
            let fit = regression.at(penalty, None);
            let least = objective(&fit, &x, &t, penalty);
            for i in 0..fit.weight.len() + fit.bias.len() {
                for step in [-0.05, 0.05] {
                    let mut moved = fit.clone();
                    let mut all = moved.weight.iter_mut().chain(&mut moved.bias);
                    *all.nth(i).unwrap() += step;
                    assert!(
                        objective(&moved, &x, &t, penalty) > least,
                        "{penalty}: {i}, {step}"
                    );
                }
            }
            // From another start.
            let from = regression.at(penalty * 30.0, None);
            let again = regression.at(penalty, Some(&from));
            assert!((objective(&again, &x, &t, penalty) - least).abs() < 1e-3 * least);
        }
    }

    #[test]
    fn a_fit_does_not_depend_on_the_memory_layout() {
        // 32 columns, a multiple of the registers, in more rows than one block.
        let mut random = StdRng::seed_from_u64(4);
        let x = Array2::from_shape_fn((250, 32), |(i, j)| {
            random.random::<f32>() + if i % 3 == j % 3 { 0.4 } else { 0.0 }
        });
        let t = Array2::from_shape_fn((250, 3), |(i, c)| if i % 3 == c { 1.0 } else { 0.0 });
        let columns_first = x.t().to_owned();
        let fit = Logistic::fit(x.view(), t.view(), 3.0);
        assert_eq!(Logistic::fit(columns_first.t(), t.view(), 3.0), fit);
        let least = objective(&fit, &x, &t, 3.0);
        for column in 0..32 {
            for step in [-0.02, 0.02] {
                let mut moved = fit.clone();
                moved.weight[[1, column]] += step;
                assert!(objective(&moved, &x, &t, 3.0) > least, "{column}");
            }
        }
    }

    #[test]
    fn a_strong_penalty_evens_out_the_probabilities() {
        let (x, t) = clouds(300, 1);
        let (y, u) = clouds(150, 2);
        let correct = |fit: &Logistic| {
            let p = fit.log_probabilities(y.view());
            let best = |row: ndarray::ArrayView1<f32>| crate::metrics::argmax(row);
            p.outer_iter()
                .zip(u.outer_iter())
                .filter(|(p, u)| best(p.view()) == best(u.view()))
                .count()
        };
        let weak = Logistic::fit(x.view(), t.view(), 1.0);
        let strong = Logistic::fit(x.view(), t.view(), 1e4);
        assert!(correct(&weak) > 100, "{} of 150", correct(&weak));
        let surest = |fit: &Logistic| {
            fit.log_probabilities(y.view())
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, f32::max)
                .exp()
        };
        assert!(
            surest(&strong) < 0.4 && surest(&weak) > 0.8,
            "{} {}",
            surest(&strong),
            surest(&weak)
        );
    }
}
