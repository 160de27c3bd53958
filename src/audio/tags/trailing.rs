//! Tags after the audio of an MP3: `ID3v1` and `APEv2`, and their items.
//!
//! Follows the `APEv2` specification (wiki.hydrogenaudio.org).

use std::fs::File;
use std::io;
use std::ops::Range;

use lofty::id3::v1::GENRES;

use super::texts::{NamedTexts, until_nul};
use crate::bytes::{MAX_ITEMS, MAX_TAG_BYTES, bytes_at, little};

/// Bytes of a header or footer.
const MARK: usize = 32;
/// Bytes of an `ID3v1` tag.
const V1: u64 = 128;

/// The tags after the audio of an MP3.
#[derive(Default)]
pub(crate) struct Trailing {
    /// Each APE tag, from its header, or its first item if it has none, to the end of its footer.
    pub(super) ape: Vec<Vec<u8>>,
    /// The `ID3v1` tag.
    pub(super) v1: Option<Vec<u8>>,
    /// Where the audio ends.
    pub(crate) audio: u64,
}

/// Finds the tags at a file's end: `ID3v1` and APE, in any order. An APE tag beyond [`MAX_TAG_BYTES`] or
/// [`MAX_ITEMS`] tags is not read, and counts as audio with everything before it.
pub(crate) fn find(file: &mut File, audio: u64) -> io::Result<Trailing> {
    let mut found = Trailing {
        audio: file.metadata()?.len(),
        ..Trailing::default()
    };
    let mut left = MAX_TAG_BYTES as u64;
    loop {
        let end = found.audio;
        let room = end.saturating_sub(audio);
        if room >= V1 && found.v1.is_none() {
            let tag = bytes_at(file, end - V1, V1)?;
            // An APE tag's mark contains these letters, too.
            let is_mark = bytes_at(file, (end - V1).saturating_sub(3), 3)? == b"APE"
                && tag.starts_with(b"TAGEX");
            if tag.starts_with(b"TAG") && !is_mark {
                found.v1 = Some(tag);
                found.audio -= V1;
            }
        }
        // Read again, as an `ID3v1` tag may just have been removed.
        let footer = bytes_at(file, found.audio.saturating_sub(MARK as u64), MARK as u64)?;
        if footer.starts_with(b"APETAGEX") && footer.len() == MARK {
            let header = if footer[23] & 0x80 != 0 {
                MARK as u64
            } else {
                0
            };
            let size = u64::from(little(&footer[12..])) + header;
            let is_there = size <= found.audio.saturating_sub(audio) && size >= MARK as u64;
            if is_there && size <= left && found.ape.len() < MAX_ITEMS {
                left -= size;
                found.audio -= size;
                found.ape.push(bytes_at(file, found.audio, size)?);
            }
        }
        if found.audio == end {
            return Ok(found);
        }
    }
}

/// The texts of a tag by their names, up to an invalid item, at most [`MAX_ITEMS`].
pub(super) fn texts(tag: &[u8]) -> NamedTexts {
    let end = tag.len().saturating_sub(MARK);
    let has_header = tag.starts_with(b"APETAGEX");
    let mut at = if has_header { MARK.min(end) } else { 0 };
    let mut texts = Vec::new();
    while texts.len() < MAX_ITEMS {
        let size = little(&tag[at..]) as usize;
        let key = tag.get(at + 8..end).unwrap_or_default();
        let Some(length) = key.iter().position(|&byte| byte == 0) else {
            break;
        };
        let body = at + 8 + length + 1;
        let Some(value) = tag[..end].get(body..body + size) else {
            break;
        };
        // Bits 1 and 2 of the flags: text, binary data or an address.
        if little(&tag[at + 4..]) & 0b110 != 0b010 {
            let name = String::from_utf8_lossy(&key[..length]).into_owned();
            texts.push((name, value.to_vec()));
        }
        at = body + size;
    }
    texts
}

/// The fields of an `ID3v1` tag, by their names in APE tags.
pub(super) fn v1_texts(tag: &[u8]) -> NamedTexts {
    let field = |range: Range<usize>| {
        let text = until_nul(tag.get(range).unwrap_or_default());
        text.trim_ascii().to_vec()
    };
    // ID3v1.1: after a zero, the last byte of the comment is the track number.
    let number = match tag.get(125..127) {
        Some(&[0, number]) if number > 0 => number.to_string(),
        _ => String::new(),
    };
    let genre = tag.get(127).and_then(|&n| GENRES.get(usize::from(n)));
    let genre = genre.copied().unwrap_or_default();
    let all = [
        ("Title", field(3..33)),
        ("Artist", field(33..63)),
        ("Album", field(63..93)),
        ("Year", field(93..97)),
        ("Track", number.into_bytes()),
        ("Genre", genre.as_bytes().to_vec()),
    ];
    all.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text))
        .collect()
}
