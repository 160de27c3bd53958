//! The index on disk: the base with its graph, and after it, or in a small file beside it, [later
//! changes](super::tail_file).
//!
//! ```text
//! magic 8 · version u32 · header length u32 · body start u64 · BLAKE3 of the head 32
//! header ([fields](super::fields)) · BLAKE3 of every 16 KiB of the body · zeros to a multiple of 4 096
//! body: mean f32 [d] · scale, offset f32 [n, 2] · ids i64 [n]
//!       starts of lists u32 [lists · (1 or 2) + 1]
//!       scales of residuals f32 [n]
//!       zeros to 4 096
//!       directions u8 [64, 128 or 256, width] · blocks of centres · blocks of lists
//!       hi u8 [n, width] · lo u8 [n, width], or for Euclidean distances the vectors f32 [n, d]
//!       links u32 [n, stride], in the order of the lists · places of slots in blocks and links u32 [n, 2]
//! after it: nothing, changes, or "voisinTL" alone, once or several times, if they are in the file beside it
//! after that: [a log of changes](super::change_log)
//! ```
//!
//! The header of a base has a flag if it was written with changes, and a base without it is marked when the
//! first file of changes is put beside it: if these are missing, that is an error.
//!
//! The header ends with the speeds that were measured: two builds of the same vectors differ in
//! these, in the digest of the head and in nothing else.
//!
//! Links, with places, and lists are there or not. An index that holds no vectors has residuals, `u8 [n, width
//! · bits / 8]`, in place of hi, with their scales, and neither scales and offsets of vectors nor lo. Version 9
//! is read, too: it has no speeds, and its links after the ids are ignored until the index is rebuilt.
//!
//! Little-endian. The head's digest covers every byte before the body but its own, so with the table every byte
//! of the file is verified before it is trusted; then every number used as an index is range-checked. Up to the
//! blocks of lists that is done on opening; beyond, for all at once or for what a search reads.

mod read;
mod write;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

pub use voisin_kernels::dot::ALIGN;
pub use voisin_kernels::dot::short::{BLOCK_BYTES, LANES, SHORT, block_bytes, components};

use super::checked_file::{CheckedFile, DIGEST, PIECE};
use super::codes::Codec;
use super::construction::{MAX_DIMENSION, MAX_VECTORS, check_options};
use super::fields::{FieldResult, HeaderFields};
use super::graph::{Graph, PLACE, WORD};
use super::lists::Lists;
use super::metric::{IndexMetric, Sphere};
use super::quantise::row_bytes;
use super::residual::{RESIDUAL_BITS, Residuals};
use super::segment::Segment;
use super::tuning::Tuning;
use super::types::{GraphBuilder, IndexOptions};
use super::{IndexError, IndexStamp, change_log, tail_file};

pub(crate) use read::{load, load_bytes};
pub(crate) use write::{replace, write};

pub(crate) const VERSION: u32 = 10;
pub(crate) const MAGIC: &[u8; 8] = b"voisinIX";
/// Bytes before the header.
pub(crate) const PREFIX: usize = 56;
pub(crate) const PAGE: usize = 4096;
/// The name in messages of an index without a file.
pub(crate) const BYTES: &str = "(bytes)";

pub(crate) struct Header {
    generation: u64,
    model_fingerprint: String,
    /// Whether the tail was empty when this file was written.
    pub(crate) complete: bool,
    pub(crate) n: usize,
    pub(crate) options: IndexOptions,
    pub(crate) tuning: Tuning,
    pub(crate) space: Sphere,
    /// Links of a slot; 0: no graph.
    stride: usize,
    pub(crate) lists: ListShape,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            generation: 0,
            model_fingerprint: String::new(),
            complete: true,
            n: 0,
            options: IndexOptions::default(),
            tuning: Tuning::default(),
            space: Sphere::new(IndexMetric::Cosine, 0),
            stride: 0,
            lists: ListShape::default(),
        }
    }
}

impl Header {
    /// Bytes of the body; `None` if they do not fit in memory.
    pub(crate) fn body_len(&self) -> Option<usize> {
        Sections::of(self).map(|sections| sections.end())
    }

    /// Whether there is a graph, which is over lists.
    pub(crate) fn has_graph(&self) -> bool {
        self.stride > 0 && self.has_lists()
    }

    /// Bytes of the graph in the file.
    pub(crate) fn graph_bytes(&self) -> u64 {
        if self.has_graph() {
            // A header may have any values, and a summary checks nothing else.
            let links = self.stride.saturating_mul(WORD);
            self.n.saturating_mul(links.saturating_add(PLACE)) as u64
        } else {
            0
        }
    }

    /// Bytes of the graph's blocks, which are not in the file.
    pub(crate) fn block_bytes(&self) -> u64 {
        let blocks = self.n.saturating_mul(self.stride / LANES);
        blocks.saturating_mul(BLOCK_BYTES) as u64
    }

    pub(crate) fn has_lists(&self) -> bool {
        self.lists.lists > 0
    }

    /// Bits of the residuals, of an index that holds no vectors.
    pub(crate) fn residual_bits(&self) -> Option<usize> {
        self.options.residual_bits.filter(|_| self.has_lists())
    }

    pub(crate) fn stamp(&self) -> IndexStamp {
        IndexStamp {
            generation: self.generation,
            model_fingerprint: self.model_fingerprint.clone(),
            dimension: self.space.dimension,
        }
    }

    fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        fields.number(&mut self.generation)?;
        fields.text(&mut self.model_fingerprint)?;
        fields.flag(&mut self.complete)?;
        fields.number(&mut self.n)?;
        let options = &mut self.options;
        fields.one_of(&IndexMetric::ALL, &mut options.metric)?;
        for number in [
            &mut options.m,
            &mut options.ef_construction,
            &mut options.graph_from,
            &mut options.lists_from,
        ] {
            fields.number(number)?;
        }
        fields.real(&mut options.target_recall)?;
        fields.one_of(GraphBuilder::ALL, &mut options.builder)?;
        fields.one_of(RESIDUAL_BITS, &mut options.residual_bits)?;
        fields.number(&mut options.seed)?;
        fields.number(&mut options.graph_to)?;
        self.tuning.pass(fields)?;
        self.space.metric = options.metric;
        fields.number(&mut self.space.dimension)?;
        fields.real(&mut self.space.radius)?;
        fields.number(&mut self.stride)?;
        fields.number(&mut self.lists.lists)?;
        fields.number(&mut self.lists.copies)?;
        fields.number(&mut self.lists.blocks)?;
        fields.single(&mut self.lists.step)?;
        fields.number(&mut self.lists.bits)?;
        self.tuning.pass_speeds(fields)
    }
}

/// All zero: no lists.
#[derive(Default)]
pub(crate) struct ListShape {
    lists: usize,
    /// Lists that a vector is in.
    copies: usize,
    blocks: usize,
    /// Value of one step of the directions.
    step: f32,
    /// Bits that a short code has of each: 8, 4 or 2.
    bits: usize,
}

impl ListShape {
    /// Number of starts.
    fn starts(&self) -> usize {
        self.lists.saturating_mul(self.copies).saturating_add(1)
    }

    /// Number of directions.
    fn directions(&self) -> usize {
        // A file may have any number here; it is checked with the lists.
        if [2, 4].contains(&self.bits) {
            components(self.bits)
        } else {
            SHORT
        }
    }
}

/// Start and length of each section of the body.
struct Sections {
    mean: std::ops::Range<usize>,
    meta: std::ops::Range<usize>,
    ids: std::ops::Range<usize>,
    starts: std::ops::Range<usize>,
    scales: std::ops::Range<usize>,
    directions: std::ops::Range<usize>,
    centres: std::ops::Range<usize>,
    blocks: std::ops::Range<usize>,
    hi: std::ops::Range<usize>,
    lo: std::ops::Range<usize>,
    links: std::ops::Range<usize>,
    places: std::ops::Range<usize>,
}

impl Sections {
    /// `None` if the sizes do not fit in memory.
    fn of(header: &Header) -> Option<Self> {
        let mut at = 0_usize;
        let mut take = |count: usize, bytes: usize| -> Option<std::ops::Range<usize>> {
            let end = at.checked_add(count.checked_mul(bytes)?)?;
            Some(std::mem::replace(&mut at, end)..end)
        };
        let n = header.n;
        let dimension = header.space.lifted_dimension();
        let mean = take(dimension, 4)?;
        let residual_bits = header.residual_bits();
        let full = if residual_bits.is_none() { n } else { 0 };
        let meta = take(full, 8)?;
        let ids = take(n, 8)?;
        let shape = header.has_lists().then_some(&header.lists);
        let starts = take(shape.map_or(0, ListShape::starts), 4)?;
        let scales = take(
            if residual_bits.is_some_and(|bits| bits > 0) {
                n
            } else {
                0
            },
            4,
        )?;
        let pad = scales.end.checked_next_multiple_of(PAGE)? - scales.end;
        take(pad, 1)?;
        let width = dimension.checked_next_multiple_of(ALIGN)?;
        let directions = take(shape.map_or(0, ListShape::directions), width)?;
        let centre = shape.map_or(0, |shape| block_bytes(shape.directions()));
        let centres = take(shape.map_or(0, |shape| shape.lists.div_ceil(LANES)), centre)?;
        let blocks = take(shape.map_or(0, |shape| shape.blocks), BLOCK_BYTES)?;
        let hi = take(
            n,
            residual_bits.map_or(width, |bits| row_bytes(width, bits)),
        )?;
        let low_width = if header.space.is_euclidean() {
            dimension.checked_mul(4)?
        } else {
            width
        };
        let lo = take(full, low_width)?;
        let linked = if header.has_graph() { n } else { 0 };
        let links = take(linked, header.stride.checked_mul(WORD)?)?;
        let places = take(linked, PLACE)?;
        Some(Self {
            mean,
            meta,
            ids,
            starts,
            scales,
            directions,
            centres,
            blocks,
            hi,
            lo,
            links,
            places,
        })
    }

    fn end(&self) -> usize {
        self.places.end
    }
}

/// The parts of an index that one file holds.
pub(crate) struct BaseFile {
    pub(crate) stamp: IndexStamp,
    pub(crate) options: IndexOptions,
    pub(crate) tuning: Tuning,
    pub(crate) codec: Codec,
    pub(crate) base: Segment,
    pub(crate) graph: Option<Graph>,
    pub(crate) lists: Option<Lists>,
    pub(crate) residuals: Option<Residuals>,
    /// End of the base, and digest of its head.
    pub(crate) place: BasePlace,
    pub(crate) behind: Behind,
}

/// Identifies a base on disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BasePlace {
    /// Digest of the head, which identifies the base's contents.
    pub(crate) root: [u8; DIGEST],
    /// Bytes of the file up to the end of the base.
    pub(crate) end: u64,
    /// Whether it was written without changes.
    pub(crate) complete: bool,
}

/// The bytes that follow a base in its file.
#[derive(Debug, PartialEq)]
pub(crate) enum Behind {
    Nothing,
    /// A mark that changes are in a file beside it.
    Mark,
    /// Changes, followed by a [log](change_log).
    Changes(Vec<u8>),
    /// A log alone.
    Log(Vec<u8>),
}

impl Behind {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        // Two processes may write two marks at once, and a killed one leaves a part of a mark.
        let is_mark = |part| tail_file::MAGIC.starts_with(part);
        match bytes {
            [] => Self::Nothing,
            bytes if bytes.chunks(tail_file::MAGIC.len()).all(is_mark) => Self::Mark,
            bytes if change_log::is_log(bytes) => Self::Log(bytes.to_vec()),
            bytes => Self::Changes(bytes.to_vec()),
        }
    }
}

impl BasePlace {
    /// Whether this base is at `path`, without changes after it.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.behind(path)
            .is_ok_and(|behind| matches!(behind, Some(Behind::Nothing | Behind::Mark)))
    }

    /// The bytes after this base in the file at `path`; `None` if the file has another base, or the
    /// bytes are too long for a mark.
    fn behind(&self, path: &Path) -> std::io::Result<Option<Behind>> {
        /// Most bytes of marks.
        const MOST: u64 = 64;
        let mut file = File::open(path)?;
        let mut prefix = [0; PREFIX];
        file.read_exact(&mut prefix)?;
        let length = file.metadata()?.len();
        if &prefix[..8] != MAGIC || prefix[24..] != self.root || length > self.end + MOST {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.end))?;
        file.read_to_end(&mut bytes)?;
        Ok((length >= self.end).then(|| Behind::of(&bytes)))
    }

    /// Marks the base at `path` as one with changes beside it, unless its header does.
    pub(crate) fn mark(&self, path: &Path) -> std::io::Result<()> {
        if self.complete && self.behind(path)? == Some(Behind::Nothing) {
            let mut file = File::options().append(true).open(path)?;
            file.write_all(tail_file::MAGIC)?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// The parts of an index for writing a base.
#[derive(Clone, Copy)]
pub(crate) struct BaseParts<'a> {
    pub(crate) stamp: &'a IndexStamp,
    pub(crate) complete: bool,
    pub(crate) options: &'a IndexOptions,
    pub(crate) tuning: &'a Tuning,
    pub(crate) codec: &'a Codec,
    pub(crate) base: &'a Segment,
    pub(crate) graph: Option<&'a Graph>,
    pub(crate) lists: Option<&'a Lists>,
    pub(crate) residuals: Option<&'a Residuals>,
}

/// Digest of everything before the body but the digest itself.
fn head_digest(head: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..24]);
    hasher.update(&head[PREFIX..]);
    *hasher.finalize().as_bytes()
}

/// Collects why a file cannot be used.
pub(crate) struct Damage(pub(crate) PathBuf);

impl Damage {
    pub(crate) fn error(&self, what: impl Into<String>) -> IndexError {
        IndexError::Damaged {
            path: self.0.clone(),
            what: what.into(),
        }
    }

    fn check(&self, holds: bool, what: &str) -> Result<(), IndexError> {
        if holds { Ok(()) } else { Err(self.error(what)) }
    }
}

/// Reads and checks the bytes before the body, and returns their digest.
pub(crate) fn parse_head(
    damage: &Damage,
    head: &[u8],
) -> Result<(Header, [u8; DIGEST]), IndexError> {
    damage.check(
        head.len() >= PREFIX && &head[..8] == MAGIC,
        "not an index file",
    )?;
    let version = u32::from_le_bytes(array(&head[8..12]));
    if version != VERSION {
        return Err(IndexError::Version {
            path: damage.0.clone(),
            expected: VERSION,
            actual: version,
        });
    }
    let header_len = u32::from_le_bytes(array(&head[12..16])) as usize;
    let body_start =
        usize::try_from(u64::from_le_bytes(array(&head[16..24]))).unwrap_or(usize::MAX);
    damage.check(
        body_start == head.len() && header_len <= head.len() - PREFIX,
        "cut in its header",
    )?;
    let root: [u8; DIGEST] = array(&head[24..PREFIX]);
    damage.check(head_digest(head) == root, "checksum of its header")?;
    let mut header = Header::default();
    let whole = HeaderFields::read_all(&head[PREFIX..PREFIX + header_len], |fields| {
        header.pass(fields)
    });
    damage.check(whole.is_some(), "fields of its header")?;
    let dimension = header.space.dimension;
    damage.check(
        (1..=MAX_DIMENSION).contains(&dimension) && header.space.is_sane(),
        "dimension out of range",
    )?;
    damage.check(header.n < MAX_VECTORS, "number of vectors out of range")?;
    damage.check(header.tuning.is_sane(), "widths out of range")?;
    check_options(&header.options).map_err(|error| damage.error(error.to_string()))?;
    Ok((header, root))
}

/// The first `N` bytes of a slice, which must have them.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(array(word)))
        .collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(array(word)))
        .collect()
}

pub(crate) fn pairs<T>(bytes: &[u8], make: impl Fn(f32, f32) -> T) -> Vec<T> {
    let pairs = bytes.chunks_exact(8);
    pairs
        .map(|pair| {
            make(
                f32::from_le_bytes(array(&pair[..4])),
                f32::from_le_bytes(array(&pair[4..])),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
