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
    let is_general = match &error {
        AudioError::NotAudio { .. }
        | AudioError::NoFrames { .. }
        | AudioError::MostlyDamaged { .. } => true,
        // A codec without a name.
        AudioError::UnsupportedCodec { codec, .. } => codec.starts_with("core"),
        _ => false,
    };
    if !is_general {
        return error;
    }
    let file = MediaBytes::open(path).ok();
    match file.and_then(|mut file| reason(&mut file).ok().flatten()) {
        Some(reason) => AudioError::NotAudio {
            path: path.to_owned(),
            reason,
        },
        None => error,
    }
}

fn reason(file: &mut MediaBytes) -> io::Result<Option<String>> {
    let mut bytes = vec![0; EXAMINED];
    file.seek(SeekFrom::Start(0))?;
    let n = read_up_to(file, &mut bytes)?;
    bytes.truncate(n);
    file.seek(SeekFrom::Start(0))?;
    if bytes.starts_with(b"OggS") {
        let reason = || "it holds video and no audio".to_owned();
        return Ok(ogg::is_video_alone(file)?.then(reason));
    }
    if bytes.get(4..8).is_some_and(|kind| kind == b"ftyp") {
        return of_movie(file);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12).is_some_and(|form| form == b"WAVE") {
        return Ok(wave_codec(&bytes).map(|codec| undecoded(&codec)));
    }
    Ok(mpeg::undecodable(&bytes).map(str::to_owned))
}

fn undecoded(codec: &str) -> String {
    format!(
        "it holds {codec}, which is not decoded: convert a copy to FLAC, for example with \"ffmpeg -i FILE FILE.flac\""
    )
}

/// The codec of a WAV file by the number in its format chunk; `None` for those that are decoded, and without the chunk.
fn wave_codec(bytes: &[u8]) -> Option<String> {
    let mut at = 12;
    loop {
        let head = bytes.get(at..at + 10)?;
        let number = u16::from_le_bytes([head[8], head[9]]);
        if head.starts_with(b"fmt ") {
            return Some(match number {
                1..=3 | 6 | 7 | 0x11 | 0xfffe => return None,
                0x31 => "GSM".to_owned(),
                0x50 => "MP2 in a WAV file".to_owned(),
                0x55 => "MP3 in a WAV file".to_owned(),
                0xff | 0x1600 | 0x1610 | 0x706d => "AAC in a WAV file".to_owned(),
                0x160..=0x163 => "WMA in a WAV file".to_owned(),
                0x2000 => "AC-3 in a WAV file".to_owned(),
                0x2001 => "DTS in a WAV file".to_owned(),
                other => format!("WAV of format {other:#06x}"),
            });
        }
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        at += 8 + size + size % 2;
    }
}

/// A reason by the sample entries of an MP4 file: those of the standard (ISO/IEC 14496-12, 8.12), Apple and Audible for
/// encrypted audio, and those of codecs that are not decoded.
fn of_movie(file: &mut MediaBytes) -> io::Result<Option<String>> {
    const PROTECTED: [&[u8]; 3] = [b"enca", b"drms", b"aavd"];
    const UNDECODED: [(&[u8], &str); 6] = [
        (b"ulaw", "µ-law audio in a movie"),
        (b"alaw", "A-law audio in a movie"),
        (b"ima4", "ADPCM in a movie"),
        (b"ms\0\x02", "ADPCM in a movie"),
        (b"ms\0\x11", "ADPCM in a movie"),
        (b"samr", "AMR"),
    ];
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
            let tables = index.windows(20).filter(|table| table.starts_with(b"stsd"));
            let entries: Vec<&[u8]> = tables.map(|table| &table[16..]).collect();
            if entries.iter().any(|entry| PROTECTED.contains(entry)) {
                let reason = "expected open music, found music with copy protection, which no decoder here opens: get it without protection from the shop that sold it";
                return Ok(Some(reason.to_owned()));
            }
            let mut codecs = UNDECODED.iter();
            let codec = codecs.find(|(entry, _)| entries.contains(entry));
            return Ok(codec.map(|(_, codec)| undecoded(codec)));
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
    Ok(None)
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
    fn codecs_that_are_not_decoded_are_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let read = |name: &str| std::fs::read(root.join("tests/data/audio").join(name)).unwrap();
        let mut movie = read("aac.m4a");
        let place = |name: &[u8]| movie.windows(4).position(|bytes| bytes == name).unwrap();
        let table = place(b"stsd");
        let config = place(b"esds");
        movie[config..config + 4].fill(b'z');
        for (entry, name) in [(b"ulaw", "µ-law"), (b"samr", "AMR")] {
            movie[table + 16..table + 20].copy_from_slice(entry);
            let message = refused(&movie);
            assert!(message.contains(name), "{message}");
        }
        let mut wave = read("s16.wav");
        let format = wave.windows(4).position(|name| name == b"fmt ").unwrap();
        for (number, name) in [(0x55, "MP3 in a WAV"), (0x45, "WAV of format 0x0045")] {
            wave[format + 8] = number;
            let message = refused(&wave);
            assert!(message.contains(name), "{message}");
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
