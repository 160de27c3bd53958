//! The commonest class.

use ndarray::{Array2, ArrayView2};

use super::{FittedClassifier, Tensors, Training};

/// Predicts the shares of the classes in the training rows.
#[derive(Debug)]
pub struct Majority {
    shares: Vec<f32>,
}

impl Majority {
    pub fn fit(data: &Training) -> Self {
        let mut shares = vec![0.0; data.classes];
        for &class in data.class_of {
            shares[class] += 1.0 / data.class_of.len() as f32;
        }
        Self { shares }
    }

    pub fn load(from: &Tensors, classes: usize) -> Option<Self> {
        let shares = from.singles("majority.shares")?;
        (shares.len() == classes).then_some(Self { shares })
    }
}

impl FittedClassifier for Majority {
    fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let shape = (x.nrows(), self.shares.len());
        Array2::from_shape_fn(shape, |(_, class)| self.shares[class])
    }

    fn save(&self, out: &mut Tensors) {
        out.put("majority.shares", self.shares.iter().copied());
    }
}
