//! Saving, loading and building again.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use voisin_base::atomic_file;

use super::checked_file::CheckedFile;
use super::lists::Lists;
use super::{IndexError, IndexStamp, VectorIndex, file, tail_file};

/// A tail of more than this share of the tracks is built in.
const TAIL_SHARE: f64 = 0.04;
/// A tail of up to this many tracks is never too long.
const TAIL_FREE: usize = 1000;
/// More removed tracks than this share are thrown out.
const TOMBSTONE_SHARE: f64 = 0.2;

impl VectorIndex {
    /// Saves the index to `path`, and what changed since its base was written to `path` + `.tail`.
    ///
    /// Each file is written under a temporary name, flushed, and renamed: a reader, or a crash at any moment,
    /// finds the old state or the new one. A base that is at `path` already is not written again.
    pub fn save(&self, path: &Path, stamp: &IndexStamp) -> Result<(), IndexError> {
        if stamp.dimension != self.dimension() {
            return Err(IndexError::Dimension { expected: self.dimension(), actual: stamp.dimension });
        }
        atomic_file::refuse_streams(path).map_err(|source| {
            let path = path.to_owned();
            IndexError::Io { path, doing: "writing", source }
        })?;
        let mut saved = self.saved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = self.base.live.count < self.base.len() || !self.tail_slots.is_empty();
        if let Some(root) = saved.filter(|root| file::root_at(path) == Some(*root)) {
            return tail_file::save(path, root, stamp, &self.base, &self.tail);
        }
        let parts = file::BaseParts {
            stamp,
            complete: !changed,
            options: &self.options,
            tuning: &self.tuning,
            codec: &self.codec,
            base: &self.base,
            graph: self.graph.as_ref(),
            lists: self.lists.as_ref(),
            residuals: self.residuals.as_ref(),
        };
        self.check()?;
        atomic_file::remove_abandoned(path);
        let root = file::save(path, parts)?;
        *saved = Some(root);
        if changed {
            return tail_file::save(path, root, stamp, &self.base, &self.tail);
        }
        // The tail of the base that was here before means nothing beside the new one.
        match std::fs::remove_file(tail_file::path_of(path)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(IndexError::Io { path: tail_file::path_of(path), doing: "removing", source })
            }
            _ => Ok(()),
        }
    }

    /// Whether a save to `path` takes the place of an index, or of nothing: not of somebody's other files.
    pub fn can_replace(path: &Path) -> bool {
        let begins = |path: &Path, magic: &[u8; 8]| {
            let mut found = [0; 8];
            match File::open(path) {
                Ok(mut file) => file.read_exact(&mut found).is_ok() && found == *magic,
                Err(error) => error.kind() == ErrorKind::NotFound,
            }
        };
        begins(path, file::MAGIC) && begins(&tail_file::path_of(path), tail_file::MAGIC)
    }

    /// Opens the index at `path` if it belongs to `expected`.
    ///
    /// Every byte is checked first. Errors: [`IndexError::Damaged`], [`IndexError::Version`],
    /// [`IndexError::OtherModel`], [`IndexError::Stale`], [`IndexError::Dimension`], [`IndexError::Io`].
    pub fn load(path: &Path, expected: &IndexStamp) -> Result<Self, IndexError> {
        let (index, generation) = Self::load_any_generation(path, expected)?;
        index.check()?;
        if generation != expected.generation {
            let (expected, actual) = (expected.generation, generation);
            return Err(IndexError::Stale { path: path.to_owned(), expected, actual });
        }
        Ok(index)
    }

    /// [`load`](Self::load), but of any generation, which is returned: an older index can be brought up to date with
    /// [`insert`](Self::insert) and [`remove`](Self::remove). Of the vectors, only what a search reads is checked, as it
    /// is read, until [`check`](Self::check) is called; a search that came upon damage returns [`IndexError::Damaged`].
    pub fn load_any_generation(path: &Path, expected: &IndexStamp) -> Result<(Self, u64), IndexError> {
        let (index, stamp) = Self::open_unchecked(path)?;
        if stamp.model_fingerprint != expected.model_fingerprint {
            return Err(IndexError::OtherModel {
                path: path.to_owned(),
                expected: expected.model_fingerprint.clone(),
                actual: stamp.model_fingerprint,
            });
        }
        if stamp.dimension != expected.dimension {
            return Err(IndexError::Dimension { expected: stamp.dimension, actual: expected.dimension });
        }
        Ok((index, stamp.generation))
    }

    /// Opens the index at `path` whatever it belongs to, and says what that is. Every byte is checked first.
    pub fn open(path: &Path) -> Result<(Self, IndexStamp), IndexError> {
        let (index, stamp) = Self::open_unchecked(path)?;
        index.check()?;
        Ok((index, stamp))
    }

    /// Checks every byte that was not checked yet, in parallel on rayon's current pool.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]
    pub fn check(&self) -> Result<(), IndexError> {
        let Some(file) = self.base.codes.file().filter(|file| !file.is_whole()) else { return Ok(()) };
        if file.check_long(0..file.bytes().len()) && self.lists.as_ref().is_none_or(Lists::has_every_vector) {
            file.set_whole();
        } else {
            file.set_damaged("places in lists");
        }
        file.intact()
    }

    /// Whether all that was read of its file so far was as it was written; an index that was built is.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]
    pub fn intact(&self) -> Result<(), IndexError> {
        self.base.codes.file().map_or(Ok(()), CheckedFile::intact)
    }

    fn open_unchecked(path: &Path) -> Result<(Self, IndexStamp), IndexError> {
        let loaded = file::load(path)?;
        let mut stamp = loaded.stamp;
        let isa = voisin_kernels::isa()?;
        let mut index = Self {
            graph: loaded.graph,
            lists: loaded.lists,
            residuals: loaded.residuals,
            saved: std::sync::Mutex::new(Some(loaded.root)),
            ..Self::assemble(loaded.options, isa, loaded.codec, loaded.base, loaded.tuning)
        };
        let damage = file::Damage(tail_file::path_of(path));
        match tail_file::load(path, loaded.root, index.base.len(), index.codec.width)? {
            None if loaded.complete => {}
            None => return Err(damage.error("missing: the base was written with a tail")),
            Some(changes) => {
                stamp.generation = changes.generation;
                for slot in changes.removed {
                    index.base.live.unset(slot as usize);
                }
                let width = index.codec.width;
                let rows = changes.hi.chunks_exact(width).zip(changes.lo.chunks_exact(width));
                for ((&track, &meta), (hi, lo)) in changes.ids.iter().zip(&changes.meta).zip(rows) {
                    if index.contains(track) {
                        return Err(damage.error(format!("track {track} twice")));
                    }
                    index.tail_slots.insert(track, index.tail.len() as u32);
                    index.tail.codes.push_row(hi, lo, meta);
                    index.tail.pushed(track);
                }
            }
        }
        // A graph's blocks are made of those of all lists.
        if index.graph.is_some() {
            index.check()?;
        }
        Ok((index, stamp))
    }

    /// Whether building again would make searches cheaper: the tail or the removed tracks have become too many,
    /// or there are enough tracks for lists or a graph.
    pub fn needs_rebuild(&self) -> bool {
        let base = self.base.len() as f64;
        let tail = self.tail.len();
        let removed = base - self.base.live.count as f64;
        let wants_graph = self.graph.is_none() && self.len() >= self.options.graph_from.max(2);
        let wants_lists = self.lists.is_none() && self.len() >= self.options.lists_from.max(2);
        let is_indexed = self.graph.is_some() || self.lists.is_some();
        wants_graph
            || wants_lists
            || removed > (TOMBSTONE_SHARE * base).max(TAIL_FREE as f64)
            || tail > TAIL_FREE && tail as f64 > if is_indexed { TAIL_SHARE * base } else { base }
    }
}
