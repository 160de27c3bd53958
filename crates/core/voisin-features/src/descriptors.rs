//! Descriptors of whole clips, as librosa 0.11 defines them: MFCC, mel and Bark bands, and the
//! eleven kinds of the Free Music Archive's data set (Defferrard, Benzi, Vandergheynst and Bresson,
//! "FMA: A Dataset for Music Analysis", 2017). Also tempo and key by [`tempo`] and
//! [`KeyFinder`].
//!
//! Each row of numbers over time becomes seven statistics.

use std::str::FromStr;

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::clip::{CONTRAST_BANDS, Clip, HOP, MELS, audible, cepstrum, median};
use super::constant_q::CHROMA;
use super::{KeyFinder, MelConfig, MelScale, tempo};

/// Sample rate of most descriptors in Hz.
pub const DESCRIPTOR_RATE: u32 = 22_050;
/// Samples between the middles of frames; the first one's is the first sample.
pub const DESCRIPTOR_HOP: usize = HOP;

const BARKS: usize = 24;
/// Length in seconds of the middle of a clip from which its tempo is estimated.
const TEMPO_SECONDS: usize = 30;

/// A set of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DescriptorSet {
    /// Mean and deviation of 128 mel bands in decibels: 256 numbers.
    Mel,
    /// Mean and deviation of 24 critical bands in decibels: 48.
    Bark,
    /// Seven statistics of 20 mel-frequency cepstral coefficients: 140.
    Mfcc,
    /// The same at the file's own rate.
    MfccNative,
    /// Means of 40 of them.
    Mfcc40Mean,
    /// Seven statistics of eleven kinds: pitch classes by three ways, MFCC, level, the spectrum's
    /// bandwidth, centroid, contrast and roll-off, tonal centroids, zero crossings: 518.
    Fma,
    /// Beats per minute, 0 if no beat is found: one number.
    Tempo,
    /// Position of the key on the circle of fifths, as cosine and sine of its
    /// [hour](voisin_base::musical_key::MusicalKey::hour), which relative keys share, and whether it is minor
    /// (1) or major (-1); zeros without notes: 3.
    Key,
}

impl DescriptorSet {
    /// All sets with their names.
    pub const ALL: [(&str, Self); 8] = [
        ("mel", Self::Mel),
        ("bark", Self::Bark),
        ("mfcc", Self::Mfcc),
        ("mfcc-native", Self::MfccNative),
        ("mfcc40-mean", Self::Mfcc40Mean),
        ("fma", Self::Fma),
        ("tempo", Self::Tempo),
        ("key", Self::Key),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, set)| *set == self)
            .map_or("", |(name, _)| name)
    }

    /// Kinds of rows over time, with the number of each.
    fn rows(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Mel => &[("mel", MELS)],
            Self::Bark => &[("bark", BARKS)],
            Self::Mfcc | Self::MfccNative => &[("mfcc", 20)],
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
            Self::Tempo => &[("tempo", 1)],
            Self::Key => &[("key", 3)],
        }
    }

    /// Its statistics; none for sets that are not over time.
    fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Tempo | Self::Key => &[],
            Self::Mel | Self::Bark => &["mean", "std"],
            Self::Mfcc40Mean => &["mean"],
            _ => &["mean", "std", "skew", "kurtosis", "median", "min", "max"],
        }
    }

    /// The sample rate in Hz for a file of `native` Hz. Those of the Free Music Archive are computed at
    /// the file's rate.
    pub fn rate(self, native: u32) -> u32 {
        // A frame has 2048 samples at any rate; far from 22 kHz its numbers would not be
        // comparable.
        let keeps =
            matches!(self, Self::Fma | Self::MfccNative) && (16_000..=48_000).contains(&native);
        if keeps { native } else { DESCRIPTOR_RATE }
    }

    /// Names of the numbers, in order: `mfcc_mean_01` …
    pub fn columns(self) -> Vec<String> {
        if self.statistics().is_empty() {
            return self.rows_over_time();
        }
        let mut names = Vec::new();
        for (row, count) in self.rows() {
            for statistic in self.statistics() {
                names.extend((1..=*count).map(|number| format!("{row}_{statistic}_{number:02}")));
            }
        }
        names
    }

    /// Names of the rows over time, in order: `mfcc_01` …
    pub fn rows_over_time(self) -> Vec<String> {
        let numbered = |(row, count): &(&str, usize)| {
            let row = (*row).to_owned();
            (1..=*count).map(move |number| format!("{row}_{number:02}"))
        };
        self.rows().iter().flat_map(numbered).collect()
    }

    /// The numbers of a clip.
    ///
    /// - `samples`: mono, at `rate`; those that are not finite count as silence
    pub fn of(self, samples: &[f32], rate: u32) -> Vec<f32> {
        let all = self.over_time(samples, rate);
        if self.statistics().is_empty() {
            return all.iter().map(|number| *number as f32).collect();
        }
        let mut first = 0;
        let mut numbers = Vec::new();
        for (_, count) in self.rows() {
            let rows: Vec<[f64; 7]> = (first..first + count)
                .map(|row| statistics(all.row(row)))
                .collect();
            for place in 0..self.statistics().len() {
                numbers.extend(rows.iter().map(|row| row[place] as f32));
            }
            first += count;
        }
        numbers
    }

    /// The rows, `[rows, frames]`; tempo and key have a single frame.
    pub fn over_time(self, samples: &[f32], rate: u32) -> Array2<f64> {
        let clip = || Clip::new(samples, rate);
        match self {
            Self::Mel => clip().mel_decibels(),
            Self::Bark => {
                let clip = clip();
                clip.band_decibels(&MelConfig {
                    n_mels: BARKS,
                    mel_scale: MelScale::Bark,
                    ..clip.mel_config()
                })
            }
            Self::Mfcc | Self::MfccNative => cepstrum(&clip().mel_decibels(), 20),
            Self::Mfcc40Mean => cepstrum(&clip().mel_decibels(), 40),
            Self::Fma => clip().fma(),
            Self::Tempo => {
                // The middle, because beginnings and ends may have few beats.
                let samples = audible(samples);
                let length = samples.len().min(TEMPO_SECONDS * rate as usize);
                let start = (samples.len() - length) / 2;
                Array2::from_elem(
                    (1, 1),
                    tempo(&samples[start..start + length], rate).unwrap_or(0.0),
                )
            }
            Self::Key => key_numbers(&audible(samples), rate).insert_axis(Axis(1)),
        }
    }
}

impl FromStr for DescriptorSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, set)| *set)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
                format!(
                    "there is no set of features \"{text}\": expected own, {} or model:NAME",
                    names.join(", ")
                )
            })
    }
}

/// The numbers of [`DescriptorSet::Key`].
fn key_numbers(samples: &[f32], rate: u32) -> Array1<f64> {
    let mut finder = KeyFinder::new(rate);
    finder.push(samples);
    // An angle, so that neighbouring keys are near each other everywhere on the circle.
    let numbers = finder.key().map_or([0.0; 3], |key| {
        let (sin, cos) = (std::f64::consts::TAU * f64::from(key.hour()) / 12.0).sin_cos();
        [cos, sin, if key.is_minor() { 1.0 } else { -1.0 }]
    });
    Array1::from_iter(numbers)
}

/// Mean, deviation (population), skewness, kurtosis (Fisher's), median, minimum, maximum. Skewness and
/// kurtosis of a constant row are 0.
fn statistics(row: ArrayView1<f64>) -> [f64; 7] {
    let n = row.len() as f64;
    let mean = row.sum() / n;
    let moment = |power: i32| row.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    // Rounding gives a constant row about this variance, by which moments must not be
    // divided.
    let varies = variance > 1e-20 * (mean * mean).max(1e-20);
    let skewness = if varies {
        moment(3) / variance.powf(1.5)
    } else {
        0.0
    };
    let kurtosis = if varies {
        moment(4) / (variance * variance) - 3.0
    } else {
        0.0
    };
    let median = median(&mut row.to_vec());
    let least = row.iter().copied().min_by(f64::total_cmp).unwrap_or(0.0);
    let largest = row.iter().copied().max_by(f64::total_cmp).unwrap_or(0.0);
    [
        mean,
        variance.sqrt(),
        skewness,
        kurtosis,
        median,
        least,
        largest,
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
        for (_, set) in DescriptorSet::ALL {
            let all = set.over_time(&odd, DESCRIPTOR_RATE);
            assert_eq!(all.nrows(), set.rows_over_time().len());
        }
        let names = DescriptorSet::Fma.columns();
        assert_eq!(
            (names.len(), names[251].as_str()),
            (518, "chroma_stft_max_12")
        );
        assert_eq!(
            DescriptorSet::ALL.map(|(_, set)| set.rate(44_100) == 44_100),
            [false, false, false, true, false, true, false, false]
        );
        let row = ndarray::array![2.0, 2.0, 2.0, 2.0];
        assert_eq!(statistics(row.view()), [2.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]);
    }
    #[test]
    fn tempo_and_key_are_estimated() {
        // A triad every four beats at 100 beats per minute.
        let piece = |triads: [[f64; 3]; 4]| -> Vec<f32> {
            let rate = f64::from(DESCRIPTOR_RATE);
            let beat = 0.6 * rate;
            let sample = |i: usize| {
                let at = i as f64;
                let semitones = triads[(at / beat / 4.0) as usize % 4];
                let hz = |semitone: f64| 220.0 * 2f64.powf(semitone / 12.0);
                let tone =
                    |semitone: &f64| (std::f64::consts::TAU * hz(*semitone) * at / rate).sin();
                let decay = (-4.0 * (at % beat) / beat).exp();
                (0.2 * decay * semitones.iter().map(tone).sum::<f64>()) as f32
            };
            (0..(40.0 * rate) as usize).map(sample).collect()
        };
        let detect = |triads: [[f64; 3]; 4]| {
            let samples = piece(triads);
            let tempo = DescriptorSet::Tempo.of(&samples, DESCRIPTOR_RATE)[0];
            assert!((tempo - 100.0).abs() < 1.0, "{tempo}");
            DescriptorSet::Key.of(&samples, DESCRIPTOR_RATE)
        };
        let cadence = |tonic: f64, third: f64| {
            [0.0, 5.0, 7.0, 0.0]
                .map(|root| [root, root + third, root + 7.0].map(|tone| tonic + tone))
        };
        let a_minor = detect(cadence(0.0, 3.0));
        let c_major = detect(cadence(3.0, 4.0));
        let g_major = detect(cadence(10.0, 4.0));
        // 8 o'clock for both, then 9.
        let near = |found: &[f32], hour: f64, mode: f32| {
            let (sin, cos) = (std::f64::consts::TAU * hour / 12.0).sin_cos();
            found
                .iter()
                .zip([cos as f32, sin as f32, mode])
                .all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(near(&a_minor, 8.0, 1.0), "{a_minor:?}");
        assert!(near(&c_major, 8.0, -1.0), "{c_major:?}");
        assert!(near(&g_major, 9.0, -1.0), "{g_major:?}");
        assert_eq!(DescriptorSet::Key.columns(), ["key_01", "key_02", "key_03"]);
        let silence = vec![0.0; 200_000];
        assert_eq!(DescriptorSet::Tempo.of(&silence, DESCRIPTOR_RATE), [0.0]);
        assert_eq!(DescriptorSet::Key.of(&silence, DESCRIPTOR_RATE), [0.0; 3]);
    }
}
