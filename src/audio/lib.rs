//! From a file to mono samples: decoding, resampling, tags.
//!
//! For: [`probe`] reads a file's format and length, [`read_windows`] and [`read_all`] decode samples at a
//! model's rate, [`tags`] reads tags and writes genres. Symphonia, opus-pure, rubato and lofty are used here and
//! nowhere else. Not for: the meaning of samples.
//!
//! # Conventions
//! - Samples are mono `f32`; full scale is ±1. Lossy decoders may overshoot a little; nothing is clipped.
//! - Downmix: the mean of the channels (as openl3 does); low-frequency-effects channels are left out.
//! - Position 0 is the first audible sample: encoder delay and padding are cut where Symphonia reads them (LAME header,
//!   Vorbis and Opus granules, Opus header, Matroska's delay).
//! - A damaged packet, or one of another sample rate, becomes silence of its own duration: the positions after it are
//!   unchanged. Of a chained Ogg file the first link counts.
//! - Every sample is a function of the file alone: it does not depend on which windows are read together,
//!   nor on whether the rest of the file is decoded or skipped.

#![forbid(unsafe_code)]

mod analysed;
mod bytes;
mod cancelled_channels;
mod codecs;
mod decoder;
mod demux;
mod error;
mod guard;
mod iff;
mod inaudible;
mod loudness;
mod mkv;
mod opus;
mod probe;
mod resample;
mod source;
mod stream;
pub mod tags;
mod track_frames;
mod windows;

use std::path::Path;

pub use analysed::{AnalysedFile, content_of_path};
pub use error::AudioError;
pub use guard::guard;
pub use guard::is_guarded;
pub use loudness::{SHORT_TERM_SECONDS, ShortTermMeter, loudness_range};
pub use probe::probe;
pub use resample::WindowResampler;
pub use source::open;
pub use windows::{WindowRequest, read_request, windows_of_samples};

use voisin_base::track::ContentId;

/// Mono samples with their rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// Mono samples, full scale ±1.
    pub samples: Vec<f32>,
    /// Hz.
    pub sample_rate: u32,
}

/// The result of [`probe`]: a file's format and length, without decoding it.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioInfo {
    /// BLAKE3 of the compressed packets of the track that is heard: the same after retagging, renaming or moving.
    pub content: ContentId,
    /// Container, in lower case: `mp3`, `flac`, `ogg`, `isomp4`, `wave`, `aiff`, `caf`, `mkv`, `aac` (ADTS).
    pub container: String,
    /// Codec, in lower case: `mp3`, `aac`, `alac`, `flac`, `vorbis`, `opus`, `pcm_s16le` …
    pub codec: String,
    /// Native sample rate, Hz.
    pub sample_rate: u32,
    pub channels: u16,
    /// Frames at the native rate, after cutting encoder delay and padding.
    pub n_frames: u64,
    pub packets: u64,
    /// Where the audible part lies among the decoded frames.
    #[doc(hidden)]
    pub timeline: Timeline,
}

impl AudioInfo {
    /// The description of a file of these mono samples, with a dummy content id.
    pub fn of_samples(samples: usize, sample_rate: u32) -> Self {
        Self {
            content: ContentId([0; 32]),
            container: "memory".to_owned(),
            codec: "pcm_f32le".to_owned(),
            sample_rate,
            channels: 1,
            n_frames: samples as u64,
            packets: 1,
            timeline: Timeline::default(),
        }
    }

    pub fn seconds(&self) -> f64 {
        self.n_frames as f64 / f64::from(self.sample_rate.max(1))
    }
}

/// How positions in a file follow from its packets. Made by [`probe`]; opaque.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Decoded frames before the first audible one.
    pub(crate) skip: u64,
    /// Timestamps of the container agree with the running count of frames, so that one may seek.
    pub(crate) regular: bool,
    /// The right channel cancels the left one, which alone is heard.
    pub(crate) left_alone: bool,
}

/// Irregularities found in decoding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DecodeReport {
    pub packets: u64,
    /// Packets among them that did not decode and were replaced by silence.
    pub damaged_packets: u64,
    /// Share of the requested frames that could be decoded, 0 to 1.
    pub decoded_share: f64,
    /// The loudness; `None` if not requested, and for silence.
    pub loudness: Option<Loudness>,
}

/// Integrated loudness by EBU R 128.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    pub lufs: f64,
    /// Whether the whole file was measured; else it is an estimate from the decoded parts.
    pub exact: bool,
}

/// How much of a file [`read_request`] decodes. The samples do not depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DecodePath {
    /// Whichever is cheaper for these windows and exact for this format.
    #[default]
    Auto,
    /// Every packet up to the end of the last window.
    Full,
    /// Only the packets the windows need, if that is exact for the format; otherwise `Full`.
    Windows,
}

/// [`read_request`] of windows of `length` samples at `rate` Hz.
pub fn read_windows(
    path: &Path,
    info: &AudioInfo,
    rate: u32,
    starts: &[i64],
    length: usize,
    sink: &mut dyn FnMut(usize, &[f32]),
) -> Result<DecodeReport, AudioError> {
    read_request(path, info, WindowRequest::new(rate, starts, length), sink)
}

/// Samples of the whole file at `rate` Hz: `n_frames · rate / native`, rounded up.
pub fn resampled_len(info: &AudioInfo, rate: u32) -> u64 {
    resample::resampled(info.n_frames, info.sample_rate, rate)
}

/// The whole file in memory at `rate` Hz, for short files.
pub fn read_all(path: &Path, rate: u32) -> Result<(Waveform, DecodeReport), AudioError> {
    let info = probe(path)?;
    let length = resampled_len(&info, rate);
    let mut samples = Vec::new();
    // Pieces of 2^16 samples, so that the header's length is not allocated before it was decoded.
    let piece = 1 << 16;
    let starts: Vec<i64> = (0..length as i64).step_by(piece).collect();
    let request = WindowRequest {
        how: DecodePath::Full,
        ..WindowRequest::new(rate, &starts, piece)
    };
    let report = read_request(path, &info, request, &mut |_, window| {
        samples.extend_from_slice(window);
    })?;
    samples.truncate(length as usize);
    let waveform = Waveform {
        samples,
        sample_rate: rate,
    };
    Ok((waveform, report))
}

/// Whether a folder scan should take this file: by extension, in any case. The content decides
/// later.
pub fn is_audio_candidate(path: &Path) -> bool {
    const EXTENSIONS: &[&str] = &[
        "mp3", "mp2", "mp1", "mpga", "aac", "adts", "m4a", "m4b", "m4p", "m4r", "m4v", "mp4",
        "3gp", "3g2", "mov", "alac", "flac", "fla", "ogg", "oga", "ogx", "spx", "opus", "wav",
        "wave", "rf64", "bwf", "w64", "aif", "aiff", "aifc", "caf", "mka", "mkv", "webm", "weba",
        // Music that voisin cannot decode: it is reported, so that nobody takes the library for complete.
        "wma", "asf", "wv", "ape", "tta", "tak", "ofr", "mpc", "mp+", "mpp", "shn", "dsf", "dff",
        "ac3", "eac3", "dts", "dtshd", "thd", "mlp", "au", "snd", "voc", "ra", "rm", "amr", "gsm",
        "aa", "aax", "aa3", "oma",
    ];
    path.extension().is_some_and(|extension| {
        let extension = extension.to_string_lossy().to_ascii_lowercase();
        EXTENSIONS.contains(&extension.as_str())
    })
}
