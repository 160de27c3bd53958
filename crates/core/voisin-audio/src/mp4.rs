//! Gapless data of an MP4 file that Symphonia ignores: edit lists and `iTunSMPB`.
//!
//! ISO/IEC 14496-12 for the boxes; Apple's "Audio priming" note for `iTunSMPB`.

use std::io::{self, Read, Seek, SeekFrom};

/// The audible part of one track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mp4Gapless {
    /// Units of the track's own time scale before the audible part.
    pub skip: u64,
    /// Audible units of the track's time scale, if the file has them.
    pub length: Option<u64>,
    /// Precision of `length`: one tick of its clock, in units of the track's time scale.
    pub tick: u64,
}

#[derive(Debug, Default)]
struct BoxFacts {
    movie_scale: u64,
    tracks: Vec<TrackBoxes>,
    smpb: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
struct TrackBoxes {
    id: u32,
    scale: u64,
    edits: Vec<(u64, i64)>,
}

/// Boxes deeper or more numerous than this are not followed.
const MAX_DEPTH: usize = 8;
const MAX_BOXES: usize = 4096;

/// Reads the edit list of track `id`, or the file's `iTunSMPB` if there is no useful edit list.
///
/// Returns the default (nothing cut) if they are missing or invalid.
pub(super) fn gapless(file: &mut (impl Read + Seek), id: u32) -> Mp4Gapless {
    let mut found = BoxFacts::default();
    let mut budget = MAX_BOXES;
    let Ok(end) = file.seek(SeekFrom::End(0)) else {
        return Mp4Gapless::default();
    };
    // An unreadable box ends the walk; values found before it are still valid.
    let _ = walk(file, 0, end, 0, &mut budget, &mut found);

    let track = found.tracks.iter().find(|track| track.id == id);
    if let Some(track) = track {
        // Leading empty edits (media time -1) shift a track against others; alone they mean nothing here.
        let edits: Vec<_> = track.edits.iter().filter(|&&(_, time)| time >= 0).collect();
        // An edit from 0 on cuts nothing at the start, for which `iTunSMPB` may have a delay.
        if let [&(duration, time)] = edits[..]
            && (time > 0 || found.smpb.is_none())
            && track.scale > 0
        {
            let movie_scale = found.movie_scale.max(1);
            let length = u128::from(duration) * u128::from(track.scale) / u128::from(movie_scale);
            let tick = track.scale.div_ceil(movie_scale);
            let length = (duration > 0).then_some(length as u64);
            return Mp4Gapless {
                skip: time as u64,
                length,
                tick,
            };
        }
    }
    match found.smpb {
        Some((skip, length)) => Mp4Gapless {
            skip,
            length: (length > 0).then_some(length),
            tick: 0,
        },
        None => Mp4Gapless::default(),
    }
}

fn walk(
    file: &mut (impl Read + Seek),
    start: u64,
    end: u64,
    depth: usize,
    budget: &mut usize,
    found: &mut BoxFacts,
) -> io::Result<()> {
    let mut position = start;
    while position + 8 <= end && *budget > 0 {
        *budget -= 1;
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let mut size = u64::from(u32::from_be_bytes([
            header[0], header[1], header[2], header[3],
        ]));
        let kind = [header[4], header[5], header[6], header[7]];
        let mut body = position + 8;
        // 1: the size has 64 bits and follows the kind. 0: the box goes on to the end.
        if size == 1 {
            let mut long = [0; 8];
            file.read_exact(&mut long)?;
            size = u64::from_be_bytes(long);
            body += 8;
        } else if size == 0 {
            size = end - position;
        }
        // A box shorter than its own header would never be passed; one that exceeds its parent is
        // damage, unless both were truncated.
        let may_be_cut = matches!(&kind, b"udta" | b"meta" | b"ilst");
        let Some(next) = position
            .checked_add(size)
            .map(|next| if may_be_cut { next.min(end) } else { next })
            .filter(|&next| next >= body && next <= end)
        else {
            return Ok(());
        };
        match &kind {
            b"trak" if depth < MAX_DEPTH => {
                found.tracks.push(TrackBoxes::default());
                walk(file, body, next, depth + 1, budget, found)?;
            }
            b"moov" | b"mdia" | b"edts" | b"udta" | b"ilst" if depth < MAX_DEPTH => {
                walk(file, body, next, depth + 1, budget, found)?;
            }
            // A version and flags come before the boxes within.
            b"meta" if depth < MAX_DEPTH => walk(file, body + 4, next, depth + 1, budget, found)?,
            b"mvhd" | b"mdhd" | b"tkhd" | b"elst" | b"----" => {
                // The largest of these is a freeform tag; an edit list of music has one or two entries.
                let mut bytes = vec![0; (next - body).min(64 * 1024) as usize];
                file.read_exact(&mut bytes)?;
                take(kind, &bytes, found);
            }
            _ => {}
        }
        position = next;
    }
    Ok(())
}

fn take(kind: [u8; 4], bytes: &[u8], found: &mut BoxFacts) {
    let version = bytes.first().copied().unwrap_or(0);
    match &kind {
        // Here and below: version 1 has times of 64 bits before the field.
        b"mvhd" => {
            found.movie_scale = be(bytes, if version == 1 { 20 } else { 12 }, 4).unwrap_or(0);
        }
        b"mdhd" => {
            if let Some(track) = found.tracks.last_mut() {
                track.scale = be(bytes, if version == 1 { 20 } else { 12 }, 4).unwrap_or(0);
            }
        }
        b"tkhd" => {
            if let Some(track) = found.tracks.last_mut() {
                track.id = be(bytes, if version == 1 { 20 } else { 12 }, 4).unwrap_or(0) as u32;
            }
        }
        b"elst" => {
            let Some(track) = found.tracks.last_mut() else {
                return;
            };
            let (wide, size) = if version == 1 { (8, 20) } else { (4, 12) };
            // More entries than music has; the loop ends with the bytes in any case.
            let count = be(bytes, 4, 4).unwrap_or(0).min(1024) as usize;
            for entry in bytes
                .get(8..)
                .unwrap_or_default()
                .chunks_exact(size)
                .take(count)
            {
                let (Some(duration), Some(time)) = (be(entry, 0, wide), be(entry, wide, wide))
                else {
                    return;
                };
                let time = if wide == 4 {
                    i64::from(time as u32 as i32)
                } else {
                    time as i64
                };
                track.edits.push((duration, time));
            }
        }
        b"----" => {
            let name = b"iTunSMPB";
            if bytes.windows(name.len()).any(|window| window == name)
                && let Some(at) = bytes.windows(4).position(|window| window == b"data")
            {
                // Four bytes of type, four of locale, then the text.
                let text = String::from_utf8_lossy(bytes.get(at + 12..).unwrap_or_default());
                found.smpb = parse_smpb(&text);
            }
        }
        _ => {}
    }
}

/// ` 00000000 00000840 000001CA 00000000003F31F6 …`: zero, delay, padding, length, in hexadecimal.
fn parse_smpb(text: &str) -> Option<(u64, u64)> {
    let mut fields = text
        .split_whitespace()
        .map(|field| u64::from_str_radix(field, 16));
    let delay = fields.nth(1)?.ok()?;
    let length = fields.nth(1)?.ok()?;
    // Delays beyond a second are not priming.
    (delay < 1 << 16).then_some((delay, length))
}

fn be(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at + width)?;
    Some(
        field
            .iter()
            .fold(0, |value, &byte| value << 8 | u64::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
        bytes.extend_from_slice(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    fn movie(edit: Option<(u32, i32)>, smpb: Option<&str>) -> Vec<u8> {
        let mut mvhd = vec![0; 100];
        mvhd[12..16].copy_from_slice(&1000u32.to_be_bytes());
        let mut tkhd = vec![0; 84];
        tkhd[12..16].copy_from_slice(&7u32.to_be_bytes());
        let mut mdhd = vec![0; 24];
        mdhd[12..16].copy_from_slice(&44_100u32.to_be_bytes());
        let mut trak = boxed(b"tkhd", &tkhd);
        if let Some((duration, time)) = edit {
            let mut elst = vec![0, 0, 0, 0, 0, 0, 0, 1];
            elst.extend_from_slice(&duration.to_be_bytes());
            elst.extend_from_slice(&time.to_be_bytes());
            elst.extend_from_slice(&[0, 1, 0, 0]);
            trak.extend(boxed(b"edts", &boxed(b"elst", &elst)));
        }
        trak.extend(boxed(b"mdia", &boxed(b"mdhd", &mdhd)));
        let mut moov = boxed(b"mvhd", &mvhd);
        moov.extend(boxed(b"trak", &trak));
        if let Some(text) = smpb {
            let mut free = boxed(b"mean", b"\0\0\0\0com.apple.iTunes");
            free.extend(boxed(b"name", b"\0\0\0\0iTunSMPB"));
            free.extend(boxed(
                b"data",
                &[&[0, 0, 0, 1, 0, 0, 0, 0], text.as_bytes()].concat(),
            ));
            let mut meta = vec![0; 4];
            meta.extend(boxed(b"ilst", &boxed(b"----", &free)));
            moov.extend(boxed(b"udta", &boxed(b"meta", &meta)));
        }
        let mut file = boxed(b"ftyp", b"M4A \0\0\0\0");
        file.extend(boxed(b"moov", &moov));
        file
    }

    #[test]
    fn an_edit_list_gives_the_priming_and_a_rounded_length() {
        let file = movie(Some((2_000, 1024)), None);
        let gapless = gapless(&mut Cursor::new(file), 7);
        assert_eq!(
            gapless,
            Mp4Gapless {
                skip: 1024,
                length: Some(88_200),
                tick: 45
            }
        );
    }

    #[test]
    fn itunsmpb_counts_where_there_is_no_edit_list() {
        let text = " 00000000 00000840 000001CA 00000000003F31F6 00000000";
        let file = movie(None, Some(text));
        let gapless = gapless(&mut Cursor::new(file), 7);
        assert_eq!(
            gapless,
            Mp4Gapless {
                skip: 0x840,
                length: Some(0x003F_31F6),
                tick: 0
            }
        );
    }

    #[test]
    fn an_edit_list_without_priming_yields_to_itunsmpb() {
        let text = " 00000000 00000840 000001CA 0000000000001000";
        let file = movie(Some((2_000, 0)), Some(text));
        assert_eq!(gapless(&mut Cursor::new(file), 7).skip, 0x840);
    }

    #[test]
    fn itunsmpb_counts_in_lists_that_are_cut_off() {
        let text = " 00000000 00000840 000001CA 0000000000001000";
        let mut file = movie(None, Some(text));
        for kind in [b"udta", b"meta", b"ilst"] {
            let at = file.windows(4).position(|bytes| bytes == kind).unwrap();
            // 64 KiB more than there are.
            file[at - 3] = 1;
        }
        assert_eq!(gapless(&mut Cursor::new(file), 7).skip, 0x840);
    }

    #[test]
    fn another_tracks_edit_list_does_not_count() {
        assert_eq!(
            gapless(&mut Cursor::new(movie(Some((2_000, 1024)), None)), 8),
            Mp4Gapless::default()
        );
    }

    #[test]
    fn every_truncation_is_survived() {
        let file = movie(Some((2_000, 1024)), Some(" 0 840 1CA 1000"));
        for length in 0..file.len() {
            let _ = gapless(&mut Cursor::new(&file[..length]), 7);
        }
    }
}
