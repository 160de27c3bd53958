//! Mel and Bark filter banks, and the projection onto their non-zero weights.

use ndarray::Array2;

use super::{MelConfig, MelNorm, MelScale};

fn hz_to_mel(scale: MelScale, hz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hz / 700.0).log10(),
        MelScale::Slaney if hz < 1000.0 => hz * 3.0 / 200.0,
        MelScale::Slaney => 15.0 + (hz / 1000.0).ln() / slaney_step(),
        // Traunmüller's corrections at both ends of the scale.
        MelScale::Bark => match 26.81 * hz / (1960.0 + hz) - 0.53 {
            bark if bark < 2.0 => bark + 0.15 * (2.0 - bark),
            bark if bark > 20.1 => bark + 0.22 * (bark - 20.1),
            bark => bark,
        },
    }
}

fn mel_to_hz(scale: MelScale, mel: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mel / 2595.0) - 1.0),
        MelScale::Slaney if mel < 15.0 => mel * 200.0 / 3.0,
        MelScale::Slaney => 1000.0 * (slaney_step() * (mel - 15.0)).exp(),
        MelScale::Bark => {
            // 2.0 and 20.1 are the fixed points of the corrections above.
            let bark = match mel {
                low if low < 2.0 => (low - 0.3) / 0.85,
                high if high > 20.1 => (high + 0.22 * 20.1) / 1.22,
                middle => middle,
            };
            1960.0 * (bark + 0.53) / (26.28 - bark)
        }
    }
}

/// Natural logarithm of the frequency ratio of one mel above 1 kHz.
fn slaney_step() -> f64 {
    6.4f64.ln() / 27.0
}

/// The `n_mels + 2` corners of the triangles, Hz.
fn edges(config: &MelConfig) -> Vec<f64> {
    let scale = config.mel_scale;
    let low = hz_to_mel(scale, config.f_min);
    let high = hz_to_mel(scale, config.f_max);
    let step = (high - low) / (config.n_mels + 1) as f64;
    (0..config.n_mels + 2)
        .map(|i| mel_to_hz(scale, low + step * i as f64))
        .collect()
}

/// Centre frequencies of the bands of a configuration, Hz.
pub(super) fn centres(config: &MelConfig) -> Vec<f64> {
    edges(config)[1..=config.n_mels].to_vec()
}

/// The mel filter bank of a configuration, `[n_mels, 1 + n_fft / 2]`.
///
/// Triangles between `n_mels + 2` frequencies spaced evenly in mel, as librosa 0.11's `filters.mel`.
pub fn filter_bank(config: &MelConfig) -> Array2<f64> {
    let edges = edges(config);
    let bin_hz = f64::from(config.sample_rate) / config.n_fft as f64;
    let mut bank = Array2::zeros((config.n_mels, config.n_fft / 2 + 1));
    for (m, mut row) in bank.outer_iter_mut().enumerate() {
        let [lower, centre, upper] = [edges[m], edges[m + 1], edges[m + 2]];
        let height = match config.mel_norm {
            MelNorm::Slaney => 2.0 / (upper - lower),
            MelNorm::Peak => 1.0,
        };
        for (k, weight) in row.iter_mut().enumerate() {
            let at = k as f64 * bin_hz;
            // The triangle is the smaller of its two sides as lines, and 0 below zero.
            let rise = (at - lower) / (centre - lower);
            let fall = (upper - at) / (upper - centre);
            *weight = rise.min(fall).max(0.0) * height;
        }
    }
    bank
}

pub(super) struct Triangles {
    /// Bins between edges `s` and `s + 1`: rising side of band `s`, falling side of band `s - 1`;
    /// `n_mels + 1` of them.
    segments: Vec<std::ops::Range<usize>>,
    /// Per bin: weight in the rising and in the falling band.
    weights: Vec<[f64; 2]>,
}

impl Triangles {
    pub(super) fn new(config: &MelConfig) -> Self {
        let bank = filter_bank(config);
        let (n_mels, n_bins) = bank.dim();
        let bin_hz = f64::from(config.sample_rate) / config.n_fft as f64;
        let below = |hz: f64| (0..n_bins).take_while(|k| *k as f64 * bin_hz < hz).count();
        let edges = edges(config);
        let segments = edges.windows(2).map(|pair| below(pair[0])..below(pair[1]));
        let segments: Vec<_> = segments.collect();
        let mut weights = vec![[0.0; 2]; n_bins];
        for (s, range) in segments.iter().enumerate() {
            for bin in range.clone() {
                let rise = if s < n_mels { bank[(s, bin)] } else { 0.0 };
                let fall = if s > 0 { bank[(s - 1, bin)] } else { 0.0 };
                weights[bin] = [rise, fall];
            }
        }
        Self { segments, weights }
    }

    /// Number of bins below the middle of the last band.
    pub(super) fn below_last_centre(&self) -> usize {
        self.segments.last().map_or(0, |range| range.start)
    }

    /// Calls `sink(band, sum of each spectrum)` for each band; `spectra`: `1 + n_fft / 2` bins of
    /// `N` spectra side by side.
    #[inline(always)]
    pub(super) fn project<const N: usize>(
        &self,
        spectra: &[[f32; N]],
        mut sink: impl FnMut(usize, [f64; N]),
    ) {
        let mut rising_before = [0.0; N];
        for (segment, range) in self.segments.iter().enumerate() {
            let mut rising = [0.0; N];
            let mut falling = [0.0; N];
            let bins = spectra[range.clone()].iter();
            for (values, [rise, fall]) in bins.zip(&self.weights[range.clone()]) {
                for i in 0..N {
                    rising[i] += f64::from(values[i]) * rise;
                    falling[i] += f64::from(values[i]) * fall;
                }
            }
            if segment > 0 {
                for i in 0..N {
                    falling[i] += rising_before[i];
                }
                sink(segment - 1, falling);
            }
            rising_before = rising;
        }
    }
}
