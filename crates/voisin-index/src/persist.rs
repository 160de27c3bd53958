//! Saving, loading and building again.

use std::path::Path;

use voisin_base::atomic_file;

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
        let mut saved = self.saved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = self.base.live.count < self.base.len() || !self.tail_slots.is_empty();
        if let Some(root) = saved.filter(|root| file::root_at(path) == Some(*root)) {
            return tail_file::save(path, root, stamp, &self.base, &self.tail);
        }
        let parts = file::BaseParts {
            stamp,
            complete: !changed,
            options: &self.options,
            tuning: self.tuning,
            codec: &self.codec,
            base: &self.base,
            graph: self.graph.as_ref(),
            lists: self.lists.as_ref(),
        };
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

    /// Opens the index at `path` if it belongs to `expected`.
    ///
    /// Every byte is checked first. Errors: [`IndexError::Damaged`], [`IndexError::Version`],
    /// [`IndexError::OtherModel`], [`IndexError::Stale`], [`IndexError::Dimension`], [`IndexError::Io`].
    pub fn load(path: &Path, expected: &IndexStamp) -> Result<Self, IndexError> {
        let (index, generation) = Self::load_any_generation(path, expected)?;
        if generation != expected.generation {
            let (expected, actual) = (expected.generation, generation);
            return Err(IndexError::Stale { path: path.to_owned(), expected, actual });
        }
        Ok(index)
    }

    /// [`load`](Self::load), but of any generation, which is returned: an older index can be brought up to date with
    /// [`insert`](Self::insert) and [`remove`](Self::remove).
    pub fn load_any_generation(path: &Path, expected: &IndexStamp) -> Result<(Self, u64), IndexError> {
        let (index, stamp) = Self::open(path)?;
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

    /// Opens the index at `path` whatever it belongs to, and says what that is.
    pub fn open(path: &Path) -> Result<(Self, IndexStamp), IndexError> {
        let loaded = file::load(path)?;
        let mut stamp = loaded.stamp;
        let isa = voisin_kernels::isa()?;
        let mut index = Self {
            graph: loaded.graph,
            lists: loaded.lists,
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
