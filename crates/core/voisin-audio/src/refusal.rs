//! Finds why a file is refused, if its format's reader only failed.
//!
//! For: reasons found in the first bytes. Not for: formats without a reader, which never reach one (`source`).

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::fill::{big, read_up_to};
use super::source::MediaBytes;
use super::{AudioError, mpeg, ogg};

/// Bytes of a raw stream that are examined: three free-format frames, of at most 2304 bytes each.
const EXAMINED: usize = 1 << 13;
/// Most boxes that are skipped before an MP4's index, and bytes of the index that are examined.
const MOST_BOXES: usize = 1 << 12;
const MOST_INDEX: u64 = 1 << 24;

/// The error with a more exact reason, if there is one.
pub(super) fn explain(path: &Path, error: AudioError) -> AudioError {
    if !matches!(
        error,
        AudioError::NotAudio { .. }
            | AudioError::NoFrames { .. }
            | AudioError::MostlyDamaged { .. }
    ) {
        return error;
    }
    let file = MediaBytes::open(path).ok();
    match file.and_then(|mut file| reason(&mut file).ok().flatten()) {
        Some(reason) => AudioError::NotAudio {
            path: path.to_owned(),
            reason: reason.to_owned(),
        },
        None => error,
    }
}

fn reason(file: &mut MediaBytes) -> io::Result<Option<&'static str>> {
    let mut bytes = vec![0; EXAMINED];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut bytes)?;
    bytes.truncate(n);
    file.seek(SeekFrom::Start(0))?;
    if bytes.starts_with(b"OggS") {
        let reason = "it holds video and no audio";
        return Ok(ogg::is_video_alone(file)?.then_some(reason));
    }
    if bytes.get(4..8).is_some_and(|kind| kind == b"ftyp") {
        let reason = "expected open music, found music with copy protection, which no decoder here opens: get it without protection from the shop that sold it";
        return Ok(is_protected(file)?.then_some(reason));
    }
    Ok(mpeg::undecodable(&bytes))
}

/// Whether a sample entry of an MP4 file is encrypted: by the standard (ISO/IEC 14496-12, 8.12), by Apple or by Audible.
fn is_protected(file: &mut MediaBytes) -> io::Result<bool> {
    const ENTRIES: [&[u8]; 3] = [b"enca", b"drms", b"aavd"];
    let mut at = 0_u64;
    for _ in 0..MOST_BOXES {
        let mut head = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        if read_up_to(file, &mut head)? < head.len() {
            break;
        }
        if &head[4..8] == b"moov" {
            let mut index = Vec::new();
            file.by_ref().take(MOST_INDEX).read_to_end(&mut index)?;
            // Version, number of entries and the first one's size lie between the name of the table and that of its entry.
            return Ok(index
                .windows(20)
                .any(|table| table.starts_with(b"stsd") && ENTRIES.contains(&&table[16..])));
        }
        // 1: the size has 64 bits and follows the kind. 0: the box extends to the end, and none follows.
        let size = match big(&head[..4]) {
            1 => big(&head[8..]),
            size => size,
        };
        let Some(next) = at.checked_add(size).filter(|&next| next >= at + 8) else {
            break;
        };
        at = next;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message for a file of these bytes.
    fn refused(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, bytes).unwrap();
        crate::probe(&path).unwrap_err().to_string()
    }

    #[test]
    fn music_with_copy_protection_is_named_so() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let mut bytes = std::fs::read(root.join("tests/data/audio/aac.m4a")).unwrap();
        let table = bytes.windows(4).position(|name| name == b"stsd").unwrap();
        for (entry, is_named) in [(b"drms", true), (b"enca", true), (b"zzzz", false)] {
            bytes[table + 16..table + 20].copy_from_slice(entry);
            let message = refused(&bytes);
            assert_eq!(message.contains("copy protection"), is_named, "{message}");
        }
    }

    #[test]
    fn video_without_audio_is_named_so() {
        let page = |packet: &[u8]| {
            let size = packet.len() as u8;
            let mut page = [b"OggS\0\x02", &[0; 20][..], &[1, size], packet].concat();
            let checksum = ogg::checksum(&page);
            page[ogg::CHECKSUM].copy_from_slice(&checksum);
            page
        };
        let video = page(b"\x80theora\x03\x02\x01");
        let message = refused(&video);
        assert!(message.contains("video and no audio"), "{message}");
        // An audio stream with a truncated header.
        let both = [video, page(b"\x01vorbis")].concat();
        let message = refused(&both);
        assert!(!message.contains("video and"), "{message}");
    }

    #[test]
    fn frames_of_free_format_are_named_so() {
        let mut frame = [0; 417];
        frame[..3].copy_from_slice(&[0xff, 0xfb, 0x00]);
        let message = refused(&frame.repeat(40));
        assert!(message.contains("free format"), "{message}");
        let message = refused(&[0; 9_000]);
        assert!(!message.contains("free format"), "{message}");
    }
}
