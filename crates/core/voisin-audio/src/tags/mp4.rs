//! Boxes of MP4 files, and their tags (items).
//!
//! For: finding and reading them. Not for: editing (`mp4_edit`).
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "`QuickTime` File Format" for the items.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use lofty::id3::v1::GENRES;
use voisin_base::encoding::{self, Utf16};
use voisin_base::text::LONGEST_TEXT;

use super::id3;
use super::patch::TagItem;
use super::values::MOST_TEXTS;
use crate::fill::big;

/// A box of a file or of another box.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) kind: [u8; 4],
    /// Its start: in the file for an outermost box, else in the bytes it was found in.
    pub(super) start: u64,
    /// Start of its content.
    pub(super) body: u64,
    pub(super) end: u64,
}

impl Atom {
    pub(super) fn within(&self) -> Range<usize> {
        self.body as usize..self.end as usize
    }

    /// The box with its header.
    pub(super) fn whole(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The box with the header `head` at position `at` of a range that ends at `end`.
fn atom(head: &[u8], at: u64, end: u64) -> Option<Atom> {
    let size = head.get(..4)?;
    let kind = head.get(4..8)?;
    let (header, size) = match big(size) {
        0 => (8, end - at),
        1 => (16, big(head.get(8..16)?)),
        size => (8, size),
    };
    let last = at
        .checked_add(size)
        .filter(|last| size >= header && *last <= end)?;
    Some(Atom {
        kind: kind.try_into().ok()?,
        start: at,
        body: at + header,
        end: last,
    })
}

/// The consecutive boxes of a range; fewer than eight bytes, or zeros, may be left over.
///
/// # Errors
/// A message if they do not fill the range.
pub(super) fn atoms(bytes: &[u8], range: Range<usize>) -> Result<Vec<Atom>, String> {
    match follow(bytes, range) {
        (atoms, None) => Ok(atoms),
        (_, Some(at)) => Err(format!("a box within its moov is damaged at byte {at}")),
    }
}

/// The boxes up to an invalid one, and its position.
fn follow(bytes: &[u8], range: Range<usize>) -> (Vec<Atom>, Option<usize>) {
    let mut found = Vec::new();
    let mut at = range.start;
    while at + 8 <= range.end && !bytes[at..range.end].iter().all(|&byte| byte == 0) {
        let Some(atom) = atom(&bytes[at..range.end], at as u64, range.end as u64) else {
            return (found, Some(at));
        };
        at = atom.end as usize;
        found.push(atom);
    }
    (found, None)
}

/// The outermost boxes of a file.
///
/// # Errors
/// A message if one is truncated.
pub(super) fn atoms_of_file(file: &mut File) -> Result<Vec<Atom>, String> {
    match follow_file(file) {
        Ok((atoms, None)) => Ok(atoms),
        Ok((_, Some(at))) => Err(format!("its box at byte {at} is damaged or cut off")),
        Err(error) => Err(error.to_string()),
    }
}

/// The boxes up to an invalid one, and its position.
fn follow_file(file: &mut File) -> io::Result<(Vec<Atom>, Option<u64>)> {
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= length {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        file.take(16).read_to_end(&mut head)?;
        let cut = |kind: &[u8; 4]| {
            (head.get(4..8) == Some(&kind[..])).then_some(Atom {
                kind: *kind,
                start: at,
                body: at + 8,
                end: length,
            })
        };
        // Truncated sound plays up to the end.
        let Some(atom) = atom(&head, at, length).or_else(|| cut(b"mdat")) else {
            // Tags of a truncated movie are read as far as they go, and not written.
            found.extend(cut(b"moov"));
            return Ok((found, Some(at)));
        };
        at = atom.end;
        found.push(atom);
    }
    Ok((found, None))
}

/// The readable items of a file by name: texts as bytes, numbers as decimal text.
pub(super) fn texts(file: &mut File) -> Vec<(String, Vec<u8>)> {
    let all = follow_file(file).map_or(Vec::new(), |(atoms, _)| atoms);
    let first = all.into_iter().find(|atom| atom.kind == *b"moov");
    let Some(movie) = first.and_then(|atom| movie(file, &[atom]).ok()) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    for udta in movie.readable(&movie.root, b"udta") {
        for meta in movie.readable(&udta, b"meta") {
            if !movie.is_itunes(&meta).unwrap_or(true) {
                continue;
            }
            for list in movie.readable(&meta, b"ilst") {
                let (items, _) = follow(&movie.bytes, list.within());
                let found = items.iter().flat_map(|item| movie.texts_of(item));
                texts.extend(found.take(MOST_TEXTS.saturating_sub(texts.len())));
            }
        }
    }
    // A freeform item for genres beside the standard one is a copy, maybe outdated.
    if !texts.iter().any(|(name, _)| name == GENRE) {
        for (name, _) in &mut texts {
            if name.eq_ignore_ascii_case("----:com.apple.iTunes:GENRE") {
                GENRE.clone_into(name);
            }
        }
    }
    // QuickTime's texts fill the gaps.
    for (name, text) in movie.other_texts() {
        if !texts.iter().any(|(known, _)| *known == name) {
            texts.push((name, text));
        }
    }
    texts
}

/// iTunes' item for a key of `QuickTime`, as Apple and ffmpeg name them.
fn item_of(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let prefix = "com.apple.quicktime.";
    Some(match key.strip_prefix(prefix).unwrap_or(&key) {
        "title" => "\u{a9}nam",
        "artist" => "\u{a9}ART",
        "album" => "\u{a9}alb",
        "album_artist" => "aART",
        "composer" => "\u{a9}wrt",
        "genre" => GENRE,
        "date" | "year" | "creationdate" => "\u{a9}day",
        "track" => "trkn",
        "disc" => "disk",
        _ => return None,
    })
}

/// A box with its header, in memory.
pub(super) fn read_box(file: &mut File, atom: &Atom) -> Result<Vec<u8>, String> {
    let size = atom.end - atom.start;
    if size > id3::MOST as u64 {
        return Err(format!(
            "its box {} is larger than any that is read",
            atom.kind.escape_ascii()
        ));
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(atom.start))
        .map_err(|error| error.to_string())?;
    file.take(size)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The `moov` box, which holds everything but the sound, in memory.
pub(super) struct Movie {
    pub(super) bytes: Vec<u8>,
    /// The box in `bytes`.
    pub(super) root: Atom,
    /// Its position in the file.
    pub(super) at: u64,
}

/// Reads a file's movie.
///
/// # Errors
/// A message if there is none or several.
pub(super) fn movie(file: &mut File, all: &[Atom]) -> Result<Movie, String> {
    let mut movies = all.iter().filter(|atom| atom.kind == *b"moov");
    let (Some(found), None) = (movies.next(), movies.next()) else {
        return Err("it has not exactly one box moov".to_owned());
    };
    let bytes = read_box(file, found)?;
    let root = Atom {
        kind: found.kind,
        start: 0,
        body: found.body - found.start,
        end: bytes.len() as u64,
    };
    Ok(Movie {
        bytes,
        root,
        at: found.start,
    })
}

impl Movie {
    pub(super) fn children(&self, atom: &Atom) -> Result<Vec<Atom>, String> {
        atoms(&self.bytes, self.content(atom))
    }

    /// The range of the boxes within another.
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
            found.extend(
                self.children(atom)?
                    .into_iter()
                    .filter(|child| child.kind == *kind),
            );
        }
        Ok(found)
    }

    /// Boxes within another up to an invalid one.
    fn readable(&self, atom: &Atom, kind: &[u8; 4]) -> Vec<Atom> {
        let content = self.content(atom);
        let (mut found, odd) = follow(&self.bytes, content.clone());
        // A list that is truncated with the movie holds the rest.
        if let Some(at) = odd
            && matches!(kind, b"udta" | b"meta" | b"ilst")
            && self.bytes[at + 4..at + 8] == *kind
            && content.end == self.bytes.len()
            && big(&self.bytes[at..at + 4]) > (content.end - at) as u64
        {
            found.push(Atom {
                kind: *kind,
                start: at as u64,
                body: at as u64 + 8,
                end: content.end as u64,
            });
        }
        found
            .into_iter()
            .filter(|atom| atom.kind == *kind)
            .collect()
    }

    /// `QuickTime`'s texts by the names of iTunes' items: the first with each key, and those of its user data.
    fn other_texts(&self) -> Vec<(String, Vec<u8>)> {
        let mut texts = Vec::new();
        let mut metas = self.readable(&self.root, b"meta");
        for udta in self.readable(&self.root, b"udta") {
            metas.extend(self.readable(&udta, b"meta"));
            let (items, _) = follow(&self.bytes, udta.within());
            let items = items.iter().filter(|item| item.kind[0] == 0xa9);
            texts.extend(items.take(MOST_TEXTS).filter_map(|item| {
                let content = &self.bytes[item.within()];
                // The text's length, and its language.
                let size = big(content.get(..2)?) as usize;
                let text = content.get(4..4 + size).filter(|text| !text.is_empty())?;
                let name = item.kind.iter().map(|&byte| char::from(byte)).collect();
                Some((name, text.to_vec()))
            }));
        }
        for meta in metas {
            let keys = self.readable(&meta, b"keys").into_iter();
            // After version, flags and their number, keys have the form of boxes.
            let keys = keys.map(|keys| keys.body as usize + 8..keys.end as usize);
            let keys = keys.flat_map(|keys| follow(&self.bytes, keys).0);
            let key = |key: Atom| String::from_utf8_lossy(&self.bytes[key.within()]).into_owned();
            let names = keys.take(MOST_TEXTS).map(|atom| item_of(&key(atom)));
            let names: Vec<_> = names.collect();
            let lists = self.readable(&meta, b"ilst").into_iter();
            let items = lists.flat_map(|list| follow(&self.bytes, list.within()).0);
            for item in items.take(MOST_TEXTS) {
                let number = u32::from_be_bytes(item.kind) as usize;
                if let Some(name) = number.checked_sub(1).and_then(|at| *names.get(at)?) {
                    let value = self.texts_of(&item).into_iter().next();
                    texts.extend(value.map(|(_, value)| (name.to_owned(), value)));
                }
            }
        }
        texts
    }

    /// The values of an item, each with its name.
    fn texts_of(&self, item: &Atom) -> Vec<(String, Vec<u8>)> {
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
                _ if kind == UTF_16 => encoding::utf16(value, Utf16::Big).into_bytes(),
                _ => value.to_vec(),
            };
            (text.len() <= LONGEST_TEXT).then(|| (name.clone(), text))
        };
        let data = self.readable(item, b"data");
        data.into_iter()
            .filter_map(value)
            .take(MOST_TEXTS)
            .collect()
    }

    /// Whether a `meta` box holds items in the format of iTunes.
    pub(super) fn is_itunes(&self, meta: &Atom) -> Result<bool, String> {
        let handler = self
            .children(meta)?
            .into_iter()
            .find(|child| child.kind == *b"hdlr");
        let kind = handler.and_then(|handler| self.bytes[handler.within()].get(8..12));
        // Not QuickTime's items by number and key, nor an ID3v2 tag in a box.
        Ok(!kind.is_some_and(|kind| kind == b"mdta" || kind == b"ID32"))
    }

    /// The lists of items, each with its enclosing boxes, outermost first.
    pub(super) fn lists(&self) -> Result<Vec<[Atom; 4]>, String> {
        let mut found = Vec::new();
        for udta in self.all(std::slice::from_ref(&self.root), b"udta")? {
            for meta in self.all(std::slice::from_ref(&udta), b"meta")? {
                if !self.is_itunes(&meta)? {
                    continue;
                }
                for list in self.all(std::slice::from_ref(&meta), b"ilst")? {
                    found.push([self.root.clone(), udta.clone(), meta.clone(), list]);
                }
            }
        }
        Ok(found)
    }

    /// The items of a list.
    pub(super) fn items(&self, list: &Atom) -> Result<Vec<TagItem>, String> {
        let item = |atom: Atom| {
            let name = self.name(&atom);
            let is_genre = is_genre(atom.kind, &name);
            let name = format!("item {}{name}", atom.kind.escape_ascii());
            TagItem {
                start: atom.start as usize,
                end: atom.end as usize,
                is_genre,
                name,
            }
        };
        Ok(self.children(list)?.into_iter().map(item).collect())
    }

    /// The name of a freeform item: `:com.apple.iTunes:BPM`.
    fn name(&self, item: &Atom) -> String {
        let Ok(parts) = (if item.kind == *b"----" {
            self.children(item)
        } else {
            Ok(Vec::new())
        }) else {
            return String::new();
        };
        let part = |kind: &[u8; 4]| parts.iter().find(|part| part.kind == *kind);
        let text = |part: &Atom| {
            self.bytes[part.within()]
                .get(4..)
                .map(String::from_utf8_lossy)
        };
        let texts = [b"mean", b"name"].map(|kind| part(kind).and_then(text));
        texts
            .iter()
            .flatten()
            .map(|text| format!(":{text}"))
            .collect()
    }
}

const APPLE: &str = "com.apple.iTunes";
/// The item for genres, by its name.
pub(super) const GENRE: &str = "\u{a9}gen";

fn is_genre(kind: [u8; 4], name: &str) -> bool {
    let of_apple = name
        .strip_prefix(':')
        .and_then(|name| name.strip_prefix(APPLE));
    match &kind {
        b"\xa9gen" | b"gnre" => true,
        b"----" => of_apple.is_some_and(|name| name.eq_ignore_ascii_case(":GENRE")),
        _ => false,
    }
}
