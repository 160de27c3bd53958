//! A library in a database, for queries: tracks are fetched from it into a temporary library on this disk, which answers with
//! the same code as any other.
//!
//! For: the interface of a database to all callers, and the queries that it cannot answer. Not for: addresses and
//! connections (voisin-postgres), nor the wording of errors for a user; each caller does that.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use super::{Filters, QuestionError};
use crate::answers::status::StatusJson;
use voisin_base::remedy::Remedy;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};
use voisin_library::TrackFilter;

/// Tracks that a query names.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// A track by its id in the temporary library.
    Id(TrackId),
    /// The track of a file.
    Path(&'a Path),
    /// Tracks whose names have all of these words.
    Words(&'a str),
    /// In the command line's grammar (docs/grammar.md); `-` names nothing.
    Written(&'a OsStr),
}

/// A database and the temporary library with the tracks that were fetched from it.
pub trait RemoteLibrary: Send {
    /// The temporary library.
    fn engine(&mut self) -> &mut Engine;

    /// The number of tracks in the database.
    fn tracks(&mut self) -> Result<usize, QuestionError>;

    /// The generation of the database when the temporary library was made.
    fn generation(&self) -> u64;

    /// Whether that is still its generation, and the temporary library is small enough to be kept for the next query.
    fn is_current(&mut self) -> Result<bool, QuestionError>;

    /// Whether the temporary library has all tracks.
    fn is_whole(&self) -> bool;

    /// Sets which vectors come with the tracks fetched from now on.
    ///
    /// - `windows`: window vectors, if they were pushed
    /// - `exact`: bit-exact vectors of tracks, instead of the 16 bits a number that searches use
    fn set_vectors(&mut self, windows: bool, exact: bool);

    /// Fetches the tracks that a name may mean.
    fn fetch(&mut self, named: Named<'_>) -> Result<(), QuestionError>;

    /// Fetches at least one track of each artist, genre and folder that the filters name.
    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError>;

    /// Fetches tracks without a name.
    ///
    /// - `most`: a random sample of at most this many; `None`: all
    fn fetch_all(&mut self, most: Option<usize>) -> Result<(), QuestionError>;

    /// Fetches the tracks that an answer compares with each other: all, or if they are many, the nearest of each seed that
    /// pass the filter, by the database's index, and a sample that represents the others.
    ///
    /// - returns: a description of the tracks fetched, if these are not all
    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, QuestionError>;

    /// As [`Engine::list`], from the whole database.
    fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, QuestionError>;

    /// As [`Engine::similar`], from the whole database.
    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError>;

    /// Replaces the temporary library's place, counts and index in a status by those of the database.
    fn describe(&mut self, status: &mut StatusJson) -> Result<(), QuestionError>;
}

/// A query that only a library on this disk answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalOnly {
    /// Avoiding a track.
    Unlike,
    /// A cluster's tracks.
    Cluster,
    /// All clusters.
    Clusters,
    /// Copies of recordings.
    Duplicates,
    /// Tracks by words for their sound.
    Find,
    /// The model's tags of all tracks.
    Tags,
    /// A filter by tags of the model.
    Tag,
    /// A filter or a name by composer.
    Composer,
    /// A filter by a regular expression.
    Regex,
}

impl fmt::Display for LocalOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Unlike => "avoiding a track",
            Self::Cluster => "a cluster",
            Self::Clusters => "clustering",
            Self::Duplicates => "a search for copies",
            Self::Find => "a search by words",
            Self::Tags => "a search by the model's tags",
            Self::Tag => "a filter by tag",
            Self::Composer => "a search by composer",
            Self::Regex => "a filter by regular expression",
        };
        write!(f, "{what} needs all tracks, which a database does not send")
    }
}

impl Error for LocalOnly {}

impl LocalOnly {
    /// The next step: a copy of the library on this disk.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::Pull)
    }
}

/// Why a database failed: it is unreachable, rejects the query, or holds a damaged library.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RemoteError {
    /// The database's own error.
    pub source: Box<dyn Error + Send + Sync>,
    /// The next step, where the message does not have it.
    pub remedy: Option<Remedy>,
}
