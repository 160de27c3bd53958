//! The texts of an `ID3v2` tag in a new tag that is safe to parse: an invalid or too large text
//! hides no other.
//!
//! For: texts and addresses in an encoding of the tag's version, years as numbers. Not for: their
//! meaning (`read`), or raw frames (`id3`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use lofty::tag::ItemKey;

use super::id3;
use super::texts::{ITUNES_GAIN, other_key};
use super::values::{gain_of_itunes, is_original_date, year};
use voisin_base::encoding::{self, OldEncoding, Utf16};
use voisin_base::text::LONGEST_TEXT;

/// A tag of the frames of `tag` that voisin reads (text, links, file identifiers), each by the standard: complete texts
/// in an encoding of the tag's version, frames of one name together, years as numbers, nothing compressed or nested.
/// Only frames that cannot be converted are left out. Compressed frames are inflated within `room` (bytes, of all tags)
/// and [`LONGEST_TEXT`].
pub(super) fn plain(tag: &[u8], room: &mut usize) -> Vec<u8> {
    // Lists of pairs, which make a tag invalid if their number is odd, and the address of a podcast, which programs
    // write in two kinds of frame: voisin reads none of them.
    const LEFT_OUT: [&[u8]; 6] = [b"TIPL", b"TMCL", b"WFED", b"WFD", b"WXXX", b"WXX"];
    let is_read = |id: &[u8]| matches!(id[0], b'T' | b'W' | b'U') && !LEFT_OUT.contains(&id);
    let wanted = |id: &[u8]| is_read(id).then_some(LONGEST_TEXT);
    let Some((version, frames)) = id3::contents(tag, room, wanted) else {
        return Vec::new();
    };
    let unmarked = frames.iter().filter(|(id, _)| id[0] == b'T');
    let unmarked = unmarked.filter_map(|(_, content)| match content.split_first()? {
        (0 | 3, text) => Some(text.split(|&byte| byte == 0)),
        _ => None,
    });
    let wide = frames.iter().filter(|(id, _)| id[0] == b'T');
    let wide = wide.filter_map(|(_, content)| match content.split_first()? {
        (1, text) => Some(encoding::utf16(text, Utf16::Little)),
        (2, text) => Some(encoding::utf16(text, Utf16::Big)),
        _ => None,
    });
    let wide: Vec<String> = wide.collect();
    let wide = wide.iter().map(String::as_bytes);
    // From all texts together, as one title is too short to detect an encoding.
    let old = OldEncoding::detect(unmarked.flatten().chain(wide));
    let mut texts: Vec<PlainText> = Vec::new();
    // A map, as a linear search for each takes minutes in a tag with many frames.
    let mut places = HashMap::new();
    let mut usual = Vec::new();
    let mut others = Vec::new();
    for (id, content) in &frames {
        match id[0] {
            b'T' => {
                let text = PlainText::read(version, id, content, old);
                let Some(text) = text.filter(PlainText::is_wanted) else {
                    continue;
                };
                usual.extend(text.in_usual_frame(version));
                match places.entry(text.name()) {
                    // Dates are not joined to lists of values.
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
                others.extend(address(content).map(|text| (id.clone(), text)));
            }
            // An owner's name of one letter or more, its NUL, and an identifier.
            _ if id.starts_with(b"UFI") && content.iter().position(|&byte| byte == 0) > Some(0) => {
                others.push((id.clone(), content.clone()));
            }
            _ => {}
        }
    }
    for text in usual {
        match places.entry(text.name()) {
            Entry::Vacant(place) => {
                place.insert(texts.len());
                texts.push(text);
            }
            // Programs write 0 for an unknown tempo.
            Entry::Occupied(place) if texts[*place.get()].is_zero() => texts[*place.get()] = text,
            Entry::Occupied(_) => {}
        }
    }
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = texts
        .iter()
        .map(|text| (text.id.clone(), text.content(version)))
        .collect();
    all.extend(others);
    id3::assembled(version, &all)
}

/// Frames with a year.
const YEARS: [&[u8]; 7] = [b"TDRC", b"TDRL", b"TDOR", b"TYER", b"TORY", b"TYE", b"TOR"];

/// A text frame.
struct PlainText {
    id: Vec<u8>,
    /// The name of a user-defined frame.
    description: Option<String>,
    values: Vec<String>,
}

impl PlainText {
    /// `None` if the frame is invalid.
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
        // Programs write the recording's year under these names, too, and some only there.
        let is_original = description.as_deref().is_some_and(is_original_date);
        let id: &[u8] = match version {
            _ if !is_original => id,
            2 => b"TOR",
            3 => b"TORY",
            _ => b"TDOR",
        };
        let description = description.filter(|_| !is_original);
        let text = decode(text)?;
        // Each value may have its own mark.
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
            // Frames of 2.3 in a tag of 2.4, where readers ignore them.
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

    fn is_zero(&self) -> bool {
        let mut texts = self.values.iter();
        texts.all(|text| text.trim().parse::<f64>().is_ok_and(|number| number == 0.0))
    }

    /// Whether voisin reads it.
    fn is_wanted(&self) -> bool {
        // Days and times without a year, and times of encoding and tagging.
        const LEFT_OUT: [&[u8]; 8] = [
            b"TDAT", b"TIME", b"TRDA", b"TDA", b"TIM", b"TRD", b"TDEN", b"TDTG",
        ];
        !self.values.is_empty() && !LEFT_OUT.contains(&self.id.as_slice())
    }

    /// The standard frame of the field, if this is a program's own frame for it.
    fn in_usual_frame(&self, version: u8) -> Option<Self> {
        let key = other_key(self.description.as_ref()?)?;
        let id: &[u8] = match (key, version) {
            (ItemKey::InitialKey, 2) => b"TKE",
            (ItemKey::InitialKey, _) => b"TKEY",
            (_, 2) => b"TBP",
            _ => b"TBPM",
        };
        Some(Self {
            id: id.to_vec(),
            description: None,
            values: self.values.clone(),
        })
    }

    /// The key by which frames are joined.
    fn name(&self) -> (Vec<u8>, Option<String>) {
        let description = self.description.as_ref().map(|name| name.to_lowercase());
        (self.id.clone(), description)
    }

    /// Encodes the frame's content.
    fn content(&self, version: u8) -> Vec<u8> {
        let value = id3::text(version, &self.values.join("\0"));
        let Some(name) = &self.description else {
            return value;
        };
        let end: &[u8] = if version == 4 { &[0] } else { &[0, 0] };
        // The encoding's byte comes once.
        [&id3::text(version, name), end, &value[1..]].concat()
    }
}

/// The text before and after the first NUL, which has two bytes in UTF-16.
fn split_at_nul(text: &[u8], is_wide: bool) -> Option<(&[u8], &[u8])> {
    let width = if is_wide { 2 } else { 1 };
    let mut units = text.chunks_exact(width);
    let at = units.position(|unit| unit.iter().all(|&byte| byte == 0))? * width;
    Some((&text[..at], &text[at + width..]))
}

/// The gain (dB) of a tag without `ReplayGain`: that of `RVA2`, else of iTunes' comment.
pub(super) fn other_gain(tag: &[u8]) -> Option<f64> {
    let wanted =
        |id: &[u8]| matches!(id, b"RVA2" | b"XRVA" | b"COMM" | b"COM").then_some(LONGEST_TEXT);
    let mut room = id3::MOST;
    let (_, frames) = id3::contents(tag, &mut room, wanted)?;
    let is_comment = |id: &[u8]| id.starts_with(b"COM");
    let volumes = frames.iter().filter(|(id, _)| !is_comment(id));
    let comments = frames.iter().filter(|(id, _)| is_comment(id));
    let mut volumes = volumes.filter_map(|(_, content)| volume_change(content));
    let mut comments = comments.filter_map(|(_, content)| itunes_comment(content));
    volumes.next().or_else(|| comments.next())
}

/// The gain of the master volume in an `RVA2` frame (dB) that is not for an album (ID3 2.4 native frames,
/// 4.11).
fn volume_change(content: &[u8]) -> Option<f64> {
    const MASTER: u8 = 1;
    let end = content.iter().position(|&byte| byte == 0)?;
    if content[..end].eq_ignore_ascii_case(b"album") {
        return None;
    }
    let mut channels = &content[end + 1..];
    while let [channel, high, low, peak_bits, behind @ ..] = channels {
        if *channel == MASTER {
            let change = f64::from(i16::from_be_bytes([*high, *low])) / 512.0;
            return Some(change).filter(|change| change.abs() <= 60.0);
        }
        channels = behind.get(usize::from(*peak_bits).div_ceil(8)..)?;
    }
    None
}

/// The gain in a comment of iTunes (dB).
fn itunes_comment(content: &[u8]) -> Option<f64> {
    let (encoding, text) = content.split_first()?;
    // After three letters for the language.
    let (name, text) = split_at_nul(text.get(3..)?, matches!(encoding, 1 | 2))?;
    // Both are ASCII, with zeros and a mark in UTF-16.
    let ascii = |bytes: &[u8]| -> String {
        let letters = bytes.iter().filter(|byte| matches!(byte, 1..=127));
        letters.map(|&byte| char::from(byte)).collect()
    };
    let is_it = ascii(name).eq_ignore_ascii_case(ITUNES_GAIN);
    is_it.then(|| gain_of_itunes(&ascii(text))).flatten()
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::super::id3::{HEADER, MOST, body_size, in_seven_bits};
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
        assert_eq!(plain(&tag(&full), &mut MOST.clone()), tag(&title));
    }

    #[test]
    fn a_tempo_of_zero_hides_no_other() {
        let other = frame(b"TXXX", 0, b"\x03BPM\x0099");
        for (usual, read) in [("\x030", "\x0399"), ("\x03120", "\x03120")] {
            let both = [&frame(b"TBPM", 0, usual.as_bytes())[..], &other].concat();
            let meant = [&frame(b"TBPM", 0, read.as_bytes())[..], &other].concat();
            assert_eq!(plain(&tag(&both), &mut MOST.clone()), tag(&meant));
        }
    }

    #[test]
    fn a_compressed_frame_is_read_within_the_bound_only() {
        let small = frame(b"TIT2", 0x09, &deflated(b"\x03A song"));
        let bomb = frame(b"TXXX", 0x09, &deflated(&vec![0; 3 << 20]));
        let both = tag(&[bomb, small].concat());
        let mut room = 1 << 10;
        assert_eq!(
            plain(&both, &mut room),
            tag(&frame(b"TIT2", 0, b"\x03A song"))
        );
        assert_eq!(room, (1 << 10) - 7);
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_plain_tag(version in 2_u8..5, flags: u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut whole = tag(&body);
            (whole[3], whole[5]) = (version, flags);
            let made = plain(&whole, &mut 4096);
            prop_assert!(body_size(&made) == Some(made.len() - HEADER));
        }
    }
}
