//! Editing the frames of an `ID3v2` tag: all frames but those of the genre stay unchanged, whatever they hold.
//!
//! Follows the structure documents of ID3 2.2, 2.3 and 2.4 (id3.org).

use super::id3::{self, Frame, HEADER};
use super::patch::{Splice, TagItem, growth, replace};

/// Flags of the header: stuffed with zeros, an extended header, a footer.
const UNSYNCHRONISED: u8 = 0x80;
const EXTENDED: u8 = 0x40;
const FOOTER: u8 = 0x10;

/// The frames of a tag, and their end (bytes of the tag).
fn parse(tag: &[u8]) -> Result<(Vec<TagItem>, usize), String> {
    let size = id3::body_size(tag).ok_or("its ID3v2 tag has no header that makes sense")?;
    let body = tag
        .get(HEADER..HEADER + size)
        .ok_or("its ID3v2 tag is cut off: get a whole copy first")?;
    let version = tag[3];
    // From 2.4 on frames are stuffed one by one.
    let stuffed = if version < 4 { UNSYNCHRONISED } else { 0 };
    if tag[5] & (stuffed | EXTENDED | FOOTER) != 0 {
        return Err("its ID3v2 tag is unsynchronised, or has an extended header or a footer: save it with a tag editor first".to_owned());
    }
    let mut rest = body;
    let mut items = Vec::new();
    let mut end = HEADER;
    while let Some(frame) = Frame::split(version, &mut rest) {
        let start = end;
        end = HEADER + size - rest.len();
        let is_genre = is_genre(version, &frame).map_err(|found| damaged(start, &found))?;
        items.push(TagItem {
            start,
            end,
            is_genre,
        });
    }
    // Only padding may follow: other bytes could be parsed differently after the change.
    match rest.iter().position(|&byte| byte != 0) {
        Some(odd) => Err(damaged(end, &format!("{odd} zeros and then others"))),
        None => Ok((items, end)),
    }
}

fn damaged(at: usize, found: &str) -> String {
    format!(
        "its ID3v2 tag is damaged: expected a frame or zeros at byte {at} of the tag, found {found}: mend it with a tag editor first"
    )
}

/// Whether a frame holds a genre.
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

/// The splices that write the genres into a tag and keep everything else.
pub(super) fn edit(tag: &[u8], genres: &[String]) -> Result<Vec<Splice>, String> {
    let (items, end) = parse(tag)?;
    let mut splices = replace(&items, end, frame(tag[3], genres));
    // Then the size is not written either, so that the file stays unchanged.
    if splices.is_empty() {
        return Ok(splices);
    }
    let size = (tag.len() - HEADER) as i64 + growth(&splices);
    let size = u32::try_from(size).ok().filter(|size| *size < 1 << 28);
    let size = size.ok_or("its ID3v2 tag would be larger than any may be")?;
    splices.push(Splice::new(6, 4, id3::in_seven_bits(size).to_vec()));
    Ok(splices)
}

/// A new tag with these genres and other fields, as [`carried`](super::carried) has them.
pub(super) fn new_tag(genres: &[String], others: &[(&str, &str, String)]) -> Vec<u8> {
    const VERSION: u8 = 4;
    let others = others.iter();
    let mut frames: Vec<u8> = others
        .flat_map(|(id, _, value)| framed(VERSION, id, &text(VERSION, value)))
        .collect();
    frames.extend(frame(VERSION, genres));
    let size = id3::in_seven_bits(frames.len() as u32);
    [b"ID3\x04\0\0", &size[..], &frames].concat()
}

/// A frame with NULs between the genres; empty without any.
fn frame(version: u8, genres: &[String]) -> Vec<u8> {
    if genres.is_empty() {
        return Vec::new();
    }
    let id = if version == 2 { "TCO" } else { "TCON" };
    framed(version, id, &text(version, &genres.join("\0")))
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

pub(super) fn framed(version: u8, id: &str, body: &[u8]) -> Vec<u8> {
    let size = body.len() as u32;
    match version {
        2 => [id.as_bytes(), &size.to_be_bytes()[1..], body].concat(),
        3 => [id.as_bytes(), &size.to_be_bytes(), &[0, 0], body].concat(),
        _ => [id.as_bytes(), &id3::in_seven_bits(size), &[0, 0], body].concat(),
    }
}
