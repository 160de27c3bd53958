//! Tempo, key, loudness and measured scales, from the same decoding as the windows.

use std::ops::Range;
use std::path::Path;

use super::scales::measured_scales;
use voisin_audio::{
    self, AudioError, AudioInfo, DecodeReport, Loudness, SHORT_TERM_SECONDS, ShortTermMeter,
    WindowRequest, loudness_range,
};
use voisin_features::{KeyFinder, Measures, Onsets};
use voisin_library::{Descriptors, MusicalKey};

/// Version of the method, to be raised whenever its results change.
pub(crate) const DESCRIPTORS_VERSION: u32 = 4;

/// Length in seconds of the continuous piece in the middle of a track on which tempo and scales are measured.
const PIECE_SECONDS: u64 = 20;

/// Reads windows as [`voisin_audio::read_windows`] does, and measures the track from the same decoding.
///
/// Tempo and scales come from the piece in the middle, key and loudness range from that piece and the windows, loudness from
/// everything that is decoded.
pub(super) fn read_windows(
    path: &Path,
    info: &AudioInfo,
    rate: u32,
    starts: &[i64],
    length: usize,
    sink: &mut dyn FnMut(usize, &[f32]),
) -> Result<(DecodeReport, Descriptors), AudioError> {
    let mut measurer = Measurer::new(voisin_audio::resampled_len(info, rate), rate);
    // The piece is read in blocks of a window's length, so that one decoding serves both.
    let pieces = measurer
        .piece
        .clone()
        .step_by(length.max(1))
        .map(|start| (start, None));
    let mut all: Vec<(i64, Option<usize>)> = starts
        .iter()
        .enumerate()
        .map(|(i, &start)| (start, Some(i)))
        .chain(pieces)
        .collect();
    // Windows and pieces have to be in order, because the decoder only moves forwards.
    all.sort_by_key(|&(start, _)| start);
    let places: Vec<i64> = all.iter().map(|&(start, _)| start).collect();
    let mut request = WindowRequest::new(rate, &places, length);
    request.measured = true;
    let report = voisin_audio::read_request(path, info, request, &mut |i, samples| {
        let (start, window) = all[i];
        measurer.push(start, samples, window.is_none());
        if let Some(window) = window {
            sink(window, samples);
        }
    })?;
    let measured = measurer.finish(report.loudness);
    Ok((report, measured))
}

struct Measurer {
    rate: u32,
    total: i64,
    piece: Range<i64>,
    samples: Vec<f32>,
    key: KeyFinder,
    short_term: ShortTermMeter,
    /// Short-term loudness of the blocks that were read, LUFS.
    blocks: Vec<f64>,
    /// End of the samples that the key was measured on.
    key_end: i64,
}

impl Measurer {
    fn new(total: u64, rate: u32) -> Self {
        let length = total.min(PIECE_SECONDS * u64::from(rate));
        let start = (total - length) / 2;
        Self {
            rate,
            total: total as i64,
            piece: start as i64..(start + length) as i64,
            samples: Vec::with_capacity(length as usize),
            key: KeyFinder::new(rate),
            short_term: ShortTermMeter::new(rate),
            blocks: Vec::new(),
            key_end: i64::MIN,
        }
    }

    fn push(&mut self, start: i64, samples: &[f32], of_piece: bool) {
        let inside = |end: i64| (end - start).clamp(0, samples.len() as i64) as usize;
        // Blocks of the piece are contiguous. The last may extend beyond its end.
        if of_piece {
            self.samples
                .extend_from_slice(&samples[..inside(self.piece.end)]);
        }
        // Windows may overlap each other and the piece, but no sample may count twice for the key.
        if start >= self.key_end {
            let sound = &samples[..inside(self.total)];
            self.key.push(sound);
            self.push_blocks(sound);
            self.key_end = start + samples.len() as i64;
        }
    }

    fn push_blocks(&mut self, samples: &[f32]) {
        let blocks = samples.chunks((SHORT_TERM_SECONDS * self.rate) as usize);
        let meter = &mut self.short_term;
        self.blocks
            .extend(blocks.filter_map(|block| meter.loudness(block)));
    }

    fn finish(mut self, loudness: Option<Loudness>) -> Descriptors {
        if self.blocks.is_empty() {
            let samples = std::mem::take(&mut self.samples);
            self.push_blocks(&samples);
            self.samples = samples;
        }
        let onsets = Onsets::new(&self.samples, self.rate);
        let measures = Measures::new(&self.samples, self.rate, &onsets);
        let lufs = loudness.map(|loudness| loudness.lufs);
        let range = loudness_range(&self.blocks);
        Descriptors {
            version: DESCRIPTORS_VERSION,
            tempo: onsets.tempo(),
            scales: measured_scales(measures.as_ref(), lufs, range),
            key: self.key.key().and_then(MusicalKey::from_number),
            loudness: lufs,
            loudness_is_exact: loudness.is_some_and(|loudness| loudness.exact),
            // Judged by the encoder's windows.
            is_steady: false,
        }
    }
}
