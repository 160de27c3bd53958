//! Chunks of WAV files with tags: an `ID3v2` tag, and a list of texts.
//!
//! Follows "Multimedia Programming Interface and Data Specifications 1.0" (IBM and Microsoft, 1991).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::ape::little;
use super::patch::{Splice, TagItem, growth, replace, without_values};
use super::values::MOST_TEXTS;
use super::{TagEdit, TagField, TrackTags, frames, id3};
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
    /// Whether it is complete.
    pub(super) is_whole: bool,
}

impl RiffChunk {
    pub(super) fn body(&self) -> u64 {
        self.at + HEADER
    }

    /// Start of the next chunk.
    fn end(&self) -> u64 {
        self.body() + self.size + (self.size & 1)
    }

    pub(super) fn is_id3(&self) -> bool {
        self.is_whole && self.name.eq_ignore_ascii_case(b"id3 ")
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

    /// Reads the chunk if it is a list of texts.
    pub(super) fn texts(&self, file: &mut File) -> io::Result<Option<Vec<u8>>> {
        let content = if self.is_whole && self.name == *b"LIST" {
            self.read(file)?
        } else {
            None
        };
        Ok(content.filter(|content| content.starts_with(b"INFO")))
    }

    /// Adds the splices of its size and of the pad byte of an odd size to those of its content.
    fn changed(&self, length: u64, changes: Vec<Splice>) -> Result<Vec<Splice>, String> {
        if changes.is_empty() {
            return Ok(changes);
        }
        let size = self.size.saturating_add_signed(growth(&changes));
        let field =
            u32::try_from(size).map_err(|_| "a chunk of it would be larger than any may be")?;
        let mut all = vec![Splice {
            at: self.at + 4,
            removed: 4,
            put: field.to_le_bytes().to_vec(),
        }];
        all.extend(changes.into_iter().map(|change| change.moved(self.body())));
        let end = self.body() + self.size;
        let padding = self.end().min(length) - end;
        if padding != size & 1 {
            all.push(Splice {
                at: end,
                removed: padding,
                put: vec![0; (size & 1) as usize],
            });
        }
        Ok(all)
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
            is_whole,
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

/// The texts of a list, from its first byte.
///
/// # Errors
/// A message if they do not fill the list.
pub(super) fn texts(list: &[u8]) -> Result<Vec<TagItem>, String> {
    match follow(list) {
        (items, None) => Ok(items),
        (_, Some(at)) => Err(format!(
            "the INFO chunk of its texts is damaged at byte {at}: mend it with a tag editor first"
        )),
    }
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
        let field = (name == b"IGNR").then_some(TagField::Genre);
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
            field,
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

/// The splices that write the edited fields into a file and keep everything else.
///
/// # Errors
/// A message if its chunks cannot be read.
pub(super) fn edit(
    file: &mut File,
    edits: &[&TagEdit],
    present: &TrackTags,
) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0)).map_err(text)?;
    read_up_to(file, &mut head).map_err(text)?;
    if !head.starts_with(b"RIFF") || !head.ends_with(b"WAVE") {
        return Err(
            "it is a WAV file with sizes of 64 bits, to which voisin writes no tags".to_owned(),
        );
    }
    let chunks = chunks(file)?;
    // A field is written once and removed everywhere else.
    let gone = without_values(edits);
    let gone: Vec<&TagEdit> = gone.iter().collect();
    let mut splices = Vec::new();
    let mut has_tag = false;
    let mut has_texts = false;
    let mut is_edited = false;
    for chunk in &chunks {
        let n = splices.len();
        if chunk.is_id3() {
            let tag = chunk
                .read(file)
                .map_err(text)?
                .ok_or("its ID3v2 tag is larger than any that is read")?;
            let size =
                id3::body_size(&tag).map_or(tag.len(), |size| tag.len().min(id3::HEADER + size));
            let changes = frames::edit(
                &tag[..size],
                &tag[size..],
                if has_tag { &gone } else { edits },
            )?;
            splices.extend(chunk.changed(length, changes)?);
            has_tag = true;
        } else if let Some(list) = chunk.texts(file).map_err(text)? {
            let genres: Vec<&TagEdit> = if has_texts { &gone } else { edits }
                .iter()
                .copied()
                .filter(|edit| edit.field == TagField::Genre)
                .collect();
            if !genres.is_empty() {
                let items = texts(&list)?;
                let mut changes = replace(&items, list.len(), &genres, in_list);
                // The text before a new one lacks its pad byte.
                if items
                    .last()
                    .is_some_and(|item| item.end % 2 != item.start % 2)
                {
                    let new = changes.iter_mut().filter(|change| change.removed == 0);
                    new.for_each(|change| change.put.insert(0, 0));
                }
                splices.extend(chunk.changed(length, changes)?);
            }
            has_texts = true;
        }
        is_edited = splices.len() > n;
    }
    let stated = u64::from(little(&head[4..]));
    let end = chunks.last().map_or(12, RiffChunk::end);
    let is_followed =
        chunks.iter().all(|chunk| chunk.is_whole) && (end == length || end == length + 1);
    if !has_tag {
        // At the end of the file, or at the form's end by its header if other bytes follow.
        let at = if is_followed { length } else { HEADER + stated };
        if !is_followed && !chunks.iter().any(|chunk| chunk.at == at) {
            return Err("its chunks do not end where it ends or where its header says, so that a new one would not be found".to_owned());
        }
        let tag = frames::new_tag(edits, present)?;
        let mut chunk = [b"ID3 ", &(tag.len() as u32).to_le_bytes()[..], &tag].concat();
        chunk.resize(chunk.len() + (tag.len() & 1), 0);
        // The last chunk has an odd size and lacks its pad byte, which an edit of it would have added.
        if is_followed && end > length && !is_edited {
            chunk.insert(0, 0);
        }
        splices.push(Splice {
            at,
            removed: 0,
            put: chunk,
        });
    }
    // Programs that do not know the length of a recording yet write these.
    let is_open = stated == 0 || stated == u64::from(u32::MAX);
    if !is_open && !splices.is_empty() {
        let before = if is_followed { length - HEADER } else { stated };
        let size = u32::try_from(before.saturating_add_signed(growth(&splices)));
        let size = size.map_err(|_| "it would be larger than a WAV file may be")?;
        splices.push(Splice {
            at: 4,
            removed: 4,
            put: size.to_le_bytes().to_vec(),
        });
    }
    Ok(splices)
}

/// The text of a field, which has one value here.
fn in_list(edit: &TagEdit) -> Vec<u8> {
    if edit.values.is_empty() {
        return Vec::new();
    }
    let value = [edit.values.join("; ").as_bytes(), &[0]].concat();
    let mut text = [b"IGNR", &(value.len() as u32).to_le_bytes()[..], &value].concat();
    text.resize(text.len() + (value.len() & 1), 0);
    text
}
