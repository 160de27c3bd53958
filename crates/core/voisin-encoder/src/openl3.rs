//! OpenL3 mel128, 512 dimensions, in Candle: the reference of the fast paths on a CPU and on a GPU.
//!
//! Cramer, Wu, Salamon, Bello, "Look, Listen and Learn More", ICASSP 2019. Layer names are those of
//! the weights files (torchopenl3's; Keras' without `_layer` suffixes).

use candle_core::{Module, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv2dConfig, VarBuilder, batch_norm};

use super::layers::{Conv2d, conv2d};
use super::{EncoderError, Weights};
use voisin_kernels::conv::OpenL3Weights;

/// Epsilon of every batch norm (Keras' default).
pub(crate) const EPSILON: f64 = 1e-3;

/// The same tensors as the fast path wants them.
pub(crate) fn fast_weights(weights: &Weights) -> std::result::Result<OpenL3Weights, EncoderError> {
    OpenL3Weights::from_named(|name| weights.tensor(name).map(|tensor| tensor.values.clone()))
        .map_err(|error| EncoderError::BadWeights {
            origin: weights.origin().to_owned(),
            reason: error.to_string(),
        })
}

/// Convolution, batch norm, ReLU.
struct Block {
    conv2d: Conv2d,
    batch_normalization: BatchNorm,
    span: tracing::Span,
}

impl Block {
    fn new(index: usize, channels: &[usize; 9], vb: &VarBuilder) -> Result<Self> {
        let input = channels[index - 1];
        let output = channels[index];
        Ok(Self {
            conv2d: conv2d(input, output, 3, padded(), vb.pp(format!("conv2d_{index}")))?,
            batch_normalization: batch_norm(
                output,
                EPSILON,
                vb.pp(format!("batch_normalization_{}", index + 1)),
            )?,
            span: tracing::span!(tracing::Level::TRACE, "block", index),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _enter = self.span.enter();
        let x = self.conv2d.forward(x)?;
        self.batch_normalization.forward_t(&x, false)?.relu()
    }
}

/// Stride 1, one zero on each side: the size stays.
fn padded() -> Conv2dConfig {
    Conv2dConfig {
        padding: 1,
        ..Conv2dConfig::default()
    }
}

/// The network.
pub(crate) struct OpenL3 {
    batch_normalization_1: BatchNorm,
    blocks: Vec<Block>,
    audio_embedding_layer: Conv2d,
    span: tracing::Span,
}

impl OpenL3 {
    pub(crate) fn new(channels: &[usize; 9], vb: &VarBuilder) -> Result<Self> {
        Ok(Self {
            batch_normalization_1: batch_norm(
                channels[0],
                EPSILON,
                vb.pp("batch_normalization_1"),
            )?,
            blocks: (1..=7)
                .map(|index| Block::new(index, channels, vb))
                .collect::<Result<_>>()?,
            audio_embedding_layer: conv2d(
                channels[7],
                channels[8],
                3,
                padded(),
                vb.pp("audio_embedding_layer"),
            )?,
            span: tracing::span!(tracing::Level::TRACE, "openl3"),
        })
    }

    /// - `mels`: `[n, 1, 128, 199]`, dB below each window's maximum
    /// - returns: `[n, 512]`
    pub(crate) fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        let _enter = self.span.enter();
        let mut x = self.batch_normalization_1.forward_t(mels, false)?; // [n, 1, 128, 199]
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if i % 2 == 1 {
                x = x.max_pool2d(2)?; // [n, 64, 64, 99], [n, 128, 32, 49], [n, 256, 16, 24]
            }
        }
        let x = self.audio_embedding_layer.forward(&x)?; // [n, 512, 16, 24]
        x.flatten_from(2)?.max(2) // [n, 512]: one maximum over all 16 × 24 places
    }
}
