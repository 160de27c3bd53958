//! voisin ("neighbour"): a vector-search engine for music.
//!
//! Audio files become vectors; vectors that lie near each other are tracks that sound alike.
//!
//! ```text
//! file → Waveform → windows → MelSpectrogram → Encoder → Embedding → Library (SQLite) → VectorIndex
//!        audio      features  features         encoder                library            index
//! ```
//!
//! [`engine::Engine`] joins the parts; [`genre`] and [`explore`] work on what the library holds.

pub mod audio;
mod base;
#[doc(hidden)]
pub mod cli;
pub mod encoder;
pub mod engine;
mod error;
pub mod eval;
pub mod explore;
pub mod features;
pub mod genre;
pub mod index;
#[doc(hidden)]
pub mod kernels;
pub mod library;
pub mod metrics;
pub mod track;
pub mod train;

pub use error::{Error, Result};
