//! Logistic regression as an algorithm of the laboratory.

use ndarray::{Array2, ArrayView2};
use voisin_genre::Logistic;

use super::{FittedClassifier, Tensors, softmax};

impl FittedClassifier for Logistic {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        softmax(self.logits(x).mapv(f64::from).view())
    }

    fn save(&self, out: &mut Tensors) {
        out.put_standardiser("logistic", &self.standard);
        out.put_matrix("logistic.weight", &self.weight);
        out.put("logistic.bias", self.bias.iter().copied());
    }
}

pub(crate) fn load(from: &Tensors, classes: usize, columns: usize) -> Option<Logistic> {
    let standard = from.standardiser("logistic", columns)?;
    let weight = from.matrix("logistic.weight")?;
    let bias = from.singles("logistic.bias")?;
    let fits = weight.dim() == (classes, columns) && bias.len() == classes;
    fits.then(|| Logistic {
        standard,
        weight,
        bias: bias.into(),
    })
}
