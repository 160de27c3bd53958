//! Reading: the file is mapped, every byte is held against its digest, then every number against its range.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use rayon::prelude::*;

use crate::IndexError;
use crate::codes::{Codec, Codes, Meta, Plane};
use crate::graph::{Graph, NONE};
use crate::lists::{Directions, Lists};
use crate::segment::Segment;
use voisin_base::track::TrackId;
use voisin_kernels::buffer::{fetch, let_go, map_file, read_file};
pub use voisin_kernels::dot::short::{BLOCK_BYTES, LANES, NOBODY, read};

use super::{
    BaseFile, CHUNK, DIGEST, Damage, Header, ListShape, PAGE, PREFIX, Sections, array, floats, pairs,
    parse_head, words,
};

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
    let graph = header
        .has_graph()
        .then(|| parse_graph(damage, header.n, header.stride, &body[sections.links.clone()]))
        .transpose()?;
    let plane = |range: &std::ops::Range<usize>| {
        Plane::Mapped(Arc::clone(map), body_start + range.start..body_start + range.end)
    };
    let lists = header
        .has_lists()
        .then(|| parse_lists(damage, header.n, &header.lists, sections, body, plane(&sections.blocks)))
        .transpose()?;
    let stamp = header.stamp();
    let codec = Codec::with_mean(header.space, mean);
    let codes = Codes { width: codec.width, hi: plane(&sections.hi), lo: plane(&sections.lo), meta };
    Ok(BaseFile {
        stamp,
        complete: header.complete,
        options: header.options,
        tuning: header.tuning,
        codec,
        base: Segment::new(ids, codes),
        graph,
        lists,
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
    damage.check((0. ..=1.).contains(&shape.step), "lists out of range")?;
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

fn parse_graph(damage: &Damage, n: usize, stride: usize, links: &[u8]) -> Result<Graph, IndexError> {
    let whole = (LANES..=8 * LANES).contains(&stride) && stride.is_multiple_of(LANES);
    damage.check(n > 0 && whole, "links out of range")?;
    let links = words(links);
    damage.check(links.par_iter().all(|&link| link == NONE || (link as usize) < n), "link out of range")?;
    Ok(Graph::new(stride, links))
}
