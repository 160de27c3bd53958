//! The frames of a track at its own rate, across the links of a chained file, with their loudness
//! measured.
//!
//! Not for: the rate and the windows of a model (`windows`), or packets (`stream`).

use std::ops::Range;
use std::path::Path;

use super::loudness::LoudnessMeter;
use super::resample::{Resampler, resampled};
use super::stream::{DecodeCounts, Stream};
use super::{AudioError, AudioInfo, Link, Loudness};

/// A track that begins later in its file is a part of it: no encoder has such a delay.
const LATE_SECONDS: u64 = 2;

/// The audible frames of a track at its own rate, front to back, across links.
pub(super) struct Frames<'a> {
    path: &'a Path,
    info: &'a AudioInfo,
    sparse: bool,
    /// Whether loudness is measured.
    measured: bool,
    /// Number of the present link, and the frame of the file at which it begins.
    link: usize,
    begins: u64,
    reader: Option<LinkFrames<'a>>,
    /// Counts of the links read before.
    counts: DecodeCounts,
    /// Whether the whole track is decoded.
    whole: bool,
    meter: Option<LoudnessMeter>,
}

impl<'a> Frames<'a> {
    pub(super) fn open(
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
        // Only for a single link is it known before that nothing is skipped.
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

    /// Advances to the link that holds a frame of the file; returns the frame at which the link ends.
    fn reach(&mut self, frame: u64) -> Result<Option<u64>, AudioError> {
        let info = self.info;
        while let Some(link) = info.timeline.links.get(self.link) {
            let end = self.begins.saturating_add(link.frames_at(info.sample_rate));
            if frame < end {
                if self.reader.is_none() {
                    let from = frame - self.begins;
                    // Samples before a part of a long file are skipped if possible.
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
            // Before the reader is replaced, as the sum includes it.
            self.counts = self.counts();
            self.reader = None;
            self.link += 1;
            self.begins = end;
        }
        Ok(None)
    }

    pub(super) fn counts(&self) -> DecodeCounts {
        self.reader
            .as_ref()
            .map_or(self.counts, |reader| self.counts + reader.stream.counts())
    }

    /// The meter's loudness. If nothing was skipped, the track is measured to its end.
    pub(super) fn loudness(&mut self) -> Result<Option<Loudness>, AudioError> {
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

    /// Fills `output` with the frames from `from` on; silence past the end. `from` must not
    /// decrease.
    pub(super) fn read(&mut self, from: u64, output: &mut [f32]) -> Result<(), AudioError> {
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
    /// The link's frames that are of the track, and the frame of the file at which it begins: for the meter.
    measured: Range<u64>,
    begins: u64,
    /// Decoded frames not read yet: from `at` of this chunk, which starts at audible frame `start`.
    chunk: Vec<f32>,
    start: i64,
    ended: bool,
    /// To the rate of the file, if that differs.
    conversion: Option<Conversion>,
}

/// A resampler and its last block.
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

    /// Reads the next chunk and measures it; `false` at the end of the link.
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
                // At the link's own rate, even if that is not the file's: the meter only needs to
                // see that a stretch continues the last one.
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

    /// Measures the rest of the link.
    fn finish(&mut self, meter: &mut LoudnessMeter) -> Result<(), AudioError> {
        while !self.ended && self.start < self.measured.end as i64 {
            let next = self.start + self.chunk.len() as i64;
            self.advance(next.max(0) as u64, Some(meter))?;
        }
        Ok(())
    }

    /// Fills `output`, which is silent, with the frames from `from` on at the file's rate. `from` must not
    /// decrease.
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

    /// Computes a block at the file's rate. Blocks have fixed positions, so that each is the same whichever was
    /// computed before.
    fn convert(
        &mut self,
        conversion: &mut Conversion,
        block: u64,
        mut meter: Option<&mut LoudnessMeter>,
    ) -> Result<(), AudioError> {
        if conversion.made == Some(block) {
            return Ok(());
        }
        // Right after the last block, the resampler still has the overlap that it needs.
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
                // A chunk that begins later has silence before it.
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
