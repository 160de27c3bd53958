//! Edits of a file as splices of the few bytes that differ, and their reverse.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::bytes::bytes_at;

/// A replacement of bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    pub(super) at: u64,
    pub(super) removed: u64,
    pub(super) put: Vec<u8>,
}

impl Splice {
    pub(super) fn new(at: usize, removed: usize, put: Vec<u8>) -> Self {
        Self {
            at: at as u64,
            removed: removed as u64,
            put,
        }
    }

    /// An insertion before a byte comes before that byte's replacement.
    fn order(&self) -> (u64, bool) {
        (self.at, self.removed > 0)
    }

    pub(super) fn growth(&self) -> i64 {
        self.put.len() as i64 - self.removed as i64
    }

    pub(super) fn moved(self, by: u64) -> Self {
        Self {
            at: self.at + by,
            ..self
        }
    }
}

/// Number of bytes that a file gains by all splices.
pub(super) fn growth(splices: &[Splice]) -> i64 {
    splices.iter().map(Splice::growth).sum()
}

/// An element of a tag: a frame, a comment or an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagItem {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it holds a genre, the field that voisin writes.
    pub(super) is_genre: bool,
}

/// Replaces the items of the genre: the new ones are inserted at the first of them, else at `end`.
///
/// - `new`: the new items, as bytes; empty to remove the genre
pub(super) fn replace(items: &[TagItem], end: usize, new: Vec<u8>) -> Vec<Splice> {
    let mut splices = Vec::new();
    let mut new = Some(new);
    for item in items.iter().filter(|item| item.is_genre) {
        let put = new.take().unwrap_or_default();
        splices.push(Splice::new(item.start, item.end - item.start, put));
    }
    if let Some(new) = new.filter(|new| !new.is_empty()) {
        splices.push(Splice::new(end, 0, new));
    }
    splices
}

/// Applies splices to bytes in memory.
pub(super) fn spliced(bytes: &[u8], splices: Vec<Splice>) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(bytes.len());
    splice(&mut io::Cursor::new(bytes), splices, &mut all)?;
    Ok(all)
}

/// Writes a file with splices applied; returns its length.
pub(super) fn splice(
    file: &mut (impl Read + Seek),
    mut splices: Vec<Splice>,
    output: &mut impl Write,
) -> io::Result<u64> {
    splices.sort_by_key(Splice::order);
    let end = file.seek(SeekFrom::End(0))?;
    let mut written = 0;
    let mut at = 0;
    let last = Splice {
        at: end,
        removed: 0,
        put: Vec::new(),
    };
    for splice in splices.iter().chain([&last]) {
        let before = splice.at.checked_sub(at).filter(|_| splice.at <= end);
        let before = before.ok_or_else(|| io::Error::other("changes to a file overlap"))?;
        file.seek(SeekFrom::Start(at))?;
        written += io::copy(&mut file.by_ref().take(before), output)?;
        output.write_all(&splice.put)?;
        written += splice.put.len() as u64;
        at = splice.at + splice.removed;
    }
    Ok(written)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileDigest {
    length: u64,
    digest: blake3::Hash,
}

impl FileDigest {
    pub(super) fn of(file: &mut (impl Read + Seek), splices: Vec<Splice>) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let length = splice(file, splices, &mut hasher)?;
        Ok(Self {
            length,
            digest: hasher.finalize(),
        })
    }
}

/// A patch that restores a file's bytes from before tags were written into it: the differing bytes, and digests of both
/// states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReversePatch {
    pub(super) after: FileDigest,
    pub(super) before: FileDigest,
    splices: Vec<Splice>,
}

impl ReversePatch {
    /// Most bytes of a stored patch: tags of a common size fit a hundred times, and a thousand files take no more
    /// space than one long recording.
    pub const MOST: usize = 1 << 20;
    const VERSION: u8 = 2;

    /// The reverse of `splices`; `None` where that is more than [`MOST`](Self::MOST).
    ///
    /// - `file`: before the splices
    /// - `new`: after them
    pub(super) fn new(
        file: &mut (impl Read + Seek),
        mut splices: Vec<Splice>,
        new: &mut (impl Read + Seek),
    ) -> io::Result<Option<Self>> {
        // In the order in which they are applied, or the shifts would be wrong.
        splices.sort_by_key(Splice::order);
        if splices.iter().map(|splice| splice.removed).sum::<u64>() > Self::MOST as u64 {
            return Ok(None);
        }
        let mut shift = 0_i64;
        let mut reverse = Vec::new();
        for splice in splices {
            reverse.push(Splice {
                at: splice.at.saturating_add_signed(shift),
                removed: splice.put.len() as u64,
                put: bytes_at(file, splice.at, splice.removed)?,
            });
            shift += splice.growth();
        }
        let patch = Self {
            after: FileDigest::of(new, Vec::new())?,
            before: FileDigest::of(file, Vec::new())?,
            splices: reverse,
        };
        Ok((patch.to_bytes().len() <= Self::MOST).then_some(patch))
    }

    /// Writes the former file; returns whether it is that.
    ///
    /// - `file`: as written
    pub(super) fn undo(
        &self,
        file: &mut (impl Read + Seek),
        output: &mut impl Write,
    ) -> io::Result<bool> {
        splice(file, self.splices.clone(), output)?;
        Ok(FileDigest::of(file, self.splices.clone())? == self.before)
    }

    /// A version (1), length and BLAKE3 digest of the state after and of the one before, and for each splice its position,
    /// and the numbers of removed and of new bytes before these. Numbers have eight bytes, the lowest first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        for state in [&self.after, &self.before] {
            bytes.extend(state.length.to_le_bytes());
            bytes.extend(state.digest.as_bytes());
        }
        for splice in &self.splices {
            let numbers = [splice.at, splice.removed, splice.put.len() as u64];
            bytes.extend(numbers.map(u64::to_le_bytes).concat());
            bytes.extend(&splice.put);
        }
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes); `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[Self::VERSION])?;
        let [after, before] = [take_state(&mut rest)?, take_state(&mut rest)?];
        let mut splices = Vec::new();
        while !rest.is_empty() {
            let at = take_number(&mut rest)?;
            let removed = take_number(&mut rest)?;
            let length = usize::try_from(take_number(&mut rest)?).ok()?;
            // A length beyond the available bytes ends here, before anything is allocated.
            let put = rest.split_off(..length)?.to_vec();
            at.checked_add(removed)?;
            splices.push(Splice { at, removed, put });
        }
        Some(Self {
            after,
            before,
            splices,
        })
    }
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let number = rest.split_off(..8)?.try_into().ok()?;
    Some(u64::from_le_bytes(number))
}

fn take_state(rest: &mut &[u8]) -> Option<FileDigest> {
    let length = take_number(rest)?;
    let digest = blake3::Hash::from_slice(rest.split_off(..blake3::OUT_LEN)?).ok()?;
    Some(FileDigest { length, digest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reverse(bytes: &[u8], splices: Vec<Splice>) -> (Vec<u8>, Option<ReversePatch>) {
        let after = spliced(bytes, splices.clone()).unwrap();
        let (mut old, mut new) = (io::Cursor::new(bytes), io::Cursor::new(&after));
        let patch = ReversePatch::new(&mut old, splices, &mut new).unwrap();
        (after, patch)
    }

    #[test]
    fn splices_that_overlap_or_reach_beyond_are_refused() {
        let splice = |at, removed| Splice {
            at,
            removed,
            put: b"xy".to_vec(),
        };
        assert_eq!(
            spliced(b"abcdef", vec![splice(4, 1), splice(4, 0), splice(0, 2)]).unwrap(),
            b"xycdxyxyf"
        );
        for bad in [
            vec![splice(1, 3), splice(2, 1)],
            vec![splice(5, 2)],
            vec![splice(7, 0)],
        ] {
            assert!(spliced(b"abcdef", bad).is_err());
        }
        assert_eq!(spliced(b"abcdef", vec![splice(6, 0)]).unwrap(), b"abcdefxy");
    }

    #[test]
    fn a_patch_of_more_than_its_bound_is_not_kept() {
        let long = vec![7; ReversePatch::MOST + 1];
        let splices = vec![Splice::new(0, long.len(), Vec::new())];
        assert_eq!(reverse(&long, splices).1, None);
    }

    proptest! {
        #[test]
        fn any_splices_are_taken_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            changes in proptest::collection::vec((0_usize..40, 0_usize..9, proptest::collection::vec(any::<u8>(), 0..9)), 0..12),
        ) {
            let mut splices = Vec::new();
            let mut at = 0;
            for (gap, removed, put) in changes {
                at += gap;
                if at + removed > bytes.len() {
                    break;
                }
                splices.push(Splice::new(at, removed, put));
                at += removed;
            }
            let length = bytes.len() as i64 + growth(&splices);
            let (after, patch) = reverse(&bytes, splices);
            let patch = patch.unwrap();
            prop_assert_eq!(after.len() as i64, length);
            let mut undone = Vec::new();
            prop_assert!(patch.undo(&mut io::Cursor::new(&after), &mut undone).unwrap());
            prop_assert_eq!(undone, bytes);
            prop_assert_eq!(ReversePatch::from_bytes(&patch.to_bytes()), Some(patch));
        }

        #[test]
        fn any_bytes_are_a_patch_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ReversePatch::from_bytes(&[&[2], &bytes[..]].concat());
        }
    }
}
