//! The bytes of a file for Symphonia: without tags around raw streams, and with corrected WAV headers.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use symphonia::core::io::MediaSource;

use super::fill::read_up_to;
use voisin_base::regular_file;

use super::tags::ape;
use super::{AudioError, hidden, repair};

/// Opens a regular file.
pub fn open(path: &Path) -> Result<File, AudioError> {
    regular_file::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => AudioError::NotAFile {
            path: path.to_owned(),
        },
        _ => AudioError::from_io(path, error),
    })
}

/// A range of a file, with some header bytes replaced.
///
/// Tags before and after a raw MP3 or AAC stream are left out, so that cover art is neither loaded nor
/// mistaken for audio, and retagging cannot change the packets.
#[derive(Debug)]
pub(super) struct MediaBytes {
    file: File,
    /// Bytes that replace a header; usually none.
    head: Vec<u8>,
    /// First byte of the file after the head.
    start: u64,
    /// Visible bytes, head included.
    length: u64,
    /// Position within the range.
    position: u64,
    /// `(position within the range, bytes)`.
    patches: Vec<(u64, Vec<u8>)>,
}

impl MediaBytes {
    /// Opens a regular, non-empty file.
    pub(super) fn open(path: &Path) -> Result<Self, AudioError> {
        let error = |source| AudioError::from_io(path, source);
        let mut file = open(path)?;
        let length = file.metadata().map_err(error)?.len();
        if length == 0 {
            return Err(AudioError::Empty {
                path: path.to_owned(),
            });
        }
        let start = leading_tags(&mut file, length).map_err(error)?;
        let end = ape::find(&mut file, start).map_err(error)?.audio;
        let mut source = Self {
            file,
            head: Vec::new(),
            start,
            length: end - start,
            position: 0,
            patches: Vec::new(),
        };
        // WAV first: `repair` ignores it, and its end must be known before reading further.
        source.repair_riff().map_err(error)?;
        let length = source.length;
        let repairs = repair::repairs(&mut source, length).map_err(error)?;
        source.patches.extend(repairs.patches);
        source.length = repairs.end.unwrap_or(length);
        source.seek(SeekFrom::Start(0)).map_err(error)?;
        Ok(source)
    }

    /// Bytes without the tags around them.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Hides metadata in these bytes from Symphonia.
    pub(super) fn hide_metadata(&mut self) -> io::Result<()> {
        let length = self.length;
        let patches = hidden::patches(self, length)?;
        self.patches.extend(patches);
        self.seek(SeekFrom::Start(0))?;
        Ok(())
    }

    /// The first bytes, up to 64.
    pub(super) fn head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; 64];
        self.seek(SeekFrom::Start(0))?;
        let n = read_up_to(self, &mut head)?;
        head.truncate(n);
        self.seek(SeekFrom::Start(0))?;
        Ok(head)
    }

    /// Makes a WAVE header agree with the file's bytes.
    ///
    /// Streaming writers leave sizes at 0 or 2^32 - 1, hostile files have any, RF64 has its sizes
    /// elsewhere. The outer size always counts as unknown; the data chunk, and with it the visible file,
    /// ends at its own size or at the file's, whichever is less.
    fn repair_riff(&mut self) -> io::Result<()> {
        let mut head = [0; 12];
        self.seek(SeekFrom::Start(0))?;
        if read_up_to(self, &mut head)? < 12 || &head[8..12] != b"WAVE" {
            return Ok(());
        }
        let long = matches!(&head[0..4], b"RF64" | b"BW64");
        if !long && &head[0..4] != b"RIFF" {
            return Ok(());
        }
        // RF64 becomes RIFF of unknown size, which Symphonia reads to the visible end.
        let mut patches = vec![(0, b"RIFF".to_vec()), (4, vec![0xff; 4])];
        let mut data64 = None;
        let mut odd_format = None;
        let mut position = 12;
        // A real file has a handful of chunks before its data; the bound is for hostile ones.
        for _ in 0..1024 {
            let mut chunk = [0; 8];
            self.seek(SeekFrom::Start(position))?;
            if read_up_to(self, &mut chunk)? < 8 {
                return Ok(());
            }
            let size = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
            if long && &chunk[0..4] == b"ds64" {
                let mut sizes = [0; 16];
                if read_up_to(self, &mut sizes)? == 16 {
                    // The size of the file comes first, that of the data second.
                    data64 = sizes[8..16].try_into().ok().map(u64::from_le_bytes);
                }
            }
            if &chunk[0..4] == b"fmt " && size >= 16 {
                let mut format = [0; 16];
                if read_up_to(self, &mut format)? == 16
                    && !is_format_read(format[0], format[1], size)
                {
                    odd_format = Some(format);
                }
            }
            if &chunk[0..4] == b"data" {
                let body = position + 8;
                let available = self.length.saturating_sub(body);
                let claimed = match data64 {
                    Some(data) if size == u64::from(u32::MAX) => data,
                    _ if size == 0 || size == u64::from(u32::MAX) => available,
                    _ => size,
                };
                let length = claimed.min(available);
                self.length = body + length;
                let stated = u32::try_from(length).unwrap_or(u32::MAX);
                if let Some(format) = odd_format {
                    self.start += body;
                    self.head = plain_header(format, stated);
                    self.length = self.head.len() as u64 + length;
                    return Ok(());
                }
                patches.push((position + 4, stated.to_le_bytes().to_vec()));
                self.patches = patches;
                return Ok(());
            }
            // Chunks begin at even positions.
            position += 8 + size + (size & 1);
        }
        Ok(())
    }
}

/// Whether Symphonia reads a format chunk of this tag and size, or the tag needs more than the first 16 bytes.
fn is_format_read(tag: u8, high: u8, size: u64) -> bool {
    match (tag, high) {
        // Integers and floats.
        (1 | 3, 0) => matches!(size, 16 | 18 | 40),
        // A-law and mu-law, for which early writers used 16 bytes.
        (6 | 7, 0) => size == 18,
        _ => true,
    }
}

/// The header of a WAV file with the 16 bytes of every format chunk and the two more that Symphonia expects for A-law
/// and mu-law: the length of an extension, which is zero.
fn plain_header(format: [u8; 16], data: u32) -> Vec<u8> {
    [
        b"RIFF\xff\xff\xff\xffWAVEfmt \x12\0\0\0",
        &format[..],
        &[0, 0],
        b"data",
        &data.to_le_bytes(),
    ]
    .concat()
}

impl MediaBytes {
    /// The error for a file that refers to an impossible position.
    fn nowhere(&self, found: &str) -> io::Error {
        let length = self.length;
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("damaged: expected a place among its {length} bytes, found {found}"),
        )
    }
}

impl Read for MediaBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The replaced header comes first; the file follows from `start` on.
        let head = usize::try_from(self.position)
            .ok()
            .and_then(|position| self.head.get(position..));
        if let Some(head) = head.filter(|head| !head.is_empty()) {
            let n = head.len().min(buffer.len());
            buffer[..n].copy_from_slice(&head[..n]);
            let position = self.position + n as u64;
            self.seek(SeekFrom::Start(position))?;
            return Ok(n);
        }
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
        // Within the head the file's position is `start`.
        let behind = target.saturating_sub(self.head.len() as u64);
        let found = || self.nowhere(&format!("byte {target}"));
        let absolute = self.start.checked_add(behind).ok_or_else(found)?;
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

/// Where the audio begins after any `ID3v2` tags.
fn leading_tags(file: &mut File, length: u64) -> io::Result<u64> {
    let mut start = 0;
    loop {
        let mut header = [0; 10];
        file.seek(SeekFrom::Start(start))?;
        if read_up_to(file, &mut header)? < 10 || &header[0..3] != b"ID3" || header[3] == 0xff {
            return Ok(start);
        }
        // 28 bits in four bytes; a set top bit means that this is no tag.
        if header[6..10].iter().any(|&byte| byte & 0x80 != 0) {
            return Ok(start);
        }
        let size = header[6..10]
            .iter()
            .fold(0, |size, &byte| size << 7 | u64::from(byte));
        let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
        let end = start + 10 + size + footer;
        // A tag as long as the file or longer counts as audio: nothing else would be left.
        if end >= length {
            return Ok(start);
        }
        start = end;
    }
}

/// Why a file is refused, by its first bytes: Symphonia's probe would search it for a frame's sync word and find some by
/// chance.
pub(super) fn foreign_format(head: &[u8]) -> Option<String> {
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

    #[test]
    fn impossible_positions_are_reported_as_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mka");
        std::fs::write(&path, [0x1a; 100]).unwrap();
        let mut source = MediaBytes::open(&path).unwrap();
        source.seek(SeekFrom::Start(40)).unwrap();
        for (to, found) in [
            (SeekFrom::Start(1 << 63), "found byte 9223372036854775808"),
            (
                SeekFrom::Current(i64::MAX),
                "found byte 9223372036854775847",
            ),
            (SeekFrom::Current(-41), "found one before its first"),
            (SeekFrom::End(-101), "found one before its first"),
        ] {
            let error = source.seek(to).unwrap_err();
            let message = error.to_string();
            assert!(
                message.starts_with("damaged: expected a place among its 100 bytes")
                    && message.contains(found),
                "{message}"
            );
            assert_eq!(error.raw_os_error(), None);
        }
        assert_eq!(source.stream_position().unwrap(), 40);
    }
}
