//! STFT, mel projection and compression of one window.

use std::sync::Arc;

use ndarray::Array2;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::compress::compress;
use super::mel::Triangles;
use super::stft::{self, Isa, Stft};
use super::{FeaturesError, Hann, MelConfig, Spectrum};

/// One window's mel spectrogram, with what it was made by.
#[derive(Debug, Clone, PartialEq)]
pub struct MelSpectrogram {
    /// `[n_mels, n_frames]`, lowest band first; unit and range are those of the configuration's
    /// [`Compression`](super::Compression).
    pub values: Array2<f32>,
    /// What made it.
    pub config: Arc<MelConfig>,
}

/// Buffers of one thread, from [`MelFrontEnd::scratch`]; reused from window to window.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// The window with zeros on either side: all that the frames cover.
    padded: Vec<f32>,
    transform: TransformScratch,
}

#[derive(Debug, Clone)]
enum TransformScratch {
    Fast(stft::Work),
    Plain { frame: Vec<f64>, bins: Vec<Complex<f64>>, fft: Vec<Complex<f64>>, spectrum: Vec<f32> },
}

/// Computes mel spectrograms; shared between threads, each with its own [`Scratch`].
///
/// The transform is done in `f64`: see `ARCHITECTURE.md`. Results do not depend on the CPU's vector instructions
/// beyond the last bits.
#[derive(Clone)]
pub struct MelFrontEnd {
    config: Arc<MelConfig>,
    mel: Triangles,
    transform: FrameTransform,
    isa: Isa,
}

#[derive(Clone)]
enum FrameTransform {
    /// Powers of two from 256 to 4096.
    Fast(Stft),
    /// Any length.
    Plain { hann: Vec<f64>, fft: Arc<dyn RealToComplex<f64>> },
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
        Self::with_isa(config, Isa::detect())
    }

    fn with_isa(config: MelConfig, isa: Isa) -> Result<Self, FeaturesError> {
        config.validate()?;
        let hann = hann(config.hann, config.n_fft);
        let transform =
            Stft::new(&hann, isa).map_or_else(|| FrameTransform::plain(&hann), FrameTransform::Fast);
        Ok(Self { mel: Triangles::new(&config), config: Arc::new(config), transform, isa })
    }

    /// What it computes.
    pub fn config(&self) -> &Arc<MelConfig> {
        &self.config
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        let config = &self.config;
        let transform = match &self.transform {
            FrameTransform::Fast(stft) => TransformScratch::Fast(stft.work()),
            FrameTransform::Plain { fft, .. } => TransformScratch::Plain {
                frame: fft.make_input_vec(),
                bins: fft.make_output_vec(),
                fft: fft.make_scratch_vec(),
                spectrum: vec![0.0; config.n_fft / 2 + 1],
            },
        };
        Scratch { padded: vec![0.0; (config.n_frames - 1) * config.hop + config.n_fft], transform }
    }

    /// The mel spectrogram of the first `window_samples` of `samples` (mono, at the configuration's rate); a shorter
    /// slice is followed by zeros, a sample that is not a number counts as zero.
    pub fn compute(&self, samples: &[f32]) -> MelSpectrogram {
        let mut values = Array2::zeros((self.config.n_mels, self.config.n_frames));
        let out = values.as_slice_mut().expect("a new array is contiguous");
        self.compute_into(samples, &mut self.scratch(), out);
        MelSpectrogram { values, config: Arc::clone(&self.config) }
    }

    /// As [`compute`](Self::compute), without allocating.
    ///
    /// - `out`: `n_mels · n_frames` numbers, row after row (`[mel][frame]`)
    ///
    /// # Panics
    /// If `out` has another length, or `scratch` is another front end's.
    pub fn compute_into(&self, samples: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let config = &*self.config;
        assert_eq!(out.len(), config.cells(), "out must hold n_mels * n_frames numbers");
        let padded = &mut scratch.padded;
        assert_eq!(
            padded.len(),
            (config.n_frames - 1) * config.hop + config.n_fft,
            "scratch of another front end"
        );
        stft::pad(self.isa, &samples[..samples.len().min(config.window_samples)], config.pad_left, padded);
        if let Some(level) = config.level_dbfs {
            set_level(padded, config.window_samples, level);
        }
        match (&self.transform, &mut scratch.transform) {
            (FrameTransform::Fast(stft), TransformScratch::Fast(work)) => {
                stft.bands(config, &self.mel, padded, work, out);
            }
            (
                FrameTransform::Plain { hann, fft },
                TransformScratch::Plain { frame, bins, fft: work, spectrum },
            ) => {
                for at in 0..config.n_frames {
                    let samples = &padded[at * config.hop..][..config.n_fft];
                    for ((value, &sample), hann) in frame.iter_mut().zip(samples).zip(hann) {
                        *value = f64::from(sample) * hann;
                    }
                    fft.process_with_scratch(frame, bins, work).expect("buffers were made by this plan");
                    let magnitude = config.spectrum == Spectrum::Magnitude;
                    for (x, bin) in spectrum.iter_mut().zip(&*bins) {
                        let power = bin.norm_sqr() as f32;
                        *x = if magnitude { power.sqrt() } else { power };
                    }
                    self.mel.project(spectrum, |band, sum| out[band * config.n_frames + at] = sum as f32);
                }
            }
            _ => panic!("scratch of another front end"),
        }
        compress(self.isa, config.compression, config.spectrum == Spectrum::RootOfPower, out);
    }
}

/// Scales a padded window to `level` dB RMS over its `n` samples; silence stays silence.
fn set_level(padded: &mut [f32], n: usize, level: f32) {
    let squares: f64 = padded.iter().map(|&sample| f64::from(sample) * f64::from(sample)).sum();
    let rms = (squares / n as f64).sqrt();
    if rms > 0.0 {
        let gain = (10f64.powf(f64::from(level) / 20.0) / rms) as f32;
        padded.iter_mut().for_each(|sample| *sample *= gain);
    }
}

impl FrameTransform {
    fn plain(hann: &[f64]) -> Self {
        Self::Plain { hann: hann.to_vec(), fft: RealFftPlanner::new().plan_fft_forward(hann.len()) }
    }
}

fn hann(shape: Hann, n: usize) -> Vec<f64> {
    let period = match shape {
        Hann::Periodic => n,
        Hann::Symmetric => n - 1,
    };
    let turn = std::f64::consts::TAU / period as f64;
    (0..n).map(|i| 0.5 - 0.5 * (turn * i as f64).cos()).collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compression, MelNorm, MelScale, OpenL3Variant};
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    #[test]
    fn a_level_makes_loudness_not_matter() {
        let front_end = MelFrontEnd::new(MelConfig::musicnn().at_level(-20.0)).unwrap();
        let plain = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
        let loud = noise(48_128, 3);
        let soft: Vec<f32> = loud.iter().map(|sample| sample * 0.125).collect();
        // A power of two scales without rounding: the same bits.
        assert_eq!(front_end.compute(&loud).values, front_end.compute(&soft).values);
        assert_ne!(plain.compute(&loud).values, plain.compute(&soft).values);
        let rms = (loud.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / loud.len() as f64).sqrt();
        let at: Vec<f32> = loud.iter().map(|s| (f64::from(*s) * 0.1 / rms) as f32).collect();
        let (a, b) = (front_end.compute(&loud).values, plain.compute(&at).values);
        let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 2e-3, "-20 dB RMS is 0.1: {off}");
        assert!(
            front_end.compute(&vec![0.0; 48_128]).values.iter().all(|v| *v == 0.0),
            "silence stays silence"
        );
    }

    fn all() -> [MelConfig; 4] {
        [
            MelConfig::openl3(OpenL3Variant::Original),
            MelConfig::openl3(OpenL3Variant::Kapre04),
            MelConfig::openl3(OpenL3Variant::Essentia),
            MelConfig::musicnn(),
        ]
    }

    fn isas() -> Vec<Isa> {
        match Isa::detect() {
            Isa::Avx512 => vec![Isa::Avx512, Isa::Avx2, Isa::Portable],
            Isa::Avx2 => vec![Isa::Avx2, Isa::Portable],
            Isa::Portable => vec![Isa::Portable],
        }
    }

    fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// The same front end by realfft.
    fn plain(config: &MelConfig) -> MelFrontEnd {
        let mut front_end = MelFrontEnd::with_isa(config.clone(), Isa::Portable).unwrap();
        front_end.transform = FrameTransform::plain(&hann(config.hann, config.n_fft));
        front_end
    }

    #[test]
    fn fast_paths_equal_realfft_for_every_length() {
        for n_fft in [256, 512, 1024, 2048, 4096] {
            for base in all() {
                let config = MelConfig { n_fft, n_mels: 40, n_frames: 21, pad_left: 100, ..base };
                let samples = noise(6000, n_fft as u64);
                let expected = plain(&config).compute(&samples);
                for isa in isas() {
                    let front_end = MelFrontEnd::with_isa(config.clone(), isa).unwrap();
                    assert!(matches!(front_end.transform, FrameTransform::Fast(_)));
                    let found = front_end.compute(&samples);
                    let difference = largest_difference(&found.values, &expected.values);
                    // One rounding of a half-precision float is 2e-4 in MusiCNN's logarithm; dB are exact to 1e-5.
                    let tolerance =
                        if config.compression == MelConfig::musicnn().compression { 3e-4 } else { 4e-5 };
                    assert!(difference < tolerance, "{isa:?} {n_fft} {:?}: {difference}", config.spectrum);
                }
            }
        }
    }

    #[test]
    fn a_length_without_a_fast_path_is_computed() {
        let config = MelConfig { n_fft: 1000, n_mels: 20, ..MelConfig::musicnn() };
        let front_end = MelFrontEnd::new(config).unwrap();
        assert!(matches!(front_end.transform, FrameTransform::Plain { .. }));
        // 1 kHz is in the band whose triangle is highest there.
        let tone: Vec<f32> = (0..48_128).map(|i| (i as f32 * std::f32::consts::TAU / 16.0).sin()).collect();
        let mel = front_end.compute(&tone);
        let bank = super::super::filter_bank(front_end.config());
        let highest = |column: Vec<f64>| (0..20).max_by(|&a, &b| column[a].total_cmp(&column[b])).unwrap();
        let expected = highest(bank.column(62).iter().zip(bank.column(63)).map(|(a, b)| a + b).collect());
        assert_eq!(highest(mel.values.column(90).iter().map(|&x| f64::from(x)).collect()), expected);
    }

    #[test]
    fn buffers_are_reusable_and_quiet_frames_do_not_hear_loud_neighbours() {
        let front_end = MelFrontEnd::new(MelConfig::openl3(OpenL3Variant::Original)).unwrap();
        let mut scratch = front_end.scratch();
        let mut out = vec![0.0; front_end.config().cells()];
        let loud = noise(48_000, 1);
        let quiet: Vec<f32> = noise(48_000, 2).iter().map(|x| x * 1e-6).collect();
        front_end.compute_into(&loud, &mut scratch, &mut out);
        front_end.compute_into(&quiet[..10_000], &mut scratch, &mut out);
        assert_eq!(out, front_end.compute(&quiet[..10_000]).values.as_slice().unwrap());

        // A half of silence beside a half of noise: silent frames are at the floor, though computed in pairs.
        let half: Vec<f32> = loud[..24_000].to_vec();
        let mel = front_end.compute(&half);
        let first_silent = (24_000 + 982) / 242 + 1;
        assert!(mel.values.slice(ndarray::s![.., first_silent..]).iter().all(|&x| x == -80.0));
        assert!(mel.values.slice(ndarray::s![.., ..first_silent - 9]).iter().all(|&x| x > -40.0));
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
        fn never_nan_and_within_range(bits in prop::collection::vec(any::<u32>(), 0..5000), at in 0usize..4) {
            let samples: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let mel = MelFrontEnd::new(all()[at].clone()).unwrap().compute(&samples);
            let range = if at < 3 { -80.0..=0.0 } else { 0.0..=9.0 };
            prop_assert!(mel.values.iter().all(|x| range.contains(x)));
            if at < 3 {
                prop_assert!(mel.values.iter().any(|&x| x == 0.0));
            }
        }

        #[test]
        fn openl3_does_not_hear_level(seed in any::<u64>(), gain_db in -60f32..60.0, at in 0usize..3) {
            let front_end = MelFrontEnd::new(all()[at].clone()).unwrap();
            let samples = noise(48_000, seed);
            let gain = 10f32.powf(gain_db / 20.0);
            let louder: Vec<f32> = samples.iter().map(|x| x * gain).collect();
            let (a, b) = (front_end.compute(&samples), front_end.compute(&louder));
            prop_assert!(largest_difference(&a.values, &b.values) < 1e-4);
        }

        #[test]
        fn musicnn_grows_with_level(seed in any::<u64>()) {
            let front_end = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
            let samples = noise(48_128, seed);
            let softer: Vec<f32> = samples.iter().map(|x| x * 0.5).collect();
            let (a, b) = (front_end.compute(&samples), front_end.compute(&softer));
            prop_assert!(a.values.iter().zip(&b.values).all(|(a, b)| a >= b));
        }

        #[test]
        fn a_shift_by_a_hop_shifts_the_frames(seed in any::<u64>()) {
            let front_end = MelFrontEnd::new(MelConfig::musicnn()).unwrap();
            let samples = noise(48_128 + 256, seed);
            let (a, b) = (front_end.compute(&samples), front_end.compute(&samples[256..]));
            prop_assert_eq!(a.values.slice(ndarray::s![.., 1..]), b.values.slice(ndarray::s![.., ..186]));
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
                hann: Hann::Symmetric,
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
