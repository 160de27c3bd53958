//! STFT, mel projection and compression of one window.

use std::sync::Arc;

use half::f16;
use ndarray::Array2;
use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::mel::{SparseBank, filter_bank};
use super::{Compression, FeaturesError, Hann, MelConfig, Spectrum};

/// One window's mel spectrogram, with what it was made by.
#[derive(Debug, Clone, PartialEq)]
pub struct MelSpectrogram {
    /// `[n_mels, n_frames]`, lowest band first; unit and range are those of the configuration's [`Compression`].
    pub values: Array2<f32>,
    /// What made it.
    pub config: Arc<MelConfig>,
}

/// Buffers of one thread, from [`MelFrontEnd::scratch`]; reused from window to window.
#[derive(Debug, Clone)]
pub struct Scratch {
    frame: Vec<f64>,
    fft: Vec<Complex<f64>>,
    bins: Vec<Complex<f64>>,
    spectrum: Vec<f64>,
}

/// Computes mel spectrograms; shared between threads, each with its own [`Scratch`].
#[derive(Clone)]
pub struct MelFrontEnd {
    config: Arc<MelConfig>,
    hann: Vec<f64>,
    bank: SparseBank,
    fft: Arc<dyn RealToComplex<f64>>,
}

impl std::fmt::Debug for MelFrontEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MelFrontEnd").field("config", &self.config).finish_non_exhaustive()
    }
}

impl MelFrontEnd {
    /// Plans the FFT and the filter bank.
    pub fn new(config: MelConfig) -> Result<Self, FeaturesError> {
        config.validate()?;
        let n = config.n_fft;
        let period = match config.hann {
            Hann::Periodic => n,
            Hann::Symmetric => n - 1,
        };
        let turn = std::f64::consts::TAU / period as f64;
        let hann = (0..n).map(|i| 0.5 - 0.5 * (turn * i as f64).cos()).collect();
        let bank = SparseBank::new(&filter_bank(&config));
        let fft = RealFftPlanner::new().plan_fft_forward(n);
        Ok(Self { config: Arc::new(config), hann, bank, fft })
    }

    /// What it computes.
    pub fn config(&self) -> &Arc<MelConfig> {
        &self.config
    }

    /// Buffers for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch {
            frame: self.fft.make_input_vec(),
            fft: self.fft.make_scratch_vec(),
            bins: self.fft.make_output_vec(),
            spectrum: vec![0.0; self.config.n_fft / 2 + 1],
        }
    }

    /// The mel spectrogram of the first `window_samples` of `samples` (mono, at the configuration's rate); a shorter
    /// slice is followed by zeros, a sample that is not finite counts as zero.
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
        let samples = &samples[..samples.len().min(config.window_samples)];
        for frame in 0..config.n_frames {
            let start = (frame * config.hop) as i64 - config.pad_left as i64;
            for (i, (value, hann)) in scratch.frame.iter_mut().zip(&self.hann).enumerate() {
                let sample = usize::try_from(start + i as i64).ok().and_then(|at| samples.get(at));
                *value = sample.filter(|s| s.is_finite()).map_or(0.0, |&s| f64::from(s)) * hann;
            }
            self.fft
                .process_with_scratch(&mut scratch.frame, &mut scratch.bins, &mut scratch.fft)
                .expect("buffers were made by this plan");
            let magnitude = config.spectrum == Spectrum::Magnitude;
            for (power, bin) in scratch.spectrum.iter_mut().zip(&scratch.bins) {
                *power = if magnitude { bin.norm_sqr().sqrt() } else { bin.norm_sqr() };
            }
            let root = config.spectrum == Spectrum::RootOfPower;
            self.bank.project(&scratch.spectrum, |band, sum| {
                out[band * config.n_frames + frame] = if root { sum.sqrt() } else { sum } as f32;
            });
        }
        compress(config.compression, out);
    }
}

/// Applies the compression to all cells of one window.
fn compress(compression: Compression, cells: &mut [f32]) {
    match compression {
        Compression::Decibel { amin, range_db } => {
            let mut maximum = f32::NEG_INFINITY;
            for x in cells.iter_mut() {
                *x = (10.0 * f64::from(*x).max(amin).log10()) as f32;
                maximum = maximum.max(*x);
            }
            let floor = -range_db as f32;
            for x in cells {
                *x = (*x - maximum).max(floor);
            }
        }
        Compression::LogHalf { scale } => {
            for x in cells {
                let half = f16::from_f32(x.min(f16::MAX.to_f32())).to_f32();
                *x = (scale as f32 * half + 1.0).log10();
            }
        }
    }
}
