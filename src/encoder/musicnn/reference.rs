//! MusiCNN layer by layer in Candle: the reference of the fast path, and what runs on a GPU.

use candle_core::{D, Module, ModuleT, Result, Tensor};
use candle_nn::{BatchNorm, Conv1d, Conv1dConfig, VarBuilder, batch_norm, conv1d};
use candle_transformers::models::with_tracing::{Linear, linear};

use super::{CONVOLUTIONS, Convolution, DENSE, EPSILON, MIDDLE, NORMS, convolutions};

/// A convolution over the spectrogram, or over the mean of its bands, ReLU, batch norm, maximum over the bands.
struct FrontBlock {
    weight: Tensor,
    of_mean: bool,
    bias: Tensor,
    norm: BatchNorm,
    /// Zeros before and after in time, so that frames stay 187 (TensorFlow's "same": the odd one after).
    padding: (usize, usize),
    span: tracing::Span,
}

impl FrontBlock {
    fn new(layer: &Convolution, index: usize, vb: &VarBuilder) -> Result<Self> {
        let taps = layer.shape[2];
        let weight = vb.get(layer.shape, &format!("{}.weight", layer.name))?;
        let of_mean = layer.shape.len() == 3;
        Ok(Self {
            weight: if of_mean { weight.unsqueeze(D::Minus1)? } else { weight },
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
        let x = if self.of_mean { x.mean_keepdim(D::Minus1)? } else { x.clone() };
        let x = x.pad_with_zeros(2, self.padding.0, self.padding.1)?;
        let x = x.conv2d(&self.weight, 0, 1, 1, 1)?; // [n, channels, 187, 59 | 30 | 96 | 1]
        let x = x.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?.relu()?;
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
        let config = Conv1dConfig { padding: 3, ..Conv1dConfig::default() };
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
            middle: (5..8).map(|i| MiddleBlock::new(i, vb)).collect::<Result<_>>()?,
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
        let x = self.input_norm.forward_t(mels, false)?.transpose(2, 3)?.contiguous()?; // [n, 1, 187, 96]
        let front = self.front.iter().map(|block| block.forward(&x)).collect::<Result<Vec<_>>>()?;
        let front = Tensor::cat(&front, 1)?; // [n, 561, 187]
        let first = self.middle[0].forward(&front)?; // [n, 64, 187]
        let second = (self.middle[1].forward(&first)? + &first)?;
        let third = (self.middle[2].forward(&second)? + &second)?;
        let joined = Tensor::cat(&[front, first, second, third], 1)?; // [n, 753, 187]
        // Maximum and mean of each channel side by side: [n, 753, 2], then [n, 1506].
        let pools = Tensor::stack(&[joined.max(D::Minus1)?, joined.mean(D::Minus1)?], 2)?.flatten_from(1)?;
        let dense = self.dense.forward(&self.pools_norm.forward_t(&pools, false)?)?.relu()?;
        let penultimate = self.penultimate_norm.forward_t(&dense, false)?; // [n, 200]
        let logits = self.dense_1.forward(&penultimate)?; // [n, 50]
        Ok((penultimate, logits))
    }
}
