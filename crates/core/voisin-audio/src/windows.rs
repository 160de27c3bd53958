//! Windows of a track at a model's rate: which blocks they need, and how to get at them.

use std::ops::Range;
use std::path::Path;

use super::loudness::LoudnessMeter;
use super::resample::{Resampler, resampled};
use super::stream::{DecodeCounts, Stream};
use super::{AudioError, AudioInfo, DecodePath, DecodeReport, Link, Loudness};

/// Above this share of the track, reading everything is as quick as leaving parts out.
const SPARSE_BELOW: f64 = 0.9;
/// A track that begins so far into its file is a part of it: no encoder delays so long.
const LATE_SECONDS: u64 = 2;

/// Windows to be cut from a track.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowRequest<'a> {
    pub rate: u32,
    pub starts: &'a [i64],
    pub length: usize,
    pub how: DecodePath,
    /// Whether the loudness is wanted.
    pub measured: bool,
}

pub(super) type Sink<'a> = &'a mut dyn FnMut(usize, &[f32]);
type Read<'a> = &'a mut dyn FnMut(u64, &mut [f32]) -> Result<(), AudioError>;

/// Windows of samples that are in memory, as of a file that holds them.
pub(super) fn of_samples(
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

pub(super) fn read(
    path: &Path,
    info: &AudioInfo,
    request: WindowRequest<'_>,
    sink: Sink<'_>,
) -> Result<DecodeReport, AudioError> {
    let mut report = DecodeReport::default();
    let mut lost = 0;
    let mut good = 0;
    let mut first = 0;
    // Ascending runs, each in one pass; callers give one.
    for run in request.starts.chunk_by(|a, b| a <= b) {
        let request = WindowRequest {
            starts: run,
            ..request
        };
        let mut numbered = |i: usize, window: &[f32]| sink(first + i, window);
        let part = FilePass::new(info, request)?.run(path, &mut numbered)?;
        first += run.len();
        report.packets += part.counts.packets;
        report.damaged_packets += part.counts.damaged;
        report.peak = report.peak.max(part.peak);
        report.path = part.how;
        report.loudness = part.loudness;
        good += part.counts.good_frames;
        lost += part.counts.lost_frames;
    }
    // All windows lie outside the track: nothing was asked of the decoder, so nothing failed.
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

/// Files of which less than this share could be decoded are refused.
const LEAST_DECODED: f64 = 0.5;

/// Blocks `first..end` of the resampler, in one go.
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
    /// Samples of the track at the rate asked for.
    total: u64,
    spans: Vec<BlockSpan>,
    how: DecodePath,
    cutter: Cutter<'a>,
}

struct Passed {
    counts: DecodeCounts,
    peak: f32,
    how: DecodePath,
    loudness: Option<Loudness>,
}

impl<'a> FilePass<'a> {
    fn new(info: &'a AudioInfo, request: WindowRequest<'a>) -> Result<Self, AudioError> {
        let resampler = Resampler::new(info.sample_rate, request.rate)?;
        let total = resampled(info.n_frames, info.sample_rate, request.rate);
        let mut spans = spans(&resampler, request, total);
        // Each span costs the blocks that warm up the resampler, too.
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
        // From the first block on in one go: what lies between the windows is resampled and thrown
        // away.
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

    fn run(mut self, path: &Path, sink: Sink<'_>) -> Result<Passed, AudioError> {
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
        Ok(Passed {
            counts,
            peak: self.cutter.peak,
            how: self.how,
            loudness,
        })
    }

    /// - `read`: fills a block with the frames from this one on
    fn span(&mut self, span: BlockSpan, read: Read<'_>, sink: Sink<'_>) -> Result<(), AudioError> {
        let size_in = self.resampler.block_in() as u64;
        let size_out = self.resampler.block_out() as u64;
        let delay = self.resampler.delay() as i64;
        let mut input = vec![0.0; size_in as usize];
        self.resampler.reset();
        for block in span.first.saturating_sub(self.resampler.warm_up())..span.end {
            read(block * size_in, &mut input)?;
            let output = self.resampler.block(&input);
            // Warm-up: the resampler needs its overlap, and its samples are not yet right.
            if block < span.first {
                continue;
            }
            // The output lags by half a block; positions are those of the sound, so the first ones
            // are negative.
            let start = (block * size_out) as i64 - delay;
            let from = start.max(0);
            let to = (start + size_out as i64).min(self.total as i64);
            if from < to {
                self.cutter.push(
                    from,
                    &output[(from - start) as usize..(to - start) as usize],
                    sink,
                );
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
        // Wholly before the track or behind it: zeros, for which nothing is decoded.
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

/// The audible frames of a track at its own rate, front to back, whatever its file is a chain of.
struct Frames<'a> {
    path: &'a Path,
    info: &'a AudioInfo,
    sparse: bool,
    /// Whether the loudness is wanted.
    measured: bool,
    /// Number of the link that is read, and the frame of the file at which it begins.
    link: usize,
    begins: u64,
    reader: Option<LinkFrames<'a>>,
    /// Of the links that are behind.
    counts: DecodeCounts,
    /// Whether nothing of the track is left out.
    whole: bool,
    meter: Option<LoudnessMeter>,
}

impl<'a> Frames<'a> {
    fn open(
        path: &'a Path,
        info: &'a AudioInfo,
        sparse: bool,
        measured: bool,
    ) -> Result<Self, AudioError> {
        let mut frames = Self {
            path,
            info,
            sparse,
            measured,
            link: 0,
            begins: 0,
            reader: None,
            counts: DecodeCounts::default(),
            whole: !sparse,
            meter: None,
        };
        // Only a single link can tell beforehand that its stream leaves nothing out.
        if info.timeline.links.len() == 1 {
            frames.reach(info.timeline.start)?;
            frames.whole |= frames
                .reader
                .as_ref()
                .is_some_and(|reader| !reader.stream.is_sparse());
        }
        if measured {
            frames.meter = Some(LoudnessMeter::new(
                info.sample_rate,
                frames.whole,
                info.n_frames,
            ));
        }
        Ok(frames)
    }

    /// Goes to the link that holds a frame of the file, which is never one before the last; the frame at which the link ends.
    fn reach(&mut self, frame: u64) -> Result<Option<u64>, AudioError> {
        let info = self.info;
        while let Some(link) = info.timeline.links.get(self.link) {
            let end = self.begins.saturating_add(link.frames_at(info.sample_rate));
            if frame < end {
                if self.reader.is_none() {
                    let from = frame - self.begins;
                    // Samples before a part of a long file are skipped wherever they can be.
                    let starts_late = from > LATE_SECONDS * u64::from(info.sample_rate);
                    let sparse = self.sparse || starts_late;
                    let mut stream = Stream::open(self.path, &link.bytes, sparse, link.regular)?;
                    // The probe found another rate here: the file was replaced since.
                    if stream.demuxer().actual().rate != link.sample_rate {
                        return Err(AudioError::Changed {
                            path: self.path.to_owned(),
                        });
                    }
                    if self.measured {
                        stream.keep_channels();
                    }
                    if link.left_out != 0 {
                        stream.leave_out(link.left_out);
                    }
                    self.reader = Some(LinkFrames::new(stream, info, link, self.begins)?);
                }
                return Ok(Some(end));
            }
            // In this order: the sum includes the reader that goes now.
            self.counts = self.counts();
            self.reader = None;
            self.link += 1;
            self.begins = end;
        }
        Ok(None)
    }

    fn counts(&self) -> DecodeCounts {
        self.reader
            .as_ref()
            .map_or(self.counts, |reader| self.counts + reader.stream.counts())
    }

    /// The meter's loudness. A track of which nothing was left out is heard to its end.
    fn loudness(&mut self) -> Result<Option<Loudness>, AudioError> {
        let start = self.info.timeline.start;
        let mut next = self.begins.max(start);
        while self.whole
            && next < start + self.info.n_frames
            && self.meter.is_some()
            && let Some(end) = self.reach(next)?
        {
            if let (Some(reader), Some(meter)) = (&mut self.reader, &mut self.meter) {
                reader.finish(meter)?;
            }
            next = end;
        }
        Ok(self.meter.as_ref().and_then(LoudnessMeter::loudness))
    }

    /// Fills `output` with the frames from `from` on; silence past the end. `from` never goes down.
    fn read(&mut self, from: u64, output: &mut [f32]) -> Result<(), AudioError> {
        output.fill(0.0);
        let wanted = (output.len() as u64).min(self.info.n_frames.saturating_sub(from)) as usize;
        let mut rest = &mut output[..wanted];
        let mut next = self.info.timeline.start + from;
        while !rest.is_empty()
            && let Some(end) = self.reach(next)?
            && let Some(reader) = &mut self.reader
        {
            let (part, after) = rest.split_at_mut(rest.len().min((end - next) as usize));
            reader.read(next - self.begins, part, self.meter.as_mut())?;
            next += part.len() as u64;
            rest = after;
        }
        Ok(())
    }
}

/// The audible frames of one link, front to back.
struct LinkFrames<'a> {
    stream: Stream,
    link: &'a Link,
    /// Those of its frames that are of the track, and the frame of the file at which it begins: for the meter.
    measured: Range<u64>,
    begins: u64,
    /// Decoded frames not yet handed out: from `at` of this chunk, which starts at audible frame `start`.
    chunk: Vec<f32>,
    start: i64,
    ended: bool,
    /// To the rate of the file, where that is another.
    conversion: Option<Conversion>,
}

/// The block of a resampler that was made last.
struct Conversion {
    resampler: Resampler,
    input: Vec<f32>,
    output: Vec<f32>,
    made: Option<u64>,
}

impl<'a> LinkFrames<'a> {
    /// - `begins`: frame of the file at which the link begins
    fn new(
        stream: Stream,
        info: &AudioInfo,
        link: &'a Link,
        begins: u64,
    ) -> Result<Self, AudioError> {
        let native = |frame: u64| {
            resampled(
                frame.saturating_sub(begins),
                info.sample_rate,
                link.sample_rate,
            )
            .min(link.n_frames)
        };
        let measured = native(info.timeline.start)..native(info.timeline.start + info.n_frames);
        let conversion = if link.sample_rate == info.sample_rate {
            None
        } else {
            let resampler = Resampler::new(link.sample_rate, info.sample_rate)?;
            let input = vec![0.0; resampler.block_in()];
            Some(Conversion {
                resampler,
                input,
                output: Vec::new(),
                made: None,
            })
        };
        let chunk = Vec::new();
        Ok(Self {
            stream,
            link,
            measured,
            begins,
            chunk,
            start: 0,
            ended: false,
            conversion,
        })
    }

    /// The next chunk, heard by the meter; `false` at the end of the link.
    fn advance(
        &mut self,
        from: u64,
        meter: Option<&mut LoudnessMeter>,
    ) -> Result<bool, AudioError> {
        let skip = self.link.skip;
        let Some(chunk) = self.stream.next(from + skip)? else {
            self.ended = true;
            return Ok(false);
        };
        self.start = chunk.start as i64 - skip as i64;
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk.samples);
        if let (Some(meter), Some(planes)) = (meter, chunk.planes) {
            let first = self.start.max(self.measured.start as i64);
            let end = (self.start + self.chunk.len() as i64).min(self.measured.end as i64);
            if first < end {
                meter.set_rate(self.link.sample_rate);
                // At the link's own rate, even if that is not the file's: to the meter it matters
                // that a stretch goes on where the last one ended.
                let at = self.begins + first as u64;
                meter.push(
                    at,
                    planes,
                    (first - self.start) as usize,
                    (end - self.start) as usize,
                );
            }
        }
        Ok(true)
    }

    /// Shows the meter what is left.
    fn finish(&mut self, meter: &mut LoudnessMeter) -> Result<(), AudioError> {
        while !self.ended && self.start < self.measured.end as i64 {
            let next = self.start + self.chunk.len() as i64;
            self.advance(next.max(0) as u64, Some(meter))?;
        }
        Ok(())
    }

    /// Fills `output`, which is silent, with the frames from `from` on at the file's rate. `from` never goes down.
    fn read(
        &mut self,
        from: u64,
        output: &mut [f32],
        mut meter: Option<&mut LoudnessMeter>,
    ) -> Result<(), AudioError> {
        let Some(mut conversion) = self.conversion.take() else {
            return self.native(from, output, meter);
        };
        let size = conversion.resampler.block_out() as u64;
        let mut next = from + conversion.resampler.delay() as u64;
        let mut rest = output;
        while !rest.is_empty() {
            self.convert(&mut conversion, next / size, meter.as_deref_mut())?;
            let made = &conversion.output[(next % size) as usize..];
            let (part, after) = rest.split_at_mut(made.len().min(rest.len()));
            part.copy_from_slice(&made[..part.len()]);
            next += part.len() as u64;
            rest = after;
        }
        self.conversion = Some(conversion);
        Ok(())
    }

    /// Makes a block at the file's rate. Blocks lie at fixed places, so that each is the same whichever was made before.
    fn convert(
        &mut self,
        conversion: &mut Conversion,
        block: u64,
        mut meter: Option<&mut LoudnessMeter>,
    ) -> Result<(), AudioError> {
        if conversion.made == Some(block) {
            return Ok(());
        }
        // Right behind the last block, the resampler still has the overlap that it needs.
        let first = if conversion.made.is_some_and(|made| made + 1 == block) {
            block
        } else {
            conversion.resampler.reset();
            block.saturating_sub(conversion.resampler.warm_up())
        };
        for block in first..=block {
            let input = &mut conversion.input;
            input.fill(0.0);
            self.native(block * input.len() as u64, input, meter.as_deref_mut())?;
            conversion.output.clear();
            conversion
                .output
                .extend_from_slice(conversion.resampler.block(input));
        }
        conversion.made = Some(block);
        Ok(())
    }

    /// Fills `output`, which is silent, with the frames from `from` on at the link's own rate.
    fn native(
        &mut self,
        from: u64,
        output: &mut [f32],
        mut meter: Option<&mut LoudnessMeter>,
    ) -> Result<(), AudioError> {
        let end = (from + output.len() as u64).min(self.link.n_frames);
        let mut next = from;
        while next < end {
            let chunk_end = self.start + self.chunk.len() as i64;
            if (next as i64) < chunk_end {
                // A chunk that begins later leaves silence before it.
                let begin = (next as i64).max(self.start) as u64;
                let stop = end.min(chunk_end as u64);
                if begin < stop {
                    let taken = &self.chunk
                        [(begin as i64 - self.start) as usize..(stop as i64 - self.start) as usize];
                    output[(begin - from) as usize..(stop - from) as usize].copy_from_slice(taken);
                }
                next = stop;
                continue;
            }
            if self.ended {
                break;
            }
            self.advance(next, meter.as_deref_mut())?;
        }
        Ok(())
    }
}

/// Cuts windows out of samples that come in order.
struct Cutter<'a> {
    request: WindowRequest<'a>,
    total: u64,
    /// The window to be handed out next.
    next: usize,
    /// Samples from `start` on that some window still needs.
    buffer: Vec<f32>,
    start: i64,
    window: Vec<f32>,
    peak: f32,
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
            peak: 0.0,
        }
    }

    /// Takes the samples from position `from` on.
    fn push(&mut self, from: i64, samples: &[f32], sink: Sink<'_>) {
        // Another span begins. No window lies in two, so nothing of the last one is needed.
        if self.start + self.buffer.len() as i64 != from {
            self.buffer.clear();
            self.start = from;
        }
        self.buffer.extend_from_slice(samples);
        let end = self.start + self.buffer.len() as i64;
        while let Some(&start) = self.request.starts.get(self.next) {
            // A window that runs past the end is complete with the last sample; zeros fill the
            // rest.
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

    /// Hands out the windows that are left: they lie where there are no samples.
    fn finish(&mut self, sink: Sink<'_>) {
        while let Some(&start) = self.request.starts.get(self.next) {
            self.cut(start, sink);
        }
    }

    fn cut(&mut self, start: i64, sink: Sink<'_>) {
        let end = start.saturating_add(self.request.length as i64);
        let from = start.max(self.start);
        let to = end.min(self.start + self.buffer.len() as i64);
        let present = (from < to)
            .then(|| &self.buffer[(from - self.start) as usize..(to - self.start) as usize]);
        let window = match present {
            // The usual case is handed out without a copy.
            Some(whole) if from == start && to == end => whole,
            part => {
                self.window.fill(0.0);
                if let Some(part) = part {
                    self.window[(from - start) as usize..(to - start) as usize]
                        .copy_from_slice(part);
                }
                &self.window
            }
        };
        self.peak = window
            .iter()
            .fold(self.peak, |peak, sample| peak.max(sample.abs()));
        sink(self.next, window);
        self.next += 1;
    }
}
