//! The VGG network of the `musicnn` package: a reference in Candle, and the parameters of the fast path.
//!
//! Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", 2019; after Choi,
//! Fazekas and Sandler, "Automatic tagging using deep convolutional neural networks", ISMIR 2016. Five 3×3 convolutions
//! of 128 filters, each followed by ReLU, batch norm and a max pool. The fifth pool is the embedding, 2 times × 128.

use candle_core::{Module, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv2dConfig, VarBuilder, batch_norm};

use super::layers::{Conv2d, Linear, conv2d, linear};
use super::tensors::{VGG_CHANNELS, VGG_CONVOLUTIONS, vgg_norm};
use super::{Architecture, EncoderError, Weights};
pub use voisin_kernels::conv::vgg::{PENULTIMATE, TAGS};
use voisin_kernels::conv::vgg::{VggLayer, VggParameters};

/// Epsilon of every batch norm.
const EPSILON: f64 = 1e-3;
/// Frames and bands that each pool joins.
///
/// These are the pools of the graph that `MSD_vgg` was saved with. The package's own `models.py` has others (4 × 1 with
/// steps of 2 × 2, then 2 × 2 three times); on music, the batch norms' stored statistics fit the graph's and not those.
const POOLS: [(usize, usize); 5] = [(4, 1), (1, 4), (2, 2), (2, 2), (4, 4)];

/// The network.
pub(crate) struct Vgg {
    input_norm: BatchNorm,
    blocks: Vec<(Conv2d, BatchNorm)>,
    dense: Linear,
    span: tracing::Span,
}

impl Vgg {
    pub(crate) fn new(vb: &VarBuilder) -> Result<Self> {
        let padded = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let blocks = VGG_CONVOLUTIONS
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let inputs = if i == 0 { 1 } else { VGG_CHANNELS };
                let conv = conv2d(inputs, VGG_CHANNELS, 3, padded, vb.pp(name))?;
                Ok((conv, batch_norm(VGG_CHANNELS, EPSILON, vb.pp(vgg_norm(i + 1)))?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            input_norm: batch_norm(1, EPSILON, vb.pp(vgg_norm(0)))?,
            blocks,
            dense: linear(PENULTIMATE, TAGS, vb.pp("dense"))?,
            span: tracing::span!(tracing::Level::TRACE, "vgg"),
        })
    }

    /// - `mels`: `[n, 1, 96, 187]`
    /// - returns: penultimate layer `[n, 256]`, tag logits `[n, 50]`
    pub(crate) fn forward(&self, mels: &Tensor) -> Result<(Tensor, Tensor)> {
        let _enter = self.span.enter();
        let mut x = self.input_norm.forward_t(mels, false)?.transpose(2, 3)?.contiguous()?; // [n, 1, 187, 96]
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

/// The tensors as the fast path wants them.
pub(crate) fn parameters(weights: &Weights) -> std::result::Result<VggParameters, EncoderError> {
    let values = |name: String, shape: &[usize]| weights.values(&name, shape, Architecture::Vgg);
    let affine = |i: usize, channels: usize| -> std::result::Result<(Vec<f32>, Vec<f32>), EncoderError> {
        let field = |field: &str| values(format!("{}.{field}", vgg_norm(i)), &[channels]);
        let (gamma, beta) = (field("weight")?, field("bias")?);
        let (mean, variance) = (field("running_mean")?, field("running_var")?);
        Ok((0..channels)
            .map(|c| {
                let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + EPSILON).sqrt();
                (scale as f32, (f64::from(beta[c]) - scale * f64::from(mean[c])) as f32)
            })
            .unzip())
    };
    let (scale, shift) = affine(0, 1)?;
    let mut layers = Vec::with_capacity(5);
    for (i, name) in VGG_CONVOLUTIONS.iter().enumerate() {
        let inputs = if i == 0 { 1 } else { VGG_CHANNELS };
        let (scale, shift) = affine(i + 1, VGG_CHANNELS)?;
        layers.push(VggLayer {
            weight: values(format!("{name}.weight"), &[VGG_CHANNELS, inputs, 3, 3])?.to_vec(),
            bias: values(format!("{name}.bias"), &[VGG_CHANNELS])?.to_vec(),
            scale,
            shift,
        });
    }
    let dense = (
        values("dense.weight".to_owned(), &[TAGS, PENULTIMATE])?.to_vec(),
        values("dense.bias".to_owned(), &[TAGS])?.to_vec(),
    );
    Ok(VggParameters { scale: scale[0], shift: shift[0], layers, dense })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::uniform;
    use voisin_kernels::Isa;
    use voisin_kernels::conv::vgg::FastVgg;

    #[test]
    fn fast_equals_candle_on_every_instruction_set() {
        let random = Weights::random(Architecture::Vgg, 9);
        // Negative factors of batch norm, which a pool must not be swapped with.
        let mut tensors: std::collections::BTreeMap<_, _> =
            random.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        for i in 1..6 {
            let gamma = &mut tensors.get_mut(&format!("{}.weight", vgg_norm(i))).unwrap().values;
            gamma.iter_mut().step_by(3).for_each(|x| *x = -*x);
        }
        let weights = Weights::new("random", tensors);
        let n = 9;
        let mels: Vec<f32> = uniform("patches", 0, n * 96 * 187).map(|u| (7.0 * u * u) as f32).collect();
        let device = candle_core::Device::Cpu;
        let network = Vgg::new(&weights.var_builder(&device, candle_core::DType::F32).unwrap()).unwrap();
        let input = candle_core::Tensor::from_slice(&mels, (n, 1, 96, 187), &device).unwrap();
        let (penultimate, logits) = network.forward(&input).unwrap();
        let values = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (penultimate, logits) = (values(penultimate), values(logits));
        let parameters = parameters(&weights).unwrap();
        let error = |a: &[f32], b: &[f32]| {
            assert_eq!(a.len(), b.len());
            let scale = b.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            a.iter().zip(b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs())) / scale
        };
        for isa in Isa::available() {
            let fast = FastVgg::new(&parameters, isa);
            let found = fast.forward(&mels, n);
            let (a, b) = (error(&found.penultimate, &penultimate), error(&found.logits, &logits));
            assert!(a < 2e-5 && b < 2e-5, "{isa}: {a}, {b}");
            // Alone, the last patch (in a group of one above) and the fifth have the same bits.
            for i in [4, 8] {
                let alone = fast.forward(&mels[i * 96 * 187..(i + 1) * 96 * 187], 1);
                assert_eq!(alone.penultimate, found.penultimate[i * PENULTIMATE..(i + 1) * PENULTIMATE]);
            }
        }
    }
}
