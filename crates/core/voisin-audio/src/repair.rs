//! Corrects sizes in headers of AIFF that are not those of the file, as slightly wrong writers leave them, and the size of
//! an MP4's sound that was cut off: strict readers refuse such a file as a whole.

use std::io::{self, Read, Seek, SeekFrom};

use super::fill::{big, read_up_to};

/// Most chunks that are read.
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
    let is_aiff = head.starts_with(b"FORM") && matches!(head.get(8..), Some(b"AIFF" | b"AIFC"));
    if is_aiff {
        aiff(file, length)
    } else if head.get(4..8) == Some(b"ftyp") {
        movie(file, length)
    } else {
        Ok(Repairs::default())
    }
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

/// The box of the sound ends where the file does.
fn movie(file: &mut (impl Read + Seek), length: u64) -> io::Result<Repairs> {
    let mut found = Repairs::default();
    let mut at = 0;
    for _ in 0..MOST {
        let head = bytes(file, at, 16)?;
        if head.len() < 16 {
            break;
        }
        let (place, size) = match big(&head[..4]) {
            1 => (at + 8, big(&head[8..])),
            size => (at, size),
        };
        let there = length - at;
        if head[4..8] == *b"mdat" && size > there {
            let bytes = if place == at {
                u32::try_from(there).unwrap_or(0).to_be_bytes().to_vec()
            } else {
                there.to_be_bytes().to_vec()
            };
            found.patches.push((place, bytes));
        }
        if size < 8 || size > there {
            break;
        }
        at += size;
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
    fn every_truncation_of_a_header_is_survived() {
        let start = b"FORM....AIFFSSND\xff\xff\xff\xff";
        for length in 0..start.len() {
            let _ = seen(&start[..length]);
        }
    }
}
