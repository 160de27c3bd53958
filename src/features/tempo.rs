//! Tempo estimation from the periodicity of onsets.
//!
//! Onset strength is the rise of 40 logarithmic mel bands (spectral flux). Its generalised
//! autocorrelation (Tolonen and Karjalainen 2000) is evaluated at eight multiples of each beat's length
//! (a comb, as in Scheirer 1998); log-normal priors choose a pulse and its octave (after Ellis 2007).
//! All parameters were chosen on rendered grooves and real music.

use realfft::RealFftPlanner;

use super::mel::Triangles;
use super::spectra::{Spectra, slowed};
use super::{MelConfig, MelNorm, MelScale};

/// Frames of onset strength per second.
const FRAMES: f64 = 50.0;
const FRAME_SECONDS: f64 = 0.064;
/// Hz after halving.
pub(super) const LEAST_RATE: f64 = 16_000.0;
const BANDS: usize = 40;
const LOWEST_HZ: f64 = 30.0;
const HIGHEST_HZ: f64 = 8000.0;
/// The exponent of the amplitude spectrum in the autocorrelation; usually 2.
const COMPRESSION: f32 = 1.5;
/// Multiples of a beat in the comb.
const MULTIPLES: usize = 8;
/// Range of tempos in beats per minute.
const SLOWEST: f64 = 40.0;
const FASTEST: f64 = 250.0;
/// A log-normal prior: its middle in beats per minute, and its width in octaves.
type Prior = (f64, f64);
/// A wide prior for the pulse, and a narrower one for the octave of the beat.
const PULSE: Prior = (118.0, 0.9);
const OCTAVE: Prior = (108.0, 0.63);
/// Weight of a prior relative to the autocorrelation.
const WEIGHT: f64 = 0.3;
/// Mean autocorrelation of a comb below which there is no beat; noise has less.
const LEAST: f64 = 0.02;
/// Least rise of an onset above the mean of its second.
const STANDS_OUT: f32 = 0.05;
/// Seconds of the shortest piece that is measured.
pub(super) const SHORTEST: f64 = 6.0;

/// Onset strength of a piece of music, and its periodicity.
#[derive(Default)]
pub struct Onsets {
    strength: Vec<f32>,
    pulse: Option<(f64, f64)>,
}

impl Onsets {
    /// - `samples`: mono, at 8000 Hz or more; a piece of less than 6 s has no onsets
    pub fn new(samples: &[f32], rate: u32) -> Self {
        if (samples.len() as f64) < SHORTEST * f64::from(rate) {
            return Self::default();
        }
        let strength = onset_strength(samples, rate);
        let correlation = autocorrelation(&smoothed(&strength));
        Self {
            strength,
            pulse: correlation.and_then(|correlation| pulse(&correlation)),
        }
    }

    /// Beats per minute; `None` if no beat is found.
    pub fn tempo(&self) -> Option<f64> {
        let pulse = self.pulse.filter(|(_, strength)| *strength > LEAST);
        pulse.map(|(tempo, _)| tempo)
    }

    /// Mean autocorrelation at eight multiples of the beat, 0 to 1.
    pub fn pulse_clarity(&self) -> f64 {
        let strength = self.pulse.map(|(_, strength)| strength.clamp(0.0, 1.0));
        strength.unwrap_or_default()
    }

    pub fn flux(&self) -> f64 {
        let sum: f64 = self.strength.iter().copied().map(f64::from).sum();
        sum / self.strength.len().max(1) as f64
    }

    /// Onsets per second: maxima of 0.1 s that exceed the mean of their second by [`STANDS_OUT`].
    pub fn rate(&self) -> f64 {
        let strength = &self.strength;
        let near = |i: usize, reach: usize| {
            &strength[i.saturating_sub(reach)..(i + reach + 1).min(strength.len())]
        };
        let is_onset = |&i: &usize| {
            let second = near(i, FRAMES as usize / 2);
            let mean = second.iter().sum::<f32>() / second.len() as f32;
            // The first of equal maxima.
            let before = &strength[i.saturating_sub(2)..i];
            strength[i] > mean + STANDS_OUT
                && near(i, 2).iter().all(|other| *other <= strength[i])
                && before.iter().all(|other| *other < strength[i])
        };
        let count = (0..strength.len()).filter(is_onset).count();
        count as f64 * FRAMES / strength.len().max(1) as f64
    }
}

/// The best tempo of an autocorrelation, and its mean at the multiples of a beat.
fn pulse(correlation: &[f32]) -> Option<(f64, f64)> {
    let strength = |bpm: f64| -> f64 {
        let lag = 60.0 * FRAMES / bpm;
        let comb = (1..=MULTIPLES).map(|k| at(correlation, k as f64 * lag));
        comb.sum::<f64>() / MULTIPLES as f64
    };
    let score = |bpm: f64, (usual, spread): Prior| {
        strength(bpm) - WEIGHT * 0.5 * ((bpm / usual).log2() / spread).powi(2)
    };
    // Logarithmic steps, because errors of tempos are relative.
    let best = |from: f64, to: f64, step: f64| -> f64 {
        let n = ((to / from).ln() / step) as usize;
        (0..=n)
            .map(|i| from * (i as f64 * step).exp())
            .max_by(|&a, &b| score(a, PULSE).total_cmp(&score(b, PULSE)))
            .unwrap_or(from)
    };
    let pulse = best(SLOWEST, FASTEST, 0.01);
    let octaves = [0.5, 1.0, 2.0].map(|times| pulse * times).into_iter();
    let beat = octaves
        .filter(|bpm| (SLOWEST..=FASTEST).contains(bpm))
        .max_by(|&a, &b| score(a, OCTAVE).total_cmp(&score(b, OCTAVE)))?;
    // Refined to 0.05 %, from the peak of the comb found to 1 %.
    let tempo = best(beat * 0.99, beat * 1.01, 0.000_5);
    Some((tempo, strength(tempo)))
}

fn onset_strength(samples: &[f32], rate: u32) -> Vec<f32> {
    let (samples, rate) = slowed(samples, rate, LEAST_RATE);
    let mut spectra = Spectra::of_seconds(FRAME_SECONDS, rate);
    let mel = Triangles::new(&MelConfig {
        n_mels: BANDS,
        f_min: LOWEST_HZ,
        f_max: HIGHEST_HZ,
        mel_scale: MelScale::Htk,
        mel_norm: MelNorm::Peak,
        ..MelConfig::librosa(rate as u32, spectra.size(), 0, 0)
    });
    let frames = ((samples.len() - spectra.size()) as f64 / rate * FRAMES) as usize + 1;
    let mut bands = vec![[0.0f32; BANDS]; frames];
    let mut squares = 0.0f64;
    // The last band has its rising side only.
    let below = mel.below_last_centre();
    let mut heard = vec![[0.0]; spectra.size() / 2 + 1];
    for (i, sums) in bands.iter_mut().enumerate() {
        let amplitudes = spectra.of(&samples[(i as f64 * rate / FRAMES) as usize..]);
        squares += amplitudes.iter().map(|a| f64::from(a * a)).sum::<f64>();
        heard[..below].copy_from_slice(&amplitudes.as_chunks::<1>().0[..below]);
        mel.project(&heard, |band, [sum]| sums[band] = sum as f32);
    }
    let level = (squares / (frames * below) as f64).sqrt().max(1e-9) as f32;
    for sum in bands.as_flattened_mut() {
        *sum = (*sum / level).ln_1p();
    }
    let rise = |pair: &[[f32; BANDS]]| -> f32 {
        let rises = pair[0].iter().zip(&pair[1]).map(|(a, b)| (b - a).max(0.0));
        rises.sum::<f32>() / BANDS as f32
    };
    bands.windows(2).map(rise).collect()
}

/// Onsets minus the mean of their second, smoothed by a frame, with mean zero.
fn smoothed(onsets: &[f32]) -> Vec<f32> {
    let half = FRAMES as usize / 2;
    let mut sums = vec![0.0f64];
    for &onset in onsets {
        sums.push(sums[sums.len() - 1] + f64::from(onset));
    }
    // Six zeros on either side.
    let mut peaks = vec![0.0; onsets.len() + 12];
    for (i, onset) in onsets.iter().enumerate() {
        let second = sums[(i + half).min(onsets.len())] - sums[i.saturating_sub(half)];
        peaks[i + 6] = (onset - (second / (2 * half) as f64) as f32).max(0.0);
    }
    let kernel = [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6];
    let kernel = kernel.map(|i| (-0.5 * f64::from(i * i)).exp() as f32);
    let total: f32 = kernel.iter().sum();
    let blur = |near: &[f32]| {
        kernel
            .iter()
            .zip(near)
            .map(|(k, peak)| k * peak)
            .sum::<f32>()
            / total
    };
    let mut blurred: Vec<f32> = peaks.windows(kernel.len()).map(blur).collect();
    let mean = blurred.iter().sum::<f32>() / blurred.len().max(1) as f32;
    blurred.iter_mut().for_each(|value| *value -= mean);
    blurred
}

/// Relative to lag 0; `None` for silence.
fn autocorrelation(values: &[f32]) -> Option<Vec<f32>> {
    // With zeros to twice the length, because the transform's correlation is circular.
    let size = (2 * values.len()).next_power_of_two();
    let mut planner = RealFftPlanner::<f32>::new();
    let forward = planner.plan_fft_forward(size);
    let back = planner.plan_fft_inverse(size);
    let mut padded = forward.make_input_vec();
    padded[..values.len()].copy_from_slice(values);
    let mut bins = forward.make_output_vec();
    forward.process(&mut padded, &mut bins).ok()?;
    for bin in &mut bins {
        // An exponent below 2 reduces the weight of a few strong components.
        *bin = bin.norm().powf(COMPRESSION).into();
    }
    back.process(&mut bins, &mut padded).ok()?;
    let first = padded[0];
    padded.truncate(size / 2);
    padded.iter_mut().for_each(|value| *value /= first);
    (first > 0.0).then_some(padded)
}

/// Interpolates between two lags; beyond the last one, the last value.
fn at(correlation: &[f32], lag: f64) -> f64 {
    let i = (lag as usize).min(correlation.len() - 2);
    let part = (lag - i as f64).min(1.0);
    f64::from(correlation[i]) * (1.0 - part) + f64::from(correlation[i + 1]) * part
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    /// A drum on each beat, a short hiss on each eighth, at `bpm`.
    fn beats(bpm: f64, rate: u32) -> Vec<f32> {
        let mut random = Random::new(7);
        let eighth = 30.0 / bpm;
        let sample = |i: u32| {
            let t = f64::from(i) / f64::from(rate);
            let since_beat = t % (2.0 * eighth);
            let drum = (-since_beat * 30.0).exp() * (380.0 * since_beat).sin();
            let hiss = (-(t % eighth) * 80.0).exp() * (random.f64() - 0.5);
            (0.6 * drum + 0.2 * hiss) as f32
        };
        (0..30 * rate).map(sample).collect()
    }

    #[test]
    fn a_steady_beat_is_counted_at_any_rate() {
        for (bpm, rate) in [(96.5, 16_000), (100.0, 44_100), (128.0, 48_000)] {
            let found = Onsets::new(&beats(bpm, rate), rate).tempo().unwrap();
            assert!((found / bpm - 1.0).abs() < 0.005, "{bpm}: {found}");
        }
    }

    #[test]
    fn sound_without_a_beat_has_no_tempo() {
        let mut random = Random::new(3);
        for samples in [
            (0..30 * 16_000).map(|_| random.f32() - 0.5).collect(),
            vec![0.0; 30 * 16_000],
            vec![f32::NAN; 30 * 16_000],
            beats(120.0, 16_000)[..5 * 16_000].to_vec(),
        ] {
            assert_eq!(Onsets::new(&samples, 16_000).tempo(), None);
        }
    }
}
