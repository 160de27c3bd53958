//! The source of answers: a library on this disk, or one in a database.
//!
//! For: queries that both answer, and the refusal of those that a database does not. Not for: the meaning of names (each
//! caller has its own grammar), nor caches between queries.

use std::sync::Arc;

use super::explore::PathBetween;
use super::genre::Classify;
use super::playlist::Playlist;
use super::remote::{LocalOnly, Named, RemoteLibrary};
use super::seed::NamedSeed;
use super::similar::Similar;
use super::{Filters, QuestionError, SimilarAnswer};
use crate::answers::graph::neighbour_graph;
use crate::answers::playlist::PlaylistRows;
use crate::answers::status::StatusJson;
use voisin_base::track::TrackId;
use voisin_engine::{
    Collection, Embedder, Engine, EngineError, GenreAnswer, GenreNews, Seed, SimilarOptions,
    SimilarTrack, TrackPage, TrackQuery,
};
use voisin_explore::path::Walk;
use voisin_library::{LibraryError, TrackFilter};

/// From this many tracks on, a path is searched among near ones: the neighbours of all would take a minute.
const NEAR_FROM: u64 = 200_000;

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

    /// The engine of a library on this disk.
    ///
    /// - errors: this reason, for a database
    pub fn local(&mut self, reason: LocalOnly) -> Result<&mut Engine, LocalOnly> {
        match self {
            Self::Local(engine) => Ok(engine),
            Self::Remote(_) => Err(reason),
        }
    }

    /// Refuses a query that a database cannot answer.
    pub fn check(&self, reason: Option<LocalOnly>) -> Result<(), LocalOnly> {
        match (self, reason) {
            (Self::Remote(_), Some(reason)) => Err(reason),
            _ => Ok(()),
        }
    }

    /// The library's generation.
    pub fn generation(&self) -> Result<u64, LibraryError> {
        match self {
            Self::Local(engine) => engine.library().changes().generation(),
            Self::Remote(remote) => Ok(remote.generation()),
        }
    }

    /// Whether it is current; if not, a database has to be opened again.
    pub fn is_current(&mut self) -> Result<bool, QuestionError> {
        match self {
            Self::Local(_) => Ok(true),
            Self::Remote(remote) => remote.is_current(),
        }
    }

    /// Whether the engine has all tracks.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Remote(remote) => remote.is_whole(),
        }
    }

    /// The number of tracks with a vector.
    pub fn tracks(&mut self) -> Result<usize, QuestionError> {
        match self {
            Self::Local(engine) => Ok(engine.library().status()?.vectors as usize),
            Self::Remote(remote) => remote.tracks(),
        }
    }

    /// The library, its index and its genre head.
    pub fn status(&mut self) -> Result<StatusJson, QuestionError> {
        let engine = self.engine();
        let mut status = StatusJson::new(engine, &engine.library().status()?);
        if let Self::Remote(remote) = self {
            remote.describe(&mut status)?;
        }
        Ok(status)
    }

    /// As [`RemoteLibrary::set_vectors`]; a library on this disk has all of them.
    pub fn set_vectors(&mut self, windows: bool, exact: bool) {
        if let Self::Remote(remote) = self {
            remote.set_vectors(windows, exact);
        }
    }

    /// Makes sure that the engine has the tracks that a name may mean.
    pub fn fetch(&mut self, named: Named<'_>) -> Result<(), QuestionError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(remote) => remote.fetch(named),
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

    /// Makes sure that the engine has all tracks.
    ///
    /// - `most`: of a database at most this many
    pub fn fetch_all(&mut self, most: Option<usize>) -> Result<(), QuestionError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(remote) => remote.fetch_all(most),
        }
    }

    /// Makes sure that the engine has the tracks that an answer compares with each other, see
    /// [`RemoteLibrary::fetch_around`].
    pub fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, QuestionError> {
        match self {
            Self::Local(_) => Ok(None),
            Self::Remote(remote) => remote.fetch_around(seeds, filter),
        }
    }

    /// The track that this names.
    pub fn seed(&mut self, named: &NamedSeed) -> Result<Seed, QuestionError> {
        let name = match named {
            NamedSeed::Id(id) => Named::Id(TrackId(*id)),
            NamedSeed::Path(path) => Named::Path(path.as_ref()),
            NamedSeed::Words(words) => Named::Words(words),
            // Words for sound are compared with all tracks, of which none was fetched yet.
            NamedSeed::Sounds(phrase) => {
                let engine = self.local(LocalOnly::Find)?;
                return Ok(engine.words().seed(phrase)?);
            }
            NamedSeed::Written(text) => Named::Written(text),
        };
        self.fetch(name)?;
        Ok(named.seed(self.engine())?)
    }

    /// The tracks that these stand for.
    pub fn seeds(&mut self, named: &[NamedSeed]) -> Result<Vec<Seed>, QuestionError> {
        // A name may mean several tracks in a local library only.
        if let Self::Local(engine) = self {
            return Ok(super::seed::seeds(named, engine)?);
        }
        named.iter().map(|named| self.seed(named)).collect()
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

    /// The path between tracks, with the collection of its rows.
    ///
    /// - `stops`: both ends, then the tracks to pass
    pub fn path(
        &mut self,
        question: &PathBetween,
        stops: &[Seed],
    ) -> Result<Sampled<(Collection, Walk)>, QuestionError> {
        if let Self::Local(engine) = self
            && engine.library().status()?.vectors > NEAR_FROM
            // `None` falls through to the whole library.
            && let Some(answer) = question.run_near(engine, stops)?
        {
            return Ok(Sampled {
                answer,
                sample: None,
            });
        }
        let sample = self.fetch_around(stops, &TrackFilter::default())?;
        let engine = self.engine();
        let mut collection = engine.collection()?;
        // Stops may be files that are not in the library.
        collection.take_in(stops)?;
        let graph = neighbour_graph(engine, &collection)?;
        let walk = question.run(&collection, &graph, stops)?;
        let answer = (collection, walk);
        Ok(Sampled { answer, sample })
    }

    /// A list around tracks, with the collection whose rows it has.
    ///
    /// - `named`: seeds that are named one by one
    /// - `of_lists`: seeds from lists
    pub fn playlist(
        &mut self,
        question: &Playlist,
        named: &[Seed],
        of_lists: &[Seed],
    ) -> Result<Sampled<(Collection, PlaylistRows)>, QuestionError> {
        self.check(question.local_only())?;
        let seeds = [named, of_lists].concat();
        let remote = match self {
            Self::Local(engine) => {
                let answer = question.of_library(engine, named, of_lists)?;
                let sample = None;
                return Ok(Sampled { answer, sample });
            }
            // No near tracks first: the temporary library has no index.
            Self::Remote(remote) => remote,
        };
        let filter = question.filters.filter(remote.engine(), named)?;
        let sample = remote.fetch_around(&seeds, &filter)?;
        let engine = remote.engine();
        let mut collection = engine.collection()?;
        collection.take_in(&seeds)?;
        let list = question.run(engine, &collection, None, named, of_lists)?;
        let answer = (collection, list);
        Ok(Sampled { answer, sample })
    }

    /// The genres of tracks, one answer a track.
    ///
    /// - `embedder`: loads the library's model
    /// - `report`: called with the method that answers
    pub fn classify(
        &mut self,
        question: &Classify,
        tracks: Vec<Seed>,
        embedder: impl FnOnce() -> Result<Arc<Embedder>, EngineError>,
        report: impl FnMut(GenreNews),
    ) -> Result<Sampled<Vec<GenreAnswer>>, QuestionError> {
        let sample = self.fetch_around(&tracks, &TrackFilter::default())?;
        let answer = question.run(self.engine(), tracks, embedder, report)?;
        Ok(Sampled { answer, sample })
    }
}
