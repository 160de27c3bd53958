//! Pages of Ogg files (RFC 3533).

use std::io::{self, Read};
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

/// The state of the page at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageState {
    /// No page begins here, or the file ends.
    Nothing,
    /// A page that is truncated or has a wrong checksum.
    Damaged,
    Sound,
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

/// Appends this many bytes; returns whether all could be read.
pub(super) fn read_more(
    file: &mut impl Read,
    page: &mut Vec<u8>,
    wanted: usize,
) -> io::Result<bool> {
    Ok(file.take(wanted as u64).read_to_end(page)? == wanted)
}
