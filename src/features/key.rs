//! Key estimation from pitch classes and chords.
//!
//! Spectral peaks, corrected for the tuning of the piece, are folded into 12 pitch classes; each also
//! counts for the notes whose overtone it may be (after Gómez 2006). The score of a key is the
//! correlation with the profiles of Krumhansl and Kessler (1982) and the likelihood of the chords: each
//! frame with its neighbours is compared with the 24 triads, which have probabilities in each key
//! (after Noland and Sandler 2006). All weights were chosen on rendered grooves and real music.

use super::spectra::{Spectra, slowed};

/// Seconds of sound in a frame, which resolves adjacent notes from 110 Hz upwards.
const FRAME_SECONDS: f64 = 0.512;
const LEAST_RATE: f64 = 8000.0;
const LOWEST_HZ: f64 = 55.0;
const HIGHEST_HZ: f64 = 1500.0;
/// Peaks below this share of the frame's highest are noise.
const LEAST: f32 = 0.03;
/// Overtones that a peak may be, including the fundamental, and the weight of each relative to the previous.
const OVERTONES: usize = 4;
const DECAY: f64 = 0.6;

const MAJOR: Chroma = [
    6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88,
];
const MINOR: Chroma = [
    6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17,
];

/// Pitches below this one, semitones above the C of 262 Hz, are the bass.
const BASS: f64 = -9.0;
/// Weight of a chord's root in the bass.
const ROOT: f64 = 0.3;
/// Sharpness of the softmax over chords.
const SHARPNESS: f64 = 40.0;
/// Chords of a key other than the tonic's, as roots above it and whether they are minor: those of the
/// scale, and the dominant of minor.
const CHORDS: [&[(usize, bool)]; 2] = [
    &[(2, true), (4, true), (5, false), (7, false), (9, true)],
    &[
        (3, false),
        (5, true),
        (7, true),
        (7, false),
        (8, false),
        (10, false),
    ],
];
/// Probability of the tonic's chord, the others of the key sharing the rest, and of any other chord.
const TONIC: f64 = 0.25;
const STRANGE: f64 = 0.01;
/// Weight of the correlation with a profile relative to the logarithm of the chords' likelihood.
const PROFILE: f64 = 2.0;

pub struct KeyFinder {
    rate: u32,
    spectra: Spectra,
    /// The frames of each contiguous stretch, each with its peaks: pitches in semitones above a C, and
    /// shares of the total height.
    stretches: Vec<Vec<Vec<(f32, f32)>>>,
}

type Chroma = [f64; 12];

impl KeyFinder {
    /// - `rate`: Hz of all samples
    pub fn new(rate: u32) -> Self {
        let (_, slow) = slowed(&[], rate, LEAST_RATE);
        Self {
            rate,
            spectra: Spectra::of_seconds(FRAME_SECONDS, slow),
            stretches: Vec::new(),
        }
    }

    /// Adds a contiguous stretch of mono samples.
    pub fn push(&mut self, samples: &[f32]) {
        let (samples, rate) = slowed(samples, self.rate, LEAST_RATE);
        let size = self.spectra.size();
        let mut frames = Vec::new();
        for frame in samples.chunks_exact(size) {
            let peaks = peaks(self.spectra.of(frame), rate / size as f64);
            let total: f64 = peaks.iter().map(|&(_, height)| height).sum();
            if total > 0.0 {
                // Shares of the frame's height, so that loud passages weigh no more.
                let shares = peaks.iter();
                let shares = shares.map(|(pitch, height)| (*pitch as f32, (height / total) as f32));
                frames.push(shares.collect());
            }
        }
        self.stretches.push(frames);
    }

    /// The most likely key, 0 to 11 from C major upwards, 12 to 23 from C minor; `None` without notes.
    pub fn key(&self) -> Option<u8> {
        let tuning = self.tuning();
        let mut pitches = [0.0; 12];
        let mut chords = [0.0; 24];
        let mut count = 0.0;
        // Stretches are separate, since frames on either side of a gap are no neighbours.
        for frames in &self.stretches {
            let chromas = |frame: &Vec<(f32, f32)>| {
                let low = frame.partition_point(|(pitch, _)| f64::from(*pitch) < BASS);
                (
                    chroma(frame, tuning, OVERTONES),
                    chroma(&frame[..low], tuning, 1),
                )
            };
            let chromas: Vec<(Chroma, Chroma)> = frames.iter().map(chromas).collect();
            for i in 0..chromas.len() {
                add(&mut pitches, &chromas[i].0);
                let mut all = [0.0; 12];
                let mut low = [0.0; 12];
                // A chord lasts longer than a frame.
                for (near, near_low) in &chromas[i.saturating_sub(1)..(i + 2).min(chromas.len())] {
                    add(&mut all, near);
                    add(&mut low, near_low);
                }
                add(&mut chords, &triads(&all, &low));
                count += 1.0;
            }
        }
        if count == 0.0 {
            return None;
        }
        let fit = |key: u8| {
            let tonic = usize::from(key % 12);
            let minor = key >= 12;
            let profile = if minor { &MINOR } else { &MAJOR };
            let turned: Chroma = std::array::from_fn(|pitch| profile[(pitch + 12 - tonic) % 12]);
            let usual = |chord: usize| {
                let root = (chord % 12 + 12 - tonic) % 12;
                let is_minor = chord >= 12;
                let others = CHORDS[usize::from(minor)];
                if (root, is_minor) == (0, minor) {
                    TONIC
                } else if others.contains(&(root, is_minor)) {
                    (1.0 - TONIC) / others.len() as f64
                } else {
                    STRANGE
                }
            };
            let likelihood = (0..24).map(|chord| chords[chord] / count * usual(chord).ln());
            PROFILE * correlation(&pitches, &turned) + likelihood.sum::<f64>()
        };
        (0..24).max_by(|&a, &b| fit(a).total_cmp(&fit(b)))
    }

    /// Deviation of the tuning in semitones: the circular mean of all peaks, since a quarter tone sharp
    /// and one flat are the same.
    fn tuning(&self) -> f64 {
        let mut x = 0.0;
        let mut y = 0.0;
        for &(pitch, share) in self.stretches.iter().flatten().flatten() {
            let (sin, cos) = (std::f64::consts::TAU * f64::from(pitch)).sin_cos();
            (x, y) = (x + f64::from(share) * cos, y + f64::from(share) * sin);
        }
        y.atan2(x) / std::f64::consts::TAU
    }
}

fn chroma(frame: &[(f32, f32)], tuning: f64, overtones: usize) -> Chroma {
    let mut chroma = [0.0; 12];
    for &(pitch, share) in frame {
        let mut weight = f64::from(share);
        for overtone in 1..=overtones {
            let note = f64::from(pitch) - tuning - 12.0 * (overtone as f64).log2();
            // A peak halfway between two notes counts for neither: cos² is 1 on a note and 0 halfway.
            let nearness = (std::f64::consts::PI * (note - note.round())).cos().powi(2);
            chroma[note.round().rem_euclid(12.0) as usize % 12] += weight * nearness;
            weight *= DECAY;
        }
    }
    chroma
}

/// Probabilities of the 24 triads, major ones from C upwards and then minor ones.
fn triads(chroma: &Chroma, bass: &Chroma) -> [f64; 24] {
    let squares = chroma.iter().map(|value| value * value);
    let length = squares.sum::<f64>().sqrt().max(1e-12);
    let low = bass.iter().sum::<f64>().max(1e-12);
    let likeness: [f64; 24] = std::array::from_fn(|chord| {
        let root = chord % 12;
        let third = if chord < 12 { 4 } else { 3 };
        let notes = [0, third, 7].map(|step| chroma[(root + step) % 12]);
        // The cosine between the frame and a triad of equal notes.
        notes.iter().sum::<f64>() / (length * 3f64.sqrt()) + ROOT * bass[root] / low
    });
    // The largest is subtracted first, so that the exponential cannot overflow.
    let most = likeness.iter().copied().fold(f64::MIN, f64::max);
    let likeness = likeness.map(|value| (SHARPNESS * (value - most)).exp());
    let total: f64 = likeness.iter().sum();
    likeness.map(|value| value / total)
}

fn add<const N: usize>(sums: &mut [f64; N], values: &[f64; N]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Local maxima of a spectrum, as ascending pitches (semitones above a C) with their heights.
fn peaks(amplitudes: &[f32], bin_hz: f64) -> Vec<(f64, f64)> {
    let from = ((LOWEST_HZ / bin_hz) as usize).max(1);
    let to = ((HIGHEST_HZ / bin_hz) as usize).min(amplitudes.len().saturating_sub(1));
    let range = amplitudes.get(from..to).unwrap_or_default();
    let highest = range.iter().fold(0.0f32, |highest, &a| highest.max(a));
    // Below -100 dB relative to a full-scale tone a frame is silent.
    if highest < 1e-5 * amplitudes.len() as f32 / 2.0 {
        return Vec::new();
    }
    let mut peaks = Vec::new();
    for bin in from..to {
        // Strict on one side only, so that two equal bins are one peak.
        let [before, here, after] = [-1, 0, 1].map(|by| amplitudes[bin.saturating_add_signed(by)]);
        if here <= before || here < after || here < LEAST * highest {
            continue;
        }
        // The maximum of a parabola through the three logarithms, of which the middle one is highest.
        let [a, b, c] = [before, here, after].map(|value| f64::from(value.max(1e-12)).ln());
        let shift = 0.5 * (a - c) / (a - 2.0 * b + c).min(-1e-12);
        let hz = (bin as f64 + shift) * bin_hz;
        peaks.push((12.0 * (hz / 440.0).log2() + 9.0, f64::from(here)));
    }
    peaks
}

fn correlation(a: &Chroma, b: &Chroma) -> f64 {
    let centred = |values: &Chroma| values.map(|value| value - values.iter().sum::<f64>() / 12.0);
    let (a, b) = (centred(a), centred(b));
    let product = |a: &Chroma, b: &Chroma| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chords of notes (semitones above middle C), two seconds each, with overtones, `cents` out of
    /// tune.
    fn chords(chords: &[[i32; 3]], cents: f64, rate: u32) -> Vec<f32> {
        let sample = |i: u32| {
            let t = std::f64::consts::TAU * f64::from(i) / f64::from(rate);
            let chord = &chords[(i / (2 * rate)) as usize];
            let note = |note: &i32| {
                let hz = 261.626 * 2f64.powf((f64::from(*note) + cents / 100.0) / 12.0);
                (1..6)
                    .map(|h| (hz * f64::from(h) * t).sin() / f64::from(h))
                    .sum::<f64>()
            };
            (0.1 * chord.iter().map(note).sum::<f64>()) as f32
        };
        (0..2 * rate * chords.len() as u32).map(sample).collect()
    }

    fn key_of(samples: &[f32], rate: u32) -> Option<u8> {
        let mut finder = KeyFinder::new(rate);
        finder.push(samples);
        finder.key()
    }

    #[test]
    fn a_cadence_gives_its_key_in_any_tuning() {
        let major = [[0, 4, 7], [-7, 5, 9], [-5, 2, 11], [-3, 0, 4], [0, 4, 7]];
        let minor = [[0, 3, 7], [-7, 5, 8], [-5, 2, 11], [-4, 0, 3], [0, 3, 7]];
        for (progression, by, cents, rate, key) in [
            (major, 4, 35.0, 48_000, 4),
            (minor, -3, -40.0, 16_000, 12 + 9),
        ] {
            let moved = progression.map(|chord| chord.map(|note| note + by));
            assert_eq!(key_of(&chords(&moved, cents, rate), rate), Some(key));
        }
    }

    #[test]
    fn silence_has_no_key() {
        assert_eq!(key_of(&vec![f32::NAN; 64_000], 16_000), None);
        assert_eq!(key_of(&[0.5; 100], 16_000), None, "less than a frame");
    }
}
