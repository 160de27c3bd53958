//! Amplitude spectra of single frames, in f32, which suffices for onsets and pitches.

use std::borrow::Cow;

use super::transform::{Transform, hann};

/// A transform of one length under a Hann window, with its buffers.
pub(super) struct Spectra {
    transform: Transform<f32>,
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
        assert!(halved(&[1.0; 3], 2).is_empty());
    }
}
