//! The bytes of a file for Symphonia: without tags around raw streams, and with what its readers refuse hidden or
//! corrected.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::io::MediaSource;

use voisin_base::regular_file;

use super::bytes::{Patches, bytes_at, damaged};
use super::iff::Iff;
use super::tags::{flac, id3, mp4, trailing};
use super::{AudioError, mkv};

/// Opens a regular file.
pub fn open(path: &Path) -> Result<File, AudioError> {
    regular_file::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => AudioError::NotAFile {
            path: path.to_owned(),
        },
        _ => AudioError::from_io(path, error),
    })
}

/// A range of a file, with some bytes replaced.
///
/// Tags before and after a raw MP3 or AAC stream are left out, so that cover art is neither loaded nor
/// mistaken for audio, and retagging cannot change the packets. Other metadata are hidden, because Symphonia refuses a
/// whole file for a damaged tag or a chapter without a number; voisin reads tags itself.
#[derive(Debug)]
pub(super) struct MediaBytes {
    file: File,
    /// The first visible byte.
    start: u64,
    /// Visible bytes.
    length: u64,
    /// Position within the range.
    position: u64,
    /// `(position within the range, bytes)`.
    patches: Patches,
}

impl MediaBytes {
    /// Opens a regular, non-empty file of a format that voisin may read.
    pub(super) fn open(path: &Path) -> Result<Self, AudioError> {
        let error = |source| AudioError::from_io(path, source);
        let mut file = open(path)?;
        if file.metadata().map_err(error)?.len() == 0 {
            return Err(AudioError::not_audio(path, "the file is empty"));
        }
        let (_, start) = id3::leading(&mut file).map_err(error)?;
        let end = trailing::find(&mut file, start).map_err(error)?.audio;
        let mut source = Self {
            file,
            start,
            length: end - start,
            position: 0,
            patches: Vec::new(),
        };
        let head = bytes_at(&mut source, 0, 64).map_err(error)?;
        // Before the probe, which scans for a frame's sync word: a picture or an archive has some by chance.
        if let Some(what) = foreign_format(&head) {
            return Err(AudioError::not_audio(path, what));
        }
        source.repair(&head).map_err(error)?;
        source.seek(SeekFrom::Start(0)).map_err(error)?;
        Ok(source)
    }

    /// Bytes without the tags around them.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// - `head`: the first bytes
    fn repair(&mut self, head: &[u8]) -> io::Result<()> {
        let length = self.length;
        if let Some(kind) = Iff::of(head) {
            let repairs = kind.repairs(self, length)?;
            self.patches = repairs.patches;
            self.length = repairs.end.unwrap_or(length);
        } else if head.starts_with(b"fLaC") {
            self.patches = flac::repairs(self, length)?;
        } else if head.starts_with(b"\x1a\x45\xdf\xa3") {
            self.patches = mkv::repairs(self, length)?;
        } else if mp4::is_movie(head) {
            self.patches = mp4::repairs(self, length)?;
        }
        Ok(())
    }

    /// The error for a file that refers to an impossible position.
    fn nowhere(&self, found: &str) -> io::Error {
        damaged(&format!("a place among its {} bytes", self.length), found)
    }
}

impl Read for MediaBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let wanted = left.min(buffer.len() as u64) as usize;
        let n = self.file.read(&mut buffer[..wanted])?;
        // A patch may begin before this read or end after it, so it is applied byte by byte.
        for (at, bytes) in &self.patches {
            for (i, &byte) in bytes.iter().enumerate() {
                if let Some(offset) = (at + i as u64).checked_sub(self.position)
                    && offset < n as u64
                {
                    buffer[offset as usize] = byte;
                }
            }
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for MediaBytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let target =
            target.ok_or_else(|| self.nowhere("one before its first or behind any file's last"))?;
        let found = || self.nowhere(&format!("byte {target}"));
        let absolute = self.start.checked_add(target).ok_or_else(found)?;
        // The file system limits positions: 16 TB on ext4.
        (&self.file)
            .seek(SeekFrom::Start(absolute))
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => found(),
                _ => error,
            })?;
        self.position = target;
        Ok(target)
    }
}

impl MediaSource for MediaBytes {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// Why a file is refused, by its first bytes: Symphonia's probe would search it for a frame's sync word and find some by
/// chance.
fn foreign_format(head: &[u8]) -> Option<String> {
    /// The first bytes, a name, and whether it is music that voisin cannot decode.
    const FOREIGN: [(&[u8], &str, bool); 20] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG picture", false),
        (b"\xff\xd8\xff", "a JPEG picture", false),
        (b"GIF8", "a GIF picture", false),
        (b"%PDF", "a PDF document", false),
        (b"PK\x03\x04", "a ZIP archive", false),
        (b"<!DOCTYPE", "an HTML page", false),
        (b"<html", "an HTML page", false),
        (b"#EXTM3U", "a playlist", false),
        (b"MThd", "a MIDI file", false),
        (b"wvpk", "WavPack", true),
        (b"MAC ", "Monkey's Audio", true),
        (b"MPCK", "Musepack", true),
        (b"MP+", "Musepack", true),
        (b"TTA1", "True Audio", true),
        (b"tBaK", "TAK", true),
        (b"DSD ", "DSD", true),
        (b"FRM8", "DSD", true),
        (b"\x0b\x77", "AC-3", true),
        (b"\x7f\xfe\x80\x01", "DTS", true),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media", true),
    ];
    let (_, name, is_music) = FOREIGN.iter().find(|(magic, ..)| head.starts_with(magic))?;
    Some(if *is_music {
        format!(
            "it is music in the format {name}: convert a copy to FLAC, for example with \"ffmpeg -i FILE FILE.flac\""
        )
    } else {
        format!("it is {name}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn music_in_other_formats_has_a_way_into_the_library() {
        let ac3 = foreign_format(b"\x0b\x77\x12\x34").unwrap();
        assert!(ac3.contains("AC-3") && ac3.contains("ffmpeg"), "{ac3}");
        assert_eq!(foreign_format(b"%PDF-1.7").unwrap(), "it is a PDF document");
        assert_eq!(foreign_format(b"\xff\xfb\x10\x80"), None);
        assert_eq!(foreign_format(b"fLaC\0\0\0\x22"), None);
    }
}
