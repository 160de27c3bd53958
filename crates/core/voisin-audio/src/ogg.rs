//! Links of chained Ogg files (RFC 3533).

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor as _;

use super::fill::read_up_to;

/// Bytes of a page before its table of segments.
pub(super) const HEADER: usize = 27;
/// Positions of flags and checksum in a page.
pub(super) const FLAGS: usize = 5;
pub(super) const CHECKSUM: Range<usize> = 22..26;
/// The flag of a page that begins a stream.
pub(super) const FIRST: u8 = 2;
const CAPTURE: [u8; 4] = *b"OggS";
/// The range of all bytes of a file.
const WHOLE: Range<u64> = 0..u64::MAX;
/// Bytes read at a time: two of the longest pages, so that seeking back within one needs no read.
const BUFFER: usize = 1 << 17;

/// The state of the page at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageState {
    /// No page begins here, or the file ends.
    Nothing,
    /// A page that is truncated or has a wrong checksum.
    Damaged,
    Sound,
}

/// The bytes of each link of a chained file (RFC 3533, section 4); the whole file if there is one link, or it does not
/// begin with a page.
///
/// A link begins with the consecutive first pages of its streams. Damage between pages is skipped and belongs to the
/// link before.
pub(super) fn links(file: impl Read + Seek) -> io::Result<Vec<Range<u64>>> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut at = file.seek(SeekFrom::Start(0))?;
    let mut page = Vec::new();
    let mut starts = Vec::new();
    let mut after_first = false;
    loop {
        if read_page(&mut file, &mut page)? == PageState::Sound {
            let is_first = page[FLAGS] & FIRST != 0;
            if is_first && !after_first {
                starts.push(at);
            }
            after_first = is_first;
            at += page.len() as u64;
            continue;
        }
        // The file does not begin with a valid page: it is one link.
        if starts.is_empty() {
            return Ok(vec![WHOLE]);
        }
        after_first = false;
        // Continue at the second byte read: a page may begin within it.
        file.seek_relative(1 - page.len() as i64)?;
        let Some(passed) = next_capture(&mut file)? else {
            break;
        };
        at += 1 + passed;
    }
    // The last link includes everything after its pages.
    let ends = starts.iter().skip(1).copied().chain([WHOLE.end]);
    Ok(starts
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect())
}

/// Reads a page into `page`; if there is none, `page` has the bytes read.
pub(super) fn read_page(file: &mut impl Read, page: &mut Vec<u8>) -> io::Result<PageState> {
    page.resize(HEADER, 0);
    let read = read_up_to(file, page)?;
    page.truncate(read);
    if read < HEADER || !page.starts_with(&CAPTURE) {
        return Ok(PageState::Nothing);
    }
    let segments = usize::from(page[HEADER - 1]);
    let mut whole = read_more(file, page, segments)?;
    let body = page[HEADER..].iter().map(|&size| usize::from(size)).sum();
    whole &= read_more(file, page, body)?;
    let is_sound = whole && checksum(page)[..] == page[CHECKSUM];
    Ok(if is_sound {
        PageState::Sound
    } else {
        PageState::Damaged
    })
}

/// The checksum of a page, computed with zeros in its place (RFC 3533, section 6).
pub(super) fn checksum(page: &[u8]) -> [u8; 4] {
    let mut found = Crc32::new(0);
    found.process_buf_bytes(&page[..CHECKSUM.start]);
    found.process_buf_bytes(&[0; 4]);
    found.process_buf_bytes(&page[CHECKSUM.end..]);
    found.crc().to_le_bytes()
}

/// Seeks behind the header pages of a link, whose granule position is 0: tags are in them.
pub(super) fn skip_headers(file: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut page = Vec::new();
    let mut at = file.seek(SeekFrom::Start(0))?;
    while read_page(file, &mut page)? == PageState::Sound && page[FLAGS + 1..][..8] == [0; 8] {
        at += page.len() as u64;
    }
    file.seek(SeekFrom::Start(at))?;
    Ok(())
}

/// Appends this many bytes; returns whether all could be read.
pub(super) fn read_more(
    file: &mut impl Read,
    page: &mut Vec<u8>,
    wanted: usize,
) -> io::Result<bool> {
    Ok(file.take(wanted as u64).read_to_end(page)? == wanted)
}

/// Whether a file's first streams include video but no audio.
pub(super) fn is_video_alone(mut file: impl Read) -> io::Result<bool> {
    let mut page = Vec::new();
    let mut has_video = false;
    while read_page(&mut file, &mut page)? == PageState::Sound && page[FLAGS] & FIRST != 0 {
        let packet = &page[HEADER + usize::from(page[HEADER - 1])..];
        // Theora, VP8 and Dirac; a skeleton describes the other streams.
        let is_video = [&b"\x80theora"[..], b"OVP80", b"BBCD\0"]
            .iter()
            .any(|magic| packet.starts_with(magic));
        if !is_video && !packet.starts_with(b"fishead\0") {
            return Ok(false);
        }
        has_video |= is_video;
    }
    Ok(has_video)
}

/// Seeks to the next bytes that may begin a page; returns how many were skipped.
fn next_capture<R: Read + Seek>(file: &mut BufReader<R>) -> io::Result<Option<u64>> {
    let mut last = 0_u32;
    let mut passed = 0;
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // `last` is kept from buffer to buffer, since the mark may span two.
        let ends = bytes.iter().position(|&byte| {
            last = last << 8 | u32::from(byte);
            last.to_be_bytes() == CAPTURE
        });
        let read = ends.map_or(bytes.len(), |at| at + 1);
        file.consume(read);
        passed += read as u64;
        if ends.is_some() {
            let length = CAPTURE.len() as i64;
            file.seek_relative(-length)?;
            return Ok(Some(passed - length as u64));
        }
    }
}
