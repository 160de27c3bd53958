//! Fast convolutions on a CPU: 3×3 by Winograd, and whole networks of them.
//!
//! For: networks with checked and packed weights. Not for: convolutions of other
//! shapes, or reading networks; Candle does those, in `voisin-encoder`.

#![allow(
    clippy::too_many_arguments,
    reason = "kernels and blocks of a convolution have that many"
)]

mod act;
mod chain;
mod filters;
mod first;
mod forward;
mod grad_kernels;
mod layer;
mod norm_kernels;
mod norm_pass;
mod sums;
mod train_chain;
mod weight_grad;
mod winograd;

pub use chain::{BlockPlan, BlockTensors, ChainPlan, NormPlace, Tail, affine};
pub use forward::FastChain;
pub use train_chain::{BlockGradients, BlockMask, TrainChain};
