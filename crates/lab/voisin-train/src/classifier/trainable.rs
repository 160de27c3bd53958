//! The interface between networks and the training loop.

use crate::TrainError;
use crate::session::{BlockVisitor, NamedTensor};

/// A network in training that computes a logit for each class.
pub trait Trainable {
    /// Numbers of an example.
    fn cells(&self) -> usize;

    /// Classes.
    fn classes(&self) -> usize;

    /// Logits `[n][classes]` in training; stores the values that [`backward`](Self::backward)
    /// needs. Random numbers depend on the network's seed and `step` alone.
    fn forward(&mut self, x: &[f32], n: usize, step: u64) -> Result<Vec<f32>, TrainError>;

    /// Computes the gradients of the parameters from that of the last logits.
    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError>;

    /// Visits every block of parameters with its gradients, always in the same order.
    ///
    /// - `visit`: takes parameters, gradients, and which parameters decay
    fn each_block(&mut self, visit: &mut BlockVisitor<'_>);

    /// The current network, for prediction.
    fn finished(&self) -> Result<Box<dyn ClassPredictor>, TrainError>;

    /// The current network up to its inner layer: its outputs in place of logits are that layer's numbers.
    fn inner(&self) -> Result<Box<dyn ClassPredictor>, TrainError>;

    /// Every parameter and running statistic: name, shape, values.
    fn tensors(&self) -> Vec<NamedTensor>;

    /// Restores the values of every tensor.
    ///
    /// - `get`: returns the values of a tensor by name
    /// - returns: the tensor that does not fit
    fn restore(&mut self, get: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String>;
}

/// A finished network, which any number of threads may use.
pub trait ClassPredictor: Send + Sync {
    /// Numbers of an example.
    fn cells(&self) -> usize;

    /// Classes.
    fn classes(&self) -> usize;

    /// Logits `[n][classes]`.
    fn logits(&self, x: &[f32], n: usize) -> Result<Vec<f32>, TrainError>;
}
