//! Corrects sizes in headers that exceed the file, as in truncated downloads or by slightly wrong writers: strict
//! readers refuse such a file as a whole.
//!
//! For: AIFF, CAF, MP4 and Matroska. Not for: WAV, whose sizes need other rules (`source`), nor streams without sizes.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::fill::{big, read_up_to};
use super::mkv::{self, CLUSTER, SEEK_HEAD, SEGMENT};

/// Most chunks, boxes and clusters that are read.
const MOST: usize = 1 << 16;

/// Changes to a file's bytes as they are read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Repairs {
    /// Positions and replacements.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
    /// The end to assume, before a truncated part that holds no audio.
    pub(super) end: Option<u64>,
}

/// The changes that make a file of `length` bytes readable.
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
        _ if is_movie(&head) => movie(file, length),
        _ => Ok(Repairs::default()),
    }
}

/// Whether a file begins with a box of MP4.
pub(super) fn is_movie(head: &[u8]) -> bool {
    let firsts = [
        b"ftyp", b"moov", b"styp", b"mdat", b"wide", b"free", b"skip",
    ];
    head.get(4..8)
        .is_some_and(|kind| firsts.iter().any(|first| kind == *first))
}

/// Up to `size` bytes of a file from a position on.
pub(super) fn bytes(file: &mut (impl Read + Seek), at: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    file.seek(SeekFrom::Start(at))?;
    let n = read_up_to(file, &mut bytes)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The outer size is always that of the file, and the sound's size is corrected if it exceeds the
/// file.
fn aiff(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    const HEADER: u64 = 8;
    let mut found = Repairs::default();
    let mut has_sound = false;
    let mut at = 12;
    for _ in 0..MOST {
        let head = bytes(file, at, HEADER as usize)?;
        if head.len() < HEADER as usize {
            break;
        }
        let size = big(&head[4..]);
        let there = length.saturating_sub(at + HEADER);
        let is_name = head[..4].iter().all(|byte| matches!(byte, b' '..=b'~'));
        let is_sound = head.starts_with(b"SSND");
        // Interrupted writers leave a size of 0.
        if is_sound && (size > there || size == 0) {
            let size = u32::try_from(there).unwrap_or(u32::MAX);
            found.patches.push((at + 4, size.to_be_bytes().to_vec()));
            break;
        }
        // Garbage after the sound, or a truncated chunk: the file ends here.
        if size > there || has_sound && !is_name {
            found.end = Some(at);
            break;
        }
        has_sound |= is_sound;
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
    // Numbers per packet in the table: size and length, unless all packets have the same.
    let mut numbers = 0;
    let mut at = 8;
    for _ in 0..MOST {
        let head = bytes(file, at, HEADER as usize)?;
        // A size of -1 means up to the end of the file.
        if head.len() < HEADER as usize || head[4] & 0x80 != 0 {
            break;
        }
        let size = big(&head[4..]);
        let there = length.saturating_sub(at + HEADER);
        if head.starts_with(b"desc") {
            let fixed = bytes(file, at + HEADER + 16, 8)?;
            numbers = fixed.chunks(4).filter(|number| big(number) == 0).count() as u64;
        }
        if size > there {
            if head.starts_with(b"pakt") && numbers > 0 && there >= TABLE_HEADER {
                return cut_table(file, at + HEADER, there, numbers);
            }
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

/// Bytes of a packet table before its numbers: packets, frames, inaudible frames at the start and the
/// end.
const TABLE_HEADER: u64 = 24;

/// Ends a packet table after the last packet with all its numbers.
///
/// - `at`: where its header begins, after that of the chunk
/// - `length`: available bytes
fn cut_table(
    file: &mut (impl Read + Seek),
    at: u64,
    length: u64,
    numbers: u64,
) -> io::Result<Repairs> {
    let stated = big(&bytes(file, at, 8)?);
    file.seek(SeekFrom::Start(at + TABLE_HEADER))?;
    let mut ends = 0;
    let mut size = TABLE_HEADER;
    let numbers_there = BufReader::new(file.take(length - TABLE_HEADER)).bytes();
    for (i, byte) in numbers_there.enumerate() {
        // The last byte of a number has no top bit.
        if byte? & 0x80 == 0 {
            ends += 1;
            if ends % numbers == 0 {
                size = TABLE_HEADER + i as u64 + 1;
            }
        }
    }
    let packets = (ends / numbers).min(stated);
    let patches = vec![
        (at - 8, size.to_be_bytes().to_vec()),
        (at, packets.to_be_bytes().to_vec()),
        // Inaudible frames of the last packet.
        (at + TABLE_HEADER - 4, vec![0; 4]),
    ];
    Ok(Repairs {
        patches,
        end: Some(at + size),
    })
}

/// The header of a box.
pub(super) struct BoxHead {
    pub(super) kind: [u8; 4],
    /// Bytes of the header.
    pub(super) width: u64,
    /// Bytes of the box with its header; `None` up to the end.
    pub(super) size: Option<u64>,
}

impl BoxHead {
    /// - `bytes`: sixteen, or as many as there are
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let (width, size) = match (big(&bytes[..4]), bytes.get(8..16)) {
            (0, _) => (8, None),
            (1, Some(long)) => (16, Some(big(long))),
            (size, _) => (8, Some(size)),
        };
        Some(Self { kind, width, size })
    }
}

fn movie(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let mut found = Repairs::default();
    let mut at = 0;
    for _ in 0..MOST {
        let Some(head) = BoxHead::parse(&bytes(file, at, 16)?) else {
            break;
        };
        let Some(size) = head.size else { break };
        let there = length - at;
        if size > there || size < head.width {
            let is_movie = head.kind == *b"moov";
            let is_open =
                head.kind == *b"mdat" || is_movie && has_track(file, at + head.width, length)?;
            if is_open && size > there {
                let patch = if head.width == 16 {
                    (at + 8, there.to_be_bytes().to_vec())
                } else {
                    // 0 means up to the end of the file.
                    let size = u32::try_from(there).unwrap_or(0);
                    (at, size.to_be_bytes().to_vec())
                };
                found.patches.push(patch);
            } else if !is_movie && at > 0 {
                // Not for a truncated movie: nothing can be played without it, and the reader
                // reports that.
                found.end = Some(at);
            }
            break;
        }
        at += size;
    }
    Ok(found)
}

/// Whether a truncated movie still has a track: tags and free space follow the tracks.
fn has_track(file: &mut (impl Read + Seek), start: u64, length: u64) -> io::Result<bool> {
    let mut at = start;
    for _ in 0..MOST {
        let Some(head) = BoxHead::parse(&bytes(file, at, 16)?) else {
            break;
        };
        let Some(size) = head
            .size
            .filter(|size| (head.width..=length - at).contains(size))
        else {
            break;
        };
        if head.kind == *b"trak" {
            return Ok(true);
        }
        at += size;
    }
    Ok(false)
}

fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let mut found = Repairs::default();
    let mut at = 0;
    // The segment, and the available bytes of it.
    let mut segment = None;
    for _ in 0..MOST {
        let Some(head) = mkv::ElementHead::parse(&bytes(file, at, 12)?) else {
            break;
        };
        let body = at + (head.id_width + head.size_width) as u64;
        let there = length.saturating_sub(body);
        if head.id == SEGMENT && segment.is_none() {
            let is_cut = head.size.is_some_and(|size| size > there);
            // Complete, or of unknown size: nothing to correct.
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
        // A file has two of them at most (RFC 9559, section 5.1.1), and each patch costs every read time.
        if head.id == SEEK_HEAD && found.patches.len() < 2 {
            // It refers to the index after the end, to which readers would seek: replaced by a void.
            found.patches.push((at, mkv::void(&head, size)));
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
        // A truncated fragment is left out.
        let cut = [&whole[..], &boxed(b"moof", 50, b"part")].concat();
        assert_eq!(seen(&cut), whole);
    }

    #[test]
    fn a_movie_that_has_a_track_ends_where_the_file_does() {
        let sound = [boxed(b"ftyp", 8, b""), boxed(b"mdat", 9, b"7")].concat();
        let with = |size: u32, track: u32| {
            let boxes = [boxed(b"trak", track, b"abcd"), boxed(b"udta", 99, b"a")].concat();
            [&sound[..], &boxed(b"moov", size, &boxes)].concat()
        };
        assert_eq!(seen(&with(120, 12)), with(29, 12));
        // The tables are lost.
        assert_eq!(seen(&with(120, 90)), with(120, 90));
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
        let rubbish = |form: u32| {
            let form = form.to_be_bytes();
            [b"FORM", &form[..], b"AIFF", &[0; 8], &right[12..]].concat()
        };
        assert_eq!(seen(&rubbish(0)), rubbish(42));
    }

    #[test]
    fn a_cut_packet_table_ends_behind_a_whole_packet() {
        // All packets have 4096 frames, and each a size of its own.
        let table = |size: u64, packets: u64, rest: u32, sizes: &[u8]| {
            [
                b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20",
                &[7; 16][..],
                b"\0\0\0\0\0\0\x10\0",
                &[7; 8],
                b"pakt",
                &size.to_be_bytes(),
                &packets.to_be_bytes(),
                &[7; 12],
                &rest.to_be_bytes(),
                sizes,
            ]
            .concat()
        };
        let cut = table(29, 3, 100, b"\x81\x02\x05\x83");
        assert_eq!(seen(&cut), table(27, 2, 0, b"\x81\x02\x05"));
        let whole = table(29, 3, 100, b"\x81\x02\x05\x83\x01");
        assert_eq!(seen(&whole), whole);
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
