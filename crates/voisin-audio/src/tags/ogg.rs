//! Pages of Ogg files that are not as they were written. Whoever writes tags into a file computes the checksum of every page
//! anew, and would make a damaged page look sound.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor as _;

use crate::source::read_up_to;

/// Bytes of a page before its table of segments.
const HEADER: usize = 27;
/// Where in a page its checksum lies.
const CHECKSUM: std::ops::Range<usize> = 22..26;

/// Where the first page begins whose checksum is not its own (bytes); `None` where all are sound, and in what is no Ogg
/// file. Pages are followed from the start of the file up to what is none.
pub(super) fn damaged_page(file: impl Read + Seek) -> io::Result<Option<u64>> {
    let mut file = BufReader::new(file);
    let mut at = file.seek(SeekFrom::Start(0))?;
    loop {
        let mut page = vec![0; HEADER];
        if read_up_to(&mut file, &mut page)? < HEADER || !page.starts_with(b"OggS") {
            return Ok(None);
        }
        let segments = usize::from(page[HEADER - 1]);
        let mut whole = read_more(&mut file, &mut page, segments)?;
        let body = page[HEADER..].iter().map(|&size| usize::from(size)).sum();
        whole &= read_more(&mut file, &mut page, body)?;
        let stated = page[CHECKSUM].to_vec();
        page[CHECKSUM].fill(0);
        let mut found = Crc32::new(0);
        found.process_buf_bytes(&page);
        if !whole || found.crc().to_le_bytes()[..] != stated[..] {
            return Ok(Some(at));
        }
        at += page.len() as u64;
    }
}

/// Appends so many bytes; tells whether all were there.
fn read_more(file: &mut impl Read, page: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
    Ok(file.take(wanted as u64).read_to_end(page)? == wanted)
}
