//! Frames of raw streams by their headers: MPEG layers I to III (ISO/IEC 11172-3, 2.4.1.3; 13818-3 for the lower rates)
//! and AAC in ADTS (14496-3, 1.A.3). Finds where such a stream continues as another, as in joined files: in another
//! format, at another sample rate or with other channels.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::fill::{big, read_up_to};
use super::source::WHOLE;

/// Least consecutive frames of a kind that are another stretch; fewer are damage.
const LEAST: u32 = 3;
/// Most stretches of a file; one with more is damaged.
const MOST: usize = 1000;
/// Bytes read at a time.
const BUFFER: usize = 1 << 16;
/// Bytes that determine the kind and the length of a frame.
const HEADER: usize = 6;
/// Layers as headers number them; 0 is AAC.
const LAYER_1: u8 = 3;
const LAYER_2: u8 = 2;
const LAYER_3: u8 = 1;
/// Version number in headers; MPEG-2 is 2, and 0 is the unofficial 2.5.
const MPEG_1: u8 = 3;

/// Properties that must not change within a decoder's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameKind {
    layer: u8,
    /// The MPEG version, or the profile of AAC.
    version: u8,
    rate: u8,
    /// One or two, or the channel configuration of AAC.
    channels: u8,
}

/// kbit/s of a frame of MPEG by the second and third byte of its header; 0 is free format.
fn kbits(second: u8, third: u8) -> Option<u64> {
    let rates: [u64; 15] = match (second >> 3 & 3, second >> 1 & 3) {
        // One version and one layer are reserved.
        (1, _) | (_, 0) => return None,
        (MPEG_1, LAYER_1) => [
            0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448,
        ],
        (MPEG_1, LAYER_2) => [
            0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
        ],
        (MPEG_1, _) => [
            0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ],
        (_, LAYER_1) => [
            0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256,
        ],
        _ => [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    };
    // 15 is invalid.
    rates.get(usize::from(third >> 4)).copied()
}

/// The kind and length in bytes of a frame by its first bytes: four for MPEG, six for AAC.
pub(super) fn frame(header: &[u8]) -> Option<(FrameKind, u64)> {
    const RATES: [u64; 3] = [44_100, 48_000, 32_000];
    let &[0xff, second, third, fourth] = header.get(..4)? else {
        return None;
    };
    if second & 0xf6 == 0xf0 {
        return adts_frame(header);
    }
    if second >> 5 != 7 {
        return None;
    }
    let version = second >> 3 & 3;
    let layer = second >> 1 & 3;
    let is_low = version != MPEG_1;
    // A free-format frame has no length in its header.
    let kbits = kbits(second, third).filter(|&kbits| kbits > 0)?;
    let rate = third >> 2 & 3;
    let divisor = match version {
        3 => 1,
        2 => 2,
        _ => 4,
    };
    let hertz = RATES.get(usize::from(rate))? / divisor;
    // Samples of a frame (1152, 576 or 384) over the 8 bits of a byte, times 1000 for kbit/s. Layer I counts in fours of bytes.
    let padding = u64::from(third >> 1 & 1);
    let length = match layer {
        LAYER_1 => (12_000 * kbits / hertz + padding) * 4,
        LAYER_3 if is_low => 72_000 * kbits / hertz + padding,
        _ => 144_000 * kbits / hertz + padding,
    };
    let kind = FrameKind {
        layer,
        version,
        rate,
        channels: if fourth >> 6 == 3 { 1 } else { 2 },
    };
    Some((kind, length))
}

fn adts_frame(header: &[u8]) -> Option<(FrameKind, u64)> {
    /// Bytes of the shortest header, and number of sample rates.
    const SHORTEST: u64 = 7;
    const RATES: u8 = 13;
    let &[_, _, third, fourth, fifth, sixth] = header.get(..HEADER)? else {
        return None;
    };
    let length = big(&[fourth & 3, fifth, sixth]) >> 5;
    let kind = FrameKind {
        layer: 0,
        version: third >> 6,
        rate: third >> 2 & 15,
        channels: (third & 1) << 2 | fourth >> 6,
    };
    (kind.rate < RATES && length >= SHORTEST).then_some((kind, length))
}

/// Whether another frame of the kind begins after this many bytes; the file position is kept.
fn is_followed(
    file: &mut BufReader<impl Read + Seek>,
    kind: FrameKind,
    ahead: i64,
) -> io::Result<bool> {
    let mut header = [0; HEADER];
    file.seek_relative(ahead)?;
    let n = read_up_to(file, &mut header)?;
    file.seek_relative(-ahead - n as i64)?;
    Ok(frame(&header[..n]).is_some_and(|(next, _)| next == kind))
}

/// Why the first frames of a stream cannot be decoded although they are valid.
pub(super) fn undecodable(bytes: &[u8]) -> Option<&'static str> {
    // The shortest frame; the next two may differ in length by a byte of padding.
    const SHORTEST: usize = 24;
    let header = |at: usize| match bytes.get(at..at + 3)? {
        &[0xff, second, third] if second >> 5 == 7 => Some((second, third & 0xfc)),
        _ => None,
    };
    let (second, third) = header(0)?;
    let is_mono = bytes.get(3)? >> 6 == 3;
    match kbits(second, third)? {
        0 => {
            let comes_again = |at: usize| header(at) == Some((second, third));
            let is_regular = (SHORTEST..bytes.len() / 2).any(|length| {
                comes_again(length) && (2 * length - 1..=2 * length + 1).any(comes_again)
            });
            is_regular.then_some(
                "it is MPEG audio of free format, whose headers give no length: convert a copy to WAV, for example with \"mpg123 -w FILE.wav FILE\"",
            )
        }
        kbits if second >> 1 & 3 == LAYER_2 => {
            let is_refused = if is_mono {
                kbits > 192
            } else {
                matches!(kbits, 32 | 48 | 56 | 80)
            };
            is_refused.then_some(
                "it is MP2 at a bit rate that is not decoded with its number of channels: convert a copy to FLAC, for example with \"ffmpeg -i FILE FILE.flac\"",
            )
        }
        _ => None,
    }
}

/// The bytes of each stretch of one kind; the whole file if it has one.
pub(super) fn links(file: impl Read + Seek) -> io::Result<Vec<Range<u64>>> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut at = file.seek(SeekFrom::Start(0))?;
    let mut links: Vec<(FrameKind, Range<u64>)> = Vec::new();
    // Frames of another kind than the stretch before them.
    let mut others: Option<(FrameKind, Range<u64>, u32)> = None;
    // Whether the previous frame ended here.
    let mut in_step = true;
    loop {
        let mut header = [0; HEADER];
        let n = read_up_to(&mut file, &mut header)?;
        if n < header.len() {
            break;
        }
        let mut found = frame(&header);
        // Bytes of a picture may look like a header. Headers of layer III are accepted, which keeps the links of files
        // in existing libraries.
        if let Some((kind, length)) = found
            && !in_step
            && kind.layer != LAYER_3
            && !is_followed(&mut file, kind, length as i64 - n as i64)?
        {
            found = None;
        }
        in_step = found.is_some();
        let Some((kind, length)) = found else {
            // No frame: the search continues at the next byte.
            file.seek_relative(1 - n as i64)?;
            at += 1;
            continue;
        };
        let end = at + length;
        match (&mut others, links.last_mut()) {
            // Back to the former kind: the bytes between were damage and stay in the stretch.
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

    /// Frames without content.
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
        // Layer II at 160 kbit/s and 44.1 kHz, and at 8 kbit/s and 24 kHz; layer I at 32 kbit/s and 48 kHz, padded.
        assert_eq!(length([0xff, 0xfd, 0x90, 0x00]), Some(522));
        assert_eq!(length([0xff, 0xf5, 0x14, 0x00]), Some(48));
        assert_eq!(length([0xff, 0xff, 0x16, 0x00]), Some(36));
        for none in [
            [0xff, 0xf9, 0x90, 0],
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
        let layer_2 = frames(0xfd, 0x90, 0x00, 9);
        let l = layer_2.len() as u64;
        assert_eq!(found(&[&layer_2, &stereo]), [0..l, l..l + s]);
        // AAC of 200 bytes, LC at 44.1 kHz, with this many channels.
        let aac = |channels: u8| {
            let mut one = [0; 200];
            one[..6].copy_from_slice(&[0xff, 0xf1, 0x50, channels << 6, 25, 0]);
            one.repeat(9)
        };
        assert_eq!(found(&[&aac(1), &aac(2)]), [0..1800, 1800..3600]);
        assert_eq!(found(&[&aac(1), &stereo]), [0..1800, 1800..1800 + s]);
        // Behind the bytes of a picture that look like a header of AAC, no frame is passed over.
        let picture = &aac(1)[..6];
        let after = m + 7;
        assert_eq!(
            found(&[&mono, &[0x11], picture, &stereo]),
            [0..m, after..after + s]
        );
        // Joint stereo is stereo.
        let joint = frames(0xfb, 0x90, 0x40, 9);
        assert_eq!(found(&[&stereo, &joint]), [WHOLE]);
    }

    #[test]
    fn frames_that_no_decoder_reads_are_named() {
        let repeated = |header: [u8; 4]| {
            let mut one = [0; 300];
            one[..4].copy_from_slice(&header);
            one.repeat(20)
        };
        let free = repeated([0xff, 0xfb, 0x04, 0x00]);
        assert!(undecodable(&free).unwrap().contains("free format"));
        // A single frame is no stream.
        assert_eq!(undecodable(&free[..300]), None);
        // One channel at 384 kbit/s, and two at 160.
        let mono = repeated([0xff, 0xfd, 0xe4, 0xc0]);
        assert!(undecodable(&mono).unwrap().contains("MP2 at a bit rate"));
        assert_eq!(undecodable(&repeated([0xff, 0xfd, 0x94, 0x00])), None);
        assert_eq!(undecodable(&repeated([0xff, 0xfb, 0x94, 0x00])), None);
    }
}
