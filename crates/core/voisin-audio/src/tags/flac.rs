//! Metadata blocks of FLAC files (RFC 9639, 8).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use super::patch::{Splice, growth};
use super::{TrackTags, carried, comments};
use crate::fill::{big, read_up_to};

pub(super) const STREAMINFO: u8 = 0;
pub(super) const PADDING: u8 = 1;
pub(super) const COMMENTS: u8 = 4;
/// No type: a reader would take the block for the start of a frame.
const INVALID: u8 = 127;
/// In the byte of the type: no block follows.
const LAST: u8 = 0x80;
/// Most blocks that are read; files have a handful, and an empty one takes four bytes.
pub(super) const BLOCKS: usize = 1 << 10;
/// Bytes before a block's content.
pub(super) const HEADER: u64 = 4;

/// A metadata block.
pub(super) struct MetadataBlock {
    /// Where its header begins.
    pub(super) at: u64,
    pub(super) kind: u8,
    is_last: bool,
    /// Bytes after the header.
    pub(super) size: u64,
}

impl MetadataBlock {
    pub(super) fn end(&self) -> u64 {
        self.at + HEADER + self.size
    }

    /// Reads the block's content.
    pub(super) fn read(&self, file: &mut File) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(self.at + HEADER))
            .map_err(|error| error.to_string())?;
        file.take(self.size)
            .read_to_end(&mut content)
            .map_err(|error| error.to_string())?;
        Ok(content)
    }
}

/// The blocks of a file.
///
/// - `start`: position of `fLaC`, after any `ID3v2` tags
///
/// # Errors
/// A message if they cannot be read to the last.
pub(super) fn blocks(file: &mut File, start: u64) -> Result<Vec<MetadataBlock>, String> {
    let (blocks, damaged) = follow(file, start)?;
    if let Some(at) = damaged {
        return Err(format!(
            "its FLAC metadata block at byte {at} is damaged, cut off, or behind {BLOCKS} others"
        ));
    }
    if blocks.first().is_none_or(|block| block.kind != STREAMINFO) {
        return Err("its first FLAC metadata block is not STREAMINFO".to_owned());
    }
    Ok(blocks)
}

/// The blocks up to an invalid one or the limit [`BLOCKS`], and their end.
///
/// # Errors
/// A message if there is no FLAC stream.
pub(super) fn follow(
    file: &mut File,
    start: u64,
) -> Result<(Vec<MetadataBlock>, Option<u64>), String> {
    let text = |error: std::io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let mut mark = [0; 4];
    file.seek(SeekFrom::Start(start)).map_err(text)?;
    read_up_to(file, &mut mark).map_err(text)?;
    if mark != *b"fLaC" {
        return Err(format!(
            "its FLAC stream does not begin at byte {start}, behind its ID3v2 tag"
        ));
    }
    let mut blocks: Vec<MetadataBlock> = Vec::new();
    let mut at = start + 4;
    while blocks.last().is_none_or(|block| !block.is_last) {
        let mut header = [0; HEADER as usize];
        file.seek(SeekFrom::Start(at)).map_err(text)?;
        let n = read_up_to(file, &mut header).map_err(text)?;
        let [kind, size @ ..] = header;
        let block = MetadataBlock {
            at,
            kind: kind & !LAST,
            is_last: kind & LAST != 0,
            size: big(&size),
        };
        let is_cut = n < header.len() || block.end() > length;
        if is_cut || block.kind == INVALID || blocks.len() == BLOCKS {
            return Ok((blocks, Some(at)));
        }
        at = block.end();
        blocks.push(block);
    }
    Ok((blocks, None))
}

/// The splices that write the genres into a file's comments and keep everything else; into each block of
/// comments, since readers differ in which one they use.
///
/// # Errors
/// A message if the blocks or a list of comments are damaged.
pub(super) fn edit(
    file: &mut File,
    start: u64,
    genres: &[String],
    present: &TrackTags,
) -> Result<Vec<Splice>, String> {
    let blocks = blocks(file, start)?;
    let mut splices = Vec::new();
    let mut has_comments = false;
    for block in blocks.iter().filter(|block| block.kind == COMMENTS) {
        has_comments = true;
        let changes = comments::edit(&block.read(file)?, genres)?;
        let size = size(block.size.saturating_add_signed(growth(&changes)))?;
        splices.push(Splice {
            // The three bytes of the size, after the type.
            at: block.at + 1,
            removed: 3,
            put: size,
        });
        splices.extend(
            changes
                .into_iter()
                .map(|change| change.moved(block.at + HEADER)),
        );
    }
    let first = &blocks[0];
    if !has_comments {
        let others: Vec<_> = carried(present)
            .into_iter()
            .map(|(_, name, value)| (name, value))
            .collect();
        let list = comments::new_list(genres, &others);
        // After STREAMINFO, which must stay first and is no longer last.
        let last = if first.is_last { LAST } else { 0 };
        let header = [vec![COMMENTS | last], size(list.len() as u64)?].concat();
        splices.push(Splice {
            at: first.at,
            removed: 1,
            put: vec![STREAMINFO],
        });
        splices.push(Splice {
            at: first.end(),
            removed: 0,
            put: [header, list].concat(),
        });
    }
    Ok(splices)
}

fn size(size: u64) -> Result<Vec<u8>, String> {
    let fits = u32::try_from(size).ok().filter(|size| *size < 1 << 24);
    let size = fits.ok_or("its FLAC comments would be larger than a block may be")?;
    Ok(size.to_be_bytes()[1..].to_vec())
}
