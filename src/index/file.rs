//! The index on disk: one file for the base with its graph, a small one beside it for what came after.
//!
//! ```text
//! magic 8 · version u32 · header length u32 · body start u64 · BLAKE3 of the head 32
//! header (JSON) · BLAKE3 of every MiB of the body · zeros to a multiple of 4 096
//! body: mean f32 [d] · scale, offset f32 [n, 2] · ids i64 [n] · links u32 [n, stride] · ranked u32
//!       upper layers u32 · hub scales f32 [n, 2] or nothing · starts of lists u32 · zeros to 4 096
//!       directions u8 [64, width] · blocks of centres · blocks of lists · hi u8 [n, width] · lo u8 [n, width]
//! ```
//!
//! Graph and lists are there or not. Version 1 had no lists, and is read as an index without.
//!
//! Little-endian. The head's digest covers every byte before the body but its own, so with the table every byte
//! of the file is checked before it is trusted; then every number that is used as an index is checked again.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kernels::buffer::{fetch, let_go, map_file, read_file};
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::atomic_file::AtomicFile;
use crate::track::TrackId;

use super::codes::{Codec, Codes, Meta, Plane};
use super::graph::{Graph, NONE};
use super::hubs::{HubScale, Hubs};
use super::lists::{Directions, Lists};
use super::segment::Segment;
use super::tuning::Tuning;
use super::types::IndexOptions;
use super::{IndexError, IndexStamp, MAX_DIMENSION, MAX_VECTORS, check_options};
use crate::kernels::dot::short::{BLOCK_BYTES, LANES, NOBODY, SHORT, read};

pub(crate) const VERSION: u32 = 2;
/// The oldest version that is read.
pub(crate) const OLDEST: u32 = 1;
const MAGIC: &[u8; 8] = b"voisinIX";
/// Before the header.
pub(crate) const PREFIX: usize = 56;
const DIGEST: usize = 32;
/// Bytes of the body per entry of the table of digests.
const CHUNK: usize = 1 << 20;
pub(crate) const PAGE: usize = 4096;
/// More layers than `hnsw_rs` makes.
const MAX_LAYERS: usize = 16;

#[derive(Serialize, Deserialize)]
pub(crate) struct Header {
    generation: u64,
    model_fingerprint: String,
    /// Whether nothing was in the tail when this file was written.
    pub(crate) complete: bool,
    dimension: usize,
    pub(crate) n: usize,
    pub(crate) options: IndexOptions,
    pub(crate) tuning: Tuning,
    pub(crate) graph: Option<GraphShape>,
    #[serde(default)]
    pub(crate) lists: Option<ListShape>,
    hubs: bool,
}

impl Header {
    pub(crate) fn stamp(&self) -> IndexStamp {
        IndexStamp {
            generation: self.generation,
            model_fingerprint: self.model_fingerprint.clone(),
            dimension: self.dimension,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct GraphShape {
    stride: usize,
    entry: u32,
    ranked: usize,
    upper_stride: usize,
    /// Points of each layer from 1 up.
    upper: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ListShape {
    lists: usize,
    blocks: usize,
    /// Value of one step of the directions.
    step: f32,
}

/// Start and length of each section of the body.
struct Sections {
    mean: std::ops::Range<usize>,
    meta: std::ops::Range<usize>,
    ids: std::ops::Range<usize>,
    links: std::ops::Range<usize>,
    ranked: std::ops::Range<usize>,
    upper: Vec<std::ops::Range<usize>>,
    hubs: std::ops::Range<usize>,
    starts: std::ops::Range<usize>,
    directions: std::ops::Range<usize>,
    centres: std::ops::Range<usize>,
    blocks: std::ops::Range<usize>,
    hi: std::ops::Range<usize>,
    lo: std::ops::Range<usize>,
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
        let mean = take(header.dimension, 4)?;
        let meta = take(n, 8)?;
        let ids = take(n, 8)?;
        let graph = header.graph.as_ref();
        let links = take(n, graph.map_or(0, |graph| graph.stride).checked_mul(4)?)?;
        let ranked = take(graph.map_or(0, |graph| graph.ranked), 4)?;
        let upper =
            graph.into_iter().flat_map(|graph| graph.upper.iter().map(|&size| (size, graph.upper_stride)));
        let upper = upper.map(|(size, stride)| take(size, stride.checked_mul(4)?)).collect::<Option<_>>()?;
        let hubs = take(if header.hubs { n } else { 0 }, 8)?;
        let shape = header.lists.as_ref();
        let starts = take(shape.map_or(0, |shape| shape.lists.saturating_add(1)), 4)?;
        let pad = starts.end.checked_next_multiple_of(PAGE)? - starts.end;
        take(pad, 1)?;
        let width = header.dimension.checked_next_multiple_of(crate::kernels::dot::ALIGN)?;
        let directions = take(if shape.is_some() { SHORT } else { 0 }, width)?;
        let centres = take(shape.map_or(0, |shape| shape.lists.div_ceil(LANES)), BLOCK_BYTES)?;
        let blocks = take(shape.map_or(0, |shape| shape.blocks), BLOCK_BYTES)?;
        let hi = take(n, width)?;
        let lo = take(n, width)?;
        Some(Self {
            mean,
            meta,
            ids,
            links,
            ranked,
            upper,
            hubs,
            starts,
            directions,
            centres,
            blocks,
            hi,
            lo,
        })
    }

    fn end(&self) -> usize {
        self.lo.end
    }
}

/// The parts of an index that one file holds.
pub(crate) struct BaseFile {
    pub(crate) stamp: IndexStamp,
    pub(crate) complete: bool,
    pub(crate) options: IndexOptions,
    pub(crate) tuning: Tuning,
    pub(crate) codec: Codec,
    pub(crate) base: Segment,
    pub(crate) graph: Option<Graph>,
    pub(crate) lists: Option<Lists>,
    pub(crate) hubs: Option<Hubs>,
    /// Digest of the head: names this file's contents.
    pub(crate) root: [u8; DIGEST],
}

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct BaseParts<'a> {
    pub(crate) stamp: &'a IndexStamp,
    pub(crate) complete: bool,
    pub(crate) options: &'a IndexOptions,
    pub(crate) tuning: Tuning,
    pub(crate) codec: &'a Codec,
    pub(crate) base: &'a Segment,
    pub(crate) graph: Option<&'a Graph>,
    pub(crate) lists: Option<&'a Lists>,
    pub(crate) hubs: Option<&'a Hubs>,
}

/// Writes and hashes the body.
struct HashingWriter<W> {
    out: W,
    hasher: blake3::Hasher,
    in_chunk: usize,
    table: Vec<u8>,
}

impl<W: Write> HashingWriter<W> {
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.in_chunk));
            self.out.write_all(now)?;
            self.hasher.update(now);
            self.in_chunk += now.len();
            if self.in_chunk == CHUNK {
                self.end_chunk();
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_chunk(&mut self) {
        if self.in_chunk > 0 {
            self.table.extend_from_slice(self.hasher.finalize().as_bytes());
            self.hasher.reset();
            self.in_chunk = 0;
        }
    }

    fn words<const N: usize>(&mut self, words: impl Iterator<Item = [u8; N]>) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(1 << 16);
        for word in words {
            buffer.extend_from_slice(&word);
            if buffer.len() + N > 1 << 16 {
                self.write(&buffer)?;
                buffer.clear();
            }
        }
        self.write(&buffer)
    }
}

/// Writes `write`'s output to `path`, whole or not at all.
pub(crate) fn replace<T>(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<T>,
) -> Result<T, IndexError> {
    let io = |doing| {
        let path = path.to_owned();
        move |source| IndexError::Io { path, doing, source }
    };
    let mut file = AtomicFile::create(path).map_err(io("creating"))?;
    let written = write(file.file()).map_err(io("writing"))?;
    file.commit().map_err(io("replacing"))?;
    Ok(written)
}

/// Saves a base; returns the digest of its head.
pub(crate) fn save(path: &Path, parts: BaseParts<'_>) -> Result<[u8; DIGEST], IndexError> {
    let header = Header {
        generation: parts.stamp.generation,
        model_fingerprint: parts.stamp.model_fingerprint.clone(),
        complete: parts.complete,
        dimension: parts.codec.dimension,
        n: parts.base.len(),
        options: *parts.options,
        tuning: parts.tuning,
        graph: parts.graph.map(|graph| GraphShape {
            stride: graph.stride,
            entry: graph.entry,
            ranked: graph.ranked.len(),
            upper_stride: graph.upper_stride,
            upper: graph.upper.iter().map(|layer| layer.len() / graph.upper_stride).collect(),
        }),
        lists: parts.lists.map(|lists| ListShape {
            lists: lists.len(),
            blocks: lists.blocks.len() / BLOCK_BYTES,
            step: lists.directions.step,
        }),
        hubs: parts.hubs.is_some(),
    };
    replace(path, |file| {
        let sections = Sections::of(&header).ok_or(std::io::ErrorKind::FileTooLarge)?;
        let header = serde_json::to_vec(&header)?;
        let chunks = sections.end().div_ceil(CHUNK);
        let body_start = (PREFIX + header.len() + chunks * DIGEST).next_multiple_of(PAGE);
        file.seek(SeekFrom::Start(body_start as u64))?;
        let out = BufWriter::with_capacity(1 << 20, &mut *file);
        let mut body = HashingWriter { out, hasher: blake3::Hasher::new(), in_chunk: 0, table: Vec::new() };
        write_body(&mut body, parts, &sections)?;
        body.end_chunk();
        body.out.flush()?;
        let table = std::mem::take(&mut body.table);
        drop(body);
        let mut head = vec![0; body_start];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_le_bytes());
        head[12..16].copy_from_slice(&(header.len() as u32).to_le_bytes());
        head[16..24].copy_from_slice(&(body_start as u64).to_le_bytes());
        head[PREFIX..][..header.len()].copy_from_slice(&header);
        head[PREFIX + header.len()..][..table.len()].copy_from_slice(&table);
        let root = head_digest(&head);
        head[24..PREFIX].copy_from_slice(&root);
        file.rewind()?;
        file.write_all(&head)?;
        Ok(root)
    })
}

fn write_body<W: Write>(
    body: &mut HashingWriter<W>,
    parts: BaseParts<'_>,
    sections: &Sections,
) -> std::io::Result<()> {
    let codes = &parts.base.codes;
    body.words(parts.codec.mean.iter().map(|x| x.to_le_bytes()))?;
    body.words(codes.meta.iter().flat_map(|meta| [meta.scale.to_le_bytes(), meta.offset.to_le_bytes()]))?;
    body.words(parts.base.ids.iter().map(|id| id.0.to_le_bytes()))?;
    if let Some(graph) = parts.graph {
        for part in [&graph.links, &graph.ranked].into_iter().chain(&graph.upper) {
            body.words(part.iter().map(|link| link.to_le_bytes()))?;
        }
    }
    if let Some(hubs) = parts.hubs {
        body.words(hubs.scales.iter().flat_map(|hub| [hub.mean.to_le_bytes(), hub.deviation.to_le_bytes()]))?;
    }
    if let Some(lists) = parts.lists {
        body.words(lists.starts.iter().map(|start| start.to_le_bytes()))?;
    }
    body.write(&vec![0; sections.directions.start - sections.starts.end])?;
    if let Some(lists) = parts.lists {
        body.write(&lists.directions.rows)?;
        body.write(&lists.centres)?;
        body.write(&lists.blocks)?;
    }
    body.write(&codes.hi[..codes.len() * codes.width])?;
    body.write(&codes.lo[..codes.len() * codes.width])
}

/// Digest of everything before the body but the digest itself.
fn head_digest(head: &[u8]) -> [u8; DIGEST] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head[..24]);
    hasher.update(&head[PREFIX..]);
    *hasher.finalize().as_bytes()
}

/// The digest in the head of the file at `path`, unchecked; `None` if there is none.
pub(crate) fn root_at(path: &Path) -> Option<[u8; DIGEST]> {
    use std::io::Read;
    let mut prefix = [0; PREFIX];
    File::open(path).ok()?.read_exact(&mut prefix).ok()?;
    (&prefix[..8] == MAGIC).then(|| prefix[24..].try_into().ok()).flatten()
}

/// Collects why a file cannot be used.
pub(crate) struct Damage(pub(crate) PathBuf);

impl Damage {
    pub(crate) fn error(&self, what: impl Into<String>) -> IndexError {
        IndexError::Damaged { path: self.0.clone(), what: what.into() }
    }

    fn check(&self, holds: bool, what: &str) -> Result<(), IndexError> {
        if holds { Ok(()) } else { Err(self.error(what)) }
    }
}

/// Reads and checks the bytes before the body, and returns their digest.
pub(crate) fn parse_head(damage: &Damage, head: &[u8]) -> Result<(Header, [u8; DIGEST]), IndexError> {
    damage.check(head.len() >= PREFIX && &head[..8] == MAGIC, "not an index file")?;
    let version = u32::from_le_bytes(array(&head[8..12]));
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(IndexError::Version { path: damage.0.clone(), expected: VERSION, actual: version });
    }
    let header_len = u32::from_le_bytes(array(&head[12..16])) as usize;
    let body_start = usize::try_from(u64::from_le_bytes(array(&head[16..24]))).unwrap_or(usize::MAX);
    damage.check(body_start == head.len() && header_len <= head.len() - PREFIX, "cut in its head")?;
    let root: [u8; DIGEST] = array(&head[24..PREFIX]);
    damage.check(head_digest(head) == root, "checksum of its head")?;
    let header: Header = serde_json::from_slice(&head[PREFIX..PREFIX + header_len])
        .map_err(|error| damage.error(format!("header: {error}")))?;
    damage.check((1..=MAX_DIMENSION).contains(&header.dimension), "dimension out of range")?;
    damage.check(header.n < MAX_VECTORS, "number of vectors out of range")?;
    damage.check(header.tuning.is_sane(), "widths out of range")?;
    check_options(&header.options).map_err(|error| damage.error(error.to_string()))?;
    Ok((header, root))
}

/// Maps and checks the file at `path`: every byte by its digest, then every number by its range.
pub(crate) fn load(path: &Path) -> Result<BaseFile, IndexError> {
    let io = |doing| move |source| IndexError::Io { path: path.to_owned(), doing, source };
    let file = File::open(path).map_err(io("opening"))?;
    let length = file.metadata().map_err(io("reading"))?.len();
    let damage = Damage(path.to_owned());
    damage.check(length >= PAGE as u64, "shorter than its head")?;
    // While searches go on, a newer index takes this one's place.
    let map = if cfg!(windows) { read_file(&file) } else { map_file(&file) };
    let map = Arc::new(map.map_err(io("mapping"))?);
    let body_start = usize::try_from(u64::from_le_bytes(array(&map[16..24]))).unwrap_or(usize::MAX);
    let (header, root) = parse_head(&damage, &map[..body_start.clamp(PREFIX, map.len())])?;
    let header_len = u32::from_le_bytes(array(&map[12..16])) as usize;
    let sections = Sections::of(&header).ok_or_else(|| damage.error("sizes out of range"))?;
    damage.check(map.len() - body_start == sections.end(), "another length than its header says")?;
    let table = PREFIX + header_len..PREFIX + header_len + sections.end().div_ceil(CHUNK) * DIGEST;
    damage.check(table.end <= body_start, "cut in its table of checksums")?;
    let body = &map[body_start..];
    let chunks = body.par_chunks(CHUNK).zip(map[table].par_chunks_exact(DIGEST));
    let intact = chunks.enumerate().all(|(at, (chunk, digest))| {
        let part = body_start + at * CHUNK..body_start + at * CHUNK + chunk.len();
        fetch(&map, &part);
        let same = blake3::hash(chunk).as_bytes() == digest;
        // A search reads the second half of its best vectors alone.
        if at * CHUNK >= sections.lo.start {
            let_go(&map, &part);
        }
        same
    });
    damage.check(intact, "checksum")?;
    let parsed = parse(&damage, header, &sections, &map, body_start, root)?;
    // What stands before the blocks has been copied.
    let_go(&map, &(0..body_start + sections.blocks.start));
    Ok(parsed)
}

fn parse(
    damage: &Damage,
    header: Header,
    sections: &Sections,
    map: &Arc<Mmap>,
    body_start: usize,
    root: [u8; DIGEST],
) -> Result<BaseFile, IndexError> {
    let body = &map[body_start..];
    let mean = floats(&body[sections.mean.clone()]);
    damage.check(mean.iter().all(|x| x.abs() <= 1.01), "mean out of range")?;
    let meta = pairs(&body[sections.meta.clone()], |scale, offset| Meta { scale, offset });
    damage.check(meta.iter().all(|meta| meta.is_sane()), "scales out of range")?;
    let ids = body[sections.ids.clone()].chunks_exact(8).map(|id| TrackId(i64::from_le_bytes(array(id))));
    let ids: Vec<TrackId> = ids.collect();
    damage.check(ids.is_sorted_by(|a, b| a < b), "ids out of order")?;
    let graph = match &header.graph {
        None => None,
        Some(shape) => Some(parse_graph(damage, header.n, shape, sections, body)?),
    };
    let plane = |range: &std::ops::Range<usize>| {
        Plane::Mapped(Arc::clone(map), body_start + range.start..body_start + range.end)
    };
    let lists = match &header.lists {
        None => None,
        Some(shape) => Some(parse_lists(damage, header.n, shape, sections, body, plane(&sections.blocks))?),
    };
    let hubs = match header.options.hubness {
        Some(kind) if header.hubs => {
            let scales = pairs(&body[sections.hubs.clone()], |mean, deviation| HubScale { mean, deviation });
            damage.check(
                scales.iter().all(|hub| hub.mean.is_finite() && hub.deviation.is_finite()),
                "hub scales",
            )?;
            Some(Hubs { kind, scales })
        }
        None if !header.hubs => None,
        _ => return Err(damage.error("hub scales do not fit the options")),
    };
    let codec = Codec::with_mean(mean);
    let codes = Codes { width: codec.width, hi: plane(&sections.hi), lo: plane(&sections.lo), meta };
    Ok(BaseFile {
        stamp: header.stamp(),
        complete: header.complete,
        options: header.options,
        tuning: header.tuning,
        codec,
        base: Segment::new(ids, codes),
        graph,
        lists,
        hubs,
        root,
    })
}

fn parse_lists(
    damage: &Damage,
    n: usize,
    shape: &ListShape,
    sections: &Sections,
    body: &[u8],
    blocks: Plane,
) -> Result<Lists, IndexError> {
    damage.check(shape.lists > 0 && (0. ..=1.).contains(&shape.step), "lists out of range")?;
    let starts = words(&body[sections.starts.clone()]);
    let whole = starts.first() == Some(&0) && starts.last().map(|&end| end as usize) == Some(shape.blocks);
    damage.check(whole && starts.is_sorted(), "starts of lists")?;
    // What stands in each place: sane numbers, and the names 0 to n - 1, each once.
    let names = |blocks: &[u8], n: usize| {
        let mut seen = vec![false; n];
        let mut left = n;
        let sane = blocks.chunks_exact(BLOCK_BYTES).all(|block| {
            (0..LANES).all(|lane| {
                let (scale, offset, name) = read(block, lane);
                if name == NOBODY {
                    return scale == 0. && offset == f32::NEG_INFINITY;
                }
                left = left.wrapping_sub(1);
                let new = seen.get_mut(name as usize).is_some_and(|seen| !std::mem::replace(seen, true));
                new && scale.abs() <= 100. && offset.abs() <= 100.
            })
        });
        sane && left == 0
    };
    let centres = body[sections.centres.clone()].to_vec();
    damage.check(names(&centres, shape.lists), "centres of lists")?;
    damage.check(names(&blocks, n), "places in lists")?;
    let directions = Directions { rows: body[sections.directions.clone()].to_vec(), step: shape.step };
    Ok(Lists { directions, centres, starts, blocks })
}

fn parse_graph(
    damage: &Damage,
    n: usize,
    shape: &GraphShape,
    sections: &Sections,
    body: &[u8],
) -> Result<Graph, IndexError> {
    damage.check(n > 0 && (1..=128).contains(&shape.stride), "links out of range")?;
    damage.check(
        (1..=128).contains(&shape.upper_stride) && shape.upper.len() < MAX_LAYERS,
        "layers out of range",
    )?;
    damage.check((shape.entry as usize) < n, "entry out of range")?;
    let sizes = &shape.upper;
    damage.check(sizes.is_sorted_by(|a, b| a >= b) && sizes.iter().all(|&size| size > 0), "layer sizes")?;
    damage.check(shape.ranked == sizes.first().copied().unwrap_or(0), "layer sizes")?;
    let links = words(&body[sections.links.clone()]);
    let inside = |limit: usize| move |&link: &u32| link == NONE || (link as usize) < limit;
    damage.check(links.par_iter().all(inside(n)), "link out of range")?;
    let ranked = words(&body[sections.ranked.clone()]);
    damage.check(ranked.iter().all(|&slot| (slot as usize) < n), "upper point out of range")?;
    let mut upper = Vec::with_capacity(sizes.len());
    for (range, &size) in sections.upper.iter().zip(sizes) {
        let layer = words(&body[range.clone()]);
        damage.check(layer.iter().all(inside(size)), "upper link out of range")?;
        upper.push(layer);
    }
    Ok(Graph {
        stride: shape.stride,
        links,
        entry: shape.entry,
        ranked,
        upper_stride: shape.upper_stride,
        upper,
    })
}

/// The first `N` bytes of a slice that has them.
pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[..N]);
    array
}

pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(array(word))).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|word| f32::from_le_bytes(array(word))).collect()
}

pub(crate) fn pairs<T>(bytes: &[u8], make: impl Fn(f32, f32) -> T) -> Vec<T> {
    let pairs = bytes.chunks_exact(8);
    pairs
        .map(|pair| make(f32::from_le_bytes(array(&pair[..4])), f32::from_le_bytes(array(&pair[4..]))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{SearchMode, SearchParams, VectorIndex};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn vectors(rng: &mut StdRng, n: usize, dimension: usize) -> ndarray::Array2<f32> {
        let mut all = ndarray::Array2::from_shape_simple_fn((n, dimension), || rng.random::<f32>() - 0.4);
        for mut row in all.outer_iter_mut() {
            row /= row.dot(&row).sqrt();
        }
        all
    }

    /// Makes the digests right again after a change.
    fn sign(bytes: &mut [u8]) {
        let header_len = u32::from_le_bytes(array(&bytes[12..16])) as usize;
        let body_start = u64::from_le_bytes(array(&bytes[16..24])) as usize;
        if body_start > bytes.len() || PREFIX + header_len > body_start {
            return;
        }
        let table: Vec<u8> =
            bytes[body_start..].chunks(CHUNK).flat_map(|chunk| *blake3::hash(chunk).as_bytes()).collect();
        if PREFIX + header_len + table.len() <= body_start {
            bytes[PREFIX + header_len..][..table.len()].copy_from_slice(&table);
        }
        let root = head_digest(&bytes[..body_start]);
        bytes[24..PREFIX].copy_from_slice(&root);
    }

    /// Options under which every section of a file has something in it.
    fn everything() -> IndexOptions {
        IndexOptions {
            m: 4,
            graph_from: 0,
            lists_from: 0,
            ef_construction: 30,
            hubness: Some(crate::index::Hubness::LocalScaling { k: 4 }),
            ..IndexOptions::default()
        }
    }

    #[test]
    fn a_flipped_byte_in_any_section_is_told() {
        let vectors = vectors(&mut StdRng::seed_from_u64(8), 600, 70);
        let ids: Vec<TrackId> = (0..600).map(TrackId).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        let stamp = IndexStamp { generation: 1, model_fingerprint: "x".into(), dimension: 70 };
        VectorIndex::build(&ids, vectors.view(), &everything()).unwrap().save(&path, &stamp).unwrap();
        let good = std::fs::read(&path).unwrap();
        let body_start = u64::from_le_bytes(array(&good[16..24])) as usize;
        let (header, _) = parse_head(&Damage(path.clone()), &good[..body_start]).unwrap();
        let all = Sections::of(&header).unwrap();
        let mut sections = vec![all.mean, all.meta, all.ids, all.links, all.ranked, all.hubs, all.starts];
        sections.extend(all.upper);
        sections.extend([all.directions, all.centres, all.blocks, all.hi, all.lo]);
        for section in sections {
            assert!(!section.is_empty());
            for at in [section.start, section.start.midpoint(section.end), section.end - 1] {
                let mut bad = good.clone();
                bad[body_start + at] ^= 1;
                std::fs::write(&path, &bad).unwrap();
                let error = VectorIndex::open(&path).err();
                assert!(matches!(error, Some(IndexError::Damaged { .. })), "byte {at}: {error:?}");
            }
        }
    }

    /// Runs for `VOISIN_FUZZ_SECONDS`, two by default.
    #[test]
    fn forged_files_with_right_checksums_are_refused_or_searched() {
        let seconds = std::env::var("VOISIN_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2.);
        let mut rng = StdRng::seed_from_u64(seconds as u64);
        let vectors = vectors(&mut rng, 300, 20);
        let ids: Vec<TrackId> = (0..300).map(TrackId).collect();
        let options = IndexOptions { m: 16, ..everything() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.bin");
        let stamp = IndexStamp { generation: 1, model_fingerprint: "x".into(), dimension: 20 };
        VectorIndex::build(&ids, vectors.view(), &options).unwrap().save(&path, &stamp).unwrap();
        let good = std::fs::read(&path).unwrap();
        let header_end = PREFIX + u32::from_le_bytes(array(&good[12..16])) as usize;
        let body_start = u64::from_le_bytes(array(&good[16..24])) as usize;
        let (mut accepted, mut refused) = (0, 0);
        let start = std::time::Instant::now();
        while start.elapsed().as_secs_f64() < seconds {
            let mut bad = good.clone();
            for _ in 0..rng.random_range(1..6) {
                let part = match rng.random_range(0..4) {
                    0 => 8..header_end,
                    1 => body_start..(body_start + 30_000).min(bad.len()),
                    _ => body_start..bad.len(),
                };
                let at = rng.random_range(part);
                if rng.random() && at + 4 <= bad.len() {
                    let word: u32 =
                        [0, 1, u32::MAX, i32::MAX as u32, 1 << 20, rng.random()][rng.random_range(0..6)];
                    bad[at..at + 4].copy_from_slice(&word.to_le_bytes());
                } else if at < header_end {
                    bad[at] = b"0123456789,.-{}[]e\"n"[rng.random_range(0..20)];
                } else {
                    bad[at] = rng.random();
                }
            }
            if rng.random_ratio(1, 8) {
                bad.truncate(rng.random_range(24..bad.len()));
            }
            if bad.len() >= PREFIX {
                sign(&mut bad);
            }
            std::fs::write(&path, &bad).unwrap();
            let Ok((index, _)) = VectorIndex::open(&path) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let query = vec![1. / (index.dimension() as f32).sqrt(); index.dimension()];
            for mode in [SearchMode::Exact, SearchMode::Scan, SearchMode::Hnsw, SearchMode::Lists] {
                let params = SearchParams { mode, correct_hubs: true, ..SearchParams::default() };
                match index.search(&query, 10, &params) {
                    Ok(found) => assert!(found.len() <= 10),
                    Err(error) => {
                        assert!(matches!(error, IndexError::NoGraph { .. } | IndexError::NoLists { .. }));
                    }
                }
            }
            let _ = index.stats();
        }
        assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    }
}
