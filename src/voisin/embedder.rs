//! Computes the vectors of a file: probe, decode, mel spectrogram, encoder, pooling.

use std::path::Path;

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
/// Windows of a track: the knee of the quality curve in BENCHMARKS.md.
const WINDOWS: usize = 24;
/// Those of a model that reads sentences, as CLAP, whose windows are long and take the longest.
const LONG_WINDOWS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPlan {
    /// This many, spread evenly over the whole track.
    Spread(usize),
    /// One per second of a part of the track, in milliseconds from its start; a part shorter than a window has one in its
    /// middle.
    Part { from: u32, to: u32 },
    /// Windows every `hop` samples at the model's rate, as in the openl3 package: the middle of the first window is on the
    /// first sample.
    Reference { hop: usize },
}

impl WindowPlan {
    /// First samples of the windows of `length` samples in a track of `samples`, at `rate` Hz.
    fn starts(self, samples: u64, length: usize, rate: u32) -> Vec<i64> {
        match self {
            Self::Spread(n) => windows::spread(samples, length, n, rate as usize),
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
    /// Whether the sound hardly changes; `None` if the descriptors have that, or with [`WindowPlan::Reference`].
    pub is_steady: Option<bool>,
}

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

struct Reading<'a> {
    rate: u32,
    length: usize,
    /// Samples read on either side of it for resampling.
    margin: usize,
    inputs: Vec<InputBuffers<'a>>,
}

struct InputBuffers<'a> {
    input: &'a NetworkInput,
    scratch: Scratch,
    /// The first sample that it needs, of those that are read for a window.
    from: usize,
    resampler: Option<WindowResampler>,
    window: Vec<f32>,
    mels: Vec<f32>,
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

    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The windows by which `add` represents a track.
    pub fn plan(&self) -> WindowPlan {
        let reads = self.encoder.manifest().reads();
        WindowPlan::Spread(if reads { LONG_WINDOWS } else { WINDOWS })
    }

    fn reading(&self, info: &AudioInfo, plan: WindowPlan) -> Result<Reading<'_>, EngineError> {
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

    fn reading_at(&self, rate: u32) -> Result<Reading<'_>, EngineError> {
        let mut found = Vec::new();
        for input in &self.inputs {
            let config = input.front_end.config();
            let to = config.sample_rate;
            let resampler = if to == rate {
                None
            } else {
                Some(WindowResampler::new(rate, to)?)
            };
            let reach = resampler.as_ref().map_or(0, WindowResampler::reach);
            // Rounded up, because one sample too few would truncate the window.
            let needed =
                (config.window_samples as u64 * u64::from(rate)).div_ceil(u64::from(to)) as usize;
            found.push((input, needed, reach, resampler));
        }
        let length = found.iter().map(|(_, needed, ..)| *needed).max();
        let length = length.unwrap_or(0);
        // A shorter window has room on either side within the longest one; its filter needs only the
        // rest as a margin.
        let margin = found
            .iter()
            .map(|(_, needed, reach, _)| reach.saturating_sub((length - needed) / 2))
            .max()
            .unwrap_or(0);
        let inputs = found
            .into_iter()
            .map(|(input, needed, reach, resampler)| InputBuffers {
                input,
                scratch: input.front_end.scratch(),
                // All windows have the same middle.
                from: margin + (length - needed) / 2 - reach,
                resampler,
                window: vec![0.0; input.front_end.config().window_samples],
                mels: Vec::new(),
            });
        Ok(Reading {
            rate,
            length,
            margin,
            inputs: inputs.collect(),
        })
    }

    /// Analyses a file.
    ///
    /// Near-silent windows are left out, except with [`WindowPlan::Reference`], which keeps every row. Memory does not grow
    /// with the file's length, except for the resulting vectors.
    ///
    /// - `info`: from [`voisin_audio::probe`]
    pub fn embed(
        &self,
        path: &Path,
        info: &AudioInfo,
        plan: WindowPlan,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(Sound::File(path), info, plan, false)
    }

    /// Also measures tempo, key and loudness from the same decoding.
    pub(super) fn embed_measured(
        &self,
        path: &Path,
        info: &AudioInfo,
    ) -> Result<FileEmbedding, EngineError> {
        self.embed_sound(Sound::File(path), info, self.plan(), true)
    }

    /// As [`embed`](Self::embed), for mono samples in memory, full scale ±1.
    ///
    /// - `sample_rate`: Hz
    pub fn embed_samples(
        &self,
        samples: &[f32],
        sample_rate: u32,
        plan: WindowPlan,
    ) -> Result<FileEmbedding, EngineError> {
        let info = AudioInfo::of_samples(samples.len(), sample_rate);
        self.embed_sound(Sound::Samples(samples), &info, plan, false)
    }

    fn embed_sound(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        plan: WindowPlan,
        measures: bool,
    ) -> Result<FileEmbedding, EngineError> {
        let mut reading = self.reading(info, plan)?;
        let (rate, length, margin) = (reading.rate, reading.length, reading.margin);
        let samples = voisin_audio::resampled_len(info, rate);
        let keeps_silence = matches!(plan, WindowPlan::Reference { .. });
        if samples < length as u64 && !keeps_silence && !self.encoder.pads() {
            let least = length as f64 / f64::from(rate);
            let seconds = info.seconds();
            let problem = format!("{seconds:.2} s of audio, at least {least:.2} s are needed");
            return Err(EngineError::file(sound.path(), problem));
        }
        let starts = plan.starts(samples, length, rate);
        let mut change = None;
        if !measures && !keeps_silence {
            change = Some(SpectralChange::new(rate));
        }
        let mut encoding = Encoding {
            encoder: &self.encoder,
            inputs: std::mem::take(&mut reading.inputs),
            together: self.together(plan),
            waiting: 0,
            rows: Vec::new(),
            logits: vec![0.0; self.encoder.tags()],
            starts: Vec::new(),
            fault: None,
        };
        let mut sink = |i: usize, block: &[f32]| {
            // The margin does not count for silence.
            let window = &block[margin..margin + length];
            if keeps_silence || !windows::is_near_silent(window) {
                if let Some(change) = &mut change {
                    change.push(window);
                }
                let sounding = (samples as i64 - starts[i]).max(0) as usize + margin;
                encoding.push(block, sounding, starts[i] as f32 / rate as f32);
            }
        };
        let (report, mut descriptors) =
            reading.windows(sound, info, &starts, measures, &mut sink)?;
        let windows = encoding.finish(sound.path())?;
        if let Some(measured) = &mut descriptors {
            measured.is_steady = is_steady(windows.view());
        }
        let all = encoding.starts.len() as f64;
        let logits = encoding.logits.iter().map(|sum| (sum / all) as f32);
        Ok(FileEmbedding {
            vector: self.parts.pool(windows.view())?,
            logits: logits.collect(),
            windows,
            starts: encoding.starts,
            report,
            descriptors,
            is_steady: change.as_ref().map(SpectralChange::is_steady),
        })
    }

    fn together(&self, plan: WindowPlan) -> usize {
        if matches!(plan, WindowPlan::Part { .. }) {
            // Each network processes the first window of a batch: with batches of one, every window.
            return 1;
        }
        // A multiple of all groups, so that results do not depend on the batches.
        let groups = self.inputs.iter().map(|input| input.every);
        BATCH
            .max(self.encoder.preferred_batch())
            .next_multiple_of(groups.fold(1, least_common_multiple))
    }
}

impl Reading<'_> {
    fn windows(
        &self,
        sound: Sound<'_>,
        info: &AudioInfo,
        starts: &[i64],
        measures: bool,
        sink: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(DecodeReport, Option<Descriptors>), EngineError> {
        let earlier = starts.iter().map(|start| start - self.margin as i64);
        let starts: Vec<i64> = earlier.collect();
        let length = self.length + 2 * self.margin;
        let rate = self.rate;
        Ok(match sound {
            Sound::File(path) if measures => {
                let (report, measured) =
                    descriptors::read_windows(path, info, rate, &starts, length, sink)?;
                (report, Some(measured))
            }
            Sound::File(path) => {
                let report = voisin_audio::read_windows(path, info, rate, &starts, length, sink)?;
                (report, None)
            }
            Sound::Samples(samples) => {
                let request = voisin_audio::WindowRequest::new(rate, &starts, length);
                voisin_audio::windows_of_samples(samples, info, request, sink)?;
                let decoded_share = 1.0;
                let report = DecodeReport {
                    decoded_share,
                    ..DecodeReport::default()
                };
                (report, None)
            }
        })
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    (a..=a * b)
        .step_by(a)
        .find(|multiple| multiple.is_multiple_of(b))
        .unwrap_or(a * b)
}

/// The windows of a file that were encoded, and those that wait for a batch to be full.
struct Encoding<'a> {
    encoder: &'a Encoder,
    inputs: Vec<InputBuffers<'a>>,
    together: usize,
    waiting: usize,
    rows: Vec<f32>,
    /// In double precision, since there may be thousands of windows.
    logits: Vec<f64>,
    starts: Vec<f32>,
    /// The first error: the decoder's callback cannot return it.
    fault: Option<EngineError>,
}

impl Encoding<'_> {
    /// - `block`: the samples that were read for a window
    /// - `sounding`: how many of them are before the end of the track
    fn push(&mut self, block: &[f32], sounding: usize, start: f32) {
        if self.fault.is_some() {
            return;
        }
        let waiting = self.waiting;
        let due = |buffer: &&mut InputBuffers<'_>| waiting.is_multiple_of(buffer.input.every);
        for buffer in self.inputs.iter_mut().filter(due) {
            buffer.push(block, sounding);
        }
        self.starts.push(start);
        self.waiting += 1;
        if self.waiting == self.together {
            self.fault = self.flush().err();
        }
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        let mels: Vec<&[f32]> = self.inputs.iter().map(|input| &input.mels[..]).collect();
        let tagged = self.encoder.encode_each(&mels, self.waiting)?;
        self.rows.extend(tagged.embeddings.iter());
        for row in tagged.logits.rows() {
            for (sum, &x) in self.logits.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        self.inputs.iter_mut().for_each(|input| input.mels.clear());
        self.waiting = 0;
        Ok(())
    }

    /// The encoder's output, `[windows, dimension]`; at least one row.
    fn finish(&mut self, path: &Path) -> Result<Array2<f32>, EngineError> {
        if let Some(error) = self.fault.take() {
            return Err(error);
        }
        if self.starts.is_empty() {
            return Err(EngineError::file(path, "silent throughout"));
        }
        if self.waiting > 0 {
            self.flush()?;
        }
        let shape = (self.starts.len(), self.encoder.manifest().dimension);
        Array2::from_shape_vec(shape, std::mem::take(&mut self.rows)).map_err(|error| {
            EngineError::Model {
                reason: format!("the network's output: {error}"),
            }
        })
    }
}

impl InputBuffers<'_> {
    fn push(&mut self, block: &[f32], sounding: usize) {
        let front_end = &self.input.front_end;
        let config = front_end.config();
        let window: &[f32] = match &mut self.resampler {
            // A front end that repeats short sounds must not repeat the padding as well.
            None if config.repeated => {
                let end = sounding.clamp(self.from, self.from + config.window_samples);
                &block[self.from..end]
            }
            None => &block[self.from..self.from + config.window_samples],
            Some(resampler) => {
                resampler.run(&block[self.from..], &mut self.window);
                &self.window
            }
        };
        let filled = self.mels.len();
        self.mels.resize(filled + config.cells(), 0.0);
        front_end.compute_into(window, &mut self.scratch, &mut self.mels[filled..]);
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

    fn encoder() -> Encoder {
        let device = DeviceChoice::Cpu.resolve().unwrap();
        Encoder::load(&ModelRef::default(), &device).unwrap()
    }

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
        let encoder = encoder();
        let rare = encoder.every().nth(1).unwrap();
        assert!(rare > 1 && !BATCH.is_multiple_of(rare), "{rare}");
        let embedder = Embedder::new(encoder).unwrap();
        let rate = 16_000;
        let samples = sliding_tone(90, rate);
        let found = embedder
            .embed_samples(&samples, rate, WindowPlan::Reference { hop: 16_000 })
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
        let encoder = encoder();
        let dimension = encoder.manifest().dimension;
        let embedder = Embedder::new(encoder).unwrap();
        let rate = 16_000;
        let samples = sliding_tone(20, rate);
        let part = WindowPlan::Part {
            from: 4_000,
            to: 14_000,
        };
        let found = embedder
            .embed_samples(&samples, rate, part)
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
