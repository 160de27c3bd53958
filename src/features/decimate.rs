//! Every third sample, or so: the same sound at a lower rate.

use crate::base::vector::dot;

/// A low-pass, of whose output every `factor`th sample is taken.
#[derive(Debug, Clone)]
pub struct Decimator {
    factor: usize,
    taps: Vec<f32>,
}

/// Filter taps on either side of the middle one, times the factor.
const REACH: usize = 21;
/// Half of the gain is lost at this share of the lower rate's Nyquist frequency.
const EDGE: f64 = 0.95;

impl Decimator {
    /// A windowed sinc of unit gain. It passes nine tenths of the band that is left, and what would fold into these nine
    /// tenths is stopped.
    pub fn new(factor: usize) -> Self {
        let reach = REACH * factor;
        let edge = EDGE / factor as f64;
        let taps: Vec<f64> = (0..=2 * reach)
            .map(|i| {
                let t = i as f64 - reach as f64;
                let x = std::f64::consts::PI * edge * t;
                let sinc = if i == reach { 1.0 } else { x.sin() / x };
                let turn = std::f64::consts::PI * t / (reach + 1) as f64;
                // Blackman's window.
                sinc * (0.42 + 0.5 * turn.cos() + 0.08 * (2.0 * turn).cos())
            })
            .collect();
        let sum: f64 = taps.iter().sum();
        Self { factor, taps: taps.iter().map(|tap| (tap / sum) as f32).collect() }
    }

    /// Samples needed before the first and behind the last of those that come out.
    pub fn reach(&self) -> usize {
        self.taps.len() / 2
    }

    /// Samples needed for `output` samples.
    pub fn input(&self, output: usize) -> usize {
        output * self.factor + 2 * self.reach()
    }

    /// Samples that come of `input` samples.
    pub fn output(&self, input: usize) -> usize {
        input.saturating_sub(2 * self.reach()) / self.factor
    }

    /// Fills `out` from [`input`](Self::input) samples: sample `i` is about `samples[reach + i · factor]`.
    pub fn run(&self, samples: &[f32], out: &mut [f32]) {
        for (i, y) in out.iter_mut().enumerate() {
            *y = dot(&samples[i * self.factor..][..self.taps.len()], &self.taps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_passes_and_what_would_fold_does_not() {
        for factor in [2, 3, 6] {
            let decimator = Decimator::new(factor);
            // Hz at a rate of 48 kHz divided by `factor`: its Nyquist frequency is 24 kHz / factor.
            let gain = |share: f64| {
                let step = std::f64::consts::PI * share / factor as f64;
                let tone: Vec<f32> = (0..9000).map(|i| (step * f64::from(i)).sin() as f32).collect();
                let mut out = vec![0.0; decimator.output(tone.len())];
                decimator.run(&tone, &mut out);
                let power = out.iter().map(|x| x * x).sum::<f32>() / out.len() as f32;
                20.0 * (2.0 * power).sqrt().log10()
            };
            for share in [0.006, 0.125, 0.75] {
                assert!(gain(share).abs() < 0.1, "{factor}, {share}: {} dB", gain(share));
            }
            for share in [1.19, 1.5, 1.9] {
                assert!(gain(share) < -55.0, "{factor}, {share}: {} dB", gain(share));
            }
        }
    }

    #[test]
    fn samples_keep_their_place() {
        let decimator = Decimator::new(3);
        let reach = decimator.reach();
        let slow: Vec<f32> = (0..decimator.input(100)).map(|i| (i as f32 * 0.01).sin()).collect();
        let mut out = vec![0.0; 100];
        decimator.run(&slow, &mut out);
        for (i, y) in out.iter().enumerate() {
            assert!((y - slow[reach + 3 * i]).abs() < 1e-3);
        }
        assert_eq!(decimator.output(decimator.input(100)), 100);
    }
}
