//! The commonest class.

use ndarray::{Array2, ArrayView2};

use super::{FittedClassifier, Tensors, Training};

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
