//! The format of an index on disk.
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
//! blocks are checked by [`VectorIndex::check`](super::VectorIndex::check).

use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;

use voisin_base::track::Id;
use voisin_simd::dot::ALIGN;
use voisin_simd::dot::short::{BLOCK_BYTES, CENTRE_BYTES, COMPONENTS, LANES};

use super::check::K;
use super::codes::Meta;
use super::construction::{MAX_DIMENSION, MAX_VECTORS, check_options};
use super::fields::{FieldResult, HeaderFields};
use super::graph::{PLACE, WORD};
use super::tuning::Tuning;
use super::types::{GraphBuilder, IndexOptions, IndexStats};
use super::{IndexError, IndexStamp};

pub(super) const VERSION: u32 = 11;
pub(super) const MAGIC: &[u8; 8] = b"voisinIX";
/// Bytes of a digest.
pub(super) const DIGEST: usize = 32;
/// Bytes before the header.
pub(super) const PREFIX: usize = 16 + 2 * DIGEST;
pub(super) const PAGE: usize = 4096;
/// Most bytes of a header.
pub(super) const LARGEST_HEAD: usize = 1 << 20;
/// Bytes of the body with a digest of their own.
const PIECE: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Header {
    pub(super) generation: u64,
    pub(super) model_fingerprint: String,
    pub(super) options: IndexOptions,
    pub(super) tuning: Tuning,
    pub(super) dimension: usize,
    pub(super) n: usize,
    /// Links of a slot; 0: no graph and no lists.
    pub(super) stride: usize,
    pub(super) lists: usize,
    pub(super) blocks: usize,
    /// Value of one step of the directions.
    pub(super) step: f32,
    pub(super) removed: usize,
    pub(super) tail: usize,
}

impl Header {
    pub(super) fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
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

    pub(super) fn stamp(&self) -> IndexStamp {
        IndexStamp {
            generation: self.generation,
            model_fingerprint: self.model_fingerprint.clone(),
            dimension: self.dimension,
        }
    }

    pub(super) fn width(&self) -> usize {
        self.dimension.next_multiple_of(ALIGN)
    }

    pub(super) fn stats(&self) -> IndexStats {
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
    pub(super) fn sections(&self) -> Option<Sections> {
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
pub(super) struct Sections {
    pub(super) mean: Range<usize>,
    pub(super) meta: Range<usize>,
    pub(super) ids: Range<usize>,
    pub(super) live: Range<usize>,
    pub(super) tail_meta: Range<usize>,
    pub(super) tail_ids: Range<usize>,
    pub(super) starts: Range<usize>,
    pub(super) directions: Range<usize>,
    pub(super) centres: Range<usize>,
    pub(super) blocks: Range<usize>,
    pub(super) hi: Range<usize>,
    pub(super) lo: Range<usize>,
    pub(super) links: Range<usize>,
    pub(super) places: Range<usize>,
    pub(super) tail_hi: Range<usize>,
    pub(super) tail_lo: Range<usize>,
}

/// Writes and hashes the body.
pub(super) struct BodyWriter<W: Write> {
    out: BufWriter<W>,
    at: usize,
    piece: blake3::Hasher,
    pieces: blake3::Hasher,
}

impl<W: Write> BodyWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 20, out),
            at: 0,
            piece: blake3::Hasher::new(),
            pieces: blake3::Hasher::new(),
        }
    }

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
    pub(super) fn section(&mut self, place: &Range<usize>, bytes: &[u8]) -> std::io::Result<()> {
        self.write(&vec![0; place.start - self.at])?;
        self.write(&bytes[..place.len()])
    }

    /// The digest of all.
    pub(super) fn finish(mut self) -> std::io::Result<[u8; DIGEST]> {
        if !self.at.is_multiple_of(PIECE) {
            self.end_piece();
        }
        self.out.flush()?;
        Ok(*self.pieces.finalize().as_bytes())
    }
}

/// The digest that [`BodyWriter`] makes, in parallel on rayon's current pool.
pub(super) fn body_digest(body: &[u8]) -> [u8; DIGEST] {
    let pieces = body
        .par_chunks(PIECE)
        .map(|piece| *blake3::hash(piece).as_bytes());
    let pieces: Vec<[u8; DIGEST]> = pieces.collect();
    *blake3::hash(pieces.as_flattened()).as_bytes()
}

/// Digest of everything before the body but the digest itself.
pub(super) fn head_digest(head: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..16]);
    hasher.update(&head[16 + DIGEST..]);
    *hasher.finalize().as_bytes()
}

/// The first `N` bytes of a slice, which must have them.
pub(super) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

pub(super) fn words<T>(bytes: &[u8], word: impl Fn([u8; WORD]) -> T) -> Vec<T> {
    bytes
        .chunks_exact(WORD)
        .map(|bytes| word(array(bytes)))
        .collect()
}

pub(super) fn bytes_of<const N: usize>(words: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    words.flatten().collect()
}

pub(super) fn meta_bytes(meta: &[Meta]) -> Vec<u8> {
    let words = meta.iter().flat_map(|meta| [meta.scale, meta.offset]);
    bytes_of(words.map(f32::to_le_bytes))
}

pub(super) fn id_bytes(ids: &[Id]) -> Vec<u8> {
    bytes_of(ids.iter().map(|id| id.0.to_le_bytes()))
}

/// Says why a file cannot be used.
pub(super) struct Damage(pub(super) PathBuf);

impl Damage {
    pub(super) fn error(&self, what: impl Into<String>) -> IndexError {
        IndexError::Damaged {
            path: self.0.clone(),
            what: what.into(),
        }
    }

    pub(super) fn check(&self, holds: bool, what: &str) -> Result<(), IndexError> {
        if holds { Ok(()) } else { Err(self.error(what)) }
    }

    pub(super) fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> IndexError {
        let path = self.0.clone();
        move |source| IndexError::Io {
            path: path.clone(),
            doing,
            source,
        }
    }

    /// Reads and checks the bytes before the body; returns the body's start, too.
    pub(super) fn head(&self, file: &[u8]) -> Result<(Header, usize), IndexError> {
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
