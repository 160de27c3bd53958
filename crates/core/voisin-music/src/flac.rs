//! CUE sheets in FLAC files: the text in the comment CUESHEET, and the metadata block of this name.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use voisin_base::regular_file;

/// Most blocks of a file.
const MOST_BLOCKS: usize = 1024;

const STREAMINFO: u8 = 0;
const VORBIS_COMMENT: u8 = 4;
const CUESHEET: u8 = 5;

/// The CUE sheets of a FLAC file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FlacCues {
    /// Samples a second.
    pub rate: u32,
    /// The text of a sheet, from a comment.
    pub text: Option<Vec<u8>>,
    /// The tracks of the block, without the lead-out.
    pub tracks: Vec<FlacCue>,
}

/// A track of the block.
#[derive(Debug, PartialEq, Eq)]
pub struct FlacCue {
    /// Its number, 1 to 99.
    pub number: u32,
    /// Whether it is audio and not data.
    pub is_audio: bool,
    /// Its INDEX 01, in samples.
    pub start: u64,
    /// ISRC, 12 characters, if given.
    pub isrc: Option<String>,
}

/// Reads the CUE sheets of a file; none if it is no FLAC.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> io::Result<FlacCues> {
    let found = read_from(BufReader::new(regular_file::open(path)?));
    // A file that is truncated within its header has no parts.
    found.or_else(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            Ok(FlacCues::default())
        } else {
            Err(error)
        }
    })
}

fn read_from(mut file: impl Read + Seek) -> io::Result<FlacCues> {
    let mut found = FlacCues::default();
    let mut at = 0;
    let mut head = [0; 4];
    file.read_exact(&mut head)?;
    // Some taggers put ID3 before FLAC. Its size has 7 bits a byte, without the 10 bytes of its
    // header.
    if head.starts_with(b"ID3") {
        let mut rest = [0; 6];
        file.read_exact(&mut rest)?;
        at = 10
            + rest[2..]
                .iter()
                .fold(0, |size, &byte| size << 7 | u64::from(byte & 0x7f));
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
    }
    if head != *b"fLaC" {
        return Ok(found);
    }
    for _ in 0..MOST_BLOCKS {
        at += 4;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let [kind, size @ ..] = head;
        let size = size
            .iter()
            .fold(0, |size, &byte| size << 8 | u64::from(byte));
        if matches!(kind & 0x7f, STREAMINFO | VORBIS_COMMENT | CUESHEET) {
            // At most 16 MB, as sizes have 24 bits.
            let mut block = Vec::new();
            file.by_ref().take(size).read_to_end(&mut block)?;
            match kind & 0x7f {
                STREAMINFO => found.rate = rate(&block).unwrap_or(0),
                // A file has one block of comments; of several the first counts.
                VORBIS_COMMENT => found.text = found.text.or_else(|| sheet_among(&block)),
                _ => found.tracks = tracks(&block).unwrap_or_default(),
            }
        }
        // The highest bit marks the last block; audio follows.
        if kind & 0x80 != 0 {
            break;
        }
        at += size;
    }
    Ok(found)
}

fn rate(block: &[u8]) -> Option<u32> {
    let bytes = block.get(10..13)?;
    // 20 bits, after sizes of blocks and frames (10 bytes).
    Some(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 4)
}

/// The text of a sheet in the comments; the comment's name may be in any case.
fn sheet_among(block: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"CUESHEET=";
    let sized = |bytes: &mut &[u8]| -> Option<Vec<u8>> {
        // Numbers are little-endian in this block, which is from Vorbis.
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        *bytes = rest;
        Some(value.to_vec())
    };
    let mut rest = block;
    // The name of the program that wrote it.
    sized(&mut rest)?;
    // The number of comments is not needed.
    rest = rest.get(4..)?;
    while let Some(comment) = sized(&mut rest) {
        if comment
            .get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        {
            return Some(comment[NAME.len()..].to_vec());
        }
    }
    None
}

/// The tracks of a CUESHEET block; `None` if it is truncated.
fn tracks(block: &[u8]) -> Option<Vec<FlacCue>> {
    /// Bytes of catalogue number, lead-in, flags and reserved space.
    const HEAD: usize = 395;
    const LEAD_OUT: [u8; 2] = [170, 255];
    let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    let (&count, mut rest) = block.get(HEAD..)?.split_first()?;
    let mut tracks = Vec::new();
    for _ in 0..count {
        // Offset (8 bytes), number (1), ISRC (12), flags and reserved (14), number of indices (1).
        let (head, after) = rest.split_at_checked(36)?;
        let (indices, after) = after.split_at_checked(12 * usize::from(head[35]))?;
        rest = after;
        if LEAD_OUT.contains(&head[8]) {
            continue;
        }
        let first = indices
            .chunks_exact(12)
            // The music begins at INDEX 01, whose offset is relative to the track's.
            .find(|index| index[8] == 1)
            .and_then(number)
            .unwrap_or(0);
        let isrc = std::str::from_utf8(&head[9..21])
            .ok()
            .map(|text| text.trim_matches('\0').to_owned());
        tracks.push(FlacCue {
            number: head[8].into(),
            is_audio: head[21] & 0x80 == 0,
            start: number(head)?.saturating_add(first),
            isrc: isrc.filter(|text| !text.is_empty()),
        });
    }
    Some(tracks)
}
