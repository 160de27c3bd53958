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

    /// Reads a saved classifier; `None` if a tensor is missing or has another shape.
    pub fn load(from: &super::Tensors, classes: usize, columns: usize) -> Option<Self> {
        let means = from.matrix("centroid.means")?;
        let known: Vec<bool> = from
            .u32("centroid.known")?
            .iter()
            .map(|&known| known != 0)
            .collect();
        (means.dim() == (classes, columns) && known.len() == classes)
            .then_some(Self { means, known })
    }
}

impl super::FittedClassifier for Centroid {
    /// Softmax of minus half the mean square of the columns' distances.
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        // The mean over columns, so that the softmax is as sharp with many columns as with few.
        let scale = 0.5 / self.means.ncols().max(1) as f64;
        super::softmax(self.scores(x).mapv(|score| score * scale).view())
    }

    fn save(&self, out: &mut super::Tensors) {
        out.put_matrix("centroid.means", &self.means);
        out.put_u32(
            "centroid.known",
            self.known.iter().map(|&known| u32::from(known)).collect(),
        );
    }
}
