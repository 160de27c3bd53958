//! A network of 3×3 convolutions as data, which [`super::forward`] computes.

use super::act::Shape;

/// Consecutive convolutions, from an image of one channel on; the last one is reduced to each
/// channel's maximum over all places.
#[derive(Clone, Debug)]
pub struct ChainPlan {
    pub input: [usize; 2],
    /// The blocks, the first of which takes the image.
    pub blocks: Vec<BlockPlan>,
}

/// One block: a 3×3 convolution that keeps the image's size, with any batch norm folded into it,
/// ReLU (not in the last block), and a max pool of 2 × 2 or none.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlan {
    /// Output channels, a multiple of 16.
    pub out: usize,
    /// Whether 2 × 2 places become their maximum; incomplete pools are dropped.
    pub is_pooled: bool,
    /// Examples per pass, so that a step's output is still in cache when the next one reads it.
    pub together: usize,
}

/// γ, β, running mean and running variance of a batch norm.
pub type NormNumbers = [Vec<f32>; 4];

#[derive(Debug)]
pub struct BlockTensors {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub norm: Option<NormNumbers>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BlockShapes {
    pub(super) from: Shape,
    pub(super) a: Shape,
}

impl ChainPlan {
    /// Shapes of the blocks. The first one's `from` has as many channels as its output.
    ///
    /// # Panics
    /// If there is no block, channels are no multiple of 16, or nothing is left of an image.
    pub(super) fn shapes(&self) -> Vec<BlockShapes> {
        assert!(!self.blocks.is_empty(), "a network has convolutions");
        let mut from = Shape {
            h: self.input[0],
            w: self.input[1],
            c: self.blocks[0].out,
        };
        let shapes = self.blocks.iter().map(|block| {
            let y = Shape {
                c: block.out,
                ..from
            };
            assert!(
                y.h * y.w > 0 && y.c > 0 && y.c.is_multiple_of(16),
                "whole registers of channels"
            );
            let a = if block.is_pooled { y.pooled(y.c) } else { y };
            BlockShapes {
                from: std::mem::replace(&mut from, a),
                a,
            }
        });
        shapes.collect()
    }
}

/// The affine map of a batch norm in inference, y = scale · x + shift for each channel.
pub fn affine([gamma, beta, mean, variance]: &NormNumbers, epsilon: f64) -> Vec<(f64, f64)> {
    let map = |i: usize| {
        // In f64, because a small variance makes the scale large, and the shift a difference of
        // large numbers.
        let scale = f64::from(gamma[i]) / (f64::from(variance[i]) + epsilon).sqrt();
        (scale, f64::from(beta[i]) - scale * f64::from(mean[i]))
    };
    (0..gamma.len()).map(map).collect()
}

/// The direct first convolution's filters, `[9][out]`, from `[out][1][3][3]`.
pub(super) fn turn_first(weight: &[f32], turned: &mut [f32]) {
    let c = turned.len() / 9;
    for (i, w) in weight.iter().enumerate() {
        turned[i % 9 * c + i / 9] = *w;
    }
}
