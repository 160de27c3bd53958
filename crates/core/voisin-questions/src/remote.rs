//! A library in a database, for queries: tracks are fetched from it into a temporary library on this disk, which answers with
//! the same code as any other.
//!
//! For: the interface of a database to all callers, and the queries that it cannot answer. Not for: addresses and
//! connections (voisin-postgres), nor the wording of errors for a user; each caller does that.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;

use super::{Filters, QuestionError};
use voisin_engine::{Engine, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};

/// A database and the temporary library with the tracks that were fetched from it.
pub trait RemoteLibrary: Send {
    /// The temporary library.
    fn engine(&mut self) -> &mut Engine;

    /// The number of tracks in the database.
    fn tracks(&mut self) -> Result<usize, QuestionError>;

    /// Fetches the tracks that a name in the command line's grammar (docs/grammar.md) may mean; `-` names nothing.
    fn fetch(&mut self, name: &OsStr) -> Result<(), QuestionError>;

    /// Fetches at least one track of each artist, genre and folder that the filters name.
    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError>;

    /// Fetches the tracks that an answer compares with each other: all, or if they are many, the nearest of each seed, by the
    /// database's index, and a sample that represents the others.
    ///
    /// - returns: a description of the tracks fetched, if these are not all
    fn fetch_around(&mut self, seeds: &[Seed]) -> Result<Option<String>, QuestionError>;

    /// As [`Engine::list`], from the whole database.
    fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, QuestionError>;

    /// As [`Engine::similar`], from the whole database.
    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError>;
}

/// A query that only a library on this disk answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalOnly {
    /// Avoiding a track.
    Unlike,
    /// Tracks by words for their sound.
    Find,
    /// A filter by tags of the model.
    Tag,
    /// A filter or a name by composer.
    Composer,
}

/// The next step for queries that a database does not answer.
pub const PULL: &str = "fetch its library with \"voisin pull --from URL --library DIR\", then use --library DIR without a backend";

impl fmt::Display for LocalOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Unlike => "avoiding a track",
            Self::Find => "a search by words",
            Self::Tag => "a filter by tag",
            Self::Composer => "a search by composer",
        };
        write!(
            f,
            "{what} needs all tracks, which a database does not send: {PULL}"
        )
    }
}

impl Error for LocalOnly {}

/// Why a database failed: it is unreachable, rejects the query, or holds a damaged library.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RemoteError {
    /// The database's own error.
    pub source: Box<dyn Error + Send + Sync>,
}
