//! One file in, its vectors out: probe, decode, mel spectrogram, encoder, pooling.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ndarray::Array2;

use super::EngineError;
use super::descriptors::{self, DescriptorDepth};
use crate::audio::{self, AudioInfo, DecodeReport};
use crate::encoder::{Embedding, Encoder, pool};
use crate::features::{MelFrontEnd, windows};
use crate::library::Descriptors;

/// Spectrograms that are encoded together at least; bounds the memory of a file with many windows.
const BATCH: usize = 64;

/// Which windows of a track are listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPlan {
    /// This many, spread evenly over the whole track.
    Spread(usize),
    /// One every second.
    All,
    /// One every second of a part of the track, in milliseconds from its start; at least one, in the part's middle
    /// where it is shorter than a window.
    Part {
        /// Where the part begins.
        from: u32,
        /// Where it ends.
        to: u32,
    },
    /// Windows every `hop` samples at the model's rate, as the openl3 tool places them; `center` puts the middle of
    /// the first one on the first sample.
    Reference {
        /// Samples from one start to the next.
        hop: usize,
        /// Half a window of zeros before the start.
        center: bool,
    },
}

impl WindowPlan {
    /// First samples of the windows of `length` samples in a track of `samples`, at `rate` Hz.
    pub(super) fn starts(self, samples: u64, length: usize, rate: u32) -> Vec<i64> {
        match self {
            Self::Spread(n) => windows::spread(samples, length, n, rate as usize),
            Self::All => windows::hop_1s(samples, length, rate),
            Self::Part { from, to } => {
                let sample = |ms: u32| u64::from(ms) * u64::from(rate) / 1000;
                windows::part(samples, length, rate, sample(from), sample(to))
            }
            Self::Reference { hop, center } => windows::reference(samples, length, hop, center),
        }
    }
}

/// What listening to a file gave.
#[derive(Debug, Clone)]
pub struct FileEmbedding {
    /// Mean of the windows, unit norm.
    pub vector: Embedding,
    /// `[windows, dimension]`, as the encoder gave them.
    pub windows: Array2<f32>,
    /// Start of each window, in seconds. Negative where centring put it before the first sample.
    pub starts: Vec<f32>,
    /// How decoding went.
    pub report: DecodeReport,
    /// What was measured besides, where that was asked for.
    pub descriptors: Option<Descriptors>,
}

impl FileEmbedding {
    /// The windows in half precision, as the library keeps them; values beyond its range are cut.
    pub fn half_windows(&self) -> Array2<f16> {
        let largest = f32::from(f16::MAX);
        self.windows.mapv(|value| f16::from_f32(value.clamp(-largest, largest)))
    }
}

/// A model with its front end, ready to listen to files from any number of threads.
pub struct Embedder {
    encoder: Encoder,
    front_end: MelFrontEnd,
}

impl Embedder {
    /// Joins a model with the front end that its manifest names.
    pub fn new(encoder: Encoder) -> Result<Self, EngineError> {
        let front_end = MelFrontEnd::new(encoder.manifest().front_end.clone())?;
        Ok(Self { encoder, front_end })
    }

    /// Length of the model's window, in seconds.
    pub fn window_seconds(&self) -> f32 {
        let config = self.front_end.config();
        config.window_samples() as f32 / config.sample_rate() as f32
    }

    /// The model.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Listens to a file.
    ///
    /// Near-silent windows do not count, except with [`WindowPlan::Reference`], which keeps every row in its place.
    /// Memory is bounded whatever the file's length, but for the resulting vectors.
    ///
    /// - `info`: what [`audio::probe`] said of the file
    /// - `stop`: when it becomes true, the file is given up with [`EngineError::Interrupted`]
    pub fn embed(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_measured(path, info, plan, DescriptorDepth::None, stop)
    }

    /// As [`embed`](Self::embed), and measures tempo, key and loudness from the same decoding.
    pub fn embed_measured(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        let _span = tracing::info_span!("embed").entered();
        let mut rows: Vec<f32> = Vec::new();
        let (starts, report, descriptors) = self.each_batch(path, info, plan, depth, stop, |mels, n| {
            rows.extend(self.encoder.encode(mels, n)?.iter());
            Ok(())
        })?;
        let windows = Array2::from_shape_vec((starts.len(), self.encoder.manifest().dimension), rows)
            .map_err(|_| EngineError::Shape)?;
        let vector = pool(windows.view())?;
        Ok(FileEmbedding { vector, windows, starts, report, descriptors })
    }

    /// Only measures tempo, key and loudness, just as [`embed_measured`](Self::embed_measured) does.
    pub(super) fn measure(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
    ) -> Result<Option<Descriptors>, EngineError> {
        let config = self.front_end.config();
        let (rate, length) = (config.sample_rate(), config.window_samples());
        let starts = plan.starts(audio::resampled_len(info, rate), length, rate);
        let (_, measured) =
            descriptors::read_windows(path, info, rate, &starts, length, depth, &mut |_, _| {})?;
        Ok(measured)
    }

    /// Mean tag logits of a file, in the order of the model's tags; near-silent windows do not count.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and for a model without tags.
    pub fn tag_logits(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
    ) -> Result<Vec<f32>, EngineError> {
        let mut sums = vec![0.0f64; self.encoder.tags()];
        let (starts, ..) = self.each_batch(path, info, plan, DescriptorDepth::None, None, |mels, n| {
            for row in self.encoder.encode_with_tags(mels, n)?.logits.rows() {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    *sum += f64::from(x);
                }
            }
            Ok(())
        })?;
        Ok(sums.iter().map(|sum| (sum / starts.len() as f64) as f32).collect())
    }

    /// Decodes the windows of a file, and hands their spectrograms to `encode` in batches: `[n, cells]`, and `n`.
    ///
    /// - returns: where each window that was handed over starts, in seconds, and how decoding went, and what
    ///   was measured; at least one window
    fn each_batch(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
        stop: Option<&AtomicBool>,
        mut encode: impl FnMut(&[f32], usize) -> Result<(), EngineError>,
    ) -> Result<(Vec<f32>, DecodeReport, Option<Descriptors>), EngineError> {
        let config = self.front_end.config();
        let rate = config.sample_rate();
        let length = config.window_samples();
        let samples = audio::resampled_len(info, rate);
        let keeps_silence = matches!(plan, WindowPlan::Reference { .. });
        if samples < length as u64 && !keeps_silence {
            return Err(EngineError::TooShort {
                path: path.to_owned(),
                seconds: info.seconds(),
                least: length as f64 / f64::from(rate),
            });
        }
        let starts = plan.starts(samples, length, rate);

        let cells = config.cells();
        let together = BATCH.max(self.encoder.preferred_batch());
        let mut scratch = self.front_end.scratch();
        let mut batch = Vec::with_capacity(cells * starts.len().min(together));
        let mut kept = Vec::with_capacity(starts.len());
        let mut fault = None;
        let mut flush = |batch: &mut Vec<f32>| -> Result<(), EngineError> {
            let _span = tracing::info_span!("encode").entered();
            encode(batch, batch.len() / cells)?;
            batch.clear();
            Ok(())
        };
        let mut listen = |i: usize, window: &[f32]| {
            let stopped = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if stopped && fault.is_none() {
                fault = Some(EngineError::Interrupted);
            }
            if fault.is_some() || (!keeps_silence && windows::is_near_silent(window)) {
                return;
            }
            let filled = batch.len();
            batch.resize(filled + cells, 0.0);
            let _span = tracing::info_span!("mel").entered();
            self.front_end.compute_into(window, &mut scratch, &mut batch[filled..]);
            kept.push(starts[i] as f32 / rate as f32);
            if batch.len() == together * cells {
                fault = flush(&mut batch).err();
            }
        };
        let (report, measured) =
            descriptors::read_windows(path, info, rate, &starts, length, depth, &mut listen)?;
        if let Some(error) = fault {
            return Err(error);
        }
        if kept.is_empty() {
            return Err(EngineError::Silent { path: path.to_owned() });
        }
        if !batch.is_empty() {
            flush(&mut batch)?;
        }
        Ok((kept, report, measured))
    }
}
