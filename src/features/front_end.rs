//! STFT, mel projection and compression of one window.

use ndarray::Array2;

use super::compress::compress;
use super::mel::Triangles;
use super::transform::{Transform, hann};
use super::{FeaturesError, MelConfig, Spectrum};
use voisin_simd::{Isa, Work, isa, vectorised};

/// Frames that are projected together: each weight of the filter bank is loaded once for all of them.
const GROUP: usize = 8;

pub struct Scratch {
    padded: Vec<f32>,
    transform: Transform<f64>,
    /// Power or magnitude, `[bin][frame of the group]`.
    spectra: Vec<[f32; GROUP]>,
}

/// Computes mel spectrograms; shared between threads, each with its own [`Scratch`].
///
/// The transform is in f64: a window spans 80 dB with a factor of 10 on *amplitudes*, so that its
/// floor is 1e-8 of its loudest cell. That is about the rounding of an f32 transform: quiet cells would
/// be noise that depends on the machine.
pub struct MelFrontEnd {
    config: MelConfig,
    mel: Triangles,
    transform: Transform<f64>,
    isa: Isa,
}

impl MelFrontEnd {
    pub fn new(config: MelConfig) -> Result<Self, FeaturesError> {
        config.validate()?;
        Ok(Self {
            mel: Triangles::new(&config),
            transform: Transform::new(hann(config.n_fft)),
            config,
            isa: isa()?,
        })
    }

    pub fn config(&self) -> &MelConfig {
        &self.config
    }

    pub fn scratch(&self) -> Scratch {
        let config = &self.config;
        Scratch {
            padded: vec![0.0; (config.n_frames - 1) * config.hop + config.n_fft],
            transform: self.transform.clone(),
            spectra: vec![[0.0; GROUP]; config.n_fft / 2 + 1],
        }
    }

    /// The mel spectrogram of the first `window_samples` of mono samples, `[n_mels, n_frames]`, lowest
    /// band first; what is missing and NaN count as zero.
    pub fn compute(&self, samples: &[f32]) -> Array2<f32> {
        let mut values = Array2::zeros((self.config.n_mels, self.config.n_frames));
        let out = values.as_slice_mut().expect("a new array is contiguous");
        self.compute_into(samples, &mut self.scratch(), out);
        values
    }

    /// As [`compute`](Self::compute), without allocating, into `out`, `[mel][frame]`.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn compute_into(&self, samples: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let config = &self.config;
        assert_eq!(out.len(), config.cells(), "cells of another front end");
        let padded = &mut scratch.padded;
        let samples = &samples[..samples.len().min(config.window_samples)];
        pad(samples, config.pad_left, padded);
        if config.repeated {
            repeat(padded, config, samples.len());
            mirror(padded, config);
        }
        if let Some(level) = config.level_dbfs {
            set_level(padded, config.window_samples, level);
        }
        let window = Window {
            front_end: self,
            scratch,
            out,
        };
        vectorised(self.isa, window);
        if config.standardised {
            standardise(out);
        }
    }
}

/// The part that runs with vector instructions, from a padded window on.
struct Window<'a> {
    front_end: &'a MelFrontEnd,
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl Work for Window<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let MelFrontEnd { config, mel, .. } = self.front_end;
        let Scratch {
            padded,
            transform,
            spectra,
        } = self.scratch;
        let magnitude = config.spectrum == Spectrum::Magnitude;
        for first in (0..config.n_frames).step_by(GROUP) {
            let count = GROUP.min(config.n_frames - first);
            for i in 0..count {
                let frame = &padded[(first + i) * config.hop..][..config.n_fft];
                let bins = transform.of(frame, f64::from);
                for (values, bin) in spectra.iter_mut().zip(bins) {
                    let power = bin.norm_sqr() as f32;
                    values[i] = if magnitude { power.sqrt() } else { power };
                }
            }
            mel.project(spectra, |band, sums| {
                let cells = &mut self.out[band * config.n_frames + first..][..count];
                for (cell, sum) in cells.iter_mut().zip(sums) {
                    *cell = sum as f32;
                }
            });
        }
        let root = config.spectrum == Spectrum::RootOfPower;
        compress(config.compression, root, self.out);
    }
}

fn standardise(cells: &mut [f32]) {
    /// Deviation below which a window counts as constant.
    const EVEN: f64 = 1e-6;
    let n = cells.len() as f64;
    let mean = cells.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let squares = cells.iter().map(|x| (f64::from(*x) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / n).sqrt();
    let divisor = if deviation < EVEN { 1.0 } else { deviation };
    for x in cells {
        *x = ((f64::from(*x) - mean) / divisor) as f32;
    }
}

/// Scales a padded window to `level` dB RMS over its `n` samples; silence stays silence.
fn set_level(padded: &mut [f32], n: usize, level: f32) {
    let squares = padded.iter().map(|sample| f64::from(*sample).powi(2));
    let rms = (squares.sum::<f64>() / n as f64).sqrt();
    if rms > 0.0 {
        let gain = (10f64.powf(f64::from(level) / 20.0) / rms) as f32;
        padded.iter_mut().for_each(|sample| *sample *= gain);
    }
}

/// Samples beyond this are clipped, so that powers stay finite in `f32`.
const LOUDEST: f32 = 1e15;

/// Copies the window after `pad_left` zeros and pads the end.
fn pad(samples: &[f32], pad_left: usize, padded: &mut [f32]) {
    padded.fill(0.0);
    // A file may have NaN, which would spread to every band.
    for (to, &x) in padded.iter_mut().skip(pad_left).zip(samples) {
        if !x.is_nan() {
            *to = x.clamp(-LOUDEST, LOUDEST);
        }
    }
}

/// Repeats the first `n` samples of a padded window as often as they fit into it.
fn repeat(padded: &mut [f32], config: &MelConfig, n: usize) {
    let start = config.pad_left.min(padded.len());
    let window = config.window_samples.min(padded.len() - start);
    for copy in 1..window.checked_div(n).unwrap_or(0) {
        padded.copy_within(start..start + n, start + copy * n);
    }
}

/// Mirrors a padded window at its first and its last sample.
fn mirror(padded: &mut [f32], config: &MelConfig) {
    let start = config.pad_left.min(padded.len());
    let end = (start + config.window_samples).min(padded.len());
    for i in 1..=start {
        if start + i < end {
            padded[start - i] = padded[start + i];
        }
    }
    for i in end..padded.len() {
        if let Some(from) = (2 * end).checked_sub(i + 2).filter(|from| *from >= start) {
            padded[i] = padded[from];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use voisin_base::random::Random;

    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..n).map(|_| 2.0 * random.f32() - 1.0).collect()
    }

    #[test]
    fn a_fixed_level_removes_differences_in_loudness() {
        let at_level = MelConfig {
            level_dbfs: Some(-20.0),
            ..MelConfig::musicnn()
        };
        let front_end = MelFrontEnd::new(at_level).unwrap();
        let loud = noise(48_128, 3);
        let quiet: Vec<f32> = loud.iter().map(|x| 1e-3 * x).collect();
        let off = front_end.compute(&loud) - front_end.compute(&quiet);
        assert!(off.iter().all(|x| x.abs() < 2e-3));
        let silence = front_end.compute(&vec![0.0; 48_128]);
        assert!(silence.iter().all(|v| *v == 0.0), "silence stays silence");
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let samples = noise(48_000, 500);
        for config in [MelConfig::openl3(), MelConfig::musicnn()] {
            let mut found = Isa::available().into_iter().map(|isa| {
                let front_end = MelFrontEnd::new(config.clone()).unwrap();
                MelFrontEnd { isa, ..front_end }.compute(&samples)
            });
            let first = found.next().unwrap();
            assert!(found.all(|other| other == first));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_sound_in_any_valid_configuration_is_within_range(
            bits in prop::collection::vec(any::<u32>(), 0..5000), is_musicnn: bool,
            n_fft in 8usize..600, hop in 1usize..900, n_frames in 1usize..30, n_mels in 1usize..64,
        ) {
            let samples: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let base = if is_musicnn { MelConfig::musicnn() } else { MelConfig::openl3() };
            let config = MelConfig {
                n_fft: 2 * n_fft, hop, n_frames, n_mels, pad_left: n_fft, window_samples: 3000, ..base
            };
            if let Ok(front_end) = MelFrontEnd::new(config) {
                let mel = front_end.compute(&samples);
                let range = if is_musicnn { 0.0..=9.0 } else { -80.0..=0.0 };
                prop_assert!(mel.iter().all(|x| range.contains(x)));
            }
        }
    }
}
