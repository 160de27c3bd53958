//! Elements of a Matroska or `WebM` file that Symphonia ignores: `CodecDelay`, `DiscardPadding`, and tags as common
//! programs write them.
//!
//! RFC 9559 for the elements; matroska.org's "Matroska Tag Specifications" for the tags.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::fill::{big, read_up_to};
use voisin_base::text::LONGEST_TEXT;

/// Nanoseconds to cut from one track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MkvGapless {
    /// From its start.
    pub codec_delay: u64,
    /// From its end.
    pub discard_padding: u64,
}

pub(super) const SEGMENT: u32 = 0x1853_8067;
pub(super) const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const CODEC_DELAY: u32 = 0x56aa;
pub(super) const CLUSTER: u32 = 0x1f43_b675;
/// The element with the positions of a segment's other elements.
pub(super) const SEEK_HEAD: u32 = 0x114d_9b74;
/// An element without content.
const VOID: u8 = 0xec;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;
pub(super) const INFO: u32 = 0x1549_a966;
const SEGMENT_TITLE: u32 = 0x7ba9;
pub(super) const TAGS: u32 = 0x1254_c367;
const TAG: u32 = 0x7373;
const TARGETS: u32 = 0x63c0;
const TARGET_TYPE_VALUE: u32 = 0x68ca;
const TARGET_TYPE: u32 = 0x63ca;
/// Editions, chapters and attachments, whose tags are not about the whole track.
const OTHER_TARGETS: [u32; 3] = [0x63c9, 0x63c4, 0x63c6];
const SIMPLE_TAG: u32 = 0x67c8;
const TAG_NAME: u32 = 0x45a3;
const TAG_STRING: u32 = 0x4487;
/// A value of `TargetTypeValue`: it and greater ones are about more than a track.
const ALBUM: u64 = 50;
const PART: u64 = 40;
const TRACK: u64 = 30;

/// Most elements that are read; a three-hour file has some thousand clusters.
const MAX_ELEMENTS: u32 = 100_000;

struct Element {
    id: u32,
    body: u64,
    end: u64,
}

/// The id and size that an element begins with.
pub(super) struct ElementHead {
    pub(super) id: u32,
    pub(super) id_width: usize,
    pub(super) size_width: usize,
    /// `None` if unknown: up to the end of the parent.
    pub(super) size: Option<u64>,
}

impl ElementHead {
    /// - `bytes`: twelve, or as many as there are
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        // Leading zeros of the first byte give the width (RFC 8794, section 4). An id keeps the bit
        // after them, a size does not.
        let id_width = bytes.first()?.leading_zeros() as usize + 1;
        if id_width > 4 {
            return None;
        }
        let size_width = bytes.get(id_width)?.leading_zeros() as usize + 1;
        if size_width > 8 {
            return None;
        }
        let size = bytes.get(id_width..id_width + size_width)?;
        // All bits set: the writer did not know the size, as in a live stream.
        let unknown = (1u64 << (7 * size_width)) - 1;
        let size = big(size) & unknown;
        Some(Self {
            id: big(&bytes[..id_width]) as u32,
            id_width,
            size_width,
            size: (size != unknown).then_some(size),
        })
    }
}

/// Encodes a size in this number of bytes.
pub(super) fn sized(size: u64, width: usize) -> Vec<u8> {
    let marked = size | 1 << (7 * width);
    marked.to_be_bytes()[8 - width..].to_vec()
}

/// The header that turns an element with a body of `size` bytes into a void.
pub(super) fn void(head: &ElementHead, size: u64) -> Vec<u8> {
    // A void's id has one byte, and its size takes up what is left of the header, of eight bytes at most.
    let left = head.id_width + head.size_width - 1;
    let width = left.min(8);
    let size = size + (left - width) as u64;
    [&[VOID], &sized(size, width)[..]].concat()
}

struct Walker<'a, R> {
    reader: &'a mut R,
    budget: u32,
}

/// Reads delay and padding of the track with this number; zeros if missing or invalid.
pub(super) fn gapless(reader: &mut (impl Read + Seek), track: u64) -> MkvGapless {
    let mut found = MkvGapless::default();
    let mut walker = Walker {
        reader,
        budget: MAX_ELEMENTS,
    };
    // An unreadable element ends the walk; values found before it are still valid.
    let _ = walker.file(track, &mut found);
    found
}

/// A name with its value and target.
struct MkvTag {
    /// `TargetTypeValue`, else that of `TargetType`; many programs write neither, for the track.
    level: Option<u64>,
    name: String,
    text: Vec<u8>,
}

/// The tags of a file under their names in Vorbis comments.
pub(super) fn texts(reader: &mut (impl Read + Seek)) -> Vec<(String, Vec<u8>)> {
    let mut walker = Walker {
        reader,
        budget: MAX_ELEMENTS,
    };
    let mut tags = Vec::new();
    let mut segment_title = Vec::new();
    // An unreadable element ends the walk; the tags before it are still valid.
    let _ = walker.tags(&mut tags, &mut segment_title);
    let is_about_album = |tag: &MkvTag| tag.level.is_some_and(|level| level >= ALBUM);
    let is_about_part = |tag: &MkvTag| tag.level == Some(PART);
    let has_album = tags.iter().any(|tag| tag.name == "ALBUM");
    let is_title = |tag: &MkvTag| tag.name == "TITLE" && tag.level.is_none_or(|level| level < PART);
    let has_title = tags.iter().any(is_title);
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    let mut known = HashSet::new();
    for tag in &tags {
        // At the level of an album, TITLE is the album's name by the specification, unless ALBUM is
        // there.
        let name = match tag.name.as_str() {
            "TITLE" if is_about_album(tag) && has_album => continue,
            "TITLE" if is_about_album(tag) => "ALBUM",
            "ARTIST" if is_about_album(tag) => "ALBUMARTIST",
            "ALBUM_ARTIST" | "ALBUM ARTIST" => "ALBUMARTIST",
            "PART_NUMBER" | "REPLAYGAIN_GAIN" if is_about_album(tag) => continue,
            // A disc may have a title besides those of its tracks.
            "TITLE" if is_about_part(tag) && has_title => continue,
            "PART_NUMBER" if is_about_part(tag) => "DISCNUMBER",
            "PART_NUMBER" | "TRACK" => "TRACKNUMBER",
            "DISC" => "DISCNUMBER",
            "DATE_RECORDED" | "DATE_RELEASED" | "DATE_RELEASE" => "DATE",
            "INITIAL_KEY" => "INITIALKEY",
            "REPLAYGAIN_GAIN" => "REPLAYGAIN_TRACK_GAIN",
            "MUSICBRAINZ_RECORDINGID" => "MUSICBRAINZ_TRACKID",
            name => name,
        };
        let text = (name.to_owned(), tag.text.clone());
        if known.insert(text.clone()) {
            texts.push(text);
        }
    }
    let has =
        |texts: &[(String, Vec<u8>)], wanted: &str| texts.iter().any(|(name, _)| name == wanted);
    if !has(&texts, "TITLE") && !segment_title.is_empty() {
        texts.push(("TITLE".to_owned(), segment_title));
    }
    // The album's artist is the track's, unless there is another.
    if !has(&texts, "ARTIST") {
        let of_album = texts.iter().filter(|(name, _)| name == "ALBUMARTIST");
        let artists: Vec<_> = of_album
            .map(|(_, text)| ("ARTIST".to_owned(), text.clone()))
            .collect();
        texts.extend(artists);
    }
    texts
}

/// The `TargetTypeValue` of a `TargetType` for music.
fn level_of(kind: &[u8]) -> Option<u64> {
    let kind = String::from_utf8_lossy(kind).to_uppercase();
    match kind.trim_end_matches('\0') {
        "COLLECTION" => Some(70),
        "EDITION" | "ISSUE" | "VOLUME" | "OPUS" => Some(60),
        "ALBUM" | "OPERA" | "CONCERT" => Some(ALBUM),
        "PART" | "SESSION" | "DISC" => Some(PART),
        "TRACK" | "SONG" => Some(TRACK),
        _ => None,
    }
}

impl<R: Read + Seek> Walker<'_, R> {
    fn tags(&mut self, tags: &mut Vec<MkvTag>, title: &mut Vec<u8>) -> io::Result<()> {
        let end = self.reader.seek(SeekFrom::End(0))?;
        self.children(0, end, &mut |walker, top| {
            if top.id != SEGMENT {
                return Ok(());
            }
            walker.children(top.body, top.end, &mut |walker, element| {
                match element.id {
                    INFO => walker.children(element.body, element.end, &mut |walker, info| {
                        if info.id == SEGMENT_TITLE {
                            *title = walker.bytes(info, LONGEST_TEXT)?;
                        }
                        Ok(())
                    })?,
                    TAGS => walker.children(element.body, element.end, &mut |walker, tag| {
                        if tag.id == TAG {
                            walker.tag(tag, tags)?;
                        }
                        Ok(())
                    })?,
                    _ => {}
                }
                Ok(())
            })
        })
    }

    fn tag(&mut self, tag: &Element, tags: &mut Vec<MkvTag>) -> io::Result<()> {
        let mut level = None;
        let mut kind = None;
        let mut is_of_part = false;
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        self.children(tag.body, tag.end, &mut |walker, element| {
            match element.id {
                TARGETS => walker.children(element.body, element.end, &mut |walker, target| {
                    if target.id == TARGET_TYPE {
                        kind = level_of(&walker.bytes(target, 16)?);
                        return Ok(());
                    }
                    let value = big(&walker.bytes(target, 8)?);
                    is_of_part |= OTHER_TARGETS.contains(&target.id) && value != 0;
                    if target.id == TARGET_TYPE_VALUE {
                        level = Some(value);
                    }
                    Ok(())
                })?,
                SIMPLE_TAG => {
                    let mut name = Vec::new();
                    let mut text = Vec::new();
                    walker.children(element.body, element.end, &mut |walker, part| {
                        match part.id {
                            TAG_NAME => name = walker.bytes(part, LONGEST_TEXT)?,
                            TAG_STRING => text = walker.bytes(part, LONGEST_TEXT)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    let name = String::from_utf8_lossy(&name)
                        .trim_end_matches('\0')
                        .to_uppercase();
                    found.push((name, text));
                }
                _ => {}
            }
            Ok(())
        })?;
        if !is_of_part {
            tags.extend(found.into_iter().map(|(name, text)| MkvTag {
                level: level.or(kind),
                name,
                text,
            }));
        }
        Ok(())
    }

    fn file(&mut self, track: u64, found: &mut MkvGapless) -> io::Result<()> {
        let end = self.reader.seek(SeekFrom::End(0))?;
        let mut last_cluster = None;
        self.children(0, end, &mut |walker, top| {
            if top.id != SEGMENT {
                return Ok(());
            }
            walker.children(top.body, top.end, &mut |walker, element| {
                match element.id {
                    TRACKS => walker.tracks(element, track, found)?,
                    // Padding is discarded from the end of a track, so only the last cluster is
                    // searched.
                    CLUSTER => last_cluster = Some((element.body, element.end)),
                    _ => {}
                }
                Ok(())
            })
        })?;
        let Some((body, end)) = last_cluster else {
            return Ok(());
        };
        self.children(body, end, &mut |walker, group| {
            if group.id != BLOCK_GROUP {
                return Ok(());
            }
            let mut ours = false;
            let mut padding = 0;
            walker.children(group.body, group.end, &mut |walker, element| {
                match element.id {
                    BLOCK => {
                        ours = walker
                            .bytes(element, 8)?
                            .first()
                            // Numbers above 127 take more bytes; such tracks, which music does not
                            // have, keep their padding.
                            .is_some_and(|&byte| u64::from(byte & 0x7f) == track);
                    }
                    DISCARD_PADDING => {
                        let bytes = walker.bytes(element, 8)?;
                        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                        // A negative one would cut from the start of its block.
                        padding = if negative { 0 } else { big(&bytes) };
                    }
                    _ => {}
                }
                Ok(())
            })?;
            // The last group of the track decides: earlier ones are followed by sound.
            if ours {
                found.discard_padding = padding;
            }
            Ok(())
        })
    }

    fn tracks(&mut self, tracks: &Element, wanted: u64, found: &mut MkvGapless) -> io::Result<()> {
        self.children(tracks.body, tracks.end, &mut |walker, entry| {
            if entry.id != TRACK_ENTRY {
                return Ok(());
            }
            let mut track = 0;
            let mut delay = 0;
            walker.children(entry.body, entry.end, &mut |walker, element| {
                match element.id {
                    TRACK_NUMBER => track = big(&walker.bytes(element, 8)?),
                    CODEC_DELAY => delay = big(&walker.bytes(element, 8)?),
                    _ => {}
                }
                Ok(())
            })?;
            if track == wanted {
                found.codec_delay = delay;
            }
            Ok(())
        })
    }

    fn children(
        &mut self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(&mut Self, &Element) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut position = start;
        // One budget for all levels: nested elements cannot multiply the work.
        while position < end && self.budget > 0 {
            self.budget -= 1;
            let Some(element) = self.element(position, end)? else {
                return Ok(());
            };
            visit(self, &element)?;
            position = element.end;
        }
        Ok(())
    }

    fn element(&mut self, position: u64, end: u64) -> io::Result<Option<Element>> {
        self.reader.seek(SeekFrom::Start(position))?;
        let mut head = [0; 12];
        let n = read_up_to(self.reader, &mut head)?;
        let Some(head) = ElementHead::parse(&head[..n]) else {
            return Ok(None);
        };
        let body = position + (head.id_width + head.size_width) as u64;
        let stop = head
            .size
            .map_or(end, |size| body.saturating_add(size).min(end));
        // A header that reaches beyond its parent has no body: its length would be negative.
        Ok((stop >= body).then_some(Element {
            id: head.id,
            body,
            end: stop,
        }))
    }

    /// The first bytes of an element's body.
    fn bytes(&mut self, element: &Element, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; at_most.min((element.end - element.body) as usize)];
        self.reader.seek(SeekFrom::Start(element.body))?;
        let n = read_up_to(self.reader, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
        [id, &[0x80 | body.len() as u8][..], body].concat()
    }

    fn file() -> Vec<u8> {
        let entry = |number, delay: &[u8]| {
            element(
                &[0xae],
                &[element(&[0xd7], &[number]), element(&[0x56, 0xaa], delay)].concat(),
            )
        };
        let tracks = element(
            &[0x16, 0x54, 0xae, 0x6b],
            &[entry(1, &[9]), entry(2, &[0x63, 0x2e, 0xa0])].concat(),
        );
        let group = |track: u8, padding: &[u8]| {
            element(
                &[0xa0],
                &[
                    element(&[0xa1], &[0x80 | track, 0, 0, 0]),
                    element(&[0x75, 0xa2], padding),
                ]
                .concat(),
            )
        };
        let first = element(&[0x1f, 0x43, 0xb6, 0x75], &group(2, &[7]));
        let last = element(
            &[0x1f, 0x43, 0xb6, 0x75],
            &[group(2, &[0x01, 0x00]), group(1, &[5])].concat(),
        );
        let header = element(&[0x1a, 0x45, 0xdf, 0xa3], &[]);
        [
            header,
            element(&[0x18, 0x53, 0x80, 0x67], &[tracks, first, last].concat()),
        ]
        .concat()
    }

    #[test]
    fn delay_and_padding_of_the_right_track_are_found() {
        assert_eq!(
            gapless(&mut Cursor::new(file()), 2),
            MkvGapless {
                codec_delay: 6_500_000,
                discard_padding: 256
            }
        );
        assert_eq!(
            gapless(&mut Cursor::new(file()), 1),
            MkvGapless {
                codec_delay: 9,
                discard_padding: 5
            }
        );
        assert_eq!(gapless(&mut Cursor::new(file()), 3), MkvGapless::default());
    }

    fn simple(name: &str, text: &str) -> Vec<u8> {
        let name = element(&[0x45, 0xa3], name.as_bytes());
        element(
            &[0x67, 0xc8],
            &[name, element(&[0x44, 0x87], text.as_bytes())].concat(),
        )
    }

    /// A level, and names with their values.
    type TestTag<'a> = (Option<u8>, &'a [(&'a str, &'a str)]);

    fn tagged(title: &str, tags: &[TestTag<'_>]) -> Vec<u8> {
        let mut all = Vec::new();
        for (level, texts) in tags {
            let level = level.map_or(Vec::new(), |level| element(&[0x68, 0xca], &[level]));
            let mut tag = element(&[0x63, 0xc0], &level);
            tag.extend(texts.iter().flat_map(|(name, text)| simple(name, text)));
            all.extend(element(&[0x73, 0x73], &tag));
        }
        let info = element(
            &[0x15, 0x49, 0xa9, 0x66],
            &element(&[0x7b, 0xa9], title.as_bytes()),
        );
        let tags = [
            &[
                0x12,
                0x54,
                0xc3,
                0x67,
                0x40 | (all.len() >> 8) as u8,
                all.len() as u8,
            ][..],
            &all,
        ]
        .concat();
        let body = [info, tags].concat();
        let mut file = element(&[0x1a, 0x45, 0xdf, 0xa3], &[]);
        file.extend([0x18, 0x53, 0x80, 0x67, 0xff]);
        file.extend(body);
        file
    }

    fn values(file: &[u8], wanted: &str) -> Vec<String> {
        texts(&mut Cursor::new(file))
            .into_iter()
            .filter(|(name, _)| name == wanted)
            .map(|(_, text)| String::from_utf8(text).unwrap())
            .collect()
    }

    #[test]
    fn tags_without_a_level_are_about_the_track() {
        let file = tagged(
            "A title",
            &[(
                None,
                &[
                    ("ARTIST", "One"),
                    ("ARTIST", "Two"),
                    ("ALBUM", "An album"),
                    ("DATE", "2004"),
                    ("PART_NUMBER", "3"),
                ],
            )],
        );
        assert_eq!(values(&file, "TITLE"), ["A title"]);
        assert_eq!(values(&file, "ARTIST"), ["One", "Two"]);
        assert_eq!(values(&file, "ALBUM"), ["An album"]);
        assert_eq!(values(&file, "TRACKNUMBER"), ["3"]);
        assert_eq!(values(&file, "DATE"), ["2004"]);
        assert!(values(&file, "ALBUMARTIST").is_empty());
    }

    #[test]
    fn tags_of_two_levels_tell_album_and_track_apart() {
        let file = tagged(
            "",
            &[
                (Some(50), &[("TITLE", "An album"), ("ARTIST", "Everybody")]),
                (Some(30), &[("TITLE", "A title"), ("ARTIST", "One")]),
            ],
        );
        assert_eq!(values(&file, "TITLE"), ["A title"]);
        assert_eq!(values(&file, "ALBUM"), ["An album"]);
        assert_eq!(values(&file, "ARTIST"), ["One"]);
        assert_eq!(values(&file, "ALBUMARTIST"), ["Everybody"]);
    }

    #[test]
    fn levels_have_names_as_well_as_numbers() {
        let tag = |kind: &str, texts: &[(&str, &str)]| {
            let mut tag = element(&[0x63, 0xc0], &element(&[0x63, 0xca], kind.as_bytes()));
            tag.extend(texts.iter().flat_map(|(name, text)| simple(name, text)));
            element(&[0x73, 0x73], &tag)
        };
        let all = [
            tag("ALBUM", &[("TITLE", "Album")]),
            tag("DISC", &[("TITLE", "Disc"), ("PART_NUMBER", "2")]),
            tag("TRACK", &[("TITLE", "Title"), ("PART_NUMBER", "3")]),
        ];
        let mut file = vec![0x18, 0x53, 0x80, 0x67, 0xff, 0x12, 0x54, 0xc3, 0x67, 0xff];
        file.extend(all.concat());
        assert_eq!(values(&file, "TITLE"), ["Title"]);
        assert_eq!(values(&file, "ALBUM"), ["Album"]);
        assert_eq!(values(&file, "TRACKNUMBER"), ["3"]);
        assert_eq!(values(&file, "DISCNUMBER"), ["2"]);
    }

    #[test]
    fn a_header_that_leaves_its_parent_ends_the_walk() {
        // The id of a delay whose size is after the track's entry.
        let entry = element(&[0xae], &[0x56, 0xaa]);
        let tracks = element(
            &[0x16, 0x54, 0xae, 0x6b],
            &[&entry[..], &[0x81, 7]].concat(),
        );
        let file = element(&[0x18, 0x53, 0x80, 0x67], &tracks);
        assert_eq!(gapless(&mut Cursor::new(file), 0), MkvGapless::default());
    }

    #[test]
    fn every_truncation_is_survived() {
        let file = file();
        for length in 0..file.len() {
            let _ = gapless(&mut Cursor::new(&file[..length]), 2);
        }
        let file = tagged("A title", &[(Some(50), &[("TITLE", "An album")])]);
        for length in 0..file.len() {
            let _ = texts(&mut Cursor::new(&file[..length]));
        }
    }
}
