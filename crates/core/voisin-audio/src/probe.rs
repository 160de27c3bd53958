//! A file's format and length, without decoding it.

use std::path::Path;

use symphonia::core::codecs::audio::well_known as codec;

use super::codecs::codec_name;
use super::demux::Demuxer;
use super::source::MediaBytes;
use super::stream::Stream;
use super::{AudioError, AudioInfo, Timeline, cancelled_channels, mkv, mp4, opus};
use voisin_base::track::ContentId;

/// Bytes of packets that are hashed at a time: enough for BLAKE3 to process many blocks at once.
const DIGESTED: usize = 1 << 16;
/// Least share of the bytes of a raw MP3 or AAC stream in packets, as random bytes hold some by chance.
pub(super) const LEAST_SHARE: f64 = 0.5;

/// Whether a format is a raw stream of packets without a magic number.
pub(super) fn is_raw(container: &str) -> bool {
    matches!(container, "mp3" | "aac")
}

pub(super) fn probe(path: &Path) -> Result<AudioInfo, AudioError> {
    let mut demuxer = Demuxer::open(path)?;
    // Of the decoder, not of the header.
    let actual = demuxer.actual();
    let codec = codec_name(demuxer.codec()).unwrap_or("unknown").to_owned();
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
    if let Some(others) = demuxer.other_tracks() {
        hasher.update(others.as_bytes());
    }
    let totals = demuxer.totals();
    let container = demuxer.container();
    let share = totals.bytes as f64 / demuxer.bytes_in_source().max(1) as f64;
    if is_raw(container) && share < LEAST_SHARE {
        let reason = format!(
            "{:.0} % of its bytes look like audio, expected {:.0} % at least",
            100.0 * share,
            100.0 * LEAST_SHARE
        );
        return Err(AudioError::NotAudio {
            path: path.to_owned(),
            reason,
        });
    }
    // Packets have no length: the track is decoded once to count frames.
    let (decoded, first) = if demuxer.countable() {
        (totals.frames, 0)
    } else {
        count_by_decoding(path)?
    };
    let (skip, n_frames) = audible(path, &demuxer, decoded, first)?;
    if n_frames == 0 {
        return Err(AudioError::NoFrames {
            path: path.to_owned(),
        });
    }
    let container = if container == "matroska" {
        "mkv"
    } else {
        container
    };
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
            left_out: cancelled_channels::find(path, actual),
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
fn audible(
    path: &Path,
    demuxer: &Demuxer,
    decoded: u64,
    first: u64,
) -> Result<(u64, u64), AudioError> {
    let totals = demuxer.totals();
    // An encoder delay given as a negative first timestamp.
    let before_zero = demuxer.first_timestamp().saturating_neg().max(0) as u64;
    let (delay, padding, declared) = demuxer.declared();
    let all = |skip: u64| (skip, decoded.saturating_sub(skip));
    let opus_head =
        || opus::OpusHead::parse(demuxer.params().extra_data.as_deref().unwrap_or_default());
    let pre_skip = || opus_head().map_or(0, |head| u64::from(head.pre_skip));
    Ok(match demuxer.container() {
        "mp3" => {
            let Some(delay) = delay.map(u64::from) else {
                return Ok(all(0));
            };
            let (skip, length) = all(delay);
            // A joined or cut file no longer has the length in its first header.
            let stated = declared
                .unwrap_or(0)
                .saturating_add(delay)
                .saturating_add(padding.unwrap_or(0).into());
            let last = totals.ticks.checked_div(totals.packets).unwrap_or(0);
            if declared.is_some() && stated.abs_diff(decoded) <= 2 * last {
                (skip, length.min(declared.unwrap_or(length)))
            } else {
                (skip, length)
            }
        }
        "ogg" => {
            let skip = match demuxer.codec() {
                codec::CODEC_ID_OPUS => pre_skip() + before_zero,
                // The reader may report the cut in either way.
                _ => before_zero.max(demuxer.trim_start()),
            };
            let (skip, length) = all(skip);
            (skip, length.saturating_sub(totals.trailing_trim))
        }
        "isomp4" => in_movie(path, demuxer, decoded, pre_skip())?,
        "caf" => {
            let (skip, length) = all(delay.unwrap_or(0).into());
            let length = length.saturating_sub(padding.unwrap_or(0).into());
            (
                skip,
                length.min(declared.filter(|&frames| frames > 0).unwrap_or(length)),
            )
        }
        "mkv" | "matroska" => {
            let stated = mkv::gapless(&mut MediaBytes::open(path)?, u64::from(demuxer.track_id()));
            let rate = f64::from(demuxer.actual().rate);
            let frames = |nanoseconds: u64| (nanoseconds as f64 * 1e-9 * rate).round() as u64;
            let skip = match demuxer.codec() {
                codec::CODEC_ID_OPUS => pre_skip(),
                // The first block only fills the overlap.
                codec::CODEC_ID_VORBIS => first.max(frames(stated.codec_delay)),
                _ => frames(stated.codec_delay),
            };
            let (skip, length) = all(skip);
            (skip, length.saturating_sub(frames(stated.discard_padding)))
        }
        _ => all(0),
    })
}

fn in_movie(
    path: &Path,
    demuxer: &Demuxer,
    decoded: u64,
    pre_skip: u64,
) -> Result<(u64, u64), AudioError> {
    let mut source = MediaBytes::open(path)?;
    let gapless = mp4::gapless(&mut source, demuxer.track_id());
    let rate = u128::from(demuxer.actual().rate);
    let (numer, denom) = demuxer.time_base().unwrap_or((1, demuxer.actual().rate));
    let frames = |ticks: u64| {
        (u128::from(ticks) * rate * u128::from(numer) / u128::from(denom.max(1)))
            .min(u128::from(u64::MAX)) as u64
    };
    // An Opus track without an edit list still has the pre-skip of its header.
    let skip = match frames(gapless.skip) {
        0 => pre_skip,
        skip => skip,
    };
    // The table is exact to the frame; the last sample's duration is often shorter in it.
    let listed = frames(demuxer.totals().ticks);
    let end = if listed < decoded && decoded - listed < 4096 {
        listed
    } else {
        decoded
    };
    let length = end.saturating_sub(skip);
    Ok(match gapless.length.map(frames) {
        // An edit list is only as exact as a tick of the movie's clock, often a millisecond.
        Some(stated) if length > stated.saturating_add(frames(gapless.tick)) => (skip, stated),
        _ => (skip, length),
    })
}
