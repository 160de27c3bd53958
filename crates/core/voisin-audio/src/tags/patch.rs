//! Edits of a file as splices of the few bytes that differ, and their reverse.

use std::io::{self, Read, Seek};

use crate::bytes::{bytes_at, read_up_to};

/// A replacement of bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Splice {
    /// Position of the replaced bytes.
    pub(super) at: u64,
    /// Number of replaced bytes.
    pub(super) removed: u64,
    /// The new bytes.
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

    /// Number of bytes that the file gains.
    pub(super) fn growth(&self) -> i64 {
        self.put.len() as i64 - self.removed as i64
    }

    /// The same splice `by` bytes later.
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
        splices.push(Splice::new(
            item.start,
            item.end - item.start,
            new.take().unwrap_or_default(),
        ));
    }
    if let Some(new) = new.filter(|new| !new.is_empty()) {
        splices.push(Splice::new(end, 0, new));
    }
    splices
}

/// Applies splices to bytes in memory.
///
/// # Errors
/// The splices overlap or reach beyond the bytes.
pub(super) fn spliced(bytes: &[u8], splices: Vec<Splice>) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(bytes.len());
    Patched::new(bytes, splices)?.read_to_end(&mut all)?;
    Ok(all)
}

/// A reader of a file with splices applied.
pub(super) struct Patched<R> {
    inner: R,
    splices: std::vec::IntoIter<Splice>,
    /// The reader's position in the file.
    at: u64,
    /// Bytes of the file before the next splice; without one, all that are left.
    before: u64,
    next: Option<Splice>,
    /// The rest of the inserted bytes.
    put: io::Cursor<Vec<u8>>,
}

impl<R: Read> Patched<R> {
    /// - `inner`: at its first byte
    ///
    /// # Errors
    /// Splices overlap.
    pub(super) fn new(inner: R, mut splices: Vec<Splice>) -> io::Result<Self> {
        splices.sort_by_key(Splice::order);
        if splices
            .windows(2)
            .any(|pair| pair[0].at + pair[0].removed > pair[1].at)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "changes to a file overlap",
            ));
        }
        let mut patched = Self {
            inner,
            splices: splices.into_iter(),
            at: 0,
            before: 0,
            next: None,
            put: io::Cursor::default(),
        };
        patched.advance();
        Ok(patched)
    }

    fn advance(&mut self) {
        self.next = self.splices.next();
        self.before = self
            .next
            .as_ref()
            .map_or(u64::MAX, |splice| splice.at - self.at);
    }
}

impl<R: Read> Read for Patched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_cut = || {
            io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file ends before its tags do",
            )
        };
        while !buffer.is_empty() {
            let n = self.put.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            if self.before > 0 {
                let most = buffer
                    .len()
                    .min(usize::try_from(self.before).unwrap_or(usize::MAX));
                let n = self.inner.read(&mut buffer[..most])?;
                if n == 0 && self.next.is_some() {
                    return Err(is_cut());
                }
                // After the last splice `before` stays at its maximum: the rest is passed on.
                if self.next.is_some() {
                    self.before -= n as u64;
                }
                self.at += n as u64;
                return Ok(n);
            }
            let Some(splice) = self.next.take() else {
                return Ok(0);
            };
            let mut left = splice.removed;
            while left > 0 {
                let most = buffer
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                // Reads into the caller's buffer: `io::copy` takes 8 KB of stack, and readers are
                // nested.
                if read_up_to(&mut self.inner, &mut buffer[..most])? < most {
                    return Err(is_cut());
                }
                left -= most as u64;
            }
            self.at += splice.removed;
            self.put = io::Cursor::new(splice.put);
            self.advance();
        }
        Ok(0)
    }
}

/// A file's length and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileDigest {
    length: u64,
    digest: blake3::Hash,
}

impl FileDigest {
    /// Reads to the end.
    pub(super) fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let length = io::copy(reader, &mut hasher)?;
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
    pub(super) fn new(
        mut file: impl Read + Seek,
        splices: &[Splice],
        before: FileDigest,
        after: FileDigest,
    ) -> io::Result<Option<Self>> {
        let mut splices = splices.to_vec();
        // In the order in which `Patched` applies them, or the shifts would be wrong.
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
                put: bytes_at(&mut file, splice.at, splice.removed)?,
            });
            shift += splice.growth();
        }
        let patch = Self {
            after,
            before,
            splices: reverse,
        };
        Ok((patch.to_bytes().len() <= Self::MOST).then_some(patch))
    }

    /// A reader of the former file.
    ///
    /// - `file`: as written, at its first byte
    pub(super) fn undone<R: Read>(&self, file: R) -> io::Result<Patched<R>> {
        Patched::new(file, self.splices.clone())
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

    fn state(bytes: &[u8]) -> FileDigest {
        FileDigest::read(&mut &bytes[..]).unwrap()
    }

    fn reverse(bytes: &[u8], splices: &[Splice]) -> (Vec<u8>, ReversePatch) {
        let after = spliced(bytes, splices.to_vec()).unwrap();
        let patch = ReversePatch::new(io::Cursor::new(bytes), splices, state(bytes), state(&after));
        (after, patch.unwrap().unwrap())
    }

    fn undone(patch: &ReversePatch, bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        patch.undone(bytes).unwrap().read_to_end(&mut all).unwrap();
        all
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
        let splices = [Splice::new(0, long.len(), Vec::new())];
        let patch =
            ReversePatch::new(io::Cursor::new(&long), &splices, state(&long), state(b"")).unwrap();
        assert_eq!(patch, None);
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
            let (after, patch) = reverse(&bytes, &splices);
            prop_assert_eq!(after.len() as i64, bytes.len() as i64 + growth(&splices));
            prop_assert_eq!(undone(&patch, &after), bytes);
            prop_assert_eq!(ReversePatch::from_bytes(&patch.to_bytes()), Some(patch));
        }

        #[test]
        fn any_bytes_are_a_patch_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ReversePatch::from_bytes(&[&[2], &bytes[..]].concat());
        }
    }
}
