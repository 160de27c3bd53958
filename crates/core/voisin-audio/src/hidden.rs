//! Hides metadata from Symphonia, which refuses a whole file for a damaged tag or a chapter without a number; voisin
//! reads tags itself.
//!
//! For: AIFF, FLAC, Matroska, MP4 and WAV. Not for: sizes of AIFF (`repair`).

use std::io::{self, Read, Seek};

use super::fill::big;
use super::mkv::{self, CLUSTER};
use super::repair::bytes;

/// Most parts that are hidden: each read of the file checks all of them, and a file has a handful.
const MOST: usize = 1 << 10;

/// Replacements of bytes in a file of `length` bytes.
pub(super) fn patches(
    file: &mut (impl Read + Seek),
    length: u64,
) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let head = bytes(file, 0, 12)?;
    match &head[..] {
        [b'f', b'L', b'a', b'C', ..] => flac(file),
        [b'R', b'I', b'F', b'F', ..] | [b'F', b'O', b'R', b'M', ..] => {
            chunks(file, head[1] == b'I')
        }
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(file, length),
        _ if is_movie(&head) => movie(file, length),
        _ => Ok(Vec::new()),
    }
}

/// RFC 9639, section 8: all blocks but STREAMINFO and the seek table become padding.
fn flac(file: &mut (impl Read + Seek)) -> io::Result<Vec<(u64, Vec<u8>)>> {
    const STREAM_INFO: u8 = 0;
    const PADDING: u8 = 1;
    const SEEK_TABLE: u8 = 3;
    const SEEK_POINT: u64 = 18;
    const LAST: u8 = 0x80;
    let mut patches = Vec::new();
    let mut kept = Vec::new();
    let mut at = 4;
    for _ in 0..MOST {
        let head = bytes(file, at, 4)?;
        if head.len() < 4 {
            break;
        }
        let kind = head[0] & !LAST;
        let last = head[0] & LAST;
        let size = big(&head[1..]);
        let is_sound = kind == STREAM_INFO || kind == SEEK_TABLE && size.is_multiple_of(SEEK_POINT);
        // Of each kind the first counts.
        if is_sound && !kept.contains(&kind) {
            kept.push(kind);
        } else if kind != PADDING {
            patches.push((at, vec![last | PADDING]));
        }
        if last != 0 {
            break;
        }
        at += 4 + size;
    }
    Ok(patches)
}

/// Renames the chunks of AIFF and WAV files with tags, texts and markers, so that readers skip them: chapters in an
/// `ID3v2` tag may be nested deeper than a reader's stack.
fn chunks(file: &mut (impl Read + Seek), is_wav: bool) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut patches = Vec::new();
    let mut at = 12;
    for _ in 0..MOST {
        let mut head = bytes(file, at, 8)?;
        if head.len() < 8 {
            return Ok(patches);
        }
        if is_wav {
            head[4..].reverse();
        }
        let size = big(&head[4..]);
        let is_hidden = match &head[..4] {
            b"LIST" | b"MARK" | b"COMT" | b"APPL" | b"NAME" | b"AUTH" | b"(c) " | b"ANNO"
            | b"ID3 " => true,
            // The number of frames.
            b"fact" => size != 4,
            // A WAV file is read up to the end of its sound.
            b"data" => return Ok(patches),
            _ => false,
        };
        if is_hidden {
            patches.push((at, b"JUNK".to_vec()));
        }
        at += 8 + size + (size & 1);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("damaged: expected at most {MOST} chunks, found more"),
    ))
}

/// RFC 9559, section 5.1: chapters, which FFmpeg writes without numbers.
fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    const CHAPTERS: u32 = 0x1043_a770;
    let mut elements = mkv::elements(file, length, Some(CLUSTER))?;
    elements.retain(|element| element.id == CHAPTERS);
    elements.truncate(MOST);
    Ok(elements
        .iter()
        .map(|element| (element.at, element.void()))
        .collect())
}

/// Whether a file begins with a box of MP4.
fn is_movie(head: &[u8]) -> bool {
    let firsts = [
        b"ftyp", b"moov", b"styp", b"mdat", b"wide", b"free", b"skip",
    ];
    head.get(4..8)
        .is_some_and(|kind| firsts.iter().any(|first| kind == *first))
}

/// The header of a box.
struct BoxHead {
    kind: [u8; 4],
    /// Bytes of the header.
    width: u64,
    /// Bytes of the box with its header; `None` up to the end.
    size: Option<u64>,
}

impl BoxHead {
    /// - `bytes`: sixteen, or as many as there are
    fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let (width, size) = match (big(&bytes[..4]), bytes.get(8..16)) {
            (0, _) => (8, None),
            (1, Some(long)) => (16, Some(big(long))),
            (size, _) => (8, Some(size)),
        };
        Some(Self { kind, width, size })
    }
}

/// ISO/IEC 14496-12: `udta` and `meta`, inside and outside the movie, become free space, and so do invalid bytes after
/// the movie's boxes.
fn movie(file: &mut (impl Read + Seek), length: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut patches = Vec::new();
    let mut at = 0;
    // Where the movie ends, while its boxes are followed.
    let mut inner = None;
    let mut has_movie = false;
    for _ in 0..MOST {
        let end = inner.unwrap_or(length);
        let left = end - at;
        let head = BoxHead::parse(&bytes(file, at, left.min(16) as usize)?);
        let next = match head {
            Some(BoxHead { kind, size, width }) => {
                let next = match size {
                    Some(size) => Some(size).filter(|size| (width..=left).contains(size)),
                    // To the end of the file, which is only valid for an outermost box.
                    None => inner.is_none().then_some(left),
                };
                match &kind {
                    b"moov" if inner.is_none() && next.is_some() => {
                        has_movie = true;
                        inner = next.map(|size| at + size);
                        at += width;
                        continue;
                    }
                    // The sound follows the movie; no more metadata is searched.
                    b"mdat" | b"moof" if has_movie && inner.is_none() => break,
                    // A size too small for a box ends the movie; readers skip one that is too large.
                    _ if inner.is_some() && size.is_none_or(|size| size < width) => {
                        let size = u32::try_from(left).unwrap_or(u32::MAX);
                        patches.push((at, [&size.to_be_bytes()[..], b"free"].concat()));
                    }
                    b"udta" | b"meta" => patches.push((at + 4, b"free".to_vec())),
                    _ => {}
                }
                next
            }
            None => None,
        };
        at = match next {
            Some(size) => at + size,
            // The rest of the movie is skipped.
            None if inner.is_some() => end,
            None => break,
        };
        if inner == Some(at) {
            inner = None;
        }
    }
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn seen(file: &[u8]) -> Vec<u8> {
        let mut seen = file.to_vec();
        for (at, bytes) in patches(&mut Cursor::new(file), file.len() as u64).unwrap() {
            seen[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        seen
    }

    fn flac(kinds: [u8; 6]) -> Vec<u8> {
        let block = |kind: u8, body: &[u8]| [&[kind, 0, 0, body.len() as u8], body].concat();
        let blocks = kinds.map(|kind| block(kind, &[7; 18]));
        [b"fLaC", &blocks.concat()[..], &block(0x83, b"odd")].concat()
    }

    fn movie(udta: &[u8; 4], end: &[u8; 8]) -> Vec<u8> {
        let boxes = [
            b"\0\0\0\x0c",
            &udta[..],
            b"text\0\0\0\x08trak",
            end,
            b"rest",
        ]
        .concat();
        let size = (boxes.len() as u8 + 8).to_be_bytes();
        let head = b"\0\0\0\x08ftyp\0\0\0";
        [head, &size[..], b"moov", &boxes, b"\0\0\0\x09mdat7"].concat()
    }

    fn matroska(chapters: &[u8]) -> Vec<u8> {
        let start = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff";
        let cluster = b"\x1f\x43\xb6\x75\x80\x10\x43\xa7\x70\x80";
        [&start[..], chapters, &[9; 2], cluster].concat()
    }

    #[test]
    fn texts_and_chapters_are_hidden_and_sound_is_not() {
        // Comments, pictures and repeated blocks become padding.
        let hidden = seen(&flac([0, 3, 4, 6, 1, 0]));
        assert_eq!(
            hidden[4..hidden.len() - 7],
            flac([0, 3, 1, 1, 1, 1])[4..hidden.len() - 7]
        );
        assert_eq!(hidden[hidden.len() - 7], 0x81);

        let whole = movie(b"udta", b"\0\0\0\x08free");
        assert_eq!(seen(&whole), movie(b"free", b"\0\0\0\x08free"));
        // Zeros are no box up to the end of the file.
        assert_eq!(
            seen(&movie(b"meta", &[0; 8])),
            movie(b"free", b"\0\0\0\x0cfree")
        );

        let size = b"\x01\0\0\0\0\0\0\x02";
        let chapters = [b"\x10\x43\xa7\x70", &size[..]].concat();
        // A void's header is at least three bytes shorter, which its body gains.
        let void = b"\xec\x01\0\0\0\0\0\0\x05\0\0\x02";
        assert_eq!(seen(&matroska(&chapters)), matroska(void));

        let wav = |list: &[u8; 4], fact: &[u8; 4]| {
            [
                b"RIFF....WAVEfmt \x01\0\0\0.\0",
                &list[..],
                b"\0\0\0\0",
                fact,
                b"\0\0\0\0data",
            ]
            .concat()
        };
        assert_eq!(seen(&wav(b"LIST", b"fact")), wav(b"JUNK", b"JUNK"));
    }

    #[test]
    fn an_aiff_file_of_nothing_but_tags_is_damaged() {
        let of = |n: usize| [b"FORM....AIFF", &b"ID3 \0\0\0\x04ID3\x04".repeat(n)[..]].concat();
        assert!(!seen(&of(MOST - 1)).windows(4).any(|name| name == b"ID3 "));
        let file = of(MOST);
        let error = patches(&mut Cursor::new(&file), file.len() as u64).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn every_truncation_is_survived() {
        for file in [
            flac([0, 3, 4, 6, 1, 0]),
            movie(b"udta", &[0; 8]),
            matroska(b"\x10\x43\xa7\x70\x82"),
            b"FORM....AIFFNAME\xff\xff\xff\xff".to_vec(),
            b"\0\0\0\x08ftyp\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ] {
            for length in 0..file.len() {
                let _ = seen(&file[..length]);
            }
        }
    }
}
