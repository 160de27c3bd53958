//! An open library with its index.
//!
//! The library is authoritative; the index is a cache of it that is updated on opening and rebuilt if it is damaged or of
//! another model. Nothing here prints.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_encoder::ModelRef;
use voisin_index::{IndexError, IndexOptions, IndexStamp, VectorIndex};
use voisin_library::{Library, LibraryError, OpenMode, StoredModel, stored_path};

use crate::genre::KnownFilter;
use crate::{EngineError, LibrarySpace};

pub const INDEX_FILE: &str = "index.bin";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexRefresh {
    Loaded,
    Updated {
        added: usize,
        removed: usize,
    },
    Built {
        reason: String,
        /// Whether there was one that could not be used: damaged, of another format or model, or of other vectors.
        unusable: bool,
    },
    /// It could not be written, for this reason; only in news of it.
    NotKept(String),
}

impl std::fmt::Display for IndexRefresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loaded => f.write_str("index up to date"),
            Self::Updated { added, removed } => {
                write!(
                    f,
                    "index brought up to date: {added} added, {removed} removed"
                )
            }
            Self::Built { reason, unusable } => {
                let again = if *unusable { "re" } else { "" };
                write!(f, "index {again}built: {reason}")
            }
            Self::NotKept(reason) => write!(
                f,
                "the index could not be saved and is built again at its next use: {reason}"
            ),
        }
    }
}

type IndexListener = Arc<dyn Fn(&IndexRefresh) + Send + Sync>;

pub struct Engine {
    pub(crate) library: Library,
    index: Option<OpenIndex>,
    listener: Option<IndexListener>,
    /// Whether an index is read into memory, where no program can truncate it.
    copies_index: bool,
    pub(crate) known_filter: Mutex<Option<KnownFilter>>,
}

pub(crate) struct OpenIndex {
    pub(crate) index: VectorIndex,
    pub(crate) stamp: IndexStamp,
    pub(crate) space: LibrarySpace,
}

impl Engine {
    pub fn open(dir: &Path, mode: OpenMode) -> Result<Self, EngineError> {
        Ok(Self::from_library(Library::open(dir, mode)?))
    }

    pub fn from_library(library: Library) -> Self {
        Self {
            library,
            index: None,
            listener: None,
            copies_index: false,
            known_filter: Mutex::default(),
        }
    }

    pub fn on_index_news(&mut self, listener: impl Fn(&IndexRefresh) + Send + Sync + 'static) {
        self.listener = Some(Arc::new(listener));
    }

    /// Reads the index into memory, shared by all engines of the process: for long-running programs, since another program
    /// may truncate the file while it is mapped.
    pub fn copy_index(&mut self) {
        self.copies_index = true;
    }

    fn notify(&self, news: &IndexRefresh) {
        if let Some(listener) = &self.listener {
            listener(news);
        }
    }

    pub fn library(&self) -> &Library {
        &self.library
    }

    /// The catalogue, to change it. The index is updated at its next use.
    pub fn library_mut(&mut self) -> &mut Library {
        // The caller may change vectors: the index is loaded again and updated at its next use.
        self.index = None;
        &mut self.library
    }

    pub fn index_path(&self) -> PathBuf {
        self.library.dir().join(INDEX_FILE)
    }

    pub fn model(&self) -> Result<StoredModel, EngineError> {
        self.library
            .model()?
            .ok_or_else(|| EngineError::no_tracks(self.library.dir()))
    }

    /// As [`refresh_index`](Self::refresh_index), and saves an updated index, or rebuilds it if too much has changed since it
    /// was built.
    ///
    /// For the end of a run that adds or removes tracks; searches do neither.
    pub fn maintain_index(&mut self) -> Result<IndexRefresh, EngineError> {
        let mut refresh = self.refresh_index()?;
        let is_changed = matches!(refresh, IndexRefresh::Updated { .. });
        // A small one is built in no time, relative to the mean of all tracks.
        let is_small = self.library.status()?.vectors < IndexOptions::default().graph_from as u64;
        if is_changed && is_small || self.loaded_index().needs_rebuild() {
            refresh = self.build_index("tracks changed since it was built", false)?;
        } else if is_changed {
            self.keep(self.opened());
        }
        self.nearness()?;
        Ok(refresh)
    }

    /// - `unusable`: whether there is one that cannot be used
    pub(crate) fn build_index(
        &mut self,
        reason: &str,
        unusable: bool,
    ) -> Result<IndexRefresh, EngineError> {
        let model = self.model()?;
        let vectors = self.library.vectors()?;
        let (space, generation) = LibrarySpace::settle(&mut self.library, &vectors)?;
        let values = space.centre_rows(vectors.values);
        let mut options = IndexOptions::default();
        if self.library.mode() == OpenMode::ReadOnly {
            // It cannot be saved, and building a graph takes longer than it saves in one process.
            options.graph_from = usize::MAX;
        }
        let open = OpenIndex {
            index: VectorIndex::build_from(&vectors.ids, values, &options)?,
            stamp: IndexStamp {
                generation,
                ..stamp(&model, Some(&space))
            },
            space,
        };
        self.keep(&open);
        self.index = Some(open);
        let refresh = IndexRefresh::Built {
            reason: reason.to_owned(),
            unusable,
        };
        self.notify(&refresh);
        Ok(refresh)
    }

    /// Writes the index. It is a cache: a failure is reported as an event, and the index is built again next time.
    fn keep(&self, open: &OpenIndex) {
        if self.library.mode() == OpenMode::ReadOnly {
            return;
        }
        if let Err(error) = open.index.save(&self.index_path(), &open.stamp) {
            self.notify(&IndexRefresh::NotKept(with_causes(&error)));
        }
    }

    /// Loads the index, checks every byte, and updates it from the library, in memory only.
    pub fn refresh_index(&mut self) -> Result<IndexRefresh, EngineError> {
        self.ready_index(true)
    }

    /// As [`refresh_index`](Self::refresh_index).
    ///
    /// - `whole`: checks every byte of a large index, too
    fn ready_index(&mut self, whole: bool) -> Result<IndexRefresh, EngineError> {
        let model = self.model()?;
        match self.load_and_catch_up(&model, whole) {
            Ok((open, refresh)) => {
                self.index = Some(open);
                self.notify(&refresh);
                Ok(refresh)
            }
            Err(EngineError::Index(IndexError::Io { source, .. }))
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                self.build_index("no index yet", false)
            }
            Err(EngineError::Index(IndexError::OtherModel { actual, .. }))
                // The stamp of an index has the fingerprints of the model and of the mean, separated
                // by a blank: only the mean differs.
                if actual.split(' ').next() == Some(&model.fingerprint) =>
            {
                self.build_index("the mean vector has changed", false)
            }
            Err(EngineError::Index(reason)) => self.replace_index(&reason),
            Err(error) => Err(error),
        }
    }

    fn replace_index(&mut self, reason: &IndexError) -> Result<IndexRefresh, EngineError> {
        // The texts of these errors call for a rebuild, which is what happens here.
        let reason = match reason {
            IndexError::OtherModel { .. } => "the old file was of another model".to_owned(),
            IndexError::Damaged { what, .. } => format!("the old file was damaged ({what})"),
            IndexError::OtherVectors { .. } => "the old file was made of other vectors".to_owned(),
            IndexError::Version {
                expected, actual, ..
            } => format!("the old file has format {actual}, this voisin reads {expected}"),
            other => with_causes(other),
        };
        self.build_index(&reason, true)
    }

    fn load_and_catch_up(
        &self,
        model: &StoredModel,
        whole: bool,
    ) -> Result<(OpenIndex, IndexRefresh), EngineError> {
        let path = self.index_path();
        // The space is read before the index, for its stamp, and once more below in the snapshot:
        // it may change in between.
        let kept = LibrarySpace::kept(&self.library)?;
        let expected = stamp(model, kept.as_ref());
        let (index, generation) =
            VectorIndex::load_any_generation(&path, &expected, self.copies_index)?;
        if whole {
            index.check()?;
        }
        // One state of the library, even if other processes commit meanwhile.
        let _snapshot = self.library.snapshot()?;
        let now = LibrarySpace::kept(&self.library)?.filter(|space| kept.as_ref() == Some(space));
        let mut open = now.map(|space| OpenIndex {
            index,
            stamp: IndexStamp {
                generation,
                ..expected
            },
            space,
        });
        let changes = open.as_mut().map(|open| self.catch_up(open)).transpose()?;
        let (Some(open), Some((added, removed))) = (open, changes.flatten()) else {
            return Err(EngineError::from(IndexError::Stale {
                path,
                expected: self.library.generation()?,
                actual: generation,
            }));
        };
        self.check_origin(&path, &open, generation)?;
        let refresh = if open.stamp.generation == generation {
            IndexRefresh::Loaded
        } else {
            IndexRefresh::Updated { added, removed }
        };
        Ok((open, refresh))
    }

    /// Applies the library's changes to an index. Returns how many tracks were added and removed; `None` if the library has
    /// no record of the changes.
    fn catch_up(&self, open: &mut OpenIndex) -> Result<Option<(usize, usize)>, EngineError> {
        let Some(changes) = self.library.changes_since(open.stamp.generation)? else {
            return Ok(None);
        };
        let index = &mut open.index;
        let mut removed = 0;
        for &track in &changes.removed {
            removed += usize::from(index.remove(track));
        }
        let mut added = 0;
        for &track in &changes.added {
            if let Some(vector) = self.library.vector(track)? {
                // Replaced vectors are among those added, and an id may be in an index only once.
                index.remove(track);
                index.insert(track, &open.space.centre(&vector))?;
                added += 1;
            }
        }
        open.stamp.generation = changes.generation;
        Ok(Some((added, removed)))
    }

    pub fn has_index(&self) -> bool {
        self.index.is_some()
    }

    /// Updates the index in memory, for a long-running process: loads it the first time, and later applies only the changes.
    /// Nothing is written. Returns the generation that searches see.
    ///
    /// If the library is read-only and the index cannot be used, the vectors are read into memory and scanned.
    ///
    /// # Errors
    /// [`EngineError::Index`] if there is no index that can be used, so that it has to be built
    /// ([`refresh_index`](Self::refresh_index)), which takes long in a large library.
    pub fn follow(&mut self) -> Result<u64, EngineError> {
        let model = self.model()?;
        if let Some(mut open) = self.index.take() {
            let snapshot = self.library.snapshot()?;
            let kept = LibrarySpace::kept(&self.library)?;
            let now = stamp(&model, kept.as_ref()).model_fingerprint;
            let caught_up = if open.stamp.model_fingerprint == now {
                self.catch_up(&mut open)
            } else {
                Ok(None)
            };
            // A snapshot prevents the write-ahead log from being truncated; it ends before anything
            // slow.
            drop(snapshot);
            // After many changes, the run that adds has rebuilt the index on disk, or is about to.
            if let Some((added, removed)) = caught_up?
                && (added + removed == 0 || !open.index.needs_rebuild())
            {
                return Ok(self.index.insert(open).stamp.generation);
            }
        }
        match self.load_and_catch_up(&model, true) {
            Err(EngineError::Index(_)) if self.library.mode() == OpenMode::ReadOnly => {
                self.refresh_index()?;
            }
            loaded => self.index = Some(loaded?.0),
        }
        Ok(self.opened().stamp.generation)
    }

    /// Checks that an index was built from this library's vectors.
    ///
    /// A database that was restored from a backup, or put beside another library's index, may have reached the same
    /// generation with other contents: then the number of tracks differs, or the vectors of the last changes.
    fn check_origin(
        &self,
        path: &Path,
        OpenIndex { index, space, .. }: &OpenIndex,
        generation: u64,
    ) -> Result<(), EngineError> {
        const LAST: u64 = 16;
        const SPREAD: usize = 8;
        let other = || IndexError::OtherVectors {
            path: path.to_owned(),
        };
        if index.len() as u64 != self.library.status()?.vectors {
            return Err(other().into());
        }
        let tracks = index.ids();
        let mut sample: Vec<TrackId> = tracks
            .iter()
            .copied()
            .step_by(tracks.len().div_ceil(SPREAD).max(1))
            .collect();
        if let Some(changes) = self
            .library
            .changes_since(generation.saturating_sub(LAST))?
        {
            sample.extend(changes.added.into_iter().take(LAST as usize));
        }
        for track in sample {
            match self.library.vector(track)? {
                // `is_of` allows for the rounding of the index.
                Some(expected)
                    if index.contains(track) && index.is_of(track, &space.centre(&expected))? => {}
                _ => return Err(other().into()),
            }
        }
        Ok(())
    }

    pub fn index(&mut self) -> Result<&VectorIndex, EngineError> {
        if self.index.is_none() {
            self.refresh_index()?;
        }
        Ok(self.loaded_index())
    }

    pub(crate) fn loaded_index(&self) -> &VectorIndex {
        &self.opened().index
    }

    pub(crate) fn opened(&self) -> &OpenIndex {
        self.index
            .as_ref()
            .expect("the index is loaded before it is searched")
    }

    /// The space of the index's vectors, into which queries have to be brought.
    pub fn space(&mut self) -> Result<&LibrarySpace, EngineError> {
        if self.index.is_none() {
            self.ready_index(false)?;
        }
        Ok(&self.opened().space)
    }

    pub fn is_in_space(&self, index: &IndexStamp) -> bool {
        let kept = LibrarySpace::kept(&self.library).ok().flatten();
        self.model().is_ok_and(|model| {
            kept.is_some_and(|space| {
                space.fingerprint(&model.fingerprint) == index.model_fingerprint
            })
        })
    }

    /// A track's vector, raw.
    pub fn vector(&self, id: TrackId) -> Result<Vec<f32>, EngineError> {
        self.library.vector(id)?.ok_or_else(|| {
            let next = "analyse the file again with \"voisin add\"";
            EngineError::NotFound(format!("track {id} has no vector: {next}"))
        })
    }
}

/// The stamp of an index of a model's vectors in a space, with generation 0; without a space it matches no index.
fn stamp(model: &StoredModel, space: Option<&LibrarySpace>) -> IndexStamp {
    let model_fingerprint =
        space.map_or_else(String::new, |space| space.fingerprint(&model.fingerprint));
    IndexStamp {
        generation: 0,
        model_fingerprint,
        dimension: model.dimension,
    }
}

fn place_of_model(fingerprint: &str) -> String {
    format!("model.{fingerprint}")
}

/// The name or path by which a library's model is loaded: the file that it was given as, if it exists, else its name.
pub fn held_model(library: &Library, held: &StoredModel) -> Result<ModelRef, LibraryError> {
    let place = library
        .setting(&place_of_model(&held.fingerprint))?
        .filter(|path| Path::new(path).is_file());
    // Every text is a name or a path, so parsing cannot fail.
    let Ok(model) = place.as_deref().unwrap_or(&held.name).parse();
    Ok(model)
}

/// Stores the path of a model that was given as a file, so that later commands need not name it.
pub fn remember_model(
    library: &mut Library,
    model: &ModelRef,
    fingerprint: &str,
) -> Result<(), EngineError> {
    let (ModelRef::Manifest(path) | ModelRef::Weights(path)) = model else {
        return Ok(());
    };
    let path = stored_path(path);
    // A path that is not UTF-8 cannot be stored; such a model has to be named each time.
    if let Some(path) = path.to_str()
        // The file may have been replaced since the model was loaded.
        && model.manifest()?.fingerprint() == fingerprint
    {
        library.set_setting(&place_of_model(fingerprint), Some(path))?;
    }
    Ok(())
}
