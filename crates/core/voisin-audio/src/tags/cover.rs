//! The picture of a file's front cover.
//!
//! Parsers read the file with its `ID3v2` tags masked ([`Masked`]), up to a limit ([`Bounded`]);
//! pictures in those tags are read from tags of pictures alone.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use lofty::config::{ParseOptions, ParsingMode};
use lofty::file::{FileType, TaggedFileExt};
use lofty::picture::{Picture, PictureType};
use lofty::probe::Probe;
use lofty::tag::Tag;

use super::{ape, id3};
use crate::AudioError;
use crate::fill::read_up_to;
use crate::guard::guard;
use crate::source::open;

/// Most bytes of a picture.
const MOST_OF_A_PICTURE: usize = 12 << 20;

fn options() -> ParseOptions {
    let mut options = ParseOptions::new();
    options
        .read_properties(false)
        .parsing_mode(ParsingMode::Relaxed)
}

/// A file of an `ID3v2` tag, padded for readers that search for tags at the end.
fn padded_file(mut tag: Vec<u8>) -> Cursor<Vec<u8>> {
    tag.resize(tag.len() + 256, 0);
    Cursor::new(tag)
}

/// The front cover, else the first picture.
pub(super) fn read_cover(path: &Path) -> Result<Option<Vec<u8>>, AudioError> {
    let io = |error| AudioError::from_io(path, error);
    let mut file = open(path)?;
    let found = ape::find_id3(&mut file).map_err(io)?;
    let cover = guard(path, || {
        let mut all = pictures(file, &found);
        all.retain(|picture| !picture.data().is_empty());
        let front = all
            .iter()
            .find(|picture| picture.pic_type() == PictureType::CoverFront);
        front.or(all.first()).map(|picture| picture.data().to_vec())
    });
    Ok(cover.unwrap_or_default())
}

/// The pictures of a file. Those in `ID3v2` tags are read from a copy of each, the others from the file without them.
fn pictures(file: File, found: &id3::Id3Tags) -> Vec<Picture> {
    let options = options();
    let mut room = id3::MOST;
    let plain: Vec<u8> = found
        .tags
        .iter()
        .flat_map(|tag| only_pictures(tag, &mut room))
        .collect();
    let mut all = Vec::new();
    if !plain.is_empty() {
        let plain = padded_file(plain);
        let probe = Probe::with_file_type(plain, FileType::Mpeg).options(options);
        all.extend(probe.read().ok());
    }
    let rest = Bounded {
        inner: BufReader::new(Masked::new(file, found)),
        left: id3::MOST,
    };
    let probe = Probe::new(rest).options(options).guess_file_type().ok();
    let probe = probe.filter(|probe| probe.file_type().is_some());
    all.extend(probe.and_then(|probe| probe.read().ok()));
    let tags = all.iter().flat_map(TaggedFileExt::tags);
    tags.flat_map(Tag::pictures).cloned().collect()
}

/// A tag with only the pictures of `tag`.
fn only_pictures(tag: &[u8], room: &mut usize) -> Vec<u8> {
    let is_picture = |id: &[u8]| id == b"APIC" || id == b"PIC";
    let wanted = |id: &[u8]| is_picture(id).then_some(MOST_OF_A_PICTURE);
    let found = id3::contents(tag, room, wanted);
    found.map_or(Vec::new(), |(version, frames)| {
        id3::assembled(version, &frames)
    })
}

/// A reader limited to a number of bytes, as comments and atoms may be as large as the file and are read into memory.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !buffer.is_empty() {
            // An error and not the end, or a parser would accept a tag that is cut off here.
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "tags larger than any that are read",
            ));
        }
        let most = buffer.len().min(self.left);
        let n = self.inner.read(&mut buffer[..most])?;
        self.left -= n;
        Ok(n)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// A file from `start` on, with its `ID3v2` tags hidden.
struct Masked {
    file: File,
    start: u64,
    position: u64,
    /// Chunks that are renamed: readers refuse a file with a tag chunk but no tag.
    chunks: Vec<u64>,
}

impl Masked {
    fn new(file: File, found: &id3::Id3Tags) -> Self {
        Self {
            file,
            start: found.audio,
            position: 0,
            chunks: found.chunks.clone(),
        }
    }
}

impl Read for Masked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A header's four bytes may begin before the requested range and end after it.
        let before = 3.min(self.position);
        self.file
            .seek(SeekFrom::Start(self.start + self.position - before))?;
        let mut wide = vec![0; buffer.len() + before as usize + 3];
        let n = read_up_to(&mut self.file, &mut wide)?;
        wide.truncate(n);
        for at in 0..n.saturating_sub(3) {
            // Some readers accept an invalid size.
            if matches!(wide[at..at + 4], [b'I', b'D', b'3', 2..=4]) {
                // Sound with these bytes changes, too, but is not read through this mask.
                wide[at..at + 3].fill(0);
            }
        }
        let first = self.start + self.position - before;
        for (chunk, (i, name)) in self
            .chunks
            .iter()
            .flat_map(|chunk| b"JUNK".iter().enumerate().map(move |n| (chunk, n)))
        {
            let at = (chunk + i as u64)
                .checked_sub(first)
                .and_then(|at| usize::try_from(at).ok());
            if let Some(byte) = at.and_then(|at| wide.get_mut(at)) {
                *byte = *name;
            }
        }
        let mine = wide.get(before as usize..).unwrap_or_default();
        let n = mine.len().min(buffer.len());
        buffer[..n].copy_from_slice(&mine[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Masked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = self.file.metadata()?.len().saturating_sub(self.start);
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or_else(invalid)?;
        // Positions far beyond the end are allowed if the sum with `start` stays in range.
        self.start.checked_add(self.position).ok_or_else(invalid)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    #[test]
    fn no_parser_reads_more_than_its_share() {
        let mut bounded = Bounded {
            inner: Cursor::new(vec![7; 100]),
            left: 60,
        };
        let mut all = Vec::new();
        assert!(bounded.read_to_end(&mut all).is_err());
        assert_eq!(all.len(), 60);
        bounded.seek(SeekFrom::Start(0)).unwrap();
        assert!(bounded.read(&mut [0; 1]).is_err());
    }

    #[test]
    fn a_masked_file_shows_no_tag_however_it_is_read() {
        let mut bytes = vec![7_u8; 300];
        for at in [0, 5, 60, 123, 250] {
            bytes[at..at + 10].copy_from_slice(b"ID3\x03\0\0\0\0\0\x05");
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for step in [1, 3, 9, 10, 64, 300] {
            let mut masked = Masked::new(
                file.try_clone().unwrap(),
                &id3::Id3Tags {
                    audio: 5,
                    ..id3::Id3Tags::default()
                },
            );
            let mut all: Vec<u8> = Vec::new();
            let mut piece = vec![0; step];
            loop {
                let n = masked.read(&mut piece).unwrap();
                if n == 0 {
                    break;
                }
                all.extend(&piece[..n]);
            }
            assert_eq!(all.len(), 295);
            assert!(!all.windows(3).any(|bytes| bytes == b"ID3"), "{step}");
            assert_eq!(
                all.iter().zip(&bytes[5..]).filter(|(a, b)| a != b).count(),
                12,
                "{step}"
            );
        }
    }
}
