//! The interface of a network to the training loop.

use crate::TrainError;
use crate::session::{BlockVisitor, NamedTensor};

/// A network that gives a logit for each class of an example.
pub trait Trainable {
    /// Numbers of an example.
    fn cells(&self) -> usize;

    /// Classes.
    fn classes(&self) -> usize;

    /// Logits `[n][classes]` in training; keeps what [`backward`](Self::backward) needs. Whatever is drawn depends on the
    /// network's seed and `step` alone.
    fn forward(&mut self, x: &[f32], n: usize, step: u64) -> Result<Vec<f32>, TrainError>;

    /// From the gradient of the last logits to those of the parameters.
    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError>;

    /// Shows every block of parameters with its gradients, always in the same order.
    ///
    /// - `visit`: takes parameters, gradients, and the parameters that weight decay applies to
    fn each_block(&mut self, visit: &mut BlockVisitor<'_>);

    /// The network as it is now, to ask it.
    fn finished(&self) -> Result<Box<dyn ClassJudge>, TrainError>;

    /// Every parameter and running statistic: name, shape, values.
    fn tensors(&self) -> Vec<NamedTensor>;

    /// Takes over values of every tensor.
    ///
    /// - `get`: the values of a name
    /// - returns: what does not fit
    fn restore(&mut self, get: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String>;
}

/// A finished network; any number of threads may ask it.
pub trait ClassJudge: Send + Sync {
    /// Numbers of an example.
    fn cells(&self) -> usize;

    /// Classes.
    fn classes(&self) -> usize;

    /// Logits `[n][classes]`.
    fn logits(&self, x: &[f32], n: usize) -> Result<Vec<f32>, TrainError>;

    /// Numbers of the inner layer that is a space; 0: none.
    fn dimension(&self) -> usize {
        0
    }

    /// The outputs of that layer, `[n][dimension]`.
    fn embeddings(&self, x: &[f32], n: usize) -> Vec<f32> {
        let _ = (x, n);
        Vec::new()
    }
}
