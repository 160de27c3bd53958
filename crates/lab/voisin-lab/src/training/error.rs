//! Errors of training.

use std::path::{Path, PathBuf};

use voisin_encoder::EncoderError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    #[error("{path}", path = path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A checkpoint is damaged, or belongs to another run.
    #[error("{path}: {reason}", path = path.display())]
    Checkpoint { path: PathBuf, reason: String },
    /// An option is out of range, or options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The loss is not finite.
    #[error(
        "the loss is {loss} at step {step}: lower the learning rate and resume from the last checkpoint"
    )]
    Diverged { step: u64, loss: f32 },
}

impl TrainError {
    /// A file could not be read or written, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    /// A checkpoint is damaged, or belongs to another run.
    #[allow(clippy::needless_pass_by_value, reason = "an error or a text")]
    pub fn checkpoint(path: &Path, reason: impl ToString) -> Self {
        Self::Checkpoint {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
