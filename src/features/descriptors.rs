//! Descriptors of whole clips, as librosa 0.11 defines them: MFCC, mel and Bark bands, and the
//! eleven kinds of the Free Music Archive's data set (Defferrard and others 2017).

use std::str::FromStr;

use ndarray::{Array2, ArrayView1};

use super::clip::{CONTRAST_BANDS, Clip, HOP, MELS, cepstrum, median};
use super::constant_q::CHROMA;
use super::{MelConfig, MelScale};

/// Sample rate of most descriptors in Hz.
pub const DESCRIPTOR_RATE: u32 = 22_050;
/// Samples between the middles of frames; the first one's is the first sample.
pub const DESCRIPTOR_HOP: usize = HOP;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorSet {
    /// Mean and deviation of 128 mel bands in decibels: 256 numbers.
    Mel,
    /// Mean and deviation of 24 critical bands in decibels: 48.
    Bark,
    /// Seven statistics of 20 mel-frequency cepstral coefficients: 140.
    Mfcc,
    /// Means of 40 of them.
    Mfcc40Mean,
    /// Seven statistics of eleven kinds: pitch classes by three ways, MFCC, level, the spectrum's
    /// bandwidth, centroid, contrast and roll-off, tonal centroids, zero crossings: 518.
    Fma,
}

impl DescriptorSet {
    pub const ALL: [(&str, Self); 5] = [
        ("mel", Self::Mel),
        ("bark", Self::Bark),
        ("mfcc", Self::Mfcc),
        ("mfcc40-mean", Self::Mfcc40Mean),
        ("fma", Self::Fma),
    ];

    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, set)| *set == self)
            .map_or("", |(name, _)| name)
    }

    fn rows(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Mel => &[("mel", MELS)],
            Self::Bark => &[("bark", 24)],
            Self::Mfcc => &[("mfcc", 20)],
            Self::Mfcc40Mean => &[("mfcc", 40)],
            Self::Fma => &[
                ("chroma_cens", CHROMA),
                ("chroma_cqt", CHROMA),
                ("chroma_stft", CHROMA),
                ("mfcc", 20),
                ("rmse", 1),
                ("spectral_bandwidth", 1),
                ("spectral_centroid", 1),
                ("spectral_contrast", CONTRAST_BANDS),
                ("spectral_rolloff", 1),
                ("tonnetz", 6),
                ("zcr", 1),
            ],
        }
    }

    fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Mel | Self::Bark => &["mean", "std"],
            Self::Mfcc40Mean => &["mean"],
            _ => &["mean", "std", "skew", "kurtosis", "median", "min", "max"],
        }
    }

    /// The sample rate in Hz for a file of `native` Hz. Those of the Free Music Archive are computed at
    /// the file's rate.
    pub fn rate(self, native: u32) -> u32 {
        // A frame has 2048 samples: far from 22 kHz its numbers would not be comparable.
        if self == Self::Fma && (16_000..=48_000).contains(&native) {
            native
        } else {
            DESCRIPTOR_RATE
        }
    }

    /// Names of the numbers, in order: `mfcc_mean_01` …
    pub fn columns(self) -> Vec<String> {
        let mut names = Vec::new();
        for (row, count) in self.rows() {
            for statistic in self.statistics() {
                names.extend((1..=*count).map(|number| format!("{row}_{statistic}_{number:02}")));
            }
        }
        names
    }

    pub fn rows_over_time(self) -> Vec<String> {
        let numbered = |(row, count): &(&str, usize)| {
            let row = (*row).to_owned();
            (1..=*count).map(move |number| format!("{row}_{number:02}"))
        };
        self.rows().iter().flat_map(numbered).collect()
    }

    /// - `samples`: mono, at `rate`; those that are not finite count as silence
    pub fn of(self, samples: &[f32], rate: u32) -> Vec<f32> {
        let all = self.over_time(samples, rate);
        let mut all = all.outer_iter().map(statistics);
        let mut numbers = Vec::new();
        for (_, count) in self.rows() {
            let rows: Vec<[f64; 7]> = all.by_ref().take(*count).collect();
            for place in 0..self.statistics().len() {
                numbers.extend(rows.iter().map(|row| row[place] as f32));
            }
        }
        numbers
    }

    /// The rows, `[rows, frames]`.
    pub fn over_time(self, samples: &[f32], rate: u32) -> Array2<f64> {
        let clip = Clip::new(samples, rate);
        match self {
            Self::Mel => clip.mel_decibels(),
            Self::Bark => clip.band_decibels(&MelConfig {
                n_mels: 24,
                mel_scale: MelScale::Bark,
                ..clip.mel_config()
            }),
            Self::Mfcc => cepstrum(&clip.mel_decibels(), 20),
            Self::Mfcc40Mean => cepstrum(&clip.mel_decibels(), 40),
            Self::Fma => clip.fma(),
        }
    }
}

impl FromStr for DescriptorSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, set)| *set).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            format!("there is no set of features \"{text}\": expected own, {names} or model:NAME")
        })
    }
}

/// Mean, deviation, skewness, kurtosis (Fisher's; both 0 for a constant row), median, least, largest.
fn statistics(row: ArrayView1<f64>) -> [f64; 7] {
    let n = row.len() as f64;
    let mean = row.sum() / n;
    let moment = |power: i32| row.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    // Rounding gives a constant row about this variance.
    let varies = variance > 1e-20 * (mean * mean).max(1e-20);
    let standard = |power: i32| moment(power) / variance.sqrt().powi(power);
    [
        mean,
        variance.sqrt(),
        if varies { standard(3) } else { 0.0 },
        if varies { standard(4) - 3.0 } else { 0.0 },
        median(row.to_vec()),
        row.fold(f64::INFINITY, |least, v| least.min(*v)),
        row.fold(f64::NEG_INFINITY, |most, v| most.max(*v)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_gives_as_many_numbers_as_names() {
        let odd = [f32::NAN, f32::INFINITY, 1.0, -1.0];
        for (name, set) in DescriptorSet::ALL {
            assert_eq!(name.parse(), Ok(set));
            for samples in [&[][..], &odd, &vec![0.0; 5000]] {
                let numbers = set.of(samples, DESCRIPTOR_RATE);
                assert_eq!(numbers.len(), set.columns().len());
                assert!(numbers.iter().all(|v| v.is_finite()), "{name}: {numbers:?}");
            }
        }
        let row = ndarray::array![2.0, 2.0, 2.0, 2.0];
        assert_eq!(statistics(row.view()), [2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    }
}
