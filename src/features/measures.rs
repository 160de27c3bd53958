//! Measures of a piece of music, from its samples and its onset strength.

use super::spectra::{Spectra, slowed};
use super::tempo::{LEAST_RATE, Onsets, SHORTEST};

/// Bins are 31 Hz apart, so that medians across time and frequency have similar extents.
const FRAME_SECONDS: f64 = 0.032;
/// Length of medians in frames and in bins: 0.54 s and 530 Hz.
const MEDIAN: usize = 17;
/// Amplitude of silence: -100 dB of full scale.
const SILENT: f32 = 1e-5;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// Mean rise of 40 logarithmic mel bands over a fiftieth of a second.
    pub flux: f64,
    pub onset_rate: f64,
    /// Mean autocorrelation of onset strength at eight multiples of the beat, 0 to 1.
    pub pulse_clarity: f64,
    /// Detrended fluctuation analysis: 0 to about 3; `None` for pieces without fluctuation.
    pub dfa: Option<f64>,
    /// Share of amplitude in percussive parts (Fitzgerald 2010), 0 to 1.
    pub percussiveness: f64,
    /// Mean spectral centroid up to 8 kHz, weighted by amplitude, Hz.
    pub brightness: f64,
}

impl Measures {
    /// Measures a contiguous piece of mono samples; `None` for silence and less than 6 s.
    ///
    /// - `onsets`: those of the same piece
    pub fn new(samples: &[f32], rate: u32, onsets: &Onsets) -> Option<Self> {
        let is_heard = |sample: &f32| sample.is_finite() && sample.abs() > SILENT;
        if (samples.len() as f64) < SHORTEST * f64::from(rate) || !samples.iter().any(is_heard) {
            return None;
        }
        let (samples, rate) = slowed(samples, rate, LEAST_RATE);
        let spectrogram = Spectrogram::new(&samples, rate);
        Some(Self {
            flux: onsets.flux(),
            onset_rate: onsets.rate(),
            pulse_clarity: onsets.pulse_clarity(),
            dfa: fluctuation(&samples, rate),
            percussiveness: spectrogram.percussive_share(),
            brightness: spectrogram.centroid(rate),
        })
    }
}

struct Spectrogram {
    cells: Vec<f32>,
    bins: usize,
    size: usize,
}

impl Spectrogram {
    fn new(samples: &[f32], rate: f64) -> Self {
        let mut spectra = Spectra::of_seconds(FRAME_SECONDS, rate);
        let size = spectra.size();
        let bins = ((8000.0 * size as f64 / rate) as usize).min(size / 2) + 1;
        let mut cells = Vec::new();
        for frame in samples.chunks_exact(size) {
            cells.extend_from_slice(&spectra.of(frame)[..bins]);
        }
        Self { cells, bins, size }
    }

    fn centroid(&self, rate: f64) -> f64 {
        let mut sum = 0.0;
        let mut weighted = 0.0;
        for (cell, &amplitude) in self.cells.iter().enumerate() {
            sum += f64::from(amplitude);
            weighted += (cell % self.bins) as f64 * f64::from(amplitude);
        }
        weighted / f64::max(sum, 1e-12) * rate / self.size as f64
    }

    /// The percussive share of each cell, by the squares of the medians across frequency and time.
    fn percussive(&self) -> Vec<f32> {
        let frames = self.cells.chunks_exact(self.bins);
        let mut across: Vec<f32> = frames.flat_map(medians).collect();
        for bin in 0..self.bins {
            let line = self.cells.iter().skip(bin).step_by(self.bins);
            let along = medians(&line.copied().collect::<Vec<f32>>());
            for (frame, harmonic) in along.iter().enumerate() {
                let percussive = &mut across[frame * self.bins + bin];
                let most = percussive.max(*harmonic);
                *percussive = if most < f32::MIN_POSITIVE {
                    0.5
                } else {
                    // Divided first, so that no square underflows.
                    let p = (*percussive / most).powi(2);
                    p / (p + (harmonic / most).powi(2))
                };
            }
        }
        across
    }

    fn percussive_share(&self) -> f64 {
        let total: f64 = self.cells.iter().copied().map(f64::from).sum();
        let cells = self.cells.iter().zip(self.percussive());
        let percussive = cells.map(|(&cell, share)| f64::from(cell) * f64::from(share));
        percussive.sum::<f64>() / total.max(1e-12)
    }
}

/// The median of each value and its neighbours, [`MEDIAN`] in all; values are mirrored at the ends,
/// with the last one repeated.
fn medians(values: &[f32]) -> Vec<f32> {
    let half = (MEDIAN / 2) as isize;
    let count = values.len() as isize;
    let at = |i: isize| {
        let turn = i.rem_euclid(2 * count);
        values[turn.min(2 * count - 1 - turn) as usize]
    };
    let mut sorted: Vec<f32> = (-half..=half).map(at).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let place = |sorted: &[f32], of: f32| sorted.partition_point(|v| v.total_cmp(&of).is_lt());
    let step = |i: isize| {
        let median = sorted[MEDIAN / 2];
        let gone = place(&sorted, at(i - half));
        let new = at(i + half + 1);
        let to = place(&sorted, new);
        let to = to - usize::from(to > gone);
        if to > gone {
            sorted.copy_within(gone + 1..=to, gone);
        } else {
            sorted.copy_within(to..gone, to + 1);
        }
        sorted[to] = new;
        median
    };
    (0..count).map(step).collect()
}

/// Detrended fluctuation analysis of the level (Streich and Herrera 2005): the deviations of blocks of
/// 10 ms are summed; the result is the reciprocal of the mean exponent with which residues of fitted
/// lines grow with their length, from 0.31 to 8.8 s.
fn fluctuation(samples: &[f32], rate: f64) -> Option<f64> {
    let block = (0.01 * rate) as usize;
    let mut profile: Vec<f64> = samples.chunks_exact(block.max(2)).map(deviation).collect();
    let count = profile.len();
    let mean = profile.iter().sum::<f64>() / count.max(1) as f64;
    let mut sum = 0.0;
    for value in &mut profile {
        sum += *value - mean;
        *value = sum;
    }
    let spans = std::iter::successors(Some(310.0f64), |span| Some(span * 1.1))
        .take_while(|span| *span <= 8800.0)
        .map(|span| (span / 10.0) as usize)
        .take_while(|span| *span < count);
    let residues: Vec<(f64, f64)> = spans
        .map(|span| {
            let step = (span / 50).max(1);
            let starts = (0..count - span).step_by(step);
            let residues = starts.map(|start| residue(&profile[start..start + span]));
            let mean = residues.sum::<f64>() / ((count - span) as f64 / step as f64);
            (span as f64, mean.sqrt())
        })
        .collect();
    // Three blocks more: the paper's correction for short spans.
    let exponents: Vec<f64> = residues
        .windows(2)
        .map(|pair| {
            let longer = (pair[1].0 + 3.0) / (pair[0].0 + 3.0);
            (pair[1].1 / pair[0].1).log10() / longer.log10()
        })
        .filter(|exponent| exponent.is_finite())
        .collect();
    let mean = exponents.iter().sum::<f64>() / exponents.len().max(1) as f64;
    (mean > 0.0).then(|| mean.recip())
}

fn deviation(samples: &[f32]) -> f64 {
    let number = |sample: &f32| f64::from(if sample.is_finite() { *sample } else { 0.0 });
    let count = samples.len() as f64;
    let mean = samples.iter().map(number).sum::<f64>() / count;
    let squares = samples.iter().map(|sample| (number(sample) - mean).powi(2));
    (squares.sum::<f64>() / (count - 1.0)).sqrt()
}

/// Mean squared residue of the least-squares line.
fn residue(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / count;
    let mut products = 0.0;
    let mut squares = 0.0;
    for (i, value) in values.iter().enumerate() {
        products += (i as f64 - middle) * (value - mean);
        squares += (value - mean).powi(2);
    }
    let spread = count * (count * count - 1.0) / 12.0;
    ((squares - products * products / spread) / count).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    #[derive(serde::Deserialize)]
    struct Golden {
        dfa: std::collections::BTreeMap<u32, f64>,
        bins: usize,
        cells: Vec<f32>,
        percussive: Vec<f32>,
    }

    /// As `tests/data/features/measures.py` computes it.
    fn piece() -> Vec<f32> {
        let mut state = 1u64;
        let mut since = 0.0f64;
        let rate = f64::from(RATE);
        let sample = |i: u32| {
            state = (state * 1_103_515_245 + 12_345) % (1 << 31);
            let time = f64::from(i) / rate;
            let is_over = since > 0.6 - 0.02 * time;
            since = if is_over { 0.0 } else { since + 1.0 / rate };
            let sine = |hz: f64, at: f64| (std::f64::consts::TAU * hz * at).sin();
            let drum = (-25.0 * since).exp() * sine(180.0, since);
            let noise = state as f64 / f64::from(1u32 << 31) - 0.5;
            let hiss = (-60.0 * (since % 0.15)).exp() * noise;
            let tones = sine(440.0, time) + sine(1250.0, time);
            (0.4 * drum + 0.2 * hiss + 0.05 * tones * (0.7 * time).sin()) as f32
        };
        (0..12 * RATE).map(sample).collect()
    }

    #[test]
    fn fluctuation_agrees_with_essentia_and_percussive_shares_with_librosa() {
        let golden = include_str!("../../tests/data/features/measures.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        let samples = piece();
        for (rate, expected) in golden.dfa {
            let found = fluctuation(&samples, f64::from(rate)).unwrap();
            assert!((found - expected).abs() < 2e-3, "{rate}: {found}");
        }
        assert_eq!(fluctuation(&[], 16_000.0), None);
        let spectrogram = Spectrogram {
            cells: golden.cells,
            bins: golden.bins,
            size: 2 * (golden.bins - 1),
        };
        for (found, expected) in spectrogram.percussive().iter().zip(&golden.percussive) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn clicks_are_rhythm_and_a_tone_has_its_pitch() {
        let measured = |value: &dyn Fn(f64) -> f64| {
            let at = |i: u32| value(f64::from(i) / f64::from(RATE)) as f32;
            let samples: Vec<f32> = (0..10 * RATE).map(at).collect();
            Measures::new(&samples, RATE, &Onsets::new(&samples, RATE))
        };
        let sine = |hz: f64, time: f64| (std::f64::consts::TAU * hz * time).sin();
        let drum = |time: f64| 0.8 * (-400.0 * (time % 0.5)).exp() * sine(1500.0, time % 0.5);
        let drum = measured(&drum).unwrap();
        let tone = measured(&|time| 0.3 * sine(1000.0, time)).unwrap();
        assert!((drum.onset_rate - 2.0).abs() < 0.15 && drum.pulse_clarity > 0.5);
        assert!(tone.onset_rate < 0.2 && tone.flux < drum.flux, "{tone:?}");
        assert!((tone.brightness / 1000.0 - 1.0).abs() < 0.05, "{tone:?}");
        assert_eq!(measured(&|_| f64::NAN), None);
    }
}
