//! The source of answers: a library on this disk, or one in a database.
//!
//! For: queries that both answer, and the refusal of those that a database does not. Not for: the meaning of names (each
//! caller has its own grammar), nor caches between queries.

use std::ffi::OsStr;

use super::remote::{LocalOnly, RemoteLibrary};
use super::similar::Similar;
use super::{Filters, QuestionError, SimilarAnswer};
use voisin_engine::{Engine, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};

/// A library that answers queries.
pub enum LibrarySource {
    /// On this disk.
    Local(Box<Engine>),
    /// In a database.
    Remote(Box<dyn RemoteLibrary>),
}

/// An answer that compares all tracks with each other.
pub struct Sampled<T> {
    /// The answer.
    pub answer: T,
    /// A description of the tracks that it compares, if these are not all.
    pub sample: Option<String>,
}

impl LibrarySource {
    /// Whether the library is in a database.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The engine; for a database that of the temporary library.
    pub fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Local(engine) => engine,
            Self::Remote(remote) => remote.engine(),
        }
    }

    /// Refuses a query that a database cannot answer.
    pub fn check(&self, reason: Option<LocalOnly>) -> Result<(), LocalOnly> {
        match (self, reason) {
            (Self::Remote(_), Some(reason)) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Makes sure that the engine has the tracks that a name may mean.
    pub fn fetch(&mut self, name: &OsStr) -> Result<(), QuestionError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(remote) => remote.fetch(name),
        }
    }

    /// Makes sure that the engine has the artists, genres and folders that filters name, and refuses licences that no
    /// track has.
    pub fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError> {
        match self {
            Self::Local(engine) => filters.check_licences(engine.library()),
            Self::Remote(remote) => remote.fetch_filters(filters),
        }
    }

    /// Makes sure that the engine has the tracks that an answer compares with each other, see
    /// [`RemoteLibrary::fetch_around`].
    pub fn fetch_around(&mut self, seeds: &[Seed]) -> Result<Option<String>, QuestionError> {
        match self {
            Self::Local(_) => Ok(None),
            Self::Remote(remote) => remote.fetch_around(seeds),
        }
    }

    /// As [`Engine::list`].
    pub fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, QuestionError> {
        match self {
            Self::Local(engine) => Ok(engine.list(query)?),
            Self::Remote(remote) => remote.list(query),
        }
    }

    /// As [`Engine::similar`].
    pub fn find_similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError> {
        match self {
            Self::Local(engine) => Ok(engine.similar(seeds, options)?),
            Self::Remote(remote) => remote.similar(seeds, options),
        }
    }

    /// Tracks that sound like these.
    pub fn similar(
        &mut self,
        question: &Similar,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarAnswer, QuestionError> {
        let remote = match self {
            Self::Local(engine) => return question.run(engine, seeds, unlike),
            Self::Remote(remote) => remote,
        };
        let tracks = question.limit.of_counted(|| remote.tracks())?;
        let options = question.options(remote.engine(), seeds, unlike, tracks)?;
        let mut found = remote.similar(seeds, &options)?;
        question.sort(remote.engine(), &mut found)?;
        // Without a standing, which needs all tracks.
        Ok(SimilarAnswer::new(remote.engine(), found, None)?)
    }
}
