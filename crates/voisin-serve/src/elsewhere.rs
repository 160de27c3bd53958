//! A library elsewhere, in a database: what a question needs of it is fetched into a temporary library, and answered from
//! there. What is about all tracks, and not about some and those around them, needs a copy of them.

use std::path::Path;
use std::sync::Arc;

use crate::problem::Problem;
use crate::state::Explored;
use voisin::{
    Engine, EngineError, MixOptions, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use voisin_base::track::TrackId;
use voisin_library::TrackFilter;
use voisin_questions::Filters;
use voisin_questions::answers::status::StatusJson;

/// Why a library elsewhere gives no answer.
#[derive(Debug)]
pub enum ElsewhereError {
    /// What an engine here says.
    Engine(EngineError),
    /// It cannot do that at all.
    Refused(String),
    /// It does not answer now.
    Away(String),
}

/// What a question names.
#[derive(Debug, Clone, Copy)]
pub enum Named<'a> {
    /// A track by its id.
    Id(TrackId),
    /// The track of a file.
    Path(&'a Path),
    /// Tracks whose names have all of these words.
    Words(&'a str),
    /// The tracks of an artist.
    Artist(&'a str),
    /// The tracks of an album.
    Album(&'a str),
}

/// A library elsewhere, as one request after another asks it.
pub trait Elsewhere: Send {
    /// The temporary library.
    fn engine(&mut self) -> &mut Engine;
    /// A counter of its changes.
    fn generation(&mut self) -> Result<u64, ElsewhereError>;
    /// Makes known what may be meant.
    fn fetch(&mut self, named: Named<'_>) -> Result<(), ElsewhereError>;
    /// Makes known what filters name.
    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), ElsewhereError>;
    /// Makes known what answers about these tracks are made of that fit; says what that is, where it is not all of these.
    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, ElsewhereError>;
    /// Whether all tracks are known here.
    fn is_whole(&self) -> bool;
    /// As [`Engine::similar`].
    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, ElsewhereError>;
    /// As [`Engine::mix`].
    fn mix(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, ElsewhereError>;
    /// As [`Engine::list`].
    fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, ElsewhereError>;
    /// Says of it what was said of the temporary library.
    fn tell_status(&mut self, json: &mut StatusJson) -> Result<(), ElsewhereError>;
}

/// Opens a library elsewhere.
pub type OpenElsewhere = Box<dyn Fn() -> Result<Box<dyn Elsewhere>, ElsewhereError> + Send + Sync>;

impl From<ElsewhereError> for Problem {
    fn from(error: ElsewhereError) -> Self {
        match error {
            ElsewhereError::Engine(error) => error.into(),
            ElsewhereError::Refused(detail) => Self::needs_copy(detail),
            ElsewhereError::Away(detail) => Self::away(detail),
        }
    }
}

/// An engine with a library of its own that lies elsewhere, and the state that it is of.
pub(super) struct ElsewhereContext {
    pub(super) library: Box<dyn Elsewhere>,
    pub(super) generation: u64,
    /// All tracks and their neighbours, once they were asked for.
    pub(super) explored: Option<Arc<Explored>>,
}

impl ElsewhereContext {
    pub(super) fn new(mut library: Box<dyn Elsewhere>) -> Result<Self, ElsewhereError> {
        let generation = library.generation()?;
        Ok(Self {
            library,
            generation,
            explored: None,
        })
    }
}
