//! Machine-dependent code: instruction sets, memory that is aligned, shared by threads or mapped from
//! files, and the dot products of a vector index.
//!
//! Kernels are compiled for every instruction set and chosen at run time ([`Isa`]). All of voisin's
//! unsafe code is here and in the networks' kernels of `voisin-encoder`. Not here: those, and the
//! meaning of vectors (`voisin-index`).

#![allow(
    unsafe_code,
    reason = "vector instructions, memory shared by threads, mapped files, the allocator"
)]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

pub mod allocator;
pub mod buffer;
pub mod dot;
pub mod isa;
mod work;

pub use isa::{Isa, IsaError, isa};
pub use work::{Work, vectorised};
