//! From mel spectrograms to embeddings: the networks, their weights, devices and pooling.
//!
//! ```no_run
//! use voisin_encoder::{DeviceChoice, Encoder, ModelRef, Parts};
//!
//! let device = DeviceChoice::Auto.resolve()?;
//! let encoder = Encoder::load(&ModelRef::Name("voisin-3".to_owned()), &device)?;
//! let cells = encoder.manifest().front_end.cells();
//! let mels = vec![0.0; 2 * cells]; // two spectrograms, [n_mels][n_frames] each
//! let windows = encoder.encode(&mels, 2)?; // [2, 512]
//! let track = Parts::of(encoder.manifest()).pool(windows.view())?;
//! assert_eq!(track.dimension(), 512);
//! # Ok::<(), voisin_encoder::EncoderError>(())
//! ```
//!
//! Not here: spectrograms ([`voisin_features`]), tracks and audio files.

// Not `forbid`: the kernels of `cpu` are unsafe.
#![deny(unsafe_code)]

mod architecture;
mod backend;
mod batcher;
mod clap;
mod cpu;
mod device;
mod embedding;
mod error;
mod import;
mod manifest;
mod models;
mod network;
mod networks;
pub mod openl3;
mod projection;
mod shipped;
mod stack;
mod tensor_file;
mod weights;

pub use architecture::Architecture;
pub use clap::{ClapAudioSizes, ClapText, ClapTextSizes, ClapTowers, caption_vectors, captions};
pub use device::{Device, DeviceChoice};
pub use embedding::{Embedding, Parts};
pub use error::EncoderError;
pub use import::{import_clap, import_model, is_clap_folder};
pub use manifest::{ModelManifest, ModelNetwork, ModelOutput, ModelProjection};
pub use models::{DEFAULT_MODEL, ModelEntry, ModelLocation, ModelRef, models, models_dir};
pub use network::{CpuPath, Encoder, Tagged};
pub use stack::{FinishedStack, Stack, StackShape, StackTensor, StackTrain};
pub use tensor_file::{WeightTensor, read_safetensors};
pub use weights::Weights;
