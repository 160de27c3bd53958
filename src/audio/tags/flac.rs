//! Metadata blocks of FLAC files (RFC 9639, 8).

use std::fs::File;
use std::io::{self, Read, Seek};

use super::patch::{Splice, growth};
use super::{TrackTags, carried, comments};
use crate::bytes::{MAX_ITEMS, Patches, big, bytes_at};

const STREAMINFO: u8 = 0;
const PADDING: u8 = 1;
const SEEK_TABLE: u8 = 3;
pub(super) const COMMENTS: u8 = 4;
pub(super) const PICTURE: u8 = 6;
/// No type: a reader would take the block for the start of a frame.
const INVALID: u8 = 127;
/// In the byte of the type: no block follows.
const LAST: u8 = 0x80;
/// Bytes before a block's content.
const HEADER: u64 = 4;

/// A metadata block.
pub(super) struct MetadataBlock {
    /// Where its header begins.
    at: u64,
    pub(super) kind: u8,
    is_last: bool,
    /// Bytes after the header.
    pub(super) size: u64,
}

impl MetadataBlock {
    fn end(&self) -> u64 {
        self.at + HEADER + self.size
    }

    pub(super) fn read(&self, file: &mut File) -> io::Result<Vec<u8>> {
        bytes_at(file, self.at + HEADER, self.size)
    }
}

/// The blocks of a file up to an invalid one or the limit [`MAX_ITEMS`], and where that begins; none if there is no FLAC
/// stream.
///
/// - `start`: position of `fLaC`, after any `ID3v2` tags
pub(super) fn follow(
    file: &mut (impl Read + Seek),
    start: u64,
    length: u64,
) -> io::Result<(Vec<MetadataBlock>, Option<u64>)> {
    let mut blocks: Vec<MetadataBlock> = Vec::new();
    if bytes_at(file, start, 4)? != b"fLaC" {
        return Ok((blocks, Some(start)));
    }
    let mut at = start + 4;
    while blocks.last().is_none_or(|block| !block.is_last) {
        let header = bytes_at(file, at, HEADER)?;
        let [kind, ref size @ ..] = header[..] else {
            return Ok((blocks, Some(at)));
        };
        let block = MetadataBlock {
            at,
            kind: kind & !LAST,
            is_last: kind & LAST != 0,
            size: big(size),
        };
        let is_cut = size.len() < 3 || block.end() > length;
        if is_cut || block.kind == INVALID || blocks.len() == MAX_ITEMS {
            return Ok((blocks, Some(at)));
        }
        at = block.end();
        blocks.push(block);
    }
    Ok((blocks, None))
}

/// The parts of a file that a reader may see: of the blocks STREAMINFO and the seek table alone, the others as padding.
pub(crate) fn repairs(file: &mut (impl Read + Seek), length: u64) -> io::Result<Patches> {
    const SEEK_POINT: u64 = 18;
    let (blocks, _) = follow(file, 0, length)?;
    let mut patches = Vec::new();
    let mut kept = Vec::new();
    for block in blocks.iter().filter(|block| block.kind != PADDING) {
        let is_table = block.kind == SEEK_TABLE && block.size.is_multiple_of(SEEK_POINT);
        // Of each kind the first counts.
        if (is_table || block.kind == STREAMINFO) && !kept.contains(&block.kind) {
            kept.push(block.kind);
        } else {
            let last = if block.is_last { LAST } else { 0 };
            patches.push((block.at, vec![last | PADDING]));
        }
    }
    Ok(patches)
}

/// The splices that write the genres into a file's comments and keep everything else; into each block of
/// comments, since readers differ in which one they use.
pub(super) fn edit(
    file: &mut File,
    start: u64,
    genres: &[String],
    present: &TrackTags,
) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let (blocks, damaged_at) = follow(file, start, length).map_err(text)?;
    if let Some(at) = damaged_at {
        return Err(format!(
            "its FLAC metadata block at byte {at} is damaged, cut off, or behind too many others"
        ));
    }
    let Some(first) = blocks.first().filter(|block| block.kind == STREAMINFO) else {
        return Err("its first FLAC metadata block is not STREAMINFO".to_owned());
    };
    let mut splices = Vec::new();
    for block in blocks.iter().filter(|block| block.kind == COMMENTS) {
        let changes = comments::edit(&block.read(file).map_err(text)?, genres)?;
        let size = size(block.size.saturating_add_signed(growth(&changes)))?;
        // The three bytes of the size come after the type.
        splices.push(Splice::new(block.at as usize + 1, 3, size));
        let changes = changes.into_iter();
        splices.extend(changes.map(|change| change.moved(block.at + HEADER)));
    }
    if splices.is_empty() {
        let list = comments::new_list(genres, &carried(present));
        // After STREAMINFO, which must stay first and is no longer last.
        let last = if first.is_last { LAST } else { 0 };
        let header = [vec![COMMENTS | last], size(list.len() as u64)?].concat();
        splices.push(Splice::new(first.at as usize, 1, vec![STREAMINFO]));
        let end = first.end() as usize;
        splices.push(Splice::new(end, 0, [header, list].concat()));
    }
    Ok(splices)
}

fn size(size: u64) -> Result<Vec<u8>, String> {
    let fits = u32::try_from(size).ok().filter(|size| *size < 1 << 24);
    let size = fits.ok_or("its FLAC comments would be larger than a block may be")?;
    Ok(size.to_be_bytes()[1..].to_vec())
}
