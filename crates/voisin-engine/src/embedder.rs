//! One file in, its vectors out: probe, decode, mel spectrogram, encoder, pooling.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ndarray::Array2;

use super::EngineError;
use super::descriptors::{self, DescriptorDepth};
use voisin_audio::{self, AudioInfo, DecodeReport, Downsampler};
use voisin_encoder::{Embedding, Encoder, Parts};
use voisin_features::{MelConfig, MelFrontEnd, Scratch, windows};
use voisin_learn::genre::{add_window, is_steady};
use voisin_library::Descriptors;

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

/// A model with its front ends, ready to listen to files from any number of threads.
///
/// Networks of one model hear the same sound: it is decoded once, at the highest of their rates, and a network whose window
/// is shorter than the longest hears the middle of that.
pub struct Embedder {
    encoder: Encoder,
    ears: Vec<Ear>,
    parts: Parts,
    rate: u32,
    /// Samples of the longest window.
    length: usize,
    /// Samples read on either side of it: what resampling needs.
    margin: usize,
}

/// What is listened to.
#[derive(Clone, Copy)]
enum Sound<'a> {
    File(&'a Path),
    /// Mono, in memory.
    Samples(&'a [f32]),
}

impl<'a> Sound<'a> {
    /// Its name, for messages.
    fn path(self) -> &'a Path {
        match self {
            Self::File(path) => path,
            Self::Samples(_) => Path::new("the samples"),
        }
    }
}

/// What a network hears of the samples that are read for a window.
struct Ear {
    front_end: MelFrontEnd,
    /// First of the samples that it needs.
    from: usize,
}

impl Embedder {
    /// Joins a model with the front ends that its manifest names.
    ///
    /// # Errors
    /// The rates of its networks are no multiples of each other.
    pub fn new(encoder: Encoder) -> Result<Self, EngineError> {
        let rate = encoder.front_ends().map(MelConfig::sample_rate).max().unwrap_or(1);
        let mut found = Vec::new();
        for config in encoder.front_ends() {
            if !rate.is_multiple_of(config.sample_rate()) {
                let reason = format!(
                    "its networks hear {rate} and {} Hz, expected rates that are multiples",
                    config.sample_rate()
                );
                return Err(EngineError::Model { reason });
            }
            let factor = (rate / config.sample_rate()) as usize;
            let reach = match factor {
                1 => 0,
                _ => Downsampler::new(rate, config.sample_rate())?.reach(),
            };
            found.push((config, factor * config.window_samples(), reach));
        }
        let length = found.iter().map(|(_, own, _)| *own).max().unwrap_or(0);
        let beyond = |(_, own, reach): &(_, usize, usize)| reach.saturating_sub((length - own) / 2);
        let margin = found.iter().map(beyond).max().unwrap_or(0);
        let mut ears = Vec::new();
        for (config, own, reach) in found {
            let from = margin + (length - own) / 2 - reach;
            ears.push(Ear { front_end: MelFrontEnd::new(config.clone())?, from });
        }
        let parts = Parts::of(encoder.manifest());
        Ok(Self { encoder, ears, parts, rate, length, margin })
    }

    /// Length of the model's window, in seconds.
    pub fn window_seconds(&self) -> f32 {
        self.length as f32 / self.rate as f32
    }

    /// The rate that it listens at, Hz.
    pub fn sample_rate(&self) -> u32 {
        self.rate
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
    /// - `info`: what [`voisin_audio::probe`] said of the file
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
        self.embed_sound(Sound::File(path), info, plan, depth, stop)
    }

    /// As [`embed`](Self::embed), of mono samples in memory, full scale ±1.
    ///
    /// - `sample_rate`: Hz
    pub fn embed_samples(
        &self,
        samples: &[f32],
        sample_rate: u32,
        plan: WindowPlan,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        let info = AudioInfo::of_samples(samples.len(), sample_rate);
        self.embed_sound(Sound::Samples(samples), &info, plan, DescriptorDepth::None, stop)
    }

    fn embed_sound(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        let _span = tracing::info_span!("embed").entered();
        let mut rows: Vec<f32> = Vec::new();
        let (starts, report, descriptors) = self.each_batch(sound, info, plan, depth, stop, |mels, n| {
            rows.extend(self.encoder.encode_each(mels, n)?.iter());
            Ok(())
        })?;
        let windows = Array2::from_shape_vec((starts.len(), self.encoder.manifest().dimension), rows)
            .map_err(|_| EngineError::Shape)?;
        let vector = self.parts.pool(windows.view())?;
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
        let starts = plan.starts(voisin_audio::resampled_len(info, self.rate), self.length, self.rate);
        Ok(self.read_windows(Sound::File(path), info, &starts, depth, &mut |_, _| {})?.1)
    }

    /// Mean tag logits of a file, in the order of the model's tags, and whether its sound never changes; near-silent windows
    /// do not count.
    ///
    /// # Errors
    /// As [`embed`](Self::embed), and for a model without tags.
    pub fn tag_logits(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
    ) -> Result<(Vec<f32>, bool), EngineError> {
        let mut sums = vec![0.0f64; self.encoder.tags()];
        let mut directions = Vec::new();
        let (starts, ..) =
            self.each_batch(Sound::File(path), info, plan, DescriptorDepth::None, None, |mels, n| {
                let heard = self.encoder.encode_each_with_tags(mels, n)?;
                heard
                    .embeddings
                    .rows()
                    .into_iter()
                    .for_each(|row| add_window(&mut directions, row.iter().copied()));
                for row in heard.logits.rows() {
                    for (sum, &x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(x);
                    }
                }
                Ok(())
            })?;
        let logits = sums.iter().map(|sum| (sum / starts.len() as f64) as f32).collect();
        Ok((logits, is_steady(&directions, starts.len())))
    }

    /// Reads windows with the margin that resampling needs.
    fn read_windows(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        starts: &[i64],
        depth: DescriptorDepth,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(DecodeReport, Option<Descriptors>), EngineError> {
        let starts: Vec<i64> = starts.iter().map(|start| start - self.margin as i64).collect();
        let length = self.length + 2 * self.margin;
        Ok(match sound {
            Sound::File(path) => {
                descriptors::read_windows(path, info, self.rate, &starts, length, depth, sink)?
            }
            Sound::Samples(samples) => {
                voisin_audio::windows_of_samples(samples, info, self.rate, &starts, length, sink)?;
                (DecodeReport { decoded_share: 1.0, ..DecodeReport::default() }, None)
            }
        })
    }

    /// Decodes the windows of a file, and hands their spectrograms to `encode` in batches: for each network `[n, cells]`,
    /// and `n`.
    ///
    /// - returns: where each window that was handed over starts, in seconds, and how decoding went, and what
    ///   was measured; at least one window
    fn each_batch(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
        stop: Option<&AtomicBool>,
        mut encode: impl FnMut(&[&[f32]], usize) -> Result<(), EngineError>,
    ) -> Result<(Vec<f32>, DecodeReport, Option<Descriptors>), EngineError> {
        let (rate, length) = (self.rate, self.length);
        let samples = voisin_audio::resampled_len(info, rate);
        let keeps_silence = matches!(plan, WindowPlan::Reference { .. });
        if samples < length as u64 && !keeps_silence && !self.encoder.pads() {
            return Err(EngineError::TooShort {
                path: sound.path().to_owned(),
                seconds: info.seconds(),
                least: length as f64 / f64::from(rate),
            });
        }
        let starts = plan.starts(samples, length, rate);

        let together = BATCH.max(self.encoder.preferred_batch());
        let mut batch = MelBatch::new(&self.ears, rate)?;
        let mut kept = Vec::with_capacity(starts.len());
        let mut fault = None;
        let mut flush = |batch: &mut MelBatch<'_>| -> Result<(), EngineError> {
            let _span = tracing::info_span!("encode").entered();
            let mels: Vec<&[f32]> = batch.mels.iter().map(Vec::as_slice).collect();
            encode(&mels, batch.windows)?;
            batch.clear();
            Ok(())
        };
        let mut listen = |i: usize, heard: &[f32]| {
            let stopped = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if stopped && fault.is_none() {
                fault = Some(EngineError::Interrupted);
            }
            let window = &heard[self.margin..self.margin + length];
            if fault.is_some() || (!keeps_silence && windows::is_near_silent(window)) {
                return;
            }
            let _span = tracing::info_span!("mel").entered();
            batch.push(heard);
            kept.push(starts[i] as f32 / rate as f32);
            if batch.windows == together {
                fault = flush(&mut batch).err();
            }
        };
        let (report, measured) = self.read_windows(sound, info, &starts, depth, &mut listen)?;
        if let Some(error) = fault {
            return Err(error);
        }
        if kept.is_empty() {
            return Err(EngineError::Silent { path: sound.path().to_owned() });
        }
        if batch.windows > 0 {
            flush(&mut batch)?;
        }
        Ok((kept, report, measured))
    }
}

/// Spectrograms that wait to be encoded together.
struct MelBatch<'a> {
    ears: &'a [Ear],
    scratch: Vec<Scratch>,
    /// For each ear that hears a lower rate, what makes it, and a window at that rate.
    low: Vec<Option<(Downsampler, Vec<f32>)>>,
    /// For each ear, the spectrograms of all windows.
    mels: Vec<Vec<f32>>,
    windows: usize,
}

impl<'a> MelBatch<'a> {
    /// - `rate`: of the samples that are read, Hz
    fn new(ears: &'a [Ear], rate: u32) -> Result<Self, EngineError> {
        let mut low = Vec::with_capacity(ears.len());
        for config in ears.iter().map(|ear| ear.front_end.config()) {
            low.push(if config.sample_rate() == rate {
                None
            } else {
                let downsampler = Downsampler::new(rate, config.sample_rate())?;
                Some((downsampler, vec![0.0; config.window_samples()]))
            });
        }
        let scratch = ears.iter().map(|ear| ear.front_end.scratch()).collect();
        Ok(Self { ears, scratch, low, mels: vec![Vec::new(); ears.len()], windows: 0 })
    }

    /// - `heard`: the samples that are read for a window
    fn push(&mut self, heard: &[f32]) {
        let buffers = self.scratch.iter_mut().zip(&mut self.low).zip(&mut self.mels);
        for (ear, ((scratch, low), mels)) in self.ears.iter().zip(buffers) {
            let config = ear.front_end.config();
            let window: &[f32] = match low {
                None => &heard[ear.from..ear.from + config.window_samples()],
                Some((downsampler, window)) => {
                    downsampler.run(&heard[ear.from..], window);
                    window
                }
            };
            let filled = mels.len();
            mels.resize(filled + config.cells(), 0.0);
            ear.front_end.compute_into(window, scratch, &mut mels[filled..]);
        }
        self.windows += 1;
    }

    fn clear(&mut self) {
        self.mels.iter_mut().for_each(Vec::clear);
        self.windows = 0;
    }
}
