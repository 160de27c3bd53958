//! From samples to mel spectrograms (windows, STFT, mel bands, decibels), tempo and key. Pure
//! mathematics.
//!
//! Not for: decoding and resampling (`audio`), or anything that has weights (`encoder`).
//!
//! ```
//! use voisin_features::{MelConfig, MelFrontEnd, windows};
//!
//! let front_end = MelFrontEnd::new(MelConfig::openl3())?;
//! let track: Vec<f32> = (0..96_000).map(|i| (i as f32 * 0.05).sin()).collect(); // 2 s at 48 kHz
//! for start in windows::spread(track.len() as u64, front_end.config().window_samples, 2, 48_000) {
//!     let mel = front_end.compute(&track[start as usize..]);
//!     assert_eq!(mel.dim(), (128, 199)); // dB below the window's loudest cell, -80..=0
//! }
//! # Ok::<(), voisin_features::FeaturesError>(())
//! ```

// Not forbid, because ndarray's s![] expands to an allowed unsafe block.
#![deny(unsafe_code)]
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
mod stft;
mod tempo;
mod views;
pub mod windows;

pub use change::SpectralChange;
pub use config::{Compression, MelConfig, MelNorm, MelScale, Spectrum};
pub use descriptors::{DESCRIPTOR_HOP, DESCRIPTOR_RATE, DescriptorSet};
pub use front_end::{MelFrontEnd, Scratch};
pub use key::KeyFinder;
pub use measures::Measures;
pub use mel::filter_bank;
pub use tempo::{Onsets, tempo};
pub use views::ClipViews;

/// An error in a front end's configuration.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeaturesError {
    /// A parameter is outside its range.
    #[error("front end: {field} is {found}, expected {expected}")]
    Config {
        /// The parameter.
        field: &'static str,
        /// Its value.
        found: String,
        /// The allowed values.
        expected: String,
    },
    /// The requested instruction set is not available.
    #[error(transparent)]
    Isa(#[from] voisin_simd::IsaError),
}
