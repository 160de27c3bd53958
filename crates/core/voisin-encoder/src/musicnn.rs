//! MusiCNN: layer by layer in Candle, the reference of the fast paths on a CPU and on a GPU; and
//! the tensors for the former.
//!
//! Pons, Nieto, Prockup, Schmidt, Ehmann, Serra, "End-to-end learning for music audio tagging at
//! scale", ISMIR 2018; Pons, Serra, "musicnn: Pre-trained convolutional neural networks for music
//! audio tagging", 2019.

use candle_core::{D, Module, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv1d, Conv1dConfig, VarBuilder, batch_norm, conv1d};

use super::layers::{Linear, linear};
use super::weights::hears_mean;
use super::{Architecture, EncoderError, Weights};
use voisin_kernels::Isa;
use voisin_kernels::musicnn::{CONVOLUTIONS, Convolution, EPSILON, MIDDLE};
use voisin_kernels::musicnn::{DENSE, NORMS, convolutions};
pub use voisin_kernels::musicnn::{FastMusicnn, TAGS};

/// A convolution over the spectrogram, or over the mean of its bands, ReLU, batch norm, maximum
/// over the bands.
struct FrontBlock {
    weight: Tensor,
    of_mean: bool,
    bias: Tensor,
    norm: BatchNorm,
    /// Zeros before and after in time, so that frames stay 187 (TensorFlow's "same": the odd one
    /// after).
    padding: (usize, usize),
    span: tracing::Span,
}

impl FrontBlock {
    fn new(layer: &Convolution, index: usize, vb: &VarBuilder) -> Result<Self> {
        let taps = layer.shape[2];
        let weight = vb.get(layer.shape, &format!("{}.weight", layer.name))?;
        let of_mean = layer.shape.len() == 3;
        Ok(Self {
            // Kernels without an axis for the bands get one of length 1, and then serve as any
            // other.
            weight: if of_mean {
                weight.unsqueeze(D::Minus1)?
            } else {
                weight
            },
            of_mean,
            bias: vb.get(layer.shape[0], &format!("{}.bias", layer.name))?,
            norm: norm(index + 1, vb)?,
            padding: ((taps - 1) / 2, taps / 2),
            span: tracing::span!(tracing::Level::TRACE, "front", layer = layer.name),
        })
    }

    /// `[n, 1, 187, 96]` to `[n, channels, 187]`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _enter = self.span.enter();
        let x = if self.of_mean {
            x.mean_keepdim(D::Minus1)?
        } else {
            x.clone()
        };
        let x = x.pad_with_zeros(2, self.padding.0, self.padding.1)?;
        let x = x.conv2d(&self.weight, 0, 1, 1, 1)?; // [n, channels, 187, 59 | 30 | 96 | 1]
        let x = x
            .broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?
            .relu()?;
        self.norm.forward_t(&x, false)?.max(D::Minus1)
    }
}

fn norm(index: usize, vb: &VarBuilder) -> Result<BatchNorm> {
    let (name, channels) = NORMS[index];
    batch_norm(channels, EPSILON, vb.pp(name))
}

/// A convolution over all channels and 7 frames, ReLU, batch norm.
struct MiddleBlock {
    conv: Conv1d,
    norm: BatchNorm,
    span: tracing::Span,
}

impl MiddleBlock {
    fn new(index: usize, vb: &VarBuilder) -> Result<Self> {
        let layer = &CONVOLUTIONS[index];
        let config = Conv1dConfig {
            padding: 3,
            ..Conv1dConfig::default()
        };
        Ok(Self {
            conv: conv1d(layer.shape[1], MIDDLE, 7, config, vb.pp(layer.name))?,
            norm: norm(index + 1, vb)?,
            span: tracing::span!(tracing::Level::TRACE, "middle", layer = layer.name),
        })
    }

    /// `[n, channels, 187]` to `[n, 64, 187]`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _enter = self.span.enter();
        self.norm.forward_t(&self.conv.forward(x)?.relu()?, false)
    }
}

/// The network.
pub(crate) struct Musicnn {
    input_norm: BatchNorm,
    front: Vec<FrontBlock>,
    middle: Vec<MiddleBlock>,
    pools_norm: BatchNorm,
    dense: Linear,
    penultimate_norm: BatchNorm,
    dense_1: Linear,
    span: tracing::Span,
}

impl Musicnn {
    pub(crate) fn new(vb: &VarBuilder, hears_mean: bool) -> Result<Self> {
        let dense = |index: usize| {
            let (name, outputs, inputs) = DENSE[index];
            linear(inputs, outputs, vb.pp(name))
        };
        Ok(Self {
            input_norm: norm(0, vb)?,
            front: convolutions(hears_mean)[..5]
                .iter()
                .enumerate()
                .map(|(i, layer)| FrontBlock::new(layer, i, vb))
                .collect::<Result<_>>()?,
            middle: (5..8)
                .map(|i| MiddleBlock::new(i, vb))
                .collect::<Result<_>>()?,
            pools_norm: norm(9, vb)?,
            dense: dense(0)?,
            penultimate_norm: norm(10, vb)?,
            dense_1: dense(1)?,
            span: tracing::span!(tracing::Level::TRACE, "musicnn"),
        })
    }

    /// - `mels`: `[n, 1, 96, 187]`
    /// - returns: penultimate layer `[n, 200]`, tag logits `[n, 50]`
    pub(crate) fn forward(&self, mels: &Tensor) -> Result<(Tensor, Tensor)> {
        let _enter = self.span.enter();
        let x = self
            .input_norm
            .forward_t(mels, false)?
            .transpose(2, 3)?
            .contiguous()?; // [n, 1, 187, 96]
        let front = self
            .front
            .iter()
            .map(|block| block.forward(&x))
            .collect::<Result<Vec<_>>>()?;
        let front = Tensor::cat(&front, 1)?; // [n, 561, 187]
        let first = self.middle[0].forward(&front)?; // [n, 64, 187]
        let second = (self.middle[1].forward(&first)? + &first)?;
        let third = (self.middle[2].forward(&second)? + &second)?;
        let joined = Tensor::cat(&[front, first, second, third], 1)?; // [n, 753, 187]
        // Maximum and mean of each channel side by side: [n, 753, 2], then [n, 1506].
        let pools = Tensor::stack(&[joined.max(D::Minus1)?, joined.mean(D::Minus1)?], 2)?
            .flatten_from(1)?;
        let dense = self
            .dense
            .forward(&self.pools_norm.forward_t(&pools, false)?)?
            .relu()?;
        let penultimate = self.penultimate_norm.forward_t(&dense, false)?; // [n, 200]
        let logits = self.dense_1.forward(&penultimate)?; // [n, 50]
        Ok((penultimate, logits))
    }
}

/// The network on a CPU.
pub fn fast(weights: &Weights, isa: Isa) -> std::result::Result<FastMusicnn, EncoderError> {
    let values = |name: &str, shape: &[usize]| weights.values(name, shape, Architecture::Musicnn);
    FastMusicnn::new(values, hears_mean(weights), isa)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelRef;
    use crate::WeightTensor;
    use crate::weights::uniform;
    use voisin_kernels::musicnn::{BANDS, FRAMES, Outputs, PENULTIMATE};

    /// Patches like spectrograms: values in [0, 7), smooth over neither axis; the last one silent.
    fn patches(n: usize) -> Vec<f32> {
        let mut mels: Vec<f32> = uniform("patches", 0, n * BANDS * FRAMES)
            .map(|u| (7.0 * u * u) as f32)
            .collect();
        mels[(n - 1) * BANDS * FRAMES..].fill(0.0);
        mels
    }

    fn reference(weights: &Weights, mels: &[f32], n: usize) -> Outputs {
        let device = candle_core::Device::Cpu;
        let variables = weights
            .var_builder(&device, candle_core::DType::F32)
            .unwrap();
        let network = Musicnn::new(&variables, hears_mean(weights)).unwrap();
        let input = candle_core::Tensor::from_slice(mels, (n, 1, BANDS, FRAMES), &device).unwrap();
        let (penultimate, logits) = network.forward(&input).unwrap();
        let values = |t: candle_core::Tensor| t.flatten_all().unwrap().to_vec1().unwrap();
        Outputs {
            penultimate: values(penultimate),
            logits: values(logits),
        }
    }

    fn error(found: &[f32], expected: &[f32]) -> f32 {
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        found
            .iter()
            .zip(expected)
            .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()))
            / scale
    }

    fn compare(weights: &Weights) {
        let n = 3;
        let mels = patches(n);
        let expected = reference(weights, &mels, n);
        for isa in Isa::available() {
            let found = fast(weights, isa).unwrap().forward(&mels, n);
            for i in 0..n {
                let rows = |v: &[f32], width: usize| v[i * width..(i + 1) * width].to_vec();
                let e = error(
                    &rows(&found.penultimate, PENULTIMATE),
                    &rows(&expected.penultimate, PENULTIMATE),
                );
                assert!(e < 2e-5, "{isa}: penultimate layer of patch {i}: {e}");
                let e = error(&rows(&found.logits, TAGS), &rows(&expected.logits, TAGS));
                assert!(e < 2e-5, "{isa}: logits of patch {i}: {e}");
                println!("{} {isa} patch {i}: {e:e}", weights.origin());
            }
        }
    }

    #[test]
    fn fast_equals_candle_with_every_filter_alive() {
        compare(&Weights::random(Architecture::Musicnn, 5));
    }

    #[test]
    fn fast_equals_candle_with_the_shipped_weights() {
        compare(&ModelRef::Name("musicnn-msd".into()).find().unwrap().weights);
    }

    #[test]
    fn fast_equals_candle_with_temporal_kernels_on_band_means() {
        let random = Weights::random(Architecture::Musicnn, 7);
        let mut tensors: std::collections::BTreeMap<_, _> = random
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
            .collect();
        for layer in &convolutions(true)[2..5] {
            let values = uniform(layer.name, 7, layer.shape.iter().product());
            let values = values.map(|u| (u - 0.5) as f32 / 4.0).collect();
            let shape = layer.shape.to_vec();
            tensors.insert(
                format!("{}.weight", layer.name),
                WeightTensor { shape, values },
            );
        }
        let weights = Weights::new("hears the mean", tensors);
        weights.check(Architecture::Musicnn).unwrap();
        assert!(hears_mean(&weights) && !hears_mean(&random));
        compare(&weights);
    }

    /// Filters whose kernels are zero, negative batch-norm factors, and both at once.
    #[test]
    fn fast_equals_candle_with_some_filters_constant() {
        let random = Weights::random(Architecture::Musicnn, 6);
        let mut tensors: std::collections::BTreeMap<_, _> = random
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
            .collect();
        for (i, layer) in CONVOLUTIONS.iter().enumerate() {
            let taps: usize = layer.shape[1..].iter().product();
            let kernel = &mut tensors
                .get_mut(&format!("{}.weight", layer.name))
                .unwrap()
                .values;
            for filter in (0..layer.shape[0]).filter(|f| f % (i + 2) != 0) {
                kernel[filter * taps..(filter + 1) * taps].fill(0.0);
            }
            for gamma in tensors
                .get_mut(&format!("{}.weight", NORMS[i + 1].0))
                .unwrap()
                .values
                .iter_mut()
                .step_by(3)
            {
                *gamma = -*gamma;
            }
        }
        compare(&Weights::new("half-dead weights", tensors));
    }
}
