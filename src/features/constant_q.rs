//! Pitch classes by a constant-Q transform (Brown 1991): bins a semitone apart from C1 to B7, each with
//! a filter as long as its pitch requires, octave by octave on ever slower copies of the clip
//! (Schörkhuber and Klapuri 2010). The filters that halve the rate are not librosa's.

use std::borrow::Cow;

use ndarray::Array2;
use realfft::num_complex::Complex;

use super::transform::Transform;

pub(super) const CHROMA: usize = 12;
const OCTAVES: usize = 7;
/// Hz of the lowest bin, C1, for A4 at 440 Hz.
const LOWEST: f64 = 440.0 / 16.0 * 1.189_207_115_002_721;
/// Length of a transform: the longest filter of an octave has 183 samples.
const FRAME: usize = 256;
/// Sample rate up to which the longest filter fits, in Hz.
const FASTEST: f64 = 30_000.0;
/// Bins on either side of a pitch in its filter; beyond, a Hann window passes less than a
/// thousandth.
const REACH: usize = 10;

struct Filter {
    first: usize,
    weights: Vec<Complex<f64>>,
    scale: f64,
}

impl Filter {
    /// - `hz`: of its pitch; `rate`: of the samples
    fn new(hz: f64, rate: f64, length: f64) -> Self {
        let half = (length / 2.0).floor() as i64;
        // Rounded down on both sides, as in librosa, so that an odd length has one more sample before
        // the middle.
        let from = (-length / 2.0).floor() as i64;
        let n = (half - from) as usize;
        let turn = std::f64::consts::TAU;
        let window = |i: usize| 0.5 - 0.5 * (turn * i as f64 / n as f64).cos();
        let sum: f64 = (0..n).map(window).sum();
        // Only bins near the pitch have weight, so that a filter is short.
        let centre = (hz / rate * FRAME as f64).round() as usize;
        let first = centre.saturating_sub(REACH);
        let weight = |bin: usize| -> Complex<f64> {
            let term = |i: usize| {
                let phase = turn * hz / rate * (from + i as i64) as f64;
                let place = bin * (i + (FRAME - n) / 2) % FRAME;
                Complex::from_polar(window(i) / sum, phase - turn * place as f64 / FRAME as f64)
            };
            (0..n).map(term).sum()
        };
        let last = (centre + REACH).min(FRAME / 2);
        Self {
            first,
            weights: (first..=last).map(weight).collect(),
            scale: length.sqrt(),
        }
    }

    fn strength(&self, spectrum: &[Complex<f64>]) -> f64 {
        let bins = self.weights.iter().zip(&spectrum[self.first..]);
        let sum: Complex<f64> = bins.map(|(weight, bin)| weight * bin).sum();
        self.scale * sum.norm_sqr().sqrt()
    }
}

/// Strength of each pitch class over time, `[12, frames]`, frames centred every `hop` samples,
/// zeros outside the clip.
///
/// - `tuning`: of the clip, in semitones
pub(super) fn pitch_classes(
    samples: &[f64],
    rate: f64,
    hop: usize,
    frames: usize,
    tuning: f64,
) -> Array2<f64> {
    // At half the rate the highest octave is still well below the Nyquist frequency.
    if rate > FASTEST {
        return pitch_classes(&halved(samples), rate / 2.0, hop / 2, frames, tuning);
    }
    let lowest = LOWEST * 2f64.powf(tuning / CHROMA as f64);
    let width = 2f64.powf(2.0 / CHROMA as f64);
    let q = (width + 1.0) / (width - 1.0);
    // Each pitch has a window of its own.
    let mut transform = Transform::new(vec![1.0; FRAME]);
    let mut classes = vec![[0.0; CHROMA]; frames];
    // Filters of the highest octave, which serve the next one at half the rate.
    let filters: Vec<Filter> = (0..CHROMA)
        .map(|class| {
            let hz = lowest * ((OCTAVES - 1) as f64 + class as f64 / CHROMA as f64).exp2();
            Filter::new(hz, rate, q * rate / hz)
        })
        .collect();
    let mut signal = Cow::Borrowed(samples);
    for octave in 0..OCTAVES {
        let octave_hop = hop >> octave;
        // Scaled by the root of the filter's length at the full rate.
        let longer = (octave as f64).exp2().sqrt();
        let padded = after_zeros(&signal, FRAME / 2);
        for (number, sums) in classes.iter_mut().enumerate() {
            let frame = padded.get(number * octave_hop..).unwrap_or_default();
            let spectrum = transform.of(frame, |x| x);
            for (filter, sum) in filters.iter().zip(sums) {
                *sum += longer * filter.strength(spectrum);
            }
        }
        signal = Cow::Owned(halved(&signal));
    }
    Array2::from_shape_fn((CHROMA, frames), |(class, frame)| classes[frame][class])
}

/// So many zeros and the samples, so that a frame begins half its length before its time.
pub(super) fn after_zeros(samples: &[f64], zeros: usize) -> Vec<f64> {
    [&vec![0.0; zeros], samples].concat()
}

/// Halves the rate with a half-band filter of 31 taps under a Blackman window. The used band ends at a
/// tenth of the old rate, and frequencies that alias into it begin at four tenths.
fn halved(samples: &[f64]) -> Vec<f64> {
    const REACH: usize = 15;
    let turn = std::f64::consts::PI / (REACH + 1) as f64;
    let tap = |n: usize| {
        let angle = std::f64::consts::FRAC_PI_2 * n as f64;
        let window = 0.42 + 0.5 * (turn * n as f64).cos() + 0.08 * (2.0 * turn * n as f64).cos();
        0.5 * angle.sin() / angle * window
    };
    // Those at even distances are zero.
    let taps: [f64; REACH.div_ceil(2)] = std::array::from_fn(|k| tap(2 * k + 1));
    let mut padded = after_zeros(samples, REACH);
    padded.resize(samples.len() + 2 * REACH, 0.0);
    let at = |around: &[f64]| {
        let pairs = |k: usize| around[REACH - 2 * k - 1] + around[REACH + 2 * k + 1];
        let sides = taps.iter().enumerate().map(|(k, tap)| tap * pairs(k));
        0.5 * around[REACH] + sides.sum::<f64>()
    };
    padded.windows(2 * REACH + 1).step_by(2).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pitch_has_its_class_in_every_octave_at_twice_the_rate() {
        let rate = 44_100.0;
        for octave in 0..OCTAVES as i32 {
            let hz = LOWEST * 2f64.powf(f64::from(octave) + 4.0 / 12.0);
            let wave: Vec<f64> = (0..88_200)
                .map(|i| (std::f64::consts::TAU * hz * f64::from(i) / rate).sin())
                .collect();
            let classes = pitch_classes(&wave, rate, 512, 80, 0.0);
            let middle = classes.column(40);
            let others = (0..CHROMA).filter(|class| *class != 4);
            assert!(
                others.into_iter().all(|class| middle[4] > middle[class]),
                "octave {octave}"
            );
        }
    }
}
