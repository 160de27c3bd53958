//! `ID3v2` tags in a file: their places, frames and texts.
//!
//! Chapters may be nested so deep that a recursive parser overflows its stack, which ends the process. So no other parser
//! reads a file's own tag: frames are read one by one, within [`MAX_TAG_BYTES`], and compressed ones are left out.
//!
//! For: finding and splitting tags, and texts in any encoding under names of any version. Not for: the meaning of texts
//! (`read`), pictures (`cover`), or editing (`frames`).
//!
//! Follows the structure documents of ID3 2.2, 2.3 and 2.4 (id3.org).

use std::fs::File;
use std::io;

use lofty::id3::v2::{upgrade_v2, upgrade_v3};
use voisin_base::encoding::{UTF_16BE, UTF_16LE, utf16};
use voisin_base::text::LONGEST_TEXT;

use super::mp4;
use super::texts::NamedTexts;
use crate::bytes::{MAX_ITEMS, MAX_TAG_BYTES, big, bytes_at};
use crate::iff::Iff;

/// Bytes of a tag's header, of its footer, and of a frame's header (6 in `ID3v2.2`).
pub(super) const HEADER: usize = 10;

/// The size of a tag's body (bytes), if these ten bytes are a header.
pub(super) fn body_size(header: &[u8]) -> Option<usize> {
    let [b'I', b'D', b'3', 2..=4, _, _, size @ ..] = header.get(..HEADER)? else {
        return None;
    };
    // Seven bits a byte.
    size.iter()
        .all(|byte| byte & 0x80 == 0)
        .then(|| seven_bits(size))
}

pub(super) fn seven_bits(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f))
}

pub(super) fn in_seven_bits(size: u32) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

/// The tags of a file at the standard places: its start, or a chunk of a WAV or AIFF file.
#[derive(Default)]
pub(super) struct Id3Tags {
    /// Where each of them begins, and its bytes with the header.
    pub(super) tags: Vec<(u64, Vec<u8>)>,
    /// Whether a tag was skipped, because there are too many bytes of them.
    pub(super) is_too_large: bool,
    /// Where the audio begins after the tags at the start of the file.
    pub(super) audio: u64,
}

/// Finds and reads a file's tags, up to [`MAX_TAG_BYTES`] and [`MAX_ITEMS`] tags; the rest is ignored.
pub(super) fn find(file: &mut File) -> io::Result<Id3Tags> {
    let mut found = Id3Tags::default();
    let head = bytes_at(file, 0, 12)?;
    let places: Vec<(u64, u64)> = if let Some(kind) = Iff::of(&head) {
        let mut chunks = kind.chunks(file)?;
        // Programs write the name either way.
        chunks.retain(|chunk| matches!(&chunk.name, b"ID3 " | b"id3 "));
        let places = chunks.iter();
        places.map(|chunk| (chunk.body(), chunk.size)).collect()
    } else {
        let (starts, audio) = leading(file)?;
        found.audio = audio;
        let starts = starts.into_iter();
        starts.map(|start| (start, u64::MAX)).collect()
    };
    let mut room = MAX_TAG_BYTES as u64;
    for (start, most) in places {
        let header = bytes_at(file, start, most.min(HEADER as u64))?;
        let Some(body) = body_size(&header) else {
            continue;
        };
        let size = (HEADER + body) as u64;
        match room.checked_sub(size) {
            Some(rest) if found.tags.len() < MAX_ITEMS => {
                room = rest;
                found
                    .tags
                    .push((start, bytes_at(file, start, size.min(most))?));
            }
            _ => found.is_too_large = true,
        }
    }
    Ok(found)
}

/// Where the tags before a file's audio begin, and where the audio does.
pub(crate) fn leading(file: &mut File) -> io::Result<(Vec<u64>, u64)> {
    let length = file.metadata()?.len();
    let mut starts = Vec::new();
    let mut audio = 0;
    while starts.len() < MAX_ITEMS
        && let Some((start, end)) = next_tag(file, audio)?
    {
        starts.push(start);
        // A tag as long as the file or longer counts as audio, too: nothing else would be left.
        if end >= length {
            break;
        }
        audio = end;
    }
    Ok((starts, audio))
}

/// The start and the end of the next tag at or soon after a position, unless audio begins there: programs leave line ends,
/// marks that look like a frame, a frame, and padding that no tag counts before a tag.
fn next_tag(file: &mut File, at: u64) -> io::Result<Option<(u64, u64)>> {
    const JUNK: u64 = 8 << 10;
    // A stray frame, at most 1728 bytes (layer II at 32 kHz), and a header.
    const FRAME: u64 = 1738;
    const OTHERS: [&[u8]; 4] = [b"fLaC", b"OggS", b"caff", b"\x1a\x45\xdf\xa3"];
    let header = bytes_at(file, at, 12)?;
    let is_frame = matches!(header[..], [0xff, 0xe0..=0xff, ..]);
    // Blocks and boxes of other formats may hold a tag of another file.
    let is_other = OTHERS.iter().any(|mark| header.starts_with(mark));
    if is_other || Iff::of(&header).is_some() || mp4::is_movie(&header) {
        return Ok(None);
    }
    let bytes = if body_size(&header).is_some() {
        header
    } else {
        bytes_at(file, at, if is_frame { FRAME } else { JUNK })?
    };
    let mut places = bytes.windows(HEADER).enumerate();
    let found = places.find_map(|(place, bytes)| Some((place, bytes, body_size(bytes)?)));
    Ok(found.map(|(place, header, body)| {
        let footer = if header[5] & 0x10 != 0 { HEADER } else { 0 };
        let start = at + place as u64;
        (start, start + (HEADER + body + footer) as u64)
    }))
}

/// The tag's version, and the names and contents of the frames for whose name `wanted` returns a size limit (bytes).
pub(super) fn contents(
    tag: &[u8],
    wanted: impl Fn(&[u8]) -> Option<usize>,
) -> Option<(u8, NamedTexts)> {
    let body = body_size(tag)?;
    let version = tag[3];
    let flags = tag[5];
    let body = frames_of(version, flags, &tag[HEADER..tag.len().min(HEADER + body)]);
    let mut rest = &body[..];
    let mut frames = Vec::new();
    while frames.len() < MAX_ITEMS
        && let Some(frame) = Frame::split(version, &mut rest)
    {
        let id = &frame.header[..if version == 2 { 3 } else { 4 }];
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        // `wanted` need not check all letters, so invalid names are skipped here.
        let most = wanted(id).filter(|_| id.iter().all(is_name));
        if most.is_some_and(|most| frame.body.len() <= most)
            && let Some(content) = frame.content(version, flags & 0x80 != 0)
            && !content.is_empty()
        {
            frames.push((String::from_utf8_lossy(id).into_owned(), content));
        }
    }
    Some((version, frames))
}

/// The frames of a tag's body, without an extended header; before version 2.4 unsynchronisation is undone (in 2.4
/// each frame has its own flag).
fn frames_of(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut body = if flags & 0x80 != 0 && version < 4 {
        resynchronised(body)
    } else {
        body.to_vec()
    };
    if flags & 0x40 != 0 && version > 2 {
        let extended = body.get(..4).map_or(0, |size| match version {
            // In 2.3 the size excludes its own four bytes, in 2.4 it includes them.
            3 => 4 + big(size) as usize,
            _ => seven_bits(size),
        });
        body.drain(..extended.min(body.len()));
    }
    body
}

/// Removes the zero after each byte 0xff.
pub(super) fn resynchronised(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut after = false;
    for &byte in bytes {
        if !(after && byte == 0) {
            plain.push(byte);
        }
        after = byte == 0xff;
    }
    plain
}

pub(super) struct Frame<'a> {
    pub(super) header: &'a [u8],
    body: &'a [u8],
    /// Whether the tag ends before the frame.
    pub(super) is_cut: bool,
    /// Whether its size has eight bits a byte, although its version has seven.
    pub(super) is_in_eight_bits: bool,
}

/// Whether the first frame of `rest` has a size as old versions of iTunes wrote it: another frame, padding or the end
/// only follows if the size has eight bits a byte.
fn is_in_eight_bits(rest: &[u8]) -> bool {
    let follows = |size: usize| {
        let behind = rest.get(HEADER + size..);
        behind.is_some_and(|behind| match behind.get(..4) {
            Some(id) if id[0] != 0 => id
                .iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
            _ => behind.iter().all(|&byte| byte == 0),
        })
    };
    let size = &rest[4..8];
    let seven = seven_bits(size);
    let eight = big(size) as usize;
    seven != eight
        && follows(eight)
        && (size.iter().any(|byte| byte & 0x80 != 0) || !follows(seven))
}

impl<'a> Frame<'a> {
    /// The next frame; `None` at the padding, or if the rest is no frame.
    pub(super) fn split(version: u8, rest: &mut &'a [u8]) -> Option<Self> {
        let length = if version == 2 { 6 } else { HEADER };
        let header = rest.get(..length)?;
        if header[0] == 0 {
            return None;
        }
        let is_in_eight_bits = version > 3 && is_in_eight_bits(rest);
        let size = match version {
            2 => big(&header[3..6]) as usize,
            3 => big(&header[4..8]) as usize,
            _ if is_in_eight_bits => big(&header[4..8]) as usize,
            _ => seven_bits(&header[4..8]),
        };
        let stated = length.saturating_add(size);
        let end = stated.min(rest.len());
        let body = &rest[length..end];
        *rest = &rest[end..];
        Some(Self {
            header,
            body,
            is_cut: end < stated,
            is_in_eight_bits,
        })
    }

    /// The frame's content, its flags undone; `None` where it is encrypted, compressed or damaged.
    fn content(&self, version: u8, unsynchronised: bool) -> Option<Vec<u8>> {
        let flags = self.header.get(9).copied().unwrap_or(0);
        let (hidden, grouped, length, unsynchronised) = match version {
            2 => (false, false, false, false),
            3 => (flags & 0xc0 != 0, flags & 0x20 != 0, false, false),
            _ => (
                flags & 0x0c != 0,
                flags & 0x40 != 0,
                flags & 0x01 != 0,
                unsynchronised || flags & 0x02 != 0,
            ),
        };
        // A byte for the group and four for the length, in either order.
        let before = usize::from(grouped) + if length { 4 } else { 0 };
        let body = self.body.get(before..).filter(|_| !hidden)?;
        Some(if unsynchronised {
            resynchronised(body)
        } else {
            body.to_vec()
        })
    }
}

/// The texts of a tag that voisin reads, by their frames' names in version 2.4 or their own; as bytes whose encoding is
/// not certain, or UTF-8.
pub(super) fn texts(tag: &[u8]) -> NamedTexts {
    let is_read = |id: &[u8]| id[0] == b'T' || matches!(id, b"WCOP" | b"WCP" | b"UFID" | b"UFI");
    let wanted = |id: &[u8]| is_read(id).then_some(LONGEST_TEXT);
    let frames = contents(tag, wanted).map_or(Vec::new(), |(_, frames)| frames);
    let texts = frames
        .iter()
        .filter_map(|(id, content)| text_of(id, content));
    texts.collect()
}

/// A frame's name and text; `None` if it is invalid.
fn text_of(id: &str, content: &[u8]) -> Option<(String, Vec<u8>)> {
    // Frames of 2.3 are found in tags of 2.4, too.
    let id = if id.len() == 3 {
        upgrade_v2(id)?
    } else {
        upgrade_v3(id).unwrap_or(id)
    };
    match id {
        "WCOP" => {
            let text = content.split(|&byte| byte == 0).next()?;
            return text.is_ascii().then(|| (id.to_owned(), text.to_vec()));
        }
        "UFID" => {
            let text = content.strip_prefix(b"http://musicbrainz.org\0")?;
            return Some((id.to_owned(), text.to_vec()));
        }
        _ => {}
    }
    let (&encoding, text) = content.split_first()?;
    let is_wide = matches!(encoding, 1 | 2);
    let decode = |bytes: &[u8]| match encoding {
        1 => utf16(bytes, UTF_16LE).into_bytes(),
        2 => utf16(bytes, UTF_16BE).into_bytes(),
        // 0 is Latin-1 and 3 is UTF-8 by the standard, but programs write other encodings under both.
        _ => bytes.to_vec(),
    };
    if encoding > 3 {
        return None;
    }
    if id == "TXXX" {
        let (name, value) = split_at_nul(text, is_wide)?;
        let name = String::from_utf8_lossy(&decode(name)).into_owned();
        return Some((name, decode(value)));
    }
    Some((id.to_owned(), decode(text)))
}

/// The text before and after the first NUL, which has two bytes in UTF-16.
pub(super) fn split_at_nul(text: &[u8], is_wide: bool) -> Option<(&[u8], &[u8])> {
    let width = if is_wide { 2 } else { 1 };
    let mut units = text.chunks_exact(width);
    let at = units.position(|unit| unit.iter().all(|&byte| byte == 0))? * width;
    Some((&text[..at], &text[at + width..]))
}
