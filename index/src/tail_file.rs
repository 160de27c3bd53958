//! Changes since the base was written: after it in the same file, or in a small file beside it,
//! which is rewritten each time.
//!
//! ```text
//! magic 8 · version u32 · header length u32 · header ([fields](super::fields))
//! removed slots u32 · ids i64 · scale, offset f32 · hi u8 [n, width] · lo u8 [n, width]
//! (Euclidean: vectors f32 [n, d]) · BLAKE3 of all before 32
//! ```
//!
//! It has the digest of its base, and is ignored beside any other base.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use voisin_base::track::Id;

use super::codes::{Codec, Meta};
use super::fields::{FieldResult, HeaderFields};
use super::file::{Damage, VERSION, array, pairs, replace, words};
use super::segment::Segment;
use super::tail::IndexTail;
use super::{IndexError, IndexStamp};

pub(crate) const MAGIC: &[u8; 8] = b"voisinTL";
/// Most bytes of the head of a tail.
pub(crate) const HEAD: u64 = 4096;
const PREFIX: usize = 16;
const DIGEST: usize = 32;

#[derive(Default)]
pub(crate) struct TailHeader {
    /// Digest of the base.
    base: Vec<u8>,
    pub(crate) generation: u64,
    pub(crate) removed: usize,
    pub(crate) added: usize,
}

impl TailHeader {
    fn pass(&mut self, fields: &mut HeaderFields<'_>) -> FieldResult {
        fields.bytes(&mut self.base)?;
        fields.number(&mut self.generation)?;
        fields.number(&mut self.removed)?;
        fields.number(&mut self.added)
    }

    fn read(damage: &Damage, bytes: &[u8]) -> Result<Self, IndexError> {
        let mut header = Self::default();
        match HeaderFields::read_all(bytes, |fields| header.pass(fields)) {
            Some(()) => Ok(header),
            None => Err(damage.error("fields of its header")),
        }
    }
}

/// Changes read back, added vectors in the order of ids.
pub(crate) struct TailChanges {
    pub(crate) generation: u64,
    pub(crate) removed: Vec<u32>,
    pub(crate) ids: Vec<Id>,
    pub(crate) meta: Vec<Meta>,
    pub(crate) hi: Vec<u8>,
    pub(crate) lo: Vec<u8>,
}

/// The file of changes of the base at `path`.
pub(crate) fn path_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tail");
    name.into()
}

/// The error for a base at `path` whose changes are missing.
pub(crate) fn missing(path: &Path) -> IndexError {
    let what = format!(
        "missing: {} was saved with changes that belong beside it or at its end",
        path.display()
    );
    Damage(path_of(path)).error(what)
}

/// Writes the changes of the base at `path`.
pub(crate) fn save(
    path: &Path,
    root: [u8; DIGEST],
    stamp: &IndexStamp,
    base: &Segment,
    tail: &IndexTail,
) -> Result<(), IndexError> {
    replace(&path_of(path), |file| {
        file.write_all(&encode(root, stamp, base, tail)?)
    })
}

/// The changes of the base with digest `root`.
pub(crate) fn encode(
    root: [u8; DIGEST],
    stamp: &IndexStamp,
    base: &Segment,
    tail: &IndexTail,
) -> std::io::Result<Vec<u8>> {
    // Slots instead of ids, as the base is the one with the digest.
    let removed: Vec<u32> = (0..base.len() as u32)
        .filter(|&slot| !base.live.contains(slot as usize))
        .collect();
    let live = |part| move |slot| (part, slot as usize);
    let added: Vec<(&Segment, usize)> = tail
        .parts()
        .iter()
        .flat_map(|part| part.live.slots().map(live(part)))
        .collect();
    let mut header = TailHeader {
        base: root.to_vec(),
        generation: stamp.generation,
        removed: removed.len(),
        added: added.len(),
    };
    let header = HeaderFields::written(|fields| header.pass(fields))?;
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend(removed.iter().flat_map(|slot| slot.to_le_bytes()));
    bytes.extend(
        added
            .iter()
            .flat_map(|&(part, slot)| part.ids[slot].0.to_le_bytes()),
    );
    for &(part, slot) in &added {
        let meta = part.codes.meta[slot];
        bytes.extend_from_slice(&meta.scale.to_le_bytes());
        bytes.extend_from_slice(&meta.offset.to_le_bytes());
    }
    added
        .iter()
        .for_each(|&(part, slot)| bytes.extend_from_slice(part.codes.hi_row(slot)));
    added
        .iter()
        .for_each(|&(part, slot)| bytes.extend_from_slice(part.codes.lo_row(slot)));
    // Over everything, so that any torn write is detected.
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    Ok(bytes)
}

/// Bytes of changes that are followed by a log; `None` if there is no log.
pub(crate) fn length(damage: &Damage, bytes: &[u8], codec: &Codec) -> Option<usize> {
    let header_end =
        PREFIX.checked_add(u32::from_le_bytes(array(bytes.get(12..PREFIX)?)) as usize)?;
    let header = TailHeader::read(damage, bytes.get(PREFIX..header_end)?).ok()?;
    let added = header
        .added
        .checked_mul(16 + codec.width + codec.low_width())?;
    let end = header.removed.checked_mul(4)?.checked_add(added)?;
    let end = end.checked_add(header_end + DIGEST)?;
    bytes
        .get(end..)
        .filter(|rest| !rest.is_empty())
        .map(|_| end)
}

/// The header of the tail of the base with digest `root`, only parsed; `None` if it belongs to
/// another.
///
/// - `bytes`: the first [`HEAD`] of the tail
pub(crate) fn summary(
    damage: &Damage,
    bytes: &[u8],
    root: [u8; DIGEST],
) -> Result<Option<TailHeader>, IndexError> {
    let length = bytes
        .get(12..16)
        .map(|length| u32::from_le_bytes(array(length)) as usize);
    let header = length.and_then(|length| bytes.get(PREFIX..PREFIX.checked_add(length)?));
    let header = header
        .filter(|_| &bytes[..8] == MAGIC)
        .ok_or_else(|| damage.error("not the tail of an index"))?;
    let header = TailHeader::read(damage, header)?;
    Ok((header.base == root).then_some(header))
}

/// The bytes of the tail of the base at `path`, at most `most`; `None` if there is no such file.
pub(crate) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, IndexError> {
    let path = path_of(path);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(IndexError::Io {
                path,
                doing: "opening",
                source,
            });
        }
    };
    let mut bytes = Vec::new();
    match file.take(most).read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(source) => Err(IndexError::Io {
            path,
            doing: "reading",
            source,
        }),
    }
}

/// Removes the tail of a former base at `path`.
pub(crate) fn remove(path: &Path) -> Result<(), IndexError> {
    // A file of another kind with this name is not removed.
    let is_tail =
        read(path, MAGIC.len() as u64).is_ok_and(|bytes| bytes.is_some_and(|bytes| bytes == MAGIC));
    let path = path_of(path);
    match if is_tail {
        std::fs::remove_file(&path)
    } else {
        Ok(())
    } {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(IndexError::Io {
            path,
            doing: "removing",
            source,
        }),
        _ => Ok(()),
    }
}

/// The changes of the base with digest `root`; `None` if they belong to another.
pub(crate) fn decode(
    damage: &Damage,
    bytes: &[u8],
    root: [u8; DIGEST],
    n: usize,
    codec: &Codec,
) -> Result<Option<TailChanges>, IndexError> {
    let short = || damage.error("shorter than its header");
    let body_end = bytes
        .len()
        .checked_sub(DIGEST)
        .filter(|&end| end >= PREFIX)
        .ok_or_else(short)?;
    if &bytes[..8] != MAGIC {
        return Err(damage.error("not the tail of an index"));
    }
    let version = u32::from_le_bytes(array(&bytes[8..12]));
    if version != VERSION {
        return Err(IndexError::Version {
            path: damage.0.clone(),
            expected: VERSION,
            actual: version,
        });
    }
    // Verified before any field is used, as lengths in a damaged header could allocate any amount
    // of memory.
    if blake3::hash(&bytes[..body_end]).as_bytes() != &bytes[body_end..] {
        return Err(damage.error("checksum"));
    }
    let body_start = PREFIX + u32::from_le_bytes(array(&bytes[12..16])) as usize;
    let header = bytes
        .get(PREFIX..body_start)
        .filter(|_| body_start <= body_end)
        .ok_or_else(short)?;
    let header = TailHeader::read(damage, header)?;
    // Changes of another base are no damage: a crash between two renames leaves them.
    if header.base != root {
        return Ok(None);
    }
    let mut rest = &bytes[body_start..body_end];
    // Sizes come from the file; every product and end is checked.
    let mut take = |count: usize, size: usize| {
        let (taken, left) = rest.split_at_checked(count.checked_mul(size)?)?;
        rest = left;
        Some(taken)
    };
    let mut sections = || {
        Some((
            take(header.removed, 4)?,
            take(header.added, 8)?,
            take(header.added, 8)?,
            take(header.added, codec.width)?,
            take(header.added, codec.low_width())?,
        ))
    };
    let (removed, ids, meta, hi, lo) = sections().ok_or_else(|| damage.error("cut"))?;
    if !rest.is_empty() {
        return Err(damage.error("longer than its header says"));
    }
    let removed = words(removed);
    if removed.iter().any(|&slot| slot as usize >= n) {
        return Err(damage.error("removed slot out of range"));
    }
    let ids: Vec<Id> = ids
        .chunks_exact(8)
        .map(|id| Id(i64::from_le_bytes(array(id))))
        .collect();
    let meta = pairs(meta, |scale, offset| Meta { scale, offset });
    if !meta.iter().all(|meta| meta.is_sane(&codec.space)) {
        return Err(damage.error("scales out of range"));
    }
    Ok(Some(TailChanges {
        generation: header.generation,
        removed,
        ids,
        meta,
        hi: hi.to_vec(),
        lo: lo.to_vec(),
    }))
}
