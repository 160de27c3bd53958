//! Saving, loading and rebuilding.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use voisin_base::atomic_file;

use super::change_log::LogEnd;
use super::checked_file::{CheckedFile, DIGEST};
use super::codes::Codes;
use super::file::{BaseFile, BaseParts, BasePlace, Behind, Damage};
use super::graph::Graph;
use super::lists::Lists;
use super::segment::Segment;
use super::tail::IndexTail;
use super::{IndexError, IndexStamp, VectorIndex, change_log, file, tail_file};

/// Files of fewer bytes are copied into memory if they are read completely in any case, as nothing
/// can change a copy.
const COPIED: u64 = 256 << 20;

/// A tail above this share of the items causes a rebuild, as every search scans the tail.
const TAIL_SHARE: f64 = 0.04;
/// Tails up to this many items never cause a rebuild.
const TAIL_FREE: usize = 1000;
/// Removed items above this share cause a rebuild, as they take up memory and places in the lists.
const TOMBSTONE_SHARE: f64 = 0.2;

impl VectorIndex {
    /// Saves the index to `path`, in one file, with all insertions and removals.
    ///
    /// It is written under a temporary name, flushed, and renamed: readers see the old state or the
    /// new one, even after a crash.
    ///
    /// # Errors
    /// [`IndexError::Io`] if a [`SharedIndex`](super::SharedIndex) logs its changes in the file
    pub fn save(&self, path: &Path, stamp: &IndexStamp) -> Result<(), IndexError> {
        change_log::refuse_kept(path)?;
        self.save_root(path, stamp).map(drop)
    }

    /// As [`save`](Self::save); returns the digest of the head.
    pub(crate) fn save_root(
        &self,
        path: &Path,
        stamp: &IndexStamp,
    ) -> Result<[u8; DIGEST], IndexError> {
        let place = self.save_base(path, stamp, |file| self.write_parts(file, stamp))?;
        // Changes of the former index are obsolete.
        tail_file::remove(path)?;
        Ok(place.root)
    }

    /// As [`save`](Self::save), to a writer; for [`from_bytes`](Self::from_bytes).
    pub fn write_to(
        &self,
        out: &mut (impl Write + Seek),
        stamp: &IndexStamp,
    ) -> Result<(), IndexError> {
        self.check()?;
        self.check_dimension(stamp)?;
        let io = |source| IndexError::Io {
            path: file::BYTES.into(),
            doing: "writing",
            source,
        };
        self.write_parts(out, stamp).map(drop).map_err(io)
    }

    /// Saves an index that changes often, in two files: the built part to `path`, unless it is
    /// there already, and later changes to `path` + `.tail`. If that one is missing later, opening
    /// is an error that names it.
    ///
    /// Each file is written atomically, as by [`save`](Self::save).
    pub fn save_changes(&self, path: &Path, stamp: &IndexStamp) -> Result<(), IndexError> {
        let save_tail =
            |place: BasePlace| tail_file::save(path, place.root, stamp, &self.base, &self.tail);
        let saved = *self.saved();
        // The base is not rewritten if it is at this path already; changes are small.
        if let Some(place) = saved.filter(|place| place.is_at(path)) {
            self.check_dimension(stamp)?;
            save_tail(place)?;
            if place.mark(path).is_ok() {
                return Ok(());
            }
            // The file cannot be marked, so a new base is written, with the flag in its head.
        }
        let place = self.save_base(path, stamp, |file| {
            file::write(file, self.base_parts(stamp))
        })?;
        if self.is_changed() {
            return save_tail(place);
        }
        // There are no changes, so a file of earlier ones is obsolete.
        tail_file::remove(path)
    }

    /// Whether it changed since it was built.
    fn is_changed(&self) -> bool {
        self.base.live.count < self.base.len() || self.tail.live() > 0
    }

    fn saved(&self) -> MutexGuard<'_, Option<BasePlace>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_dimension(&self, stamp: &IndexStamp) -> Result<(), IndexError> {
        let expected = self.dimension();
        if stamp.dimension == expected {
            Ok(())
        } else {
            Err(IndexError::Dimension {
                expected,
                actual: stamp.dimension,
            })
        }
    }

    fn base_parts<'a>(&'a self, stamp: &'a IndexStamp) -> BaseParts<'a> {
        BaseParts {
            stamp,
            complete: !self.is_changed(),
            options: &self.options,
            tuning: &self.tuning,
            codec: &self.codec,
            base: &self.base,
            graph: self.graph.as_deref(),
            lists: self.lists.as_deref(),
            residuals: self.residuals.as_deref(),
        }
    }

    /// Writes the base and, after it, the changes.
    fn write_parts(
        &self,
        out: &mut (impl Write + Seek),
        stamp: &IndexStamp,
    ) -> std::io::Result<BasePlace> {
        let place = file::write(out, self.base_parts(stamp))?;
        if self.is_changed() {
            out.seek(SeekFrom::Start(place.end))?;
            // The head's digest ties the changes to this base: they cannot be read beside another.
            out.write_all(&tail_file::encode(
                place.root, stamp, &self.base, &self.tail,
            )?)?;
        }
        Ok(place)
    }

    /// Writes a file whose base is that of this index.
    fn save_base(
        &self,
        path: &Path,
        stamp: &IndexStamp,
        write: impl FnOnce(&mut File) -> std::io::Result<BasePlace>,
    ) -> Result<BasePlace, IndexError> {
        self.check_dimension(stamp)?;
        self.check()?;
        atomic_file::refuse_streams(path).map_err(|source| {
            let path = path.to_owned();
            IndexError::Io {
                path,
                doing: "writing",
                source,
            }
        })?;
        atomic_file::remove_abandoned(path);
        let place = file::replace(path, write)?;
        *self.saved() = Some(place);
        Ok(place)
    }

    /// Whether a save to `path` replaces an index or nothing, and no other file.
    pub fn can_replace(path: &Path) -> bool {
        let begins = |path: &Path, magic: &[u8; 8]| {
            let mut found = [0; 8];
            // A file that cannot be read may be no index.
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
    /// [`IndexError::OtherModel`], [`IndexError::Stale`], [`IndexError::Dimension`],
    /// [`IndexError::Io`].
    pub fn load(path: &Path, expected: &IndexStamp) -> Result<Self, IndexError> {
        let (index, generation) = Self::load_any_generation(path, expected)?;
        index.check()?;
        if generation != expected.generation {
            let expected = expected.generation;
            let actual = generation;
            return Err(IndexError::Stale {
                path: path.to_owned(),
                expected,
                actual,
            });
        }
        Ok(index)
    }

    /// [`load`](Self::load), but of any generation, which is returned: an older index can be
    /// updated with [`insert`](Self::insert) and [`remove`](Self::remove). Vectors are only checked
    /// as they are read, until [`check`](Self::check) is called; a search that finds damage returns
    /// [`IndexError::Damaged`].
    pub fn load_any_generation(
        path: &Path,
        expected: &IndexStamp,
    ) -> Result<(Self, u64), IndexError> {
        Self::load_of(path, expected, 0)
    }

    /// [`load_any_generation`](Self::load_any_generation) for long-running programs: as with
    /// [`open`](Self::open), a file of less than 256 MiB is copied into memory, and all that load
    /// it share one copy.
    pub fn load_copied(path: &Path, expected: &IndexStamp) -> Result<(Self, u64), IndexError> {
        Self::load_of(path, expected, COPIED)
    }

    fn load_of(path: &Path, expected: &IndexStamp, copied: u64) -> Result<(Self, u64), IndexError> {
        // Any change of the vectors would show in the digests, so comparing names and sizes is
        // enough here.
        let (index, stamp, _) = Self::with_changes(file::load(path, copied)?, Some(path))?;
        if stamp.model_fingerprint != expected.model_fingerprint {
            return Err(IndexError::OtherModel {
                path: path.to_owned(),
                expected: expected.model_fingerprint.clone(),
                actual: stamp.model_fingerprint,
            });
        }
        if stamp.dimension != expected.dimension {
            return Err(IndexError::Dimension {
                expected: stamp.dimension,
                actual: expected.dimension,
            });
        }
        Ok((index, stamp.generation))
    }

    /// Opens the index at `path` and returns its stamp. Every byte is checked first. A file of less
    /// than 256 MiB is copied into memory, so that later changes of the file have no effect; a
    /// larger one is mapped.
    pub fn open(path: &Path) -> Result<(Self, IndexStamp), IndexError> {
        let (index, stamp, _) = Self::open_with_log(path)?;
        Ok((index, stamp))
    }

    /// As [`open`](Self::open); also returns the end of the log, if there is only one file.
    pub(crate) fn open_with_log(
        path: &Path,
    ) -> Result<(Self, IndexStamp, Option<LogEnd>), IndexError> {
        let opened = Self::with_changes(file::load(path, COPIED)?, Some(path))?;
        opened.0.check()?;
        Ok(opened)
    }

    /// As [`open`](Self::open), for the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, IndexStamp), IndexError> {
        let (index, stamp, _) = Self::with_changes(file::load_bytes(bytes)?, None)?;
        index.check()?;
        Ok((index, stamp))
    }

    /// Checks every byte that was not checked yet, in parallel on rayon's current pool.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]
    pub fn check(&self) -> Result<(), IndexError> {
        let Some(file) = self.base.codes.file().filter(|file| !file.is_whole()) else {
            return Ok(());
        };
        // Digests first: numbers are only checked in undamaged bytes.
        let is_sane = |lists: &Lists| {
            let graph = self.graph.as_deref();
            let is_sane = |graph: &Graph| {
                let is_sane = graph.is_sane(lists);
                graph.release();
                is_sane
            };
            lists.has_every_vector() && graph.is_none_or(is_sane)
        };
        if file.check_long(0..file.bytes().len()) && self.lists.as_deref().is_none_or(is_sane) {
            file.set_whole();
        } else {
            file.set_damaged("places in lists");
        }
        file.intact()
    }

    /// An error if damage was found in what was read of its file so far.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]
    pub fn intact(&self) -> Result<(), IndexError> {
        self.base.codes.file().map_or(Ok(()), CheckedFile::intact)
    }

    /// An index of its file and the changes beside it.
    ///
    /// - `path`: of the file, if it is one
    ///
    /// Returns where changes are to be appended, unless they are beside it.
    fn with_changes(
        loaded: BaseFile,
        path: Option<&Path>,
    ) -> Result<(Self, IndexStamp, Option<LogEnd>), IndexError> {
        let mut stamp = loaded.stamp;
        let isa = voisin_kernels::isa()?;
        let place = loaded.place;
        let mut index = Self {
            graph: loaded.graph.map(Arc::new),
            lists: loaded.lists.map(Arc::new),
            residuals: loaded.residuals.map(Arc::new),
            saved: Arc::new(Mutex::new(Some(place))),
            ..Self::assemble(
                loaded.options,
                isa,
                loaded.codec,
                loaded.base,
                &loaded.tuning,
            )
        };
        let is_marked = !place.complete || loaded.behind == Behind::Mark;
        let name = path.unwrap_or(Path::new(file::BYTES));
        let mut log = None;
        let mut start = place.end;
        let (bytes, damage) = match (loaded.behind, path) {
            (Behind::Changes(mut bytes), _) => {
                let damage = Damage(name.to_owned());
                let end = tail_file::length(&damage, &bytes, &index.codec);
                log = Some(end.map_or(Vec::new(), |end| bytes.split_off(end)));
                start += bytes.len() as u64;
                (Some(bytes), damage)
            }
            (Behind::Log(bytes), _) => {
                log = Some(bytes);
                (None, Damage(name.to_owned()))
            }
            (_, None) => (None, Damage(name.to_owned())),
            (_, Some(path)) => (
                tail_file::read(path, u64::MAX)?,
                Damage(tail_file::path_of(path)),
            ),
        };
        let decode = |bytes: Vec<u8>| {
            tail_file::decode(&damage, &bytes, place.root, index.base.len(), &index.codec)
        };
        match bytes.map_or(Ok(None), decode)? {
            None if is_marked => return Err(tail_file::missing(name)),
            // No changes of this base are beside it.
            None => _ = log.get_or_insert_default(),
            Some(changes) => {
                stamp.generation = changes.generation;
                let live = Arc::make_mut(&mut index.base.live);
                changes
                    .removed
                    .iter()
                    .for_each(|&slot| live.unset(slot as usize));
                let twice = |track| damage.error(format!("id {track} twice"));
                if let Some(&track) = changes
                    .ids
                    .iter()
                    .find(|&&track| index.base.slot(track).is_some())
                {
                    return Err(twice(track));
                }
                let codes = Codes::of_rows(&index.codec, changes.hi, changes.lo, changes.meta);
                // Sorted by id, so that a repeated item is found beside the first.
                let tail = Segment::merged(&[Segment::new(changes.ids, codes)], &index.codec);
                if let Some(pair) = tail.ids.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(twice(pair[0]));
                }
                index.tail = IndexTail::of(tail);
            }
        }
        let mut end = None;
        if let Some(bytes) = log {
            let damage = Damage(name.to_owned());
            let dimension = index.dimension();
            let (records, read) = change_log::decode(&damage, &bytes, place.root, dimension)?;
            for record in records {
                index
                    .replay(&record)
                    .map_err(|error| damage.error(format!("a change: {error}")))?;
            }
            end = Some(LogEnd {
                at: start + read.at,
                ..read
            });
        }
        Ok((index, stamp, end))
    }

    /// Applies a recorded change.
    fn replay(&mut self, record: &change_log::Record) -> Result<(), IndexError> {
        let dimension = self.dimension();
        for (at, &id) in record.ids.iter().enumerate() {
            match &record.vectors {
                Some(vectors) => _ = self.upsert(id, &vectors[at * dimension..][..dimension])?,
                None => _ = self.remove(id),
            }
        }
        Ok(())
    }

    /// Whether a rebuild would make searches cheaper: the tail or the removed items are too many,
    /// or there are enough items for lists or a graph.
    pub fn needs_rebuild(&self) -> bool {
        let base = self.base.len() as f64;
        let tail = self.tail.len();
        let removed = base - self.base.live.count as f64;
        let wants_graph = self.graph.is_none() && self.options.wants_graph(self.len());
        let wants_lists = self.lists.is_none() && self.len() >= self.options.lists_from.max(2);
        // Without lists or a graph everything is scanned anyway, and a tail is as fast as the base.
        let is_indexed = self.graph.is_some() || self.lists.is_some();
        wants_graph
            || wants_lists
            || removed > (TOMBSTONE_SHARE * base).max(TAIL_FREE as f64)
            || tail > TAIL_FREE && tail as f64 > if is_indexed { TAIL_SHARE * base } else { base }
    }
}
