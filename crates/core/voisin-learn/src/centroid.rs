//! Nearest-centroid classifier.

use ndarray::{Array2, ArrayView2};

use crate::metrics::argmax;

/// Means of classes.
#[derive(Debug, Clone)]
pub struct Centroid {
    /// `[classes, columns]`
    means: Array2<f32>,
    /// Whether a class had rows; one without is never predicted.
    known: Vec<bool>,
}

impl Centroid {
    /// - `x`: `[n, d]`, standardised; `class_of`: one class per row
    pub fn fit(x: ArrayView2<f32>, class_of: &[usize], classes: usize) -> Self {
        let mut means = Array2::<f32>::zeros((classes, x.ncols()));
        let mut counts = vec![0.0f32; classes];
        for (row, &class) in x.outer_iter().zip(class_of) {
            let mut sum = means.row_mut(class);
            sum += &row;
            counts[class] += 1.0;
        }
        for (mut mean, count) in means.outer_iter_mut().zip(&counts) {
            // A class without rows has a mean of zeros, which `known` excludes from predictions.
            mean /= count.max(1.0);
        }
        Self {
            means,
            known: counts.iter().map(|&count| count > 0.0).collect(),
        }
    }

    /// Minus the squared distance to each mean, `[n, classes]`; minus infinity for a class without
    /// rows.
    fn scores(&self, x: ArrayView2<f32>) -> Array2<f64> {
        Array2::from_shape_fn((x.nrows(), self.known.len()), |(row, class)| {
            if !self.known[class] {
                return f64::NEG_INFINITY;
            }
            -f64::from((&x.row(row) - &self.means.row(class)).mapv(|v| v * v).sum())
        })
    }

    /// The class of each row, the first of equally near ones.
    pub fn predict(&self, x: ArrayView2<f32>) -> Vec<usize> {
        self.scores(x).outer_iter().map(argmax).collect()
    }
}
