//! OpenL3 mel128 as a chain of convolutions.

use super::chain::{BlockPlan, BlockTensors, ChainPlan, NormPlace, Tail};
use super::forward::FastChain;
use super::weights::{BATCH_NORM_EPS, OpenL3Weights, is_pooled};
use crate::{Isa, Precision};

/// Mel bands of a window.
pub const MELS: usize = 128;
/// Frames of a window.
pub const FRAMES: usize = 199;
/// Values of a window's mel spectrogram.
pub const WINDOW: usize = MELS * FRAMES;

/// Windows that go through each convolution together in use: all of the deep ones, so that their
/// filters are read once.
const TOGETHER: [usize; 8] = [2, 2, 2, 2, 2, 2, 8, 8];

/// The same in training, for one step backward.
pub(super) const TOGETHER_TRAINING: [usize; 8] = [2, 2, 4, 4, 8, 8, 8, 8];

/// The network.
///
/// - `widths`: output channels of its convolutions
/// - `norm`: where the batch norm of each but the last is
/// - `together`: windows that go through each of them together
pub(super) fn openl3_plan(
    widths: &[usize],
    input: [usize; 2],
    norm: NormPlace,
    together: [usize; 8],
) -> ChainPlan {
    let blocks = widths
        .iter()
        .zip(together)
        .enumerate()
        .map(|(i, (&out, together))| {
            let pool = if is_pooled(i) { [2, 2] } else { [1, 1] };
            BlockPlan {
                out,
                norm: if i < 7 { norm } else { NormPlace::Absent },
                pool,
                together,
            }
        });
    ChainPlan {
        input,
        blocks: blocks.collect(),
        tail: Tail::Maximum,
        epsilon: f64::from(BATCH_NORM_EPS),
    }
}

impl FastChain {
    /// OpenL3 with its batch norms folded, for windows of 128 × 199 values in dB; what comes out of
    /// a window is its embedding.
    ///
    /// - `precision`: of the products (f32 where `isa` has no other)
    pub fn openl3(weights: &OpenL3Weights, isa: Isa, precision: Precision) -> Self {
        let (scale, shift) = weights.input_norm.affine();
        let convs = weights.convs.iter().enumerate();
        let folded: Vec<_> = convs
            .map(|(i, conv)| {
                weights
                    .norms
                    .get(i)
                    .map_or_else(|| conv.clone(), |norm| conv.folded(norm))
            })
            .collect();
        let tensors: Vec<_> = folded
            .iter()
            .map(|conv| BlockTensors {
                weight: &conv.weight,
                bias: &conv.bias,
                norm: None,
            })
            .collect();
        let plan = openl3_plan(
            &weights.widths(),
            [MELS, FRAMES],
            NormPlace::Absent,
            TOGETHER,
        );
        Self::new(plan, (scale[0], shift[0]), &tensors, true, isa, precision)
    }
}
