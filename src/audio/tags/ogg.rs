//! Pages of Ogg files (RFC 3533): verifying them, and rewriting those of the comments.
//!
//! Writing tags computes new checksums of pages, which would hide damage, so pages are verified first.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor as _;

use super::comments;
use super::patch::{Splice, spliced};
use crate::bytes::{MAX_TAG_BYTES, little};

const HEADER: usize = 27;
/// Positions of flags and checksum in a page.
const FLAGS: usize = 5;
const CHECKSUM: std::ops::Range<usize> = 22..26;
/// The flag of a page that begins a stream.
const FIRST: u8 = 2;
/// Positions of the stream's serial number and the page's number in a page.
const SERIAL: std::ops::Range<usize> = 14..18;
const NUMBER: std::ops::Range<usize> = 18..22;
/// Flags of a page that continues a packet, and of one that ends a stream.
const CONTINUED: u8 = 1;
const LAST: u8 = 4;
/// Most segments of a page, and most bytes of each.
const SEGMENTS: usize = 255;
const SEGMENT: usize = 255;

struct OggPage {
    at: u64,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl OggPage {
    /// The next page of a file; `None` at its end or if no page follows.
    fn read(file: &mut impl Read, at: u64) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        if !read_more(file, &mut bytes, HEADER)? || !bytes.starts_with(b"OggS") {
            return Ok(None);
        }
        let segments = usize::from(bytes[HEADER - 1]);
        let mut is_whole = read_more(file, &mut bytes, segments)?;
        let body = bytes[HEADER..].iter().map(|&size| usize::from(size)).sum();
        is_whole &= read_more(file, &mut bytes, body)?;
        Ok(Some(Self {
            at,
            bytes,
            is_whole,
        }))
    }

    fn segments(&self) -> &[u8] {
        let end = HEADER + usize::from(self.bytes[HEADER - 1]);
        &self.bytes[HEADER..end.min(self.bytes.len())]
    }

    fn body(&self) -> &[u8] {
        &self.bytes[HEADER + self.segments().len()..]
    }
}

/// The checksum of a page, computed with zeros in its place (RFC 3533, section 6).
fn checksum(page: &[u8]) -> [u8; 4] {
    let mut found = Crc32::new(0);
    found.process_buf_bytes(&page[..CHECKSUM.start]);
    found.process_buf_bytes(&[0; 4]);
    found.process_buf_bytes(&page[CHECKSUM.end..]);
    found.crc().to_le_bytes()
}

/// Appends this many bytes; returns whether all could be read.
fn read_more(file: &mut impl Read, page: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
    Ok(file.take(wanted as u64).read_to_end(page)? == wanted)
}

/// The pages of a file up to anything else.
struct OggPages<R> {
    file: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> OggPages<R> {
    fn new(file: R, start: u64) -> io::Result<Self> {
        let mut file = BufReader::new(file);
        let at = file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, at })
    }

    fn read(&mut self) -> io::Result<Option<OggPage>> {
        let page = OggPage::read(&mut self.file, self.at)?;
        self.at += page.as_ref().map_or(0, |page| page.bytes.len() as u64);
        Ok(page)
    }
}

/// Position (bytes) of the first page with a wrong checksum; `None` if all are valid, from the start of the file up to
/// anything else.
fn damaged_page(file: impl Read + Seek) -> io::Result<Option<u64>> {
    let mut pages = OggPages::new(file, 0)?;
    while let Some(page) = pages.read()? {
        if !page.is_whole || checksum(&page.bytes) != page.bytes[CHECKSUM] {
            return Ok(Some(page.at));
        }
    }
    Ok(None)
}

/// The pages of a file that hold the packets before its sound.
struct OggHead {
    /// Without the first packet's: it names the codec and has its own pages.
    pages: Vec<OggPage>,
    /// The packets after the first, beginning with the comments.
    packets: Vec<Vec<u8>>,
}

/// The first bytes of the packet of comments, before the list.
pub(super) fn mark(opus: bool) -> &'static [u8] {
    if opus { b"OpusTags" } else { b"\x03vorbis" }
}

fn head(file: &mut File, opus: bool) -> Result<OggHead, String> {
    let text = |error: io::Error| error.to_string();
    let odd = |what: &str| format!("the packets at the start of its Ogg stream are odd: {what}");
    // The comments, and for Vorbis the setup packet, which may begin on their last page.
    let wanted = if opus { 1 } else { 2 };
    let mut pages = OggPages::new(&mut *file, 0).map_err(text)?;
    let first = pages
        .read()
        .map_err(text)?
        .ok_or_else(|| odd("there is no page"))?;
    let serial = first.bytes[SERIAL].to_vec();
    let mut head = OggHead {
        pages: Vec::new(),
        packets: Vec::new(),
    };
    let mut packet = Vec::new();
    let mut room = MAX_TAG_BYTES;
    while head.packets.len() < wanted {
        let page = pages
            .read()
            .map_err(text)?
            .ok_or_else(|| odd("they end too soon"))?;
        if page.bytes[SERIAL] != serial[..] {
            // A page of another stream stays; it may not lie between the rewritten pages.
            if head.pages.is_empty() {
                continue;
            }
            return Err(odd("pages of another stream lie between theirs"));
        }
        let is_continued = page.bytes[FLAGS] & CONTINUED != 0;
        // A page continues a packet if and only if the one before left it open.
        if page.bytes[FLAGS] & (FIRST | LAST) != 0 || is_continued == packet.is_empty() {
            return Err(odd("a packet ends within another"));
        }
        room = room
            .checked_sub(page.bytes.len())
            .ok_or_else(|| odd("they are too large"))?;
        let mut body = page.body();
        for &size in page.segments() {
            if head.packets.len() == wanted {
                // Both specifications let the sound begin on a page of its own.
                return Err(odd("the sound begins on a page of theirs"));
            }
            packet.extend_from_slice(
                body.split_off(..usize::from(size))
                    .ok_or_else(|| odd("a page is cut off"))?,
            );
            if usize::from(size) < SEGMENT {
                head.packets.push(std::mem::take(&mut packet));
            }
        }
        head.pages.push(page);
    }
    if !head.packets[0].starts_with(mark(opus)) {
        return Err(odd("the second holds no comments"));
    }
    Ok(head)
}

/// The packet of comments of a file's first audio stream, as far as it can be read, and whether that is Opus.
///
/// - `start`: position of the first page
pub(super) fn comments_packet(file: &mut File, start: u64) -> io::Result<(Vec<u8>, bool)> {
    const CODECS: [&[u8]; 3] = [b"OpusHead", b"\x01vorbis", b"\x7fFLAC"];
    let mut pages = OggPages::new(file, start)?;
    let mut serial = None;
    let mut is_opus = false;
    let mut packet = Vec::new();
    while let Some(page) = pages.read()? {
        if serial.is_none() && CODECS.iter().any(|mark| page.body().starts_with(mark)) {
            serial = Some(page.bytes[SERIAL].to_vec());
            is_opus = page.body().starts_with(CODECS[0]);
            continue;
        }
        if serial.as_deref() != Some(&page.bytes[SERIAL]) {
            continue;
        }
        let mut body = page.body();
        for &size in page.segments() {
            let size = usize::from(size);
            packet.extend(body.split_off(..size.min(body.len())).unwrap_or_default());
            // A segment that is not full ends the packet (RFC 3533, section 5).
            if size < SEGMENT || packet.len() > MAX_TAG_BYTES {
                return Ok((packet, is_opus));
            }
        }
    }
    Ok((packet, is_opus))
}

/// The splices that write the genres into a file's comments and keep everything else. Later pages are only
/// renumbered if the number of the comments' pages changes.
pub(super) fn edit(file: &mut File, genres: &[String], opus: bool) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    if let Some(at) = damaged_page(&mut *file).map_err(text)? {
        return Err(format!(
            "its Ogg page at byte {at} is damaged (its checksum differs) or cut off, and new tags would hide that: get a sound copy first"
        ));
    }
    let OggHead {
        pages: old,
        mut packets,
    } = head(file, opus)?;
    let prefix = mark(opus).len();
    let changes = comments::edit(&packets[0][prefix..], genres)?.into_iter();
    let changes = changes.map(|change| change.moved(prefix as u64)).collect();
    packets[0] = spliced(&packets[0], changes).map_err(text)?;
    let new = paged(&old[0], old.len(), &packets);
    let last = &old[old.len() - 1];
    let end = last.at + last.bytes.len() as u64;
    let start = old[0].at as usize;
    let mut splices = vec![Splice::new(start, end as usize - start, new.concat())];
    // With as many pages as before, those of the sound keep their numbers and stay unchanged.
    if new.len() != old.len() {
        // Numbers wrap, so fewer pages are a shift, too.
        let shift = (new.len() as u32).wrapping_sub(old.len() as u32);
        splices.extend(renumbered(file, end, &old[0].bytes[SERIAL], shift)?);
    }
    Ok(splices)
}

/// The splices that change the numbers of a stream's pages.
///
/// - `start`: position of the first of them
fn renumbered(
    file: &mut File,
    start: u64,
    serial: &[u8],
    shift: u32,
) -> Result<Vec<Splice>, String> {
    let text = |error: io::Error| error.to_string();
    let length = file.metadata().map_err(text)?.len();
    let mut pages = OggPages::new(&mut *file, start).map_err(text)?;
    let mut splices = Vec::new();
    let mut is_over = false;
    while let Some(mut page) = pages.read().map_err(text)? {
        // Another chained stream may have the same serial number by chance.
        is_over |= page.bytes[SERIAL] == *serial && page.bytes[FLAGS] & FIRST != 0;
        if page.bytes[SERIAL] != *serial || is_over {
            continue;
        }
        let number = little(&page.bytes[NUMBER]).wrapping_add(shift);
        page.bytes[NUMBER].copy_from_slice(&number.to_le_bytes());
        let put = [number.to_le_bytes(), checksum(&page.bytes)].concat();
        splices.push(Splice::new(page.at as usize + NUMBER.start, 8, put));
    }
    if pages.at != length {
        return Err(format!(
            "it holds what is no Ogg page at byte {}, and the pages behind that would keep their old numbers",
            pages.at
        ));
    }
    Ok(splices)
}

/// Splits packets into pages, as many as before if possible.
///
/// - `model`: the former first page
/// - `wanted`: number of pages
fn paged(model: &OggPage, wanted: usize, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    /// Granule position of a page on which no packet ends.
    const NO_TIME: [u8; 8] = [0xff; 8];
    let mut segments: Vec<u8> = Vec::new();
    for packet in packets {
        segments.resize(segments.len() + packet.len() / SEGMENT, SEGMENT as u8);
        // Even 0: only a segment that is not full ends a packet.
        segments.push((packet.len() % SEGMENT) as u8);
    }
    let body = packets.concat();
    let least = segments.len().div_ceil(SEGMENTS);
    // Each page needs at least one segment.
    let count = wanted.max(least).min(segments.len());
    let mut rest = &body[..];
    let mut left = &segments[..];
    let mut is_continued = false;
    let number = little(&model.bytes[NUMBER]);
    let mut pages = Vec::new();
    for i in 0..count {
        // As full as the remaining pages allow.
        let n = (left.len() - (count - 1 - i)).min(SEGMENTS);
        let (table, after) = left.split_at(n);
        left = after;
        let (content, after) = rest.split_at(table.iter().map(|&size| usize::from(size)).sum());
        rest = after;
        let mut page = model.bytes[..HEADER].to_vec();
        page[FLAGS] = if is_continued { CONTINUED } else { 0 };
        let is_ending = table.iter().any(|&size| usize::from(size) < SEGMENT);
        page[6..14].copy_from_slice(if is_ending { &[0; 8] } else { &NO_TIME });
        page[NUMBER].copy_from_slice(&number.wrapping_add(i as u32).to_le_bytes());
        page[HEADER - 1] = n as u8;
        page.extend(table);
        page.extend(content);
        let sum = checksum(&page);
        page[CHECKSUM].copy_from_slice(&sum);
        is_continued = usize::from(table[n - 1]) == SEGMENT;
        pages.push(page);
    }
    pages
}
