//! Reading parts of files, the numbers in them, and the bounds of both.

use std::io::{self, Read, Seek, SeekFrom};

/// Most chunks, blocks, boxes, frames or texts of a file that are read: it has dozens, or with chapters some thousand.
pub(crate) const MAX_ITEMS: usize = 1 << 16;
/// Most bytes of all tags of a file together.
pub(crate) const MAX_TAG_BYTES: usize = 64 << 20;

/// Positions in a file, and the bytes that are read there instead of its own.
pub(crate) type Patches = Vec<(u64, Vec<u8>)>;

/// A big-endian number; of more than eight bytes the last eight count.
pub(crate) fn big(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A little-endian number of the first four bytes; 0 if there are fewer.
pub(crate) fn little(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Up to `size` bytes of a file from a position on.
pub(crate) fn bytes_at(file: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.by_ref().take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The error for contents that no reader should be given.
pub(crate) fn damaged(expected: &str, found: &str) -> io::Error {
    let text = format!("damaged: expected {expected}, found {found}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
