//! Convolutions that a CPU does fast: 3×3 by Winograd, and the whole OpenL3 network from them.

#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]
#![allow(clippy::needless_range_loop, reason = "register tiles are indexed by row and column")]
#![allow(clippy::too_many_arguments, reason = "kernels and blocks of a convolution have that many")]
#![allow(clippy::wildcard_imports, reason = "std::arch intrinsics")]

mod act;
pub(in crate::encoder) mod arena;
#[cfg(feature = "train")]
mod backward;
mod candle_op;
pub(in crate::encoder) mod dispatch;
mod first;
mod grad_kernels;
mod isa;
mod kernels;
mod layer;
mod net;
mod norm_kernels;
pub(in crate::encoder) mod simd;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod train_steps;
pub(crate) mod vgg;
mod weight_grad;
mod weights;

pub use candle_op::{Activation, Conv3x3, conv3x3};
pub use isa::{Isa, Precision, isa};
pub use net::{FRAMES, FastOpenL3, MELS, WINDOW};
#[cfg(feature = "train")]
pub use train::{OpenL3Train, Parameter};
pub use weights::{BATCH_NORM_EPS, ConvWeights, NormWeights, OPENL3_WIDTHS, OpenL3Weights, WeightsError};
