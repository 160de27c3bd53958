//! Classifiers with a closed form: majority, Gaussian naive Bayes, linear discriminant
//! analysis.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{FittedClassifier, Tensors, Training, mean_absolute, softmax};

/// Predicts the shares of the classes in the training rows.
#[derive(Debug)]
pub struct Majority {
    shares: Vec<f32>,
}

impl Majority {
    /// Counts classes.
    pub fn fit(data: &Training) -> Self {
        Self {
            shares: priors(data).iter().map(|&share| share as f32).collect(),
        }
    }

    /// Reads a saved classifier; `None` if a tensor is missing or has another shape.
    pub fn load(from: &Tensors, classes: usize) -> Option<Self> {
        let shares = from.f32("majority.shares")?.to_vec();
        (shares.len() == classes).then_some(Self { shares })
    }
}

impl FittedClassifier for Majority {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        Array2::from_shape_fn((x.nrows(), self.shares.len()), |(_, class)| {
            self.shares[class]
        })
    }

    fn save(&self, out: &mut Tensors) {
        out.put_f32("majority.shares", self.shares.clone());
    }
}

/// Shares of the classes.
fn priors(data: &Training) -> Vec<f64> {
    let mut counts = vec![0.0; data.classes];
    data.class_of.iter().for_each(|&class| counts[class] += 1.0);
    counts
        .iter()
        .map(|count| count / data.class_of.len().max(1) as f64)
        .collect()
}

/// Rows of each class, in f64.
fn by_class(data: &Training) -> Vec<Array2<f64>> {
    (0..data.classes)
        .map(|class| {
            let rows: Vec<usize> = (0..data.class_of.len())
                .filter(|&i| data.class_of[i] == class)
                .collect();
            data.x.select(Axis(0), &rows).mapv(f64::from)
        })
        .collect()
}

fn mean_of(rows: &Array2<f64>) -> Array1<f64> {
    rows.sum_axis(Axis(0)) / rows.nrows().max(1) as f64
}

/// How naive Bayes is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BayesSettings {
    /// Share of the largest column's variance that is added to every variance.
    pub var_smoothing: f64,
}

impl Default for BayesSettings {
    fn default() -> Self {
        Self {
            var_smoothing: 1e-9,
        }
    }
}

/// Gaussian naive Bayes: columns are independent and normal within a class.
#[derive(Debug)]
pub struct Bayes {
    /// Mean and variance, `[classes, columns]` each.
    means: Array2<f64>,
    variances: Array2<f64>,
    shares: Vec<f64>,
}

impl Bayes {
    /// Means and variances of each class, as scikit-learn's `GaussianNB`.
    pub fn fit(data: &Training, settings: BayesSettings) -> Self {
        let all = data.x.mapv(f64::from);
        let largest = all
            .var_axis(Axis(0), 0.0)
            .fold(0.0, |most: f64, &v| most.max(v));
        // A variance of 0 would give infinite densities.
        let added = (settings.var_smoothing * largest).max(f64::MIN_POSITIVE);
        let mut means = Array2::zeros((data.classes, all.ncols()));
        let mut variances = Array2::ones((data.classes, all.ncols()));
        for (class, rows) in by_class(data)
            .iter()
            .enumerate()
            .filter(|(_, rows)| rows.nrows() > 0)
        {
            means.row_mut(class).assign(&mean_of(rows));
            variances
                .row_mut(class)
                .assign(&(rows.var_axis(Axis(0), 0.0) + added));
        }
        Self {
            means,
            variances,
            shares: priors(data),
        }
    }

    /// Reads a saved classifier; `None` if a tensor is missing or has another shape.
    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let means = from.matrix_f64("bayes.means")?;
        let variances = from.matrix_f64("bayes.variances")?;
        let shares = from.f64("bayes.shares")?.to_vec();
        let fits = means.dim() == (classes, columns) && variances.dim() == means.dim();
        let is_sound = shares.len() == classes && variances.iter().all(|v| *v > 0.0);
        (fits && is_sound).then_some(Self {
            means,
            variances,
            shares,
        })
    }
}

impl FittedClassifier for Bayes {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let logits = Array2::from_shape_fn((x.nrows(), self.shares.len()), |(row, class)| {
            // A class without rows has no mean.
            if self.shares[class] == 0.0 {
                return f64::NEG_INFINITY;
            }
            let columns = x.row(row).to_owned().into_iter().zip(self.means.row(class));
            let terms = columns
                .zip(self.variances.row(class))
                .map(|((x, mean), variance)| {
                    (std::f64::consts::TAU * variance).ln()
                        + (f64::from(x) - mean).powi(2) / variance
                });
            self.shares[class].ln() - 0.5 * terms.sum::<f64>()
        });
        softmax(logits.view())
    }

    fn save(&self, out: &mut Tensors) {
        out.put_matrix_f64("bayes.means", &self.means);
        out.put_matrix_f64("bayes.variances", &self.variances);
        out.put_f64("bayes.shares", self.shares.clone());
    }
}

/// Linear discriminant analysis: classes are normal with a common covariance, shrunk by the rule of
/// Ledoit and Wolf.
#[derive(Debug)]
pub struct Lda {
    /// `[classes, columns]` and `[classes]`
    weight: Array2<f64>,
    bias: Vec<f64>,
}

impl Lda {
    /// As scikit-learn's `LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")`.
    pub fn fit(data: &Training) -> Self {
        let shares = priors(data);
        let d = data.x.ncols();
        let mut covariance = Array2::<f64>::zeros((d, d));
        let mut means = Array2::<f64>::zeros((data.classes, d));
        for (class, rows) in by_class(data)
            .iter()
            .enumerate()
            .filter(|(_, rows)| rows.nrows() > 0)
        {
            means.row_mut(class).assign(&mean_of(rows));
            // Weighted by rows, so that a class of few rows has little effect on the common
            // covariance.
            covariance.scaled_add(shares[class], &shrunk_covariance(rows));
        }
        let mut solved = means.t().to_owned();
        solve(covariance, &mut solved);
        let weight = solved.t().to_owned();
        let bias = (0..data.classes)
            .map(|class| shares[class].ln() - 0.5 * means.row(class).dot(&weight.row(class)))
            // Finite, so that it can be saved; a class without rows is never predicted.
            .map(|bias: f64| bias.max(-1e300))
            .collect();
        Self { weight, bias }
    }

    /// Reads a saved classifier; `None` if a tensor is missing or has another shape.
    pub fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Self> {
        let weight = from.matrix_f64("lda.weight")?;
        let bias = from.f64("lda.bias")?.to_vec();
        (weight.dim() == (classes, columns) && bias.len() == classes)
            .then_some(Self { weight, bias })
    }

    /// `[n, classes]`
    pub fn logits(&self, x: ArrayView2<f32>) -> Array2<f64> {
        x.mapv(f64::from).dot(&self.weight.t()) + &Array1::from(self.bias.clone())
    }
}

impl FittedClassifier for Lda {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        softmax(self.logits(x).view())
    }

    fn importances(&self) -> Option<Vec<f64>> {
        Some(mean_absolute(&self.weight))
    }

    fn save(&self, out: &mut Tensors) {
        out.put_matrix_f64("lda.weight", &self.weight);
        out.put_f64("lda.bias", self.bias.clone());
    }
}

/// The covariance of rows, shrunk towards a multiple of the identity after standardising columns.
/// Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
/// 2004.
fn shrunk_covariance(rows: &Array2<f64>) -> Array2<f64> {
    let n = rows.nrows() as f64;
    let p = rows.ncols() as f64;
    let scale = rows
        .var_axis(Axis(0), 0.0)
        .mapv(|v| if v > 0.0 { v.sqrt() } else { 1.0 });
    let x = (rows - &mean_of(rows)) / &scale;
    let squares = x.mapv(|v| v * v);
    let mut covariance = x.t().dot(&x) / n;
    let trace = squares.sum() / n;
    let mu = trace / p;
    // Σ (x_i² · x_j²) over rows and pairs of columns is the sum of squared row norms.
    let fourth: f64 = squares.sum_axis(Axis(1)).mapv(|v| v * v).sum();
    let delta_sum: f64 = covariance.iter().map(|v| v * v).sum();
    let beta = (fourth / n - delta_sum) / (p * n);
    let delta = (delta_sum - 2.0 * mu * trace + p * mu * mu) / p;
    // With few rows the estimate may exceed its bound; a share above 1 has no meaning.
    let beta = beta.min(delta);
    let shrinkage = if beta == 0.0 || delta == 0.0 {
        0.0
    } else {
        beta / delta
    };
    covariance *= 1.0 - shrinkage;
    covariance
        .diag_mut()
        .iter_mut()
        .for_each(|v| *v += shrinkage * mu);
    for ((i, j), value) in covariance.indexed_iter_mut() {
        *value *= scale[i] * scale[j];
    }
    covariance
}

/// Solves `a x = b` for a symmetric `a` by Cholesky decomposition, after adding to the diagonal if
/// `a` is not positive definite.
pub(crate) fn solve(a: Array2<f64>, b: &mut Array2<f64>) {
    let n = a.nrows();
    let size = a.diag().iter().sum::<f64>().max(f64::MIN_POSITIVE) / n.max(1) as f64;
    let mut added = 0.0;
    let lower = loop {
        let mut lower = a.clone();
        lower.diag_mut().iter_mut().for_each(|v| *v += added);
        if factor(&mut lower, 1e-12 * size) {
            break lower;
        }
        // Multiplied by ten each time, so that a few rounds suffice.
        added = (added * 10.0).max(1e-9 * size);
    };
    for mut column in b.columns_mut() {
        for i in 0..n {
            let sum: f64 = (0..i).map(|k| lower[[i, k]] * column[k]).sum();
            column[i] = (column[i] - sum) / lower[[i, i]];
        }
        for i in (0..n).rev() {
            let sum: f64 = (i + 1..n).map(|k| lower[[k, i]] * column[k]).sum();
            column[i] = (column[i] - sum) / lower[[i, i]];
        }
    }
}

/// Cholesky's factor in the lower half; false if a pivot is below `least`.
fn factor(a: &mut Array2<f64>, least: f64) -> bool {
    let n = a.nrows();
    for j in 0..n {
        let left_part: Vec<f64> = a.row(j).iter().take(j).copied().collect();
        let pivot = a[[j, j]] - left_part.iter().map(|v| v * v).sum::<f64>();
        if pivot.is_nan() || pivot <= least {
            return false;
        }
        let root = pivot.sqrt();
        a[[j, j]] = root;
        for i in j + 1..n {
            let sum: f64 = a.row(i).iter().zip(&left_part).map(|(a, b)| a * b).sum();
            a[[i, j]] = (a[[i, j]] - sum) / root;
        }
    }
    true
}
