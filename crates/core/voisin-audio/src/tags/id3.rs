//! `ID3v2` tags before any parser sees them.
//!
//! Chapters hold frames that hold chapters, as deep as a file likes, and a parser that follows them runs out of stack,
//! which ends the process. Compressed frames inflate to any size. So the tag reader is never shown a tag as it lies
//! in the file: [`Masked`] hides the tags, and [`plain`] makes a new one of the frames that voisin reads, which hold
//! no others, are not compressed, and stay within [`MOST`].
//!
//! Follows the structure documents of ID3 2.2, 2.3 and 2.4 (id3.org).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::values::{MOST_TEXTS, REPLACEMENT, year};
use crate::fill::read_up_to;
use voisin_base::encoding::{self, OldEncoding, Utf16};
use voisin_base::text::LONGEST_TEXT;

/// All tags of a file together, as they lie in it and as they are read (bytes).
pub(super) const MOST: usize = 64 << 20;
/// Tags of one kind that are read of a file, which has one, or two where a program did not find the first.
pub(super) const TAGS: usize = 64;
/// One picture as it is read (bytes).
const MOST_OF_A_PICTURE: usize = 12 << 20;
/// Chunks of a WAV or AIFF file that are looked at.
const CHUNKS: usize = 1024;
/// Bytes at the start of a file in which a tag is looked for.
const JUNK: u64 = 1024;
/// Bytes of a tag's header, of its footer, and of a frame's header (6 in `ID3v2.2`).
pub(super) const HEADER: usize = 10;

/// The size that a tag's header gives its body (bytes), if these ten bytes are one.
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

/// The tags of a file, where readers look for them: at its start, or in a chunk of a WAV or AIFF file.
pub(super) struct Id3Tags {
    /// Each tag with its header, without the frames of the next.
    pub(super) tags: Vec<Vec<u8>>,
    /// Where each of them begins.
    pub(super) starts: Vec<u64>,
    /// There is a tag that was too large to be read, or one behind too many others.
    pub(super) is_too_large: bool,
    /// Where the audio begins after the tags at the start of the file.
    pub(super) audio: u64,
    /// Where the chunks begin that hold tags.
    pub(super) chunks: Vec<u64>,
}

impl Id3Tags {
    fn none() -> Self {
        Self {
            tags: Vec::new(),
            starts: Vec::new(),
            is_too_large: false,
            audio: 0,
            chunks: Vec::new(),
        }
    }
}

/// Finds a file's tags and reads them, up to [`MOST`] bytes and [`TAGS`] tags; what is beyond counts as no tag.
pub(super) fn find(file: &mut File) -> io::Result<Id3Tags> {
    let length = file.metadata()?.len();
    let mut found = Id3Tags::none();
    let mut room = MOST;
    let mut head = [0; 12];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut head)?;
    match (&head[..4], &head[8..]) {
        (b"RIFF", b"WAVE") if n == 12 => in_chunks(file, length, false, &mut room, &mut found)?,
        (b"FORM", b"AIFF" | b"AIFC") if n == 12 => {
            in_chunks(file, length, true, &mut room, &mut found)?;
        }
        _ => {
            let mut at = first_tag(file)?;
            // Tags may follow each other; all are read, and the audio begins behind the last.
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

/// Where the first tag begins: at once, after zeros, or after a little junk.
fn first_tag(file: &mut File) -> io::Result<Option<u64>> {
    let mut start = vec![0; JUNK as usize];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut start)?;
    let place = start[..n]
        .windows(HEADER)
        .position(|bytes| body_size(bytes).is_some());
    Ok(place.map(|place| place as u64))
}

/// Reads the tag at `start`, if there is one; returns where it ends.
fn read_tag(
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
    // Empty tags take room, too: a file could hold millions of them.
    if HEADER + there <= *room && found.tags.len() < TAGS {
        *room -= HEADER + there;
        let mut tag = header.to_vec();
        file.take(there as u64).read_to_end(&mut tag)?;
        found.tags.push(tag);
        found.starts.push(start);
    } else {
        found.is_too_large = true;
    }
    // A tag that reaches the end of the file has no audio behind it to go on with.
    Ok((end < length).then_some(end))
}

/// The tags in the chunks of a WAV (`big` false) or AIFF file.
fn in_chunks(
    file: &mut File,
    length: u64,
    big: bool,
    room: &mut usize,
    found: &mut Id3Tags,
) -> io::Result<()> {
    let mut position = 12;
    for _ in 0..CHUNKS {
        let mut chunk = [0; 8];
        file.seek(SeekFrom::Start(position))?;
        if read_up_to(file, &mut chunk)? < 8 {
            break;
        }
        let size = [chunk[4], chunk[5], chunk[6], chunk[7]];
        let size = u64::from(if big {
            u32::from_be_bytes(size)
        } else {
            u32::from_le_bytes(size)
        });
        // Programs write the name either way.
        if matches!(&chunk[..4], b"ID3 " | b"id3 ") {
            found.chunks.push(position);
            read_tag(
                file,
                position + 8,
                length.min(position + 8 + size),
                room,
                found,
            )?;
        }
        position += 8 + size + (size & 1);
    }
    Ok(())
}

/// A tag of the frames of `tag` that voisin reads (text, links, file identifiers), each as the standard has it: whole
/// texts in an encoding of the tag's version, frames of one name together, years as numbers, nothing that is compressed
/// or holds other frames. What cannot be made so is left out alone. What is compressed is inflated, as far as `room`
/// (bytes, of all tags) and [`LONGEST_TEXT`] allow.
///
/// - `unread`: how many frames were left out, or have characters that make no sense, counted on
pub(super) fn plain(tag: &[u8], room: &mut usize, unread: &mut u32) -> Vec<u8> {
    // Lists of pairs, of which one that is odd spoils the tag, and the address of a podcast, which programs write as one
    // of two kinds of frame: voisin reads none of them.
    const LEFT_OUT: [&[u8]; 6] = [b"TIPL", b"TMCL", b"WFED", b"WFD", b"WXXX", b"WXX"];
    let is_read = |id: &[u8]| matches!(id[0], b'T' | b'W' | b'U') && !LEFT_OUT.contains(&id);
    let wanted = |id: &[u8]| is_read(id).then_some(LONGEST_TEXT);
    let Some((version, frames)) = contents(tag, room, unread, wanted) else {
        return Vec::new();
    };
    let unmarked = frames.iter().filter(|(id, _)| id[0] == b'T');
    let unmarked = unmarked.filter_map(|(_, content)| match content.split_first()? {
        (0 | 3, text) => Some(text.split(|&byte| byte == 0)),
        _ => None,
    });
    // From all texts together, as one title is too short to tell an encoding by.
    let old = OldEncoding::detect(unmarked.flatten());
    let mut texts: Vec<PlainText> = Vec::new();
    // By name, as a search for each among all before it takes minutes in a tag of many.
    let mut places = HashMap::new();
    let mut others = Vec::new();
    for (id, content) in &frames {
        match id[0] {
            b'T' => {
                let text = PlainText::read(version, id, content, old);
                *unread += u32::from(text.as_ref().is_none_or(PlainText::is_damaged));
                let Some(text) = text.filter(PlainText::is_wanted) else {
                    continue;
                };
                match places.entry(text.name()) {
                    // A date has no list of values.
                    Entry::Occupied(_) if YEARS.contains(&text.id.as_slice()) => {}
                    Entry::Occupied(place) => {
                        let first: &mut PlainText = &mut texts[*place.get()];
                        first.values.extend(text.values);
                    }
                    Entry::Vacant(place) => {
                        place.insert(texts.len());
                        texts.push(text);
                    }
                }
            }
            b'W' => {
                let text = address(content);
                *unread += u32::from(text.is_none());
                others.extend(text.map(|text| (id.clone(), text)));
            }
            // An owner's name of one letter or more, its NUL, and an identifier.
            _ if id.starts_with(b"UFI") && content.iter().position(|&byte| byte == 0) > Some(0) => {
                others.push((id.clone(), content.clone()));
            }
            _ if id.starts_with(b"UFI") => *unread += 1,
            _ => {}
        }
    }
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = texts
        .iter()
        .map(|text| (text.id.clone(), text.content(version)))
        .collect();
    all.extend(others);
    assembled(version, &all)
}

/// As [`plain`], of the pictures alone.
pub(super) fn pictures(tag: &[u8], room: &mut usize) -> Vec<u8> {
    let is_picture = |id: &[u8]| id == b"APIC" || id == b"PIC";
    let wanted = |id: &[u8]| is_picture(id).then_some(MOST_OF_A_PICTURE);
    let found = contents(tag, room, &mut 0, wanted);
    found.map_or(Vec::new(), |(version, frames)| assembled(version, &frames))
}

/// Frames of which a year is read.
const YEARS: [&[u8]; 7] = [b"TDRC", b"TDRL", b"TDOR", b"TYER", b"TORY", b"TYE", b"TOR"];

/// A text frame.
struct PlainText {
    id: Vec<u8>,
    /// Of those that have a name of their own.
    description: Option<String>,
    values: Vec<String>,
}

impl PlainText {
    /// `None` where the frame makes no sense.
    fn read(version: u8, id: &[u8], content: &[u8], old: OldEncoding) -> Option<Self> {
        let (&encoding, text) = content.split_first()?;
        let decode = |bytes: &[u8]| match encoding {
            // 0 is Latin-1 and 3 is UTF-8 by the standard, but programs write other encodings under
            // both.
            0 | 3 => Some(old.decode(bytes)),
            1 => Some(encoding::utf16(bytes, Utf16::Little)),
            2 => Some(encoding::utf16(bytes, Utf16::Big)),
            _ => None,
        };
        let (description, text) = if id.starts_with(b"TXX") {
            let wide = matches!(encoding, 1 | 2);
            let (name, value) = split_at_nul(text, wide)?;
            (Some(decode(name)?), value)
        } else {
            (None, text)
        };
        // Programs write the recording's year under these names, too, and some under nothing else.
        let is_original = description.as_ref().is_some_and(|name| {
            ["originaldate", "originalyear"].contains(&name.to_lowercase().as_str())
        });
        let id: &[u8] = match version {
            _ if !is_original => id,
            2 => b"TOR",
            3 => b"TORY",
            _ => b"TDOR",
        };
        let description = description.filter(|_| !is_original);
        let text = decode(text)?;
        // Each value may have a mark of its own.
        let values = text.split('\0').map(|value| value.trim_matches('\u{feff}'));
        let mut values: Vec<String> = values
            .filter(|value| !value.trim().is_empty())
            .map(str::to_owned)
            .collect();
        if YEARS.contains(&id) {
            let year = values.iter().find_map(|value| year(value));
            values = year.map(|year| format!("{year:04}")).into_iter().collect();
        }
        let id = match (version, id) {
            // Frames of 2.3 in a tag of 2.4, in which a reader does not look for them.
            (4, b"TYER") => b"TDRC",
            (4, b"TORY") => b"TDOR",
            _ => id,
        };
        Some(Self {
            id: id.to_vec(),
            description,
            values,
        })
    }

    /// Whether it says something that is read.
    fn is_wanted(&self) -> bool {
        // Days and times of day, which make no year, and times of encoding and tagging.
        const LEFT_OUT: [&[u8]; 8] = [
            b"TDAT", b"TIME", b"TRDA", b"TDA", b"TIM", b"TRD", b"TDEN", b"TDTG",
        ];
        !self.values.is_empty() && !LEFT_OUT.contains(&self.id.as_slice())
    }

    fn is_damaged(&self) -> bool {
        let mut texts = self.values.iter().chain(&self.description);
        texts.any(|text| text.contains(REPLACEMENT))
    }

    /// Frames of one name belong together.
    fn name(&self) -> (Vec<u8>, Option<String>) {
        let description = self.description.as_ref().map(|name| name.to_lowercase());
        (self.id.clone(), description)
    }

    /// The frame's content anew.
    fn content(&self, version: u8) -> Vec<u8> {
        let value = text(version, &self.values.join("\0"));
        let Some(name) = &self.description else {
            return value;
        };
        let end: &[u8] = if version == 4 { &[0] } else { &[0, 0] };
        // The encoding is given once.
        [&text(version, name), end, &value[1..]].concat()
    }
}

/// The text before and behind the first NUL; in UTF-16 that is two bytes.
fn split_at_nul(text: &[u8], is_wide: bool) -> Option<(&[u8], &[u8])> {
    let width = if is_wide { 2 } else { 1 };
    let mut units = text.chunks_exact(width);
    let at = units.position(|unit| unit.iter().all(|&byte| byte == 0))? * width;
    Some((&text[..at], &text[at + width..]))
}

/// The address in a frame, if it holds one.
fn address(content: &[u8]) -> Option<Vec<u8>> {
    let text = match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => encoding::utf16(content, Utf16::Little),
        _ => String::from_utf8_lossy(content).into_owned(),
    };
    let text = text.split('\0').next().unwrap_or_default().trim();
    (!text.is_empty() && text.is_ascii()).then(|| text.as_bytes().to_vec())
}

/// The tag's version, and the content of those of its frames for whose name `wanted` gives how long they may be (bytes).
///
/// - `unread`: how many of those are cut off, too long, damaged or encrypted, or behind [`MOST_TEXTS`] others, counted on
#[expect(clippy::type_complexity, reason = "a name and a content, twice")]
fn contents(
    tag: &[u8],
    room: &mut usize,
    unread: &mut u32,
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
        // `wanted` need not look at all letters, so names of other bytes are left out here.
        let Some(longest) = wanted(id).filter(|_| id.iter().all(is_name)) else {
            continue;
        };
        if frames.len() == MOST_TEXTS {
            *unread += 1;
            continue;
        }
        let most = longest.min(*room);
        let content = frame.content(version, flags & 0x80 != 0, most);
        let content = content.filter(|content| content.len() <= most);
        *unread += u32::from(content.is_none() || frame.is_cut);
        let Some(content) = content.filter(|content| !content.is_empty()) else {
            continue;
        };
        // As inflated: compressed frames could otherwise take any amount of memory.
        *room -= content.len();
        frames.push((id.to_vec(), content));
    }
    Some((version, frames))
}

/// A tag of these frames.
fn assembled(version: u8, frames: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
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

/// The frames of a tag's body: without an extended header, and in versions before 2.4 as they were before they were
/// made free of false synchronisation (in 2.4 each frame says so for itself).
fn frames_of(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut body = if flags & 0x80 != 0 && version < 4 {
        resynchronised(body)
    } else {
        body.to_vec()
    };
    if flags & 0x40 != 0 && version > 2 {
        let extended = body.get(..4).map_or(0, |size| match version {
            // In 2.3 the size leaves out its own four bytes, in 2.4 it has them.
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

/// Takes out the zero that follows each byte of eight ones.
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
    /// The tag ends before the frame does.
    pub(super) is_cut: bool,
    /// Its size is given in eight bits a byte, although those of its version have seven.
    pub(super) is_in_eight_bits: bool,
}

/// Whether the frame that `rest` begins with has the size that old versions of iTunes wrote: only with eight bits a byte
/// does another frame, padding or the end come behind it.
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
    /// The next frame; `None` at the padding, or where the rest is no frame.
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
                // The length may be given (0x01) without compression (0x08), which cannot do
                // without it.
                flags & 0x09 != 0,
                unsynchronised || flags & 0x02 != 0,
            ),
        };
        if encrypted {
            return None;
        }
        let mut body = self.body;
        // A byte for the group, four for the length when inflated, in either order.
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
        // One byte more than may be, to tell a text that just fits from one that was cut.
        let mut reader = flate2::read::ZlibDecoder::new(&body[..]).take(most as u64 + 1);
        reader.read_to_end(&mut inflated).ok()?;
        (inflated.len() <= most).then_some(inflated)
    }
}

/// A file from `start` on, in which no `ID3v2` tag can be found.
pub(super) struct Masked {
    file: File,
    start: u64,
    position: u64,
    /// Chunks that get another name: a reader that finds no tag where one is announced gives the whole file up.
    chunks: Vec<u64>,
}

impl Masked {
    pub(super) fn new(file: File, found: &Id3Tags) -> Self {
        Self {
            file,
            start: found.audio,
            position: 0,
            chunks: found.chunks.clone(),
        }
    }
}

impl Read for Masked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A header's four bytes may begin before the part that is asked for, and end behind it.
        let before = 3.min(self.position);
        self.file
            .seek(SeekFrom::Start(self.start + self.position - before))?;
        let mut wide = vec![0; buffer.len() + before as usize + 3];
        let n = read_up_to(&mut self.file, &mut wide)?;
        wide.truncate(n);
        for at in 0..n.saturating_sub(3) {
            // Some readers do not mind a size that cannot be one.
            if matches!(wide[at..at + 4], [b'I', b'D', b'3', 2..=4]) {
                // Sound with these bytes changes, too; nothing that reads through this mask reads
                // sound.
                wide[at..at + 3].fill(0);
            }
        }
        let first = self.start + self.position - before;
        for (chunk, (i, name)) in self
            .chunks
            .iter()
            .flat_map(|chunk| b"JUNK".iter().enumerate().map(move |n| (chunk, n)))
        {
            let at = (chunk + i as u64)
                .checked_sub(first)
                .and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = at.and_then(|at| wide.get_mut(at)) {
                *byte = *name;
            }
        }
        let mine = wide.get(before as usize..).unwrap_or_default();
        let n = mine.len().min(buffer.len());
        buffer[..n].copy_from_slice(&mine[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Masked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = self.file.metadata()?.len().saturating_sub(self.start);
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(invalid)?;
        // Positions far behind the end are kept, so that the sum with `start` stays in range.
        self.start.checked_add(self.position).ok_or_else(invalid)?;
        Ok(self.position)
    }
}

/// The encoding's number and the text in it: UTF-8 in version 2.4, UTF-16 before.
pub(super) fn text(version: u8, text: &str) -> Vec<u8> {
    if version == 4 {
        return [&[3], text.as_bytes()].concat();
    }
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    std::iter::once(1)
        .chain(units.flat_map(u16::to_le_bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn frame(id: &[u8; 4], flags: u8, body: &[u8]) -> Vec<u8> {
        [
            &id[..],
            &in_seven_bits(body.len() as u32),
            &[0, flags],
            body,
        ]
        .concat()
    }

    fn tag(frames: &[u8]) -> Vec<u8> {
        [
            b"ID3\x04\0\0",
            &in_seven_bits(frames.len() as u32)[..],
            frames,
        ]
        .concat()
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder =
            flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        [
            &in_seven_bits(bytes.len() as u32)[..],
            &encoder.finish().unwrap(),
        ]
        .concat()
    }

    #[test]
    fn text_stays_and_chapters_and_pictures_go() {
        let title = frame(b"TIT2", 0, b"\x03A song");
        let chapters = frame(b"CHAP", 0, &[b"c\0".as_slice(), &[0; 16], &title].concat());
        let full = [
            &chapters[..],
            &frame(b"APIC", 0, &[1; 99]),
            &title,
            &[0; 40],
        ]
        .concat();
        let mut unread = 0;
        assert_eq!(
            plain(&tag(&full), &mut MOST.clone(), &mut unread),
            tag(&title)
        );
        assert_eq!(unread, 0);
    }

    #[test]
    fn a_compressed_frame_is_read_within_the_bound_only() {
        let small = frame(b"TIT2", 0x09, &deflated(b"\x03A song"));
        let bomb = frame(b"TXXX", 0x09, &deflated(&vec![0; 3 << 20]));
        let both = tag(&[bomb, small].concat());
        let mut room = 1 << 10;
        assert_eq!(
            plain(&both, &mut room, &mut 0),
            tag(&frame(b"TIT2", 0, b"\x03A song"))
        );
        assert_eq!(room, (1 << 10) - 7);
    }

    #[test]
    fn a_masked_file_shows_no_tag_however_it_is_read() {
        let mut bytes = vec![7_u8; 300];
        for at in [0, 5, 60, 123, 250] {
            bytes[at..at + 10].copy_from_slice(b"ID3\x03\0\0\0\0\0\x05");
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for step in [1, 3, 9, 10, 64, 300] {
            let mut masked = Masked::new(
                file.try_clone().unwrap(),
                &Id3Tags {
                    audio: 5,
                    ..Id3Tags::none()
                },
            );
            let mut all: Vec<u8> = Vec::new();
            let mut piece = vec![0; step];
            loop {
                let n = masked.read(&mut piece).unwrap();
                if n == 0 {
                    break;
                }
                all.extend(&piece[..n]);
            }
            assert_eq!(all.len(), 295);
            assert!(!all.windows(3).any(|bytes| bytes == b"ID3"), "{step}");
            assert_eq!(
                all.iter().zip(&bytes[5..]).filter(|(a, b)| a != b).count(),
                12,
                "{step}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_plain_tag(version in 2_u8..5, flags: u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut whole = tag(&body);
            (whole[3], whole[5]) = (version, flags);
            let made = plain(&whole, &mut 4096, &mut 0);
            prop_assert!(body_size(&made) == Some(made.len() - HEADER));
        }
    }
}
