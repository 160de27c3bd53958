//! One file in, its vectors out: probe, decode, mel spectrogram, encoder, pooling.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use half::f16;
use ndarray::Array2;

use super::EngineError;
use super::descriptors::{self, DescriptorDepth};
use voisin_audio::{self, AudioInfo, DecodeReport, WindowResampler};
use voisin_encoder::{Embedding, Encoder, Parts};
use voisin_features::{MelConfig, MelFrontEnd, Scratch, SpectralChange, windows};
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

impl Default for WindowPlan {
    /// The knee of the curve in BENCHMARKS.md.
    fn default() -> Self {
        Self::Spread(24)
    }
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

/// The vectors and measurements of a file.
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
    /// Descriptors, where they were asked for.
    pub descriptors: Option<Descriptors>,
    /// Whether its sound hardly changes, where that was asked for ([`Embedder::embed_seed`]).
    pub is_steady: Option<bool>,
}

impl FileEmbedding {
    /// The windows in half precision, as the library keeps them; values beyond its range are cut.
    pub fn half_windows(&self) -> Array2<f16> {
        // An infinity in one window would spread to every mean and product that it enters.
        let largest = f32::from(f16::MAX);
        self.windows
            .mapv(|value| f16::from_f32(value.clamp(-largest, largest)))
    }
}

/// A model with its front ends, ready to listen to files from any number of threads.
///
/// Networks of one model hear the same sound: it is decoded once, and a network whose window is shorter than the longest hears
/// the middle of that. Networks of one rate hear windows that are read at that rate; for others windows are read as the file
/// has them, and each network's is brought to its rate. One that hears one window of several ([`Encoder::every`]) hears the
/// first of those that count, and what it says stands for the others.
pub struct Embedder {
    encoder: Encoder,
    ears: Vec<Ear>,
    parts: Parts,
    /// The highest of the networks' rates, Hz.
    rate: u32,
    /// Whether all have it.
    is_one_rate: bool,
}

/// A network's front end and its share of the windows.
struct Ear {
    front_end: MelFrontEnd,
    /// It hears the first of so many windows.
    every: usize,
}

/// How windows are read for all networks.
struct Reading {
    /// Hz.
    rate: u32,
    /// Samples of the longest window.
    length: usize,
    /// Samples read on either side of it: what resampling needs.
    margin: usize,
    /// For each network, the first of the samples that it needs, and what brings a window to its rate.
    ears: Vec<(usize, Option<WindowResampler>)>,
}

/// Measurements beside the vectors.
struct Besides<'a> {
    depth: DescriptorDepth,
    /// Where to put what tells whether the sound changes, if that is wanted.
    change: Option<&'a mut Option<SpectralChange>>,
}

/// The source of the samples.
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

impl Embedder {
    /// Joins a model with the front ends that its manifest names.
    ///
    /// # Errors
    /// A front end that cannot be made.
    pub fn new(encoder: Encoder) -> Result<Self, EngineError> {
        let rates = || encoder.front_ends().map(MelConfig::sample_rate);
        let rate = rates().max().unwrap_or(1);
        let is_one_rate = rates().all(|other| other == rate);
        let mut ears = Vec::new();
        for (config, every) in encoder.front_ends().zip(encoder.every()) {
            ears.push(Ear {
                front_end: MelFrontEnd::new(config.clone())?,
                every,
            });
        }
        let parts = Parts::of(encoder.manifest());
        Ok(Self {
            encoder,
            ears,
            parts,
            rate,
            is_one_rate,
        })
    }

    /// Length of the model's window, in seconds.
    pub fn window_seconds(&self) -> f32 {
        let seconds =
            |config: &MelConfig| config.window_samples() as f32 / config.sample_rate() as f32;
        self.encoder.front_ends().map(seconds).fold(0.0, f32::max)
    }

    /// The rate that it listens at, Hz; of several the highest.
    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    /// How windows of a file are read.
    fn reading(&self, info: &AudioInfo, plan: WindowPlan) -> Result<Reading, EngineError> {
        /// The least rate of samples, Hz: tempo and key are measured of them.
        const LEAST: u32 = 16_000;
        /// Longest stretch that resampling may need on either side of a window, as a share of a second. Rates without a
        /// common measure need whole seconds.
        const MOST: f64 = 0.25;
        // Hops are in samples of the model's rate, so that windows lie where the openl3 tool puts
        // them.
        let is_counted_in_samples = matches!(plan, WindowPlan::Reference { .. });
        if !self.is_one_rate
            && !is_counted_in_samples
            && (LEAST..=self.rate).contains(&info.sample_rate)
        {
            let reading = self.reading_at(info.sample_rate)?;
            if (reading.margin as f64) < MOST * f64::from(reading.rate) {
                return Ok(reading);
            }
        }
        // Otherwise one resampling to the highest rate, from which each network's window is
        // resampled again.
        self.reading_at(self.rate)
    }

    fn reading_at(&self, rate: u32) -> Result<Reading, EngineError> {
        let mut found = Vec::new();
        for config in self.encoder.front_ends() {
            let window_samples = config.window_samples() as u64;
            let to = config.sample_rate();
            let resampler = if to == rate {
                None
            } else {
                Some(WindowResampler::new(rate, to)?)
            };
            let reach = resampler.as_ref().map_or(0, WindowResampler::reach);
            found.push((
                // Rounded up: one sample too few would cut the window.
                (window_samples * u64::from(rate)).div_ceil(u64::from(to)) as usize,
                reach,
                resampler,
            ));
        }
        let length = found
            .iter()
            .map(|(window_samples, ..)| *window_samples)
            .max()
            .unwrap_or(0);
        let beyond = |(window_samples, reach, _): &(usize, usize, _)| {
            // A shorter window has room on either side within the longest one; only what its filter
            // needs beyond that is read in addition.
            reach.saturating_sub((length - window_samples) / 2)
        };
        let margin = found.iter().map(beyond).max().unwrap_or(0);
        let ear = |(window_samples, reach, resampler)| {
            // The middles of all windows fall together.
            (margin + (length - window_samples) / 2 - reach, resampler)
        };
        Ok(Reading {
            rate,
            length,
            margin,
            ears: found.into_iter().map(ear).collect(),
        })
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

    /// As [`embed`](Self::embed), and hears whether the sound changes.
    pub fn embed_seed(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(
            Sound::File(path),
            info,
            plan,
            DescriptorDepth::None,
            true,
            None,
        )
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
        self.embed_sound(Sound::File(path), info, plan, depth, false, stop)
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
        self.embed_sound(
            Sound::Samples(samples),
            &info,
            plan,
            DescriptorDepth::None,
            false,
            stop,
        )
    }

    fn embed_sound(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
        hears_change: bool,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        let _span = tracing::info_span!("embed").entered();
        let mut rows: Vec<f32> = Vec::new();
        let mut change = None;
        let besides = Besides {
            depth,
            change: hears_change.then_some(&mut change),
        };
        let (starts, report, descriptors) =
            self.each_batch(sound, info, plan, besides, stop, |mels, n| {
                rows.extend(self.encoder.encode_each(mels, n)?.iter());
                Ok(())
            })?;
        let windows =
            Array2::from_shape_vec((starts.len(), self.encoder.manifest().dimension), rows)
                .map_err(|_| EngineError::Shape)?;
        let vector = self.parts.pool(windows.view())?;
        let is_steady = change.as_ref().map(SpectralChange::is_steady);
        Ok(FileEmbedding {
            vector,
            windows,
            starts,
            report,
            descriptors,
            is_steady,
        })
    }

    /// Only measures tempo, key and loudness, just as [`embed_measured`](Self::embed_measured) does.
    pub(super) fn measure(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        depth: DescriptorDepth,
    ) -> Result<Option<Descriptors>, EngineError> {
        let reading = self.reading(info, plan)?;
        let samples = voisin_audio::resampled_len(info, reading.rate);
        let starts = plan.starts(samples, reading.length, reading.rate);
        Ok(reading
            .windows(Sound::File(path), info, &starts, depth, &mut |_, _| {})?
            .1)
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
        // Summed in double precision, since there may be thousands of windows.
        let mut sums = vec![0.0f64; self.encoder.tags()];
        let mut change = None;
        let besides = Besides {
            depth: DescriptorDepth::None,
            change: Some(&mut change),
        };
        let (starts, ..) =
            self.each_batch(Sound::File(path), info, plan, besides, None, |mels, n| {
                for row in self.encoder.encode_each_with_tags(mels, n)?.logits.rows() {
                    for (sum, &x) in sums.iter_mut().zip(row) {
                        *sum += f64::from(x);
                    }
                }
                Ok(())
            })?;
        let logits = sums
            .iter()
            .map(|sum| (sum / starts.len() as f64) as f32)
            .collect();
        Ok((logits, change.is_some_and(|change| change.is_steady())))
    }

    /// Decodes the windows of a file, and hands their spectrograms to `encode` in batches: for each network `[n, cells]`,
    /// fewer where it does not hear every window, and `n`.
    ///
    /// - returns: where each window that was handed over starts, in seconds, and how decoding went, and what
    ///   was measured; at least one window
    fn each_batch(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        besides: Besides<'_>,
        stop: Option<&AtomicBool>,
        mut encode: impl FnMut(&[&[f32]], usize) -> Result<(), EngineError>,
    ) -> Result<(Vec<f32>, DecodeReport, Option<Descriptors>), EngineError> {
        let mut reading = self.reading(info, plan)?;
        let rate = reading.rate;
        let length = reading.length;
        let margin = reading.margin;
        let samples = voisin_audio::resampled_len(info, rate);
        let keeps_silence = matches!(plan, WindowPlan::Reference { .. });
        // Fewer samples than a window: refused, unless the network pads or each row has to stay in
        // its place.
        if samples < length as u64 && !keeps_silence && !self.encoder.pads() {
            return Err(EngineError::TooShort {
                path: sound.path().to_owned(),
                seconds: info.seconds(),
                least: length as f64 / f64::from(rate),
            });
        }
        let starts = plan.starts(samples, length, rate);

        let mut change = besides
            .change
            .map(|at| at.insert(SpectralChange::new(rate)));
        // No window's answer depends on where a batch is cut.
        let group: usize = self
            .ears
            .iter()
            .fold(1, |group, ear| least_common_multiple(group, ear.every));
        let together = if matches!(plan, WindowPlan::Part { .. }) {
            // Each network hears the first window of a batch, and a passage's place asks for all of them.
            1
        } else {
            BATCH
                .max(self.encoder.preferred_batch())
                .next_multiple_of(group)
        };
        let mut batch = MelBatch::new(
            &self.ears,
            std::mem::take(&mut reading.ears),
            together.min(starts.len()),
        );
        let mut kept = Vec::with_capacity(starts.len());
        let mut fault = None;
        let mut flush = |batch: &mut MelBatch<'_>| -> Result<(), EngineError> {
            let _span = tracing::info_span!("encode").entered();
            let mels: Vec<&[f32]> = batch
                .buffers
                .iter()
                .map(|buffer| buffer.mels.as_slice())
                .collect();
            encode(&mels, batch.windows)?;
            batch.clear();
            Ok(())
        };
        // The decoder calls this and cannot be stopped by an error: the first one is kept, and the
        // rest of the windows are passed over.
        let mut listen = |i: usize, heard: &[f32]| {
            let stopped = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if stopped && fault.is_none() {
                fault = Some(EngineError::Interrupted);
            }
            // Silence is a property of the window itself: the margin belongs to its neighbours.
            let window = &heard[margin..margin + length];
            if fault.is_some() || (!keeps_silence && windows::is_near_silent(window)) {
                return;
            }
            if let Some(change) = &mut change {
                change.hear(window);
            }
            let _span = tracing::info_span!("mel").entered();
            batch.push(heard, (samples as i64 - starts[i]).max(0) as usize + margin);
            kept.push(starts[i] as f32 / rate as f32);
            if batch.windows == together {
                fault = flush(&mut batch).err();
            }
        };
        let (report, measured) =
            reading.windows(sound, info, &starts, besides.depth, &mut listen)?;
        // Only now, when the decoder has let go of the file.
        if let Some(error) = fault {
            return Err(error);
        }
        // No window sounded. A mean of none would be no vector.
        if kept.is_empty() {
            return Err(EngineError::Silent {
                path: sound.path().to_owned(),
            });
        }
        if batch.windows > 0 {
            flush(&mut batch)?;
        }
        Ok((kept, report, measured))
    }
}

impl Reading {
    /// Reads windows with the margin that resampling needs.
    fn windows(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        starts: &[i64],
        depth: DescriptorDepth,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(DecodeReport, Option<Descriptors>), EngineError> {
        let starts: Vec<i64> = starts
            .iter()
            .map(|start| start - self.margin as i64)
            .collect();
        let length = self.length + 2 * self.margin;
        Ok(match sound {
            Sound::File(path) => {
                descriptors::read_windows(path, info, self.rate, &starts, length, depth, sink)?
            }
            Sound::Samples(samples) => {
                voisin_audio::windows_of_samples(samples, info, self.rate, &starts, length, sink)?;
                (
                    DecodeReport {
                        decoded_share: 1.0,
                        ..DecodeReport::default()
                    },
                    None,
                )
            }
        })
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    // Both are small: how many windows share one answer of a network.
    (a..=a * b)
        .step_by(a)
        .find(|multiple| multiple.is_multiple_of(b))
        .unwrap_or(a * b)
}

/// Spectrograms that wait to be encoded together.
struct MelBatch<'a> {
    ears: &'a [Ear],
    buffers: Vec<EarBuffers>,
    windows: usize,
}

/// Of a network, while a file is heard.
struct EarBuffers {
    scratch: Scratch,
    /// Of the samples that are read for a window, the first that it needs.
    from: usize,
    resampler: Option<WindowResampler>,
    window: Vec<f32>,
    /// The spectrograms of all windows.
    mels: Vec<f32>,
}

impl<'a> MelBatch<'a> {
    /// - `resamplers`: as [`Reading::ears`] has them
    /// - `most`: windows, at most
    fn new(
        ears: &'a [Ear],
        resamplers: Vec<(usize, Option<WindowResampler>)>,
        most: usize,
    ) -> Self {
        let buffers = ears
            .iter()
            .zip(resamplers)
            .map(|(ear, (from, resampler))| EarBuffers {
                scratch: ear.front_end.scratch(),
                from,
                window: vec![
                    0.0;
                    if resampler.is_some() {
                        ear.front_end.config().window_samples()
                    } else {
                        0
                    }
                ],
                resampler,
                mels: Vec::with_capacity(most.div_ceil(ear.every) * ear.front_end.config().cells()),
            });
        Self {
            ears,
            buffers: buffers.collect(),
            windows: 0,
        }
    }

    /// - `heard`: the samples that are read for a window
    /// - `sounding`: how many of them come before the end of the track
    fn push(&mut self, heard: &[f32], sounding: usize) {
        for (ear, buffer) in self.ears.iter().zip(&mut self.buffers) {
            if !self.windows.is_multiple_of(ear.every) {
                continue;
            }
            let config = ear.front_end.config();
            let window: &[f32] = match &mut buffer.resampler {
                // A front end that repeats a short sound must not take the zeros behind it for sound.
                None if config.repeated => {
                    let end = sounding.clamp(buffer.from, buffer.from + config.window_samples());
                    &heard[buffer.from..end]
                }
                None => &heard[buffer.from..buffer.from + config.window_samples()],
                Some(resampler) => {
                    resampler.run(&heard[buffer.from..], &mut buffer.window);
                    &buffer.window
                }
            };
            let filled = buffer.mels.len();
            buffer.mels.resize(filled + config.cells(), 0.0);
            ear.front_end
                .compute_into(window, &mut buffer.scratch, &mut buffer.mels[filled..]);
        }
        self.windows += 1;
    }

    fn clear(&mut self) {
        self.buffers
            .iter_mut()
            .for_each(|buffer| buffer.mels.clear());
        self.windows = 0;
    }
}

#[cfg(test)]
mod tests {
    use voisin_encoder::{DeviceChoice, ModelRef};

    use super::*;

    /// A tone of which no two windows are alike.
    fn sliding_tone(seconds: u32, rate: u32) -> Vec<f32> {
        (0..seconds * rate)
            .map(|i| {
                let t = i as f32 / rate as f32;
                0.3 * (std::f32::consts::TAU * (200.0 + 20.0 * t) * t).sin()
            })
            .collect()
    }

    #[test]
    fn rows_do_not_depend_on_where_a_batch_is_cut() {
        let encoder =
            Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve().unwrap()).unwrap();
        let rare = encoder.every().nth(1).unwrap();
        assert!(rare > 1 && !BATCH.is_multiple_of(rare), "{rare}");
        let embedder = Embedder::new(encoder).unwrap();
        let rate = 16_000;
        let samples = sliding_tone(90, rate);
        let heard = embedder
            .embed_samples(&samples, rate, WindowPlan::All, None)
            .unwrap();
        let rows = &heard.windows;
        assert!(rows.nrows() > BATCH + 2 * rare, "{}", rows.nrows());
        for i in 0..rows.nrows() {
            let beside = |i: usize| rows.slice(ndarray::s![i, 200..]);
            assert_eq!(beside(i), beside(i - i % rare), "window {i}");
            assert!(
                i % rare > 0 || i == 0 || beside(i) != beside(i - 1),
                "window {i} is heard anew"
            );
        }
    }

    #[test]
    fn all_networks_hear_every_window_of_a_passage() {
        let encoder =
            Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve().unwrap()).unwrap();
        let dimension = encoder.manifest().dimension;
        let embedder = Embedder::new(encoder).unwrap();
        let rate = 16_000;
        let samples = sliding_tone(20, rate);
        let part = WindowPlan::Part {
            from: 4_000,
            to: 14_000,
        };
        let heard = embedder
            .embed_samples(&samples, rate, part, None)
            .unwrap()
            .windows;
        assert_eq!(heard.dim(), (7, dimension));
        for i in 1..heard.nrows() {
            for part in [0..200, 200..dimension] {
                let part = |row: usize| heard.slice(ndarray::s![row, part.clone()]);
                assert_ne!(part(i), part(i - 1), "window {i}");
            }
        }
    }

    #[test]
    fn common_multiples() {
        for (a, b, least) in [(1, 1, 1), (1, 3, 3), (2, 3, 6), (4, 6, 12), (8, 4, 8)] {
            assert_eq!(least_common_multiple(a, b), least);
        }
    }
}
