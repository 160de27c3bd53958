//! From samples to mel spectrograms (windows, STFT, mel bands, decibels), tempo and key.
//!
//! Not for: decoding and resampling (`audio`), or anything that has weights (`encoder`).

#![forbid(unsafe_code)]
#![allow(
    clippy::inline_always,
    reason = "what is not inlined into the functions that enable vector instructions would run without them"
)]

mod change;
mod clip;
mod compress;
mod config;
mod constant_q;
mod descriptors;
mod front_end;
mod key;
mod measures;
mod mel;
mod spectra;

mod tempo;
mod transform;
mod views;
pub mod windows;

pub use change::SpectralChange;
pub use config::{Compression, MelConfig, MelNorm, MelScale, Spectrum};
pub use descriptors::{DESCRIPTOR_HOP, DESCRIPTOR_RATE, DescriptorSet};
pub use front_end::{MelFrontEnd, Scratch};
pub use key::KeyFinder;
pub use measures::Measures;
pub use mel::filter_bank;
pub use tempo::Onsets;
pub use views::ClipViews;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeaturesError {
    /// A parameter, its value and what is allowed.
    #[error("front end: {0} is {1}, expected {2}")]
    Config(&'static str, String, String),
    #[error(transparent)]
    Isa(#[from] voisin_simd::IsaError),
}
