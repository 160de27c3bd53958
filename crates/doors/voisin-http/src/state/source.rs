//! The library that answers a request, and its version.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::{Explored, RequestContext, State, Version};
use crate::problem::Problem;
use voisin_questions::LibrarySource;
use voisin_questions::answers::graph::neighbour_graph;

/// A library that answers one request at a time.
pub struct AnswerSource {
    library: LibrarySource,
    /// The local library's version when the request came.
    pub(super) version: Version,
    /// The index's version and generation.
    followed: Option<(Version, u64)>,
    /// All tracks of a database and their neighbours, if they were needed before.
    explored: Option<Arc<Explored>>,
}

impl Deref for AnswerSource {
    type Target = LibrarySource;

    fn deref(&self) -> &LibrarySource {
        &self.library
    }
}

impl DerefMut for AnswerSource {
    fn deref_mut(&mut self) -> &mut LibrarySource {
        &mut self.library
    }
}

impl AnswerSource {
    pub(super) fn new(library: LibrarySource) -> Self {
        Self {
            library,
            version: Version::default(),
            followed: None,
            explored: None,
        }
    }

    /// The local library; `None` for a database.
    pub(super) fn here(&mut self) -> Option<RequestContext<'_>> {
        match &mut self.library {
            LibrarySource::Local(engine) => Some(RequestContext {
                engine,
                version: self.version,
                followed: &mut self.followed,
            }),
            LibrarySource::Remote(_) => None,
        }
    }

    /// The library's generation, with the index brought up to date.
    pub fn index(&mut self, state: &State) -> Result<u64, Problem> {
        match self.here() {
            Some(mut context) => state.index(&mut context),
            None => Ok(self.generation()?),
        }
    }

    /// All tracks that the engine has, and their neighbours.
    pub fn explored(&mut self) -> Result<Arc<Explored>, Problem> {
        if let Some(explored) = &self.explored {
            return Ok(Arc::clone(explored));
        }
        // Read before the tracks: an answer may be newer than its generation, never older.
        let generation = self.generation()?;
        let engine = self.engine();
        let collection = engine.collection()?;
        let graph = neighbour_graph(engine, &collection)?;
        let explored = Arc::new(Explored {
            collection: Arc::new(collection),
            graph,
            generation,
        });
        // The tracks of a database are fetched once for each generation.
        if self.is_remote() {
            self.explored = Some(Arc::clone(&explored));
        }
        Ok(explored)
    }
}
