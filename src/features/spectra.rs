//! Amplitude spectra of single frames, in f32, which suffices for onsets and pitches.

use std::borrow::Cow;

use super::transform::{Transform, hann};

pub(super) struct Spectra {
    transform: Transform<f32>,
    amplitudes: Vec<f32>,
}

/// The next even length with a fast transform, without prime factors above 7.
fn quick_length(least: f64) -> usize {
    // Even, because the real transform packs two samples into one complex number.
    let least = 2 * ((least / 2.0).round() as usize).max(1);
    // 210 is 2 · 3 · 5 · 7.
    let is_quick = |length: &usize| 210u128.pow(16).is_multiple_of(*length as u128);
    (least..).step_by(2).find(is_quick).unwrap_or(least)
}

/// Halves the rate as long as it stays at least `least`: the samples and their rate in Hz. Each halving
/// attenuates frequencies below an eighth of its input rate by at most about 2 dB, and those that alias
/// there by at least 25 dB, which suffices for onsets and pitches.
pub(super) fn slowed(samples: &[f32], rate: u32, least: f64) -> (Cow<'_, [f32]>, f64) {
    let mut samples = Cow::Borrowed(samples);
    let mut rate = f64::from(rate);
    while rate / 2.0 >= least {
        let next = samples.get(2..).unwrap_or_default();
        let pairs = samples.chunks_exact(2).zip(next.chunks_exact(2));
        // Binomial taps (1, 3, 3, 1)/8, symmetric so that onsets do not move.
        let half = pairs.map(|(a, b)| 0.125 * (a[0] + b[1]) + 0.375 * (a[1] + b[0]));
        samples = half.collect();
        rate /= 2.0;
    }
    (samples, rate)
}

impl Spectra {
    /// Frames of so many seconds, or slightly longer for a faster transform.
    pub(super) fn of_seconds(seconds: f64, rate: f64) -> Self {
        let size = quick_length(rate * seconds);
        Self {
            transform: Transform::new(hann(size).into_iter().map(|x| x as f32).collect()),
            amplitudes: vec![0.0; size / 2 + 1],
        }
    }

    pub(super) fn size(&self) -> usize {
        self.transform.size()
    }

    /// Amplitudes of the frame at the start of `samples`, `1 + size / 2` bins; missing samples and those
    /// that are not finite are silence.
    pub(super) fn of(&mut self, samples: &[f32]) -> &[f32] {
        let bins = (self.transform).of(samples, |x| if x.is_finite() { x } else { 0.0 });
        for (amplitude, bin) in self.amplitudes.iter_mut().zip(bins) {
            *amplitude = bin.norm_sqr().sqrt();
        }
        &self.amplitudes
    }
}
