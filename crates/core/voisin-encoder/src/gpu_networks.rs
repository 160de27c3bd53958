//! OpenL3, MusiCNN and VGG as a GPU runs them: [convolutions](super::channels_last) with their
//! batch norms folded in.
//!
//! Candle's layers ([`openl3`](super::openl3), [`musicnn`](super::musicnn), [`vgg`](super::vgg))
//! are what they are tested against.

use candle_core::{DType, Device, Result, Tensor};

use super::backend::{Backend, Pass};
use super::channels_last::{ConvolutionFinish, GpuConvolution, Size};
use super::tensors::{VGG_CONVOLUTIONS, openl3_layer, vgg_norm};
use super::weights::hears_mean;
use super::{Architecture, EncoderError, Precision, Weights, openl3, vgg};
use voisin_kernels::conv::{affine, is_pooled};
use voisin_kernels::musicnn::{self, DENSE, NORMS, convolutions};

/// A network on a device.
pub(crate) struct GpuNetwork {
    device: Device,
    dtype: DType,
    precision: Precision,
    shape: [usize; 2],
    input: ConvolutionFinish,
    layers: Layers,
}

enum Layers {
    OpenL3 {
        blocks: Vec<GpuConvolution>,
    },
    Vgg {
        blocks: Vec<GpuConvolution>,
        dense: Dense,
    },
    Musicnn(Box<GpuMusicnn>),
}

struct GpuMusicnn {
    /// The first two hear the bands, the others their mean where `hears_mean`.
    front: Vec<GpuConvolution>,
    hears_mean: bool,
    middle: Vec<GpuConvolution>,
    pools: ConvolutionFinish,
    dense: Dense,
    penultimate: ConvolutionFinish,
    dense_1: Dense,
}

/// A linear layer, in f32.
struct Dense {
    /// `[inputs, outputs]`
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

/// Reads the parts of a network.
struct NetworkReader<'a> {
    weights: &'a Weights,
    device: &'a Device,
    dtype: DType,
}

impl NetworkReader<'_> {
    fn values(&self, name: &str) -> std::result::Result<(&[f32], &[usize]), EncoderError> {
        let tensor = self
            .weights
            .tensor(name)
            .ok_or_else(|| EncoderError::BadWeights {
                origin: self.weights.origin().to_owned(),
                reason: format!("the tensor {name} is missing"),
            })?;
        Ok((&tensor.values, &tensor.shape))
    }

    /// Scale and shift of a batch norm.
    fn norm(
        &self,
        name: &str,
        epsilon: f64,
    ) -> std::result::Result<(Vec<f32>, Vec<f32>), EncoderError> {
        let mut fields: [&[f32]; 4] = [&[]; 4];
        for (to, field) in fields
            .iter_mut()
            .zip(["weight", "bias", "running_mean", "running_var"])
        {
            *to = self.values(&format!("{name}.{field}"))?.0;
        }
        Ok(affine(fields, epsilon))
    }

    /// A batch norm alone.
    fn scaled(
        &self,
        name: &str,
        epsilon: f64,
    ) -> std::result::Result<ConvolutionFinish, EncoderError> {
        let (scale, shift) = self.norm(name, epsilon)?;
        let ones = vec![1.0; scale.len()];
        let zeros = vec![0.0; scale.len()];
        Ok(ConvolutionFinish::new(
            [&scale, &shift, &ones, &zeros],
            false,
            [1, 1],
            self.device,
        )?)
    }

    /// A convolution, ReLU and batch norm in the order of `relu_first`, and the largest of each
    /// pool; without a batch norm no ReLU either.
    fn convolution(
        &self,
        name: &str,
        norm: Option<(&str, f64)>,
        relu_first: bool,
        [before, after]: [Size; 2],
        pool: Size,
    ) -> std::result::Result<GpuConvolution, EncoderError> {
        let (weight, shape) = self.values(&format!("{name}.weight"))?;
        let (bias, _) = self.values(&format!("{name}.bias"))?;
        let ones = vec![1.0; bias.len()];
        let zeros = vec![0.0; bias.len()];
        let finish = match norm {
            None => ConvolutionFinish::new([&ones, bias, &ones, &zeros], false, pool, self.device)?,
            Some((norm, epsilon)) => {
                let (scale, shift) = self.norm(norm, epsilon)?;
                // Where ReLU comes first, the norm stays behind it; else it is folded into scale
                // and bias of the convolution.
                if relu_first {
                    ConvolutionFinish::new([&ones, bias, &scale, &shift], true, pool, self.device)?
                } else {
                    let moved: Vec<f32> = bias
                        .iter()
                        .zip(&scale)
                        .zip(&shift)
                        .map(|((b, s), t)| b * s + t)
                        .collect();
                    ConvolutionFinish::new(
                        [&scale, &moved, &ones, &zeros],
                        true,
                        pool,
                        self.device,
                    )?
                }
            }
        };
        // A kernel along the time alone has a width of 1.
        let shape = [
            shape[0],
            shape[1],
            shape[2],
            shape.get(3).copied().unwrap_or(1),
        ];
        let weight = Tensor::from_slice(weight, &shape, self.device)?.to_dtype(self.dtype)?;
        Ok(GpuConvolution::new(&weight, before, after, finish)?)
    }

    fn dense(&self, name: &str) -> std::result::Result<Dense, EncoderError> {
        // Transposed once, as the product wants it.
        let (weight, shape) = self.values(&format!("{name}.weight"))?;
        let weight = Tensor::from_slice(weight, shape, self.device)?
            .t()?
            .contiguous()?;
        let (bias, _) = self.values(&format!("{name}.bias"))?;
        Ok(Dense {
            weight,
            bias: Tensor::from_slice(bias, bias.len(), self.device)?,
        })
    }
}

/// One zero on each side: the size stays.
const PADDED: [Size; 2] = [[1, 1], [1, 1]];

impl GpuNetwork {
    /// Errors are missing tensors and those of the device.
    pub(crate) fn new(
        architecture: Architecture,
        weights: &Weights,
        device: &Device,
        precision: Precision,
    ) -> std::result::Result<Self, EncoderError> {
        let dtype = match precision {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
        let reader = NetworkReader {
            weights,
            device,
            dtype,
        };
        let shape = architecture.input_shape();
        let (input, layers) = match architecture {
            Architecture::OpenL3 => {
                let block = |i: usize| {
                    let norm = format!("batch_normalization_{}", i + 2);
                    let norm = (i < 7).then_some((norm.as_str(), openl3::EPSILON));
                    // The last is pooled over all places that three pools leave.
                    let pool = match i {
                        7 => [shape[0] / 8, shape[1] / 2 / 2 / 2],
                        _ if is_pooled(i) => [2, 2],
                        _ => [1, 1],
                    };
                    reader.convolution(&openl3_layer(i), norm, false, PADDED, pool)
                };
                let blocks = (0..8).map(block).collect::<std::result::Result<_, _>>()?;
                (
                    reader.scaled("batch_normalization_1", openl3::EPSILON)?,
                    Layers::OpenL3 { blocks },
                )
            }
            Architecture::Vgg => {
                let block = |(i, (name, (height, width))): (usize, (&&str, (usize, usize)))| {
                    let norm = vgg_norm(i + 1);
                    reader.convolution(
                        name,
                        Some((&norm, vgg::EPSILON)),
                        true,
                        PADDED,
                        [height, width],
                    )
                };
                let blocks = VGG_CONVOLUTIONS
                    .iter()
                    .zip(vgg::POOLS)
                    .enumerate()
                    .map(block);
                let blocks = blocks.collect::<std::result::Result<_, _>>()?;
                let dense = reader.dense("dense")?;
                (
                    reader.scaled(&vgg_norm(0), vgg::EPSILON)?,
                    Layers::Vgg { blocks, dense },
                )
            }
            Architecture::Musicnn => (
                reader.scaled(NORMS[0].0, musicnn::EPSILON)?,
                Layers::Musicnn(Box::new(musicnn(&reader)?)),
            ),
            Architecture::Layers | Architecture::Clap => {
                return Err(EncoderError::UnknownArchitecture {
                    origin: weights.origin().to_owned(),
                });
            }
        };
        Ok(Self {
            device: device.clone(),
            dtype,
            precision,
            shape,
            input,
            layers,
        })
    }

    fn embed(&self, mels: &[f32], n: usize) -> Result<(Tensor, Option<Tensor>)> {
        let x = Tensor::from_slice(mels, (n, self.shape[0], self.shape[1], 1), &self.device)?;
        // MusiCNN and VGG hear time downwards.
        let x = match &self.layers {
            Layers::OpenL3 { .. } => x,
            Layers::Vgg { .. } | Layers::Musicnn(_) => x.transpose(1, 2)?.contiguous()?,
        };
        // Converted behind the input's norm: decibels would lose their last digits in bf16.
        let mut x = self.input.of(&x)?.to_dtype(self.dtype)?;
        match &self.layers {
            Layers::OpenL3 { blocks } => {
                for block in blocks {
                    x = block.forward(&x)?; // [n, 64, 99, c], [n, 32, 49, c], [n, 16, 24, c], [n, 1, 1, 512]
                }
                Ok((x.flatten_from(1)?, None))
            }
            Layers::Vgg { blocks, dense } => {
                for block in blocks {
                    x = block.forward(&x)?; // [n, 46, 96, 128], [46, 24], [23, 12], [11, 6], [2, 1]
                }
                let penultimate = x.flatten_from(1)?.to_dtype(DType::F32)?;
                let logits = dense.forward(&penultimate)?;
                Ok((penultimate, Some(logits)))
            }
            Layers::Musicnn(net) => {
                let (penultimate, logits) = net.forward(&x)?;
                Ok((penultimate, Some(logits)))
            }
        }
    }
}

fn musicnn(reader: &NetworkReader<'_>) -> std::result::Result<GpuMusicnn, EncoderError> {
    let hears_mean = hears_mean(reader.weights);
    let layer = |i: usize| {
        let convolution = &convolutions(hears_mean)[i];
        let taps = convolution.shape[2];
        // TensorFlow's "same": the odd zero behind.
        let padding = [[(taps - 1) / 2, 0], [taps / 2, 0]];
        // The largest over the bands that the kernel leaves.
        let bands = match convolution.shape {
            [_, _, _, width] => musicnn::BANDS + 1 - width,
            _ => 1,
        };
        let norm = (NORMS[i + 1].0, musicnn::EPSILON);
        reader.convolution(convolution.name, Some(norm), true, padding, [1, bands])
    };
    Ok(GpuMusicnn {
        front: (0..5).map(layer).collect::<std::result::Result<_, _>>()?,
        hears_mean,
        middle: (5..8).map(layer).collect::<std::result::Result<_, _>>()?,
        pools: reader.scaled(NORMS[9].0, musicnn::EPSILON)?,
        dense: reader.dense(DENSE[0].0)?,
        penultimate: reader.scaled(NORMS[10].0, musicnn::EPSILON)?,
        dense_1: reader.dense(DENSE[1].0)?,
    })
}

impl GpuMusicnn {
    /// - `x`: `[n, 187, 96, 1]`
    /// - returns: penultimate layer `[n, 200]`, tag logits `[n, 50]`
    fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let mean = if self.hears_mean {
            Some(x.mean_keepdim(2)?)
        } else {
            None
        };
        let mut front = Vec::with_capacity(5);
        for (i, convolution) in self.front.iter().enumerate() {
            let heard = mean.as_ref().filter(|_| i >= 2).unwrap_or(x);
            front.push(convolution.forward(heard)?); // [n, 187, 1, channels]
        }
        let front = Tensor::cat(&front, 3)?; // [n, 187, 1, 561]
        let first = self.middle[0].forward(&front)?; // [n, 187, 1, 64]
        let second = (self.middle[1].forward(&first)? + &first)?;
        let third = (self.middle[2].forward(&second)? + &second)?;
        // The dense layers are small and their sums long: in f32 also where convolutions are in
        // bf16.
        let joined = Tensor::cat(&[front, first, second, third], 3)?
            .squeeze(2)?
            .to_dtype(DType::F32)?;
        // Maximum and mean of each channel side by side: [n, 753, 2], then [n, 1, 1, 1506].
        let pools = Tensor::stack(&[joined.max(1)?, joined.mean(1)?], 2)?.flatten_from(1)?;
        let pools = pools.unsqueeze(1)?.unsqueeze(1)?.contiguous()?;
        let dense = self
            .dense
            .forward(&self.pools.of(&pools)?.flatten_from(1)?)?
            .relu()?;
        let dense = dense.unsqueeze(1)?.unsqueeze(1)?;
        let penultimate = self.penultimate.of(&dense)?.flatten_from(1)?; // [n, 200]
        let logits = self.dense_1.forward(&penultimate)?; // [n, 50]
        Ok((penultimate, logits))
    }
}

impl Backend for GpuNetwork {
    fn forward(&self, mels: &[f32], n: usize) -> std::result::Result<Pass, EncoderError> {
        let (embeddings, logits) = self.embed(mels, n)?;
        let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1();
        let logits = logits.as_ref().map(values).transpose()?.unwrap_or_default();
        Ok(Pass {
            embeddings: values(&embeddings)?,
            logits,
        })
    }

    fn precision(&self) -> Precision {
        self.precision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightTensor;
    use crate::network::in_candle;
    use crate::weights::uniform;

    /// With negative factors of batch norm, which a maximum must not be swapped with.
    fn turned(weights: &Weights) -> Weights {
        let mut tensors: std::collections::BTreeMap<_, WeightTensor> = weights
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
            .collect();
        for (name, tensor) in &mut tensors {
            if name.starts_with("batch_normalization") && name.ends_with(".weight") {
                tensor
                    .values
                    .iter_mut()
                    .skip(1)
                    .step_by(3)
                    .for_each(|x| *x = -*x);
            }
        }
        Weights::new("turned", tensors)
    }

    fn compare(architecture: Architecture, weights: &Weights) {
        let n = 2;
        let [height, width] = architecture.input_shape();
        let mels: Vec<f32> = uniform("mels", 0, n * height * width)
            .map(|u| (7.0 * u * u) as f32)
            .collect();
        let device = Device::Cpu;
        let expected = in_candle(architecture, weights, &device, Precision::F32).unwrap();
        let expected = expected.forward(&mels, n).unwrap();
        let found = GpuNetwork::new(architecture, weights, &device, Precision::F32).unwrap();
        let found = found.forward(&mels, n).unwrap();
        let error = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            let scale = expected.iter().fold(1e-6_f32, |m, x| m.max(x.abs()));
            found
                .iter()
                .zip(expected)
                .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()))
                / scale
        };
        let a = error(&found.embeddings, &expected.embeddings);
        let b = error(&found.logits, &expected.logits);
        assert!(a < 2e-5 && b < 2e-5, "{architecture:?}: {a:e}, {b:e}");
    }

    #[test]
    fn it_computes_what_candles_layers_do() {
        for architecture in [
            Architecture::OpenL3,
            Architecture::Musicnn,
            Architecture::Vgg,
        ] {
            compare(architecture, &turned(&Weights::random(architecture, 5)));
        }
        for name in ["voisin-3", "musicnn-msd"] {
            let found = crate::ModelRef::Name(name.into()).find().unwrap();
            compare(found.manifest.architecture, &found.weights);
        }
    }
}
