//! Joins the parts: add files, search, classify, export.
//!
//! An [`Engine`] is an open library with its index. The library is the truth; the index is a cache of it that is
//! brought up to date on opening and made anew when it is damaged or of another model. Nothing here prints.

mod add;
mod classify;
mod collection;
mod embedder;
mod error;
mod export;
mod genres;
mod passage;
mod search;

use std::path::{Path, PathBuf};

pub use add::{AddEvent, AddOptions, AddSummary, Outcome, add};
pub use classify::{Classification, ClassifyOptions, Evidence, Labels};
pub use collection::{Collection, meta, window_set};
pub use embedder::{Embedder, FileEmbedding, WindowPlan};
pub use error::EngineError;
pub use export::{ExportSummary, export, spreadsheet_safe};
pub use passage::{Passage, SimilarPassage};
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
            Self::Updated { added, removed } => {
                write!(f, "index brought up to date: {added} added, {removed} removed")
            }
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

    /// [`refresh_index`](Self::refresh_index), and builds the index anew if too much has changed since it was built.
    ///
    /// For the end of a run that adds or removes; a search does not wait for it.
    pub fn maintain_index(&mut self) -> Result<IndexRefresh, EngineError> {
        let refresh = self.refresh_index()?;
        if !self.index.as_ref().is_some_and(VectorIndex::needs_rebuild) {
            return Ok(refresh);
        }
        self.rebuild_index("much has changed since it was built")
    }

    /// Builds the index from the library, whatever is there.
    pub fn rebuild_index(&mut self, reason: &str) -> Result<IndexRefresh, EngineError> {
        let model = self.model()?;
        let stamp =
            IndexStamp { generation: 0, model_fingerprint: model.fingerprint, dimension: model.dimension };
        self.build_index(reason.to_owned(), stamp)
    }

    fn build_index(&mut self, reason: String, stamp: IndexStamp) -> Result<IndexRefresh, EngineError> {
        let vectors = self.library.vectors()?;
        let index = VectorIndex::build(&vectors.ids, vectors.values.view(), &IndexOptions::default())?;
        // The index is a cache: where it cannot be kept it is made again next time.
        let _ = index.save(&self.index_path(), &IndexStamp { generation: vectors.generation, ..stamp });
        self.index = Some(index);
        Ok(IndexRefresh::Built { reason })
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
            Err(EngineError::Index(reason)) => return self.build_index(reason.to_string(), expected),
            Err(error) => return Err(error),
        };
        if refresh != IndexRefresh::Loaded {
            let _ = index.save(&path, &IndexStamp { generation, ..expected });
        }
        self.index = Some(index);
        Ok(refresh)
    }

    fn load_and_catch_up(
        &self,
        path: &Path,
        expected: &IndexStamp,
    ) -> Result<(VectorIndex, u64, IndexRefresh), EngineError> {
        let (mut index, stamp) = VectorIndex::open(path)?;
        Self::check_stamp(path, &stamp, expected)?;
        let Some(changes) = self.library.changes_since(stamp.generation)? else {
            let (expected, actual) = (self.library.generation()?, stamp.generation);
            return Err(IndexError::Stale { path: path.to_owned(), expected, actual }.into());
        };
        if changes.generation == stamp.generation {
            return Ok((index, stamp.generation, IndexRefresh::Loaded));
        }
        let mut removed = 0;
        for &track in &changes.removed {
            removed += usize::from(index.remove(track));
        }
        let mut added = 0;
        for &track in &changes.added {
            if let Some(vector) = self.library.vector(track)? {
                index.remove(track);
                index.insert(track, &vector)?;
                added += 1;
            }
        }
        Ok((index, changes.generation, IndexRefresh::Updated { added, removed }))
    }

    fn check_stamp(path: &Path, found: &IndexStamp, expected: &IndexStamp) -> Result<(), IndexError> {
        if found.model_fingerprint != expected.model_fingerprint {
            return Err(IndexError::OtherModel {
                path: path.to_owned(),
                expected: expected.model_fingerprint.clone(),
                actual: found.model_fingerprint.clone(),
            });
        }
        if found.dimension != expected.dimension {
            return Err(IndexError::Dimension { expected: expected.dimension, actual: found.dimension });
        }
        Ok(())
    }

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
