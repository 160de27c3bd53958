//! Training a network of layers by Candle's gradients.

use std::collections::HashMap;

use candle_core::{DType, Module as _, Tensor, Var};
use candle_nn::VarBuilder;

use super::forward::{self, CandleLayers, Observed, PassMode};
use super::list::{Stack, StackTensor};
use crate::{Device, EncoderError};

/// Share of a new batch in the running statistics.
const MOMENTUM: f32 = 0.1;

/// A network of layers in training; [`forward`](Self::forward) and [`backward`](Self::backward) compute gradients
/// of its parameters.
#[derive(Debug)]
pub struct StackTrain {
    stack: Stack,
    device: Device,
    seed: u64,
    tensors: Vec<StackTensor>,
    /// One per tensor; those of running statistics stay empty.
    gradients: Vec<Vec<f32>>,
    last: Option<LastPass>,
}

/// Inputs of the gradients of a pass.
#[derive(Debug)]
struct LastPass {
    /// Parameters, each with the number of its tensor.
    vars: Vec<(usize, Var)>,
    outputs: Tensor,
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>, EncoderError> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

impl StackTrain {
    pub fn new(stack: Stack, seed: u64, device: Device) -> Self {
        let tensors = stack.tensors(seed);
        let length = |one: &StackTensor| {
            if one.is_parameter() {
                one.values.len()
            } else {
                0
            }
        };
        let gradients = tensors.iter().map(|one| vec![0.0; length(one)]).collect();
        Self {
            stack,
            device,
            seed,
            tensors,
            gradients,
            last: None,
        }
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    pub fn tensors(&self) -> &[StackTensor] {
        &self.tensors
    }

    /// Sets the values of every tensor.
    ///
    /// - `get`: the values of a name
    /// - returns: the first name whose values are missing or of another length
    pub fn restore(&mut self, mut get: impl FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        for tensor in &mut self.tensors {
            match get(&tensor.name) {
                Some(values) if values.len() == tensor.values.len() => tensor.values = values,
                _ => return Err(tensor.name.clone()),
            }
        }
        Ok(())
    }

    /// Parameters to change, each with its gradient and whether it is a matrix or a kernel, which alone decay.
    pub fn blocks(&mut self) -> impl Iterator<Item = (&mut [f32], &[f32], bool)> {
        self.tensors
            .iter_mut()
            .zip(&self.gradients)
            .filter(|(tensor, _)| tensor.is_parameter())
            .map(|(tensor, gradient)| {
                let decays = tensor.shape.len() > 1;
                (tensor.values.as_mut_slice(), gradient.as_slice(), decays)
            })
    }

    /// Outputs `[n][classes]` in training: batch norms by the batch, which also moves their running statistics, and
    /// dropout by seed and step.
    ///
    /// - `x`: `n` examples
    pub fn forward(&mut self, x: &[f32], n: usize, step: u64) -> Result<Vec<f32>, EncoderError> {
        let device = self.device.candle();
        let mut vars = Vec::new();
        let mut named = HashMap::new();
        for (number, one) in self.tensors.iter().enumerate() {
            let var = Var::from_slice(&one.values, one.shape.as_slice(), device)?;
            named.insert(one.name.clone(), var.as_tensor().clone());
            if one.is_parameter() {
                vars.push((number, var));
            }
        }
        let vb = VarBuilder::from_tensors(named, DType::F32, device);
        let layers = CandleLayers::new(&self.stack, &vb)?;
        let input = forward::batch(x, n, &self.stack.input().axes(), device)?;
        let mut observed: Vec<Observed> = Vec::new();
        let pass = PassMode::Training {
            seed: self.seed,
            step,
        };
        let outputs = layers.forward_t(&input, pass, &mut observed)?;
        for seen in observed {
            self.observe(&seen);
        }
        let found = numbers(&outputs);
        self.last = Some(LastPass { vars, outputs });
        found
    }

    /// Gradients of the parameters, from those of the last outputs.
    ///
    /// # Panics
    /// Without a [`forward`](Self::forward) before it.
    pub fn backward(&mut self, gradient: &[f32]) -> Result<(), EncoderError> {
        let LastPass { vars, outputs } = self.last.take().expect("forward comes before backward");
        let gradient = Tensor::from_slice(gradient, outputs.dims(), self.device.candle())?;
        // Candle differentiates a scalar: the sum of these products has the given gradient at the outputs.
        let found = (outputs * gradient)?.sum_all()?.backward()?;
        for (number, var) in &vars {
            self.gradients[*number] = match found.get(var) {
                Some(found) => numbers(found)?,
                // The output does not depend on it.
                None => vec![0.0; var.elem_count()],
            };
        }
        Ok(())
    }

    pub fn finished(&self) -> Result<FinishedStack, EncoderError> {
        FinishedStack::new(self.stack.clone(), &self.tensors, self.device.clone())
    }

    /// The present network up to its [inner layer](Stack::inner), for inference: its outputs are that layer's.
    pub fn inner(&self) -> Result<FinishedStack, EncoderError> {
        let (layers, dimension) = self.stack.inner();
        let stack = Stack::new(&layers, self.stack.input(), dimension)?;
        FinishedStack::new(stack, &self.tensors, self.device.clone())
    }

    fn observe(&mut self, seen: &Observed) {
        // A batch's own variance is biased; the running one is not, as in PyTorch.
        let unbiased = seen.count as f32 / (seen.count as f32 - 1.0).max(1.0);
        for (name, values, factor) in [
            ("running_mean", &seen.mean, 1.0),
            ("running_var", &seen.variance, unbiased),
        ] {
            let name = format!("layers.{}.{name}", seen.layer);
            let running = self.tensors.iter_mut().find(|one| one.name == name);
            let running = running.map(|one| &mut one.values).into_iter().flatten();
            for (running, value) in running.zip(values) {
                *running += MOMENTUM * (factor * value - *running);
            }
        }
    }
}

#[derive(Debug)]
pub struct FinishedStack {
    stack: Stack,
    device: Device,
    layers: CandleLayers,
}

impl FinishedStack {
    fn new(stack: Stack, tensors: &[StackTensor], device: Device) -> Result<Self, EncoderError> {
        let named = tensors.iter().map(|one| {
            let shape = one.shape.as_slice();
            let tensor = Tensor::from_slice(&one.values, shape, device.candle())?;
            Ok((one.name.clone(), tensor))
        });
        let named = named.collect::<candle_core::Result<HashMap<_, _>>>()?;
        let vb = VarBuilder::from_tensors(named, DType::F32, device.candle());
        Ok(Self {
            layers: CandleLayers::new(&stack, &vb)?,
            stack,
            device,
        })
    }

    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Outputs `[n][classes]`: batch norms by their running statistics, no dropout.
    pub fn evaluate(&self, x: &[f32], n: usize) -> Result<Vec<f32>, EncoderError> {
        let input = forward::batch(x, n, &self.stack.input().axes(), self.device.candle())?;
        numbers(&self.layers.forward(&input)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::StackShape;
    use super::*;
    use crate::DeviceChoice;

    fn network(layers: &[&str], input: StackShape, classes: usize) -> StackTrain {
        let stack = Stack::new(layers, input, classes).unwrap();
        StackTrain::new(stack, 5, DeviceChoice::Cpu.resolve().unwrap())
    }

    #[test]
    fn dropout_is_of_seed_and_step_and_not_there_in_the_end() {
        let mut net = network(
            &["dropout 0.25", "flatten", "linear classes"],
            StackShape::Image(1, 40, 50),
            2,
        );
        let x = vec![1.0; 2 * 2000];
        let mut forward = |step: u64| net.forward(&x, 2, step).unwrap();
        let first = forward(1);
        assert_eq!(first, forward(1));
        assert_ne!(first, forward(2));
        assert_ne!(
            first[..2],
            first[2..],
            "examples of a batch are masked differently"
        );
        let finished = net.finished().unwrap();
        let [a, b] = [1, 2].map(|n| finished.evaluate(&x[..n * 2000], n).unwrap());
        // a product of one row and one of two may add in another order
        for (a, b) in a.iter().zip(&b[..2]).chain(b[..2].iter().zip(&b[2..])) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        // the mask keeps the mean: three quarters, each times four thirds
        net.restore(|name| {
            let n = if name.ends_with("weight") { 4000 } else { 2 };
            Some(vec![if n == 4000 { 1.0 / 2000.0 } else { 0.0 }; n])
        })
        .unwrap();
        let mean = net.forward(&x, 2, 3).unwrap()[0];
        assert!((mean - 1.0).abs() < 0.05 && mean != 1.0, "{mean}");
    }

    #[test]
    fn batch_norms_move_towards_what_they_see() {
        let layers = ["batch-norm", "gap", "linear classes"];
        let mut net = network(&layers, StackShape::Image(2, 3, 5), 2);
        let x: Vec<f32> = (0..60)
            .map(|i| (i / 15 % 2) as f32 * 10.0 + (i % 5) as f32)
            .collect();
        for step in 0..200 {
            net.forward(&x, 2, step).unwrap();
        }
        let near = |name: &str, expected: [f32; 2]| {
            let mut all = net.tensors().iter();
            let found = all.find(|one| one.name.ends_with(name)).unwrap();
            let mut pairs = found.values.iter().zip(expected);
            assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        };
        near("running_mean", [2.0, 12.0]);
        // Of 30 numbers, unbiased.
        near("running_var", [2.0 * 30.0 / 29.0; 2]);
    }
}
