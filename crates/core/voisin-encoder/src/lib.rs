//! From mel spectrograms to embeddings: the networks, their weights, devices and pooling.
//!
//! ```no_run
//! use voisin_encoder::{DeviceChoice, Encoder, ModelRef, pool};
//!
//! let device = DeviceChoice::Auto.resolve()?;
//! let encoder = Encoder::load(&ModelRef::Name("voisin-3".to_owned()), &device)?;
//! let cells = encoder.manifest().front_end.cells();
//! let mels = vec![0.0; 2 * cells]; // two spectrograms, [n_mels][n_frames] each
//! let windows = encoder.encode(&mels, 2)?; // [2, 512]
//! let track = pool(windows.view())?;
//! assert_eq!(track.dimension(), 512);
//! # Ok::<(), voisin_encoder::EncoderError>(())
//! ```
//!
//! Not here: spectrograms ([`voisin_features`]), weights files of other programs (`voisin-import`), tracks and audio
//! files.

// Not `forbid`: ndarray's `s![]` expands to an unsafe block.
#![deny(unsafe_code)]

mod architecture;
mod backend;
mod batcher;
mod clap;
mod device;
mod embedding;
mod error;
#[cfg(feature = "cuda")]
mod launch;
mod manifest;
mod models;
mod network;
mod networks;
mod onnx;
pub mod openl3;
mod projection;
mod stack;
mod tensor_file;
mod vectors;
mod weights;

pub use architecture::Architecture;
pub use clap::{
    ClapAudioSizes, ClapText, ClapTextSizes, ClapTowers, caption_vectors, captions, digest_of_file,
    open_clap,
};
pub use device::{Device, DeviceChoice};
pub use embedding::{Embedding, Parts, pool};
pub use error::EncoderError;
pub use manifest::{ModelManifest, ModelNetwork, ModelOutput, ModelProjection, Pooling};
pub use models::{
    DEFAULT_MODEL, ForeignReader, ForeignWeights, ModelEntry, ModelLocation, ModelRef,
    check_model_name, keep_model, keep_trained, models, models_dir, read_foreign_weights_by,
};
pub use network::{CpuPath, Encoder, EncoderOptions, Tagged};
pub use onnx::{
    ExternalData, OnnxAxis, OnnxGraph, OnnxInput, OnnxRunner, OnnxRuntime, OnnxSettings, OnnxText,
    OnnxValues, install_onnx_runtime, onnx_runtime, onnx_vector_length,
};
pub use projection::TagLayer;
pub use stack::{
    FinishedStack, FirstWeights, Stack, StackLayer, StackShape, StackTensor, StackTrain,
};
pub use tensor_file::{WeightTensor, read_safetensors};
pub use vectors::{NearestOnDevice, VectorsOnDevice};
pub use weights::Weights;

pub use voisin_kernels::Precision;
