//! Errors of loading and running models.

use std::path::PathBuf;

/// An error of the encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A file could not be read or written.
    #[error("{path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No built-in model and no manifest on disk has this name.
    #[error(
        "no model named \"{name}\": known are {known}: give a manifest (.json) or weights file, or run \"voisin model list\""
    )]
    UnknownModel {
        /// The requested name.
        name: String,
        /// Comma-separated names that exist.
        known: String,
    },
    /// A user's model has the name of a built-in one, which it would replace unnoticed.
    #[error(
        "{path}: \"{name}\" is the name of a built-in model, which it would stand in for: \
         give this one another name",
        path = path.display()
    )]
    BuiltInName {
        /// The name.
        name: String,
        /// The weights to be imported, or the manifest in the models folder.
        path: PathBuf,
    },
    /// A layer in a list does not fit the one before it, or is unknown.
    #[error("layer {number} \"{layer}\": {problem}")]
    BadLayer {
        /// Its number, from 1.
        number: usize,
        /// Its text.
        layer: String,
        /// Expected and found.
        problem: String,
    },
    /// A manifest is not valid JSON, or its fields contradict each other.
    #[error("{path}: not a model manifest: {reason}", path = path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A model of several networks where one is expected, or spectrograms for another number of
    /// networks.
    #[error(
        "model {name} joins several networks: expected a model of one, or a spectrogram for each"
    )]
    SeveralNetworks {
        /// Its name.
        name: String,
    },
    /// The digest of the weights differs from the manifest's.
    #[error(
        "{path}: weights are damaged or were replaced: expected SHA-256 {expected}, found {found}; \
         fetch the model again or correct its manifest",
        path = path.display()
    )]
    WrongDigest {
        /// The weights file.
        path: PathBuf,
        /// Digest in the manifest.
        expected: String,
        /// Digest of the file.
        found: String,
    },
    /// Weights, or the folder of a CLAP model, are of another kind or broken.
    #[error("{origin}: not a model voisin reads: {reason}")]
    BadWeights {
        /// File or model name.
        origin: String,
        /// The fault.
        reason: String,
    },
    /// The requested device is not available.
    #[error("device {device} is not available: {reason}")]
    Device {
        /// The requested device.
        device: String,
        /// Why not.
        reason: String,
    },
    /// The thread that drives the GPU could not be started.
    #[error("cannot start a thread for the GPU: use --device cpu")]
    Thread(#[source] std::io::Error),
    /// The thread that drives the GPU ended before it answered.
    #[error(
        "the thread that drives the GPU ended before it answered; please report it: use --device cpu"
    )]
    DeviceStopped,
    /// The thread that drives the GPU belongs to the process that this one was forked from.
    #[error(
        "a GPU belongs to the process that began to use it: load the model in this process, which \"spawn\" makes, not \"fork\""
    )]
    Forked,
    /// A device that is not one of `auto`, `cpu`, `cuda`, `cuda:N`.
    #[error("unknown device \"{0}\": expected auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),
    /// The number of spectrogram values is not a whole number of windows.
    #[error("expected {expected} mel values for {windows} windows, found {found}")]
    WrongInput {
        /// Stated number of windows.
        windows: usize,
        /// `windows * n_mels * n_frames`.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A vector that cannot be an embedding: empty, zero, or with a value that is not finite.
    #[error("not an embedding: {0}")]
    BadVector(&'static str),
    /// The network produced a value that is not finite.
    #[error(
        "the network's output for window {window} is not finite: the weights or the spectrogram are damaged"
    )]
    NotFinite {
        /// Index of the window in the batch.
        window: usize,
    },
    /// The requested instruction set is not available.
    #[error(transparent)]
    Isa(#[from] voisin_simd::IsaError),
    /// Candle failed.
    #[error("tensor computation: {0}")]
    Candle(#[from] candle_core::Error),
}

impl EncoderError {
    /// [`BadWeights`](Self::BadWeights) for a reason.
    pub(crate) fn bad(origin: impl ToString) -> impl FnOnce(String) -> Self {
        let origin = origin.to_string();
        move |reason| Self::BadWeights { origin, reason }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
