//! Windowed Fourier transforms of all frames of a window, and their sums in mel bands.
//!
//! In f64: a window spans 80 dB with a factor of 10 on *amplitudes*, so that its floor is 1e-8 of its
//! loudest cell. That is about the rounding of an f32 transform: quiet cells would be noise that
//! depends on the machine.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::MelConfig;
use super::config::Spectrum;
use super::mel::Triangles;

const GROUP: usize = 8;

/// The transform of one length with its analysis window.
#[derive(Clone)]
pub(super) struct Stft {
    hann: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
}

#[derive(Debug, Clone)]
pub(super) struct StftScratch {
    frame: Vec<f64>,
    bins: Vec<Complex<f64>>,
    fft: Vec<Complex<f64>>,
    /// Power or magnitude, `[bin][frame of the group]`.
    spectra: Vec<[f32; GROUP]>,
}

impl Stft {
    pub(super) fn new(n: usize) -> Self {
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(n),
            hann: hann(n),
        }
    }

    pub(super) fn scratch(&self) -> StftScratch {
        StftScratch {
            frame: self.fft.make_input_vec(),
            bins: self.fft.make_output_vec(),
            fft: self.fft.make_scratch_vec(),
            spectra: vec![[0.0; GROUP]; self.fft.len() / 2 + 1],
        }
    }

    /// Sums of all bands and frames, before any square root of the sum.
    ///
    /// - `padded`: the window with its zeros on either side, `(n_frames - 1) · hop + n_fft` samples
    /// - `out`: `[n_mels][n_frames]`
    #[inline(always)]
    pub(super) fn bands(
        &self,
        config: &MelConfig,
        mel: &Triangles,
        padded: &[f32],
        scratch: &mut StftScratch,
        out: &mut [f32],
    ) {
        let StftScratch {
            frame,
            bins,
            fft,
            spectra,
        } = scratch;
        // Eight frames at a time: each weight of the filter bank is loaded once for all of them.
        for first in (0..config.n_frames).step_by(GROUP) {
            let count = GROUP.min(config.n_frames - first);
            for i in 0..count {
                // In f64: an f32 window would have the rounding that the transform avoids.
                let samples = &padded[(first + i) * config.hop..][..config.n_fft];
                for ((value, &sample), hann) in frame.iter_mut().zip(samples).zip(&self.hann) {
                    *value = f64::from(sample) * hann;
                }
                self.fft
                    .process_with_scratch(frame, bins, fft)
                    .expect("buffers were made by this plan");
                let magnitude = config.spectrum == Spectrum::Magnitude;
                for (values, bin) in spectra.iter_mut().zip(&*bins) {
                    let power = (bin.re * bin.re + bin.im * bin.im) as f32;
                    values[i] = if magnitude { power.sqrt() } else { power };
                }
            }
            mel.project(spectra, |band, sums| {
                let cells = &mut out[band * config.n_frames + first..][..count];
                for (cell, sum) in cells.iter_mut().zip(sums) {
                    *cell = sum as f32;
                }
            });
        }
    }
}

/// The periodic Hann window.
pub(super) fn hann(n: usize) -> Vec<f64> {
    let turn = std::f64::consts::TAU / n as f64;
    (0..n)
        .map(|i| 0.5 - 0.5 * (turn * i as f64).cos())
        .collect()
}
