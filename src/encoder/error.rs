//! Errors of loading and running models.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    #[error("{path}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "no model named \"{name}\": known are {known}: give a manifest (.json) or weights file, or run \"voisin model list\""
    )]
    UnknownModel { name: String, known: String },
    /// A user's model has the name of a built-in one, which it would replace unnoticed.
    #[error(
        "{path}: \"{name}\" is the name of a built-in model, which it would stand in for: \
         give this one another name",
        path = path.display()
    )]
    BuiltInName { name: String, path: PathBuf },
    #[error("layer {number} \"{layer}\": {problem}")]
    BadLayer {
        number: usize,
        layer: String,
        problem: String,
    },
    #[error("{path}: not a model manifest: {reason}", path = path.display())]
    BadManifest { path: PathBuf, reason: String },
    /// A model of several networks where one is expected, or spectrograms for another number of
    /// networks.
    #[error(
        "model {name} joins several networks: expected a model of one, or a spectrogram for each"
    )]
    SeveralNetworks { name: String },
    #[error(
        "{path}: weights are damaged or were replaced: expected SHA-256 {expected}, found {found}; \
         fetch the model again or correct its manifest",
        path = path.display()
    )]
    WrongDigest {
        path: PathBuf,
        expected: String,
        found: String,
    },
    /// Weights, or the folder of a CLAP model, are of another kind or broken.
    #[error("{origin}: not a model voisin reads: {reason}")]
    BadWeights { origin: String, reason: String },
    #[error("device {device} is not available: {reason}")]
    Device { device: String, reason: String },
    #[error("cannot start a thread for the GPU: use --device cpu")]
    Thread(#[source] std::io::Error),
    #[error(
        "the thread that drives the GPU ended before it answered; please report it: use --device cpu"
    )]
    DeviceStopped,
    #[error(
        "a GPU belongs to the process that began to use it: load the model in this process, which \"spawn\" makes, not \"fork\""
    )]
    Forked,
    #[error("unknown device \"{0}\": expected auto, cpu, cuda or cuda:N")]
    UnknownDevice(String),
    #[error("expected {expected} mel values for {windows} windows, found {found}")]
    WrongInput {
        windows: usize,
        expected: usize,
        found: usize,
    },
    #[error("not an embedding: {0}")]
    BadVector(&'static str),
    #[error(
        "the network's output for window {window} is not finite: the weights or the spectrogram are damaged"
    )]
    NotFinite { window: usize },
    #[error(transparent)]
    Isa(#[from] voisin_simd::IsaError),
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
