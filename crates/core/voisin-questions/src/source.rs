//! Where answers come from: a library on this disk, or one in a database.
//!
//! For: each question that both answer, written once, and one refusal of those that a database does not. Not for: what names
//! stand for (each caller has its own grammar), nor caches between questions.

use std::sync::Arc;

use super::explore::PathBetween;
use super::genre::Classify;
use super::mix::{Mix, Mixing};
use super::playlist::Playlist;
use super::remote::{LocalOnly, Named, RemoteLibrary};
use super::seed::{NamedSeed, at_least_one};
use super::similar::Similar;
use super::{Filters, QuestionError, SimilarAnswer};
use crate::answers::graph::neighbour_graph;
use crate::answers::playlist::PlaylistRows;
use crate::answers::status::StatusJson;
use voisin_base::track::TrackId;
use voisin_engine::{
    Collection, Embedder, Engine, EngineError, GenreAnswer, GenreNews, MixOptions, Seed,
    SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use voisin_explore::path::Walk;
use voisin_library::{LibraryError, TrackFilter};

/// Of more tracks than this a way is looked for among those near to it: neighbours of all would take a minute.
const NEAR_FROM: u64 = 200_000;

/// A library that answers questions.
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
    /// The tracks that it compares, in words, where these are not all.
    pub sample: Option<String>,
}

impl LibrarySource {
    /// Whether the library is in a database.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// The engine; of a database that of the temporary library.
    pub fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Local(engine) => engine,
            Self::Remote(remote) => remote.engine(),
        }
    }

    /// The engine of a library on this disk.
    ///
    /// - errors: this reason, of a database
    pub fn local(&mut self, reason: LocalOnly) -> Result<&mut Engine, LocalOnly> {
        match self {
            Self::Local(engine) => Ok(engine),
            Self::Remote(_) => Err(reason),
        }
    }

    /// Refuses, of a database, a question that has a reason to be refused there.
    pub fn check(&self, reason: Option<LocalOnly>) -> Result<(), LocalOnly> {
        match (self, reason) {
            (Self::Remote(_), Some(reason)) => Err(reason),
            _ => Ok(()),
        }
    }

    /// The state of the library that answers are of.
    pub fn generation(&self) -> Result<u64, LibraryError> {
        match self {
            Self::Local(engine) => engine.library().changes().generation(),
            Self::Remote(remote) => Ok(remote.generation()),
        }
    }

    /// Whether the next question may be asked of it; if not, a database is to be opened anew.
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

    /// How many tracks can be compared.
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

    /// Makes sure that the engine knows the artists, genres and folders that filters name, and refuses licences that no
    /// track has.
    pub fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError> {
        match self {
            Self::Local(engine) => filters.check_licences(engine.library()),
            Self::Remote(remote) => remote.fetch_filters(filters),
        }
    }

    /// Makes sure that the engine has all tracks.
    ///
    /// - `most`: how many of a database at most
    pub fn fetch_all(&mut self, most: Option<usize>) -> Result<(), QuestionError> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote(remote) => remote.fetch_all(most),
        }
    }

    /// Makes sure that the engine has the tracks that an answer compares with each other, as
    /// [`RemoteLibrary::fetch_around`] says.
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
            // Words for sound are compared with all tracks, and none was fetched for them yet.
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
        // Only here may one name stand for several tracks.
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

    /// As [`Engine::mix`].
    pub fn find_mix(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError> {
        match self {
            Self::Local(engine) => Ok(engine.mix(seeds, options)?),
            Self::Remote(remote) => remote.mix(seeds, options),
        }
    }

    /// Tracks that sound like these.
    pub fn similar(
        &mut self,
        question: &Similar,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarAnswer, QuestionError> {
        self.check(question.local_only())?;
        let remote = match self {
            Self::Local(engine) => return question.run(engine, seeds, unlike),
            Self::Remote(remote) => remote,
        };
        let tracks = question.limit.of_counted(|| remote.tracks())?;
        let options = question.options(remote.engine(), seeds, unlike, tracks)?;
        let mut found = remote.similar(seeds, &options)?;
        question.sort(remote.engine(), &mut found)?;
        // Without a standing: the fetched part does not tell how near tracks usually are.
        Ok(SimilarAnswer::new(remote.engine(), found, None, None)?)
    }

    /// Songs that follow these well.
    ///
    /// - `usual`: what a mix is like where the question says nothing of it
    pub fn mix(
        &mut self,
        question: &Mix,
        seeds: &[Seed],
        played: Vec<Seed>,
        usual: &Mixing,
    ) -> Result<SimilarAnswer, QuestionError> {
        let remote = match self {
            Self::Local(engine) => return question.run(engine, seeds, played, usual),
            Self::Remote(remote) => remote,
        };
        // One can only be drawn where all tracks are known.
        at_least_one("seeds", seeds.len())?;
        let tracks = question.limit.of_counted(|| remote.tracks())?;
        let options = question.options(remote.engine(), seeds, played, usual, tracks)?;
        let found = remote.mix(seeds, &options)?;
        let short = question.shortage(found.len(), tracks, seeds, &options, |wider| {
            remote.mix(seeds, wider)
        })?;
        let mut answer = SimilarAnswer::new(remote.engine(), found, None, None)?;
        answer.short = short;
        question.follow_curve(&mut answer);
        Ok(answer)
    }

    /// The way between tracks, with the collection whose rows it goes through.
    ///
    /// - `stops`: both ends, then the tracks on the way
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
        // Rows of stops that are files outside of the library.
        collection.take_in(stops)?;
        let graph = neighbour_graph(engine, &collection)?;
        let walk = question.run(engine, &collection, &graph, stops)?;
        let answer = (collection, walk);
        Ok(Sampled { answer, sample })
    }

    /// A list around tracks, with the collection whose rows it has.
    ///
    /// - `named`: seeds that are named one by one
    /// - `of_lists`: those that a list of several stands for
    pub fn playlist(
        &mut self,
        question: &Playlist,
        named: &[Seed],
        of_lists: &[Seed],
    ) -> Result<Sampled<(Collection, PlaylistRows)>, QuestionError> {
        self.check(question.local_only())?;
        let seeds = [named, of_lists].concat();
        let mut sample = None;
        match self {
            Self::Local(engine) => {
                if let Some(answer) = question.run_near(engine, named, of_lists)? {
                    return Ok(Sampled { answer, sample });
                }
            }
            // No near tracks first: the temporary library has no index.
            Self::Remote(remote) => {
                let filter = question.filters.filter(remote.engine(), named)?;
                sample = remote.fetch_around(&seeds, &filter)?;
            }
        }
        let engine = self.engine();
        let mut collection = engine.collection()?;
        collection.take_in(&seeds)?;
        let list = question.run(engine, &collection, None, named, of_lists)?;
        let answer = (collection, list);
        Ok(Sampled { answer, sample })
    }

    /// Which genre tracks are, one answer a track.
    ///
    /// - `embedder`: makes the library's model ready
    /// - `report`: is called with who answers
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
