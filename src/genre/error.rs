//! What can go wrong with genres.

use std::path::PathBuf;

/// Errors of the genre engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenreError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a synonym file is not two columns.
    #[error("{}, line {line}: expected a spelling, a tab and a genre, found {columns} column(s)", path.display())]
    SynonymLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// How many columns the line has.
        columns: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {value}: expected {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is accepted.
        expected: &'static str,
    },
}
