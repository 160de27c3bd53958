//! The frames of a track at its own rate, with their loudness measured.
//!
//! Not for: the rate and the windows of a model (`windows`), or packets (`stream`).

use std::path::Path;

use super::loudness::LoudnessMeter;
use super::stream::{DecodeCounts, Stream};
use super::{AudioError, AudioInfo, Loudness};

/// The audible frames of a track at its own rate, front to back.
pub(super) struct Frames<'a> {
    info: &'a AudioInfo,
    stream: Stream,
    /// Decoded frames not read yet: this chunk, which starts at audible frame `start`.
    chunk: Vec<f32>,
    start: i64,
    ended: bool,
    /// Whether the whole track is decoded.
    whole: bool,
    meter: Option<LoudnessMeter>,
}

impl<'a> Frames<'a> {
    pub(super) fn open(
        path: &Path,
        info: &'a AudioInfo,
        sparse: bool,
        measured: bool,
    ) -> Result<Self, AudioError> {
        let mut stream = Stream::open(path, sparse, info.timeline.regular)?;
        // The probe found another rate here: the file was replaced since.
        if stream.demuxer().actual().rate != info.sample_rate {
            return Err(AudioError::Changed {
                path: path.to_owned(),
            });
        }
        let whole = !stream.is_sparse();
        let meter = measured.then(|| LoudnessMeter::new(info.sample_rate, whole, info.n_frames));
        if info.timeline.left_alone {
            stream.hear_left_alone();
        }
        Ok(Self {
            info,
            stream,
            chunk: Vec::new(),
            start: 0,
            ended: false,
            whole,
            meter,
        })
    }

    pub(super) fn counts(&self) -> DecodeCounts {
        self.stream.counts()
    }

    /// The meter's loudness. If nothing was skipped, the track is measured to its end.
    pub(super) fn loudness(&mut self) -> Result<Option<Loudness>, AudioError> {
        while self.whole
            && self.meter.is_some()
            && !self.ended
            && self.start < self.info.n_frames as i64
        {
            let next = self.start + self.chunk.len() as i64;
            self.advance(next.max(0) as u64)?;
        }
        Ok(self.meter.as_ref().and_then(LoudnessMeter::loudness))
    }

    /// Reads the next chunk and measures it.
    fn advance(&mut self, from: u64) -> Result<(), AudioError> {
        let skip = self.info.timeline.skip;
        let Some(chunk) = self.stream.next(from + skip)? else {
            self.ended = true;
            return Ok(());
        };
        self.start = chunk.start as i64 - skip as i64;
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk.samples);
        if let (Some(meter), Some(planes)) = (&mut self.meter, chunk.planes) {
            let first = self.start.max(0);
            let end = (self.start + self.chunk.len() as i64).min(self.info.n_frames as i64);
            if first < end {
                meter.push(
                    first as u64,
                    planes,
                    (first - self.start) as usize,
                    (end - self.start) as usize,
                );
            }
        }
        Ok(())
    }

    /// Fills `output` with the frames from `from` on; silence past the end. `from` must not
    /// decrease.
    pub(super) fn read(&mut self, from: u64, output: &mut [f32]) -> Result<(), AudioError> {
        output.fill(0.0);
        let end = (from + output.len() as u64).min(self.info.n_frames);
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
            self.advance(next)?;
        }
        Ok(())
    }
}
