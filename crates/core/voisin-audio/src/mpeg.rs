//! Where an MP3 stream goes on at another sample rate or with other channels, as files that were joined do (ISO/IEC 11172-3,
//! 2.4.1.3; 13818-3 for the lower rates).

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::fill::read_up_to;
use super::source::WHOLE;

/// Frames of a kind in a row from which on they are another stretch: fewer are damage.
const LEAST: u32 = 3;
/// Stretches that a file may have; one with more is damaged.
const MOST: usize = 1000;
/// Bytes read at a time.
const BUFFER: usize = 1 << 16;

/// The properties that must not change under a decoder: version, sample rate, and whether there is one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameKind {
    version: u8,
    rate: u8,
    is_mono: bool,
}

/// The kind of a frame of layer III, and its length in bytes, by the four bytes that it begins with.
pub(super) fn frame(header: &[u8]) -> Option<(FrameKind, u64)> {
    const KBITS: [[u64; 14]; 2] = [
        [
            32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    let &[0xff, second, third, fourth] = header.get(..4)? else {
        return None;
    };
    let version = second >> 3 & 3;
    let is_layer_3 = second >> 1 & 3 == 1;
    if second >> 5 != 7 || version == 1 || !is_layer_3 {
        return None;
    }
    // MPEG-1 is 3, MPEG-2 is 2, and 0 is the unofficial 2.5.
    let is_low = version != 3;
    // 0 is free format, whose length no header tells, and 15 is forbidden.
    let kbits = KBITS[usize::from(is_low)].get(usize::from(third >> 4).checked_sub(1)?)?;
    let rate = third >> 2 & 3;
    let divisor = match version {
        3 => 1,
        2 => 2,
        _ => 4,
    };
    let hertz = RATES.get(usize::from(rate))? / divisor;
    // Samples of a frame (1152, or 576) over the 8 bits of a byte, times 1000 for kbit/s.
    let slots = if is_low { 72_000 } else { 144_000 };
    let length = slots * kbits / hertz + u64::from(third >> 1 & 1);
    let kind = FrameKind {
        version,
        rate,
        is_mono: fourth >> 6 == 3,
    };
    Some((kind, length))
}

/// The bytes of each stretch of one kind; all of the file where it has one.
pub(super) fn links(file: impl Read + Seek) -> io::Result<Vec<Range<u64>>> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut at = file.seek(SeekFrom::Start(0))?;
    let mut links: Vec<(FrameKind, Range<u64>)> = Vec::new();
    // Frames of another kind than the stretch before them.
    let mut others: Option<(FrameKind, Range<u64>, u32)> = None;
    loop {
        let mut header = [0; 4];
        let n = read_up_to(&mut file, &mut header)?;
        if n < header.len() {
            break;
        }
        let Some((kind, length)) = frame(&header) else {
            // No frame: the search goes on at the next byte.
            file.seek_relative(1 - n as i64)?;
            at += 1;
            continue;
        };
        let end = at + length;
        match (&mut others, links.last_mut()) {
            // Back to the kind of before: what lay between was damage, and stays within the
            // stretch.
            (_, Some((last, range))) if *last == kind => {
                range.end = end;
                others = None;
            }
            (Some((other, range, count)), _) if *other == kind && range.end == at => {
                range.end = end;
                *count += 1;
                if *count == LEAST {
                    links.push((kind, range.clone()));
                    others = None;
                }
            }
            _ => others = Some((kind, at..end, 1)),
        }
        if links.len() > MOST {
            return Ok(vec![WHOLE]);
        }
        file.seek_relative(length as i64 - n as i64)?;
        at = end;
    }
    if links.len() < 2 {
        return Ok(vec![WHOLE]);
    }
    Ok(links.into_iter().map(|(_, range)| range).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// Frames of 128 kbit/s, without what they hold.
    fn frames(second: u8, third: u8, fourth: u8, count: usize) -> Vec<u8> {
        let header = [0xff, second, third, fourth];
        let (_, length) = frame(&header).unwrap();
        let mut one = vec![0; length as usize];
        one[..4].copy_from_slice(&header);
        one.repeat(count)
    }

    #[test]
    fn lengths_of_frames_are_those_of_the_standard() {
        let length = |header: [u8; 4]| frame(&header).map(|(_, length)| length);
        assert_eq!(length([0xff, 0xfb, 0x90, 0x00]), Some(417));
        assert_eq!(length([0xff, 0xfb, 0x92, 0xc0]), Some(418));
        assert_eq!(length([0xff, 0xf3, 0x84, 0x00]), Some(192));
        for none in [
            [0xff, 0xfd, 0x90, 0],
            [0xff, 0xfb, 0xf0, 0],
            [0xff, 0xfb, 0x0c, 0],
        ] {
            assert_eq!(length(none), None);
        }
    }

    #[test]
    fn stretches_of_one_kind_are_told_apart() {
        let mono = frames(0xfb, 0x90, 0xc0, 9);
        let stereo = frames(0xfb, 0x90, 0x00, 9);
        let lower = frames(0xfb, 0x94, 0x40, 9);
        let junk = vec![0x11; 500];
        let m = mono.len() as u64;
        let s = stereo.len() as u64;
        let found = |parts: &[&[u8]]| links(Cursor::new(parts.concat())).unwrap();
        assert_eq!(found(&[&mono]), [WHOLE]);
        assert_eq!(found(&[&mono, &stereo]), [0..m, m..m + s]);
        assert_eq!(
            found(&[&mono, &junk, &stereo, &lower]),
            [
                0..m,
                m + 500..m + 500 + s,
                m + 500 + s..m + 500 + s + lower.len() as u64
            ]
        );
        // One frame of another kind is damage.
        assert_eq!(found(&[&mono, &stereo[..417], &mono]), [WHOLE]);
        // Joint stereo is stereo.
        let joint = frames(0xfb, 0x90, 0x40, 9);
        assert_eq!(found(&[&stereo, &joint]), [WHOLE]);
    }
}
