//! Training OpenL3 in Candle: what runs on a GPU. On a CPU [`OpenL3Train`] is many times as fast.

use candle_core::{D, DType, Tensor, Var};

use super::network::LARGEST_ON_GPU;
use super::{Device, EncoderError};
pub use voisin_kernels::conv::{
    BATCH_NORM_EPS, FRAMES, MELS, OpenL3Train, OpenL3Weights, is_pooled,
};
use voisin_kernels::{Isa, Precision};

/// An OpenL3-shaped network in training on a device of Candle's. Parameters, gradients and running statistics are those
/// of an [`OpenL3Train`], so that an optimiser and a checkpoint need not know where the step was computed.
#[derive(Debug)]
pub struct OpenL3TrainOnDevice {
    device: candle_core::Device,
    /// Of the factors of the convolutions; everything else is f32.
    factors: DType,
    input: (usize, usize),
    host: OpenL3Train,
    /// In the order of the host's layout.
    vars: Vec<Var>,
    embeddings: Option<Tensor>,
}

impl OpenL3TrainOnDevice {
    /// A trainer that starts from `weights`, for windows of 128 × 199.
    pub fn new(weights: &OpenL3Weights, device: &Device, precision: Precision) -> Self {
        Self::with_input(weights, MELS, FRAMES, device, precision)
    }

    /// As [`OpenL3TrainOnDevice::new`] for windows of `mels` × `frames` (each at least 8).
    ///
    /// - `precision`: of the convolutions' factors; with [`Precision::Bf16`] parameters, sums over the batch, batch
    ///   norm and gradients of parameters stay f32
    pub fn with_input(
        weights: &OpenL3Weights,
        mels: usize,
        frames: usize,
        device: &Device,
        precision: Precision,
    ) -> Self {
        let factors = match precision {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
        Self {
            device: device.candle().clone(),
            factors,
            input: (mels, frames),
            // It computes nothing.
            host: OpenL3Train::new(weights, Isa::PORTABLE, Precision::F32, Precision::F32),
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
            let filters = self.host.layout().iter().find(|parameter| parameter.decays);
            let most =
                (LARGEST_ON_GPU - 1) / (9 * h * w * filters.map_or(1, |filters| filters.shape[0]));
            if n > most {
                let error = format!("{n} windows at once: expected at most {most} on a GPU");
                return Err(candle_core::Error::Msg(error).into());
            }
        }
        self.vars.clear();
        for parameter in self.host.layout() {
            let values = &self.host.parameters()[parameter.range.clone()];
            self.vars.push(Var::from_slice(
                values,
                parameter.shape.as_slice(),
                &self.device,
            )?);
        }
        let x = Tensor::from_slice(&mels[..n * h * w], (n, 1, h, w), &self.device)?;
        let mut x = self.norm(0, &x)?;
        for i in 1..=8 {
            x = self.convolve(i, &x)?;
            if i < 8 {
                x = self.norm(i, &x)?.relu()?;
            }
            if is_pooled(i - 1) {
                x = halve(&x)?;
            }
        }
        let embeddings = x.flatten_from(2)?.max(D::Minus1)?;
        let values = embeddings.flatten_all()?.to_vec1()?;
        self.embeddings = Some(embeddings);
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
        let gradients = (embeddings * gradient)?.sum_all()?.backward()?;
        let layout = self.host.layout().to_vec();
        let all = self.host.gradients_mut();
        for (parameter, var) in layout.iter().zip(&self.vars) {
            // A bias before a batch norm has none: it is left out of the graph.
            match gradients.get(var) {
                Some(found) => all[parameter.range.clone()].copy_from_slice(
                    &found
                        .to_dtype(DType::F32)?
                        .flatten_all()?
                        .to_vec1::<f32>()?,
                ),
                None => all[parameter.range.clone()].fill(0.0),
            }
        }
        Ok(())
    }

    fn var(&self, name: &str) -> &Tensor {
        let at = self
            .host
            .layout()
            .iter()
            .position(|parameter| parameter.name == name);
        &self.vars[at.expect("every layer of OpenL3 has its tensors in the layout")]
    }

    fn channels(&self, name: &str) -> candle_core::Result<Tensor> {
        let x = self.var(name);
        x.reshape((1, x.elem_count(), 1, 1))
    }

    /// Convolution `i` of 1 to 8.
    fn convolve(&self, i: usize, x: &Tensor) -> candle_core::Result<Tensor> {
        let name = if i == 8 {
            "audio_embedding_layer".to_owned()
        } else {
            format!("conv2d_{i}")
        };
        let weight = self.var(&format!("{name}.weight")).to_dtype(self.factors)?;
        let y = x
            .to_dtype(self.factors)?
            .conv2d(&weight, 1, 1, 1, 1)?
            .to_dtype(DType::F32)?;
        let bias = self.channels(&format!("{name}.bias"))?;
        // Batch norm takes a bias out again, but the running mean must know it.
        y.broadcast_add(&if i < 8 { bias.detach() } else { bias })
    }

    /// Batch norm after convolution `i`, 0 being the input, by the batch's statistics.
    fn norm(&mut self, i: usize, x: &Tensor) -> candle_core::Result<Tensor> {
        let name = format!("batch_normalization_{}", i + 1);
        let mean = x.mean_keepdim((0, 2, 3))?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
        let count = x.elem_count() / variance.elem_count();
        let m = mean.flatten_all()?.to_vec1()?;
        let v = variance.flatten_all()?.to_vec1()?;
        self.host.observe(i, &m, &v, count);
        let hat = centred.broadcast_div(&(variance + f64::from(BATCH_NORM_EPS))?.sqrt()?)?;
        hat.broadcast_mul(&self.channels(&format!("{name}.weight"))?)?
            .broadcast_add(&self.channels(&format!("{name}.bias"))?)
    }
}

/// The maximum of each 2 × 2 places; an odd last row or column is left out. By hand: the gradient of Candle's own
/// `max_pool2d` is a quarter of the right one.
fn halve(x: &Tensor) -> candle_core::Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let even = x
        .narrow(2, 0, h / 2 * 2)?
        .narrow(3, 0, w / 2 * 2)?
        .contiguous()?;
    let rows = even.reshape((n, c, h / 2, 2, w / 2 * 2))?.max(3)?;
    rows.reshape((n, c, h / 2, w / 2, 2))?.max(D::Minus1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceChoice;

    #[test]
    fn a_step_in_candle_is_that_of_the_fast_path() {
        let weights = OpenL3Weights::seeded(5, &[16, 16, 32, 16, 32, 48, 32, 64]);
        let h = 24;
        let w = 35;
        let n = 3;
        let wave =
            |i: usize| 40.0 * (i as f32 * 0.37 + (i as f32 * 0.011).sin() * 9.0).sin() - 40.0;
        let mels: Vec<f32> = (0..n * h * w).map(wave).collect();
        let mut fast = OpenL3Train::with_input(
            &weights,
            h,
            w,
            voisin_kernels::isa().unwrap(),
            Precision::F32,
            Precision::F32,
        );
        let device = DeviceChoice::Cpu.resolve().unwrap();
        let mut slow = OpenL3TrainOnDevice::with_input(&weights, h, w, &device, Precision::F32);
        let near = |a: &[f32], b: &[f32], what: &str| {
            let largest = b.iter().fold(1e-6f32, |most, x| most.max(x.abs()));
            let error = a
                .iter()
                .zip(b)
                .fold(0f32, |most, (a, b)| most.max((a - b).abs()))
                / largest;
            assert!(a.len() == b.len() && error < 2e-3, "{what}: {error:e}");
        };
        for step in 0..2 {
            let a = fast.forward(&mels, n);
            let b = slow.forward(&mels, n).unwrap();
            near(&b, &a, "embeddings");
            let d: Vec<f32> = (0..a.len())
                .map(|i| (i as f32 * 1.7 + step as f32).sin())
                .collect();
            fast.backward(&d);
            slow.backward(&d).unwrap();
            for parameter in fast.layout().to_vec() {
                // Gradients of terms that cancel are left out: see tests/conv.
                if parameter.name != "batch_normalization_1.weight" {
                    let range = parameter.range.clone();
                    near(
                        &slow.host().gradients()[range.clone()],
                        &fast.gradients()[range],
                        &parameter.name,
                    );
                }
            }
            for train in [&mut fast, slow.host_mut()] {
                let (parameters, gradients) = train.parameters_and_gradients();
                for (p, g) in parameters.iter_mut().zip(gradients) {
                    *p -= 1e-5 * g;
                }
            }
        }
        let a = fast.weights();
        let b = slow.host().weights();
        for (a, b) in a.norms.iter().zip(&b.norms) {
            near(&b.running_mean, &a.running_mean, "running mean");
            near(&b.running_var, &a.running_var, "running variance");
        }
    }
}
