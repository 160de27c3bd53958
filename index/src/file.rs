//! The index on disk.
//!
//! ```text
//! magic 8 · version u32 · header length u32 · BLAKE3 of the head 32 · BLAKE3 of the body 32
//! header ([fields](super::fields)) · zeros to a multiple of 4 096
//! body: mean f32 [d] · scale, offset f32 [n, 2] · ids i64 [n]
//!       live vectors, a bit each [n], if some were removed
//!       of those added since the build: scale, offset f32 [tail, 2] · ids i64 [tail]
//!       starts of lists u32 [lists + 1] · directions u8 [128, width] · blocks of centres
//!       blocks of lists · hi u8 [n, width] · lo u8 [n, width]
//!       links u32 [n, stride], in the order of the lists · places of slots u32 [n, 2]
//!       hi u8 [tail, width] · lo u8 [tail, width]
//! ```
//!
//! Little-endian; each section begins at a multiple of 64. The head's digest covers every byte
//! before the body but its own; the body's is of the digests of its pieces. Opening checks the head,
//! all lengths, and every number that is copied into memory; the body's digest, links and names in
//! blocks are checked by [`VectorIndex::check`]. A file is written under another name and renamed.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read as _, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::Mmap;
use rayon::prelude::*;

use voisin_base::atomic_file::{self, AtomicFile, refuse_streams};
use voisin_base::track::Id;
use voisin_simd::buffer::{map_file, read_file};
use voisin_simd::dot::short::{BLOCK_BYTES, CENTRE_BYTES, COMPONENTS, LANES};
use voisin_simd::dot::{ALIGN, ProductRows};

use super::check::K;
use super::codes::{Codec, Codes, LARGEST, Meta, Plane};
use super::construction::{MAX_DIMENSION, MAX_VECTORS, check_options};
use super::directions::Directions;
use super::fields::{FieldResult, HeaderFields};
use super::graph::{Graph, PLACE, WORD};
use super::lists::{Lists, are_all_places};
use super::segment::Segment;
use super::subset::Bitmap;
use super::tail::IndexTail;
use super::tuning::Tuning;
use super::types::{GraphBuilder, IndexOptions, IndexStats};
use super::{IndexError, IndexStamp, VectorIndex};

const VERSION: u32 = 11;
const MAGIC: &[u8; 8] = b"voisinIX";
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Bytes before the header.
const PREFIX: usize = 16 + 2 * DIGEST;
const PAGE: usize = 4096;
/// Most bytes of a header.
const LARGEST_HEAD: usize = 1 << 20;
/// Bytes of the body with a digest of their own.
const PIECE: usize = 1 << 20;
/// Files of fewer bytes are checked whole when they are opened, which takes some milliseconds.
const SMALL: usize = 16 << 20;

/// A file's bytes: mapped, or in memory.
pub(crate) struct IndexFile {
    path: PathBuf,
    bytes: Arc<Mmap>,
    body: Range<usize>,
    digest: [u8; DIGEST],
}

#[derive(Default)]
pub(crate) struct Header {
    generation: u64,
    model_fingerprint: String,
    options: IndexOptions,
    tuning: Tuning,
    dimension: usize,
    n: usize,
    /// Links of a slot; 0: no graph and no lists.
    stride: usize,
    lists: usize,
    blocks: usize,
    /// Value of one step of the directions.
    step: f32,
    removed: usize,
    tail: usize,
}

impl Header {
    fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        fields.number(&mut self.generation)?;
        fields.text(&mut self.model_fingerprint)?;
        let options = &mut self.options;
        for number in [
            &mut options.m,
            &mut options.ef_construction,
            &mut options.graph_from,
        ] {
            fields.number(number)?;
        }
        fields.real(&mut options.target_recall)?;
        fields.one_of(GraphBuilder::ALL, &mut options.builder)?;
        fields.number(&mut options.seed)?;
        self.tuning.pass(fields)?;
        for number in [
            &mut self.dimension,
            &mut self.n,
            &mut self.stride,
            &mut self.lists,
            &mut self.blocks,
            &mut self.removed,
            &mut self.tail,
        ] {
            fields.number(number)?;
        }
        fields.single(&mut self.step)
    }

    fn stamp(&self) -> IndexStamp {
        IndexStamp {
            generation: self.generation,
            model_fingerprint: self.model_fingerprint.clone(),
            dimension: self.dimension,
        }
    }

    fn width(&self) -> usize {
        self.dimension.next_multiple_of(ALIGN)
    }

    pub(crate) fn stats(&self) -> IndexStats {
        let has_graph = self.stride > 0;
        let sizes = [self.n, self.stride, self.lists];
        let walks = has_graph && !self.tuning.prefers_lists(K, sizes);
        IndexStats {
            items: self.n - self.removed + self.tail,
            ef: walks.then(|| self.tuning.ef(K)),
            lists: has_graph.then(|| self.tuning.reach(K).0.min(self.lists)),
            list_count: self.lists,
            recall: has_graph.then_some(self.tuning.recall),
            tail: self.tail,
            tombstones: self.removed,
            resident: self.sections().map_or(0, |all| {
                all.tail_lo.end - all.lo.len() - all.links.len() - all.places.len()
            }),
        }
    }

    /// The range of each section in the body; `None` if they do not fit in memory.
    fn sections(&self) -> Option<Sections> {
        let has_graph = self.stride > 0;
        let linked = if has_graph { self.n } else { 0 };
        let lists = if has_graph { self.lists } else { 0 };
        let width = self.width();
        let mut at = 0_usize;
        let mut next = |count: usize, bytes: usize| -> Option<Range<usize>> {
            let start = at.checked_next_multiple_of(ALIGN)?;
            at = start.checked_add(count.checked_mul(bytes)?)?;
            Some(start..at)
        };
        Some(Sections {
            mean: next(self.dimension, 4)?,
            meta: next(self.n, 8)?,
            ids: next(self.n, 8)?,
            live: next(
                if self.removed > 0 {
                    self.n.div_ceil(8)
                } else {
                    0
                },
                1,
            )?,
            tail_meta: next(self.tail, 8)?,
            tail_ids: next(self.tail, 8)?,
            starts: next(if has_graph { lists.checked_add(1)? } else { 0 }, WORD)?,
            directions: next(if has_graph { COMPONENTS } else { 0 }, width)?,
            centres: next(lists.div_ceil(LANES), CENTRE_BYTES)?,
            blocks: next(if has_graph { self.blocks } else { 0 }, BLOCK_BYTES)?,
            hi: next(self.n, width)?,
            lo: next(self.n, width)?,
            links: next(linked, self.stride.checked_mul(WORD)?)?,
            places: next(linked, PLACE)?,
            tail_hi: next(self.tail, width)?,
            tail_lo: next(self.tail, width)?,
        })
    }
}

/// The sections of a body, in order.
struct Sections {
    mean: Range<usize>,
    meta: Range<usize>,
    ids: Range<usize>,
    live: Range<usize>,
    tail_meta: Range<usize>,
    tail_ids: Range<usize>,
    starts: Range<usize>,
    directions: Range<usize>,
    centres: Range<usize>,
    blocks: Range<usize>,
    hi: Range<usize>,
    lo: Range<usize>,
    links: Range<usize>,
    places: Range<usize>,
    tail_hi: Range<usize>,
    tail_lo: Range<usize>,
}

/// Writes and hashes the body.
struct BodyWriter<W> {
    out: W,
    at: usize,
    piece: blake3::Hasher,
    pieces: blake3::Hasher,
}

impl<W: Write> BodyWriter<W> {
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.at % PIECE));
            self.out.write_all(now)?;
            self.piece.update(now);
            self.at += now.len();
            if self.at.is_multiple_of(PIECE) {
                self.end_piece();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_piece(&mut self) {
        self.pieces.update(self.piece.finalize().as_bytes());
        self.piece.reset();
    }

    /// A section, after zeros up to its start.
    fn section(&mut self, place: &Range<usize>, bytes: &[u8]) -> std::io::Result<()> {
        self.write(&vec![0; place.start - self.at])?;
        self.write(&bytes[..place.len()])
    }

    /// The digest of all.
    fn finish(mut self) -> std::io::Result<[u8; DIGEST]> {
        if !self.at.is_multiple_of(PIECE) {
            self.end_piece();
        }
        self.out.flush()?;
        Ok(*self.pieces.finalize().as_bytes())
    }
}

/// The digest that [`BodyWriter`] makes, in parallel on rayon's current pool.
fn body_digest(body: &[u8]) -> [u8; DIGEST] {
    let pieces = body
        .par_chunks(PIECE)
        .map(|piece| *blake3::hash(piece).as_bytes());
    let pieces: Vec<[u8; DIGEST]> = pieces.collect();
    *blake3::hash(pieces.as_flattened()).as_bytes()
}

/// Digest of everything before the body but the digest itself.
fn head_digest(head: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..16]);
    hasher.update(&head[16 + DIGEST..]);
    *hasher.finalize().as_bytes()
}

/// The first `N` bytes of a slice, which must have them.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

fn words<T>(bytes: &[u8], word: impl Fn([u8; WORD]) -> T) -> Vec<T> {
    bytes
        .chunks_exact(WORD)
        .map(|bytes| word(array(bytes)))
        .collect()
}

fn bytes_of<const N: usize>(words: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    words.flatten().collect()
}

fn meta_bytes(meta: &[Meta]) -> Vec<u8> {
    let words = meta.iter().flat_map(|meta| [meta.scale, meta.offset]);
    bytes_of(words.map(f32::to_le_bytes))
}

fn id_bytes(ids: &[Id]) -> Vec<u8> {
    bytes_of(ids.iter().map(|id| id.0.to_le_bytes()))
}

/// Says why a file cannot be used.
struct Damage(PathBuf);

impl Damage {
    fn error(&self, what: impl Into<String>) -> IndexError {
        IndexError::Damaged {
            path: self.0.clone(),
            what: what.into(),
        }
    }

    fn check(&self, holds: bool, what: &str) -> Result<(), IndexError> {
        if holds { Ok(()) } else { Err(self.error(what)) }
    }

    fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> IndexError {
        let path = self.0.clone();
        move |source| IndexError::Io {
            path: path.clone(),
            doing,
            source,
        }
    }

    /// Reads and checks the bytes before the body; returns the body's start, too.
    fn head(&self, file: &[u8]) -> Result<(Header, usize), IndexError> {
        self.check(file.len() >= PREFIX, "shorter than its header")?;
        self.check(&file[..8] == MAGIC, "not an index file")?;
        let version = u32::from_le_bytes(array(&file[8..]));
        if version != VERSION {
            return Err(IndexError::Version {
                path: self.0.clone(),
                expected: VERSION,
                actual: version,
            });
        }
        let length = u32::from_le_bytes(array(&file[12..])) as usize;
        let start = PREFIX.saturating_add(length).next_multiple_of(PAGE);
        self.check(start <= file.len(), "shorter than its header")?;
        let head = &file[..start];
        self.check(
            head_digest(head) == head[16..][..DIGEST],
            "checksum of its header",
        )?;
        let mut header = Header::default();
        let whole = HeaderFields::read_all(&head[PREFIX..][..length], |fields| header.pass(fields));
        self.check(whole.is_some(), "fields of its header")?;
        let stride = header.stride;
        let is_sane = (1..=MAX_DIMENSION).contains(&header.dimension)
            && header.n.saturating_add(header.tail) < MAX_VECTORS
            && header.removed <= header.n
            && stride.is_multiple_of(LANES)
            && stride <= 8 * LANES
            && (stride == 0 || header.n > 0 && header.lists > 0)
            && (0. ..=1.).contains(&header.step)
            && header.tuning.is_sane();
        self.check(is_sane, "numbers of its header")?;
        check_options(&header.options).map_err(|error| self.error(error.to_string()))?;
        Ok((header, start))
    }
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
        let mut body = BodyWriter {
            out: BufWriter::with_capacity(1 << 20, out),
            at: 0,
            piece: blake3::Hasher::new(),
            pieces: blake3::Hasher::new(),
        };
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
        match File::open(path) {
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
        let file = File::open(path).map_err(damage.io("opening"))?;
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
        let file = File::open(path).map_err(damage.io("opening"))?;
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
