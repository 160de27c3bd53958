//! A file's format and length, without decoding it.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use symphonia::core::codecs::audio::well_known as codec;

use super::codecs::codec_name;
use super::decoder::PacketFormat;
use super::demux::Demuxer;
use super::resample::resampled;
use super::source::{MediaBytes, WHOLE};
use super::stream::Stream;
use super::{
    AudioError, AudioInfo, Link, Timeline, cancelled_channels, mkv, mp4, mpeg, ogg, opus, refusal,
};
use voisin_base::track::ContentId;
use voisin_music::cue::{self, CuePart, Place};

/// Bytes of packets that are hashed at a time: enough for BLAKE3 to process many blocks at once.
const DIGESTED: usize = 1 << 16;
/// Least share of the bytes of a raw MP3 or AAC stream in packets, as random bytes hold some by chance.
pub(super) const LEAST_SHARE: f64 = 0.5;

/// Whether a format is a raw stream of packets without a magic number.
pub(super) fn is_raw(container: &str) -> bool {
    matches!(container, "mp3" | "aac")
}

pub(super) fn probe(path: &Path) -> Result<AudioInfo, AudioError> {
    probe_by(path, "full", probe_file)
}

/// Probes a file, or a part of one that a CUE sheet describes.
///
/// - `kind`, `whole`: the kind of content id of a whole file, and the function that probes it
pub(super) fn probe_by(
    path: &Path,
    kind: &'static str,
    whole: impl Fn(&Path) -> Result<AudioInfo, AudioError>,
) -> Result<AudioInfo, AudioError> {
    let wrong = |error| AudioError::Sheet {
        path: path.to_owned(),
        reason: error,
    };
    let whole = |path: &Path| whole(path).map_err(|error| refusal::explain(path, error));
    match Place::of(path).map_err(|error| wrong(error.to_string()))? {
        Place::Part(part) => probe_part(path, &part, kind, whole),
        Place::File(path) if cue::is_sheet(path) && path.is_file() => {
            let fault = cue::read(path).map_or_else(Some, |sheet| {
                let part = |part: &CuePart| {
                    let text = format!(
                        "a CUE sheet: name one of its parts, such as {}",
                        part.path().display()
                    );
                    std::io::Error::other(text)
                };
                sheet.fault().or_else(|| sheet.parts.first().map(part))
            });
            let none = "a CUE sheet of which each file is one track: name the files".to_owned();
            Err(wrong(fault.map_or(none, |error| error.to_string())))
        }
        Place::File(path) => whole(path),
    }
}

/// Probes a part of a file, which is a shorter range of its frames with a content id of its own.
fn probe_part(
    path: &Path,
    part: &CuePart,
    kind: &'static str,
    whole: impl Fn(&Path) -> Result<AudioInfo, AudioError>,
) -> Result<AudioInfo, AudioError> {
    /// A recently probed file: the parts of a long file are usually probed in a row.
    type Probed = (FileVersion, Arc<Mutex<Option<AudioInfo>>>);
    type FileVersion = (
        &'static str,
        std::path::PathBuf,
        u64,
        Option<std::time::SystemTime>,
    );
    static LAST: Mutex<Vec<Probed>> = Mutex::new(Vec::new());
    const KEPT: usize = 8;

    let (_, metadata) = part
        .metadata()
        .map_err(|error| AudioError::from_io(path, error))?;
    let state: FileVersion = (
        kind,
        part.audio.clone(),
        metadata.len(),
        metadata.modified().ok(),
    );
    // The list is only locked for the look-up; each file has its own lock while it is probed.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let known = last
        .iter()
        .find(|(known, _)| *known == state)
        .map(|(_, info)| Arc::clone(info));
    let known = known.unwrap_or_else(|| {
        // The oldest entry is dropped.
        last.truncate(KEPT - 1);
        last.insert(0, (state, Arc::default()));
        Arc::clone(&last[0].1)
    });
    drop(last);
    // Only threads that probe the same file wait.
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = match &*known {
        Some(info) => info.clone(),
        None => known.insert(whole(&part.audio)?).clone(),
    };
    drop(known);
    // A sheet's positions are in 75ths of a second.
    let frame = |position: u64| position * u64::from(whole.sample_rate) / cue::FRAMES;
    let start = frame(part.start);
    let end = part.end.map_or(whole.n_frames, frame).min(whole.n_frames);
    if start >= end {
        let reason = format!(
            "expected a part that begins within the {:.1} s of {}, found {:.1} s: mend the sheet",
            whole.seconds(),
            part.audio.display(),
            part.seconds().0
        );
        return Err(AudioError::Sheet {
            path: path.to_owned(),
            reason,
        });
    }
    let mut hasher = blake3::Hasher::new();
    // From the id of its file, so that retagging or moving the file changes no part's id.
    hasher.update(&whole.content.0);
    hasher.update(format!("part {start} to {end}").as_bytes());
    let content = ContentId(*hasher.finalize().as_bytes());
    let timeline = Timeline {
        start,
        links: links_of_part(&part.audio, &whole, &(start..end)),
    };
    Ok(AudioInfo {
        content,
        n_frames: end - start,
        timeline,
        ..whole
    })
}

/// The links of a file, with the channels that cancel others where a part begins: they may differ from those at its
/// link's beginning.
fn links_of_part(path: &Path, whole: &AudioInfo, part: &Range<u64>) -> Arc<[Link]> {
    let mut links = whole.timeline.links.to_vec();
    let mut begins = 0_u64;
    for link in &mut links {
        let end = begins.saturating_add(link.frames_at(whole.sample_rate));
        if (begins..end).contains(&part.start) {
            let native = |frame: u64| {
                let audible = resampled(frame - begins, whole.sample_rate, link.sample_rate);
                link.skip.saturating_add(audible)
            };
            let frames = native(part.start)..native(part.end.min(end));
            let actual = PacketFormat {
                rate: link.sample_rate,
                channels: whole.channels,
            };
            let found = cancelled_channels::find(path, &link.bytes, actual, &frames, link.regular);
            link.left_out = found.unwrap_or(link.left_out);
        }
        begins = end;
    }
    links.into()
}

fn probe_file(path: &Path) -> Result<AudioInfo, AudioError> {
    let failed = |error| AudioError::from_io(path, error);
    let mut source = MediaBytes::open(path)?;
    // Ogg pages show where links begin; in a raw stream it only shows while reading, so that those few are read twice.
    let is_ogg = source.head().map_err(failed)?.starts_with(b"OggS");
    let chain = if is_ogg {
        ogg::links(source).map_err(failed)?
    } else {
        vec![WHOLE]
    };
    if let Some(info) = probe_chain(path, chain, !is_ogg)? {
        return Ok(info);
    }
    let chain = mpeg::links(MediaBytes::open(path)?).map_err(failed)?;
    let found = probe_chain(path, chain, false)?;
    let found = found.ok_or_else(|| AudioError::NoFrames {
        path: path.to_owned(),
    })?;
    Ok(at_highest_rate(found))
}

/// The info of a raw stream at a rate at which no link loses audible frequencies: that of the first link if possible,
/// as existing libraries have it.
fn at_highest_rate(info: AudioInfo) -> AudioInfo {
    const FULL_BAND: u32 = 44_100;
    if info.sample_rate >= FULL_BAND {
        return info;
    }
    let links = &info.timeline.links;
    let rates = links.iter().map(|link| link.sample_rate);
    let sample_rate = rates.max().unwrap_or(info.sample_rate);
    let frames = links.iter().map(|link| link.frames_at(sample_rate));
    let n_frames = frames.fold(0, u64::saturating_add);
    AudioInfo {
        sample_rate,
        n_frames,
        ..info
    }
}

/// Probes a file with these links.
///
/// - `may_change`: stop if a raw stream changes its kind
fn probe_chain(
    path: &Path,
    chain: Vec<Range<u64>>,
    may_change: bool,
) -> Result<Option<AudioInfo>, AudioError> {
    let mut hasher = blake3::Hasher::new();
    let mut links = Vec::new();
    let mut file: Option<AudioInfo> = None;
    let mut refused = None;
    // Bytes of refused links and of the others.
    let mut lost = 0;
    let mut kept = 0;
    let is_alone = chain.len() == 1;
    for bytes in chain {
        let length = bytes.end - bytes.start;
        let (info, link) = match probe_link(path, bytes.clone(), may_change, &mut hasher) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // The other links are still used. Its bytes count, since they may be music that no other file has.
            Err(error) if error.is_of_contents() && !is_alone => {
                let mut source = MediaBytes::open(path)?.within(&bytes);
                ogg::skip_headers(&mut source)
                    .and_then(|()| std::io::copy(&mut source, &mut hasher))
                    .map_err(|error| AudioError::from_io(path, error))?;
                refused.get_or_insert(error);
                lost += length;
                continue;
            }
            Err(error) => return Err(error),
        };
        let file = file.get_or_insert(AudioInfo {
            n_frames: 0,
            packets: 0,
            ..info.clone()
        });
        file.n_frames = file
            .n_frames
            .saturating_add(link.frames_at(file.sample_rate));
        file.packets += info.packets;
        kept += length;
        links.push(link);
    }
    // Damaged links of Ogg are left out, however long.
    match file.filter(|info| lost <= kept || info.container == "ogg") {
        Some(info) => Ok(Some(AudioInfo {
            content: ContentId(*hasher.finalize().as_bytes()),
            timeline: Timeline {
                start: 0,
                links: links.into(),
            },
            ..info
        })),
        None => Err(refused.unwrap_or_else(|| AudioError::NoFrames {
            path: path.to_owned(),
        })),
    }
}

/// Probes one link and adds its packets to the caller's hasher, from which the content id is made.
///
/// - `may_change`: return `None` if a raw stream changes its kind
fn probe_link(
    path: &Path,
    bytes: Range<u64>,
    may_change: bool,
    hasher: &mut blake3::Hasher,
) -> Result<Option<(AudioInfo, Link)>, AudioError> {
    let mut demuxer = Demuxer::open(path, &bytes)?;
    // Packets of ADTS have no headers.
    if may_change && demuxer.container() == "aac" {
        let links = mpeg::links(MediaBytes::open(path)?);
        if links.is_ok_and(|links| links.len() > 1) {
            return Ok(None);
        }
    }
    // Of the decoder, not of the header.
    let actual = demuxer.actual();
    let codec = codec_name(demuxer.codec()).unwrap_or("unknown").to_owned();
    // The same bytes are different audio with another codec or layout.
    hasher.update(format!("{codec}/{}/{};", actual.rate, actual.channels).as_bytes());
    let mut pending = Vec::new();
    let watches = may_change && matches!(demuxer.container(), "mp1" | "mp2" | "mp3");
    let mut frame_kind = None;
    let mut is_changed = false;
    while let Some(piece) = demuxer.next()? {
        if watches && let Some((kind, _)) = mpeg::frame(&piece.packet.data) {
            is_changed |= frame_kind.replace(kind).is_some_and(|last| last != kind);
        }
        pending.extend_from_slice(&piece.packet.data);
        if pending.len() >= DIGESTED {
            hasher.update(&pending);
            pending.clear();
        }
    }
    if is_changed {
        return Ok(None);
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
        count_by_decoding(path, &bytes)?
    };
    let (skip, n_frames) = audible(path, &demuxer, decoded, first)?;
    if n_frames == 0 {
        return Err(AudioError::NoFrames {
            path: path.to_owned(),
        });
    }
    let left_out = cancelled_channels::find(path, &bytes, actual, &WHOLE, false).unwrap_or(0);
    let link = Link {
        bytes,
        sample_rate: actual.rate,
        n_frames,
        skip,
        regular: totals.regular,
        left_out,
    };
    let info = AudioInfo {
        // Set by the caller, whose hasher has all links.
        content: ContentId([0; 32]),
        container: if container == "matroska" {
            "mkv"
        } else {
            container
        }
        .to_owned(),
        codec,
        sample_rate: actual.rate,
        channels: actual.channels,
        n_frames,
        packets: totals.packets,
        timeline: Timeline::default(),
    };
    Ok(Some((info, link)))
}

/// Frames of the whole track and of its first packet.
fn count_by_decoding(path: &Path, bytes: &Range<u64>) -> Result<(u64, u64), AudioError> {
    let mut stream = Stream::open(path, bytes, false, false)?;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_wait_for_their_own_file_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let album = |name: &str| {
            std::fs::write(folder.path().join(format!("{name}.wav")), name).unwrap();
            let sheet = folder.path().join(format!("{name}.cue"));
            let tracks = "TRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 01 00:01:00\n";
            std::fs::write(&sheet, format!("FILE {name}.wav WAVE\n{tracks}")).unwrap();
            [sheet.join("01"), sheet.join("02")]
        };
        let [long, long_too] = album("long");
        let [short, _] = album("short");
        let (begun, is_begun) = channel();
        let (done, is_done) = channel();
        let probed = &AtomicUsize::new(0);
        let soon = Duration::from_secs(30);
        let info = || Ok(AudioInfo::of_samples(8000 * 3, 8000));
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || {
                probe_by(&long, "test", |_| {
                    probed.fetch_add(1, Ordering::Relaxed);
                    begun.send(()).unwrap();
                    is_done
                        .recv_timeout(soon)
                        .expect("a part of another file does not wait for this one");
                    info()
                })
            });
            is_begun.recv_timeout(soon).unwrap();
            // A part of the file that is being probed waits for it.
            let same = scope
                .spawn(|| probe_by(&long_too, "test", |_| panic!("its file is probed already")));
            assert_eq!(probe_by(&short, "test", |_| info()).unwrap().n_frames, 8000);
            done.send(()).unwrap();
            assert_eq!(slow.join().unwrap().unwrap().n_frames, 8000);
            assert_eq!(same.join().unwrap().unwrap().n_frames, 16_000);
        });
        assert_eq!(probed.load(Ordering::Relaxed), 1);
    }
}
