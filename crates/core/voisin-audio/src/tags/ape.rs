//! `APEv2` tags after an MP3, and their items.
//!
//! Follows the `APEv2` specification (wiki.hydrogenaudio.org).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use lofty::id3::v1::GENRES;
use voisin_base::encoding::{OldEncoding, without_controls};

use super::id3;
use super::patch::{Splice, TagItem, growth, replace};
use super::values::MOST_TEXTS;
use crate::fill::read_up_to;

/// Bytes of a header or footer.
const MARK: usize = 32;
/// Prefix of an item's name in messages.
const ITEM: &str = "item ";
/// Bytes of an `ID3v1` tag.
const V1: u64 = 128;

/// The tags after the audio of an MP3.
#[derive(Default)]
pub(crate) struct Trailing {
    /// Position and bytes of each APE tag, from its header, or its first item if it has none, to the end of its footer.
    pub(super) ape: Vec<(u64, Vec<u8>)>,
    /// The `ID3v1` tag.
    pub(super) v1: Option<Vec<u8>>,
    /// Where the audio ends.
    pub(crate) audio: u64,
}

/// As [`id3::find`], and the tag at the end of a file, which has a footer (ID3 2.4 structure, 3.4). That one is read
/// only: new frames are written at the start.
pub(super) fn find_id3(file: &mut File) -> io::Result<id3::Id3Tags> {
    let mut found = id3::find(file)?;
    let end = find(file, found.audio)?.audio;
    let Some(footer_at) = end.checked_sub(id3::HEADER as u64) else {
        return Ok(found);
    };
    let mut footer = [0; id3::HEADER];
    file.seek(SeekFrom::Start(footer_at))?;
    if read_up_to(file, &mut footer)? < id3::HEADER || !footer.starts_with(b"3DI") {
        return Ok(found);
    }
    // Equal to the header except for the mark.
    footer[..3].copy_from_slice(b"ID3");
    let start =
        id3::body_size(&footer).and_then(|body| footer_at.checked_sub((id3::HEADER + body) as u64));
    // If the file has nothing else, the tag is at its start as well.
    let is_new = |start: &u64| *start >= found.audio && !found.starts.contains(start);
    let Some(start) = start.filter(is_new) else {
        return Ok(found);
    };
    let mut header = [0; id3::HEADER];
    file.seek(SeekFrom::Start(start))?;
    if read_up_to(file, &mut header)? == id3::HEADER && header == footer {
        let read: usize = found.tags.iter().map(Vec::len).sum();
        let mut room = id3::MOST.saturating_sub(read);
        id3::read_tag(file, start, end, &mut room, &mut found)?;
    }
    Ok(found)
}

/// Finds the tags at a file's end: `ID3v1`, APE and `Lyrics3v2`, in any order. An APE tag beyond [`id3::MOST`] bytes or
/// [`id3::TAGS`] tags is not read, and counts as audio with everything before it.
pub(crate) fn find(file: &mut File, audio: u64) -> io::Result<Trailing> {
    let mut found = Trailing {
        audio: file.metadata()?.len(),
        ..Trailing::default()
    };
    let mut left = id3::MOST as u64;
    loop {
        let end = found.audio;
        let room = end.saturating_sub(audio);
        if room >= V1 && found.v1.is_none() {
            let tag = read(file, end - V1, V1)?;
            // An APE tag's mark contains these letters, too.
            let is_mark =
                read(file, (end - V1).saturating_sub(3), 3)? == b"APE" && tag.starts_with(b"TAGEX");
            if tag.starts_with(b"TAG") && !is_mark {
                found.v1 = Some(tag);
                found.audio -= V1;
            }
        }
        // Read again, as an `ID3v1` tag may just have been removed.
        let footer = read(file, found.audio.saturating_sub(MARK as u64), MARK as u64)?;
        if footer.starts_with(b"APETAGEX") && footer.len() == MARK {
            let header = if footer[23] & 0x80 != 0 {
                MARK as u64
            } else {
                0
            };
            let size = u64::from(little(&footer[12..])) + header;
            let is_there = size <= found.audio.saturating_sub(audio) && size >= MARK as u64;
            if is_there && size <= left && found.ape.len() < id3::TAGS {
                left -= size;
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

/// The items of a tag and their end.
///
/// # Errors
/// A message if the tag is damaged.
pub(super) fn parse(tag: &[u8]) -> Result<(Vec<TagItem>, usize), String> {
    let found = follow(tag).filter(|(items, end)| items.len() as u32 == little(&tag[end + 16..]));
    found.ok_or_else(|| {
        format!(
            "its APE tag is damaged or has more than {MOST_TEXTS} items: mend it with a tag editor first"
        )
    })
}

/// The items up to an invalid one, at most [`MOST_TEXTS`], and where they should end.
fn follow(tag: &[u8]) -> Option<(Vec<TagItem>, usize)> {
    let end = tag.len().checked_sub(MARK)?;
    let mut at = if tag.starts_with(b"APETAGEX") && end >= MARK {
        MARK
    } else {
        0
    };
    let mut items = Vec::new();
    while at < end && items.len() < MOST_TEXTS {
        let size = little(&tag[at..]) as usize;
        let key = tag.get(at + 8..end).unwrap_or_default();
        let Some(length) = key.iter().position(|&byte| byte == 0) else {
            break;
        };
        let name = String::from_utf8_lossy(&key[..length]).into_owned();
        let next = at + 8 + length + 1 + size;
        if next > end {
            break;
        }
        items.push(TagItem {
            start: at,
            end: next,
            is_genre: name.eq_ignore_ascii_case("genre"),
            name: format!("{ITEM}{name}"),
        });
        at = next;
    }
    Some((items, end))
}

/// The texts of a tag by their names.
pub(super) fn texts(tag: &[u8]) -> Vec<(String, &[u8])> {
    let items = follow(tag).map_or(Vec::new(), |(items, _)| items);
    let named = items.iter().filter_map(|item| {
        // Bits 1 and 2 of the flags: text, binary data or an address.
        let is_binary = little(&tag[item.start + 4..]) & 0b110 == 0b010;
        let name = item.name.strip_prefix(ITEM).filter(|_| !is_binary)?;
        let mut parts = tag[item.start + 8..item.end].splitn(2, |&byte| byte == 0);
        Some((name.to_owned(), parts.nth(1)?))
    });
    named.collect()
}

/// The fields of an `ID3v1` tag, by their names in APE tags.
pub(super) fn v1_texts(tag: &[u8]) -> Vec<(String, Vec<u8>)> {
    let field = |range: Range<usize>| {
        let bytes = tag.get(range).unwrap_or_default();
        let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
        text.trim_ascii().to_vec()
    };
    // ID3v1.1: after a zero, the last byte of the comment is the track number.
    let number = match tag.get(125..127) {
        Some(&[0, number]) if number > 0 => number.to_string(),
        _ => String::new(),
    };
    let genre = tag.get(127).and_then(|&n| GENRES.get(usize::from(n)));
    let all = [
        ("Title", field(3..33)),
        ("Artist", field(33..63)),
        ("Album", field(63..93)),
        ("Year", field(93..97)),
        ("Track", number.into_bytes()),
        (
            "Genre",
            genre.map_or(Vec::new(), |name| name.as_bytes().to_vec()),
        ),
    ];
    all.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text))
        .collect()
}

/// The splices that write the genres into a tag and keep everything else.
///
/// # Errors
/// A message if the tag is damaged.
pub(super) fn edit(tag: &[u8], genres: &[String]) -> Result<Vec<Splice>, String> {
    let (items, end) = parse(tag)?;
    let value = genres.join("\0");
    let size = (value.len() as u32).to_le_bytes();
    let item = [&size[..], &[0; 4], b"Genre\0", value.as_bytes()].concat();
    let new = if genres.is_empty() { Vec::new() } else { item };
    let added = usize::from(!new.is_empty());
    let mut splices = replace(&items, end, new);
    if splices.is_empty() {
        return Ok(splices);
    }
    let removed = items.iter().filter(|item| item.is_genre).count();
    let size = i64::from(little(&tag[end + 12..])) + growth(&splices);
    let size = u32::try_from(size).map_err(|_| "its APE tag would be larger than any may be")?;
    // Size and number of items are adjacent, in the header as in the footer.
    let numbers = [size, (items.len() - removed + added) as u32]
        .map(u32::to_le_bytes)
        .concat();
    let has_header = tag.starts_with(b"APETAGEX") && end >= MARK;
    for mark in has_header.then_some(0).into_iter().chain([end]) {
        splices.push(Splice::new(mark + 12, 8, numbers.clone()));
    }
    Ok(splices)
}

/// The comment of an `ID3v1` tag, in the encoding of all its texts.
pub(super) fn v1_comment(tag: &[u8]) -> Option<String> {
    let comment = tag.get(97..127)?;
    // The last two bytes are a zero and the track number, if there is one.
    let comment = if comment[28] == 0 {
        &comment[..28]
    } else {
        comment
    };
    let comment = comment.split(|&byte| byte == 0).next()?;
    let texts = v1_texts(tag);
    let texts = texts.iter().map(|(_, text)| text.as_slice());
    let text = without_controls(&OldEncoding::detect(texts.chain([comment])).decode(comment));
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
