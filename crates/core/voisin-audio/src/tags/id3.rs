//! `ID3v2` tags in a file: their positions and frames.
//!
//! Chapters may be nested so deep that a recursive parser overflows its stack, which ends the
//! process, and compressed frames inflate to any size. So no other parser reads a file's own tag:
//! frames are read one by one, or those of pictures in a tag [`assembled`] of them, within
//! [`MOST`].
//!
//! For: finding, splitting and assembling tags. Not for: the meaning of their frames (`id3_texts`,
//! `cover`), or editing (`frames`).
//!
//! Follows the structure documents of ID3 2.2, 2.3 and 2.4 (id3.org).

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::texts::{chunks, little_size};
use super::values::MOST_TEXTS;
use crate::fill::{big, read_up_to};

/// Most bytes of all tags of a file together, raw and inflated.
pub(super) const MOST: usize = 64 << 20;
/// Most tags of one kind that are read; a file has one, or two if a program missed the first.
pub(super) const TAGS: usize = 64;
/// Bytes at the start of a file that are searched for a tag.
const JUNK: u64 = 1024;
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

pub(super) fn eight_bits(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |size, &byte| size << 8 | usize::from(byte))
}

/// The tags of a file at the standard places: its start, or a chunk of a WAV or AIFF file.
#[derive(Default)]
pub(super) struct Id3Tags {
    /// Each tag with its header, without the frames of the next.
    pub(super) tags: Vec<Vec<u8>>,
    /// Where each of them begins.
    pub(super) starts: Vec<u64>,
    /// Whether a tag was skipped, because it was too large or there were too many.
    pub(super) is_too_large: bool,
    /// Where the audio begins after the tags at the start of the file.
    pub(super) audio: u64,
    /// Positions of the chunks with tags.
    pub(super) chunks: Vec<u64>,
}

/// Finds and reads a file's tags, up to [`MOST`] bytes and [`TAGS`] tags; the rest is ignored.
pub(super) fn find(file: &mut File) -> io::Result<Id3Tags> {
    let length = file.metadata()?.len();
    let mut found = Id3Tags::default();
    let mut room = MOST;
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut head)?;
    match (&head[..4], &head[8..]) {
        (b"RIFF", b"WAVE") | (b"FORM", b"AIFF" | b"AIFC") if n == 12 => {
            let number = if head[0] == b'R' { little_size } else { big };
            for (name, at, size) in chunks(file, 12, 4, number)? {
                // Programs write the name either way.
                if matches!(&name, b"ID3 " | b"id3 ") {
                    found.chunks.push(at - 8);
                    read_tag(file, at, length.min(at + size), &mut room, &mut found)?;
                }
            }
        }
        _ => {
            let mut at = first_tag(file)?;
            // Tags may follow each other; all are read, and the audio begins after the last.
            while let Some(start) = at {
                let Some(end) = read_tag(file, start, length, &mut room, &mut found)? else {
                    break;
                };
                found.audio = end;
                at = Some(end);
            }
        }
    }
    Ok(found)
}

/// Position of the first tag: at the start, after zeros, or after a little junk.
fn first_tag(file: &mut File) -> io::Result<Option<u64>> {
    const OTHERS: [&[u8]; 5] = [b"fLaC", b"OggS", b"RIFF", b"FORM", b"\x1a\x45\xdf\xa3"];
    let mut start = vec![0; JUNK as usize];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut start)?;
    // Blocks and boxes of other formats may hold a tag of another file.
    if OTHERS.iter().any(|mark| start.starts_with(mark))
        || matches!(&start[4..8], b"ftyp" | b"moov")
    {
        return Ok(None);
    }
    let place = start[..n]
        .windows(HEADER)
        .position(|bytes| body_size(bytes).is_some());
    Ok(place.map(|place| place as u64))
}

/// Reads the tag at `start`, if there is one; returns its end.
pub(super) fn read_tag(
    file: &mut File,
    start: u64,
    length: u64,
    room: &mut usize,
    found: &mut Id3Tags,
) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(start))?;
    if read_up_to(file, &mut header)? < HEADER {
        return Ok(None);
    }
    let Some(body) = body_size(&header) else {
        return Ok(None);
    };
    let footer = if header[5] & 0x10 != 0 {
        HEADER as u64
    } else {
        0
    };
    let end = start + (HEADER + body) as u64 + footer;
    let there = length
        .saturating_sub(start + HEADER as u64)
        .min(body as u64) as usize;
    // Empty tags count, too: a file could hold millions of them.
    if HEADER + there <= *room && found.tags.len() < TAGS {
        *room -= HEADER + there;
        let mut tag = header.to_vec();
        file.take(there as u64).read_to_end(&mut tag)?;
        found.tags.push(tag);
        found.starts.push(start);
    } else {
        found.is_too_large = true;
    }
    // No audio follows a tag that reaches the end of the file.
    Ok((end < length).then_some(end))
}

/// The tag's version, and the content of the frames for whose name `wanted` returns a size limit (bytes), at most
/// [`MOST_TEXTS`].
#[expect(clippy::type_complexity, reason = "a name and a content, twice")]
pub(super) fn contents(
    tag: &[u8],
    room: &mut usize,
    wanted: impl Fn(&[u8]) -> Option<usize>,
) -> Option<(u8, Vec<(Vec<u8>, Vec<u8>)>)> {
    let body = body_size(tag)?;
    let version = tag[3];
    let flags = tag[5];
    let body = frames_of(version, flags, &tag[HEADER..tag.len().min(HEADER + body)]);
    let mut rest = &body[..];
    let mut frames = Vec::new();
    while let Some(frame) = Frame::split(version, &mut rest) {
        let id = &frame.header[..if version == 2 { 3 } else { 4 }];
        let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        // `wanted` need not check all letters, so invalid names are skipped here.
        let Some(longest) = wanted(id).filter(|_| id.iter().all(is_name)) else {
            continue;
        };
        if frames.len() == MOST_TEXTS {
            break;
        }
        let most = longest.min(*room);
        let content = frame.content(version, flags & 0x80 != 0, most);
        let content = content.filter(|content| content.len() <= most);
        let Some(content) = content.filter(|content| !content.is_empty()) else {
            continue;
        };
        // Of the inflated content: compressed frames could take any amount of memory.
        *room -= content.len();
        frames.push((id.to_vec(), content));
    }
    Some((version, frames))
}

/// A tag of these frames.
pub(super) fn assembled(version: u8, frames: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, content) in frames {
        body.extend(id);
        let size = content.len() as u32;
        match version {
            2 => body.extend(&size.to_be_bytes()[1..]),
            3 => body.extend(size.to_be_bytes()),
            _ => body.extend(in_seven_bits(size)),
        }
        if version > 2 {
            body.extend([0, 0]);
        }
        body.extend(content);
    }
    let mut tag = vec![b'I', b'D', b'3', version, 0, 0];
    tag.extend(in_seven_bits(body.len() as u32));
    tag.extend(body);
    tag
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
            3 => 4 + eight_bits(size),
            _ => seven_bits(size),
        });
        body.drain(..extended.min(body.len()));
    }
    body
}

pub(super) fn in_seven_bits(size: u32) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
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
    pub(super) body: &'a [u8],
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
    let eight = eight_bits(size);
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
            2 => eight_bits(&header[3..6]),
            3 => eight_bits(&header[4..8]),
            _ if is_in_eight_bits => eight_bits(&header[4..8]),
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

    fn flags(&self) -> u8 {
        self.header.get(9).copied().unwrap_or(0)
    }

    fn is_compressed(&self, version: u8) -> bool {
        match version {
            2 => false,
            3 => self.flags() & 0x80 != 0,
            _ => self.flags() & 0x08 != 0,
        }
    }

    /// The frame's content, its flags undone; `None` where it is encrypted, damaged or larger than `most`.
    pub(super) fn content(
        &self,
        version: u8,
        unsynchronised: bool,
        most: usize,
    ) -> Option<Vec<u8>> {
        let flags = self.flags();
        let (encrypted, grouped, length, unsynchronised) = match version {
            2 => (false, false, false, false),
            3 => (
                flags & 0x40 != 0,
                flags & 0x20 != 0,
                flags & 0x80 != 0,
                false,
            ),
            _ => (
                flags & 0x04 != 0,
                flags & 0x40 != 0,
                // The length may be given (0x01) without compression (0x08), which requires it.
                flags & 0x09 != 0,
                unsynchronised || flags & 0x02 != 0,
            ),
        };
        if encrypted {
            return None;
        }
        let mut body = self.body;
        // A byte for the group and four for the inflated length, in either order.
        for before in [grouped.then_some(1), length.then_some(4)]
            .into_iter()
            .flatten()
        {
            body = body.get(before..)?;
        }
        let body = if unsynchronised {
            resynchronised(body)
        } else {
            body.to_vec()
        };
        if !self.is_compressed(version) {
            return Some(body);
        }
        let mut inflated = Vec::new();
        // One byte more than allowed, to detect a longer text.
        let mut reader = flate2::read::ZlibDecoder::new(&body[..]).take(most as u64 + 1);
        reader.read_to_end(&mut inflated).ok()?;
        (inflated.len() <= most).then_some(inflated)
    }
}

/// A text with its encoding's number: UTF-8 in version 2.4, UTF-16 before.
pub(super) fn text(version: u8, text: &str) -> Vec<u8> {
    if version == 4 {
        return [&[3], text.as_bytes()].concat();
    }
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    std::iter::once(1)
        .chain(units.flat_map(u16::to_le_bytes))
        .collect()
}
