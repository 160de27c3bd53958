//! Where a request is answered from: an engine of the library here, or a library elsewhere.

use std::path::Path;
use std::sync::Arc;

use super::{Explored, RequestContext, State};
use crate::elsewhere::{ElsewhereContext, Named};
use crate::problem::Problem;
use voisin::{Engine, MixOptions, Seed, SimilarTrack};
use voisin_base::track::TrackId;
use voisin_library::{LibraryError, TrackFilter};
use voisin_questions::answers::graph::neighbour_graph;
use voisin_questions::answers::status::StatusJson;
use voisin_questions::seed::NamedSeed;
use voisin_questions::{Filters, Mix, Mixing, Similar, SimilarAnswer};

/// Where a request is answered from: the library here, or one elsewhere.
pub(crate) enum AnswerSource<'a> {
    Here(&'a mut RequestContext),
    Elsewhere(&'a mut ElsewhereContext),
}

impl AnswerSource<'_> {
    pub(crate) fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Here(context) => &mut context.engine,
            Self::Elsewhere(context) => context.library.engine(),
        }
    }

    /// The library's generation.
    pub(crate) fn generation(&self) -> Result<u64, LibraryError> {
        match self {
            Self::Here(context) => context.engine.library().generation(),
            Self::Elsewhere(context) => Ok(context.generation),
        }
    }

    /// The library's generation, with the index brought up to date.
    pub(crate) fn index(&mut self, state: &State) -> Result<u64, Problem> {
        match self {
            Self::Here(context) => state.index(context),
            Self::Elsewhere(context) => Ok(context.generation),
        }
    }

    /// Makes known what may be meant, if that is not here.
    pub(crate) fn fetch(&mut self, named: Named<'_>) -> Result<(), Problem> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Elsewhere(context) => Ok(context.library.fetch(named)?),
        }
    }

    /// Says of a library elsewhere what was said of the temporary one.
    pub(crate) fn tell_status(&mut self, json: &mut StatusJson) -> Result<(), Problem> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Elsewhere(context) => Ok(context.library.tell_status(json)?),
        }
    }

    /// The tracks that these name.
    pub(crate) fn seeds(&mut self, named: &[NamedSeed]) -> Result<Vec<Seed>, Problem> {
        named.iter().map(|named| self.seed(named)).collect()
    }

    /// The track that this names.
    pub(crate) fn seed(&mut self, named: &NamedSeed) -> Result<Seed, Problem> {
        match named {
            NamedSeed::Id(id) => self.fetch(Named::Id(TrackId(*id)))?,
            NamedSeed::Path(path) => self.fetch(Named::Path(Path::new(path)))?,
            NamedSeed::Words(words) => self.fetch(Named::Words(words))?,
            NamedSeed::Written(_) => {}
        }
        Ok(named.seed(self.engine())?)
    }

    /// Makes known what filters name, if that is not here.
    pub(crate) fn fetch_filters(&mut self, filters: &Filters) -> Result<(), Problem> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Elsewhere(context) => Ok(context.library.fetch_filters(filters)?),
        }
    }

    /// Makes known what answers about these tracks are made of that fit; says what that is, where it is not all of these.
    pub(crate) fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, Problem> {
        match self {
            Self::Elsewhere(context) if !context.library.is_whole() => {
                Ok(context.library.fetch_around(seeds, filter)?)
            }
            _ => Ok(None),
        }
    }

    /// All tracks that are known, and their neighbours.
    pub(crate) fn explored(&mut self) -> Result<Arc<Explored>, Problem> {
        if let Self::Elsewhere(ElsewhereContext {
            explored: Some(explored),
            ..
        }) = self
        {
            return Ok(Arc::clone(explored));
        }
        let generation = self.generation()?;
        let engine = self.engine();
        let collection = engine.collection()?;
        let graph = neighbour_graph(engine, &collection)?;
        let explored = Arc::new(Explored {
            collection: Arc::new(collection),
            graph,
            generation,
        });
        if let Self::Elsewhere(context) = self {
            context.explored = Some(Arc::clone(&explored));
        }
        Ok(explored)
    }

    pub(crate) fn similar(
        &mut self,
        asked: &Similar,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarAnswer, Problem> {
        match self {
            Self::Here(context) => Ok(asked.run(&mut context.engine, seeds, unlike)?),
            Self::Elsewhere(_) if asked.is_steered() => Err(Problem::needs_copy(
                "a database does not know what there is more or less of",
            )),
            Self::Elsewhere(context) => {
                let there = &mut context.library;
                let options = asked.options(there.engine(), seeds, unlike, usize::MAX)?;
                let mut found = there.similar(seeds, &options)?;
                asked.sort(there.engine(), &mut found)?;
                Ok(SimilarAnswer {
                    found,
                    standing: None,
                    steered: None,
                })
            }
        }
    }

    pub(crate) fn mix(
        &mut self,
        asked: &Mix,
        seeds: &[Seed],
        played: Vec<Seed>,
        usual: &Mixing,
    ) -> Result<SimilarAnswer, Problem> {
        match self {
            Self::Here(context) => Ok(asked.run(&mut context.engine, seeds, played, usual)?),
            Self::Elsewhere(context) => {
                let options =
                    asked.options(context.library.engine(), seeds, played, usual, usize::MAX)?;
                let found = context.library.mix(seeds, &options)?;
                Ok(SimilarAnswer {
                    found,
                    standing: None,
                    steered: None,
                })
            }
        }
    }

    pub(crate) fn mix_of(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, Problem> {
        match self {
            Self::Here(context) => Ok(context.engine.mix(seeds, options)?),
            Self::Elsewhere(context) => Ok(context.library.mix(seeds, options)?),
        }
    }
}
