//! Splits a file into its parts, down to single tags, so that two versions of it can be compared.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;

use lofty::file::FileType;

use super::mp4::Movie;
use super::patch::TagItem;
use super::{ape, comments, flac, frames, id3, mp4, ogg};

/// Deepest boxes that are compared: a table of positions is four levels below the movie, an item
/// three.
const DEEPEST: usize = 4;

/// A frame, comment, item, chunk, block, or the sound.
pub(super) struct FilePart {
    is_genre: bool,
    /// For messages.
    name: String,
    digest: blake3::Hash,
}

/// The name of the first part besides the genre of `before` that is missing from `after` or in another order.
pub(super) fn missing<'a>(before: &'a [FilePart], after: &[FilePart]) -> Option<&'a str> {
    let is_kept = |part: &&FilePart| !part.is_genre;
    let mut there = after.iter().filter(is_kept);
    let mut kept = before.iter().filter(is_kept);
    // New parts may lie between. `any` continues where it stopped, so a part in another order
    // counts as missing.
    kept.find(|part| !there.any(|other| other.digest == part.digest))
        .map(|part| part.name.as_str())
}

/// The parts of a file.
///
/// # Errors
/// A message if they cannot be parsed.
pub(super) fn parts(file: &mut File, kind: FileType) -> Result<Vec<FilePart>, String> {
    let text = |error: io::Error| error.to_string();
    let mut all = FileParts::default();
    match kind {
        FileType::Mpeg => {
            let found = leading(file, &mut all)?;
            let trailing = ape::find(file, found.audio).map_err(text)?;
            all.range(file, "the sound", found.audio..trailing.audio)?;
            // They were found from the end of the file backwards.
            for (_, tag) in trailing.ape.iter().rev() {
                all.items(tag, ape::parse(tag)?.0);
            }
            all.bytes("the ID3v1 tag", &trailing.v1.unwrap_or_default());
        }
        FileType::Flac => {
            let start = leading(file, &mut all)?.audio;
            let blocks = flac::blocks(file, start)?;
            let end = blocks.last().map_or(start, flac::MetadataBlock::end);
            for block in blocks.iter().filter(|block| block.kind != flac::PADDING) {
                let content = block.read(file)?;
                if block.kind == flac::COMMENTS {
                    all.comments(&content)?;
                } else {
                    all.bytes(
                        &format!("the metadata block of type {}", block.kind),
                        &content,
                    );
                }
            }
            let length = file.metadata().map_err(text)?.len();
            all.range(file, "the sound", end..length)?;
        }
        FileType::Vorbis | FileType::Opus => {
            let is_opus = kind == FileType::Opus;
            // The comments are compared by packets, as their pages may be split differently.
            let head = ogg::head(file, is_opus)?;
            let prefix = ogg::mark(is_opus);
            all.comments(&head.packets[0][prefix.len()..])?;
            for packet in &head.packets[1..] {
                all.bytes("the packet behind the comments", packet);
            }
            let at: Vec<u64> = head.pages.iter().map(|page| page.at).collect();
            let mut hasher = blake3::Hasher::new();
            for page in ogg::OggPages::new(&mut *file).map_err(text)? {
                let page = page.map_err(text)?;
                if !at.contains(&page.at) {
                    for bytes in page.without_number() {
                        hasher.update(bytes);
                    }
                }
            }
            all.add("the sound".to_owned(), false, hasher.finalize());
        }
        FileType::Mp4 => {
            let atoms = mp4::atoms_of_file(file)?;
            for atom in &atoms {
                match &atom.kind {
                    // Fragments are compared by their sound; positions may change.
                    b"moov" | b"moof" | b"mfra" | b"free" | b"skip" => {}
                    kind => {
                        let name = format!("the box {}", kind.escape_ascii());
                        all.range(file, &name, atom.body..atom.end)?;
                    }
                }
            }
            let movie = mp4::movie(file, &atoms)?;
            all.boxes(&movie, &movie.root, DEEPEST)?;
        }
        other => return Err(format!("{other:?} files are not written")),
    }
    Ok(all.0)
}

/// The `ID3v2` tags at the start of a file.
fn leading(file: &mut File, all: &mut FileParts) -> Result<id3::Id3Tags, String> {
    let found = id3::find(file).map_err(|error| error.to_string())?;
    if found.is_too_large {
        return Err("its ID3v2 tag is larger than any that is read".to_owned());
    }
    for tag in &found.tags {
        all.tag(tag)?;
    }
    Ok(found)
}

#[derive(Default)]
struct FileParts(Vec<FilePart>);

impl FileParts {
    fn add(&mut self, name: String, is_genre: bool, digest: blake3::Hash) {
        self.0.push(FilePart {
            is_genre,
            name,
            digest,
        });
    }

    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.add(name.to_owned(), false, blake3::hash(bytes));
        }
    }

    fn range(&mut self, file: &mut File, name: &str, range: Range<u64>) -> Result<(), String> {
        let mut hasher = blake3::Hasher::new();
        let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| {
            let size = range.end.saturating_sub(range.start);
            io::copy(&mut BufReader::new(file).take(size), &mut hasher)
        });
        read.map_err(|error| error.to_string())?;
        self.add(name.to_owned(), false, hasher.finalize());
        Ok(())
    }

    fn items(&mut self, bytes: &[u8], items: Vec<TagItem>) {
        for item in items {
            let digest = blake3::hash(&bytes[item.start..item.end]);
            self.add(format!("its {}", item.name), item.is_genre, digest);
        }
    }

    fn tag(&mut self, tag: &[u8]) -> Result<(), String> {
        let size = id3::body_size(tag).map_or(tag.len(), |size| tag.len().min(id3::HEADER + size));
        let (items, end) = frames::parse(&tag[..size])?;
        let first = items.first().map_or(end, |item| item.start);
        // An extended header, and the header and footer without their sizes.
        self.bytes(
            "the header of its ID3v2 tag",
            &[&tag[..6], &tag[id3::HEADER..first]].concat(),
        );
        self.items(tag, items);
        let behind = &tag[size..];
        // The footer repeats the header, whose size may change.
        let footer = if frames::has_footer(tag) {
            behind.len().min(id3::HEADER)
        } else {
            0
        };
        self.bytes("what lies behind its ID3v2 tag", &behind[footer..]);
        Ok(())
    }

    fn comments(&mut self, list: &[u8]) -> Result<(), String> {
        let found = comments::parse(list)?;
        let end = found.end;
        self.items(list, found.items);
        self.bytes("what lies behind its comments", &list[end..]);
        Ok(())
    }

    /// Adds the boxes within another, without tables of positions, which the sound verifies.
    fn boxes(&mut self, movie: &Movie, parent: &mp4::Atom, depth: usize) -> Result<(), String> {
        for child in movie.children(parent)? {
            match &child.kind {
                b"trak" | b"mdia" | b"minf" | b"stbl" | b"udta" | b"meta" if depth > 0 => {
                    self.boxes(movie, &child, depth - 1)?;
                }
                b"stco" | b"co64" | b"free" | b"skip" => {}
                b"ilst" => self.items(&movie.bytes, movie.items(&child)?),
                kind => {
                    let name = format!("the box {}", kind.escape_ascii());
                    self.bytes(&name, &movie.bytes[child.whole()]);
                }
            }
        }
        Ok(())
    }
}
