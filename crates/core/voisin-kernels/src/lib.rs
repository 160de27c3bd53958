//! What depends on the machine: instruction sets, memory that is aligned, shared by threads or
//! mapped from files, and the dot products of a vector index.
//!
//! Kernels are compiled for every instruction set and chosen at run time ([`Isa`]). All of voisin's
//! unsafe code is here and in `voisin-networks`, but the CUDA launches of `voisin-encoder`. Not here:
//! layers of networks (`voisin-networks`), and what vectors mean (`voisin-index`).

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

pub use isa::{Isa, IsaError, Precision, isa};
