//! Edits of a file as splices of the few bytes that differ, and their reverse.

use std::io::{self, Read};

use crate::fill::read_up_to;

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
    /// Its name, for messages.
    pub(super) name: String,
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
        // An insertion before a byte comes before that byte's replacement.
        splices.sort_by_key(|splice| (splice.at, splice.removed > 0));
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
    /// One per write, the latest first.
    layers: Vec<Vec<Splice>>,
}

impl ReversePatch {
    /// Most bytes of a stored patch: tags of a common size fit a hundred times, and a thousand files take no more
    /// space than one long recording.
    pub const MOST: usize = 1 << 20;
    /// Most layers of a patch: each is a nested reader and takes some stack.
    const LAYERS: usize = 256;
    const VERSION: u8 = 1;

    /// The reverse of `splices`; `None` where that is more than [`MOST`](Self::MOST).
    ///
    /// - `file`: before the splices
    pub(super) fn new(
        mut file: impl Read + io::Seek,
        splices: &[Splice],
        before: FileDigest,
        after: FileDigest,
    ) -> io::Result<Option<Self>> {
        let mut splices = splices.to_vec();
        // In the order in which `Patched` applies them, or the shifts would be wrong.
        splices.sort_by_key(|splice| (splice.at, splice.removed > 0));
        if splices.iter().map(|splice| splice.removed).sum::<u64>() > Self::MOST as u64 {
            return Ok(None);
        }
        let mut shift = 0_i64;
        let mut reverse = Vec::new();
        for splice in splices {
            let mut put = vec![0; splice.removed as usize];
            file.seek(io::SeekFrom::Start(splice.at))?;
            file.read_exact(&mut put)?;
            let at = splice.at.saturating_add_signed(shift);
            shift += splice.growth();
            reverse.push(Splice {
                at,
                removed: splice.put.len() as u64,
                put,
            });
        }
        let patch = Self {
            after,
            before,
            layers: vec![reverse],
        };
        Ok((patch.to_bytes().len() <= Self::MOST).then_some(patch))
    }

    /// The reverse of this write and a later one; `None` if the file changed between the two, or the patch exceeds
    /// [`MOST`](Self::MOST) or 256 writes.
    pub fn followed_by(&self, later: &Self) -> Option<Self> {
        let layers = later.layers.iter().chain(&self.layers).cloned().collect();
        let both = Self {
            after: later.after,
            before: self.before,
            layers,
        };
        let is_kept = both.layers.len() <= Self::LAYERS && both.to_bytes().len() <= Self::MOST;
        (self.after == later.before && is_kept).then_some(both)
    }

    /// A reader of the former file.
    ///
    /// - `file`: as written, at its first byte
    pub(super) fn undone<'a>(&self, file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        let mut reader: Box<dyn Read + 'a> = Box::new(file);
        for layer in &self.layers {
            reader = Box::new(Patched::new(reader, layer.clone())?);
        }
        Ok(reader)
    }

    /// A version (1), length and BLAKE3 digest of the state after and of the one before, the number of layers, and for
    /// each the number of splices, with the distance from the previous one, removed and new bytes. Numbers are LEB128.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        for state in [&self.after, &self.before] {
            put_number(&mut bytes, state.length);
            bytes.extend(state.digest.as_bytes());
        }
        put_number(&mut bytes, self.layers.len() as u64);
        for layer in &self.layers {
            put_number(&mut bytes, layer.len() as u64);
            let mut at = 0;
            for splice in layer {
                put_number(&mut bytes, splice.at - at);
                put_number(&mut bytes, splice.removed);
                put_number(&mut bytes, splice.put.len() as u64);
                bytes.extend(&splice.put);
                at = splice.at;
            }
        }
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes); `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != Self::VERSION {
            return None;
        }
        let after = take_state(&mut rest)?;
        let before = take_state(&mut rest)?;
        let mut layers = Vec::new();
        let count = take_number(&mut rest)?;
        if count > Self::LAYERS as u64 {
            return None;
        }
        for _ in 0..count {
            let mut layer = Vec::new();
            let mut at = 0_u64;
            for _ in 0..take_number(&mut rest)? {
                at = at.checked_add(take_number(&mut rest)?)?;
                let removed = take_number(&mut rest)?;
                let length = usize::try_from(take_number(&mut rest)?).ok()?;
                // A length beyond the available bytes ends here, before anything is allocated.
                let put = rest.split_off(..length)?.to_vec();
                at.checked_add(removed)?;
                layer.push(Splice { at, removed, put });
            }
            layers.push(layer);
        }
        rest.is_empty().then_some(Self {
            after,
            before,
            layers,
        })
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
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
    fn two_writings_are_taken_back_together() {
        let (second, first_patch) =
            reverse(b"one two three", &[Splice::new(4, 3, b"zwei und".to_vec())]);
        let (third, later_patch) = reverse(
            &second,
            &[
                Splice::new(0, 3, Vec::new()),
                Splice::new(5, 1, b"!".to_vec()),
            ],
        );
        let both = first_patch.followed_by(&later_patch).unwrap();
        assert_eq!(undone(&both, &third), b"one two three");
        assert_eq!(ReversePatch::from_bytes(&both.to_bytes()), Some(both));
        assert_eq!(later_patch.followed_by(&first_patch), None);
    }

    #[test]
    fn a_patch_of_more_than_its_bound_is_not_kept() {
        let long = vec![7; ReversePatch::MOST + 1];
        let splices = [Splice::new(0, long.len(), Vec::new())];
        let patch =
            ReversePatch::new(io::Cursor::new(&long), &splices, state(&long), state(b"")).unwrap();
        assert_eq!(patch, None);
    }

    #[test]
    fn a_patch_of_more_layers_than_its_bound_is_refused() {
        let (_, one) = reverse(b"abc", &[Splice::new(0, 1, b"a".to_vec())]);
        let mut many = one.clone();
        many.layers = vec![one.layers[0].clone(); ReversePatch::LAYERS];
        assert_eq!(undone(&many, b"abc"), b"abc");
        assert_eq!(
            ReversePatch::from_bytes(&many.to_bytes()),
            Some(many.clone())
        );
        assert_eq!(many.followed_by(&one), None);
        many.layers.push(Vec::new());
        assert_eq!(ReversePatch::from_bytes(&many.to_bytes()), None);
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
            let _ = ReversePatch::from_bytes(&[&[1], &bytes[..]].concat());
        }
    }
}
