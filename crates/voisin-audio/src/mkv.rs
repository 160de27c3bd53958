//! The gapless facts of a Matroska or `WebM` file that Symphonia keeps to itself: `CodecDelay`, `DiscardPadding`.
//!
//! RFC 9559 for the elements.

use std::io::{self, Read, Seek, SeekFrom};

use super::source::read_up_to;

/// Nanoseconds to cut from one track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MkvGapless {
    /// From its start.
    pub codec_delay: u64,
    /// From its end.
    pub discard_padding: u64,
}

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const CODEC_DELAY: u32 = 0x56aa;
const CLUSTER: u32 = 0x1f43_b675;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

/// Elements looked at; a three-hour file has some thousand clusters.
const MAX_ELEMENTS: u32 = 100_000;

struct Element {
    id: u32,
    body: u64,
    end: u64,
}

struct Walker<'a, R> {
    reader: &'a mut R,
    budget: u32,
}

/// Reads what the file says about the track of this number; the default where it says nothing sensible.
pub(super) fn gapless(reader: &mut (impl Read + Seek), track: u64) -> MkvGapless {
    let mut found = MkvGapless::default();
    let mut walker = Walker {
        reader,
        budget: MAX_ELEMENTS,
    };
    // What was found before an unreadable element is still true.
    let _ = walker.file(track, &mut found);
    found
}

impl<R: Read + Seek> Walker<'_, R> {
    fn file(&mut self, track: u64, found: &mut MkvGapless) -> io::Result<()> {
        let end = self.reader.seek(SeekFrom::End(0))?;
        let mut last_cluster = None;
        self.children(0, end, &mut |walker, top| {
            if top.id != SEGMENT {
                return Ok(());
            }
            walker.children(top.body, top.end, &mut |walker, element| {
                match element.id {
                    TRACKS => walker.tracks(element, track, found)?,
                    CLUSTER => last_cluster = Some((element.body, element.end)),
                    _ => {}
                }
                Ok(())
            })
        })?;
        let Some((body, end)) = last_cluster else {
            return Ok(());
        };
        self.children(body, end, &mut |walker, group| {
            if group.id != BLOCK_GROUP {
                return Ok(());
            }
            let mut ours = false;
            let mut padding = 0;
            walker.children(group.body, group.end, &mut |walker, element| {
                match element.id {
                    BLOCK => {
                        ours = walker
                            .bytes(element, 8)?
                            .first()
                            .is_some_and(|&byte| u64::from(byte & 0x7f) == track);
                    }
                    DISCARD_PADDING => {
                        let bytes = walker.bytes(element, 8)?;
                        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
                        padding = if negative { 0 } else { number(&bytes) };
                    }
                    _ => {}
                }
                Ok(())
            })?;
            if ours {
                found.discard_padding = padding;
            }
            Ok(())
        })
    }

    fn tracks(&mut self, tracks: &Element, wanted: u64, found: &mut MkvGapless) -> io::Result<()> {
        self.children(tracks.body, tracks.end, &mut |walker, entry| {
            if entry.id != TRACK_ENTRY {
                return Ok(());
            }
            let mut track = 0;
            let mut delay = 0;
            walker.children(entry.body, entry.end, &mut |walker, element| {
                match element.id {
                    TRACK_NUMBER => track = number(&walker.bytes(element, 8)?),
                    CODEC_DELAY => delay = number(&walker.bytes(element, 8)?),
                    _ => {}
                }
                Ok(())
            })?;
            if track == wanted {
                found.codec_delay = delay;
            }
            Ok(())
        })
    }

    fn children(
        &mut self,
        start: u64,
        end: u64,
        visit: &mut dyn FnMut(&mut Self, &Element) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut position = start;
        while position < end && self.budget > 0 {
            self.budget -= 1;
            let Some(element) = self.element(position, end)? else {
                return Ok(());
            };
            visit(self, &element)?;
            position = element.end;
        }
        Ok(())
    }

    fn element(&mut self, position: u64, end: u64) -> io::Result<Option<Element>> {
        self.reader.seek(SeekFrom::Start(position))?;
        let mut head = [0; 12];
        let n = read_up_to(self.reader, &mut head)?;
        let id_width = head[0].leading_zeros() as usize + 1;
        if id_width > 4 || n <= id_width {
            return Ok(None);
        }
        let size_width = head[id_width].leading_zeros() as usize + 1;
        if size_width > 8 || n < id_width + size_width {
            return Ok(None);
        }
        let body = position + (id_width + size_width) as u64;
        let marker = 1u64 << (7 * size_width);
        let size = number(&head[id_width..id_width + size_width]) & (marker - 1);
        // All ones: not known, up to the end of the parent.
        let stop = if size == marker - 1 {
            end
        } else {
            body.saturating_add(size).min(end)
        };
        Ok((stop > position).then(|| Element {
            id: number(&head[..id_width]) as u32,
            body,
            end: stop,
        }))
    }

    /// The first bytes of an element's body.
    fn bytes(&mut self, element: &Element, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; at_most.min((element.end - element.body) as usize)];
        self.reader.seek(SeekFrom::Start(element.body))?;
        let n = read_up_to(self.reader, &mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
        [id, &[0x80 | body.len() as u8][..], body].concat()
    }

    fn file() -> Vec<u8> {
        let entry = |number, delay: &[u8]| {
            element(
                &[0xae],
                &[element(&[0xd7], &[number]), element(&[0x56, 0xaa], delay)].concat(),
            )
        };
        let tracks = element(
            &[0x16, 0x54, 0xae, 0x6b],
            &[entry(1, &[9]), entry(2, &[0x63, 0x2e, 0xa0])].concat(),
        );
        let group = |track: u8, padding: &[u8]| {
            element(
                &[0xa0],
                &[
                    element(&[0xa1], &[0x80 | track, 0, 0, 0]),
                    element(&[0x75, 0xa2], padding),
                ]
                .concat(),
            )
        };
        let first = element(&[0x1f, 0x43, 0xb6, 0x75], &group(2, &[7]));
        let last = element(
            &[0x1f, 0x43, 0xb6, 0x75],
            &[group(2, &[0x01, 0x00]), group(1, &[5])].concat(),
        );
        let header = element(&[0x1a, 0x45, 0xdf, 0xa3], &[]);
        [
            header,
            element(&[0x18, 0x53, 0x80, 0x67], &[tracks, first, last].concat()),
        ]
        .concat()
    }

    #[test]
    fn delay_and_padding_of_the_right_track_are_found() {
        assert_eq!(
            gapless(&mut Cursor::new(file()), 2),
            MkvGapless {
                codec_delay: 6_500_000,
                discard_padding: 256
            }
        );
        assert_eq!(
            gapless(&mut Cursor::new(file()), 1),
            MkvGapless {
                codec_delay: 9,
                discard_padding: 5
            }
        );
        assert_eq!(gapless(&mut Cursor::new(file()), 3), MkvGapless::default());
    }

    #[test]
    fn every_truncation_is_survived() {
        let file = file();
        for length in 0..file.len() {
            let _ = gapless(&mut Cursor::new(&file[..length]), 2);
        }
    }
}
