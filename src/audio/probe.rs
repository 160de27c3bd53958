//! A file's format and length, without decoding it.

use std::path::Path;

use symphonia::core::codecs::audio::well_known as codec;

use super::codecs::codec_name;
use super::demux::{Demuxer, NO_FRAMES};
use super::stream::Stream;
use super::{AudioError, AudioInfo, Timeline, cancelled_channels, opus};
use voisin_base::track::ContentId;

/// Bytes of packets that are hashed at a time: enough for BLAKE3 to process many blocks at once.
const DIGESTED: usize = 1 << 16;
/// Least share of the bytes of a raw MP3 or AAC stream in packets, as random bytes hold some by chance.
const LEAST_SHARE: f64 = 0.5;

/// Reads a file once, without decoding more than its beginning: its format, its length, and its content's
/// digest.
///
/// The content decides the format, never the name. Memory is bounded for any length of the file.
pub fn probe(path: &Path) -> Result<AudioInfo, AudioError> {
    let mut demuxer = Demuxer::open(path)?;
    // Of the decoder, not of the header.
    let actual = demuxer.actual();
    let codec = codec_name(demuxer.params().codec)
        .unwrap_or("unknown")
        .to_owned();
    let mut hasher = blake3::Hasher::new();
    // The same bytes are different audio with another codec or layout.
    hasher.update(format!("{codec}/{}/{};", actual.rate, actual.channels).as_bytes());
    let mut pending = Vec::new();
    while let Some(piece) = demuxer.next()? {
        pending.extend_from_slice(&piece.packet.data);
        if pending.len() >= DIGESTED {
            hasher.update(&pending);
            pending.clear();
        }
    }
    // The rest, shorter than `DIGESTED`.
    hasher.update(&pending);
    let totals = demuxer.totals();
    let container = demuxer.container();
    let share = totals.bytes as f64 / demuxer.bytes_in_source().max(1) as f64;
    // Streams without a magic number.
    if matches!(container, "mp3" | "aac") && share < LEAST_SHARE {
        let reason = format!(
            "{:.0} % of its bytes look like audio, expected {:.0} % at least",
            100.0 * share,
            100.0 * LEAST_SHARE
        );
        return Err(AudioError::not_audio(path, reason));
    }
    // Packets have no length: the track is decoded once to count frames.
    let (decoded, first) = if demuxer.countable() {
        (totals.frames, 0)
    } else {
        count_by_decoding(path)?
    };
    let (skip, n_frames) = audible(&demuxer, decoded, first);
    if n_frames == 0 {
        return Err(AudioError::not_audio(path, NO_FRAMES));
    }
    Ok(AudioInfo {
        content: ContentId(*hasher.finalize().as_bytes()),
        container: container.to_owned(),
        codec,
        sample_rate: actual.rate,
        channels: actual.channels,
        n_frames,
        packets: totals.packets,
        timeline: Timeline {
            skip,
            regular: totals.regular,
            left_alone: cancelled_channels::find(path, actual),
        },
    })
}

/// Frames of the whole track and of its first packet.
fn count_by_decoding(path: &Path) -> Result<(u64, u64), AudioError> {
    let mut stream = Stream::open(path, false, false)?;
    let mut first = None;
    while let Some(chunk) = stream.next(0)? {
        first.get_or_insert(chunk.samples.len() as u64);
    }
    Ok((stream.demuxer().totals().frames, first.unwrap_or(0)))
}

/// Frames before the audible part, and its length.
fn audible(demuxer: &Demuxer, decoded: u64, first: u64) -> (u64, u64) {
    let totals = demuxer.totals();
    // An encoder delay given as a negative first timestamp.
    let before_zero = demuxer.first_timestamp().saturating_neg().max(0) as u64;
    let (delay, padding, declared) = demuxer.declared();
    let all = |skip: u64| (skip, decoded.saturating_sub(skip));
    let pre_skip = || {
        let head = demuxer.params().extra_data.as_deref().unwrap_or_default();
        opus::OpusHead::parse(head).map_or(0, |head| u64::from(head.pre_skip))
    };
    match demuxer.container() {
        "mp3" => {
            let Some(delay) = delay.map(u64::from) else {
                return all(0);
            };
            let (skip, length) = all(delay);
            // A joined or cut file no longer has the length in its first header.
            let stated = declared
                .unwrap_or(0)
                .saturating_add(delay)
                .saturating_add(padding.unwrap_or(0).into());
            let last = totals.ticks.checked_div(totals.packets).unwrap_or(0);
            let is_whole = stated.abs_diff(decoded) <= 2 * last;
            let declared = declared.filter(|_| is_whole);
            (skip, length.min(declared.unwrap_or(length)))
        }
        "ogg" => {
            let skip = match demuxer.params().codec {
                codec::CODEC_ID_OPUS => pre_skip() + before_zero,
                // The reader may report the cut in either way.
                _ => before_zero.max(demuxer.trim_start()),
            };
            let (skip, length) = all(skip);
            (skip, length.saturating_sub(totals.trailing_trim))
        }
        "isomp4" => {
            // The table is exact to the frame; the last sample's duration is often shorter in it.
            let listed = demuxer.in_frames(totals.ticks);
            let end =
                Some(listed).filter(|listed| (0..4096).contains(&decoded.wrapping_sub(*listed)));
            let skip = pre_skip();
            (skip, end.unwrap_or(decoded).saturating_sub(skip))
        }
        "caf" => {
            let (skip, length) = all(delay.unwrap_or(0).into());
            let length = length.saturating_sub(padding.unwrap_or(0).into());
            let declared = declared.filter(|&frames| frames > 0);
            (skip, length.min(declared.unwrap_or(length)))
        }
        "mkv" => all(match demuxer.params().codec {
            codec::CODEC_ID_OPUS => pre_skip(),
            // The first block only fills the overlap.
            codec::CODEC_ID_VORBIS => first.max(demuxer.in_frames(before_zero)),
            _ => demuxer.in_frames(before_zero),
        }),
        _ => all(0),
    }
}
