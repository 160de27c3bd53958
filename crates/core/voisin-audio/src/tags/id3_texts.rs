//! The texts of an `ID3v2` tag by their fields: an invalid or too large text hides no other.
//!
//! For: texts and addresses in any encoding, names of any version. Not for: their meaning (`read`), or raw frames
//! (`id3`).

use lofty::id3::v1::GENRES;
use lofty::id3::v2::{upgrade_v2, upgrade_v3};
use lofty::tag::{ItemKey, ItemValue, Tag, TagItem, TagType};

use super::id3;
use super::texts::{ITUNES_GAIN, key, other_key};
use super::values::gain_of_itunes;
use voisin_base::encoding::{self, OldEncoding, Utf16};
use voisin_base::text::LONGEST_TEXT;

/// The fields of a tag that voisin reads. Compressed frames are inflated within `room` (bytes, of all tags) and
/// [`LONGEST_TEXT`].
pub(super) fn tag(tag: &[u8], room: &mut usize) -> Tag {
    let is_read = |id: &[u8]| id[0] == b'T' || matches!(id, b"WCOP" | b"WCP" | b"UFID" | b"UFI");
    let wanted = |id: &[u8]| is_read(id).then_some(LONGEST_TEXT);
    let mut fields = Tag::new(TagType::Id3v2);
    let Some((_, frames)) = id3::contents(tag, room, wanted) else {
        return fields;
    };
    let unmarked = frames.iter().filter(|(id, _)| id[0] == b'T');
    let unmarked = unmarked.filter_map(|(_, content)| match content.split_first()? {
        (0 | 3, text) => Some(text.split(|&byte| byte == 0)),
        _ => None,
    });
    // From all texts together, as one title is too short to detect an encoding.
    let old = OldEncoding::detect(unmarked.flatten());
    // Fields under other names, after those with the usual ones, the first of which counts.
    let mut others = Vec::new();
    for (id, content) in &frames {
        let Some((key, is_usual, text)) = field(id, content, old) else {
            continue;
        };
        let item = TagItem::new(key, ItemValue::Text(text));
        if is_usual {
            fields.push_unchecked(item);
        } else {
            others.push(item);
        }
    }
    for item in others {
        fields.push_unchecked(item);
    }
    fields
}

/// The field of a frame, whether under its usual name, and its text; `None` if voisin does not read it or it is invalid.
fn field(id: &[u8], content: &[u8], old: OldEncoding) -> Option<(ItemKey, bool, String)> {
    let id = std::str::from_utf8(id).ok()?;
    // Frames of 2.3 are found in tags of 2.4, too.
    let id = if id.len() == 3 {
        upgrade_v2(id)?
    } else {
        upgrade_v3(id).unwrap_or(id)
    };
    match id {
        "WCOP" => return Some((ItemKey::CopyrightUrl, true, address(content)?)),
        "UFID" => {
            let id = content.strip_prefix(b"http://musicbrainz.org\0")?;
            let id = String::from_utf8_lossy(id).into_owned();
            return Some((ItemKey::MusicBrainzRecordingId, true, id));
        }
        _ => {}
    }
    let (&encoding, text) = content.split_first()?;
    let decode = |bytes: &[u8]| match encoding {
        // 0 is Latin-1 and 3 is UTF-8 by the standard, but programs write other encodings under
        // both.
        0 | 3 => Some(old.decode(bytes)),
        1 => Some(encoding::utf16(bytes, Utf16::Little)),
        2 => Some(encoding::utf16(bytes, Utf16::Big)),
        _ => None,
    };
    if id == "TXXX" {
        let (name, value) = split_at_nul(text, matches!(encoding, 1 | 2))?;
        let name = decode(name)?;
        let usual = key(&name).or_else(|| ItemKey::from_key(TagType::Id3v2, &name));
        return Some((
            usual.or_else(|| other_key(&name))?,
            usual.is_some(),
            decode(value)?,
        ));
    }
    let text = decode(text)?;
    match id {
        "TCON" => Some((ItemKey::Genre, true, genres(&text))),
        "TRCK" => Some((ItemKey::TrackNumber, true, text)),
        "TPOS" => Some((ItemKey::DiscNumber, true, text)),
        _ => Some((ItemKey::from_key(TagType::Id3v2, id)?, true, text)),
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
fn address(content: &[u8]) -> Option<String> {
    let text = match content {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => encoding::utf16(content, Utf16::Little),
        _ => String::from_utf8_lossy(content).into_owned(),
    };
    let text = text.split('\0').next().unwrap_or_default().trim();
    (!text.is_empty() && text.is_ascii()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::super::id3::{MOST, in_seven_bits};
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

    fn texts(bytes: &[u8], room: &mut usize) -> Vec<(ItemKey, String)> {
        let items = super::tag(bytes, room);
        let text = |item: &TagItem| Some((item.key(), item.value().text()?.to_owned()));
        items.items().filter_map(text).collect()
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
        let song = [(ItemKey::TrackTitle, "A song".to_owned())];
        assert_eq!(texts(&tag(&full), &mut MOST.clone()), song);
    }

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

    #[test]
    fn a_compressed_frame_is_read_within_the_bound_only() {
        let small = frame(b"TIT2", 0x09, &deflated(b"\x03A song"));
        let bomb = frame(b"TXXX", 0x09, &deflated(&vec![0; 3 << 20]));
        let both = tag(&[bomb, small].concat());
        let mut room = 1 << 10;
        let song = [(ItemKey::TrackTitle, "A song".to_owned())];
        assert_eq!(texts(&both, &mut room), song);
        assert_eq!(room, (1 << 10) - 7);
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_tag(version in 2_u8..5, flags: u8, body in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut whole = tag(&body);
            (whole[3], whole[5]) = (version, flags);
            let _ = super::tag(&whole, &mut 4096);
        }
    }
}
