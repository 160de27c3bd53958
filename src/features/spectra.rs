//! Amplitude spectra of single frames, in f32, which suffices for onsets and pitches.

use std::borrow::Cow;
use std::sync::Arc;

use super::stft::hann;
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

/// The next even length with a fast transform, without prime factors above 7. Lengths at 16 and 48 kHz
/// have this property.
fn quick_length(least: f64) -> usize {
    let is_quick = |length: &usize| {
        let without = |rest: usize, factor: usize| {
            std::iter::successors(Some(rest), |rest| {
                rest.is_multiple_of(factor).then(|| rest / factor)
            })
            .last()
        };
        [2, 3, 5, 7].into_iter().try_fold(*length, without) == Some(1)
    };
    // Even, because the real transform packs two samples into one complex number.
    let least = 2 * ((least / 2.0).round() as usize).max(1);
    (least..).step_by(2).find(is_quick).unwrap_or(least)
}

/// Number of halvings after which a rate is still at least `least`.
pub(super) fn halvings(rate: u32, least: u32) -> u32 {
    (rate / least.max(1)).checked_ilog2().unwrap_or(0)
}

/// Halves the rate several times. Each halving attenuates frequencies below an eighth of its input rate
/// by at most about 2 dB, and those that alias there by at least 25 dB, which suffices for onsets and
/// pitches.
pub(super) fn halved(samples: &[f32], times: u32) -> Cow<'_, [f32]> {
    let mut samples = Cow::Borrowed(samples);
    for _ in 0..times {
        let pairs = samples
            .chunks_exact(2)
            .zip(samples.get(2..).unwrap_or_default().chunks_exact(2));
        // Binomial taps (1, 3, 3, 1)/8, symmetric so that onsets do not move.
        samples = pairs
            .map(|(a, b)| 0.125 * (a[0] + b[1]) + 0.375 * (a[1] + b[0]))
            .collect();
    }
    samples
}

impl Spectra {
    /// Frames of so many seconds, or slightly longer for a faster transform.
    ///
    /// - `rate`: Hz
    pub(super) fn of_seconds(seconds: f64, rate: f64) -> Self {
        Self::new(quick_length(rate * seconds))
    }

    /// - `size`: samples of a frame, even
    fn new(size: usize) -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(size);
        Self {
            hann: hann(size).into_iter().map(|x| x as f32).collect(),
            frame: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            amplitudes: vec![0.0; size / 2 + 1],
            fft,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.hann.len()
    }

    /// Amplitudes of the frame at the start of `samples`, `1 + size / 2` bins; missing samples and those
    /// that are not finite are silence.
    pub(super) fn of(&mut self, samples: &[f32]) -> &[f32] {
        self.frame.fill(0.0);
        for ((value, &sample), &weight) in self.frame.iter_mut().zip(samples).zip(&self.hann) {
            *value = if sample.is_finite() {
                sample * weight
            } else {
                0.0
            };
        }
        // Fails only for buffers of other lengths.
        let _ = self
            .fft
            .process_with_scratch(&mut self.frame, &mut self.bins, &mut self.scratch);
        for (amplitude, bin) in self.amplitudes.iter_mut().zip(&self.bins) {
            *amplitude = bin.norm_sqr().sqrt();
        }
        &self.amplitudes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_keeps_low_frequencies_and_attenuates_aliases() {
        let gain = |hz: f32| {
            let tone: Vec<f32> = (0..44_100)
                .map(|i| (std::f32::consts::TAU * hz * i as f32 / 44_100.0).sin())
                .collect();
            let half = halved(&tone, 1);
            (half.iter().map(|x| x * x).sum::<f32>() / half.len() as f32 * 2.0).sqrt()
        };
        assert!(gain(1000.0) > 0.99 && gain(5500.0) > 0.788 && gain(17_000.0) < 0.056);
        assert_eq!(halvings(44_100, 16_000), 1);
        assert_eq!(halvings(8000, 16_000), 0);
        assert!(halved(&[1.0; 3], 2).is_empty());
    }

    #[test]
    fn lengths_have_small_factors_and_are_only_slightly_longer() {
        for (rate, length) in [(16_000.0, 1024), (44_100.0, 2880), (22_050.0, 1440)] {
            assert_eq!(Spectra::of_seconds(0.064, rate).size(), length);
        }
    }
}
