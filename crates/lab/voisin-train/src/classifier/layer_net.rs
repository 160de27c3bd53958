//! A list of layers as a trainable network.

use super::{ClassPredictor, Trainable};
use crate::TrainError;
use crate::session::{BlockVisitor, NamedTensor};
use voisin_encoder::{Device, FinishedStack, FirstWeights, Stack, StackTrain};

/// A network of layers in training.
#[derive(Debug)]
pub struct LayerNet {
    net: StackTrain,
}

impl LayerNet {
    /// With random weights from a seed.
    pub fn new(stack: Stack, seed: u64, first: FirstWeights, device: Device) -> Self {
        Self {
            net: StackTrain::new(stack, seed, first, device),
        }
    }
}

impl Trainable for LayerNet {
    fn cells(&self) -> usize {
        self.net.stack().input().cells()
    }

    fn classes(&self) -> usize {
        self.net.stack().classes()
    }

    fn forward(&mut self, x: &[f32], n: usize, step: u64) -> Result<Vec<f32>, TrainError> {
        Ok(self.net.forward(x, n, step)?)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError> {
        Ok(self.net.backward(gradient)?)
    }

    fn each_block(&mut self, visit: &mut BlockVisitor<'_>) {
        for (parameters, gradients, decays) in self.net.blocks() {
            let decays = vec![decays; gradients.len()];
            visit(parameters, gradients, &decays);
        }
    }

    fn finished(&self) -> Result<Box<dyn ClassPredictor>, TrainError> {
        Ok(Box::new(self.net.finished()?))
    }

    fn inner(&self) -> Result<Box<dyn ClassPredictor>, TrainError> {
        Ok(Box::new(self.net.inner()?))
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        let tensors = self.net.tensors().iter();
        tensors
            .map(|one| (one.name.clone(), one.shape.clone(), one.values.clone()))
            .collect()
    }

    fn restore(&mut self, get: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        self.net
            .restore(get)
            .map_err(|name| format!("tensor \"{name}\" is missing or does not fit"))
    }
}

impl ClassPredictor for FinishedStack {
    fn cells(&self) -> usize {
        self.stack().input().cells()
    }

    fn classes(&self) -> usize {
        self.stack().classes()
    }

    fn logits(&self, x: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        Ok(self.evaluate(x, n)?)
    }
}
