//! What can go wrong in an evaluation.

use std::path::PathBuf;

use crate::genre::GenreError;

/// Errors of the evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The genre engine could not do its part.
    #[error(transparent)]
    Genre(#[from] GenreError),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a matrix of numbers that can be read.
    #[error("{}: expected a two-dimensional .npy of float32 or float64, found {found}", path.display())]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A line of a CSV file that makes no sense.
    #[error("{}, line {line}: {problem}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Counted from 1, the header being the first.
        line: u64,
        /// What is wrong, and what was expected.
        problem: String,
    },
}
