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
    /// The default genre head, or the tags given to it, make no sense.
    #[error("the default genre head cannot be used: {reason}")]
    DefaultHead {
        /// What is wrong.
        reason: String,
    },
    /// Genres that an answer was to be among, none of which can be an answer.
    #[error("no answer can be among {asked}: expected one or more of {known}")]
    Among {
        /// What was asked.
        asked: String,
        /// What there is.
        known: String,
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
    /// Two inputs that must have one row per track do not.
    #[error("{what}: expected {expected} rows, found {found}")]
    Rows {
        /// Which input.
        what: &'static str,
        /// How many rows were expected.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// Vectors of another width than the model's.
    #[error("{what} have {found} dimensions, the genre model expects {expected}: train it again")]
    Dimension {
        /// Which vectors.
        what: &'static str,
        /// The model's width.
        expected: usize,
        /// The width given.
        found: usize,
    },
    /// A vector holds NaN or infinity.
    #[error("{what}, row {row}: not a finite number; remove or repair that track first")]
    NotFinite {
        /// Which vectors.
        what: &'static str,
        /// The row.
        row: usize,
    },
    /// Too little to learn from.
    #[error("found {tracks} labelled tracks of {genres} genre(s): expected at least {needed}")]
    TooFew {
        /// Labelled tracks.
        tracks: usize,
        /// Genres among them.
        genres: usize,
        /// What is needed, in words.
        needed: &'static str,
    },
    /// A genre that nobody has.
    #[error("no track of genre \"{0}\": \"voisin genres\" lists those there are")]
    UnknownGenre(String),
    /// A saved genre model that does not fit or is damaged.
    #[error("{}: {problem}: train it again with \"voisin train genre\"", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The tensor library failed.
    #[error("in the genre head: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl GenreError {
    /// [`GenreError::Among`] with the names.
    pub fn among<'a>(asked: &[super::Genre], known: impl Iterator<Item = &'a super::Genre>) -> Self {
        let list = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
        Self::Among {
            asked: list(&mut asked.iter().map(ToString::to_string)),
            known: list(&mut known.map(ToString::to_string)),
        }
    }
}
