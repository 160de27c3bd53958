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
mod layer;
mod winograd;

pub use chain::{BlockPlan, BlockTensors, ChainPlan, NormNumbers, affine};
pub use forward::FastChain;
