//! Fourier transforms of frames under a window.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{FftNum, RealFftPlanner, RealToComplex};

/// A transform of one length with its buffers.
#[derive(Clone)]
pub(super) struct Transform<T> {
    window: Vec<T>,
    fft: Arc<dyn RealToComplex<T>>,
    frame: Vec<T>,
    bins: Vec<Complex<T>>,
    scratch: Vec<Complex<T>>,
}

impl<T: FftNum> Transform<T> {
    /// - `window`: an even number of weights
    pub(super) fn new(window: Vec<T>) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(window.len());
        Self {
            window,
            frame: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.window.len()
    }

    /// The `1 + size / 2` bins of the frame at the start of `samples`; missing samples are silence.
    #[inline(always)]
    pub(super) fn of<S: Copy>(&mut self, samples: &[S], number: impl Fn(S) -> T) -> &[Complex<T>] {
        let inside = samples.len().min(self.frame.len());
        let (frame, after) = self.frame.split_at_mut(inside);
        for ((value, &sample), &weight) in frame.iter_mut().zip(samples).zip(&self.window) {
            *value = number(sample) * weight;
        }
        after.fill(T::zero());
        // Fails only for buffers of other lengths.
        let _ = self
            .fft
            .process_with_scratch(&mut self.frame, &mut self.bins, &mut self.scratch);
        &self.bins
    }
}

/// The periodic Hann window.
pub(super) fn hann(n: usize) -> Vec<f64> {
    let turn = std::f64::consts::TAU / n as f64;
    (0..n)
        .map(|i| 0.5 - 0.5 * (turn * i as f64).cos())
        .collect()
}
