//! Logistic regression as an algorithm of the laboratory.

use ndarray::{Array2, ArrayView2, Axis};
use voisin_genre::Logistic;

use super::{FittedClassifier, Tensors, softmax};

impl FittedClassifier for Logistic {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        softmax(self.logits(x).mapv(f64::from).view())
    }

    /// Means over classes of the weights' absolute values, as shares.
    fn importances(&self) -> Option<Vec<f64>> {
        let sums = self
            .weight
            .mapv(|weight| f64::from(weight).abs())
            .sum_axis(Axis(0));
        let all = sums.sum().max(f64::MIN_POSITIVE);
        Some(sums.iter().map(|sum| sum / all).collect())
    }

    fn save(&self, out: &mut Tensors) {
        out.put_standardiser("logistic", &self.standard);
        out.put_matrix("logistic.weight", &self.weight);
        out.put_f32("logistic.bias", self.bias.to_vec());
    }
}

/// Reads a saved regression; `None` if a tensor is missing or has another shape.
pub(crate) fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Logistic> {
    let standard = from.standardiser("logistic", columns)?;
    let weight = from.matrix("logistic.weight")?;
    let bias = from.f32("logistic.bias")?.to_vec();
    let fits = weight.dim() == (classes, columns) && bias.len() == classes;
    fits.then(|| Logistic {
        standard,
        weight,
        bias: bias.into(),
    })
}
