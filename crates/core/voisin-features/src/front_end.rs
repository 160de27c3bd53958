//! STFT, mel projection and compression of one window.

use std::sync::Arc;

use ndarray::Array2;

use super::compress::compress;
use super::mel::Triangles;
use super::stft::{Stft, StftScratch};
use super::{FeaturesError, MelConfig, Spectrum};
use voisin_kernels::{Isa, isa};

/// One window's mel spectrogram with its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct MelSpectrogram {
    /// `[n_mels, n_frames]`, lowest band first; unit and range are those of the configuration's
    /// [`Compression`](super::Compression).
    pub values: Array2<f32>,
    /// Its configuration.
    pub config: Arc<MelConfig>,
}

/// Buffers of one thread, from [`MelFrontEnd::scratch`]; reused from window to window.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// The padded window, all samples that the frames cover.
    padded: Vec<f32>,
    stft: StftScratch,
}

/// Computes mel spectrograms; shared between threads, each with its own [`Scratch`].
///
/// The transform is in `f64`, see this crate's README. The CPU's vector instructions affect only the
/// last bits of results.
#[derive(Clone)]
pub struct MelFrontEnd {
    config: Arc<MelConfig>,
    mel: Triangles,
    stft: Stft,
    isa: Isa,
}

impl std::fmt::Debug for MelFrontEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MelFrontEnd")
            .field("config", &self.config)
            .field("isa", &self.isa)
            .finish_non_exhaustive()
    }
}

impl MelFrontEnd {
    /// Plans the FFT and the filter bank.
    pub fn new(config: MelConfig) -> Result<Self, FeaturesError> {
        Self::with_isa(config, isa()?)
    }

    fn with_isa(config: MelConfig, isa: Isa) -> Result<Self, FeaturesError> {
        config.validate()?;
        let stft = Stft::new(hann(config.n_fft));
        Ok(Self {
            mel: Triangles::new(&config),
            config: Arc::new(config),
            stft,
            isa,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Arc<MelConfig> {
        &self.config
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        let config = &self.config;
        Scratch {
            padded: vec![0.0; (config.n_frames - 1) * config.hop + config.n_fft],
            stft: self.stft.scratch(),
        }
    }

    /// The mel spectrogram of the first `window_samples` of `samples` (mono, at the configuration's
    /// rate); a shorter slice is padded with zeros, and NaN counts as zero.
    pub fn compute(&self, samples: &[f32]) -> MelSpectrogram {
        let mut values = Array2::zeros((self.config.n_mels, self.config.n_frames));
        let out = values.as_slice_mut().expect("a new array is contiguous");
        self.compute_into(samples, &mut self.scratch(), out);
        MelSpectrogram {
            values,
            config: Arc::clone(&self.config),
        }
    }

    /// As [`compute`](Self::compute), without allocating.
    ///
    /// - `out`: `n_mels · n_frames` numbers, row after row (`[mel][frame]`)
    ///
    /// # Panics
    /// If `out` has another length, or `scratch` is another front end's.
    pub fn compute_into(&self, samples: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let config = &*self.config;
        assert_eq!(
            out.len(),
            config.cells(),
            "out must hold n_mels * n_frames numbers"
        );
        let padded = &mut scratch.padded;
        assert_eq!(
            padded.len(),
            (config.n_frames - 1) * config.hop + config.n_fft,
            "scratch of another front end"
        );
        pad(
            &samples[..samples.len().min(config.window_samples)],
            config.pad_left,
            padded,
        );
        if config.repeated {
            repeat(padded, config, samples.len());
        }
        if config.mirrored {
            mirror(padded, config);
        }
        if let Some(level) = config.level_dbfs {
            set_level(padded, config.window_samples, level);
        }
        self.stft
            .bands(self.isa, config, &self.mel, padded, &mut scratch.stft, out);
        compress(
            self.isa,
            config.compression,
            config.spectrum == Spectrum::RootOfPower,
            out,
        );
        if config.standardised {
            standardise(out);
        }
    }
}

/// Deviation below which a window counts as constant.
const EVEN: f64 = 1e-6;

/// Scales to mean 0 and (population) deviation 1.
fn standardise(cells: &mut [f32]) {
    let n = cells.len() as f64;
    let mean = cells.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = cells
        .iter()
        .map(|x| (f64::from(*x) - mean).powi(2))
        .sum::<f64>()
        / n;
    // A window of silence must not be divided by its rounding errors.
    let deviation = if variance.sqrt() < EVEN {
        1.0
    } else {
        variance.sqrt()
    };
    cells
        .iter_mut()
        .for_each(|x| *x = ((f64::from(*x) - mean) / deviation) as f32);
}

/// Scales a padded window to `level` dB RMS over its `n` samples; silence stays silence.
fn set_level(padded: &mut [f32], n: usize, level: f32) {
    // The padding adds nothing to the sum.
    let squares: f64 = padded
        .iter()
        .map(|&sample| f64::from(sample) * f64::from(sample))
        .sum();
    let rms = (squares / n as f64).sqrt();
    if rms > 0.0 {
        let gain = (10f64.powf(f64::from(level) / 20.0) / rms) as f32;
        padded.iter_mut().for_each(|sample| *sample *= gain);
    }
}

/// Samples beyond this are clipped, so that powers stay finite in `f32`.
const LOUDEST: f32 = 1e15;

/// Copies the window after `pad_left` zeros and pads the end. NaN becomes zero.
fn pad(samples: &[f32], pad_left: usize, padded: &mut [f32]) {
    let pad_left = pad_left.min(padded.len());
    let (left, rest) = padded.split_at_mut(pad_left);
    let (middle, right) = rest.split_at_mut(samples.len().min(rest.len()));
    left.fill(0.0);
    // A file may have NaN, which would spread to every band.
    for (to, &x) in middle.iter_mut().zip(samples) {
        *to = if x.is_nan() {
            0.0
        } else {
            x.clamp(-LOUDEST, LOUDEST)
        };
    }
    right.fill(0.0);
}

/// Repeats the first `n` samples of a padded window as often as they fit into it.
fn repeat(padded: &mut [f32], config: &MelConfig, n: usize) {
    let start = config.pad_left.min(padded.len());
    let window = config.window_samples.min(padded.len() - start);
    for copy in 1..window.checked_div(n).unwrap_or(0) {
        padded.copy_within(start..start + n, start + copy * n);
    }
}

/// Mirrors a padded window at its first and its last sample.
fn mirror(padded: &mut [f32], config: &MelConfig) {
    let start = config.pad_left.min(padded.len());
    let end = (start + config.window_samples).min(padded.len());
    for i in 1..=start {
        if start + i < end {
            padded[start - i] = padded[start + i];
        }
    }
    for i in end..padded.len() {
        if let Some(from) = (2 * end).checked_sub(i + 2).filter(|from| *from >= start) {
            padded[i] = padded[from];
        }
    }
}

/// The periodic window of a frame, [`Hann::Periodic`](super::Hann::Periodic).
fn hann(n: usize) -> Vec<f64> {
    let turn = std::f64::consts::TAU / n as f64;
    (0..n)
        .map(|i| 0.5 - 0.5 * (turn * i as f64).cos())
        .collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compression, MelNorm, MelScale, OpenL3Variant};
    use super::*;
    use voisin_base::random::Random;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..n).map(|_| 2.0 * random.f32() - 1.0).collect()
    }

    #[test]
    fn a_fixed_level_removes_differences_in_loudness() {
        let front_end = MelFrontEnd::new(MelConfig::musicnn().at_level(-20.0)).unwrap();
        let plain = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
        let loud = noise(48_128, 3);
        let soft: Vec<f32> = loud.iter().map(|sample| sample * 0.125).collect();
        // A power of two scales without rounding, so that bits are the same.
        assert_eq!(
            front_end.compute(&loud).values,
            front_end.compute(&soft).values
        );
        assert_ne!(plain.compute(&loud).values, plain.compute(&soft).values);
        let rms =
            (loud.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / loud.len() as f64).sqrt();
        let at: Vec<f32> = loud
            .iter()
            .map(|s| (f64::from(*s) * 0.1 / rms) as f32)
            .collect();
        let a = front_end.compute(&loud).values;
        let b = plain.compute(&at).values;
        let off = a
            .iter()
            .zip(&b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(off < 2e-3, "-20 dB RMS is 0.1: {off}");
        assert!(
            front_end
                .compute(&vec![0.0; 48_128])
                .values
                .iter()
                .all(|v| *v == 0.0),
            "silence stays silence"
        );
    }

    fn all() -> [MelConfig; 3] {
        [
            MelConfig::openl3(OpenL3Variant::Original),
            MelConfig::openl3(OpenL3Variant::Essentia),
            MelConfig::musicnn(),
        ]
    }

    fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max)
    }

    /// Sums in bands by the definition of the Fourier transform, of one frame.
    fn by_definition(config: &MelConfig, samples: &[f32], frame: usize) -> Vec<f64> {
        let hann = hann(config.n_fft);
        let at = |i: usize| (frame * config.hop + i).checked_sub(config.pad_left);
        let sample = |i: usize| {
            at(i)
                .and_then(|at| samples.get(at))
                .map_or(0.0, |&x| f64::from(x))
        };
        let power: Vec<f64> = (0..=config.n_fft / 2)
            .map(|k| {
                let turn = |i: usize| {
                    std::f64::consts::TAU * (k * i % config.n_fft) as f64 / config.n_fft as f64
                };
                let sum = |f: fn(f64) -> f64| -> f64 {
                    (0..config.n_fft)
                        .map(|i| sample(i) * hann[i] * f(turn(i)))
                        .sum()
                };
                let power = sum(f64::cos).powi(2) + sum(f64::sin).powi(2);
                if config.spectrum == Spectrum::Magnitude {
                    power.sqrt()
                } else {
                    power
                }
            })
            .collect();
        super::super::filter_bank(config)
            .outer_iter()
            .map(|row| row.iter().zip(&power).map(|(w, p)| w * p).sum())
            .collect()
    }

    #[test]
    fn every_instruction_set_agrees_with_the_definition() {
        for n_fft in [256, 500] {
            for base in all() {
                let config = MelConfig {
                    n_fft,
                    n_mels: 40,
                    n_frames: 21,
                    pad_left: 100,
                    ..base
                };
                let samples = noise(6000, n_fft as u64);
                let mut answers = Isa::available().into_iter().map(|isa| {
                    let front_end = MelFrontEnd::with_isa(config.clone(), isa).unwrap();
                    let mut padded = vec![0.0; 20 * config.hop + n_fft];
                    pad(
                        &samples[..6000.min(config.window_samples)],
                        config.pad_left,
                        &mut padded,
                    );
                    let mut scratch = front_end.stft.scratch();
                    let mut out = vec![0.0; 40 * 21];
                    front_end.stft.bands(
                        isa,
                        &config,
                        &front_end.mel,
                        &padded,
                        &mut scratch,
                        &mut out,
                    );
                    out
                });
                let first = answers.next().unwrap();
                for frame in [0, 7, 20] {
                    for (band, sum) in by_definition(&config, &samples, frame)
                        .into_iter()
                        .enumerate()
                    {
                        let found = f64::from(first[band * 21 + frame]);
                        assert!(
                            (found - sum).abs() <= 1e-6 * sum,
                            "{n_fft} {frame} {band}: {found} {sum}"
                        );
                    }
                }
                assert!(
                    answers.all(|other| other == first),
                    "the same bits on every instruction set"
                );
            }
        }
    }

    #[test]
    fn a_tone_is_in_its_band() {
        let config = MelConfig {
            n_fft: 1000,
            n_mels: 20,
            ..MelConfig::musicnn()
        };
        let front_end = MelFrontEnd::new(config).unwrap();
        // 1 kHz is in the band whose triangle is highest there.
        let tone: Vec<f32> = (0..48_128)
            .map(|i| (i as f32 * std::f32::consts::TAU / 16.0).sin())
            .collect();
        let mel = front_end.compute(&tone);
        let bank = super::super::filter_bank(front_end.config());
        let highest = |column: Vec<f64>| {
            (0..20)
                .max_by(|&a, &b| column[a].total_cmp(&column[b]))
                .unwrap()
        };
        let expected = highest(
            bank.column(62)
                .iter()
                .zip(bank.column(63))
                .map(|(a, b)| a + b)
                .collect(),
        );
        assert_eq!(
            highest(
                mel.values
                    .column(90)
                    .iter()
                    .map(|&x| f64::from(x))
                    .collect()
            ),
            expected
        );
    }

    #[test]
    fn buffers_are_reusable_and_quiet_frames_stay_quiet() {
        let front_end = MelFrontEnd::new(MelConfig::openl3(OpenL3Variant::Original)).unwrap();
        let mut scratch = front_end.scratch();
        let mut out = vec![0.0; front_end.config().cells()];
        let loud = noise(48_000, 1);
        let quiet: Vec<f32> = noise(48_000, 2).iter().map(|x| x * 1e-6).collect();
        front_end.compute_into(&loud, &mut scratch, &mut out);
        front_end.compute_into(&quiet[..10_000], &mut scratch, &mut out);
        assert_eq!(
            out,
            front_end
                .compute(&quiet[..10_000])
                .values
                .as_slice()
                .unwrap()
        );

        // Half silence, half noise: silent frames are at the floor, although frames are computed in
        // groups.
        let half: Vec<f32> = loud[..24_000].to_vec();
        let mel = front_end.compute(&half);
        let first_silent = (24_000 + 982) / 242 + 1;
        assert!(
            mel.values
                .slice(ndarray::s![.., first_silent..])
                .iter()
                .all(|&x| x == -80.0)
        );
        assert!(
            mel.values
                .slice(ndarray::s![.., ..first_silent - 9])
                .iter()
                .all(|&x| x > -40.0)
        );
    }

    #[test]
    #[should_panic(expected = "scratch of another front end")]
    fn a_foreign_scratch_is_refused() {
        let front_end = MelFrontEnd::new(MelConfig::openl3(OpenL3Variant::Original)).unwrap();
        let other = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
        let mut out = vec![0.0; front_end.config().cells()];
        front_end.compute_into(&[], &mut other.scratch(), &mut out);
    }

    #[test]
    fn silence_is_flat() {
        for config in all() {
            let mel = MelFrontEnd::new(config).unwrap().compute(&[]);
            assert!(mel.values.iter().all(|&x| x == 0.0));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn never_nan_and_within_range(bits in prop::collection::vec(any::<u32>(), 0..5000), at in 0usize..3) {
            let samples: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let mel = MelFrontEnd::new(all()[at].clone()).unwrap().compute(&samples);
            let range = if at < 2 { -80.0..=0.0 } else { 0.0..=9.0 };
            prop_assert!(mel.values.iter().all(|x| range.contains(x)));
            if at < 2 {
                prop_assert!(mel.values.iter().any(|&x| x == 0.0));
            }
        }

        #[test]
        fn openl3_does_not_depend_on_level(seed in any::<u64>(), gain_db in -60f32..60.0, at in 0usize..2) {
            let front_end = MelFrontEnd::new(all()[at].clone()).unwrap();
            let samples = noise(48_000, seed);
            let gain = 10f32.powf(gain_db / 20.0);
            let louder: Vec<f32> = samples.iter().map(|x| x * gain).collect();
            let [a, b] = [&samples, &louder].map(|wave| front_end.compute(wave).values);
            prop_assert!(largest_difference(&a, &b) < 1e-4);
        }

        #[test]
        fn musicnn_grows_with_level(seed in any::<u64>()) {
            let front_end = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
            let samples = noise(48_128, seed);
            let softer: Vec<f32> = samples.iter().map(|x| x * 0.5).collect();
            let [a, b] = [&samples, &softer].map(|wave| front_end.compute(wave).values);
            prop_assert!(a.iter().zip(&b).all(|(a, b)| a >= b));
        }

        #[test]
        fn a_shift_by_a_hop_shifts_the_frames(seed in any::<u64>()) {
            let front_end = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
            let samples = noise(48_128 + 256, seed);
            let [a, b] = [&samples[..], &samples[256..]].map(|wave| front_end.compute(wave).values);
            prop_assert_eq!(a.slice(ndarray::s![.., 1..]), b.slice(ndarray::s![.., ..186]));
        }

        #[test]
        fn any_valid_configuration_computes(
            n_fft in 8usize..600, hop in 1usize..900, n_frames in 1usize..30, n_mels in 1usize..64,
            pad in 0usize..600, length in 0usize..4000, htk: bool, peak: bool,
        ) {
            let config = MelConfig {
                n_fft: 2 * n_fft, hop, n_frames, n_mels, pad_left: pad.min(2 * n_fft), window_samples: 3000,
                mel_scale: if htk { MelScale::Htk } else { MelScale::Slaney },
                mel_norm: if peak { MelNorm::Peak } else { MelNorm::UnitTri },
                compression: Compression::Decibel { amin: 1e-6, range_db: 60.0 },
                ..MelConfig::musicnn()
            };
            if let Ok(front_end) = MelFrontEnd::new(config) {
                let mel = front_end.compute(&noise(length, 3));
                prop_assert_eq!(mel.values.dim(), (n_mels, n_frames));
                prop_assert!(mel.values.iter().all(|x| (-60.0..=0.0).contains(x)));
            }
        }
    }
}
