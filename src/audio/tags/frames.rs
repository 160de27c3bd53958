//! Editing the frames of an `ID3v2` tag: all frames but those of the genre stay unchanged, whatever they hold.
//!
//! Follows the structure documents of ID3 2.2, 2.3 and 2.4 (id3.org).

use super::id3::{self, Frame, HEADER};
use super::patch::{Splice, TagItem, growth, replace};
use crate::bytes::big;

/// A flag of the header.
const UNSYNCHRONISED: u8 = 0x80;
const EXTENDED: u8 = 0x40;
const FOOTER: u8 = 0x10;

/// The frames of a tag, and their end (bytes of the tag).
///
/// # Errors
/// A message if the tag is damaged, as the bytes after the damage may be frames.
fn parse(tag: &[u8]) -> Result<(Vec<TagItem>, usize), String> {
    let size = id3::body_size(tag).ok_or("its ID3v2 tag has no header that makes sense")?;
    let body = tag
        .get(HEADER..HEADER + size)
        .ok_or("its ID3v2 tag is cut off: get a whole copy first")?;
    let version = tag[3];
    let flags = tag[5];
    if version == 2 && flags & EXTENDED != 0 {
        return Err("its ID3v2.2 tag is compressed, in a way that was never defined".to_owned());
    }
    let is_stuffed = version < 4 && flags & UNSYNCHRONISED != 0;
    let plain = if is_stuffed {
        id3::resynchronised(body)
    } else {
        body.to_vec()
    };
    let mut places = RawPlaces {
        raw: body,
        is_stuffed,
        raw_at: 0,
        plain_at: 0,
    };
    let extended = if flags & EXTENDED != 0 && version > 2 {
        extended(version, &plain)?
    } else {
        0
    };
    let mut rest = &plain[extended..];
    let mut items = Vec::new();
    let mut end = places.raw_of(extended);
    while let Some(frame) = Frame::split(version, &mut rest) {
        let start = end;
        // Frames are split in the decoded body, but edited at their position in the file.
        end = places.raw_of(plain.len() - rest.len());
        let is_genre =
            is_genre(version, &frame).map_err(|found| damaged(HEADER + start, &found))?;
        items.push(TagItem {
            start: HEADER + start,
            end: HEADER + end,
            is_genre,
        });
    }
    // Only padding may follow: other bytes could be parsed differently after the change.
    match rest.iter().position(|&byte| byte != 0) {
        Some(odd) => Err(damaged(
            HEADER + end,
            &format!("{odd} zeros and then others"),
        )),
        None => Ok((items, HEADER + end)),
    }
}

fn damaged(at: usize, found: &str) -> String {
    format!(
        "its ID3v2 tag is damaged: expected a frame or zeros at byte {at} of the tag, found {found}: mend it with a tag editor first"
    )
}

/// Whether a frame holds a genre.
///
/// # Errors
/// The bytes in place of a frame that can be followed.
fn is_genre(version: u8, frame: &Frame<'_>) -> Result<bool, String> {
    let id = &frame.header[..if version == 2 { 3 } else { 4 }];
    // Names of version 2.2 in a tag of 2.3 are followed by a zero or a space.
    let is_name = |(i, byte): (usize, &u8)| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || i == 3 && matches!(byte, 0 | b' ')
    };
    if !id.iter().enumerate().all(is_name) {
        return Err(format!("\"{}\"", id.escape_ascii()));
    }
    let name = String::from_utf8_lossy(id);
    let name = name.trim_end_matches(['\0', ' ']);
    if frame.is_in_eight_bits
        || version == 4 && frame.header[4..8].iter().any(|byte| byte & 0x80 != 0)
    {
        return Err(format!("a {name} whose size is not in seven bits a byte"));
    }
    if frame.is_cut {
        return Err(format!("a {name} that is longer than the tag"));
    }
    Ok(matches!(name, "TCON" | "TCO"))
}

/// Bytes of an extended header.
fn extended(version: u8, plain: &[u8]) -> Result<usize, String> {
    let size = plain.get(..4).map_or(usize::MAX, |size| match version {
        3 => 4 + big(size) as usize,
        _ => id3::seven_bits(size),
    });
    let has_checksum = match version {
        3 => plain.get(4).is_some_and(|flags| flags & 0x80 != 0),
        _ => plain.get(5).is_some_and(|flags| flags & 0x20 != 0),
    };
    if size < 6 || size > plain.len() {
        return Err("the extended header of its ID3v2 tag is longer than the tag".to_owned());
    }
    if has_checksum {
        return Err(
            "its ID3v2 tag has a checksum of its frames, which would not be theirs any more"
                .to_owned(),
        );
    }
    Ok(size)
}

/// Maps ascending positions in a body without stuffing to positions in the raw body.
struct RawPlaces<'a> {
    raw: &'a [u8],
    is_stuffed: bool,
    raw_at: usize,
    plain_at: usize,
}

impl RawPlaces<'_> {
    /// The raw position; stuffing belongs to the byte before it.
    fn raw_of(&mut self, plain: usize) -> usize {
        if !self.is_stuffed {
            return plain;
        }
        while self.plain_at < plain {
            let is_stuffing_next =
                self.raw[self.raw_at] == 0xff && self.raw.get(self.raw_at + 1) == Some(&0);
            self.raw_at += 1 + usize::from(is_stuffing_next);
            self.plain_at += 1;
        }
        self.raw_at
    }
}

/// The splices that write the genres into a tag and keep everything else.
///
/// - `tag`: with its header, without its footer
/// - `behind`: the bytes after it, as many as a footer has
///
/// # Errors
/// A message if the tag cannot be changed without a loss.
pub(super) fn edit(tag: &[u8], behind: &[u8], genres: &[String]) -> Result<Vec<Splice>, String> {
    let (items, end) = parse(tag)?;
    if has_footer(tag) && (behind.len() < HEADER || !behind.starts_with(b"3DI")) {
        return Err("its ID3v2 tag says that it has a footer, and has none".to_owned());
    }
    let mut splices = replace(&items, end, frame(tag[3], tag[5], genres));
    // Then the size is not written either, so that the file stays unchanged.
    if splices.is_empty() {
        return Ok(splices);
    }
    let size = (tag.len() - HEADER) as i64 + growth(&splices);
    let size = in_header(size)?;
    splices.push(Splice::new(6, 4, size.to_vec()));
    if has_footer(tag) {
        // Three letters, version and flags come before the size there too.
        splices.push(Splice::new(tag.len() + 6, 4, size.to_vec()));
    }
    Ok(splices)
}

/// A new tag with these genres and other fields, as [`carried`](super::carried) has them.
pub(super) fn new_tag(genres: &[String], others: &[(&str, &str, String)]) -> Vec<u8> {
    const VERSION: u8 = 4;
    let others = others.iter();
    let mut frames: Vec<u8> = others
        .flat_map(|(id, _, value)| framed(VERSION, id, &text(VERSION, value)))
        .collect();
    frames.extend(frame(VERSION, 0, genres));
    let size = id3::in_seven_bits(frames.len() as u32);
    [b"ID3\x04\0\0", &size[..], &frames].concat()
}

/// Whether a tag has a footer, which repeats the header.
fn has_footer(tag: &[u8]) -> bool {
    tag.get(5).is_some_and(|flags| flags & FOOTER != 0)
}

fn in_header(size: i64) -> Result<[u8; 4], String> {
    let size = u32::try_from(size).ok().filter(|size| *size < 1 << 28);
    size.map(id3::in_seven_bits)
        .ok_or_else(|| "its ID3v2 tag would be larger than any may be".to_owned())
}

/// A frame with NULs between the genres; empty without any.
fn frame(version: u8, flags: u8, genres: &[String]) -> Vec<u8> {
    if genres.is_empty() {
        return Vec::new();
    }
    let id = if version == 2 { "TCO" } else { "TCON" };
    let whole = framed(version, id, &text(version, &genres.join("\0")));
    if version < 4 && flags & UNSYNCHRONISED != 0 {
        stuffed(&whole)
    } else {
        whole
    }
}

/// A text with its encoding's number: UTF-8 in version 2.4, UTF-16 before.
fn text(version: u8, text: &str) -> Vec<u8> {
    if version == 4 {
        return [&[3], text.as_bytes()].concat();
    }
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    std::iter::once(1)
        .chain(units.flat_map(u16::to_le_bytes))
        .collect()
}

fn framed(version: u8, id: &str, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u32;
    match version {
        2 => [id.as_bytes(), &size.to_be_bytes()[1..], body].concat(),
        3 => [id.as_bytes(), &size.to_be_bytes(), &[0, 0], body].concat(),
        _ => [id.as_bytes(), &id3::in_seven_bits(size), &[0, 0], body].concat(),
    }
}

/// Inserts a zero after each byte 0xff that could be read as the start of an MP3 frame or as stuffing.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len() + 8);
    for (i, &byte) in bytes.iter().enumerate() {
        all.push(byte);
        if byte == 0xff
            && bytes
                .get(i + 1)
                .is_none_or(|&next| next == 0 || next >= 0xe0)
        {
            all.push(0);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::patch::spliced;
    use super::*;

    fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        [
            &[b'I', b'D', b'3', version, 0, flags],
            &id3::in_seven_bits(body.len() as u32)[..],
            body,
        ]
        .concat()
    }

    fn genre(values: &[&str]) -> Vec<String> {
        values.iter().map(|&value| value.to_owned()).collect()
    }

    #[test]
    fn stuffed_frames_stay_stuffed_as_they_were() {
        // The private frame has a byte 0xff without stuffing, which needs none, and ends with one that has it.
        let body =
            b"PRIV\0\0\0\x04\0\0\xff\0\xe0\xff\x01TCON\0\0\0\x02\0\0\0QTIT2\0\0\0\x03\0\0\0\xff\0\xff\0\0\0";
        let old = tag(3, UNSYNCHRONISED, body);
        let (items, end) = parse(&old).unwrap();
        let genres: Vec<bool> = items.iter().map(|item| item.is_genre).collect();
        assert_eq!(genres, [false, true, false]);
        assert_eq!(end, old.len() - 2);
        let new = spliced(&old, edit(&old, b"", &genre(&["A"])).unwrap()).unwrap();
        let written = b"TCON\0\0\0\x05\0\0\x01\xff\0\xfeA\0";
        let expected = [&body[..15], written, &body[27..]].concat();
        assert_eq!(new, tag(3, UNSYNCHRONISED, &expected));
        assert_eq!(
            id3::resynchronised(written),
            b"TCON\0\0\0\x05\0\0\x01\xff\xfeA\0"
        );
    }

    #[test]
    fn headers_behind_the_header_and_footers_are_kept() {
        let body = b"\0\0\0\x06\0\0\0\0\0\x09TIT2\0\0\0\x02\0\0\0A\0\0\0\0\0\0\0\0\0";
        let old = tag(3, EXTENDED, body);
        let new = spliced(&old, edit(&old, b"", &genre(&["B"])).unwrap()).unwrap();
        assert_eq!(new[10..32], old[10..32]);
        assert!(new[32..].starts_with(b"TCON\0\0\0\x05") && new.ends_with(&[0; 9]));
        let summed = tag(3, EXTENDED, b"\0\0\0\x0a\x80\0\0\0\0\x09....");
        assert!(
            edit(&summed, b"", &genre(&["B"]))
                .unwrap_err()
                .contains("checksum")
        );

        let frames = b"TIT2\0\0\0\x02\0\0\0A";
        let old = tag(4, FOOTER, frames);
        let footer = [b"3DI\x04\0\x10", &old[6..10]].concat();
        assert!(
            edit(&old, &[0xff; HEADER], &genre(&["Dub"]))
                .unwrap_err()
                .contains("footer")
        );
        let splices = edit(&old, &footer, &genre(&["Dub"])).unwrap();
        let new = spliced(&[old, footer].concat(), splices).unwrap();
        assert_eq!(new[6..10], new[new.len() - 4..]);
        assert_eq!(new[9], 12 + 14);
    }
}
