//! Boxes of MP4 files: finding them, hiding what strict readers refuse, and reading tags (items).
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "`QuickTime` File Format" for the items.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::Range;

use lofty::id3::v1::GENRES;
use voisin_base::encoding::{UTF_16BE, utf16};

use super::patch::TagItem;
use super::texts::NamedTexts;
use crate::bytes::{MAX_ITEMS, MAX_TAG_BYTES, Patches, big, bytes_at};

#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) kind: [u8; 4],
    /// Its start: in the file for an outermost box, else in the bytes it was found in.
    pub(super) start: u64,
    pub(super) body: u64,
    pub(super) end: u64,
}

impl Atom {
    /// The box with the header `head` at position `at` of a range that ends at `end`.
    fn parse(head: &[u8], at: u64, end: u64) -> Option<Self> {
        let kind = head.get(4..8)?.try_into().ok()?;
        let (header, size) = match big(&head[..4]) {
            0 => (8, end - at),
            1 => (16, big(head.get(8..16)?)),
            size => (8, size),
        };
        let last = at.checked_add(size);
        Some(Self {
            kind,
            start: at,
            body: at + header,
            end: last.filter(|last| size >= header && *last <= end)?,
        })
    }

    pub(super) fn within(&self) -> Range<usize> {
        self.body as usize..self.end as usize
    }

    /// The replacement that makes it free space.
    fn freed(&self) -> (u64, Vec<u8>) {
        (self.start + 4, b"free".to_vec())
    }
}

/// The consecutive boxes of a range up to an invalid one, and its position; fewer than eight bytes, or zeros, may be left
/// over.
fn follow(bytes: &[u8], range: Range<usize>) -> (Vec<Atom>, Option<usize>) {
    let mut found = Vec::new();
    let mut at = range.start;
    while at + 8 <= range.end && !bytes[at..range.end].iter().all(|&byte| byte == 0) {
        let atom = Atom::parse(&bytes[at..range.end], at as u64, range.end as u64);
        let Some(atom) = atom.filter(|_| found.len() < MAX_ITEMS) else {
            return (found, Some(at));
        };
        at = atom.end as usize;
        found.push(atom);
    }
    (found, None)
}

/// The outermost boxes of a file up to an invalid one, and its position. Sound that is cut off reaches to the end.
fn follow_file(file: &mut (impl Read + Seek), length: u64) -> io::Result<(Vec<Atom>, Option<u64>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= length {
        let head = bytes_at(file, at, 16)?;
        let atom = Atom::parse(&head, at, length).filter(|_| found.len() < MAX_ITEMS);
        let Some(atom) = atom else {
            if let Some(b"mdat") = head.get(4..8) {
                found.push(Atom {
                    kind: *b"mdat",
                    start: at,
                    body: at + 8,
                    end: length,
                });
            }
            return Ok((found, Some(at)));
        };
        at = atom.end;
        found.push(atom);
    }
    Ok((found, None))
}

/// The outermost boxes of a file, the last of which may be sound that is cut off.
pub(super) fn atoms_of_file(file: &mut File) -> Result<Vec<Atom>, String> {
    let text = |error: io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let (atoms, damaged_at) = follow_file(file, length).map_err(text)?;
    match damaged_at {
        Some(at) if atoms.last().is_none_or(|last| last.start != at) => {
            Err(format!("its box at byte {at} is damaged or cut off"))
        }
        _ => Ok(atoms),
    }
}

/// Whether a file begins with a box of MP4.
pub(crate) fn is_movie(head: &[u8]) -> bool {
    matches!(
        head.get(4..8),
        Some(b"ftyp" | b"moov" | b"styp" | b"mdat" | b"wide" | b"free" | b"skip")
    )
}

/// The parts of a file of `length` bytes that a reader may see: no tags, no track but the one that is heard, no bytes that are
/// no boxes, and no sound beyond the end.
pub(crate) fn repairs(file: &mut (impl Read + Seek), length: u64) -> io::Result<Patches> {
    let (all, damaged_at) = follow_file(file, length)?;
    let mut patches = Vec::new();
    for atom in &all {
        match &atom.kind {
            b"udta" | b"meta" => patches.push(atom.freed()),
            b"mdat" if damaged_at == Some(atom.start) => {
                let there = length - atom.start;
                // The header's size, or 1 and a longer one behind the name.
                patches.push(if big(&bytes_at(file, atom.start, 4)?) == 1 {
                    (atom.start + 8, there.to_be_bytes().to_vec())
                } else {
                    let there = u32::try_from(there).unwrap_or(0);
                    (atom.start, there.to_be_bytes().to_vec())
                });
            }
            b"moov" if atom.end - atom.start <= MAX_TAG_BYTES as u64 => {
                let movie = Movie::read(file, atom)?;
                let within = movie.repairs().into_iter();
                patches.extend(within.map(|(at, bytes)| (movie.at + at, bytes)));
            }
            _ => {}
        }
    }
    Ok(patches)
}

/// The readable items of a file by name, but for pictures: texts as bytes, numbers as decimal text.
pub(super) fn texts(file: &mut File) -> io::Result<NamedTexts> {
    let mut texts = values(file, |kind| kind != b"covr")?;
    // A freeform item for genres beside the standard one is a copy, maybe outdated.
    if !texts.iter().any(|(name, _)| name == GENRE) {
        for (name, _) in &mut texts {
            if name.eq_ignore_ascii_case("----:com.apple.iTunes:GENRE") {
                GENRE.clone_into(name);
            }
        }
    }
    Ok(texts)
}

pub(super) fn pictures(file: &mut File) -> io::Result<Vec<Vec<u8>>> {
    let found = values(file, |kind| kind == b"covr")?.into_iter();
    Ok(found.map(|(_, picture)| picture).collect())
}

/// The values of the items of these kinds, with their names.
fn values(file: &mut File, is_wanted: fn(&[u8; 4]) -> bool) -> io::Result<NamedTexts> {
    let length = file.metadata()?.len();
    let (all, _) = follow_file(file, length)?;
    let is_read =
        |atom: &&Atom| atom.kind == *b"moov" && atom.end - atom.start <= MAX_TAG_BYTES as u64;
    let Some(first) = all.iter().find(is_read) else {
        return Ok(Vec::new());
    };
    let movie = Movie::read(file, first)?;
    let mut found = Vec::new();
    for udta in movie.readable(&movie.root, b"udta") {
        for meta in movie.readable(&udta, b"meta") {
            if !movie.is_itunes(&meta) {
                continue;
            }
            for list in movie.readable(&meta, b"ilst") {
                let (items, _) = follow(&movie.bytes, list.within());
                let items = items.iter().filter(|item| is_wanted(&item.kind));
                let values = items.flat_map(|item| movie.values_of(item));
                found.extend(values.take(MAX_ITEMS.saturating_sub(found.len())));
            }
        }
    }
    Ok(found)
}

/// The `moov` box, which holds everything but the sound, in memory.
pub(super) struct Movie {
    pub(super) bytes: Vec<u8>,
    pub(super) root: Atom,
    pub(super) at: u64,
}

pub(super) fn movie(file: &mut File, all: &[Atom]) -> Result<Movie, String> {
    let mut movies = all.iter().filter(|atom| atom.kind == *b"moov");
    let (Some(found), None) = (movies.next(), movies.next()) else {
        return Err("it has not exactly one box moov".to_owned());
    };
    if found.end - found.start > MAX_TAG_BYTES as u64 {
        return Err("its box moov is larger than any that is read".to_owned());
    }
    Movie::read(file, found).map_err(|error| error.to_string())
}

impl Movie {
    fn read(file: &mut (impl Read + Seek), found: &Atom) -> io::Result<Self> {
        let bytes = bytes_at(file, found.start, found.end - found.start)?;
        let root = Atom {
            kind: found.kind,
            start: 0,
            body: (found.body - found.start).min(bytes.len() as u64),
            end: bytes.len() as u64,
        };
        Ok(Self {
            bytes,
            root,
            at: found.start,
        })
    }

    fn repairs(&self) -> Patches {
        let (children, _) = follow(&self.bytes, self.root.within());
        let is_tags = |child: &&Atom| matches!(&child.kind, b"udta" | b"meta");
        let tags = children.iter().filter(is_tags);
        let others = self.other_tracks(&children).into_iter();
        let mut patches: Patches = tags.chain(others).map(Atom::freed).collect();
        let end = children.last().map_or(self.root.body, |last| last.end);
        let left = self.root.end - end;
        if left >= 8 {
            let size = (left as u32).to_be_bytes();
            patches.push((end, [&size[..], b"free"].concat()));
        }
        patches
    }

    /// The tracks beside the one that is heard: the first of sound, one that is enabled before others.
    fn other_tracks<'a>(&self, children: &'a [Atom]) -> Vec<&'a Atom> {
        const UNDECODED: [&[u8]; 8] = [
            b"ac-3", b"ec-3", b"ac-4", b"dtsc", b"dtsh", b"dtsl", b"samr", b"enca",
        ];
        let content = |track: &Atom, path: &[&[u8; 4]], range: Range<usize>| {
            let mut atom = Some(track.clone());
            for kind in path {
                atom = self.readable(&atom?, kind).into_iter().next();
            }
            self.bytes[atom?.within()].get(range)
        };
        let tracks = children.iter().filter(|child| child.kind == *b"trak");
        let is_sound =
            |track: &&Atom| content(track, &[b"mdia", b"hdlr"], 8..12) == Some(&b"soun"[..]);
        let rank = |track: &&Atom| {
            let codec = content(track, &[b"mdia", b"minf", b"stbl", b"stsd"], 12..16);
            let flags = content(track, &[b"tkhd"], 3..4);
            let is_enabled = flags.is_some_and(|flags| flags[0] & 1 != 0);
            (
                codec.is_none_or(|codec| UNDECODED.contains(&codec)),
                !is_enabled,
            )
        };
        let heard = tracks.clone().filter(is_sound).min_by_key(rank);
        // The parts of a fragmented file name their tracks.
        let is_whole = !children.iter().any(|child| child.kind == *b"mvex");
        match heard.filter(|_| is_whole) {
            Some(heard) => tracks.filter(|track| track.start != heard.start).collect(),
            None => Vec::new(),
        }
    }

    pub(super) fn children(&self, atom: &Atom) -> Result<Vec<Atom>, String> {
        match follow(&self.bytes, self.content(atom)) {
            (atoms, None) => Ok(atoms),
            (_, Some(at)) => Err(format!("a box within its moov is damaged at byte {at}")),
        }
    }

    fn content(&self, atom: &Atom) -> Range<usize> {
        let mut range = atom.within();
        // A version and flags precede the inner boxes, except in QuickTime's.
        if atom.kind == *b"meta"
            && self.bytes.get(range.start + 4..range.start + 8) != Some(b"hdlr")
        {
            range.start = (range.start + 4).min(range.end);
        }
        range
    }

    pub(super) fn all(&self, atoms: &[Atom], kind: &[u8; 4]) -> Result<Vec<Atom>, String> {
        let mut found = Vec::new();
        for atom in atoms {
            let children = self.children(atom)?.into_iter();
            found.extend(children.filter(|child| child.kind == *kind));
        }
        Ok(found)
    }

    /// Boxes within another up to an invalid one.
    fn readable(&self, atom: &Atom, kind: &[u8; 4]) -> Vec<Atom> {
        let (mut found, _) = follow(&self.bytes, self.content(atom));
        found.retain(|atom| atom.kind == *kind);
        found
    }

    fn values_of(&self, item: &Atom) -> NamedTexts {
        const UTF_16: u64 = 2;
        let names: String = item.kind.iter().map(|&byte| char::from(byte)).collect();
        let name = names + &self.name(item);
        let value = |data: Atom| {
            let content = &self.bytes[data.within()];
            let kind = big(content.get(..4)?) & 0x00ff_ffff;
            let value = content.get(8..)?;
            let text = match &item.kind {
                b"gnre" => {
                    let genre = GENRES.get((big(value.get(..2)?) as usize).checked_sub(1)?)?;
                    return Some((GENRE.to_owned(), genre.as_bytes().to_vec()));
                }
                b"trkn" | b"disk" => big(value.get(2..4)?).to_string().into_bytes(),
                b"tmpo" if value.len() <= 8 => big(value).to_string().into_bytes(),
                b"covr" => value.to_vec(),
                _ if kind == UTF_16 => utf16(value, UTF_16BE).into_bytes(),
                _ => value.to_vec(),
            };
            Some((name.clone(), text))
        };
        let data = self.readable(item, b"data");
        data.into_iter().filter_map(value).collect()
    }

    /// Whether a `meta` box holds items in the format of iTunes, not `QuickTime`'s by number and key.
    pub(super) fn is_itunes(&self, meta: &Atom) -> bool {
        let handler = self.readable(meta, b"hdlr").into_iter().next();
        let kind = handler.and_then(|handler| self.bytes[handler.within()].get(8..12));
        !matches!(kind, Some(b"mdta" | b"ID32"))
    }

    /// The lists of items, each with its enclosing boxes, outermost first.
    pub(super) fn lists(&self) -> Result<Vec<[Atom; 4]>, String> {
        let mut found = Vec::new();
        for udta in self.all(std::slice::from_ref(&self.root), b"udta")? {
            for meta in self.all(std::slice::from_ref(&udta), b"meta")? {
                if !self.is_itunes(&meta) {
                    continue;
                }
                for list in self.all(std::slice::from_ref(&meta), b"ilst")? {
                    found.push([self.root.clone(), udta.clone(), meta.clone(), list]);
                }
            }
        }
        Ok(found)
    }

    pub(super) fn items(&self, list: &Atom) -> Result<Vec<TagItem>, String> {
        let item = |atom: Atom| TagItem {
            start: atom.start as usize,
            end: atom.end as usize,
            is_genre: match &atom.kind {
                b"\xa9gen" | b"gnre" => true,
                _ => (self.name(&atom)).eq_ignore_ascii_case(":com.apple.iTunes:GENRE"),
            },
        };
        Ok(self.children(list)?.into_iter().map(item).collect())
    }

    /// The name of a freeform item: `:com.apple.iTunes:BPM`; empty for another.
    fn name(&self, item: &Atom) -> String {
        let mut name = String::new();
        if item.kind == *b"----" {
            for kind in [b"mean", b"name"] {
                let part = self.readable(item, kind).into_iter().next();
                let text = part.and_then(|part| self.bytes[part.within()].get(4..));
                name.extend(text.map(|text| format!(":{}", String::from_utf8_lossy(text))));
            }
        }
        name
    }
}

const GENRE: &str = "\u{a9}gen";

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::mp4_edit::boxed;
    use super::*;

    fn seen(file: &[u8]) -> Vec<u8> {
        let mut seen = file.to_vec();
        for (at, bytes) in repairs(&mut Cursor::new(file), file.len() as u64).unwrap() {
            seen[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        seen
    }

    fn movie(boxes: &[Vec<u8>]) -> Vec<u8> {
        let movie = boxed(b"moov", &boxes.concat());
        [boxed(b"ftyp", b""), movie, boxed(b"mdat", b"7")].concat()
    }

    #[test]
    fn the_track_that_is_heard_is_the_first_enabled_one_of_sound() {
        let track = |handler: &[u8; 4], is_enabled: bool, codec: &[u8; 4]| {
            let header = boxed(b"tkhd", &[0, 0, 0, u8::from(is_enabled)]);
            let handler = boxed(b"hdlr", &[&[0; 8], &handler[..]].concat());
            let entry = boxed(b"stsd", &[&[0; 12], &codec[..]].concat());
            let tables = boxed(b"minf", &boxed(b"stbl", &entry));
            let media = boxed(b"mdia", &[handler, tables].concat());
            boxed(b"trak", &[header, media].concat())
        };
        let tracks = [
            track(b"vide", true, b"jpeg"),
            track(b"soun", true, b"ac-3"),
            track(b"soun", false, b"mp4a"),
            track(b"soun", true, b"mp4a"),
            track(b"soun", true, b"alac"),
        ];
        let shown = seen(&movie(&tracks));
        let mut expected = tracks.clone();
        for i in [0, 1, 2, 4] {
            expected[i][4..8].copy_from_slice(b"free");
        }
        assert_eq!(shown, movie(&expected));
        let fragmented = movie(&[&tracks[..], &[boxed(b"mvex", b"")]].concat());
        assert_eq!(seen(&fragmented), fragmented);
        for length in 0..shown.len() {
            let _ = seen(&movie(&tracks)[..length]);
        }
    }
}
