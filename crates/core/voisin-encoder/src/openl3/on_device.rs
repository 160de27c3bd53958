//! Training OpenL3 in Candle, for GPUs. On a CPU [`OpenL3Train`] is many times as fast.

use std::collections::HashMap;

use candle_core::{DType, Tensor, Var};
use candle_nn::VarBuilder;

use super::train::{OpenL3Train, RUNNING};
use super::weights::OpenL3Weights;
use super::{FRAMES, MELS};
use crate::network::LARGEST_ON_GPU;
use crate::networks::ConvNet;
use crate::{Device, EncoderError};
use voisin_kernels::Isa;

/// An OpenL3-shaped network in training on a device of Candle's. Parameters, gradients and running statistics are those
/// of an [`OpenL3Train`], so that optimisers and checkpoints do not depend on the device.
#[derive(Debug)]
pub struct OpenL3TrainOnDevice {
    device: candle_core::Device,
    input: (usize, usize),
    channels: [usize; 9],
    host: OpenL3Train,
    /// In the order of the host's layout.
    vars: Vec<Var>,
    embeddings: Option<Tensor>,
}

impl OpenL3TrainOnDevice {
    /// A trainer that starts from `weights`, for windows of 128 × 199.
    pub fn new(weights: &OpenL3Weights, device: &Device) -> Self {
        Self::with_input(weights, MELS, FRAMES, device)
    }

    /// As [`OpenL3TrainOnDevice::new`] for windows of `mels` × `frames` (each at least 8).
    pub fn with_input(
        weights: &OpenL3Weights,
        mels: usize,
        frames: usize,
        device: &Device,
    ) -> Self {
        Self {
            device: device.candle().clone(),
            input: (mels, frames),
            channels: weights.channels(),
            // It computes nothing.
            host: OpenL3Train::new(weights, Isa::PORTABLE),
            vars: Vec::new(),
            embeddings: None,
        }
    }

    /// Parameters, gradients and statistics.
    pub fn host(&self) -> &OpenL3Train {
        &self.host
    }

    /// Parameters, gradients and statistics, for an optimiser.
    pub fn host_mut(&mut self) -> &mut OpenL3Train {
        &mut self.host
    }

    /// As [`OpenL3Train::forward`].
    ///
    /// # Panics
    /// If `mels` is shorter than stated, or `n` is 0.
    pub fn forward(&mut self, mels: &[f32], n: usize) -> Result<Vec<f32>, EncoderError> {
        let (h, w) = self.input;
        assert!(
            n > 0 && mels.len() >= n * h * w,
            "expected {n} windows of {h} × {w}, found {}",
            mels.len()
        );
        if self.device.is_cuda() {
            let most = (LARGEST_ON_GPU - 1) / (9 * h * w * self.channels[1]);
            if n > most {
                let error = format!("{n} windows at once: expected at most {most} on a GPU");
                return Err(candle_core::Error::Msg(error).into());
            }
        }
        let mut tensors = HashMap::new();
        // Rebuilt in every step, as the optimiser changes the parameters on the host.
        self.vars.clear();
        for parameter in self.host.layout() {
            let values = &self.host.parameters()[parameter.range.clone()];
            let var = Var::from_slice(values, parameter.shape.as_slice(), &self.device)?;
            tensors.insert(parameter.name.clone(), var.as_tensor().clone());
            self.vars.push(var);
        }
        for i in 0..8 {
            for (part, values) in RUNNING.into_iter().zip(self.host.running(i)) {
                let tensor = Tensor::from_slice(values, values.len(), &self.device)?;
                tensors.insert(format!("batch_normalization_{}.{part}", i + 1), tensor);
            }
        }
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &self.device);
        let network = ConvNet::openl3(&self.channels, &vb)?;
        let mels = Tensor::from_slice(&mels[..n * h * w], (n, 1, h, w), &self.device)?;
        let embeddings = network.forward_t(&mels, true)?;
        let values = embeddings.flatten_all()?.to_vec1()?;
        self.embeddings = Some(embeddings);
        for (i, norm) in network.norms().enumerate() {
            let mean = norm.running_mean().to_vec1()?;
            let variance = norm.running_var().to_vec1()?;
            self.host.set_running(i, mean, variance);
        }
        Ok(values)
    }

    /// As [`OpenL3Train::backward`]: gradients of the parameters, from those of the last embeddings.
    ///
    /// # Panics
    /// Without a [`forward`](Self::forward) before it.
    pub fn backward(&mut self, gradient: &[f32]) -> Result<(), EncoderError> {
        let embeddings = self
            .embeddings
            .take()
            .expect("forward comes before backward");
        let gradient = Tensor::from_slice(gradient, embeddings.dims(), &self.device)?;
        // Candle differentiates a scalar: the sum of these products has the given gradient at the
        // embeddings.
        let gradients = (embeddings * gradient)?.sum_all()?.backward()?;
        let layout = self.host.layout().to_vec();
        let all = self.host.gradients_mut();
        for (parameter, var) in layout.iter().zip(&self.vars) {
            // A bias before a batch norm has none: it is left out of the graph.
            match gradients.get(var) {
                Some(found) => all[parameter.range.clone()]
                    .copy_from_slice(&found.flatten_all()?.to_vec1::<f32>()?),
                None => all[parameter.range.clone()].fill(0.0),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceChoice;

    /// Largest difference over the largest magnitude.
    fn error(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
        let pairs = found.iter().zip(expected);
        pairs.fold(0f32, |most, (a, b)| most.max((a - b).abs())) / scale
    }

    fn compare(isa: Isa, [h, w, n]: [usize; 3], steps: usize) {
        let weights = OpenL3Weights::seeded(5, &[16, 32, 48, 16, 32, 48, 144, 64]);
        let wave =
            |i: usize| 40.0 * (i as f32 * 0.37 + (i as f32 * 0.011).sin() * 9.0).sin() - 40.0;
        let mels: Vec<f32> = (0..n * h * w).map(wave).collect();
        let mut fast = OpenL3Train::with_input(&weights, h, w, isa);
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let mut slow = OpenL3TrainOnDevice::with_input(&weights, h, w, &device);
        for step in 0..steps {
            let found = fast.forward(&mels, n);
            let off = error(&found, &slow.forward(&mels, n).unwrap());
            assert!(off < 1e-4, "{isa}: embeddings {off:e}");
            let d: Vec<f32> = (0..found.len())
                .map(|i| (i as f32 * 1.7 + step as f32).sin())
                .collect();
            fast.backward(&d);
            slow.backward(&d).unwrap();
            for parameter in fast.layout().to_vec() {
                let range = parameter.range.clone();
                let found = &fast.gradients()[range.clone()];
                let mut off = error(found, &slow.host().gradients()[range.clone()]);
                if parameter.name == "batch_normalization_1.weight" {
                    // The next batch norm cancels the input's scale, so this value is a difference of large terms
                    // and compared with its sibling's magnitude.
                    let pair = &slow.host().gradients()[range.start..range.start + 2];
                    off *= (pair[0] / pair[1]).abs().min(1.0);
                }
                // Later steps begin with parameters that differ in their last bits.
                let allowed = if step == 0 && parameter.decays {
                    1e-4
                } else {
                    2e-3
                };
                assert!(off < allowed, "{isa} {}: {off:e}", parameter.name);
            }
            for train in [&mut fast, slow.host_mut()] {
                let (parameters, gradients) = train.parameters_and_gradients();
                for (p, g) in parameters.iter_mut().zip(gradients) {
                    *p -= 1e-5 * g;
                }
            }
        }
        let found = fast.weights();
        let expected = slow.host().weights();
        for (found, expected) in found.norms.iter().zip(&expected.norms) {
            let mean = error(&found.running_mean, &expected.running_mean);
            let variance = error(&found.running_var, &expected.running_var);
            assert!(
                mean < 2e-3 && variance < 2e-3,
                "{isa}: {mean:e}, {variance:e}"
            );
        }
    }

    #[test]
    fn a_step_in_candle_is_that_of_the_fast_path() {
        for isa in Isa::available() {
            compare(isa, [24, 35, 3], 2);
            compare(isa, [16, 24, 2], 1);
            compare(isa, [17, 16, 4], 1);
        }
    }
}
