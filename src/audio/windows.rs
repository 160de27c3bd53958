//! Windows of a track at a model's rate: which blocks of the resampler they need, and cutting them
//! out of its output.
//!
//! Not for: the frames at the track's own rate (`track_frames`).

use std::path::Path;

use super::resample::{Resampler, resampled};
use super::stream::DecodeCounts;
use super::track_frames::Frames;
use super::{AudioError, AudioInfo, DecodePath, DecodeReport, Loudness, inaudible};

/// Above this share of the track, reading everything is as fast as skipping parts.
const SPARSE_BELOW: f64 = 0.9;

/// Windows to be cut from a track.
#[derive(Debug, Clone, Copy)]
pub struct WindowRequest<'a> {
    /// Hz of the windows.
    pub rate: u32,
    /// Sample positions at `rate`, ascending; may be negative, run past the end (zeros there) or overlap.
    pub starts: &'a [i64],
    /// Samples of a window.
    pub length: usize,
    /// How much is decoded.
    pub how: DecodePath,
    /// Whether the loudness of what is decoded is measured.
    pub measured: bool,
}

impl<'a> WindowRequest<'a> {
    /// As much as is cheaper is decoded, and nothing measured.
    pub fn new(rate: u32, starts: &'a [i64], length: usize) -> Self {
        Self {
            rate,
            starts,
            length,
            how: DecodePath::Auto,
            measured: false,
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(usize, &[f32]);
type Read<'a> = &'a mut dyn FnMut(u64, &mut [f32]) -> Result<(), AudioError>;

/// [`read_windows`](crate::read_windows) for mono samples in memory instead of a file.
pub fn windows_of_samples(
    samples: &[f32],
    info: &AudioInfo,
    request: WindowRequest<'_>,
    sink: Sink<'_>,
) -> Result<(), AudioError> {
    let mut pass = FilePass::new(info, request)?;
    for span in std::mem::take(&mut pass.spans) {
        let mut read = |from: u64, block: &mut [f32]| {
            block.fill(0.0);
            let there = samples.get(from as usize..).unwrap_or_default();
            let n = there.len().min(block.len());
            block[..n].copy_from_slice(&there[..n]);
            Ok(())
        };
        pass.span(span, &mut read, sink)?;
    }
    pass.cutter.finish(sink);
    Ok(())
}

/// Calls `sink(i, window)` for each start, in order.
///
/// - `info`: the result of [`probe`](crate::probe) for this file
///
/// On an error, windows already passed on must be discarded.
pub fn read_request(
    path: &Path,
    info: &AudioInfo,
    request: WindowRequest<'_>,
    sink: Sink<'_>,
) -> Result<DecodeReport, AudioError> {
    let mut report = DecodeReport::default();
    let mut lost = 0;
    let mut good = 0;
    let (mut loud, mut all) = (0, 0);
    let mut first = 0;
    // Ascending runs, each in one pass; usually there is one.
    for run in request.starts.chunk_by(|a, b| a <= b) {
        let request = WindowRequest {
            starts: run,
            ..request
        };
        let mut numbered = |i: usize, window: &[f32]| sink(first + i, window);
        let mut pass = FilePass::new(info, request)?;
        let (counts, loudness) = pass.run(path, &mut numbered)?;
        first += run.len();
        report.packets += counts.packets;
        report.damaged_packets += counts.damaged;
        loud += pass.cutter.loud;
        all += (run.len() * request.length) as u64;
        report.loudness = loudness;
        good += counts.good_frames;
        lost += counts.lost_frames;
    }
    if loud * LOUD_ONE_IN > all {
        let reason = "its floats have the values of integers: convert a copy to FLAC";
        return Err(AudioError::not_audio(path, reason));
    }
    // All windows lie outside the track: nothing was decoded, so nothing failed.
    report.decoded_share = if good + lost == 0 {
        1.0
    } else {
        good as f64 / (good + lost) as f64
    };
    if report.decoded_share < LEAST_DECODED {
        return Err(AudioError::MostlyDamaged {
            path: path.to_owned(),
            share: report.decoded_share,
        });
    }
    Ok(report)
}

/// Least share that must decode, else the file is refused.
const LEAST_DECODED: f64 = 0.5;

/// A sample that no music has: 24 dB above full scale.
const LOUD: f32 = 16.0;
/// One of how many samples may be loud.
const LOUD_ONE_IN: u64 = 10;

/// Consecutive blocks `first..end` of the resampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockSpan {
    first: u64,
    end: u64,
}

/// One pass over a file.
struct FilePass<'a> {
    info: &'a AudioInfo,
    request: WindowRequest<'a>,
    resampler: Resampler,
    /// Samples of the track at the requested rate.
    total: u64,
    spans: Vec<BlockSpan>,
    how: DecodePath,
    cutter: Cutter<'a>,
}

impl<'a> FilePass<'a> {
    fn new(info: &'a AudioInfo, request: WindowRequest<'a>) -> Result<Self, AudioError> {
        let resampler = Resampler::new(info.sample_rate, request.rate)?;
        let total = resampled(info.n_frames, info.sample_rate, request.rate);
        let mut spans = spans(&resampler, request, total);
        // Each span also costs the warm-up blocks of the resampler.
        let blocks = |spans: &[BlockSpan]| {
            spans
                .iter()
                .map(|span| span.end - span.first + resampler.warm_up())
                .sum::<u64>()
        };
        let all = info.n_frames.div_ceil(resampler.block_in() as u64).max(1);
        let how = match request.how {
            DecodePath::Auto if blocks(&spans) as f64 > SPARSE_BELOW * all as f64 => {
                DecodePath::Full
            }
            DecodePath::Auto => DecodePath::Windows,
            how => how,
        };
        // All blocks from the first on: those between the windows are resampled and discarded.
        if how == DecodePath::Full
            && let Some(last) = spans.last()
        {
            spans = vec![BlockSpan {
                first: 0,
                end: last.end,
            }];
        }
        let cutter = Cutter::new(request, total);
        Ok(Self {
            info,
            request,
            resampler,
            total,
            spans,
            how,
            cutter,
        })
    }

    fn run(
        &mut self,
        path: &Path,
        sink: Sink<'_>,
    ) -> Result<(DecodeCounts, Option<Loudness>), AudioError> {
        let mut counts = DecodeCounts::default();
        let mut loudness = None;
        if !self.spans.is_empty() && self.request.length > 0 {
            let sparse = self.how == DecodePath::Windows;
            let mut frames = Frames::open(path, self.info, sparse, self.request.measured)?;
            for span in std::mem::take(&mut self.spans) {
                self.span(span, &mut |from, input| frames.read(from, input), sink)?;
            }
            loudness = frames.loudness()?;
            counts = frames.counts();
        }
        self.cutter.finish(sink);
        Ok((counts, loudness))
    }

    /// - `read`: fills a block with the frames from a position on
    fn span(&mut self, span: BlockSpan, read: Read<'_>, sink: Sink<'_>) -> Result<(), AudioError> {
        let size_in = self.resampler.block_in() as u64;
        let size_out = self.resampler.block_out() as u64;
        let delay = self.resampler.delay() as i64;
        let mut input = vec![0.0; size_in as usize];
        self.resampler.reset();
        for block in span.first.saturating_sub(self.resampler.warm_up())..span.end {
            read(block * size_in, &mut input)?;
            // As if the first sample had always been: an offset is no step then, with which filters ring.
            if block == 0 {
                self.resampler.block(&vec![input[0]; input.len()]);
            }
            let output = self.resampler.block(&input);
            // Warm-up: the resampler needs its overlap, and its samples are not yet right.
            if block < span.first {
                continue;
            }
            // The output lags by half a block, so the first positions are negative.
            let start = (block * size_out) as i64 - delay;
            let from = start.max(0);
            let to = (start + size_out as i64).min(self.total as i64);
            if from < to {
                let part = &output[(from - start) as usize..(to - start) as usize];
                self.cutter.push(from, part, sink);
            }
        }
        Ok(())
    }
}

/// The blocks that the windows need, neighbouring ones joined.
fn spans(resampler: &Resampler, request: WindowRequest<'_>, total: u64) -> Vec<BlockSpan> {
    let size = resampler.block_out() as u64;
    let delay = resampler.delay() as u64;
    let mut spans: Vec<BlockSpan> = Vec::new();
    for &start in request.starts {
        let from = start.clamp(0, total as i64) as u64;
        let to = start
            .saturating_add(request.length as i64)
            .clamp(0, total as i64) as u64;
        // Entirely before or after the track: zeros, without decoding.
        if from >= to {
            continue;
        }
        let span = BlockSpan {
            first: (from + delay) / size,
            end: (to - 1 + delay) / size + 1,
        };
        match spans.last_mut() {
            // The blocks between would be fed as warm-up anyway.
            Some(last) if span.first <= last.end + resampler.warm_up() => {
                last.end = last.end.max(span.end);
            }
            _ => spans.push(span),
        }
    }
    spans
}

/// Cuts windows out of consecutive samples.
struct Cutter<'a> {
    request: WindowRequest<'a>,
    total: u64,
    /// The next window.
    next: usize,
    /// Samples from `start` on that a later window needs.
    buffer: Vec<f32>,
    start: i64,
    window: Vec<f32>,
    loud: u64,
}

impl<'a> Cutter<'a> {
    fn new(request: WindowRequest<'a>, total: u64) -> Self {
        let window = vec![0.0; request.length];
        Self {
            request,
            total,
            next: 0,
            buffer: Vec::new(),
            start: 0,
            window,
            loud: 0,
        }
    }

    /// Adds the samples from position `from` on.
    fn push(&mut self, from: i64, samples: &[f32], sink: Sink<'_>) {
        // Another span begins. No window lies in two spans, so the buffer is not needed.
        if self.start + self.buffer.len() as i64 != from {
            self.buffer.clear();
            self.start = from;
        }
        self.buffer.extend_from_slice(samples);
        let end = self.start + self.buffer.len() as i64;
        while let Some(&start) = self.request.starts.get(self.next) {
            // A window past the end is complete with the last sample and padded with zeros.
            let needed = start
                .saturating_add(self.request.length as i64)
                .min(self.total as i64);
            if needed > end {
                break;
            }
            self.cut(start, sink);
        }
        let keep = self
            .request
            .starts
            .get(self.next)
            .map_or(end, |&start| start.clamp(self.start, end));
        self.buffer.drain(..(keep - self.start) as usize);
        self.start = keep;
    }

    /// Passes on the remaining windows, for which there are no samples.
    fn finish(&mut self, sink: Sink<'_>) {
        while let Some(&start) = self.request.starts.get(self.next) {
            self.cut(start, sink);
        }
    }

    fn cut(&mut self, start: i64, sink: Sink<'_>) {
        let end = start.saturating_add(self.request.length as i64);
        let from = start.max(self.start);
        let to = end.min(self.start + self.buffer.len() as i64);
        let window = &mut self.window;
        window.fill(0.0);
        // Only sound is filtered: a step to the zeros around it would ring.
        let mut sound = &mut window[..0];
        if from < to {
            let part = &self.buffer[(from - self.start) as usize..(to - self.start) as usize];
            sound = &mut window[(from - start) as usize..(to - start) as usize];
            sound.copy_from_slice(part);
        }
        let loud = sound.iter().filter(|sample| sample.abs() > LOUD);
        self.loud += loud.count() as u64;
        if let Some(rest) = inaudible::removed(sound, self.request.rate) {
            sound.copy_from_slice(&rest);
            // An offset is a step at the track's end, and the resampler has already spread it over 2 ms.
            if end >= self.total as i64 {
                let spread = self.request.rate as usize / 500;
                sound[rest.len().saturating_sub(spread)..].fill(0.0);
            }
        }
        sink(self.next, window);
        self.next += 1;
    }
}
