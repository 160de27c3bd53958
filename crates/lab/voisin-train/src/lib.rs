//! Training of classifying networks, and the optimiser, checkpoints and loop that all training shares.
//!
//! ```text
//! spectrograms of labelled tracks → fit → best weights
//! ```
//!
//! Not for: the networks and their gradients ([`voisin_encoder`]), genre heads (`voisin-genre`),
//! training of encoders (`voisin-train-encoder`).

// Not forbid: ndarray's s![] expands to an unsafe block.
#![deny(unsafe_code)]

pub mod classifier;
mod error;
mod head;
mod openl3;
mod optimiser;
pub mod session;
mod student;
mod vary;

pub use error::TrainError;
pub use head::TeacherHead;
pub use openl3::{model_weights, widths};
pub use optimiser::{AdamW, AdamWOptions, cosine};
pub use student::{LearningLayer, Student};
pub use vary::{cubic, power, vary};
