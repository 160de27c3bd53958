//! Complex Fourier transforms, for other crates.
//!
//! A planner holds code for each instruction set and many lengths, and Rust compiles it again in
//! each crate that makes one: with all of voisin's planners in this crate, it is compiled once for
//! f32 and once for f64.

use std::sync::Arc;

pub use rustfft::Fft;
pub use rustfft::num_complex::Complex32;

/// The transform of `len` values and its inverse, neither of which is scaled.
pub fn plan(len: usize) -> (Arc<dyn Fft<f32>>, Arc<dyn Fft<f32>>) {
    let mut planner = rustfft::FftPlanner::new();
    (planner.plan_fft_forward(len), planner.plan_fft_inverse(len))
}
