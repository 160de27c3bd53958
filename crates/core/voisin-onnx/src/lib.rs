//! Runs ONNX networks of other programs, on a CPU, with tract.
//!
//! A file is read and checked ([`OnnxFile`]), cut down to one output, and made a network for inputs of fixed shapes
//! ([`OnnxNetwork`]). [`install`] lets the encoders of this process run them.
//!
//! Not here: what the numbers mean, spectrograms, and the models that files become.

#![forbid(unsafe_code)]

mod file;
mod guarded;
mod network;
mod runtime;

pub use file::OnnxFile;
pub use network::OnnxNetwork;
pub use runtime::install;
pub use voisin_encoder::{OnnxInput, OnnxValues};

/// Why a file is no network that can be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The bytes are no ONNX file, or break its rules.
    #[error("not an ONNX file that can be read: {0}")]
    Damaged(String),
    /// Data in a file beside it that may not be read, or is not there.
    #[error("external data: {0}")]
    External(String),
    /// Operators that are not run here.
    #[error("operators that voisin does not run: {0}")]
    Operators(String),
    /// An output that is not there, or several to choose from.
    #[error("{0}")]
    Output(String),
    /// Inputs other than one sound, or one text.
    #[error("{0}")]
    Input(String),
    /// More memory or work than a network of this kind takes.
    #[error("{0}")]
    TooLarge(String),
    /// Shapes that contradict each other, or an operator in a form that is not run here.
    #[error("cannot be run: {0}")]
    Network(String),
}

/// A message of other people's code, or a name from a file, at a length that can be read.
fn short(text: &str, letters: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(letters)
        .collect();
    if text.chars().count() > letters {
        line + "…"
    } else {
        line
    }
}
