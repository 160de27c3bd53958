//! A file's audio track as packets with their exact positions in decoded frames.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known as codec;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;

use super::AudioError;
use super::codecs::{codec_name, pcm_bytes};
use super::decoder::{Decoder, PacketFormat, plain};
use super::guard::guard;
use super::loudness::Planes;
use super::opus;
use super::source::MediaBytes;

/// Packets tried until one decodes and shows the true rate and channels, or searched for a timestamp: more than an Ogg
/// page holds.
const TRIES: usize = 256;
/// Consecutive faults of the container after which the rest is abandoned.
const PATIENCE: u32 = 100;
/// Range of gaps in the timestamps that are accepted: shorter ones are inexact muxing, longer ones
/// damage.
const SHORTEST_HOLE: i64 = 64;
const LONGEST_HOLE_SECONDS: i64 = 60;
/// Sample rates outside this range are damage, not music (Hz).
const RATES: std::ops::RangeInclusive<u32> = 1_000..=1_000_000;

/// How the number of frames of a packet is determined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    /// By the container's durations, which are exact, in frames.
    Duration,
    /// Always the same number.
    Constant(u64),
    /// The packet's own table of contents.
    Opus,
    /// Bytes of a frame.
    Pcm(u64),
    /// Only by decoding.
    Decoding,
}

pub(super) struct Piece {
    pub packet: Packet,
    /// Number of the packet in its track, from 0 (as long as there was no seek).
    pub index: u64,
    /// Frame number of its first decoded frame, counted from the track's first packet.
    pub start: u64,
    /// Frames it decodes to, if known without decoding.
    pub frames: Option<u64>,
    /// Frames missing from the stream just before it.
    pub hole: u64,
}

/// Sums over the whole track, once all packets have been seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    /// Frames its packets decode to.
    pub frames: u64,
    /// The container's own sum of durations, in its time base.
    pub ticks: u64,
    /// Frames to cut from the last packets.
    pub trailing_trim: u64,
    pub bytes: u64,
    pub packets: u64,
    /// Whether the timestamps always agreed with the count.
    pub regular: bool,
}

/// Reads the packets of a file's first decodable audio track.
pub(super) struct Demuxer {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    track: u32,
    params: AudioCodecParameters,
    counting: Counting,
    /// Whether timestamps are exact enough to compare with the count.
    timed: bool,
    actual: PacketFormat,
    ahead: VecDeque<Packet>,
    /// Timestamp of the first packet, once it was read; never changed later.
    first: Option<i64>,
    /// Timestamp minus frame number of the last packets: timestamps may restart.
    offset: i64,
    totals: Totals,
    trim_start: u64,
    faults: u32,
    ended: bool,
    bytes_in_source: u64,
}

impl Demuxer {
    pub(super) fn open(path: &Path) -> Result<Self, AudioError> {
        let source = MediaBytes::open(path)?;
        let bytes_in_source = source.len();
        let format = guard(path, || {
            let stream =
                MediaSourceStream::new(Box::new(source), MediaSourceStreamOptions::default());
            symphonia::default::get_probe().probe(
                &Hint::new(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
        })?
        .map_err(|error| unreadable(path, error))?;
        let (track, params) = choose(path, format.as_ref())?;
        // As in the header, until `look_ahead` has decoded a packet.
        let actual = PacketFormat {
            rate: params.sample_rate.unwrap_or(0),
            channels: 0,
        };
        let mut demuxer = Self {
            path: path.to_owned(),
            format,
            track,
            params,
            counting: Counting::Decoding,
            timed: false,
            actual,
            ahead: VecDeque::new(),
            first: None,
            offset: 0,
            totals: Totals {
                regular: true,
                ..Totals::default()
            },
            trim_start: 0,
            faults: 0,
            ended: false,
            bytes_in_source,
        };
        demuxer.look_ahead()?;
        demuxer.counting = demuxer.choose_counting();
        // Only these two write frame numbers of their own; elsewhere timestamps are rounded to
        // ticks, or counted up by the reader itself.
        demuxer.timed =
            matches!(demuxer.container(), "flac" | "ogg") && demuxer.counting != Counting::Decoding;
        Ok(demuxer)
    }

    /// Decodes the first decodable packet, for the codec's real rate and channels.
    fn look_ahead(&mut self) -> Result<(), AudioError> {
        let mut decoder = self.decoder()?;
        let mut planes = Planes::default();
        for _ in 0..TRIES {
            let Some(packet) = self.next_packet()? else {
                break;
            };
            let decoded = guard(&self.path, || decoder.decode(&packet, &mut planes))?;
            // Kept, damaged or not: `next` returns these packets first.
            self.ahead.push_back(packet);
            if let Ok(format) = decoded {
                if !RATES.contains(&format.rate) {
                    let reason = format!("a sample rate of {} Hz", format.rate);
                    return Err(AudioError::not_audio(&self.path, reason));
                }
                self.actual = format;
                return Ok(());
            }
        }
        if self.ahead.is_empty() {
            return Err(AudioError::not_audio(&self.path, NO_FRAMES));
        }
        Err(AudioError::MostlyDamaged {
            path: self.path.clone(),
            share: 0.0,
        })
    }

    fn choose_counting(&self) -> Counting {
        let in_frames = self
            .time_base()
            .is_some_and(|(numer, denom)| numer == 1 && denom == self.actual.rate);
        let bytes = pcm_bytes(self.params.codec)
            .map(|bytes| bytes * u64::from(self.actual.channels.max(1)));
        match (self.container(), self.params.codec) {
            (_, codec::CODEC_ID_OPUS) => Counting::Opus,
            // At the core's rate: for HE-AAC, containers give durations at twice that rate.
            (_, codec::CODEC_ID_AAC) => Counting::Constant(1024),
            // FFmpeg's packet tables count the last, shorter packet as a whole one.
            ("caf", codec::CODEC_ID_ALAC) => Counting::Decoding,
            // Matroska's timestamps are milliseconds by default, which is no whole number of
            // frames.
            ("mkv", _) if bytes.is_none() => Counting::Decoding,
            (_, codec::CODEC_ID_MP3 | codec::CODEC_ID_VORBIS) if self.container() == "isomp4" => {
                Counting::Decoding
            }
            _ => match bytes {
                Some(bytes) => Counting::Pcm(bytes),
                None if in_frames => Counting::Duration,
                None => Counting::Decoding,
            },
        }
    }

    pub(super) fn decoder(&self) -> Result<Decoder, AudioError> {
        guard(&self.path, || Decoder::new(&self.params))?
            .map_err(|reason| AudioError::not_audio(&self.path, reason))
    }

    pub(super) fn container(&self) -> &'static str {
        match self.format.format_info().short_name {
            "matroska" => "mkv",
            name => name,
        }
    }

    pub(super) fn params(&self) -> &AudioCodecParameters {
        &self.params
    }

    pub(super) fn actual(&self) -> PacketFormat {
        self.actual
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Bytes of the file without tags around it.
    pub(super) fn bytes_in_source(&self) -> u64 {
        self.bytes_in_source
    }

    /// Timestamp of the first packet, in its time base.
    pub(super) fn first_timestamp(&self) -> i64 {
        self.first.unwrap_or(0)
    }

    /// Frames the container wants cut from the first packet.
    pub(super) fn trim_start(&self) -> u64 {
        self.trim_start
    }

    /// Delay, padding and the frames between them, as given by the container.
    pub(super) fn declared(&self) -> (Option<u32>, Option<u32>, Option<u64>) {
        self.track().map_or((None, None, None), |track| {
            (track.delay, track.padding, track.num_frames)
        })
    }

    fn track(&self) -> Option<&Track> {
        let mut tracks = self.format.tracks().iter();
        tracks.find(|track| track.id == self.track)
    }

    fn time_base(&self) -> Option<(u32, u32)> {
        let base = self.track()?.time_base?;
        Some((base.numer.get(), base.denom.get()))
    }

    /// A duration in the track's ticks as frames of the decoder.
    pub(super) fn in_frames(&self, ticks: u64) -> u64 {
        let rate = self.actual.rate;
        let (numer, denom) = self.time_base().unwrap_or((1, rate));
        let frames = u128::from(ticks) * u128::from(rate) * u128::from(numer);
        let frames = frames / u128::from(denom.max(1));
        frames.min(u128::from(u64::MAX)) as u64
    }

    /// Whether the frames of packets are known before decoding, so that packets may be skipped.
    pub(super) fn countable(&self) -> bool {
        self.counting != Counting::Decoding
    }

    pub(super) fn is_pcm(&self) -> bool {
        matches!(self.counting, Counting::Pcm(_))
    }

    /// Frame number at which the next packet starts, if nothing is missing.
    pub(super) fn position(&self) -> u64 {
        self.totals.frames
    }

    pub(super) fn next(&mut self) -> Result<Option<Piece>, AudioError> {
        let packet = match self.ahead.pop_front() {
            Some(packet) => packet,
            None => match self.next_packet()? {
                Some(packet) => packet,
                None => return Ok(None),
            },
        };
        let frames = self.frames(&packet);
        // Less than a frame is left, as in a truncated file.
        if matches!(self.counting, Counting::Pcm(_)) && frames == Some(0) {
            self.ended = true;
            return Ok(None);
        }
        let hole = self.hole_before(&packet)?;
        let totals = &mut self.totals;
        totals.frames += hole;
        let start = totals.frames;
        totals.frames = totals.frames.saturating_add(frames.unwrap_or(0));
        totals.ticks = totals.ticks.saturating_add(packet.dur.get());
        totals.bytes += packet.data.len() as u64;
        let index = totals.packets;
        totals.packets += 1;
        let trim = packet.trim_end.get();
        // An untrimmed packet follows, so the trimmed one was not the end of the track.
        totals.trailing_trim = if trim > 0 {
            totals.trailing_trim.saturating_add(trim)
        } else {
            0
        };
        Ok(Some(Piece {
            packet,
            index,
            start,
            frames,
            hole,
        }))
    }

    /// Sets how many frames the last packet held, if only decoding shows it.
    pub(super) fn count_decoded(&mut self, frames: u64) {
        if self.counting == Counting::Decoding {
            self.totals.frames = self.totals.frames.saturating_add(frames);
        }
    }

    /// Seeks to a packet at or before a frame. Only for containers whose `regular` timestamps are in
    /// frames.
    pub(super) fn seek(&mut self, frame: u64) -> Result<(), AudioError> {
        let offset = self.offset;
        let to = SeekTo::Timestamp {
            ts: Timestamp::new(offset + frame as i64),
            track_id: self.track,
        };
        let format = &mut self.format;
        let seeked = guard(&self.path, || format.seek(SeekMode::Accurate, to))?
            .map_err(|error| unreadable(&self.path, error))?;
        self.ahead.clear();
        self.ended = false;
        // The reader seeks to the packet that holds the frame, and the count continues from its
        // start.
        self.totals.frames = seeked.actual_ts.get().saturating_sub(offset).max(0) as u64;
        Ok(())
    }

    /// Frames that a packet decodes to, if known without decoding.
    fn frames(&self, packet: &Packet) -> Option<u64> {
        match self.counting {
            Counting::Duration => Some(self.block(packet)),
            Counting::Constant(frames) => Some(frames),
            Counting::Opus => Some(opus::packet_samples(&packet.data)),
            Counting::Pcm(bytes) => Some(packet.data.len() as u64 / bytes),
            Counting::Decoding => None,
        }
    }

    /// Frames of a packet before any trimming.
    fn block(&self, packet: &Packet) -> u64 {
        // Symphonia's MPEG reader gives the whole duration besides the trims, the others what is left of it.
        if self.container().starts_with("mp") {
            packet.dur.get()
        } else {
            packet.block_dur().get()
        }
    }

    fn hole_before(&mut self, packet: &Packet) -> Result<u64, AudioError> {
        let timestamp = packet.pts.get();
        let counted = self.totals.frames as i64;
        if self.first.is_none() {
            self.first = Some(timestamp);
            self.offset = timestamp;
            self.trim_start = packet.trim_start.get();
            return Ok(0);
        }
        if !self.timed {
            return Ok(0);
        }
        let hole = timestamp
            .saturating_sub(self.offset)
            .saturating_sub(counted);
        if hole == 0 {
            return Ok(0);
        }
        // One contradiction is enough: a seek by timestamp could miss the counted position.
        self.totals.regular = false;
        if (SHORTEST_HOLE..=LONGEST_HOLE_SECONDS * i64::from(self.actual.rate)).contains(&hole) {
            return Ok(if self.is_taken_back(packet, hole)? {
                0
            } else {
                hole as u64
            });
        }
        // The timestamps restart here while the sound continues: from now on they are relative to
        // the new start.
        self.offset = self.offset.saturating_add(hole);
        Ok(0)
    }

    /// Whether the next irregular timestamp cancels a gap: FFmpeg may end one page a few hundred frames too late, and
    /// the next one correctly.
    fn is_taken_back(&mut self, packet: &Packet, hole: i64) -> Result<bool, AudioError> {
        let ends = |demuxer: &Self, packet: &Packet| {
            let frames = demuxer.frames(packet).unwrap_or(0);
            packet.pts.get().saturating_add_unsigned(frames)
        };
        let mut expected = ends(self, packet);
        for i in 0..TRIES {
            if i == self.ahead.len() {
                let Some(next) = self.next_packet()? else {
                    break;
                };
                self.ahead.push_back(next);
            }
            let Some(next) = self.ahead.get(i) else { break };
            let late = next.pts.get().saturating_sub(expected);
            if late != 0 {
                return Ok(late.saturating_add(hole).abs() < SHORTEST_HOLE);
            }
            expected = ends(self, next);
        }
        Ok(false)
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        let mut empty = 0;
        while !self.ended {
            let format = &mut self.format;
            match guard(&self.path, || format.next_packet())? {
                Ok(Some(packet)) if packet.track_id != self.track => {}
                // Bounded, as an empty packet need not advance the reader.
                Ok(Some(packet)) if packet.data.is_empty() => {
                    empty += 1;
                    self.ended = empty > PATIENCE;
                }
                Ok(Some(packet)) => {
                    self.faults = 0;
                    return Ok(Some(packet));
                }
                // Of a chain the first link counts: another stream begins here.
                Ok(None) | Err(Error::ResetRequired) => self.ended = true,
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    self.ended = true;
                }
                Err(error @ Error::IoError(_)) => return Err(unreadable(&self.path, error)),
                // A block of a track that Matroska's repairs hid: there may be any number before the next of sound.
                Err(Error::DecodeError("mkv: unvalid track number for block")) => {}
                Err(_) => {
                    self.faults += 1;
                    // The reader has advanced, and the next packet may be sound, but its position
                    // is uncertain.
                    self.totals.regular = false;
                    self.ended = self.faults > PATIENCE;
                }
            }
        }
        Ok(None)
    }
}

pub(super) const NO_FRAMES: &str = "it holds no audio frames";

/// The first audio track with a decoder.
fn choose(
    path: &Path,
    format: &dyn FormatReader,
) -> Result<(u32, AudioCodecParameters), AudioError> {
    let mut refused = None;
    for track in format.tracks() {
        let Some(CodecParameters::Audio(params)) = &track.codec_params else {
            continue;
        };
        match guard(path, || Decoder::new(params))? {
            Ok(_) => return Ok((track.id, params.clone())),
            Err(why) => {
                refused.get_or_insert_with(|| match codec_name(params.codec) {
                    Some(name) if why.starts_with(name) => why,
                    // Symphonia has no decoder for it, and its message has no more detail.
                    Some(name) if why.starts_with("core") => name.to_owned(),
                    Some(name) => format!("{name}: {why}"),
                    None => why,
                });
            }
        }
    }
    let reason = match refused {
        Some(codec) => format!("unsupported audio codec: {codec}"),
        None => "it has no audio track of a known codec".to_owned(),
    };
    Err(AudioError::not_audio(path, reason))
}

fn unreadable(path: &Path, error: Error) -> AudioError {
    let reason = match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            "it ends within its header".to_owned()
        }
        Error::IoError(error) => return AudioError::from_io(path, error),
        Error::Unsupported(what) if what.contains("no suitable format") => {
            "no known format in its contents".to_owned()
        }
        error => plain(&error),
    };
    AudioError::not_audio(path, reason)
}
