//! `APEv2` tags behind an MP3: items as they lie in them.
//!
//! Follows the `APEv2` specification (wiki.hydrogenaudio.org).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::patch::{Splice, TagItem, growth, replace};
use super::{TagEdit, TagField, id3};

/// Bytes of a header or footer.
const MARK: usize = 32;
/// Bytes of an `ID3v1` tag.
const V1: u64 = 128;

/// The tags behind the audio of an MP3.
#[derive(Default)]
pub(super) struct Trailing {
    /// Each APE tag, from its header, or its first item where it has none, to the end of its footer, and where it begins.
    pub(super) ape: Vec<(u64, Vec<u8>)>,
    /// The `ID3v1` tag.
    pub(super) v1: Option<Vec<u8>>,
    /// Where the audio ends.
    pub(super) audio: u64,
}

/// Finds the tags at a file's end: `ID3v1`, APE and `Lyrics3v2`, in any order.
pub(super) fn find(file: &mut File, audio: u64) -> io::Result<Trailing> {
    let mut found = Trailing {
        audio: file.metadata()?.len(),
        ..Trailing::default()
    };
    loop {
        let end = found.audio;
        let room = end.saturating_sub(audio);
        if room >= V1 && found.v1.is_none() {
            let tag = read(file, end - V1, V1)?;
            // An APE tag's own mark has these letters too.
            let is_mark =
                read(file, (end - V1).saturating_sub(3), 3)? == b"APE" && tag.starts_with(b"TAGEX");
            if tag.starts_with(b"TAG") && !is_mark {
                found.v1 = Some(tag);
                found.audio -= V1;
            }
        }
        let footer = read(file, found.audio.saturating_sub(MARK as u64), MARK as u64)?;
        if footer.starts_with(b"APETAGEX") && footer.len() == MARK {
            let header = if footer[23] & 0x80 != 0 {
                MARK as u64
            } else {
                0
            };
            let size = u64::from(little(&footer[12..])) + header;
            if size <= found.audio.saturating_sub(audio)
                && size <= id3::MOST as u64
                && size >= MARK as u64
            {
                found.audio -= size;
                let tag = read(file, found.audio, size)?;
                found.ape.push((found.audio, tag));
            }
        }
        let trailer = read(file, found.audio.saturating_sub(15), 15)?;
        if trailer.ends_with(b"LYRICS200") {
            let size = std::str::from_utf8(&trailer[..6])
                .ok()
                .and_then(|digits| digits.parse::<u64>().ok());
            let size = size
                .map(|size| size + 15)
                .filter(|size| *size <= found.audio.saturating_sub(audio));
            found.audio -= size.unwrap_or(0);
        }
        if found.audio == end {
            return Ok(found);
        }
    }
}

fn read(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn little(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The items of a tag and where they end.
///
/// # Errors
/// The tag is damaged; in words.
pub(super) fn parse(tag: &[u8]) -> Result<(Vec<TagItem>, usize), String> {
    let damaged = || "its APE tag is damaged: mend it with a tag editor first".to_owned();
    let end = tag.len().checked_sub(MARK).ok_or_else(damaged)?;
    let count = little(&tag[end + 16..]);
    let mut at = if tag.starts_with(b"APETAGEX") && end >= MARK {
        MARK
    } else {
        0
    };
    let mut items = Vec::new();
    while at < end {
        let size = little(&tag[at..]) as usize;
        let key = tag.get(at + 8..end).ok_or_else(damaged)?;
        let length = key.iter().position(|&byte| byte == 0).ok_or_else(damaged)?;
        let name = String::from_utf8_lossy(&key[..length]).into_owned();
        let next = at + 8 + length + 1 + size;
        if next > end {
            return Err(damaged());
        }
        items.push(TagItem {
            start: at,
            end: next,
            field: field(&name),
            name: format!("item {name}"),
        });
        at = next;
    }
    if items.len() as u32 != count {
        return Err(damaged());
    }
    Ok((items, end))
}

fn key(field: TagField) -> &'static str {
    match field {
        TagField::Genre => "Genre",
        TagField::Bpm => "BPM",
        TagField::Key => "KEY",
        TagField::ReplayGain => "REPLAYGAIN_TRACK_GAIN",
    }
}

fn field(name: &str) -> Option<TagField> {
    TagField::ALL
        .into_iter()
        .find(|&field| key(field).eq_ignore_ascii_case(name))
}

/// The changes that give a tag the edited fields and keep everything else.
///
/// # Errors
/// The tag is damaged; in words.
pub(super) fn edit(tag: &[u8], edits: &[&TagEdit]) -> Result<Vec<Splice>, String> {
    let (items, end) = parse(tag)?;
    let item = |edit: &TagEdit| {
        if edit.values.is_empty() {
            return Vec::new();
        }
        let value = edit.values.join("\0");
        let size = (value.len() as u32).to_le_bytes();
        [
            &size[..],
            &[0; 4],
            key(edit.field).as_bytes(),
            &[0],
            value.as_bytes(),
        ]
        .concat()
    };
    let mut splices = replace(&items, end, edits, item);
    if splices.is_empty() {
        return Ok(splices);
    }
    let removed = items
        .iter()
        .filter(|item| edits.iter().any(|edit| item.field == Some(edit.field)))
        .count();
    let added = edits.iter().filter(|edit| !edit.values.is_empty()).count();
    let size = i64::from(little(&tag[end + 12..])) + growth(&splices);
    let size = u32::try_from(size).map_err(|_| "its APE tag would be larger than any may be")?;
    let numbers = [size, (items.len() - removed + added) as u32]
        .map(u32::to_le_bytes)
        .concat();
    let has_header = tag.starts_with(b"APETAGEX") && end >= MARK;
    for mark in has_header.then_some(0).into_iter().chain([end]) {
        splices.push(Splice::new(mark + 12, 8, numbers.clone()));
    }
    Ok(splices)
}

/// The comment of an `ID3v1` tag.
pub(super) fn v1_comment(tag: &[u8]) -> Option<String> {
    let comment = tag.get(97..127)?;
    // The last two bytes are a zero and the track's number where that is given.
    let comment = if comment[28] == 0 {
        &comment[..28]
    } else {
        comment
    };
    let text: String = comment
        .iter()
        .take_while(|&&byte| byte != 0)
        .map(|&byte| char::from(byte))
        .collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
