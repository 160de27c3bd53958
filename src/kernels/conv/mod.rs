//! Convolutions that a CPU does fast: 3×3 by Winograd, and the whole OpenL3 network from them.

#![allow(clippy::too_many_arguments, reason = "kernels and blocks of a convolution have that many")]

mod act;
#[cfg(feature = "train")]
mod backward;
mod first;
mod grad_kernels;
mod kernels;
mod layer;
mod net;
mod norm_kernels;
#[cfg(feature = "train")]
mod train;
#[cfg(feature = "train")]
mod train_steps;
pub(crate) mod vgg;
mod weight_grad;
mod weights;

pub use net::{FRAMES, FastOpenL3, MELS, WINDOW};
#[cfg(feature = "train")]
pub use train::{OpenL3Train, Parameter};
pub(crate) use weights::is_pooled;
pub use weights::{BATCH_NORM_EPS, ConvWeights, NormWeights, OPENL3_WIDTHS, OpenL3Weights, WeightsError};
