//! Chunks of WAV files with tags: an `ID3v2` tag, and a list of texts.
//!
//! Follows "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::ape::little;
use super::id3;
use super::patch::TagItem;
use super::values::MOST_TEXTS;
use crate::fill::read_up_to;

/// Bytes before a chunk's content.
const HEADER: u64 = 8;
/// Most chunks of a file.
const MOST: usize = 1 << 16;

/// A chunk of a file.
pub(super) struct RiffChunk {
    /// Start of its header.
    pub(super) at: u64,
    pub(super) name: [u8; 4],
    pub(super) size: u64,
}

impl RiffChunk {
    pub(super) fn body(&self) -> u64 {
        self.at + HEADER
    }

    /// Start of the next chunk.
    fn end(&self) -> u64 {
        self.body() + self.size + (self.size & 1)
    }

    /// Reads the chunk; `None` where it is larger than tags may be.
    pub(super) fn read(&self, file: &mut File) -> io::Result<Option<Vec<u8>>> {
        if self.size > id3::MOST as u64 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.body()))?;
        file.take(self.size).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// The chunks of a file, up to its end or a truncated one.
pub(super) fn chunks(file: &mut File) -> Result<Vec<RiffChunk>, String> {
    let text = |error: io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let mut found = Vec::new();
    let mut at = 12;
    while at + HEADER <= length {
        let mut head = [0; HEADER as usize];
        file.seek(SeekFrom::Start(at)).map_err(text)?;
        read_up_to(file, &mut head).map_err(text)?;
        let [a, b, c, d, ..] = head;
        let size = u64::from(little(&head[4..]));
        let is_whole = at + HEADER + size <= length;
        let chunk = RiffChunk {
            at,
            name: [a, b, c, d],
            size,
        };
        at = chunk.end();
        found.push(chunk);
        if !is_whole {
            break;
        }
        if found.len() > MOST {
            return Err("it has more chunks than any WAV file".to_owned());
        }
    }
    Ok(found)
}

/// The texts up to an invalid one or the limit [`MOST_TEXTS`], and their end.
pub(super) fn follow(list: &[u8]) -> (Vec<TagItem>, Option<usize>) {
    let mut items = Vec::new();
    let mut start = 4;
    while start < list.len() {
        let end = text_end(list, start);
        let is_read = |end: &usize| *end <= list.len() && items.len() < MOST_TEXTS;
        let Some(end) = end.filter(is_read) else {
            return (items, Some(start));
        };
        let name = &list[start..start + 4];
        let is_genre = name == b"IGNR";
        let name = format!("text {}", name.escape_ascii());
        // Some programs write no pad byte, so that the next text follows at once.
        let padded = end + (end - start) % 2;
        let next = if is_text(list, end) && !is_text(list, padded) {
            end
        } else {
            padded.min(list.len())
        };
        items.push(TagItem {
            start,
            end: next,
            is_genre,
            name,
        });
        start = next;
    }
    (items, None)
}

/// Where the text that begins here ends by its header.
pub(super) fn text_end(list: &[u8], start: usize) -> Option<usize> {
    let head = list.get(start..start + HEADER as usize)?;
    Some(start + head.len() + little(&head[4..]) as usize)
}

/// Whether a text may begin here.
fn is_text(list: &[u8], at: usize) -> bool {
    let is_name = |name: &[u8]| name.iter().all(u8::is_ascii_alphanumeric);
    text_end(list, at).is_some_and(|end| end <= list.len() && is_name(&list[at..at + 4]))
}
