//! The texts of all kinds of tags but `ID3v2`, one at a time: an invalid or truncated one hides no other.
//!
//! For: names and values, whatever their encoding. Not for: what they mean (`read`).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use lofty::tag::{ItemKey, ItemValue, Tag, TagItem, TagType};
use voisin_base::encoding::OldEncoding;
use voisin_base::text::LONGEST_TEXT;

use super::values::{MOST_TEXTS, gain_of_itunes, is_original_date};
use super::{ape, comments, flac, id3, mp4, ogg};
use crate::fill::{big, read_up_to};
use crate::mkv;

/// Raw names and values of a file.
pub(super) type NamedTexts = Vec<(String, Vec<u8>)>;

/// The tags of a file besides its `ID3v2` tags.
#[derive(Default)]
pub(super) struct FileTexts {
    /// The richest first.
    pub(super) tags: Vec<Tag>,
    /// Whether the file is an Opus stream.
    pub(super) is_opus: bool,
    /// The gain of iTunes (dB).
    pub(super) itunes_gain: Option<f64>,
}

/// Reads all tags but `ID3v2`.
///
/// - `start`: start of the file after `ID3v2` tags
pub(super) fn read(file: &mut File, start: u64) -> io::Result<FileTexts> {
    let (all, is_opus) = raw(file, start)?;
    let tags = all.iter().map(|(kind, texts)| tag(*kind, texts));
    let tags = tags.collect();
    let gains = all.iter().flat_map(|(_, texts)| texts);
    let mut gains = gains.filter(|(name, _)| last_part(name).eq_ignore_ascii_case(ITUNES_GAIN));
    Ok(FileTexts {
        tags,
        is_opus,
        itunes_gain: gains.find_map(|(_, text)| gain_of_itunes(&String::from_utf8_lossy(text))),
    })
}

/// All texts, by kind.
fn raw(file: &mut File, start: u64) -> io::Result<(Vec<(TagType, NamedTexts)>, bool)> {
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(start))?;
    let n = read_up_to(file, &mut head)?;
    let one = |kind: TagType, texts: NamedTexts| Ok((vec![(kind, texts)], false));
    match &head[..n] {
        [b'f', b'L', b'a', b'C', ..] => one(TagType::VorbisComments, of_flac(file, start)),
        [b'O', b'g', b'g', b'S', ..] => {
            let (packet, is_opus) = ogg::comments_packet(file, start)?;
            let texts = of_ogg(&packet);
            Ok((vec![(TagType::VorbisComments, texts)], is_opus))
        }
        [b'R', b'I', b'F', b'F', ..] | [b'R', b'F', b'6', b'4', ..] => {
            one(TagType::RiffInfo, of_riff(file)?)
        }
        [b'F', b'O', b'R', b'M', ..] => one(TagType::AiffText, of_aiff(file)?),
        // Readers convert the names in CAF and Matroska to those of Vorbis comments.
        [b'c', b'a', b'f', b'f', ..] => one(TagType::VorbisComments, of_caf(file)?),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => {
            let length = file.metadata()?.len();
            one(TagType::VorbisComments, mkv::texts(file, length)?)
        }
        [_, _, _, _, b'f', b't', b'y', b'p', ..] | [_, _, _, _, b'm', b'o', b'o', b'v', ..] => {
            one(TagType::Mp4Ilst, mp4::texts(file))
        }
        _ => {
            let trailing = ape::find(file, start)?;
            let ape = trailing
                .ape
                .iter()
                .map(|(_, bytes)| owned(ape::texts(bytes)));
            let v1 = trailing.v1.as_ref().map(|v1| ape::v1_texts(v1));
            let all = ape.chain(v1).map(|texts| (TagType::Ape, texts));
            Ok((all.collect(), false))
        }
    }
}

/// A tag of these texts, each in UTF-8 or in the most likely encoding of all of them together.
fn tag(kind: TagType, texts: &[(String, Vec<u8>)]) -> Tag {
    let old = OldEncoding::detect(texts.iter().map(|(_, text)| text.as_slice()));
    let mut tag = Tag::new(kind);
    let mut others = Vec::new();
    for (name, text) in texts {
        let usual = key(name).or_else(|| ItemKey::from_key(kind, name));
        if let Some(key) = usual.or_else(|| other_key(name)) {
            if text.len() > LONGEST_TEXT {
                continue;
            }
            let item = TagItem::new(key, ItemValue::Text(old.decode(text)));
            if usual.is_some() {
                tag.push_unchecked(item);
            } else {
                others.push(item);
            }
        }
    }
    // After those with the usual names, the first of which counts.
    for item in others {
        tag.push_unchecked(item);
    }
    tag
}

/// The name of iTunes' gain.
pub(super) const ITUNES_GAIN: &str = "iTunNORM";

/// The name without the program's prefix: `----:com.apple.iTunes:NAME`.
fn last_part(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or_default()
}

/// The field that only some programs write under this name, which lofty does not map.
pub(super) fn other_key(name: &str) -> Option<ItemKey> {
    match last_part(name).to_ascii_lowercase().as_str() {
        "initialkey" | "initial_key" | "initial key" | "key" => Some(ItemKey::InitialKey),
        "bpm" | "tempo" => Some(ItemKey::IntegerBpm),
        _ => None,
    }
}

/// Fields that lofty maps wrongly: a text with track number and total counts as the total in some kinds of tags; a
/// recording's date has two names, in any case, and a prefix in movies.
pub(super) fn key(name: &str) -> Option<ItemKey> {
    if is_original_date(name.rsplit(':').next().unwrap_or_default()) {
        return Some(ItemKey::OriginalReleaseDate);
    }
    match name.to_ascii_lowercase().as_str() {
        "trkn" | "track" | "tracknumber" => Some(ItemKey::TrackNumber),
        "disk" | "disc" | "discnumber" => Some(ItemKey::DiscNumber),
        _ => None,
    }
}

fn owned(texts: Vec<(String, &[u8])>) -> NamedTexts {
    let owned = |(name, text): (String, &[u8])| (name, text.to_vec());
    texts.into_iter().map(owned).collect()
}

fn of_flac(file: &mut File, start: u64) -> NamedTexts {
    // If the blocks cannot be read to the last, those before are still valid.
    let blocks = flac::follow(file, start).map_or(Vec::new(), |(blocks, _)| blocks);
    let comments = blocks.iter().filter(|block| block.kind == flac::COMMENTS);
    let mut all: NamedTexts = Vec::new();
    let mut earlier = HashSet::new();
    let mut left = id3::MOST as u64;
    for block in comments {
        let Some(rest) = left.checked_sub(block.size) else {
            continue;
        };
        if all.len() >= MOST_TEXTS {
            break;
        }
        left = rest;
        let Ok(list) = block.read(file) else { continue };
        let mut texts = owned(comments::texts(&list));
        // Programs write the same comment into each of several lists.
        texts.retain(|text| !earlier.contains(text));
        earlier.extend(texts.iter().cloned());
        all.extend(texts);
    }
    all
}

fn of_ogg(packet: &[u8]) -> NamedTexts {
    let list = [ogg::mark(true), ogg::mark(false)]
        .iter()
        .find_map(|mark| packet.strip_prefix(*mark));
    // A FLAC block, after its header.
    let list = list.or_else(|| match packet {
        [kind, _, _, _, list @ ..] if kind & 0x7f == flac::COMMENTS => Some(list),
        _ => None,
    });
    owned(comments::texts(list.unwrap_or_default()))
}

fn of_riff(file: &mut File) -> io::Result<NamedTexts> {
    let mut texts = Vec::new();
    let mut left = id3::MOST as u64;
    for (name, at, size) in chunks(file, 12, 4, little_size)? {
        // Within the limits of all tags together.
        if name != *b"LIST" || size > left || texts.len() >= MOST_TEXTS {
            continue;
        }
        left -= size;
        texts.extend(info_texts(&bytes(file, at, size)?));
    }
    Ok(texts)
}

pub(super) fn little_size(bytes: &[u8]) -> u64 {
    ape::little(bytes).into()
}

/// The texts of a list up to an invalid one ("Multimedia Programming Interface and Data Specifications 1.0", IBM and
/// Microsoft, 1991).
fn info_texts(list: &[u8]) -> NamedTexts {
    let end_of = |at: usize| {
        let end = at + 8 + ape::little(list.get(at + 4..at + 8)?) as usize;
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
    while texts.len() < MOST_TEXTS
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

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    let text = bytes.split(|&byte| byte == 0).next();
    text.unwrap_or_default().to_vec()
}

fn of_aiff(file: &mut File) -> io::Result<NamedTexts> {
    const TEXTS: [&[u8; 4]; 4] = [b"NAME", b"AUTH", b"(c) ", b"ANNO"];
    let chunks = chunks(file, 12, 4, big)?;
    let mut texts = Vec::new();
    for (name, at, size) in chunks {
        if TEXTS.contains(&&name) {
            // One byte more than is used, to detect a text that is too long.
            let text = bytes(file, at, size.min(LONGEST_TEXT as u64 + 1))?;
            texts.push((
                String::from_utf8_lossy(&name).into_owned(),
                until_nul(&text),
            ));
        }
    }
    Ok(texts)
}

/// NUL-terminated names and values (Apple's Core Audio Format, "Information Chunk").
fn of_caf(file: &mut File) -> io::Result<NamedTexts> {
    let mut texts = Vec::new();
    for (name, at, size) in chunks(file, 8, 8, big)? {
        if &name != b"info" {
            continue;
        }
        let info = bytes(file, at, size)?;
        // After the number of pairs, which is not needed, as they end with the chunk.
        let mut words = info.get(4..).unwrap_or_default().split(|&byte| byte == 0);
        while texts.len() < MOST_TEXTS
            && let (Some(name), Some(value)) = (words.next(), words.next())
        {
            let name = String::from_utf8_lossy(name).to_lowercase();
            let name = match name.as_str() {
                "recorded date" | "date" | "year" => "DATE",
                "album artist" | "album_artist" => "ALBUMARTIST",
                "track number" | "track" => "TRACKNUMBER",
                "disc" | "disc number" => "DISCNUMBER",
                "key signature" => "INITIALKEY",
                "tempo" => "BPM",
                name => name,
            };
            texts.push((name.to_owned(), value.to_vec()));
        }
    }
    Ok(texts)
}

/// Names of a file's chunks, with start and length of their content.
///
/// - `start`: position of the first one
/// - `width`: bytes of a size; chunks with sizes of four bytes begin at even positions
/// - `number`: reads a size
pub(super) fn chunks(
    file: &mut File,
    start: u64,
    width: usize,
    number: fn(&[u8]) -> u64,
) -> io::Result<Vec<([u8; 4], u64, u64)>> {
    const MOST: usize = 1024;
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    let mut at = start;
    while at < length && found.len() < MOST {
        let head = bytes(file, at, 4 + width as u64)?;
        let Some((name, size)) = head.split_first_chunk() else {
            break;
        };
        let size = number(size);
        let body = at + head.len() as u64;
        found.push((*name, body, size));
        let padding = if width == 4 { size & 1 } else { 0 };
        // A CAF size of -1, up to the end of the file, is read as the largest number and ends the
        // loop.
        at = body.saturating_add(size).saturating_add(padding);
    }
    Ok(found)
}

fn bytes(file: &mut File, at: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(size.min(id3::MOST as u64))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
