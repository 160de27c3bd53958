//! Sizes in headers that promise more than is there, as in downloads that broke off and files whose writer was wrong by
//! a little, made to agree with the bytes that are: readers that are exact refuse such a file as a whole.
//!
//! For: AIFF, CAF, MP4 and Matroska. Not for: WAV, whose sizes have a history of their own (`source`), nor streams without
//! sizes.

use std::io::{self, Read, Seek, SeekFrom};

use super::fill::{big, read_up_to};
use super::mkv::{self, CLUSTER, SEEK_HEAD, SEGMENT, VOID};

/// Chunks, boxes and clusters that are followed.
const MOST: usize = 1 << 16;

/// How a file should be seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repairs {
    /// Where bytes are replaced, and by what.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
    /// Where the file ends before something that is cut off and holds no audio.
    pub(super) end: Option<u64>,
}

/// The changes that a file of `length` bytes needs to be read.
pub(super) fn repairs(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let head = bytes(file, 0, 12)?;
    match &head[..] {
        [
            b'F',
            b'O',
            b'R',
            b'M',
            _,
            _,
            _,
            _,
            b'A',
            b'I',
            b'F',
            b'F' | b'C',
        ] => aiff(file, length),
        [b'c', b'a', b'f', b'f', ..] => caf(file, length),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => matroska(file, length),
        [_, _, _, _, kind @ ..] => {
            let is_box = |name: &&[u8; 4]| kind.starts_with(&name[..]);
            let firsts = [
                b"ftyp", b"moov", b"styp", b"mdat", b"wide", b"free", b"skip",
            ];
            if firsts.iter().any(is_box) {
                movie(file, length)
            } else {
                Ok(Repairs::default())
            }
        }
        _ => Ok(Repairs::default()),
    }
}

fn bytes(file: &mut (impl Read + Seek), at: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    file.seek(SeekFrom::Start(at))?;
    let n = read_up_to(file, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The outer size is always taken from the file, and that of the sound where it leads out of it.
fn aiff(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    const HEADER: u64 = 8;
    let mut found = Repairs::default();
    let mut at = 12;
    for _ in 0..MOST {
        let head = bytes(file, at, HEADER as usize)?;
        if head.len() < HEADER as usize {
            break;
        }
        let size = big(&head[4..]);
        let there = length.saturating_sub(at + HEADER);
        let is_name = head[..4].iter().all(|byte| matches!(byte, b' '..=b'~'));
        // 0 is left behind by writers that never came back to fill it in.
        if is_name && head.starts_with(b"SSND") && (size > there || size == 0) {
            let size = u32::try_from(there).unwrap_or(u32::MAX);
            found.patches.push((at + 4, size.to_be_bytes().to_vec()));
            break;
        }
        // Rubbish, or a chunk that is cut off: the file is shown up to here.
        if !is_name || size > there {
            found.end = Some(at);
            break;
        }
        at += HEADER + size + (size & 1);
    }
    let whole = found.end.unwrap_or(length) - HEADER;
    let whole = u32::try_from(whole).unwrap_or(u32::MAX);
    found.patches.push((4, whole.to_be_bytes().to_vec()));
    Ok(found)
}

fn caf(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    const HEADER: u64 = 12;
    let mut found = Repairs::default();
    let mut at = 8;
    for _ in 0..MOST {
        let head = bytes(file, at, HEADER as usize)?;
        // A size of -1 goes to the end of the file.
        if head.len() < HEADER as usize || head[4] & 0x80 != 0 {
            break;
        }
        let size = big(&head[4..]);
        let there = length.saturating_sub(at + HEADER);
        if size > there {
            if head.starts_with(b"data") {
                found.patches.push((at + 4, there.to_be_bytes().to_vec()));
            } else {
                found.end = Some(at);
            }
            break;
        }
        at += HEADER + size;
    }
    Ok(found)
}

fn movie(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let mut found = Repairs::default();
    let mut at = 0;
    for _ in 0..MOST {
        let head = bytes(file, at, 16)?;
        let (Some(size), Some(kind)) = (head.get(..4), head.get(4..8)) else {
            break;
        };
        let (header, size) = match (big(size), head.get(8..)) {
            // To the end of the file.
            (0, _) => break,
            (1, Some(long)) if long.len() == 8 => (16, big(long)),
            (size, _) => (8, size),
        };
        let there = length - at;
        if size > there || size < header {
            if kind == b"mdat" && size > there {
                let patch = if header == 16 {
                    (at + 8, there.to_be_bytes().to_vec())
                } else {
                    // 0 means up to the end of the file.
                    let size = u32::try_from(there).unwrap_or(0);
                    (at, size.to_be_bytes().to_vec())
                };
                found.patches.push(patch);
            } else if kind != b"moov" && at > 0 {
                // Not a movie that is cut off: without it nothing could be played, and the reader
                // says so.
                found.end = Some(at);
            }
            break;
        }
        at += size;
    }
    Ok(found)
}

fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let mut found = Repairs::default();
    let mut at = 0;
    // The segment, and how many bytes of its size there are.
    let mut segment = None;
    for _ in 0..MOST {
        let Some(head) = mkv::ElementHead::parse(&bytes(file, at, 12)?) else {
            break;
        };
        let body = at + (head.id_width + head.size_width) as u64;
        let there = length.saturating_sub(body);
        if head.id == SEGMENT && segment.is_none() {
            let is_cut = head.size.is_some_and(|size| size > there);
            // Whole, or of a size that was never known: nothing to mend.
            if !is_cut {
                break;
            }
            segment = Some((at + head.id_width as u64, head.size_width, body));
            at = body;
            continue;
        }
        let Some(size) = head.size else { break };
        if size > there {
            if head.id == CLUSTER {
                let size = mkv::sized(there, head.size_width);
                found.patches.push((at + head.id_width as u64, size));
            } else {
                found.end = Some(at);
            }
            break;
        }
        // The void's id has one byte instead of four, and its size, of eight bytes at most, takes
        // up the other three.
        // A file has two of them at most (RFC 9559, section 5.1.1), and each patch costs every read time.
        if head.id == SEEK_HEAD && head.size_width <= 5 && found.patches.len() < 2 {
            // It leads to the index behind what is there, and readers go to it: as many bytes of nothing instead.
            let void = [&[VOID], &mkv::sized(size, head.size_width + 3)[..]].concat();
            found.patches.push((at, void));
        }
        at = body + size;
    }
    if let Some((at, width, body)) = segment {
        let size = found.end.unwrap_or(length) - body;
        found.patches.push((at, mkv::sized(size, width)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn seen(file: &[u8]) -> Vec<u8> {
        let found = repairs(&mut Cursor::new(file), file.len() as u64).unwrap();
        let mut seen = file.to_vec();
        for (at, bytes) in found.patches {
            seen[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        seen.truncate(found.end.map_or(seen.len(), |end| end as usize));
        seen
    }

    fn boxed(kind: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    #[test]
    fn sound_that_is_cut_off_ends_where_the_file_does() {
        let start = [boxed(b"ftyp", 8, b""), boxed(b"moov", 12, b"abcd")].concat();
        let cut = [&start[..], &boxed(b"mdat", 100, b"sound")].concat();
        let whole = [&start[..], &boxed(b"mdat", 13, b"sound")].concat();
        assert_eq!(seen(&cut), whole);
        assert_eq!(seen(&whole), whole);
        let long =
            |size: u64| [&start[..], b"\0\0\0\x01mdat", &size.to_be_bytes(), b"sound"].concat();
        assert_eq!(seen(&long(1 << 40)), long(21));
        // A fragment that is cut off is none.
        let cut = [&whole[..], &boxed(b"moof", 50, b"part")].concat();
        assert_eq!(seen(&cut), whole);
    }

    #[test]
    fn outer_sizes_of_aiff_files_are_those_of_the_file() {
        let file = |form: u32, sound: u32| {
            let sound = [b"SSND", &sound.to_be_bytes()[..], &[7; 12]].concat();
            [
                b"FORM",
                &form.to_be_bytes()[..],
                b"AIFFCOMM\0\0\0\x02..",
                &sound,
            ]
            .concat()
        };
        let right = file(34, 12);
        for wrong in [file(42, 12), file(33, 12), file(34, 112), file(0, 0)] {
            assert_eq!(seen(&wrong), right);
        }
        assert_eq!(seen(&right), right);
    }

    #[test]
    fn cut_core_audio_and_matroska_files_have_sizes_that_fit() {
        let caf = |size: u64| [b"caff\0\x01\0\0data", &size.to_be_bytes()[..], b"sound"].concat();
        assert_eq!(seen(&caf(500)), caf(5));
        assert_eq!(seen(&caf(u64::MAX)), caf(u64::MAX));

        let file = |segment: u8, cluster: u8| {
            let mut file = vec![0x1a, 0x45, 0xdf, 0xa3, 0x80, 0x18, 0x53, 0x80, 0x67];
            file.extend([0x40, segment, 0x1f, 0x43, 0xb6, 0x75, 0x80 | cluster]);
            file.extend([7; 9]);
            file
        };
        assert_eq!(seen(&file(90, 70)), file(14, 9));
        assert_eq!(seen(&file(14, 9)), file(14, 9));
    }

    #[test]
    fn every_truncation_of_a_header_is_survived() {
        let file = [
            boxed(b"ftyp", 8, b""),
            boxed(b"mdat", 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        ]
        .concat();
        for start in [
            &file[..],
            b"FORM....AIFFSSND\xff\xff\xff\xff",
            b"caff....data\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xfe",
        ] {
            for length in 0..start.len() {
                let _ = seen(&start[..length]);
            }
        }
    }
}
