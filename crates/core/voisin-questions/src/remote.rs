//! A library in a database, as questions need it: tracks are fetched from there into a temporary library on this disk, which
//! answers with the same code as any other.
//!
//! For: the interface that a database has for every caller, and which questions it cannot answer. Not for: addresses and
//! connections (voisin-postgres), nor how an error is worded for a user; each caller does that.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use super::{Filters, QuestionError};
use crate::answers::status::StatusJson;
use voisin_base::remedy::Remedy;
use voisin_base::track::TrackId;
use voisin_engine::{
    Engine, MixOptions, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use voisin_library::TrackFilter;

/// Tracks that a question names.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// A track by its id, as the temporary library has it.
    Id(TrackId),
    /// The track of a file.
    Path(&'a Path),
    /// Tracks whose names have all of these words.
    Words(&'a str),
    /// The tracks of an artist.
    Artist(&'a str),
    /// The tracks of an album.
    Album(&'a str),
    /// As the command line has it (docs/grammar.md); `-` names nothing.
    Written(&'a OsStr),
}

/// A database and the temporary library that holds what was fetched from it.
pub trait RemoteLibrary: Send {
    /// The temporary library.
    fn engine(&mut self) -> &mut Engine;

    /// How many tracks the database has.
    fn tracks(&mut self) -> Result<usize, QuestionError>;

    /// The state of the database that the temporary library is of.
    fn generation(&self) -> u64;

    /// Whether that is still its state, and the temporary library is small enough to be kept for the next question.
    fn is_current(&mut self) -> Result<bool, QuestionError>;

    /// Whether the temporary library has all tracks.
    fn is_whole(&self) -> bool;

    /// Chooses which vectors come with the tracks that are fetched from now on.
    ///
    /// - `windows`: those of windows, as far as they were sent
    /// - `exact`: those of tracks to the last bit, and not at the 16 bits a number that are searched
    fn set_vectors(&mut self, windows: bool, exact: bool);

    /// Fetches the tracks that a name may mean.
    fn fetch(&mut self, named: Named<'_>) -> Result<(), QuestionError>;

    /// Fetches one track at least of each artist, genre and folder that filters name.
    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError>;

    /// Fetches tracks that nobody names.
    ///
    /// - `most`: how many at most, drawn at random; `None`: all
    fn fetch_all(&mut self, most: Option<usize>) -> Result<(), QuestionError>;

    /// Fetches the tracks that an answer compares with each other: all, or where they are many, of those that pass the
    /// filter the nearest of each seed by the database's index, and a sample that stands for all the others.
    ///
    /// - returns: what was fetched, in words, where that is not all
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

    /// As [`Engine::mix`], from the whole database.
    fn mix(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError>;

    /// Puts the database's place, counts and index in the place of those of the temporary library.
    fn describe(&mut self, status: &mut StatusJson) -> Result<(), QuestionError>;
}

/// A question that only a library on this disk answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalOnly {
    /// More of one thing and less of another.
    Steering,
    /// Staying away from a track.
    Unlike,
    /// Passages that sound like a passage.
    Passage,
    /// A cluster's tracks.
    Cluster,
    /// All clusters.
    Clusters,
    /// Copies of recordings.
    Duplicates,
    /// Tracks by words for their sound.
    Find,
    /// Another space of vectors.
    Space,
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
            // The only one that is not about comparing tracks.
            Self::Space => return f.write_str("a database has the vectors of one space"),
            Self::Steering => "steering",
            Self::Unlike => "staying away from a track",
            Self::Passage => "looking for a passage",
            Self::Cluster => "a cluster",
            Self::Clusters => "dividing a library",
            Self::Duplicates => "looking for copies",
            Self::Find => "looking for words",
            Self::Tags => "telling what the model hears",
            Self::Tag => "a tag",
            Self::Composer => "a composer",
            Self::Regex => "a regular expression",
        };
        write!(
            f,
            "{what} compares tracks with all others, which a database cannot"
        )
    }
}

impl Error for LocalOnly {}

impl LocalOnly {
    /// The next step: a copy of the library on this disk.
    pub fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::Pull)
    }
}

/// Why a database gives no answer: it cannot be reached, refuses, or holds no sound library.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RemoteError {
    /// The database's own error.
    pub source: Box<dyn Error + Send + Sync>,
    /// The next step, where the message does not have it.
    pub remedy: Option<Remedy>,
}
