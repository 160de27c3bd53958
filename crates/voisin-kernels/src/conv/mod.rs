//! Convolutions that a CPU does fast: 3×3 by Winograd, and the whole OpenL3 network from them.
//!
//! For: networks whose weights were checked and packed beforehand, in f32 or bf16. Not for: convolutions of any other
//! shape, or a network that is still to be read; Candle does those, in `voisin-encoder`.

#![allow(clippy::too_many_arguments, reason = "kernels and blocks of a convolution have that many")]

mod act;
mod backward;
mod blocks;
mod filters;
mod first;
mod grad_kernels;

mod layer;
mod net;
mod norm_kernels;
mod norm_pass;
mod sums;
mod train;
mod train_steps;
pub mod vgg;
mod weight_grad;
mod weights;
mod winograd;

pub use blocks::{BlockGradients, BlockMask, BlockPlan, BlockTensors, ConvBlocks};
pub use net::{FRAMES, FastOpenL3, MELS, WINDOW};
pub use train::{OpenL3Train, Parameter};
pub use weights::is_pooled;
pub use weights::{BATCH_NORM_EPS, ConvWeights, NormWeights, OPENL3_WIDTHS, OpenL3Weights, WeightsError};
