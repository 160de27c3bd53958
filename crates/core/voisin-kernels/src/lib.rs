//! Code that needs a processor's vector instructions, memory it lays out itself or threads in step:
//! convolutions and their gradients, MusiCNN's products and transforms, dot products of the index.
//! All of voisin's unsafe code is here but the CUDA launches of `voisin-encoder`.
//!
//! One kernel source is compiled for every instruction set (`simd`) and chosen at run time
//! ([`Isa`]). Not here: what the numbers mean. Networks are put together in `voisin-encoder`,
//! vectors compared in `voisin-index`.

#![allow(
    unsafe_code,
    reason = "vector instructions, memory shared by threads, mapped files, the allocator"
)]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

pub mod allocator;
#[cfg_attr(
    not(feature = "networks"),
    expect(dead_code, reason = "an index maps files alone")
)]
pub mod buffer;
pub mod dot;
mod isa;
#[cfg(feature = "networks")]
mod networks;

pub use isa::{Isa, IsaError, Precision, isa};
#[cfg(feature = "networks")]
pub use networks::*;
