//! Reading: the file is mapped, its bytes are verified by digests, then every number is
//! range-checked.

use std::fs::File;
use std::iter::once;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::Mmap;

use crate::IndexError;
use crate::checked_file::FileBytes;
use crate::codes::{Codec, Codes, Meta, Plane};
use crate::directions::Directions;
use crate::graph::Graph;
use crate::lists::{Lists, are_all_places};
use crate::residual::Residuals;
use crate::segment::Segment;
use voisin_base::track::Id;
use voisin_kernels::buffer::{copy, map_file, read_file};
use voisin_kernels::dot::ProductRows;
use voisin_kernels::dot::short::{LANES, block_bytes};

use super::{
    BYTES, BaseFile, BasePlace, Behind, CheckedFile, DIGEST, Damage, Header, ListShape, PAGE,
    PIECE, PREFIX, Sections, array, floats, pairs, parse_head, words,
};

/// Maps the file at `path`, and verifies the parts that all searches need: every byte by its
/// digest, then every number by its range.
///
/// - `copied`: a file of fewer bytes is copied into memory, so that changes of the file have no
///   effect
pub(crate) fn load(path: &Path, copied: u64) -> Result<BaseFile, IndexError> {
    let io = |doing| {
        move |source| IndexError::Io {
            path: path.to_owned(),
            doing,
            source,
        }
    };
    let file = File::open(path).map_err(io("opening"))?;
    let length = file.metadata().map_err(io("reading"))?.len();
    // Windows does not allow replacing a mapped file, and a newer index may replace this one while
    // it is searched.
    let is_copy = cfg!(windows) || length < copied;
    let map = if is_copy {
        shared_copy(&file).map_err(io("reading"))
    } else {
        map_file(&file).map(Arc::new).map_err(io("mapping"))
    };
    load_map(path, map?, is_copy)
}

/// The same for a file's bytes.
pub(crate) fn load_bytes(bytes: &[u8]) -> Result<BaseFile, IndexError> {
    let path = Path::new(BYTES);
    let io = |source| IndexError::Io {
        path: path.to_owned(),
        doing: "copying",
        source,
    };
    let bytes = copy(bytes, bytes.len()).map_err(io)?;
    load_map(path, Arc::new(bytes), true)
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

fn load_map(path: &Path, map: Arc<Mmap>, is_copy: bool) -> Result<BaseFile, IndexError> {
    let damage = Damage(path.to_owned());
    damage.check(map.len() >= PAGE, "shorter than its header")?;
    let body_start = usize::try_from(u64::from_le_bytes(array(&map[16..24]))).unwrap_or(usize::MAX);
    let (header, root) = parse_head(&damage, &map[..body_start.clamp(PREFIX, map.len())])?;
    let header_len = u32::from_le_bytes(array(&map[12..16])) as usize;
    let sections = Sections::of(&header).ok_or_else(|| damage.error("sizes out of range"))?;
    damage.check(
        map.len() - body_start >= sections.end(),
        "another length than its header says",
    )?;
    let body = body_start..body_start + sections.end();
    let behind = Behind::of(&map[body.end..]);
    let place = BasePlace {
        root,
        end: body.end as u64,
        complete: header.complete,
    };
    let table = PREFIX + header_len..PREFIX + header_len + sections.end().div_ceil(PIECE) * DIGEST;
    damage.check(table.end <= body_start, "cut in its table of checksums")?;
    let bytes = FileBytes { map, is_copy };
    let file = Arc::new(CheckedFile::new(
        path.to_owned(),
        bytes,
        body,
        table,
        sections.lo.start,
    ));
    // These parts are copied; the rest is verified as it is read.
    let read_now = 0..sections.blocks.start;
    file.check_long(read_now.clone());
    file.intact()?;
    let parsed = parse(&damage, header, &sections, &file, (place, behind))?;
    file.release(read_now);
    Ok(parsed)
}

fn parse(
    damage: &Damage,
    header: Header,
    sections: &Sections,
    file: &Arc<CheckedFile>,
    (place, behind): (BasePlace, Behind),
) -> Result<BaseFile, IndexError> {
    let body = file.bytes();
    let mean = floats(&body[sections.mean.clone()]);
    let largest = header.space.largest();
    damage.check(mean.iter().all(|x| x.abs() <= largest), "mean out of range")?;
    let meta = pairs(&body[sections.meta.clone()], |scale, offset| Meta {
        scale,
        offset,
    });
    damage.check(
        meta.iter().all(|meta| meta.is_sane(&header.space)),
        "scales out of range",
    )?;
    let ids = body[sections.ids.clone()]
        .chunks_exact(8)
        .map(|id| Id(i64::from_le_bytes(array(id))));
    let ids: Vec<Id> = ids.collect();
    damage.check(ids.is_sorted_by(|a, b| a < b), "ids out of order")?;
    let plane = |range: &std::ops::Range<usize>| Plane::Mapped(Arc::clone(file), range.clone());
    let whole = (LANES..=8 * LANES).contains(&header.stride) && header.stride.is_multiple_of(LANES);
    damage.check(
        !header.has_graph() || header.n > 0 && whole,
        "links out of range",
    )?;
    let graph = header.has_graph().then(|| {
        Graph::mapped(
            header.stride,
            header.n,
            plane(&sections.links),
            plane(&sections.places),
        )
    });
    let lists = header
        .has_lists()
        .then(|| {
            parse_lists(
                damage,
                header.n,
                &header.lists,
                sections,
                body,
                plane(&sections.blocks),
            )
        })
        .transpose()?;
    let stamp = header.stamp();
    let residual_bits = header.residual_bits();
    let codec = Codec::with_mean(header.space, mean);
    let width = codec.width;
    let residuals = residual_bits.map(|bits| {
        let scales = floats(&body[sections.scales.clone()]);
        Residuals {
            bits,
            width,
            rows: plane(&sections.hi),
            scales,
        }
    });
    let sane = |residuals: &Residuals| {
        residuals
            .scales
            .iter()
            .all(|scale| (0. ..=largest).contains(scale))
    };
    damage.check(
        residuals.as_ref().is_none_or(sane),
        "scales of residuals out of range",
    )?;
    let hi = if residuals.is_some() {
        sections.lo.clone()
    } else {
        sections.hi.clone()
    };
    let codes = Codes {
        width,
        low_width: codec.low_width(),
        hi: plane(&hi),
        lo: plane(&sections.lo),
        meta,
    };
    Ok(BaseFile {
        stamp,
        options: header.options,
        tuning: header.tuning,
        codec,
        base: Segment::new(ids, codes),
        graph,
        lists,
        residuals,
        place,
        behind,
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
    let sane = (0. ..=1.).contains(&shape.step)
        && [2, 4, 8].contains(&shape.bits)
        && [1, 2].contains(&shape.copies);
    damage.check(sane, "lists out of range")?;
    let starts = words(&body[sections.starts.clone()]);
    let whole =
        starts.first() == Some(&0) && starts.last().map(|&end| end as usize) == Some(shape.blocks);
    damage.check(whole && starts.is_sorted(), "starts of lists")?;
    let centres = body[sections.centres.clone()].to_vec();
    let block = block_bytes(shape.directions());
    damage.check(
        are_all_places(once(&centres[..]), block, shape.lists),
        "centres of lists",
    )?;
    let rows = body[sections.directions.clone()].to_vec();
    let width = rows.len() / shape.directions();
    let rows = ProductRows::new(rows, width);
    let directions = Directions {
        rows,
        step: shape.step,
        bits: shape.bits,
    };
    Ok(Lists {
        directions,
        centres,
        copies: shape.copies,
        starts,
        blocks,
        vectors: n,
    })
}
