//! Descriptors of whole clips, as librosa 0.11 defines them: MFCC, mel and Bark bands, and the
//! eleven kinds of the Free Music Archive's data set (Defferrard, Benzi, Vandergheynst and Bresson,
//! "FMA: A Dataset for Music Analysis", 2017). Besides, tempo and key as [`tempo`] and
//! [`KeyFinder`] find them.
//!
//! Rows of numbers over time become seven statistics each.

use std::str::FromStr;

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::clip::{CONTRAST_BANDS, Clip, HOP, MELS, audible, cepstrum, median};
use super::constant_q::CHROMA;
use super::{KeyFinder, MelConfig, MelScale, tempo};

/// Hz of the samples that most descriptors are computed from.
pub const DESCRIPTOR_RATE: u32 = 22_050;
/// Samples from the middle of one frame to that of the next; the first one's is the first sample.
pub const DESCRIPTOR_HOP: usize = HOP;

const BARKS: usize = 24;
/// Length of the middle of a clip that its tempo is taken from, seconds.
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
    /// The same from the rate that a file has.
    MfccNative,
    /// Means of 40 of them.
    Mfcc40Mean,
    /// Seven statistics of eleven kinds: pitch classes by three ways, MFCC, level, the spectrum's
    /// bandwidth, centroid, contrast and roll-off, tonal centroids, zero crossings: 518.
    Fma,
    /// Beats a minute, 0 where no beat is found: one number.
    Tempo,
    /// Where the key lies on the circle of fifths, as cosine and sine of its
    /// [hour](voisin_music::key::MusicalKey::hour), which it shares with its relative one, and
    /// whether it is minor (1) or major (-1); zeros where no note is heard: 3.
    Key,
}

impl DescriptorSet {
    /// All of them, as they are named.
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

    /// As it is named.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, set)| *set == self)
            .map_or("", |(name, _)| name)
    }

    /// Rows over time: what each is called, and how many there are.
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

    /// None of what is one number for all of a clip.
    fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Tempo | Self::Key => &[],
            Self::Mel | Self::Bark => &["mean", "std"],
            Self::Mfcc40Mean => &["mean"],
            _ => &["mean", "std", "skew", "kurtosis", "median", "min", "max"],
        }
    }

    /// Hz that it wants of a file of `native` Hz. The Free Music Archive's are computed from
    /// whatever a file has.
    pub fn rate(self, native: u32) -> u32 {
        // A frame has 2048 samples at any rate; far from 22 kHz its numbers could not be compared
        // with others.
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
    /// - `samples`: mono, at `rate`; what is no number counts as silence
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

    /// The rows themselves, `[rows, frames]`; of tempo and key a single frame.
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
                // The middle: beginnings fade in and ends fade out, with few beats to count.
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
    // An angle, not a number from 0 to 11: neighbouring keys stay neighbours across the circle's
    // end.
    let numbers = finder.key().map_or([0.0; 3], |key| {
        let (sin, cos) = (std::f64::consts::TAU * f64::from(key.hour()) / 12.0).sin_cos();
        [cos, sin, if key.is_minor() { 1.0 } else { -1.0 }]
    });
    Array1::from_iter(numbers)
}

/// Mean, deviation (population), skewness, kurtosis (Fisher's), median, least, largest. Of a row
/// that does not vary, skewness and kurtosis are 0.
fn statistics(row: ArrayView1<f64>) -> [f64; 7] {
    let n = row.len() as f64;
    let mean = row.sum() / n;
    let moment = |power: i32| row.iter().map(|v| (v - mean).powi(power)).sum::<f64>() / n;
    let variance = moment(2);
    // Rounding leaves a constant row a variance of about this much; dividing by it would make noise
    // of the moments.
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
    fn names_and_numbers_agree_whatever_comes() {
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
    fn tempo_and_key_are_heard() {
        // A triad every four beats, struck 100 times a minute.
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
        let heard = |triads: [[f64; 3]; 4]| {
            let samples = piece(triads);
            let tempo = DescriptorSet::Tempo.of(&samples, DESCRIPTOR_RATE)[0];
            assert!((tempo - 100.0).abs() < 1.0, "{tempo}");
            DescriptorSet::Key.of(&samples, DESCRIPTOR_RATE)
        };
        let cadence = |tonic: f64, third: f64| {
            [0.0, 5.0, 7.0, 0.0]
                .map(|root| [root, root + third, root + 7.0].map(|tone| tonic + tone))
        };
        let a_minor = heard(cadence(0.0, 3.0));
        let c_major = heard(cadence(3.0, 4.0));
        let g_major = heard(cadence(10.0, 4.0));
        // 8 o'clock both, then 9
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
