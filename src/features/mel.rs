//! Mel filter banks, and the projection onto their non-zero weights.

use ndarray::Array2;

use super::{MelConfig, MelNorm, MelScale};

fn hz_to_mel(scale: MelScale, hz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < 1000.0 => hz * 3.0 / 200.0,
        MelScale::Slaney => 15.0 + (hz / 1000.0).ln() / slaney_step(),
    }
}

fn mel_to_hz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
        MelScale::Slaney => 1000.0 * (slaney_step() * (mel - 15.0)).exp(),
    }
}

/// Natural logarithm of the frequency ratio of one mel above 1 kHz.
fn slaney_step() -> f64 {
    6.4f64.ln() / 27.0
}

/// The mel filter bank of a configuration, `[n_mels, 1 + n_fft / 2]`.
///
/// Triangles between `n_mels + 2` frequencies spaced evenly in mel from `f_min` to `f_max`; bin `k` is at
/// `k · sample_rate / n_fft` Hz. Within 1e-6 of librosa 0.11's `filters.mel` (`tests/features.rs`).
pub fn filter_bank(config: &MelConfig) -> Array2<f64> {
    let (low, high) = (hz_to_mel(config.mel_scale, config.f_min), hz_to_mel(config.mel_scale, config.f_max));
    let steps = (config.n_mels + 1) as f64;
    let edge = |i: usize| mel_to_hz(config.mel_scale, low + (high - low) * i as f64 / steps);
    let bin_hz = f64::from(config.sample_rate) / config.n_fft as f64;
    let mut bank = Array2::zeros((config.n_mels, config.n_fft / 2 + 1));
    for (m, mut row) in bank.outer_iter_mut().enumerate() {
        let (lower, centre, upper) = (edge(m), edge(m + 1), edge(m + 2));
        let height = match config.mel_norm {
            MelNorm::Slaney | MelNorm::UnitTri => 2.0 / (upper - lower),
            MelNorm::Peak => 1.0,
        };
        for (k, weight) in row.iter_mut().enumerate() {
            let hz = k as f64 * bin_hz;
            let rise = (hz - lower) / (centre - lower);
            let fall = (upper - hz) / (upper - centre);
            *weight = rise.min(fall).max(0.0) * height;
        }
    }
    bank
}

/// The non-zero weights of a filter bank: per band a run of consecutive bins.
#[derive(Debug, Clone)]
pub(super) struct SparseBank {
    bands: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<f64>,
}

impl SparseBank {
    pub(super) fn new(bank: &Array2<f64>) -> Self {
        let mut weights = Vec::new();
        let bands = bank
            .outer_iter()
            .map(|row| {
                let first = row.iter().position(|&w| w > 0.0).unwrap_or(0);
                let end = row.iter().rposition(|&w| w > 0.0).map_or(first, |last| last + 1);
                let start = weights.len();
                weights.extend(row.iter().skip(first).take(end - first));
                (first, start..weights.len())
            })
            .collect();
        Self { bands, weights }
    }

    /// Calls `sink(band, sum)` for each band; `spectrum`: `1 + n_fft / 2` bins.
    pub(super) fn project(&self, spectrum: &[f64], mut sink: impl FnMut(usize, f64)) {
        for (band, (first, range)) in self.bands.iter().enumerate() {
            let weights = &self.weights[range.clone()];
            let bins = &spectrum[*first..*first + weights.len()];
            sink(band, weights.iter().zip(bins).map(|(w, x)| w * x).sum());
        }
    }
}
