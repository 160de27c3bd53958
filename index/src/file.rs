//! An index saved, opened and checked; a file is written under another name and renamed.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::Mmap;

use voisin_base::atomic_file::{self, AtomicFile, refuse_streams};
use voisin_base::regular_file;
use voisin_base::track::Id;
use voisin_simd::buffer::{map_file, read_file};
use voisin_simd::dot::ProductRows;
use voisin_simd::dot::short::{BLOCK_BYTES, CENTRE_BYTES};

use super::codes::{Codec, Codes, LARGEST, Meta, Plane};
use super::directions::Directions;
use super::fields::HeaderFields;
use super::format::{
    BodyWriter, DIGEST, Damage, Header, LARGEST_HEAD, MAGIC, PAGE, PREFIX, Sections, VERSION,
    array, body_digest, bytes_of, head_digest, id_bytes, meta_bytes, words,
};
use super::graph::Graph;
use super::lists::{Lists, are_all_places};
use super::segment::Segment;
use super::subset::Bitmap;
use super::tail::IndexTail;
use super::types::IndexStats;
use super::{IndexError, IndexStamp, VectorIndex};

/// Files of fewer bytes are checked whole when they are opened, which takes some milliseconds.
const SMALL: usize = 16 << 20;

/// A file's bytes: mapped, or in memory.
pub(crate) struct IndexFile {
    path: PathBuf,
    bytes: Arc<Mmap>,
    body: Range<usize>,
    digest: [u8; DIGEST],
}

/// A state of a file: its identity, length and times.
type CopyState = (u64, u64, u64, i64, i64);

/// Copies in use, shared by all that open one state of a file.
static COPIES: Mutex<Vec<(CopyState, Weak<Mmap>)>> = Mutex::new(Vec::new());

fn shared_copy(file: &File) -> std::io::Result<Arc<Mmap>> {
    let Some(state) = state_of(file)? else {
        return read_file(file).map(Arc::new);
    };
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    copies.retain(|(_, copy)| copy.strong_count() > 0);
    let known = copies.iter().find(|(known, _)| *known == state);
    if let Some(copy) = known.and_then(|(_, copy)| copy.upgrade()) {
        return Ok(copy);
    }
    let copy = Arc::new(read_file(file)?);
    copies.push((state, Arc::downgrade(&copy)));
    Ok(copy)
}

#[cfg(unix)]
fn state_of(file: &File) -> std::io::Result<Option<CopyState>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = file.metadata()?;
    Ok(Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
    )))
}

#[cfg(not(unix))]
fn state_of(_: &File) -> std::io::Result<Option<CopyState>> {
    Ok(None)
}

/// Vectors with their ids, of a file's sections.
fn segment(
    damage: &Damage,
    file: &Arc<Mmap>,
    body: &Range<usize>,
    [meta, ids, hi, lo]: [&Range<usize>; 4],
    width: usize,
) -> Result<Segment, IndexError> {
    let bytes = &file[body.clone()];
    let floats = words(&bytes[meta.clone()], f32::from_le_bytes);
    let meta = floats.as_chunks().0.iter();
    let meta: Vec<Meta> = meta
        .map(|&[scale, offset]| Meta { scale, offset })
        .collect();
    damage.check(
        meta.iter().all(|meta| meta.is_sane()),
        "scales out of range",
    )?;
    let ids = bytes[ids.clone()].chunks_exact(8);
    let ids: Vec<Id> = ids.map(|id| Id(i64::from_le_bytes(array(id)))).collect();
    damage.check(ids.is_sorted_by(|a, b| a < b), "ids out of order")?;
    let plane = |range: &Range<usize>| plane(file, body, range);
    let hi = plane(hi);
    let lo = plane(lo);
    Ok(Segment::new(
        ids,
        Codes {
            width,
            hi,
            lo,
            meta,
        },
    ))
}

fn plane(file: &Arc<Mmap>, body: &Range<usize>, range: &Range<usize>) -> Plane {
    Plane::File(
        Arc::clone(file),
        body.start + range.start..body.start + range.end,
    )
}

impl VectorIndex {
    /// Saves the index to `path` with all insertions and removals.
    ///
    /// It is written under a temporary name, flushed, and renamed: readers see the old state or the
    /// new one, even after a crash.
    pub fn save(&self, path: &Path, stamp: &IndexStamp) -> Result<(), IndexError> {
        self.check()?;
        let damage = Damage(path.to_owned());
        refuse_streams(path).map_err(damage.io("writing"))?;
        for left in atomic_file::abandoned_files(atomic_file::folder_of(path), atomic_file::PREFIX)
        {
            let _ = std::fs::remove_file(left);
        }
        self.check_dimension(stamp)?;
        let mut file = AtomicFile::create(path).map_err(damage.io("creating"))?;
        self.write(file.file(), stamp)
            .map_err(damage.io("writing"))?;
        file.commit().map_err(damage.io("replacing"))
    }

    fn check_dimension(&self, stamp: &IndexStamp) -> Result<(), IndexError> {
        let expected = self.dimension();
        let actual = stamp.dimension;
        if actual == expected {
            return Ok(());
        }
        Err(IndexError::Dimension { expected, actual })
    }

    /// The header of a file of this index, without a stamp.
    pub(crate) fn header(&self) -> Header {
        let mut header = Header {
            options: self.options,
            tuning: self.tuning,
            dimension: self.dimension(),
            n: self.base.len(),
            stride: self.graph.as_ref().map_or(0, |graph| graph.stride),
            removed: self.base.len() - self.base.live.count,
            tail: self.tail.live(),
            ..Header::default()
        };
        if let Some(lists) = &self.lists {
            header.lists = lists.len();
            header.blocks = lists.all_blocks().len() / BLOCK_BYTES;
            header.step = lists.directions.step;
        }
        header
    }

    fn write(&self, out: &mut (impl Write + Seek), stamp: &IndexStamp) -> std::io::Result<()> {
        let tail = Segment::merged(self.tail.parts(), &self.codec);
        let mut header = Header {
            generation: stamp.generation,
            model_fingerprint: stamp.model_fingerprint.clone(),
            ..self.header()
        };
        let sections = header.sections().ok_or(ErrorKind::FileTooLarge)?;
        let header = HeaderFields::written(|fields| header.pass(fields))?;
        let mut head = vec![0; (PREFIX + header.len()).next_multiple_of(PAGE)];
        out.seek(SeekFrom::Start(head.len() as u64))?;
        let body = self.write_body(&mut *out, &sections, &tail)?;
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&(header.len() as u32).to_le_bytes());
        head[16 + DIGEST..PREFIX].copy_from_slice(&body);
        head[PREFIX..][..header.len()].copy_from_slice(&header);
        let digest = head_digest(&head);
        head[16..][..DIGEST].copy_from_slice(&digest);
        out.rewind()?;
        out.write_all(&head)
    }

    fn write_body(
        &self,
        out: impl Write,
        sections: &Sections,
        tail: &Segment,
    ) -> std::io::Result<[u8; DIGEST]> {
        let mut body = BodyWriter::new(out);
        let base = &self.base;
        let mean = self.codec.mean.iter().map(|x| x.to_le_bytes());
        body.section(&sections.mean, &bytes_of(mean))?;
        body.section(&sections.meta, &meta_bytes(&base.codes.meta))?;
        body.section(&sections.ids, &id_bytes(&base.ids))?;
        body.section(&sections.live, &base.live.bytes)?;
        body.section(&sections.tail_meta, &meta_bytes(&tail.codes.meta))?;
        body.section(&sections.tail_ids, &id_bytes(&tail.ids))?;
        if let Some(lists) = &self.lists {
            let starts = lists.starts.iter().map(|start| start.to_le_bytes());
            body.section(&sections.starts, &bytes_of(starts))?;
            body.section(&sections.directions, lists.directions.rows.plane())?;
            body.section(&sections.centres, &lists.centres)?;
            body.section(&sections.blocks, lists.all_blocks())?;
        }
        body.section(&sections.hi, base.codes.hi.bytes())?;
        body.section(&sections.lo, base.codes.lo.bytes())?;
        if let Some(graph) = &self.graph {
            let [links, places] = graph.sections();
            body.section(&sections.links, links)?;
            body.section(&sections.places, places)?;
        }
        body.section(&sections.tail_hi, tail.codes.hi.bytes())?;
        body.section(&sections.tail_lo, tail.codes.lo.bytes())?;
        body.finish()
    }

    /// Whether a save to `path` replaces an index or nothing, and no other file.
    pub fn can_replace(path: &Path) -> bool {
        let mut found = [0; 8];
        // A file that cannot be read may be no index.
        match regular_file::open(path) {
            Ok(mut file) => file.read_exact(&mut found).is_ok() && found == *MAGIC,
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Opens the index at `path` if it belongs to `expected`, and checks every byte.
    ///
    /// Errors: [`IndexError::Damaged`], [`IndexError::Version`], [`IndexError::OtherModel`],
    /// [`IndexError::Stale`], [`IndexError::Dimension`], [`IndexError::Io`].
    pub fn load(path: &Path, expected: &IndexStamp) -> Result<Self, IndexError> {
        let (index, actual) = Self::load_any_generation(path, expected, false)?;
        index.check()?;
        let path = path.to_owned();
        let expected = expected.generation;
        if actual == expected {
            return Ok(index);
        }
        Err(IndexError::Stale {
            path,
            expected,
            actual,
        })
    }

    /// As [`load`](Self::load), but of any generation, which is returned: an older index can be
    /// updated with [`insert`](Self::insert) and [`remove`](Self::remove). The vectors are not
    /// checked until [`check`](Self::check) is called, except in a small file.
    ///
    /// - `in_memory`: reads the file, so that later changes of it have no effect; all that read it
    ///   share one copy. Else it is mapped: it may be replaced by renaming, not overwritten.
    pub fn load_any_generation(
        path: &Path,
        expected: &IndexStamp,
        in_memory: bool,
    ) -> Result<(Self, u64), IndexError> {
        let (index, stamp) = Self::open_file(path, in_memory)?;
        if stamp.model_fingerprint != expected.model_fingerprint {
            return Err(IndexError::OtherModel {
                path: path.to_owned(),
                expected: expected.model_fingerprint.clone(),
                actual: stamp.model_fingerprint,
            });
        }
        index.check_dimension(expected)?;
        Ok((index, stamp.generation))
    }

    /// Reads the index at `path` into memory, checks every byte, and returns its stamp.
    pub fn open(path: &Path) -> Result<(Self, IndexStamp), IndexError> {
        let (index, stamp) = Self::open_file(path, true)?;
        index.check()?;
        Ok((index, stamp))
    }

    fn open_file(path: &Path, in_memory: bool) -> Result<(Self, IndexStamp), IndexError> {
        let damage = Damage(path.to_owned());
        let file = regular_file::open(path).map_err(damage.io("opening"))?;
        let length = file.metadata().map_err(damage.io("reading"))?.len();
        // Windows does not allow replacing a mapped file, and a newer index may replace this one
        // while it is searched. An empty file cannot be mapped.
        let bytes = if in_memory || cfg!(windows) || length == 0 {
            shared_copy(&file).map_err(damage.io("reading"))?
        } else {
            Arc::new(map_file(&file).map_err(damage.io("mapping"))?)
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (index, stamp) = Self::of_file(damage, bytes, length)?;
        if length < SMALL {
            index.check()?;
        }
        Ok((index, stamp))
    }

    fn of_file(
        damage: Damage,
        file: Arc<Mmap>,
        length: usize,
    ) -> Result<(Self, IndexStamp), IndexError> {
        let (header, start) = damage.head(&file[..length.min(file.len())])?;
        let stamp = header.stamp();
        let sections = header
            .sections()
            .ok_or_else(|| damage.error("sizes out of range"))?;
        let body = start..start.saturating_add(sections.tail_lo.end);
        damage.check(body.end == length, "another length than its header says")?;
        let bytes = &file[body.clone()];
        let mean = words(&bytes[sections.mean.clone()], f32::from_le_bytes);
        damage.check(mean.iter().all(|x| x.abs() <= LARGEST), "mean out of range")?;
        let width = header.width();
        let Sections {
            meta, ids, hi, lo, ..
        } = &sections;
        let mut base = segment(&damage, &file, &body, [meta, ids, hi, lo], width)?;
        let Sections {
            tail_meta,
            tail_ids,
            tail_hi,
            tail_lo,
            ..
        } = &sections;
        let of_tail = [tail_meta, tail_ids, tail_hi, tail_lo];
        let tail = segment(&damage, &file, &body, of_tail, width)?;
        if header.removed > 0 {
            let live = Bitmap::of_bytes(bytes[sections.live.clone()].to_vec(), header.n);
            let live = live.filter(|live| live.count == header.n - header.removed);
            base.live = Arc::new(live.ok_or_else(|| damage.error("removed vectors"))?);
        }
        let is_new = |&id: &Id| base.slot(id).is_none();
        damage.check(tail.ids.iter().all(is_new), "an id twice")?;
        let lists = (header.stride > 0).then(|| lists(&damage, &header, &sections, &file, &body));
        let lists = lists.transpose()?;
        let graph = lists.as_ref().map(|_| {
            let [links, places] =
                [&sections.links, &sections.places].map(|range| plane(&file, &body, range));
            Graph::linked(header.stride, header.n, links, places)
        });
        let isa = voisin_simd::isa()?;
        let codec = Codec::with_mean(mean);
        let mut index = Self::assemble(header.options, isa, codec, base, header.tuning);
        index.graph = graph.map(Arc::new);
        index.lists = lists.map(Arc::new);
        if tail.len() > 0 {
            index.tail = IndexTail::of(tail);
        }
        index.file = Some(Arc::new(IndexFile {
            path: damage.0,
            digest: array(&file[16 + DIGEST..]),
            bytes: file,
            body,
        }));
        Ok((index, stamp))
    }

    /// Checks every byte of the file that the index was opened from, in parallel on rayon's current
    /// pool.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]
    pub fn check(&self) -> Result<(), IndexError> {
        let Some(file) = self.file.as_deref() else {
            return Ok(());
        };
        let damage = Damage(file.path.clone());
        let digest = body_digest(&file.bytes[file.body.clone()]);
        damage.check(digest == file.digest, "checksum")?;
        // A digest only shows that the bytes are as written; a file by other code may refer to
        // missing vectors.
        let is_sane = self.lists.as_deref().is_none_or(|lists| {
            let graph = self.graph.as_deref();
            lists.has_every_vector() && graph.is_none_or(|graph| graph.is_sane(lists))
        });
        damage.check(is_sane, "places in lists")
    }

    /// Stamp and statistics of the index at `path`, from its head: the vectors are neither read nor
    /// checked.
    #[doc(hidden)]
    pub fn summary(path: &Path) -> Result<(IndexStamp, IndexStats), IndexError> {
        let damage = Damage(path.to_owned());
        let file = regular_file::open(path).map_err(damage.io("opening"))?;
        let mut head = Vec::new();
        let most = LARGEST_HEAD as u64;
        file.take(most)
            .read_to_end(&mut head)
            .map_err(damage.io("reading"))?;
        let (header, _) = damage.head(&head)?;
        Ok((header.stamp(), header.stats()))
    }
}

fn lists(
    damage: &Damage,
    header: &Header,
    sections: &Sections,
    file: &Arc<Mmap>,
    body: &Range<usize>,
) -> Result<Lists, IndexError> {
    let bytes = &file[body.clone()];
    let starts = words(&bytes[sections.starts.clone()], u32::from_le_bytes);
    let ends = starts.last().map(|&end| end as usize);
    let whole = starts.first() == Some(&0) && ends == Some(header.blocks);
    damage.check(whole && starts.is_sorted(), "starts of lists")?;
    let centres = bytes[sections.centres.clone()].to_vec();
    let are_centres = are_all_places(&centres, CENTRE_BYTES, header.lists);
    damage.check(are_centres, "centres of lists")?;
    let rows = bytes[sections.directions.clone()].to_vec();
    Ok(Lists {
        directions: Directions {
            rows: ProductRows::new(rows, header.width()),
            step: header.step,
        },
        centres,
        starts,
        blocks: plane(file, body, &sections.blocks),
        vectors: header.n,
    })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
