//! OpenL3: a sequence of blocks of 3×3 convolutions.

use candle_core::{Module, ModuleT as _, Result, Tensor};
use candle_nn::{BatchNorm, VarBuilder, batch_norm};

use super::block::{Block, EPSILON};
use super::chain::CompiledChain;
use super::{Computing, Definition};
use crate::weights::Weights;
use voisin_simd::Isa;

/// Channels of OpenL3 before and after each of the eight convolutions, as published. A network may
/// be narrower.
pub(crate) const OPENL3_CHANNELS: [usize; 9] = [1, 64, 64, 128, 128, 256, 256, 512, 512];

const OPENL3_EPSILON: f64 = EPSILON as f32 as f64;

/// Windows per pass of each block on a CPU: the deep ones' filters are read once for all.
const OPENL3_TOGETHER: [usize; 8] = [2, 2, 2, 2, 2, 2, 8, 8];

/// Zeros on each side, which keep the size.
const SAME: [bool; 2] = [true, true];

pub(crate) struct ConvNet {
    input: BatchNorm,
    blocks: Vec<Block>,
}

impl ConvNet {
    /// OpenL3 mel128 (Cramer, Wu, Salamon, Bello, "Look, Listen and Learn More", ICASSP 2019). Names are those of the
    /// weights files (torchopenl3's; Keras' without `_layer` suffixes).
    pub(crate) fn openl3(channels: &[usize; 9], vb: &VarBuilder) -> Result<Self> {
        let norm = |i: usize| {
            let name = format!("batch_normalization_{}", i + 1);
            batch_norm(channels[i], OPENL3_EPSILON, vb.pp(name))
        };
        let block = |i: usize| {
            let name = openl3_layer(i);
            let shape = [channels[i + 1], channels[i], 3, 3];
            let is_last = i == 7;
            let norm = if is_last {
                None
            } else {
                Some((norm(i + 1)?, false))
            };
            // [n, 64, 64, 99], [n, 128, 32, 49], [n, 256, 16, 24] after the second, fourth and sixth; in the end
            // [n, 512, 1, 1], one maximum over all 16 × 24 places
            let pool = if matches!(i, 1 | 3 | 5) {
                [2, 2]
            } else {
                [1, 1]
            };
            Block::new(vb, &name, &shape, norm, SAME, (!is_last).then_some(pool))
        };
        Ok(Self {
            input: norm(0)?, // [n, 1, 128, 199]
            blocks: (0..8).map(block).collect::<Result<_>>()?,
        })
    }
}

impl Definition for ConvNet {
    fn in_kernels(self: Box<Self>, size: [usize; 2], isa: Isa) -> Result<Computing> {
        let Self { input, blocks } = *self;
        let chain = CompiledChain::new(&input, &blocks, size, &OPENL3_TOGETHER, isa)?;
        Ok(Box::new(chain))
    }
}

impl Module for ConvNet {
    /// - `mels`: `[n, 1, mels, frames]`
    /// - returns: embeddings
    fn forward(&self, mels: &Tensor) -> Result<Tensor> {
        let mut x = self.input.forward_t(mels, false)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        x.flatten_from(1)
    }
}

/// Name of OpenL3's convolution `i` of 0 to 7.
pub(crate) fn openl3_layer(i: usize) -> String {
    if i == 7 {
        "audio_embedding_layer".to_owned()
    } else {
        format!("conv2d_{}", i + 1)
    }
}

/// Channels before and after each convolution of an OpenL3-shaped network: its own, where the
/// eight filter banks fit each other, have multiples of 16 channels, and end in 512; else
/// OpenL3's, for a check to say what does not fit.
pub(crate) fn openl3_channels(weights: &Weights) -> [usize; 9] {
    let mut channels = OPENL3_CHANNELS;
    for i in 0..8 {
        let shape = weights
            .tensor(&format!("{}.weight", openl3_layer(i)))
            .map(|tensor| tensor.shape.as_slice());
        match shape {
            Some(&[out, input, 3, 3])
                if input == channels[i] && (16..=1024).contains(&out) && out.is_multiple_of(16) =>
            {
                channels[i + 1] = out;
            }
            _ => return OPENL3_CHANNELS,
        }
    }
    if channels[8] == OPENL3_CHANNELS[8] {
        channels
    } else {
        OPENL3_CHANNELS
    }
}
