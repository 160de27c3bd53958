//! Editing the items of MP4 files, and the tables with positions of the sound, which may move.
//!
//! For: bytes and their positions. Not for: parsing boxes (`mp4`).
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "`QuickTime` File Format" for the items.

use std::fs::File;

use super::mp4::{Atom, GENRE, Movie, atoms_of_file, movie, read_box, texts};
use super::patch::{Splice, growth, replace};
use crate::fill::big;

impl Atom {
    /// The splice that changes its size.
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

fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
}

fn item(genres: &[String]) -> Vec<u8> {
    const TEXT: u32 = 1;
    if genres.is_empty() {
        return Vec::new();
    }
    let data = |genre: &String| {
        boxed(
            b"data",
            &[&TEXT.to_be_bytes()[..], &[0; 4], genre.as_bytes()].concat(),
        )
    };
    let values: Vec<u8> = genres.iter().flat_map(data).collect();
    boxed(b"\xa9gen", &values)
}

/// The splices that write the genres into a file and keep everything else. If sound follows the items, padding
/// is used, or the positions in the file's tables are moved.
///
/// # Errors
/// A message if the boxes cannot be parsed, or have positions in a form that voisin does not support.
pub(super) fn edit(file: &mut File, genres: &[String]) -> Result<Vec<Splice>, String> {
    let all = atoms_of_file(file)?;
    let movie = movie(file, &all)?;
    let lists = movie.lists()?;
    let mut is_other = texts(file).iter().any(|(name, _)| name == GENRE);
    for [.., list] in &lists {
        is_other &= !movie.items(list)?.iter().any(|item| item.is_genre);
    }
    if is_other {
        return Err("its genre is one of QuickTime's texts, which voisin does not write: change it with the program that made the file".to_owned());
    }
    let mut changes = MovieChanges {
        movie: &movie,
        splices: Vec::new(),
        growths: Vec::new(),
    };
    for (i, parents) in lists.iter().enumerate() {
        let list = &parents[3];
        let new = item(if i == 0 { genres } else { &[] });
        changes.make(
            parents,
            replace(&movie.items(list)?, list.end as usize, new),
        );
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

/// Changes within a movie; positions are those in its bytes.
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

    /// Adds a list of items with its enclosing boxes.
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
                // Before items of another kind, as readers search for items in the first.
                Some(_) => {
                    let put = Splice::new(udta.body as usize, 0, meta_of(&list));
                    self.make(&[root, udta], vec![put]);
                    return Ok(());
                }
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

    /// Shrinks the padding after the items by their growth, or enlarges it; returns whether there is enough.
    fn use_padding(&mut self, by: i64) -> Result<bool, String> {
        let parents: Vec<Atom> = self.growths.iter().map(|(atom, _)| atom.clone()).collect();
        if parents.windows(2).any(|pair| pair[1].end > pair[0].end) {
            return Ok(false);
        }
        // Innermost first, so that the fewest boxes change their sizes.
        for (depth, parent) in parents.iter().enumerate().rev() {
            // Padding would be an item here.
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

/// Moves the positions in a file's tables that are after its movie.
///
/// # Errors
/// A message if there are positions in a form that voisin does not support.
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
    // These letters anywhere but in items: a false alarm refuses a write, an overlooked table would
    // destroy the sound.
    let mut bytes = movie.bytes.clone();
    for [.., list] in movie.lists()? {
        bytes[list.within()].fill(0);
    }
    for kind in [b"saio", b"iloc", b"cmov"] {
        if bytes.windows(4).any(|four| four == kind) {
            return Err(unknown(kind));
        }
    }
    for atom in all {
        match &atom.kind {
            b"meta" => return Err(unknown(b"meta")),
            b"moof" => {
                let fragment = within(read_box(file, atom)?, atom.start);
                let tracks = fragment.all(std::slice::from_ref(&fragment.root), b"traf")?;
                if !fragment.all(&tracks, b"saio")?.is_empty() {
                    return Err(unknown(b"saio"));
                }
                for header in fragment.all(&tracks, b"tfhd")? {
                    let body = header.body as usize;
                    // Positions in a fragment are relative to this one, or to the fragment.
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
                let index = within(read_box(file, atom)?, atom.start);
                for table in index.all(std::slice::from_ref(&index.root), b"tfra")? {
                    let body = table.body as usize;
                    let head = index
                        .bytes
                        .get(body..body + 16)
                        .ok_or("its box tfra is cut off")?;
                    let wide = if head[0] == 1 { 8 } else { 4 };
                    let sizes = usize::from(head[11]);
                    // Time and position, then three numbers of one to four bytes, by the header.
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
