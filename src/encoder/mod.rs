//! From mel spectrograms to embeddings: the networks, their weights, devices and pooling.
//!
//! ```no_run
//! use voisin::encoder::{DeviceChoice, Encoder, ModelRef, pool};
//!
//! let device = DeviceChoice::Auto.resolve()?;
//! let encoder = Encoder::load(&ModelRef::default(), &device)?;
//! let cells = encoder.manifest().front_end.cells();
//! let mels = vec![0.0; 2 * cells]; // two spectrograms, [n_mels][n_frames] each
//! let windows = encoder.encode(&mels, 2)?; // [2, 200]
//! let track = pool(windows.view())?;
//! assert_eq!(track.dimension(), 200);
//! # Ok::<(), voisin::encoder::EncoderError>(())
//! ```
//!
//! Not here: spectrograms ([`crate::features`]), and anything about tracks or files of audio.

mod batcher;
mod device;
mod embedding;
mod error;
pub mod import;
mod manifest;
mod models;
mod musicnn;
mod network;
mod openl3;
mod openl3_train;
mod projection;
mod vgg;
mod weights;

pub use device::{Device, DeviceChoice};
pub use embedding::{Embedding, pool};
pub use error::EncoderError;
pub use manifest::{Architecture, ModelManifest, ModelNetwork, ModelOutput, Pooling};
pub use models::{DEFAULT_MODEL, ModelEntry, ModelLocation, ModelRef, import_model, models, models_dir};
pub use network::{CpuPath, Encoder, EncoderOptions, Tagged};
pub use openl3_train::OpenL3TrainOnDevice;
pub use weights::{WeightTensor, Weights};

pub use crate::kernels::Precision;
