//! Items of MP4 files, and what else in them knows where something lies.
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "`QuickTime` File Format" for the items.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use lofty::id3::v1::GENRES;
use voisin_base::encoding::{self, Utf16};
use voisin_base::text::LONGEST_TEXT;

use super::patch::{Splice, TagItem, growth, replace, without_values};
use super::values::MOST_TEXTS;
use super::{TagEdit, TagField, id3};
use crate::fill::big;

/// A box of a file, or of another one.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) kind: [u8; 4],
    /// Where it begins; in boxes of a file, in the file, else in the bytes that it was found in.
    pub(super) start: u64,
    /// Where what it holds begins.
    pub(super) body: u64,
    pub(super) end: u64,
}

impl Atom {
    fn within(&self) -> Range<usize> {
        self.body as usize..self.end as usize
    }

    /// The box with its header.
    pub(super) fn whole(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The splice that gives it another size.
    fn resized(&self, movie: &[u8], growth: i64) -> Result<Splice, String> {
        let size = (self.end - self.start).saturating_add_signed(growth);
        let start = self.start as usize;
        match big(&movie[start..start + 4]) {
            // Up to the end of the file, whatever that is.
            0 => Ok(Splice::new(start, 0, Vec::new())),
            1 => Ok(Splice::new(start + 8, 8, size.to_be_bytes().to_vec())),
            _ => {
                let size = u32::try_from(size)
                    .map_err(|_| "a box of it would be larger than any may be")?;
                Ok(Splice::new(start, 4, size.to_be_bytes().to_vec()))
            }
        }
    }
}

/// The box that begins with `head`, at `at` of what ends at `end`.
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

/// The boxes that lie one behind the other; fewer than eight bytes, or zeros, may be left over.
///
/// # Errors
/// They do not fill the range; in words.
pub(super) fn atoms(bytes: &[u8], range: Range<usize>) -> Result<Vec<Atom>, String> {
    match follow(bytes, range) {
        (atoms, None) => Ok(atoms),
        (_, Some(at)) => Err(format!("a box within its moov is damaged at byte {at}")),
    }
}

/// The boxes up to one that makes no sense, and where that is.
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

/// The boxes of a file itself.
///
/// # Errors
/// One is cut off; in words.
pub(super) fn atoms_of_file(file: &mut File) -> Result<Vec<Atom>, String> {
    match follow_file(file) {
        Ok((atoms, None)) => Ok(atoms),
        Ok((_, Some(at))) => Err(format!("its box at byte {at} is damaged or cut off")),
        Err(error) => Err(error.to_string()),
    }
}

/// The boxes up to one that makes no sense, and where that is.
fn follow_file(file: &mut File) -> io::Result<(Vec<Atom>, Option<u64>)> {
    let length = file.metadata()?.len();
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= length {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        file.take(16).read_to_end(&mut head)?;
        // Sound that is cut off plays up to there.
        let is_sound = head.get(4..8).is_some_and(|kind| kind == b"mdat");
        let cut = Atom {
            kind: *b"mdat",
            start: at,
            body: at + 8,
            end: length,
        };
        let atom = atom(&head, at, length).or_else(|| is_sound.then_some(cut));
        let Some(atom) = atom else {
            return Ok((found, Some(at)));
        };
        at = atom.end;
        found.push(atom);
    }
    Ok((found, None))
}

/// The items of a file by their names, as many as can be read: texts as their bytes, numbers written out.
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
    // Beside the item for genres, a free one of that name repeats it, or was left by a program that changed the other.
    if !texts.iter().any(|(name, _)| name == GENRE) {
        for (name, _) in &mut texts {
            if name.eq_ignore_ascii_case("----:com.apple.iTunes:GENRE") {
                GENRE.clone_into(name);
            }
        }
    }
    texts
}

fn read(file: &mut File, atom: &Atom) -> Result<Vec<u8>, String> {
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

/// The box that all that is not sound lies in, in memory.
pub(super) struct Movie {
    pub(super) bytes: Vec<u8>,
    /// In `bytes`.
    pub(super) root: Atom,
    /// In the file.
    pub(super) at: u64,
}

/// Reads a file's movie.
///
/// # Errors
/// There is none, or several; in words.
pub(super) fn movie(file: &mut File, all: &[Atom]) -> Result<Movie, String> {
    let mut movies = all.iter().filter(|atom| atom.kind == *b"moov");
    let (Some(found), None) = (movies.next(), movies.next()) else {
        return Err("it has not exactly one box moov".to_owned());
    };
    let bytes = read(file, found)?;
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

    /// Where the boxes within another lie.
    fn content(&self, atom: &Atom) -> Range<usize> {
        let mut range = atom.within();
        // A version and flags come before the boxes within, but for QuickTime's.
        if atom.kind == *b"meta"
            && self.bytes.get(range.start + 4..range.start + 8) != Some(b"hdlr")
        {
            range.start = (range.start + 4).min(range.end);
        }
        range
    }

    fn all(&self, atoms: &[Atom], kind: &[u8; 4]) -> Result<Vec<Atom>, String> {
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

    /// Boxes within another up to one that makes no sense.
    fn readable(&self, atom: &Atom, kind: &[u8; 4]) -> Vec<Atom> {
        let (found, _) = follow(&self.bytes, self.content(atom));
        found
            .into_iter()
            .filter(|atom| atom.kind == *kind)
            .collect()
    }

    /// The values of an item with its name.
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

    /// Whether a `meta` holds items as iTunes has them.
    fn is_itunes(&self, meta: &Atom) -> Result<bool, String> {
        let handler = self
            .children(meta)?
            .into_iter()
            .find(|child| child.kind == *b"hdlr");
        let kind = handler.and_then(|handler| self.bytes[handler.within()].get(8..12));
        // Items by number and key as QuickTime has them, and an ID3v2 tag in a box.
        Ok(!kind.is_some_and(|kind| kind == b"mdta" || kind == b"ID32"))
    }

    /// The lists of items, each within its boxes from the outermost on.
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
            let field = field(atom.kind, &name);
            let name = format!("item {}{name}", atom.kind.escape_ascii());
            TagItem {
                start: atom.start as usize,
                end: atom.end as usize,
                field,
                name,
            }
        };
        Ok(self.children(list)?.into_iter().map(item).collect())
    }

    /// The name of an item that has one of its own: `:com.apple.iTunes:BPM`.
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
const GENRE: &str = "\u{a9}gen";

fn field(kind: [u8; 4], name: &str) -> Option<TagField> {
    match (
        &kind,
        name.strip_prefix(':')
            .and_then(|name| name.strip_prefix(APPLE)),
    ) {
        (b"\xa9gen" | b"gnre", _) => Some(TagField::Genre),
        (b"tmpo", _) | (b"----", Some(":BPM")) => Some(TagField::Bpm),
        (b"----", Some(name)) if name.eq_ignore_ascii_case(":GENRE") => Some(TagField::Genre),
        (b"----", Some(":initialkey" | ":KEY")) => Some(TagField::Key),
        (b"----", Some(":replaygain_track_gain" | ":REPLAYGAIN_TRACK_GAIN")) => {
            Some(TagField::ReplayGain)
        }
        (b"----", Some(":ENERGYLEVEL")) => Some(TagField::Energy),
        (b"----", Some(":MOOD")) => Some(TagField::Mood),
        _ => None,
    }
}

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

fn item(edit: &TagEdit) -> Vec<u8> {
    const TEXT: u32 = 1;
    const NUMBER: u32 = 21;
    let whole = |value: &String| {
        let is_whole = value.bytes().all(|byte| byte.is_ascii_digit());
        if is_whole && edit.field == TagField::Bpm {
            value.parse::<u16>().ok()
        } else {
            None
        }
    };
    let data = |value: &String| {
        // Two bytes, as other programs write it.
        let (kind, bytes) = match whole(value) {
            Some(bpm) => (NUMBER, bpm.to_be_bytes().to_vec()),
            None => (TEXT, value.as_bytes().to_vec()),
        };
        boxed(
            b"data",
            &[&kind.to_be_bytes()[..], &[0; 4], &bytes].concat(),
        )
    };
    if edit.values.is_empty() {
        return Vec::new();
    }
    let values: Vec<u8> = edit.values.iter().flat_map(data).collect();
    let named = |name: &str| {
        let mean = boxed(b"mean", &[&[0; 4], APPLE.as_bytes()].concat());
        let name = boxed(b"name", &[&[0; 4], name.as_bytes()].concat());
        boxed(b"----", &[mean, name, values.clone()].concat())
    };
    match edit.field {
        TagField::Genre => boxed(b"\xa9gen", &values),
        TagField::Bpm if edit.values.iter().all(|value| whole(value).is_some()) => {
            boxed(b"tmpo", &values)
        }
        TagField::Bpm => named("BPM"),
        TagField::Key => named("initialkey"),
        TagField::ReplayGain => named("replaygain_track_gain"),
        TagField::Energy => named(super::ENERGY),
        TagField::Mood => named(super::MOOD),
    }
}

/// The changes that give a file the edited fields and keep everything else. Where sound lies behind the items, padding
/// is used up, or the places that the file states are moved.
///
/// # Errors
/// The boxes cannot be followed, or something knows places in a way that voisin does not; in words.
pub(super) fn edit(file: &mut File, edits: &[&TagEdit]) -> Result<Vec<Splice>, String> {
    let all = atoms_of_file(file)?;
    let movie = movie(file, &all)?;
    let lists = movie.lists()?;
    let gone = without_values(edits);
    let gone: Vec<&TagEdit> = gone.iter().collect();
    let mut changes = MovieChanges {
        movie: &movie,
        splices: Vec::new(),
        growths: Vec::new(),
    };
    for (i, parents) in lists.iter().enumerate() {
        let list = &parents[3];
        let edits = if i == 0 { edits } else { &gone };
        changes.make(
            parents,
            replace(&movie.items(list)?, list.end as usize, edits, item),
        );
    }
    if lists.is_empty() {
        changes.add_list(edits)?;
    }
    let grown = growth(&changes.splices);
    let movie_end = movie.at + movie.bytes.len() as u64;
    // Padding may move; everything else behind the movie has places that something may know.
    let is_followed = all
        .iter()
        .any(|atom| atom.start >= movie_end && atom.kind != *b"free");
    let mut shift = Vec::new();
    if grown != 0 && is_followed && !changes.use_padding(grown)? {
        shift = moved(file, &all, &movie, grown)?;
    }
    let mut splices = changes.finish()?;
    splices = splices
        .into_iter()
        .map(|splice| splice.moved(movie.at))
        .collect();
    splices.extend(shift);
    Ok(splices)
}

/// Changes within a movie; places are those in its bytes.
struct MovieChanges<'a> {
    movie: &'a Movie,
    splices: Vec<Splice>,
    /// Boxes that grow, by how much.
    growths: Vec<(Atom, i64)>,
}

impl MovieChanges<'_> {
    /// - `parents`: boxes that the changes lie in
    fn make(&mut self, parents: &[Atom], splices: Vec<Splice>) {
        if splices.is_empty() {
            return;
        }
        let by = growth(&splices);
        self.splices.extend(splices);
        for parent in parents {
            match self
                .growths
                .iter_mut()
                .find(|(atom, _)| atom.start == parent.start)
            {
                Some((_, growth)) => *growth += by,
                None => self.growths.push((parent.clone(), by)),
            }
        }
    }

    /// Adds a list of items, and the boxes that it needs around it.
    fn add_list(&mut self, edits: &[&TagEdit]) -> Result<(), String> {
        let items: Vec<u8> = edits.iter().flat_map(|edit| item(edit)).collect();
        let list = boxed(b"ilst", &items);
        let root = self.movie.root.clone();
        let behind = |parent: &Atom| -> Result<usize, String> {
            let last = self
                .movie
                .children(parent)?
                .last()
                .map(|child| child.end as usize);
            Ok(last.unwrap_or(parent.end as usize))
        };
        let mut others = self
            .movie
            .all(std::slice::from_ref(&root), b"udta")?
            .into_iter();
        if let Some(udta) = others.next() {
            let metas = self.movie.all(std::slice::from_ref(&udta), b"meta")?;
            match metas.first() {
                Some(meta) if self.movie.is_itunes(meta)? => {
                    let put = Splice::new(behind(meta)?, 0, list);
                    self.make(&[root, udta.clone(), meta.clone()], vec![put]);
                    return Ok(());
                }
                // Items of another kind: a reader looks for these in the first.
                Some(_) => {}
                None => {
                    let put = Splice::new(behind(&udta)?, 0, meta_of(&list));
                    self.make(&[root, udta], vec![put]);
                    return Ok(());
                }
            }
        }
        let put = Splice::new(behind(&root)?, 0, boxed(b"udta", &meta_of(&list)));
        self.make(&[root], vec![put]);
        Ok(())
    }

    /// Makes padding behind the items smaller by what they gained, or larger; tells whether there is enough.
    fn use_padding(&mut self, by: i64) -> Result<bool, String> {
        let parents: Vec<Atom> = self.growths.iter().map(|(atom, _)| atom.clone()).collect();
        if parents.windows(2).any(|pair| pair[1].end > pair[0].end) {
            return Ok(false);
        }
        // The innermost first: the fewest boxes then change their sizes.
        for (depth, parent) in parents.iter().enumerate().rev() {
            // Padding of other atoms would be an item here.
            if parent.kind == *b"ilst" {
                continue;
            }
            for padding in self.movie.children(parent)? {
                let room = &self.movie.bytes[padding.within()];
                let needed = usize::try_from(by).unwrap_or(0);
                if !matches!(&padding.kind, b"free" | b"skip")
                    || room.len() < needed
                    || room[room.len() - needed..].iter().any(|&byte| byte != 0)
                {
                    continue;
                }
                let zeros = vec![0; usize::try_from(-by).unwrap_or(0)];
                self.growths.push((padding.clone(), -by));
                let end = padding.end as usize;
                self.splices.push(Splice::new(end - needed, needed, zeros));
                for (_, growth) in &mut self.growths[..=depth] {
                    *growth -= by;
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn finish(self) -> Result<Vec<Splice>, String> {
        let mut splices = self.splices;
        for (atom, growth) in &self.growths {
            if *growth != 0 {
                splices.push(atom.resized(&self.movie.bytes, *growth)?);
            }
        }
        Ok(splices)
    }
}

fn meta_of(list: &[u8]) -> Vec<u8> {
    let handler = boxed(b"hdlr", b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0");
    boxed(b"meta", &[&[0; 4], &handler[..], list].concat())
}

/// Moves the places that a file states and that lie behind its movie.
///
/// # Errors
/// Something knows places in a way that voisin does not; in words.
fn moved(file: &mut File, all: &[Atom], movie: &Movie, by: i64) -> Result<Vec<Splice>, String> {
    let behind = movie.at + movie.bytes.len() as u64;
    let unknown = |kind: &[u8; 4]| {
        format!(
            "new tags would move its sound, and its box {} knows where that lies: write them with the program that made the file",
            kind.escape_ascii()
        )
    };
    let mut splices = Vec::new();
    if all
        .iter()
        .any(|atom| atom.kind == *b"sidx" && atom.start < movie.at)
    {
        return Err(unknown(b"sidx"));
    }
    let mut place = |bytes: &[u8], at: usize, width: usize, from: u64| -> Result<(), String> {
        let field = bytes
            .get(at..at + width)
            .ok_or("a table of places in it is cut off")?;
        let old = big(field);
        if old >= behind {
            let new = old.saturating_add_signed(by);
            if width == 4 && new > u64::from(u32::MAX) {
                return Err("it is too long for the places that it states".to_owned());
            }
            splices.push(Splice {
                at: from + at as u64,
                removed: width as u64,
                put: new.to_be_bytes()[8 - width..].to_vec(),
            });
        }
        Ok(())
    };
    let within = |bytes: Vec<u8>, at: u64| -> Movie {
        let root = Atom {
            kind: *b"moov",
            start: 0,
            body: 8,
            end: bytes.len() as u64,
        };
        Movie { bytes, root, at }
    };
    let mut tables = movie.all(std::slice::from_ref(&movie.root), b"trak")?;
    for kind in [b"mdia", b"minf", b"stbl"] {
        tables = movie.all(&tables, kind)?;
    }
    for (kind, width) in [(b"stco", 4), (b"co64", 8)] {
        for table in movie.all(&tables, kind)? {
            let body = table.body as usize;
            let count = movie.bytes.get(body + 4..body + 8).map_or(0, big) as usize;
            for i in 0..count.min(movie.bytes.len()) {
                place(&movie.bytes, body + 8 + i * width, width, movie.at)?;
            }
        }
    }
    // Wherever these letters are: a false alarm costs a refusal, an overlooked table the sound.
    for kind in [b"saio", b"iloc", b"cmov"] {
        if movie.bytes.windows(4).any(|four| four == kind) {
            return Err(unknown(kind));
        }
    }
    for atom in all {
        match &atom.kind {
            b"meta" => return Err(unknown(b"meta")),
            b"moof" => {
                let fragment = within(read(file, atom)?, atom.start);
                let tracks = fragment.all(std::slice::from_ref(&fragment.root), b"traf")?;
                if !fragment.all(&tracks, b"saio")?.is_empty() {
                    return Err(unknown(b"saio"));
                }
                for header in fragment.all(&tracks, b"tfhd")? {
                    let body = header.body as usize;
                    // The places of a fragment are counted from here, or from the fragment's own.
                    if fragment
                        .bytes
                        .get(body + 3)
                        .is_some_and(|flags| flags & 1 != 0)
                    {
                        place(&fragment.bytes, body + 8, 8, fragment.at)?;
                    }
                }
            }
            b"mfra" => {
                let index = within(read(file, atom)?, atom.start);
                for table in index.all(std::slice::from_ref(&index.root), b"tfra")? {
                    let body = table.body as usize;
                    let head = index
                        .bytes
                        .get(body..body + 16)
                        .ok_or("its box tfra is cut off")?;
                    let wide = if head[0] == 1 { 8 } else { 4 };
                    let sizes = usize::from(head[11]);
                    // Time and place, then three numbers of one to four bytes, as the header says.
                    let entry = 2 * wide
                        + [4, 2, 0]
                            .map(|bit| (sizes >> bit & 3) + 1)
                            .iter()
                            .sum::<usize>();
                    for i in 0..(big(&head[12..]) as usize).min(index.bytes.len()) {
                        place(&index.bytes, body + 16 + i * entry + wide, wide, index.at)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(splices)
}
