//! Elements of Matroska and `WebM` files: the tags, which common programs write in several ways.
//!
//! RFC 9559 for the elements; matroska.org's "Matroska Tag Specifications" for the tags.

use std::collections::HashSet;
use std::io::{self, Cursor, Read, Seek};

use super::bytes::{MAX_ITEMS, MAX_TAG_BYTES, Patches, big, bytes_at};

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const CHAPTERS: u32 = 0x1043_a770;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const FLAG_DEFAULT: u32 = 0x88;
const CODEC_ID: u32 = 0x86;
const AUDIO: u32 = 0xe1;
const CHANNELS: u32 = 0x9f;
const INFO: u32 = 0x1549_a966;
const SEGMENT_TITLE: u32 = 0x7ba9;
const TAGS: u32 = 0x1254_c367;
const TAG: u32 = 0x7373;
const TARGETS: u32 = 0x63c0;
const TARGET_TYPE_VALUE: u32 = 0x68ca;
/// Editions, chapters and attachments, whose tags are not about the whole track.
const OTHER_TARGETS: [u32; 3] = [0x63c9, 0x63c4, 0x63c6];
const SIMPLE_TAG: u32 = 0x67c8;
const TAG_NAME: u32 = 0x45a3;
const TAG_STRING: u32 = 0x4487;
/// A value of `TargetTypeValue`: greater ones are about more than an album, lower ones about less.
const ALBUM: u64 = 50;
const DISC: u64 = 40;

/// An element of a segment.
struct Element {
    id: u32,
    /// Where its header begins.
    at: u64,
    body: u64,
    size: u64,
}

/// The parts of a file that a reader may see: no chapters, which FFmpeg writes without numbers (RFC 9559, section 5.1), and
/// no track but the one that is heard.
pub(super) fn repairs(file: &mut (impl Read + Seek), length: u64) -> io::Result<Patches> {
    const VOID: u8 = 0xec;
    let mut patches = Patches::new();
    for element in elements(file, length, Some(CLUSTER))? {
        if element.id == CHAPTERS {
            // An id that no element has: readers pass over what they do not know.
            patches.push((element.at + 3, vec![0x7f]));
        } else if element.id == TRACKS && element.size <= MAX_TAG_BYTES as u64 {
            let tracks = bytes_at(file, element.body, element.size)?;
            let others = other_tracks(&tracks)?.into_iter();
            let hidden = others.map(|track| (element.body + track.at, vec![VOID]));
            patches.extend(hidden.take(MAX_ITEMS.saturating_sub(patches.len())));
        }
    }
    Ok(patches)
}

/// The tracks beside the one that is heard: the first of sound, one that is the default before others.
fn other_tracks(tracks: &[u8]) -> io::Result<Vec<Element>> {
    let mut found = elements(&mut Cursor::new(tracks), tracks.len() as u64, None)?;
    found.retain(|track| track.id == TRACK_ENTRY);
    let ranks = found.iter().filter_map(|track| {
        let entry = &tracks[track.body as usize..][..track.size as usize];
        Some((!is_default(entry)?, track.at))
    });
    let heard = ranks.min().map(|(_, at)| at);
    found.retain(|track| heard.is_some_and(|heard| heard != track.at));
    Ok(found)
}

/// Whether a track of sound is the default; `None` for one that is not decoded.
fn is_default(entry: &[u8]) -> Option<bool> {
    const AAC: &[u8] = b"AAC";
    const OTHERS: [&[u8]; 6] = [b"ALAC", b"FLAC", b"MPEG/L", b"OPUS", b"PCM/", b"VORBIS"];
    let codec = child(entry, CODEC_ID)?.strip_prefix(b"A_")?;
    let channels = child(child(entry, AUDIO)?, CHANNELS).map_or(1, big);
    // AAC is decoded in mono and stereo.
    let is_decoded = OTHERS.iter().any(|known| codec.starts_with(known))
        || codec.starts_with(AAC) && channels <= 2;
    // The flag is 1 if it is absent or empty.
    let flag = child(entry, FLAG_DEFAULT).filter(|flag| !flag.is_empty());
    is_decoded.then(|| flag.is_none_or(|flag| big(flag) != 0))
}

/// Id and size at the start of an element, and the bytes of both; no size if it is unknown.
fn head(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    // Leading zeros of the first byte give the width (RFC 8794, section 4). An id keeps the bit
    // after them, a size does not.
    let id_width = bytes.first()?.leading_zeros() as usize + 1;
    let size_width = bytes.get(id_width)?.leading_zeros() as usize + 1;
    if id_width > 4 || size_width > 8 {
        return None;
    }
    let size = bytes.get(id_width..id_width + size_width)?;
    // All bits set: the writer did not know the size, as in a live stream.
    let unknown = (1u64 << (7 * size_width)) - 1;
    let size = Some(big(size) & unknown).filter(|size| *size != unknown);
    Some((big(&bytes[..id_width]) as u32, size, id_width + size_width))
}

/// The elements of a file's segment up to one that is truncated or of unknown size, or to one of this id.
fn elements(
    file: &mut (impl Read + Seek),
    length: u64,
    until: Option<u32>,
) -> io::Result<Vec<Element>> {
    let mut found = Vec::new();
    let mut at = 0;
    while found.len() < MAX_ITEMS {
        let Some((id, size, width)) = head(&bytes_at(file, at, 12)?) else {
            break;
        };
        let body = at + width as u64;
        if id == SEGMENT {
            at = body;
            continue;
        }
        let left = length.saturating_sub(body);
        let Some(size) = size.filter(|size| *size <= left && until != Some(id)) else {
            break;
        };
        found.push(Element { id, at, body, size });
        at = body + size;
    }
    Ok(found)
}

/// The elements within another; the last may be truncated.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    std::iter::from_fn(move || {
        let (id, size, width) = head(bytes)?;
        let body = &bytes[width..];
        let size = size.map_or(body.len(), |size| body.len().min(size as usize));
        let (content, rest) = body.split_at(size);
        bytes = rest;
        Some((id, content))
    })
}

/// The first element of this id within another.
fn child(parent: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = children(parent).filter(|(id, _)| *id == wanted);
    found.next().map(|(_, content)| content)
}

/// A tag's `TargetTypeValue`, 0 without one, as many programs write none for a track; its name and its value.
type MkvTag = (u64, String, Vec<u8>);

/// The tags of a file of `length` bytes under their names in Vorbis comments.
pub(super) fn texts(
    file: &mut (impl Read + Seek),
    length: u64,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut tags = Vec::new();
    let mut title = Vec::new();
    for element in elements(file, length, None)? {
        if !matches!(element.id, INFO | TAGS) || element.size > MAX_TAG_BYTES as u64 {
            continue;
        }
        let bytes = bytes_at(file, element.body, element.size)?;
        for (id, content) in children(&bytes) {
            match id {
                SEGMENT_TITLE => title = content.to_vec(),
                TAG => tags.extend(tags_of(content)),
                _ => {}
            }
        }
    }
    Ok(named(&tags, title))
}

fn tags_of(tag: &[u8]) -> Vec<MkvTag> {
    let targets = child(tag, TARGETS).unwrap_or_default();
    let is_of_part = |(id, value): (u32, &[u8])| OTHER_TARGETS.contains(&id) && big(value) != 0;
    if children(targets).any(is_of_part) {
        return Vec::new();
    }
    let level = child(targets, TARGET_TYPE_VALUE).map_or(0, big);
    let simple = children(tag).filter(|(id, _)| *id == SIMPLE_TAG);
    let named = simple.map(|(_, simple)| {
        let text = |wanted: u32| child(simple, wanted).unwrap_or_default();
        let name = String::from_utf8_lossy(text(TAG_NAME));
        let name = name.trim_end_matches('\0').to_uppercase();
        (level, name, text(TAG_STRING).to_vec())
    });
    named.collect()
}

/// The tags, each once, under their names in Vorbis comments.
fn named(tags: &[MkvTag], title: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut known = HashSet::new();
    let has_album = tags.iter().any(|(_, name, _)| name == "ALBUM");
    for (level, name, text) in tags {
        // At the level of an album, TITLE is its name by the specification; between it and a track are discs.
        let is_about_album = *level >= ALBUM;
        let is_about_disc = (DISC..ALBUM).contains(level);
        let name = match name.as_str() {
            "TITLE" if is_about_album && has_album => continue,
            "TITLE" if is_about_album => "ALBUM",
            "ARTIST" if is_about_album => "ALBUMARTIST",
            "ALBUM_ARTIST" | "ALBUM ARTIST" => "ALBUMARTIST",
            "PART_NUMBER" | "REPLAYGAIN_GAIN" if is_about_album => continue,
            "PART_NUMBER" if is_about_disc => "DISCNUMBER",
            "TITLE" if is_about_disc => continue,
            "PART_NUMBER" => "TRACKNUMBER",
            "DATE_RECORDED" | "DATE_RELEASED" | "DATE_RELEASE" => "DATE",
            "REPLAYGAIN_GAIN" => "REPLAYGAIN_TRACK_GAIN",
            "MUSICBRAINZ_RECORDINGID" => "MUSICBRAINZ_TRACKID",
            name => name,
        };
        let text = (name.to_owned(), text.clone());
        if known.insert(text.clone()) {
            texts.push(text);
        }
    }
    let has = |wanted: &str| texts.iter().any(|(name, _)| name == wanted);
    let mut added = Vec::new();
    if !has("TITLE") && !title.is_empty() {
        added.push(("TITLE".to_owned(), title));
    }
    // The album's artist is the track's, unless there is another.
    if !has("ARTIST") {
        let of_album = texts.iter().filter(|(name, _)| name == "ALBUMARTIST");
        added.extend(of_album.map(|(_, text)| ("ARTIST".to_owned(), text.clone())));
    }
    texts.extend(added);
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(id: u32, body: &[u8]) -> Vec<u8> {
        let id = id.to_be_bytes();
        let id = &id[id.iter().take_while(|&&byte| byte == 0).count()..];
        let size = (body.len() as u32 | 0x1000_0000).to_be_bytes();
        [id, &size, body].concat()
    }

    fn tag(level: &[u8], texts: &[(&str, &str)]) -> Vec<u8> {
        let targets = element(TARGETS, &element(TARGET_TYPE_VALUE, level));
        let texts = texts.iter().flat_map(|(name, text)| {
            let name = element(TAG_NAME, name.as_bytes());
            let text = element(TAG_STRING, text.as_bytes());
            element(SIMPLE_TAG, &[name, text].concat())
        });
        element(TAG, &[targets, texts.collect()].concat())
    }

    fn file(title: &str, tags: &[Vec<u8>]) -> Vec<u8> {
        let info = element(INFO, &element(SEGMENT_TITLE, title.as_bytes()));
        element(SEGMENT, &[info, element(TAGS, &tags.concat())].concat())
    }

    #[test]
    fn tags_are_about_a_track_an_album_or_a_disc() {
        let value = |file: &[u8], wanted: &str| {
            let all = texts(&mut Cursor::new(file), file.len() as u64).unwrap();
            let (_, text) = all.into_iter().find(|(name, _)| name == wanted)?;
            String::from_utf8(text).ok()
        };
        let flat = tag(&[], &[("ARTIST", "One"), ("PART_NUMBER", "3")]);
        let flat = file("Title", &[flat]);
        assert_eq!(value(&flat, "TITLE").as_deref(), Some("Title"));
        assert_eq!(value(&flat, "TRACKNUMBER").as_deref(), Some("3"));
        assert_eq!(value(&flat, "ALBUMARTIST"), None);
        let album = tag(&[50], &[("TITLE", "Album"), ("ARTIST", "Everybody")]);
        let disc = tag(&[40], &[("TITLE", "Disc"), ("PART_NUMBER", "2")]);
        let track = tag(&[30], &[("TITLE", "Title")]);
        let file = file("", &[album, disc, track]);
        assert_eq!(value(&file, "TITLE").as_deref(), Some("Title"));
        assert_eq!(value(&file, "ALBUM").as_deref(), Some("Album"));
        assert_eq!(value(&file, "ARTIST").as_deref(), Some("Everybody"));
        assert_eq!(value(&file, "DISCNUMBER").as_deref(), Some("2"));
        for length in 0..file.len() {
            let _ = value(&file[..length], "");
        }
    }

    /// The file has more blocks of a hidden track in a row than faults would be forgiven.
    #[test]
    fn the_track_that_is_heard_is_the_first_default_one_of_sound() {
        let track = |number: u8, codec: &str, flag: &[u8]| {
            let names = [element(0xd7, &[number]), element(0x73c5, &[number])].concat();
            let codec = element(CODEC_ID, codec.as_bytes());
            let audio = element(AUDIO, &element(0x6264, &[16]));
            element(TRACK_ENTRY, &[&names[..], &codec, &audio, flag].concat())
        };
        let [is_default, is_not] = [1, 0].map(|flag| element(FLAG_DEFAULT, &[flag]));
        let pcm = "A_PCM/INT/LIT";
        let tracks = [
            element(TRACK_ENTRY, &element(CODEC_ID, b"V_VP8")),
            track(1, "V_VP8", &is_default),
            track(2, "A_AC3", &is_default),
            track(3, pcm, &is_not),
            track(4, pcm, &[]),
            track(5, pcm, &is_default),
        ];
        let block = |number: u8| {
            let sound = [[number, 0, !number, 0xff]; 400].concat();
            element(0xa3, &[&[0x80 | number, 0, 0, 0][..], &sound].concat())
        };
        let blocks = [block(1).repeat(200), (2..6).flat_map(block).collect()].concat();
        let cluster = element(CLUSTER, &[element(0xe7, &[0]), blocks].concat());
        let tracks = element(TRACKS, &tracks.concat());
        let programs = [element(0x4d80, b"x"), element(0x5741, b"x")].concat();
        let info = element(INFO, &programs);
        let segment = element(SEGMENT, &[info, tracks, cluster].concat());
        let file = [element(0x1a45_dfa3, &element(0x4282, b"webm")), segment].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, &file).unwrap();
        let (heard, _) = crate::read_all(&path, 8000).unwrap();
        assert_eq!(heard.samples, [4.0, -5.0].map(|x| x / 32_768.0).repeat(400));
        for length in 0..file.len().min(600) {
            let _ = repairs(&mut Cursor::new(&file[..length]), length as u64);
        }
    }
}
