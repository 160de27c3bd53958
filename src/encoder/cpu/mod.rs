//! Layers of networks on a CPU: convolutions, MusiCNN's front, products of rows.
//!
//! One kernel source is compiled for every instruction set ([`simd`]) and chosen at run time. Not
//! here: whole networks ([`networks`](super::networks)).

#![allow(
    unsafe_code,
    reason = "vector instructions, and buffers that several threads write"
)]
#![allow(
    clippy::inline_always,
    reason = "kernels must be inlined into the function that enables their features"
)]

pub mod conv;
pub mod musicnn;
mod rows;
mod simd;
mod team;
