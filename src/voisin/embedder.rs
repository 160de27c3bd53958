//! Computes the vectors of a file: probe, decode, mel spectrogram, encoder, pooling.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::{Array2, ArrayView2};

use super::EngineError;
use super::descriptors;
use voisin_audio::{self, AudioInfo, DecodeReport, WindowResampler};
use voisin_encoder::{Embedding, Encoder, Parts};
use voisin_features::{MelFrontEnd, Scratch, SpectralChange, windows};
use voisin_genre::unit_rows;
use voisin_library::Descriptors;

/// Fewest spectrograms per batch of a long file; bounds its memory.
const BATCH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPlan {
    /// This many, spread evenly over the whole track.
    Spread(usize),
    /// One per second.
    All,
    /// One per second of a part of the track, in milliseconds from its start; a part shorter than a window has one in its
    /// middle.
    Part { from: u32, to: u32 },
    /// Windows every `hop` samples at the model's rate, as in the openl3 package: the middle of the first window is on the
    /// first sample.
    Reference { hop: usize },
}

impl Default for WindowPlan {
    /// The knee of the quality curve in BENCHMARKS.md.
    fn default() -> Self {
        Self::Spread(24)
    }
}

impl WindowPlan {
    /// The default of a model.
    ///
    /// - `reads`: whether it reads sentences, as CLAP, whose windows are long and take the longest
    pub(super) fn of(reads: bool) -> Self {
        if reads {
            Self::Spread(8)
        } else {
            Self::default()
        }
    }

    /// First samples of the windows of `length` samples in a track of `samples`, at `rate` Hz.
    pub(super) fn starts(self, samples: u64, length: usize, rate: u32) -> Vec<i64> {
        match self {
            Self::Spread(n) => windows::spread(samples, length, n, rate as usize),
            Self::All => windows::hop_1s(samples, length, rate),
            Self::Part { from, to } => {
                let sample = |ms: u32| u64::from(ms) * u64::from(rate) / 1000;
                windows::part(samples, length, rate, sample(from), sample(to))
            }
            Self::Reference { hop } => windows::reference(samples, length, hop),
        }
    }
}

#[derive(Debug, Clone)]
pub struct FileEmbedding {
    /// Mean of the windows, unit norm.
    pub vector: Embedding,
    /// `[windows, dimension]`, the encoder's output.
    pub windows: Array2<f32>,
    /// Mean of the windows' logits, in the order of the model's tags and outputs; empty if it has none.
    pub logits: Vec<f32>,
    /// Start of each window, in seconds; negative for a centred window before the first sample.
    pub starts: Vec<f32>,
    pub report: DecodeReport,
    pub descriptors: Option<Descriptors>,
    pub is_steady: Option<bool>,
}

/// The starts of a file's encoded windows in seconds, how it was decoded, and what was measured.
type WindowsRead = (
    Vec<f32>,
    DecodeReport,
    Option<Descriptors>,
    Option<SpectralChange>,
);

/// A model with its front ends; analyses files from any number of threads.
///
/// All networks of a model process the same sound, which is decoded once; a network with a shorter window gets the middle of
/// the longest. If all networks have one rate, windows are read at that rate; if not, at the file's rate, and resampled for
/// each network. A network that processes one window of several ([`Encoder::every`]) gets the first of each group that is not
/// silent, and its output is used for the whole group.
pub struct Embedder {
    encoder: Encoder,
    inputs: Vec<NetworkInput>,
    parts: Parts,
    rate: u32,
    is_one_rate: bool,
}

struct NetworkInput {
    front_end: MelFrontEnd,
    every: usize,
}

struct Reading {
    rate: u32,
    length: usize,
    /// Samples read on either side of it for resampling.
    margin: usize,
    /// For each network, the first sample that it needs, and the resampler to its rate.
    inputs: Vec<(usize, Option<WindowResampler>)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Besides {
    Nothing,
    Descriptors,
    Change,
}

#[derive(Clone, Copy)]
enum Sound<'a> {
    File(&'a Path),
    /// Mono, in memory.
    Samples(&'a [f32]),
}

impl<'a> Sound<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::File(path) => path,
            Self::Samples(_) => Path::new("the samples"),
        }
    }
}

impl Embedder {
    pub fn new(encoder: Encoder) -> Result<Self, EngineError> {
        let rates = || encoder.front_ends().map(|config| config.sample_rate);
        let rate = rates().max().unwrap_or(1);
        let is_one_rate = rates().all(|other| other == rate);
        let mut inputs = Vec::new();
        for (config, every) in encoder.front_ends().zip(encoder.every()) {
            inputs.push(NetworkInput {
                front_end: MelFrontEnd::new(config.clone())?,
                every,
            });
        }
        let parts = Parts::of(encoder.manifest());
        Ok(Self {
            encoder,
            inputs,
            parts,
            rate,
            is_one_rate,
        })
    }

    pub fn sample_rate(&self) -> u32 {
        self.rate
    }

    fn reading(&self, info: &AudioInfo, plan: WindowPlan) -> Result<Reading, EngineError> {
        /// Least sample rate in Hz for measuring tempo and key.
        const LEAST: u32 = 16_000;
        /// Longest margin for resampling, in seconds. Rates without a large common divisor need whole seconds.
        const MOST: f64 = 0.25;
        // Hops are in samples of the model's rate, so that windows are where the openl3 package puts
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
        // Otherwise everything is resampled to the highest rate, and from there to each network's
        // rate.
        self.reading_at(self.rate)
    }

    fn reading_at(&self, rate: u32) -> Result<Reading, EngineError> {
        let mut found = Vec::new();
        for config in self.encoder.front_ends() {
            let window_samples = config.window_samples as u64;
            let to = config.sample_rate;
            let resampler = if to == rate {
                None
            } else {
                Some(WindowResampler::new(rate, to)?)
            };
            let reach = resampler.as_ref().map_or(0, WindowResampler::reach);
            found.push((
                // Rounded up, because one sample too few would truncate the window.
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
            // A shorter window has room on either side within the longest one; its filter needs only
            // the rest as a margin.
            reach.saturating_sub((length - window_samples) / 2)
        };
        let margin = found.iter().map(beyond).max().unwrap_or(0);
        let input = |(window_samples, reach, resampler)| {
            // All windows have the same middle.
            (margin + (length - window_samples) / 2 - reach, resampler)
        };
        Ok(Reading {
            rate,
            length,
            margin,
            inputs: found.into_iter().map(input).collect(),
        })
    }

    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Analyses a file.
    ///
    /// Near-silent windows are left out, except with [`WindowPlan::Reference`], which keeps every row. Memory does not grow
    /// with the file's length, except for the resulting vectors.
    ///
    /// - `info`: from [`voisin_audio::probe`]
    /// - `stop`: when it becomes true, the call fails with [`EngineError::Interrupted`]
    pub fn embed(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(Sound::File(path), info, plan, Besides::Nothing, stop)
    }

    pub fn embed_seed(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(Sound::File(path), info, plan, Besides::Change, None)
    }

    /// As [`embed`](Self::embed), and measures tempo, key and loudness from the same decoding.
    pub fn embed_measured(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(Sound::File(path), info, plan, Besides::Descriptors, stop)
    }

    /// As [`embed`](Self::embed), for mono samples in memory, full scale ±1.
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
        self.embed_sound(Sound::Samples(samples), &info, plan, Besides::Nothing, stop)
    }

    fn embed_sound(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        besides: Besides,
        stop: Option<&AtomicBool>,
    ) -> Result<FileEmbedding, EngineError> {
        let mut rows: Vec<f32> = Vec::new();
        // In double precision, since there may be thousands of windows.
        let mut logits = vec![0.0f64; self.encoder.tags()];
        let (starts, report, mut descriptors, change) =
            self.each_batch(sound, info, plan, besides, stop, |mels, n| {
                let tagged = self.encoder.encode_each(mels, n)?;
                rows.extend(tagged.embeddings.iter());
                for row in tagged.logits.rows() {
                    for (sum, &x) in logits.iter_mut().zip(row) {
                        *sum += f64::from(x);
                    }
                }
                Ok(())
            })?;
        let windows =
            Array2::from_shape_vec((starts.len(), self.encoder.manifest().dimension), rows)
                .map_err(|error| EngineError::Model {
                    reason: format!("the network's output: {error}"),
                })?;
        let vector = self.parts.pool(windows.view())?;
        if let Some(measured) = &mut descriptors {
            measured.is_steady = is_steady(windows.view());
        }
        let is_steady = change.as_ref().map(SpectralChange::is_steady);
        let logits = logits.iter().map(|sum| (sum / starts.len() as f64) as f32);
        Ok(FileEmbedding {
            vector,
            logits: logits.collect(),
            windows,
            starts,
            report,
            descriptors,
            is_steady,
        })
    }

    /// Decodes the windows of a file, and passes their spectrograms to `encode` in batches: for each network `[n, cells]`,
    /// with fewer rows if it does not process every window, and `n`.
    ///
    /// - returns: the start of each encoded window in seconds, at least one; statistics of the decoding; measurements
    fn each_batch(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        besides: Besides,
        stop: Option<&AtomicBool>,
        mut encode: impl FnMut(&[&[f32]], usize) -> Result<(), EngineError>,
    ) -> Result<WindowsRead, EngineError> {
        let mut reading = self.reading(info, plan)?;
        let rate = reading.rate;
        let length = reading.length;
        let margin = reading.margin;
        let samples = voisin_audio::resampled_len(info, rate);
        let keeps_silence = matches!(plan, WindowPlan::Reference { .. });
        // Files shorter than a window are refused, unless the network pads or the plan keeps every
        // row.
        if samples < length as u64 && !keeps_silence && !self.encoder.pads() {
            let least = length as f64 / f64::from(rate);
            let seconds = info.seconds();
            let problem = format!("{seconds:.2} s of audio, at least {least:.2} s are needed");
            return Err(EngineError::file(sound.path(), problem));
        }
        let starts = plan.starts(samples, length, rate);

        let mut change = (besides == Besides::Change).then(|| SpectralChange::new(rate));
        // A multiple of all groups, so that results do not depend on the batches.
        let group: usize = self
            .inputs
            .iter()
            .fold(1, |group, input| least_common_multiple(group, input.every));
        let together = if matches!(plan, WindowPlan::Part { .. }) {
            // Each network processes the first window of a batch: with batches of one, every window.
            1
        } else {
            BATCH
                .max(self.encoder.preferred_batch())
                .next_multiple_of(group)
        };
        let mut batch = MelBatch::new(
            &self.inputs,
            std::mem::take(&mut reading.inputs),
            together.min(starts.len()),
        );
        let mut kept = Vec::with_capacity(starts.len());
        let mut fault = None;
        let mut flush = |batch: &mut MelBatch<'_>| -> Result<(), EngineError> {
            let mels: Vec<&[f32]> = batch
                .buffers
                .iter()
                .map(|buffer| buffer.mels.as_slice())
                .collect();
            encode(&mels, batch.windows)?;
            batch.clear();
            Ok(())
        };
        // The decoder's callback cannot return an error: the first one is stored, and further windows
        // are skipped.
        let mut process = |i: usize, block: &[f32]| {
            let stopped = stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
            if stopped && fault.is_none() {
                fault = Some(EngineError::Interrupted);
            }
            // The margin does not count for silence.
            let window = &block[margin..margin + length];
            if fault.is_some() || (!keeps_silence && windows::is_near_silent(window)) {
                return;
            }
            if let Some(change) = &mut change {
                change.push(window);
            }
            batch.push(block, (samples as i64 - starts[i]).max(0) as usize + margin);
            kept.push(starts[i] as f32 / rate as f32);
            if batch.windows == together {
                fault = flush(&mut batch).err();
            }
        };
        let (report, measured) = reading.windows(
            sound,
            info,
            &starts,
            besides == Besides::Descriptors,
            &mut process,
        )?;
        // After the decoder has closed the file.
        if let Some(error) = fault {
            return Err(error);
        }
        // All windows were silent: there is no mean.
        if kept.is_empty() {
            return Err(EngineError::file(sound.path(), "silent throughout"));
        }
        if batch.windows > 0 {
            flush(&mut batch)?;
        }
        Ok((kept, report, measured, change))
    }
}

impl Reading {
    /// Reads windows with the margin that resampling needs.
    fn windows(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        starts: &[i64],
        measures: bool,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(DecodeReport, Option<Descriptors>), EngineError> {
        let starts: Vec<i64> = starts
            .iter()
            .map(|start| start - self.margin as i64)
            .collect();
        let length = self.length + 2 * self.margin;
        Ok(match sound {
            Sound::File(path) => {
                descriptors::read_windows(path, info, self.rate, &starts, length, measures, sink)?
            }
            Sound::Samples(samples) => {
                let request = voisin_audio::WindowRequest::new(self.rate, &starts, length);
                voisin_audio::windows_of_samples(samples, info, request, sink)?;
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
    // Both are small: numbers of windows that share one output of a network.
    (a..=a * b)
        .step_by(a)
        .find(|multiple| multiple.is_multiple_of(b))
        .unwrap_or(a * b)
}

struct MelBatch<'a> {
    inputs: &'a [NetworkInput],
    buffers: Vec<InputBuffers>,
    windows: usize,
}

struct InputBuffers {
    scratch: Scratch,
    /// The first sample that it needs, of those that are read for a window.
    from: usize,
    resampler: Option<WindowResampler>,
    window: Vec<f32>,
    mels: Vec<f32>,
}

impl<'a> MelBatch<'a> {
    fn new(
        inputs: &'a [NetworkInput],
        resamplers: Vec<(usize, Option<WindowResampler>)>,
        most: usize,
    ) -> Self {
        let buffers = inputs
            .iter()
            .zip(resamplers)
            .map(|(input, (from, resampler))| InputBuffers {
                scratch: input.front_end.scratch(),
                from,
                window: vec![
                    0.0;
                    if resampler.is_some() {
                        input.front_end.config().window_samples
                    } else {
                        0
                    }
                ],
                resampler,
                mels: Vec::with_capacity(
                    most.div_ceil(input.every) * input.front_end.config().cells(),
                ),
            });
        Self {
            inputs,
            buffers: buffers.collect(),
            windows: 0,
        }
    }

    /// - `block`: the samples that were read for a window
    /// - `sounding`: how many of them are before the end of the track
    fn push(&mut self, block: &[f32], sounding: usize) {
        for (input, buffer) in self.inputs.iter().zip(&mut self.buffers) {
            if !self.windows.is_multiple_of(input.every) {
                continue;
            }
            let config = input.front_end.config();
            let window: &[f32] = match &mut buffer.resampler {
                // A front end that repeats short sounds must not repeat the padding as well.
                None if config.repeated => {
                    let end = sounding.clamp(buffer.from, buffer.from + config.window_samples);
                    &block[buffer.from..end]
                }
                None => &block[buffer.from..buffer.from + config.window_samples],
                Some(resampler) => {
                    resampler.run(&block[buffer.from..], &mut buffer.window);
                    &buffer.window
                }
            };
            let filled = buffer.mels.len();
            buffer.mels.resize(filled + config.cells(), 0.0);
            input
                .front_end
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

/// Whether the sound hardly changes from window to window, as in a tone or noise.
///
/// - `windows`: `[windows, dimension]`
fn is_steady(windows: ArrayView2<'_, f32>) -> bool {
    /// Mean distance (1 - cosine) between windows of a tone or noise: half of the minimum in the demo's music.
    const BELOW: f64 = 0.024;
    /// Windows of a few seconds of music overlap too much to differ.
    const FEWEST: usize = 6;
    let n = windows.nrows() as f64;
    let sum = unit_rows(windows.to_owned())
        .mapv(f64::from)
        .sum_axis(ndarray::Axis(0));
    // The mean over all pairs, from the square of the sum.
    let mean_cosine = (sum.dot(&sum) - n) / (n * (n - 1.0));
    windows.nrows() >= FEWEST && 1.0 - mean_cosine < BELOW
}

#[cfg(test)]
mod tests {
    use voisin_encoder::{DeviceChoice, ModelRef};

    use super::*;

    /// A tone whose windows all differ.
    fn sliding_tone(seconds: u32, rate: u32) -> Vec<f32> {
        (0..seconds * rate)
            .map(|i| {
                let t = i as f32 / rate as f32;
                0.3 * (std::f32::consts::TAU * (200.0 + 20.0 * t) * t).sin()
            })
            .collect()
    }

    #[test]
    fn rows_do_not_depend_on_the_batches() {
        let encoder =
            Encoder::load(&ModelRef::default(), &DeviceChoice::Cpu.resolve().unwrap()).unwrap();
        let rare = encoder.every().nth(1).unwrap();
        assert!(rare > 1 && !BATCH.is_multiple_of(rare), "{rare}");
        let embedder = Embedder::new(encoder).unwrap();
        let rate = 16_000;
        let samples = sliding_tone(90, rate);
        let found = embedder
            .embed_samples(&samples, rate, WindowPlan::All, None)
            .unwrap();
        let rows = &found.windows;
        assert!(rows.nrows() > BATCH + 2 * rare, "{}", rows.nrows());
        for i in 0..rows.nrows() {
            let beside = |i: usize| rows.slice(ndarray::s![i, 200..]);
            assert_eq!(beside(i), beside(i - i % rare), "window {i}");
            assert!(
                i % rare > 0 || i == 0 || beside(i) != beside(i - 1),
                "window {i} has an output of its own"
            );
        }
    }

    #[test]
    fn all_networks_process_every_window_of_a_part() {
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
        let found = embedder
            .embed_samples(&samples, rate, part, None)
            .unwrap()
            .windows;
        assert_eq!(found.dim(), (7, dimension));
        for i in 1..found.nrows() {
            for part in [0..200, 200..dimension] {
                let part = |row: usize| found.slice(ndarray::s![row, part.clone()]);
                assert_ne!(part(i), part(i - 1), "window {i}");
            }
        }
    }
}
