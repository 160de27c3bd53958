//! Training of classifying networks, and the optimiser and checkpoints that all training shares.
//!
//! ```text
//! spectrograms of labelled tracks → fit → best weights
//! ```
//!
//! Not for: the networks and their gradients ([`voisin_encoder`]), genre heads (`voisin-genre`),
//! training of encoders (`research/train-encoder`).

// Not forbid: ndarray's s![] expands to an unsafe block.
#![deny(unsafe_code)]

pub mod classifier;
mod error;
mod optimiser;
pub mod session;
mod vary;

pub use error::TrainError;
pub use optimiser::{AdamW, AdamWOptions, cosine};
pub use vary::{cubic, power, vary};
