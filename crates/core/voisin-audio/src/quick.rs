//! A content id from a file's ends and samples of the middle, for disks that are slower than the network.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use super::codecs::codec_name;
use super::demux::Demuxer;
use super::fill::{big, read_up_to};
use super::source::MediaBytes;
use super::{AudioError, AudioInfo, Timeline, cancelled_channels};
use voisin_base::track::ContentId;

/// Bytes read at each end.
const END: u64 = 64 * 1024;
/// Stretches read between the ends, evenly spread, and the bytes of each.
const SAMPLES: u64 = 16;
const SAMPLE: u64 = 16 * 1024;

/// As the full probe, but with a content id of samples. Formats with a length in the header that the end of the file
/// confirms are not read as a whole; the others are, to find their length.
pub(super) fn probe(path: &Path) -> Result<AudioInfo, AudioError> {
    let mut info = match by_header(path)? {
        Some(info) => info,
        None => super::probe::probe(path)?,
    };
    info.content = content(path, &info)?;
    Ok(info)
}

/// All but the content id, if header and last packet agree in the length.
fn by_header(path: &Path) -> Result<Option<AudioInfo>, AudioError> {
    let mut demuxer = Demuxer::open(path)?;
    let actual = demuxer.actual();
    let container = demuxer.container();
    // Only these have a length in the header and seek exactly to the last frame.
    if !matches!(container, "flac" | "wave") || !demuxer.countable() {
        return Ok(None);
    }
    let (_, _, Some(n_frames)) = demuxer.declared() else {
        return Ok(None);
    };
    let Some(first) = demuxer.next()? else {
        return Ok(None);
    };
    let Some(per_packet) = first.frames.filter(|&frames| frames > 0 && n_frames > 0) else {
        return Ok(None);
    };
    // Headers with a wrong length and streams with gaps need the full probe.
    if n_frames > per_packet {
        if demuxer.seek(n_frames - 1).is_err() {
            return Ok(None);
        }
        let Some(last) = demuxer.next()? else {
            return Ok(None);
        };
        let ends = last.start.checked_add(last.frames.unwrap_or(0));
        if last.hole > 0 || ends != Some(n_frames) || demuxer.next()?.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(AudioInfo {
        content: ContentId([0; 32]),
        container: container.to_owned(),
        codec: codec_name(demuxer.codec()).unwrap_or("unknown").to_owned(),
        sample_rate: actual.rate,
        channels: actual.channels,
        n_frames,
        packets: n_frames.div_ceil(per_packet),
        timeline: Timeline {
            skip: 0,
            regular: true,
            left_out: cancelled_channels::find(path, actual),
        },
    }))
}

/// BLAKE3 of the format, the number of bytes and samples of them. Tags before and after the audio are left out in MP3,
/// AAC, FLAC and WAV files.
fn content(path: &Path, info: &AudioInfo) -> Result<ContentId, AudioError> {
    let failed = |error| AudioError::from_io(path, error);
    let mut source = MediaBytes::open(path)?;
    let begin = audio_begins(&mut source, &info.container).map_err(failed)?;
    let length = source.len().saturating_sub(begin);
    let mut hasher = blake3::Hasher::new();
    hasher.update(
        format!(
            "quick/{}/{}/{}/{length};",
            info.codec, info.sample_rate, info.channels
        )
        .as_bytes(),
    );
    // Large enough for all pieces: an end is longer than a sample.
    let mut bytes = vec![0; END as usize];
    let mut take = |from: u64, n: u64| -> std::io::Result<()> {
        source.seek(SeekFrom::Start(begin + from))?;
        let read = read_up_to(&mut source, &mut bytes[..n as usize])?;
        hasher.update(&bytes[..read]);
        Ok(())
    };
    let between = length.saturating_sub(2 * END);
    // The samples would cover the whole middle, so all of it is read.
    if between <= SAMPLES * SAMPLE {
        for from in (0..length).step_by(END as usize) {
            take(from, END.min(length - from)).map_err(failed)?;
        }
    } else {
        take(0, END).map_err(failed)?;
        for i in 0..SAMPLES {
            take(END + i * (between - SAMPLE) / (SAMPLES - 1), SAMPLE).map_err(failed)?;
        }
        take(length - END, END).map_err(failed)?;
    }
    Ok(ContentId(*hasher.finalize().as_bytes()))
}

/// Where the audio begins after a FLAC file's metadata or a WAV file's other chunks.
fn audio_begins(source: &mut MediaBytes, container: &str) -> std::io::Result<u64> {
    // A real file has a handful of these; the bound is for hostile ones.
    const MOST: usize = 1024;
    let mut at = match container {
        "flac" => 4,
        "wave" => 12,
        _ => return Ok(0),
    };
    for _ in 0..MOST {
        let mut head = [0; 8];
        source.seek(SeekFrom::Start(at))?;
        if read_up_to(source, &mut head)? < 8 {
            return Ok(0);
        }
        if container == "flac" {
            at += 4 + big(&head[1..4]);
            // The last block of metadata.
            if head[0] & 0x80 != 0 {
                return Ok(at.min(source.len()));
            }
        } else {
            let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
            if &head[..4] == b"data" {
                return Ok(at + 8);
            }
            at += 8 + size + (size & 1);
        }
    }
    Ok(0)
}
