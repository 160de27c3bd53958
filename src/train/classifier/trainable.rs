//! What the loop needs of a network.

use std::collections::BTreeMap;
use std::path::Path;

use crate::encoder::Weights;
use crate::train::encoder::TrainError;

/// Takes a block's parameters, its gradients, and which of the parameters weight decay applies to.
pub type BlockVisitor<'a> = dyn FnMut(&mut [f32], &[f32], &[bool]) + 'a;

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
    fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)>;

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
}

/// The tensors of a file that a run wrote, all of finite numbers.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Vec<f32>>, TrainError> {
    /// In bytes.
    const LARGEST: u64 = 4 << 30;
    let bytes = crate::base::regular_file::read(path, LARGEST).map_err(TrainError::io(path))?;
    let weights = Weights::from_safetensors(&bytes, &path.display().to_string())?;
    let mut found = BTreeMap::new();
    for (name, tensor) in weights.iter() {
        if tensor.values.iter().any(|x| !x.is_finite()) {
            return Err(TrainError::checkpoint(path, format!("tensor \"{name}\" holds what is no number")));
        }
        found.insert(name.to_owned(), tensor.values.clone());
    }
    Ok(found)
}
