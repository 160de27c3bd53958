//! The VGG network of the `musicnn` package: a reference in Candle, and the fast path.
//!
//! Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging",
//! 2019; after Choi, Fazekas and Sandler, "Automatic tagging using deep convolutional neural
//! networks", ISMIR 2016. Five 3×3 convolutions of 128 filters, each followed by ReLU, batch norm
//! and a max pool. The fifth pool is the embedding, 2 times × 128.

use candle_core::{Module, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv2dConfig, VarBuilder, batch_norm};

use super::architecture::{VGG_PENULTIMATE, VGG_TAGS};
use super::backend::{Backend, Pass};
use super::layers::{Conv2d, Linear, conv2d, linear};
use super::tensors::{VGG_CHANNELS, VGG_CONVOLUTIONS, vgg_norm};
use super::{Architecture, EncoderError, Weights};
use voisin_kernels::conv::{
    BlockPlan, BlockTensors, ChainPlan, FastChain, NormPlace, Tail, affine,
};
use voisin_kernels::{Isa, Precision};

/// Epsilon of every batch norm.
pub(crate) const EPSILON: f64 = 1e-3;
/// Frames and bands that each pool joins.
///
/// These are the pools of the graph that `MSD_vgg` was saved with. The package's own `models.py`
/// has others (4 × 1 with steps of 2 × 2, then 2 × 2 three times); on music, the batch norms'
/// stored statistics fit the graph's and not those.
pub(crate) const POOLS: [(usize, usize); 5] = [(4, 1), (1, 4), (2, 2), (2, 2), (4, 4)];

/// The network.
pub(crate) struct Vgg {
    input_norm: BatchNorm,
    blocks: Vec<(Conv2d, BatchNorm)>,
    dense: Linear,
    span: tracing::Span,
}

impl Vgg {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let padded = Conv2dConfig {
            padding: 1,
            ..Conv2dConfig::default()
        };
        let blocks = VGG_CONVOLUTIONS
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let inputs = if i == 0 { 1 } else { VGG_CHANNELS };
                let conv = conv2d(inputs, VGG_CHANNELS, 3, padded, vb.pp(name))?;
                Ok((
                    conv,
                    batch_norm(VGG_CHANNELS, EPSILON, vb.pp(vgg_norm(i + 1)))?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            input_norm: batch_norm(1, EPSILON, vb.pp(vgg_norm(0)))?,
            blocks,
            dense: linear(VGG_PENULTIMATE, VGG_TAGS, vb.pp("dense"))?,
            span: tracing::span!(tracing::Level::TRACE, "vgg"),
        })
    }

    /// - `mels`: `[n, 1, 96, 187]`
    /// - returns: penultimate layer `[n, 256]`, tag logits `[n, 50]`
    pub(crate) fn forward(&self, mels: &Tensor) -> Result<(Tensor, Tensor)> {
        let _enter = self.span.enter();
        let mut x = self
            .input_norm
            .forward_t(mels, false)?
            .transpose(2, 3)?
            .contiguous()?; // [n, 1, 187, 96]
        for ((conv, norm), window) in self.blocks.iter().zip(POOLS) {
            x = norm.forward_t(&conv.forward(&x)?.relu()?, false)?;
            // [n, 128, 46, 96], [46, 24], [23, 12], [11, 6], [2, 1]
            x = x.max_pool2d_with_stride(window, window)?;
        }
        // TensorFlow flattens [time, band, channel].
        let penultimate = x.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(1)?;
        let logits = self.dense.forward(&penultimate)?;
        Ok((penultimate, logits))
    }
}

/// Patches that go through the network together, so that the deep convolutions' filters are read
/// once for all.
const TOGETHER: usize = 8;

/// The network by voisin's kernels. Rows are mel bands there and columns frames, the other way
/// about.
pub(crate) struct FastVgg {
    chain: FastChain,
    /// `[50][256]` and `[50]`.
    dense: (Vec<f32>, Vec<f32>),
}

impl FastVgg {
    pub(crate) fn new(weights: &Weights, isa: Isa) -> std::result::Result<Self, EncoderError> {
        let values = |name: &str, shape: &[usize]| weights.values(name, shape, Architecture::Vgg);
        let norm = |i: usize, channels: usize| -> std::result::Result<[&[f32]; 4], EncoderError> {
            let mut norm: [&[f32]; 4] = [&[]; 4];
            for (to, field) in
                norm.iter_mut()
                    .zip(["weight", "bias", "running_mean", "running_var"])
            {
                *to = values(&format!("{}.{field}", vgg_norm(i)), &[channels])?;
            }
            Ok(norm)
        };
        let (scale, shift) = affine(norm(0, 1)?, EPSILON);
        let mut turned: Vec<Vec<f32>> = Vec::with_capacity(5);
        for (i, name) in VGG_CONVOLUTIONS.iter().enumerate() {
            let inputs = if i == 0 { 1 } else { VGG_CHANNELS };
            let weight = values(&format!("{name}.weight"), &[VGG_CHANNELS, inputs, 3, 3])?;
            // The kernels' rows are bands where TensorFlow's are frames, so each 3×3 kernel is
            // transposed.
            turned.push(
                (0..weight.len())
                    .map(|at| weight[at / 9 * 9 + at % 3 * 3 + at % 9 / 3])
                    .collect(),
            );
        }
        let mut tensors = Vec::with_capacity(5);
        for (i, weight) in turned.iter().enumerate() {
            let bias = values(&format!("{}.bias", VGG_CONVOLUTIONS[i]), &[VGG_CHANNELS])?;
            tensors.push(BlockTensors {
                weight,
                bias,
                norm: Some(norm(i + 1, VGG_CHANNELS)?),
            });
        }
        let block = |(frames, bands): (usize, usize)| BlockPlan {
            out: VGG_CHANNELS,
            norm: NormPlace::AfterRelu,
            pool: [bands, frames],
            together: TOGETHER,
        };
        let plan = ChainPlan {
            input: Architecture::Vgg.input_shape(),
            blocks: POOLS.map(block).to_vec(),
            tail: Tail::Pixels,
            epsilon: EPSILON,
        };
        let dense = values("dense.weight", &[VGG_TAGS, VGG_PENULTIMATE])?.to_vec();
        Ok(Self {
            chain: FastChain::new(
                plan,
                (scale[0], shift[0]),
                &tensors,
                true,
                isa,
                Precision::F32,
            ),
            dense: (dense, values("dense.bias", &[VGG_TAGS])?.to_vec()),
        })
    }
}

impl Backend for FastVgg {
    fn forward(&self, mels: &[f32], n: usize) -> std::result::Result<Pass, EncoderError> {
        let _span = tracing::trace_span!("vgg").entered();
        let mut embeddings = vec![0.0; n * VGG_PENULTIMATE];
        self.chain.forward(mels, n, &mut embeddings);
        let (weight, bias) = &self.dense;
        let mut logits = Vec::with_capacity(n * VGG_TAGS);
        for row in embeddings.chunks_exact(VGG_PENULTIMATE) {
            for (weight, bias) in weight.chunks_exact(VGG_PENULTIMATE).zip(bias) {
                // Sixteen sums in a fixed order: the same bits whatever the batch.
                let mut lanes = [0.0f32; 16];
                for (a, b) in weight
                    .as_chunks::<16>()
                    .0
                    .iter()
                    .zip(row.as_chunks::<16>().0)
                {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += a * b;
                    }
                }
                logits.push(bias + lanes.iter().sum::<f32>());
            }
        }
        Ok(Pass { embeddings, logits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::uniform;

    #[test]
    fn fast_equals_candle_on_every_instruction_set() {
        let random = Weights::random(Architecture::Vgg, 9);
        // Negative factors of batch norm, which a pool must not be swapped with.
        let mut tensors: std::collections::BTreeMap<_, _> = random
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
            .collect();
        for i in 1..6 {
            let gamma = &mut tensors
                .get_mut(&format!("{}.weight", vgg_norm(i)))
                .unwrap()
                .values;
            gamma.iter_mut().step_by(3).for_each(|x| *x = -*x);
        }
        let weights = Weights::new("random", tensors);
        let n = 9;
        let mels: Vec<f32> = uniform("patches", 0, n * 96 * 187)
            .map(|u| (7.0 * u * u) as f32)
            .collect();
        let device = candle_core::Device::Cpu;
        let network = Vgg::new(
            &weights
                .var_builder(&device, candle_core::DType::F32)
                .unwrap(),
        )
        .unwrap();
        let input = candle_core::Tensor::from_slice(&mels, (n, 1, 96, 187), &device).unwrap();
        let (penultimate, logits) = network.forward(&input).unwrap();
        let values = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let penultimate = values(penultimate);
        let logits = values(logits);
        let error = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            let scale = b.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            a.iter()
                .zip(b)
                .fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()))
                / scale
        };
        for isa in Isa::available() {
            let fast = FastVgg::new(&weights, isa).unwrap();
            let found = fast.forward(&mels, n).unwrap();
            let a = error(&found.embeddings, &penultimate);
            let b = error(&found.logits, &logits);
            assert!(a < 2e-5 && b < 2e-5, "{isa}: {a}, {b}");
            // Alone, the last patch (in a group of one above) and the fifth have the same bits.
            for i in [4, 8] {
                let alone = fast
                    .forward(&mels[i * 96 * 187..(i + 1) * 96 * 187], 1)
                    .unwrap();
                assert_eq!(
                    alone.embeddings,
                    found.embeddings[i * VGG_PENULTIMATE..(i + 1) * VGG_PENULTIMATE]
                );
            }
        }
    }
}
