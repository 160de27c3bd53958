//! Editing the items of MP4 files, and the tables with positions of the sound, which may move.
//!
//! For: bytes and their positions. Not for: parsing boxes (`mp4`).
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "`QuickTime` File Format" for the items.

use std::fs::File;

use super::mp4::{Atom, Movie, atoms_of_file, movie};
use super::patch::{Splice, growth, replace};
use crate::bytes::big;

impl Atom {
    fn resized(&self, movie: &[u8], growth: i64) -> Result<Splice, String> {
        let size = (self.end - self.start).saturating_add_signed(growth);
        let start = self.start as usize;
        match big(&movie[start..start + 4]) {
            // Up to the end of the file: no change.
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

pub(super) fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

fn item(genres: &[String]) -> Vec<u8> {
    const TEXT: u32 = 1;
    if genres.is_empty() {
        return Vec::new();
    }
    let data = |genre: &String| {
        let value = [&TEXT.to_be_bytes()[..], &[0; 4], genre.as_bytes()];
        boxed(b"data", &value.concat())
    };
    let values: Vec<u8> = genres.iter().flat_map(data).collect();
    boxed(b"\xa9gen", &values)
}

/// The splices that write the genres into a file and keep everything else. If sound follows the items, the
/// positions in the file's tables are moved.
pub(super) fn edit(file: &mut File, genres: &[String]) -> Result<Vec<Splice>, String> {
    let all = atoms_of_file(file)?;
    let movie = movie(file, &all)?;
    let lists = movie.lists()?;
    let mut changes = MovieChanges {
        movie: &movie,
        splices: Vec::new(),
        growths: Vec::new(),
    };
    for (i, parents) in lists.iter().enumerate() {
        let list = &parents[3];
        let new = item(if i == 0 { genres } else { &[] });
        let splices = replace(&movie.items(list)?, list.end as usize, new);
        changes.make(parents, splices);
    }
    if lists.is_empty() {
        changes.add_list(genres)?;
    }
    let grown = growth(&changes.splices);
    let movie_end = movie.at + movie.bytes.len() as u64;
    // Padding may move; positions of anything else after the movie may be in tables.
    let is_followed = all
        .iter()
        .any(|atom| atom.start >= movie_end && atom.kind != *b"free");
    let mut splices = Vec::new();
    if grown != 0 && is_followed {
        splices = moved(&all, &movie, grown)?;
    }
    let changes = changes.finish()?.into_iter();
    splices.extend(changes.map(|splice| splice.moved(movie.at)));
    Ok(splices)
}

struct MovieChanges<'a> {
    movie: &'a Movie,
    splices: Vec<Splice>,
    /// Boxes that grow, with their growth.
    growths: Vec<(Atom, i64)>,
}

impl MovieChanges<'_> {
    /// - `parents`: boxes that enclose the changes
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

    fn add_list(&mut self, genres: &[String]) -> Result<(), String> {
        let list = boxed(b"ilst", &item(genres));
        let root = self.movie.root.clone();
        let behind = |parent: &Atom| -> Result<usize, String> {
            let last = self
                .movie
                .children(parent)?
                .last()
                .map(|child| child.end as usize);
            Ok(last.unwrap_or(parent.end as usize))
        };
        let others = self.movie.all(std::slice::from_ref(&root), b"udta")?;
        if let Some(udta) = others.into_iter().next() {
            let metas = self.movie.all(std::slice::from_ref(&udta), b"meta")?;
            let first = metas.first();
            if let Some(meta) = first.filter(|meta| self.movie.is_itunes(meta)) {
                let put = Splice::new(behind(meta)?, 0, list);
                self.make(&[root, udta, meta.clone()], vec![put]);
                return Ok(());
            }
            // Before items of another kind, as readers search for items in the first.
            let at = match first {
                Some(_) => udta.body as usize,
                None => behind(&udta)?,
            };
            self.make(&[root, udta], vec![Splice::new(at, 0, meta_of(&list))]);
            return Ok(());
        }
        let put = Splice::new(behind(&root)?, 0, boxed(b"udta", &meta_of(&list)));
        self.make(&[root], vec![put]);
        Ok(())
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

/// Moves the positions in a file's tables that are after its movie.
fn moved(all: &[Atom], movie: &Movie, by: i64) -> Result<Vec<Splice>, String> {
    let others = [b"sidx", b"moof", b"mfra", b"meta"];
    let other = others
        .iter()
        .find(|kind| all.iter().any(|atom| atom.kind == ***kind));
    // These letters anywhere but in items: a false alarm refuses a write, an overlooked table would destroy the sound.
    let mut bytes = movie.bytes.clone();
    for [.., list] in movie.lists()? {
        bytes[list.within()].fill(0);
    }
    let hidden = [b"saio", b"iloc", b"cmov"];
    let hidden = hidden
        .iter()
        .find(|kind| bytes.windows(4).any(|four| four == **kind));
    if let Some(kind) = other.or(hidden) {
        return Err(format!(
            "new tags would move its sound, and its box {} knows where that lies: write them with the program that made the file",
            kind.escape_ascii()
        ));
    }
    let behind = movie.at + movie.bytes.len() as u64;
    let mut tables = movie.all(std::slice::from_ref(&movie.root), b"trak")?;
    for kind in [b"mdia", b"minf", b"stbl"] {
        tables = movie.all(&tables, kind)?;
    }
    let mut splices = Vec::new();
    for (kind, width) in [(b"stco", 4), (b"co64", 8)] {
        for table in movie.all(&tables, kind)? {
            // A version, flags, and the number of positions come first.
            let content = &movie.bytes[table.within()];
            let count = content.get(4..8).map_or(0, big) as usize;
            let places = content.get(8..).unwrap_or_default().chunks_exact(width);
            if places.len() < count {
                return Err("a table of places in it is cut off".to_owned());
            }
            for (i, place) in places.take(count).enumerate() {
                let old = big(place);
                if old < behind {
                    continue;
                }
                let new = old.saturating_add_signed(by);
                if width == 4 && new > u64::from(u32::MAX) {
                    return Err("it is too long for the places that it states".to_owned());
                }
                let at = (movie.at + table.body) as usize + 8 + i * width;
                let new = new.to_be_bytes()[8 - width..].to_vec();
                splices.push(Splice::new(at, width, new));
            }
        }
    }
    Ok(splices)
}
