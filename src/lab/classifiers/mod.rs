//! Classical classifiers over rows of numbers: matrices in, probabilities out.
//!
//! Results do not depend on the number of threads, bit for bit. Each is saved as named [`Tensors`].

mod knn;
mod logistic;
mod majority;
mod platt;
mod preparation;
mod svm;
mod tensors;
mod trees;

pub use knn::{Knn, KnnSettings};
pub(crate) use logistic::load as load_logistic;
pub use majority::Majority;
pub use platt::{SvmProbabilities, SvmSettings, couple};
pub use preparation::Preparation;
pub use svm::Svm;
pub use tensors::Tensors;
pub use trees::{Boost, BoostSettings, Forest, ForestSettings};

use ndarray::{Array2, ArrayView2, Axis};

#[derive(Debug, Clone, Copy)]
pub struct Training<'a> {
    /// `[rows, columns]`, imputed and standardised.
    pub x: ArrayView2<'a, f32>,
    pub class_of: &'a [usize],
    pub classes: usize,
    /// A fold of each row that keeps groups together, for algorithms that need held-out
    /// rows.
    pub folds: &'a [usize],
    pub seed: u64,
}

impl Training<'_> {
    /// The rows of a list, in its order, with their classes.
    fn rows(&self, rows: &[usize]) -> (Array2<f32>, Vec<usize>) {
        (
            self.x.select(Axis(0), rows),
            rows.iter().map(|&row| self.class_of[row]).collect(),
        )
    }
}

pub trait FittedClassifier: Send + Sync {
    /// Probability of each class, `[rows, classes]`; rows sum to 1.
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32>;

    fn save(&self, out: &mut Tensors);
}

fn softmax(logits: ArrayView2<f64>) -> Array2<f32> {
    let mut out = Array2::zeros(logits.dim());
    for (row, mut out) in logits.outer_iter().zip(out.outer_iter_mut()) {
        // The largest is subtracted first, so that the exponential cannot overflow.
        let most = row.fold(f64::NEG_INFINITY, |most, &value| most.max(value));
        let sum: f64 = row.iter().map(|value| (value - most).exp()).sum();
        let pairs = out.iter_mut().zip(row);
        pairs.for_each(|(out, value)| *out = ((value - most).exp() / sum) as f32);
    }
    out
}
