//! Amplitude spectra of single frames, in f32: enough for onsets and pitches.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// A transform of one length under a Hann window, with its buffers.
pub(super) struct Spectra {
    hann: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
    frame: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    amplitudes: Vec<f32>,
}

impl Spectra {
    /// - `size`: samples of a frame, even
    pub(super) fn new(size: usize) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(size);
        let turn = std::f64::consts::TAU / size as f64;
        Self {
            hann: (0..size).map(|i| (0.5 - 0.5 * (turn * i as f64).cos()) as f32).collect(),
            frame: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            amplitudes: vec![0.0; size / 2 + 1],
            fft,
        }
    }

    /// Samples of a frame.
    pub(super) fn size(&self) -> usize {
        self.hann.len()
    }

    /// Amplitudes of the frame at the start of `samples`, `1 + size / 2` bins; what is missing or no number is silence.
    pub(super) fn of(&mut self, samples: &[f32]) -> &[f32] {
        self.frame.fill(0.0);
        for ((value, &sample), &weight) in self.frame.iter_mut().zip(samples).zip(&self.hann) {
            *value = if sample.is_finite() { sample * weight } else { 0.0 };
        }
        // It fails for buffers of other lengths only.
        let _ = self.fft.process_with_scratch(&mut self.frame, &mut self.bins, &mut self.scratch);
        for (amplitude, bin) in self.amplitudes.iter_mut().zip(&self.bins) {
            *amplitude = bin.norm_sqr().sqrt();
        }
        &self.amplitudes
    }
}
