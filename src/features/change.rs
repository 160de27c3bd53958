//! Measures how much the spectrum of a sound changes, independent of loudness: music changes, while
//! noise, tones and clicks do not.

use super::spectra::Spectra;

const BLOCK_SECONDS: f64 = 0.256;
const BANDS: usize = 24;
/// Upper edge of the mel bands.
const HIGHEST_HZ: f64 = 8000.0;
/// Blocks so many decibels below the loudest do not count: the noise in gaps between clicks would be a
/// change.
const RANGE_DB: usize = 40;
/// Lowest of the levels, which are one decibel apart.
const LOWEST_DB: f64 = -160.0;
const LEVELS: usize = 200;
/// A sound that changes less than this is steady: half of the minimum in the demo's music.
const STEADY_BELOW: f64 = 0.027;

pub struct SpectralChange {
    spectra: Spectra,
    /// The band of each bin, without the highest bins.
    bands: Vec<usize>,
    /// For each level, the number of blocks and the sum of their normalised spectra.
    levels: Vec<(f64, [f64; BANDS])>,
}

impl SpectralChange {
    /// - `rate`: Hz of all samples
    pub fn new(rate: u32) -> Self {
        let spectra = Spectra::of_seconds(BLOCK_SECONDS, f64::from(rate));
        let mel = |hz: f64| (1.0 + hz / 700.0).ln();
        let hz = |bin: usize| bin as f64 * f64::from(rate) / spectra.size() as f64;
        let band = |bin| (BANDS as f64 * mel(hz(bin)) / mel(HIGHEST_HZ)) as usize;
        let bands = (0..=spectra.size() / 2).map(band);
        Self {
            bands: bands.take_while(|band| *band < BANDS).collect(),
            spectra,
            levels: vec![(0.0, [0.0; BANDS]); LEVELS],
        }
    }

    /// - `samples`: mono; pieces shorter than a block are ignored
    pub fn push(&mut self, samples: &[f32]) {
        let size = self.spectra.size();
        // Blocks overlap by half, because a Hann window gives a block's ends no weight.
        for block in samples.windows(size).step_by(size / 2) {
            let mut powers = [0.0f64; BANDS];
            for (&band, &amplitude) in self.bands.iter().zip(self.spectra.of(block)) {
                powers[band] += f64::from(amplitude).powi(2);
            }
            let power: f64 = powers.iter().sum();
            let level = 10.0 * (power / (size as f64).powi(2)).log10() - LOWEST_DB;
            if level < 0.0 {
                continue;
            }
            // By level, because the loudest block, to which the 40 dB refer, is known only at the
            // end.
            let (blocks, shapes) = &mut self.levels[(level as usize).min(LEVELS - 1)];
            *blocks += 1.0;
            for (sum, power_of_band) in shapes.iter_mut().zip(powers) {
                // Roots have length 1, so the length of their mean measures how much they differ.
                *sum += (power_of_band / power).sqrt();
            }
        }
    }

    /// Distance of the normalised spectra from their mean, from 0, if all are equal, to 1; `None` for
    /// silence.
    fn value(&self) -> Option<f64> {
        let loudest = self.levels.iter().rposition(|(blocks, _)| *blocks > 0.0)?;
        let sound = &self.levels[loudest.saturating_sub(RANGE_DB)..=loudest];
        let blocks: f64 = sound.iter().map(|(blocks, _)| blocks).sum();
        let mean = |band: usize| sound.iter().map(|(_, shapes)| shapes[band]).sum::<f64>() / blocks;
        Some(1.0 - (0..BANDS).map(|band| mean(band).powi(2)).sum::<f64>())
    }

    /// Whether the sound hardly changes from beginning to end, as noise, a tone or clicks; false for
    /// silence.
    pub fn is_steady(&self) -> bool {
        self.value().is_some_and(|value| value < STEADY_BELOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    const RATE: usize = 16_000;

    fn is_steady(sound: impl FnMut(usize) -> f32) -> bool {
        let samples: Vec<f32> = (0..12 * RATE).map(sound).collect();
        let mut change = SpectralChange::new(RATE as u32);
        samples
            .chunks(3 * RATE)
            .for_each(|piece| change.push(piece));
        change.is_steady()
    }

    #[test]
    fn noise_tones_and_clicks_are_steady_and_a_tune_is_not() {
        let mut rng = Random::new(1);
        assert!(is_steady(|i| (rng.f32() - 0.5) * i as f32 / RATE as f32));
        let tone = |hz: f32, i: usize| (std::f32::consts::TAU * hz * i as f32 / RATE as f32).sin();
        assert!(is_steady(|i| 0.001 * tone(440.0, i)));
        assert!(is_steady(|i| f32::from(u8::from(i % (RATE / 2) == 0))));
        // Four tones, two per second.
        let tune = |i| tone([262.0, 330.0, 392.0, 523.0][i * 2 / RATE % 4], i);
        assert!(!is_steady(tune) && !is_steady(|_| f32::NAN));
    }
}
