//! The texts of all tags of a file by their fields, one at a time: an invalid or truncated one hides no other.
//!
//! For: names and values, whatever their encoding. Not for: what they mean (`read`).

use std::collections::HashSet;
use std::fs::File;
use std::io;

use lofty::id3::v1::GENRES;
use lofty::tag::{ItemKey, ItemValue, Tag, TagItem, TagType};
use voisin_base::encoding::OldEncoding;
use voisin_base::text::LONGEST_TEXT;

use super::values::is_original_date;
use super::{comments, flac, id3, mp4, ogg, trailing};
use crate::bytes::{MAX_ITEMS, MAX_TAG_BYTES, big, bytes_at, little};
use crate::iff::{Chunk, Iff};
use crate::mkv;

pub(super) type NamedTexts = Vec<(String, Vec<u8>)>;

/// Reads all tags, the richest first: the format's own, `ID3v2`, all others; and whether the file is an Opus stream.
pub(super) fn read(file: &mut File) -> io::Result<(Vec<Tag>, bool)> {
    let found = id3::find(file)?;
    let id3 = found.tags.iter().map(|(_, tag)| id3::texts(tag));
    let id3 = id3.map(|texts| (TagType::Id3v2, texts));
    let start = found.audio;
    let length = file.metadata()?.len();
    let head = bytes_at(file, start, 12)?;
    let mut is_opus = false;
    let own = match &head[..] {
        [b'f', b'L', b'a', b'C', ..] => of_flac(file, start, length)?,
        [b'O', b'g', b'g', b'S', ..] => {
            let packet;
            (packet, is_opus) = ogg::comments_packet(file, start)?;
            of_ogg(&packet)
        }
        // Readers convert the names in CAF and Matroska to those of Vorbis comments.
        [b'c', b'a', b'f', b'f', ..] => of_caf(file, length)?,
        [0x1a, 0x45, 0xdf, 0xa3, ..] => mkv::texts(file, length)?,
        _ => Vec::new(),
    };
    let mut all = vec![(TagType::VorbisComments, own)];
    if let Some(kind) = Iff::of(&head) {
        all.extend(id3);
        all.push(of_chunks(file, kind)?);
    } else if mp4::is_movie(&head) {
        all.push((TagType::Mp4Ilst, mp4::texts(file)?));
        all.extend(id3);
    } else {
        all.extend(id3);
        let found = trailing::find(file, start)?;
        let ape = found.ape.iter().map(|tag| trailing::texts(tag));
        let old = found.v1.as_ref().map(|tag| trailing::v1_texts(tag));
        all.extend(ape.chain(old).map(|texts| (TagType::Ape, texts)));
    }
    let bytes = all.iter().flat_map(|(_, texts)| texts);
    let old = OldEncoding::detect(bytes.map(|(_, text)| text.as_slice()));
    let tags = all.iter().map(|(kind, texts)| tag(*kind, texts, old));
    Ok((tags.collect(), is_opus))
}

/// A tag of these texts, each in UTF-8 or in the most likely encoding of all texts of the file together, as one title is too
/// short to detect it.
fn tag(kind: TagType, texts: &NamedTexts, old: OldEncoding) -> Tag {
    let mut tag = Tag::new(kind);
    for (name, text) in texts.iter().filter(|(_, text)| text.len() <= LONGEST_TEXT) {
        let Some(key) = item_key(kind, name) else {
            continue;
        };
        let mut text = old.decode(text);
        if (kind, key) == (TagType::Id3v2, ItemKey::Genre) {
            text = genres(&text);
        }
        tag.push_unchecked(TagItem::new(key, ItemValue::Text(text)));
    }
    tag
}

/// The field of a name: as lofty maps it, but where it has none or, for a text with track number and total, another one.
fn item_key(kind: TagType, name: &str) -> Option<ItemKey> {
    // Without the program's prefix: `----:com.apple.iTunes:NAME`.
    let last = name.rsplit(':').next().unwrap_or_default();
    if is_original_date(last) {
        return Some(ItemKey::OriginalReleaseDate);
    }
    match last.to_ascii_lowercase().as_str() {
        "trkn" | "trck" | "track" | "tracknumber" => Some(ItemKey::TrackNumber),
        "disk" | "tpos" | "disc" | "discnumber" => Some(ItemKey::DiscNumber),
        "initialkey" | "initial_key" | "initial key" | "key" => Some(ItemKey::InitialKey),
        "tempo" | "tbpm" | "tmpo" => Some(ItemKey::IntegerBpm),
        "bpm" => Some(ItemKey::Bpm),
        "ufid" => Some(ItemKey::MusicBrainzRecordingId),
        "wcop" => Some(ItemKey::CopyrightUrl),
        _ => ItemKey::from_key(kind, name),
    }
}

/// Genres with names in place of `ID3v1`'s numbers: `17`, and `(17)` before other text.
fn genres(text: &str) -> String {
    let named = |number: &str| match number {
        "RX" => Some("Remix"),
        "CR" => Some("Cover"),
        number => GENRES.get(number.parse::<usize>().ok()?).copied(),
    };
    let mut found: Vec<&str> = Vec::new();
    for mut rest in text.split('\0').map(|text| text.trim_matches('\u{feff}')) {
        while let Some((number, behind)) =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')'))
            && let Some(name) = named(number)
        {
            found.push(name);
            rest = behind;
        }
        // Two brackets are one in a text.
        rest = rest
            .strip_prefix('(')
            .filter(|rest| rest.starts_with('('))
            .unwrap_or(rest);
        found.push(named(rest).unwrap_or(rest));
    }
    found.join("\0")
}

/// The texts of all blocks of comments; if the blocks cannot be read to the last, those before are still valid.
fn of_flac(file: &mut File, start: u64, length: u64) -> io::Result<NamedTexts> {
    let (blocks, _) = flac::follow(file, start, length)?;
    let mut all = Vec::new();
    let mut earlier = HashSet::new();
    let mut left = MAX_TAG_BYTES as u64;
    for block in blocks.iter().filter(|block| block.kind == flac::COMMENTS) {
        let Some(rest) = left
            .checked_sub(block.size)
            .filter(|_| all.len() < MAX_ITEMS)
        else {
            continue;
        };
        left = rest;
        let mut texts = comments::texts(&block.read(file)?);
        // Programs write the same comment into each of several lists.
        texts.retain(|text| !earlier.contains(text));
        earlier.extend(texts.iter().cloned());
        all.extend(texts);
    }
    Ok(all)
}

pub(super) fn of_ogg(packet: &[u8]) -> NamedTexts {
    let list = [ogg::mark(true), ogg::mark(false)]
        .iter()
        .find_map(|mark| packet.strip_prefix(*mark));
    // A FLAC block, after its header.
    let list = list.or_else(|| match packet {
        [kind, _, _, _, list @ ..] if kind & 0x7f == flac::COMMENTS => Some(list),
        _ => None,
    });
    comments::texts(list.unwrap_or_default())
}

/// The texts of a WAV or AIFF file.
fn of_chunks(file: &mut File, kind: Iff) -> io::Result<(TagType, NamedTexts)> {
    let chunks = kind.chunks(file)?;
    let mut texts = Vec::new();
    let mut left = MAX_TAG_BYTES as u64;
    let mut content = |chunk: &Chunk| {
        let size = chunk.size.min(left);
        left -= size;
        bytes_at(file, chunk.body(), size)
    };
    if kind == Iff::Aiff {
        for chunk in &chunks {
            if let b"NAME" | b"AUTH" | b"(c) " | b"ANNO" = &chunk.name {
                let name = String::from_utf8_lossy(&chunk.name).into_owned();
                texts.push((name, until_nul(&content(chunk)?)));
            }
        }
        return Ok((TagType::AiffText, texts));
    }
    for chunk in chunks.iter().filter(|chunk| chunk.name == *b"LIST") {
        texts.extend(info_texts(&content(chunk)?));
    }
    Ok((TagType::RiffInfo, texts))
}

/// The texts of a list up to an invalid one ("Multimedia Programming Interface and Data Specifications 1.0", IBM and
/// Microsoft, 1991).
fn info_texts(list: &[u8]) -> NamedTexts {
    let end_of = |at: usize| {
        let end = at + 8 + little(list.get(at + 4..at + 8)?) as usize;
        (end <= list.len()).then_some(end)
    };
    let is_text =
        |at: usize| end_of(at).is_some() && list[at..at + 4].iter().all(u8::is_ascii_alphanumeric);
    let mut texts = Vec::new();
    let mut at = if list.starts_with(b"INFO") {
        4
    } else {
        list.len()
    };
    while texts.len() < MAX_ITEMS
        && let Some(end) = end_of(at)
    {
        let name = String::from_utf8_lossy(&list[at..at + 4]).into_owned();
        texts.push((name, until_nul(&list[at + 8..end])));
        // Some programs write no pad byte, so that the next text follows at once.
        let padded = end + (end - at) % 2;
        at = if is_text(end) && !is_text(padded) {
            end
        } else {
            padded
        };
    }
    texts
}

pub(super) fn until_nul(bytes: &[u8]) -> Vec<u8> {
    let text = bytes.split(|&byte| byte == 0).next();
    text.unwrap_or_default().to_vec()
}

/// NUL-terminated names and values (Apple's Core Audio Format, "Information Chunk").
fn of_caf(file: &mut File, length: u64) -> io::Result<NamedTexts> {
    const HEADER: u64 = 12;
    let mut at = 8;
    for _ in 0..MAX_ITEMS {
        let head = bytes_at(file, at, HEADER)?;
        let size = head.get(4..12).map_or(u64::MAX, big);
        let body = at + HEADER;
        if head.starts_with(b"info") {
            let info = bytes_at(file, body, size.min(MAX_TAG_BYTES as u64))?;
            return Ok(info_pairs(&info));
        }
        // A size of -1, up to the end of the file, is read as the largest number.
        at = body.saturating_add(size);
        if at >= length {
            break;
        }
    }
    Ok(Vec::new())
}

fn info_pairs(info: &[u8]) -> NamedTexts {
    // After the number of pairs, which is not needed, as they end with the chunk.
    let mut words = info.get(4..).unwrap_or_default().split(|&byte| byte == 0);
    let pairs = std::iter::from_fn(|| Some((words.next()?, words.next()?)));
    let named = pairs.take(MAX_ITEMS).map(|(name, value)| {
        let name = String::from_utf8_lossy(name).to_lowercase();
        let name = match name.as_str() {
            "recorded date" | "date" | "year" => "DATE",
            "album artist" | "album_artist" => "ALBUMARTIST",
            "track number" => "TRACKNUMBER",
            "disc number" => "DISCNUMBER",
            "key signature" => "INITIALKEY",
            name => name,
        };
        (name.to_owned(), value.to_vec())
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_genres_have_names() {
        for (text, read) in [
            ("(17)Indie", "Rock\0Indie"),
            ("17\0(8)(9)", "Rock\0Jazz\0Metal\0"),
            ("(RX)", "Remix\0"),
            ("((Live) (17)", "(Live) (17)"),
            ("(no number)", "(no number)"),
        ] {
            assert_eq!(genres(text), read);
        }
    }
}
