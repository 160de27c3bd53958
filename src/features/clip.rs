//! Descriptors of a whole clip, as in librosa 0.11: bands, cepstra, pitch classes, spectral shape; of
//! frames of 2048 samples every 512, centred on their time with zeros outside.

use ndarray::{Array1, Array2, ArrayView1, Axis, concatenate};

use super::MelConfig;
use super::constant_q::{CHROMA, after_zeros, pitch_classes};
use super::mel::Triangles;
use super::transform::{Transform, hann};

const FRAME: usize = 2048;
pub(super) const HOP: usize = 512;
pub(super) const BINS: usize = FRAME / 2 + 1;
pub(super) const MELS: usize = 128;
/// Floor in decibels below the loudest cell.
pub(super) const RANGE_DB: f64 = 80.0;
/// Octave bands of the spectral contrast, and the lowest one's upper edge, Hz.
pub(super) const CONTRAST_BANDS: usize = 7;
const CONTRAST_FROM: f64 = 200.0;

pub(super) struct Clip {
    rate: u32,
    samples: Vec<f64>,
    /// `[frames, BINS]`
    pub(super) power: Array2<f32>,
}

impl Clip {
    /// - `samples`: those that are not finite count as silence
    pub(super) fn new(samples: &[f32], rate: u32) -> Self {
        let audible = |x: &f32| f64::from(if x.is_finite() { *x } else { 0.0 });
        let samples: Vec<f64> = samples.iter().map(audible).collect();
        let mut transform = Transform::new(hann(FRAME));
        let padded = after_zeros(&samples, FRAME / 2);
        let mut power = Array2::zeros((1 + samples.len() / HOP, BINS));
        for (number, mut row) in power.outer_iter_mut().enumerate() {
            let bins = transform.of(&padded[number * HOP..], |x| x);
            for (power, bin) in row.iter_mut().zip(bins) {
                *power = bin.norm_sqr() as f32;
            }
        }
        Self {
            rate,
            samples,
            power,
        }
    }

    pub(super) fn bin_hz(&self) -> f64 {
        f64::from(self.rate) / FRAME as f64
    }

    fn frames(&self) -> usize {
        self.power.nrows()
    }

    fn spectra(&self) -> impl Iterator<Item = &[f32]> {
        self.power.as_slice().unwrap_or_default().chunks_exact(BINS)
    }

    pub(super) fn mel_config(&self) -> MelConfig {
        MelConfig::librosa(self.rate, FRAME, HOP, MELS)
    }

    pub(super) fn mel_decibels(&self) -> Array2<f64> {
        self.band_decibels(&self.mel_config())
    }

    pub(super) fn band_decibels(&self, config: &MelConfig) -> Array2<f64> {
        let triangles = Triangles::new(config);
        let mut mel = Array2::zeros((config.n_mels, self.frames()));
        for (power, mut column) in self.spectra().zip(mel.columns_mut()) {
            let bins = power.as_chunks::<1>().0;
            triangles.project(bins, |band, [sum]| column[band] = sum);
        }
        decibels(mel)
    }

    /// The rows of [`DescriptorSet::Fma`](super::DescriptorSet::Fma), in their order.
    pub(super) fn fma(&self) -> Array2<f64> {
        let mut classes = pitch_classes(
            // As in librosa, of magnitudes here and of powers for `chroma`.
            &self.samples,
            f64::from(self.rate),
            HOP,
            self.frames(),
            self.tuning(|power| f64::from(power).sqrt()),
        );
        let cens = smoothed(&classes);
        normalise(&mut classes, largest);
        let tonnetz = tonal_centroids(&cens);
        let mfcc = cepstrum(&self.mel_decibels(), 20);
        let [rmse, bandwidth, centroid, rolloff] = self.shape();
        let parts = [
            cens,
            classes,
            self.chroma(),
            mfcc,
            rmse,
            bandwidth,
            centroid,
            self.contrast(),
            rolloff,
            tonnetz,
            self.crossings(),
        ];
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        concatenate(Axis(0), &views).unwrap_or_default()
    }

    fn magnitudes(&self) -> impl Iterator<Item = Array1<f64>> {
        self.spectra()
            .map(|power| power.iter().map(|p| f64::from(*p).sqrt()).collect())
    }

    /// Level, bandwidth, centroid and roll-off, a row of each; the last three in Hz.
    fn shape(&self) -> [Array2<f64>; 4] {
        let hz: Array1<f64> = (0..BINS).map(|bin| bin as f64 * self.bin_hz()).collect();
        let mut rows = [(); 4].map(|()| Array2::zeros((1, self.frames())));
        for (frame, magnitude) in self.magnitudes().enumerate() {
            let total = magnitude.sum();
            // As in librosa, a silent frame is divided by 1 and has a centroid of 0.
            let is_silent = total < f64::from(f32::MIN_POSITIVE);
            let unit = if is_silent { 1.0 } else { total };
            let centroid = magnitude.dot(&hz) / unit;
            let off = hz.mapv(|hz| (hz - centroid) * (hz - centroid));
            let mut below = magnitude[0];
            let mut under = 0;
            // librosa's roll-off: the lowest bin below which 85 % of the magnitude is.
            while below < 0.85 * total && under + 1 < BINS {
                under += 1;
                below += magnitude[under];
            }
            // By Parseval's theorem; all bins except the first and the last count twice.
            let ends = magnitude[0].powi(2) + magnitude[BINS - 1].powi(2);
            let level = (2.0 * magnitude.dot(&magnitude) - ends).sqrt() / FRAME as f64;
            let bandwidth = (magnitude.dot(&off) / unit).sqrt();
            for (row, value) in rows.iter_mut().zip([level, bandwidth, centroid, hz[under]]) {
                row[[0, frame]] = value;
            }
        }
        rows
    }

    /// Spectral contrast: decibels from the valley to the peak of each octave band.
    fn contrast(&self) -> Array2<f64> {
        let bands = contrast_bands(self.bin_hz());
        let mut peaks = Array2::zeros((CONTRAST_BANDS, self.frames()));
        let mut valleys = peaks.clone();
        for (frame, magnitude) in self.magnitudes().enumerate() {
            for (band, (range, quantile)) in bands.iter().enumerate() {
                let mut cells: Vec<f64> = range.clone().map(|bin| magnitude[bin]).collect();
                cells.sort_unstable_by(f64::total_cmp);
                let mean = |cells: &[f64]| cells.iter().sum::<f64>() / cells.len() as f64;
                valleys[[band, frame]] = mean(&cells[..*quantile]);
                peaks[[band, frame]] = mean(&cells[cells.len() - quantile..]);
            }
        }
        decibels(peaks) - decibels(valleys)
    }

    /// Share of sign changes in each frame; beyond the ends the last sample is repeated.
    fn crossings(&self) -> Array2<f64> {
        let mut so_far = vec![0u32];
        for pair in self.samples.windows(2) {
            let changes = (pair[0] < -1e-10) != (pair[1] < -1e-10);
            so_far.push(so_far[so_far.len() - 1] + u32::from(changes));
        }
        let at = |i: usize| so_far[i.saturating_sub(FRAME / 2).min(so_far.len() - 1)];
        Array2::from_shape_fn((1, self.frames()), |(_, frame)| {
            f64::from(at(frame * HOP + FRAME - 1) - at(frame * HOP)) / FRAME as f64
        })
    }

    /// Energies of the pitch classes from C, the strongest of each frame 1, tuned to the clip.
    fn chroma(&self) -> Array2<f64> {
        let weights = chroma_weights(self.bin_hz(), self.tuning(f64::from)).mapv(|x| x as f32);
        let mut rows = self.power.dot(&weights.t()).reversed_axes().mapv(f64::from);
        normalise(&mut rows, largest);
        rows
    }

    /// Deviation of the clip's pitches from equal temperament at 440 Hz, in semitones: the most common
    /// remainder of the louder spectral peaks from 150 to 4000 Hz.
    fn tuning(&self, size: impl Fn(f32) -> f64) -> f64 {
        let mut peaks: Vec<(f64, f64)> = Vec::new();
        let is_audible = |bin: &usize| (150.0..4000.0).contains(&(*bin as f64 * self.bin_hz()));
        let bins: Vec<usize> = (1..BINS - 1).filter(is_audible).collect();
        for power in self.spectra() {
            let most = size(power.iter().copied().fold(0.0, f32::max));
            for &bin in &bins {
                let [before, here, after] = [power[bin - 1], power[bin], power[bin + 1]];
                // librosa's local maximum: strictly above the bin before, not below the one after.
                if !(here > before && here >= after) {
                    continue;
                }
                let [before, here, after] = [before, here, after].map(&size);
                if here <= 0.1 * most {
                    continue;
                }
                // The maximum of a parabola; the bin itself if that is beyond a neighbour.
                let a = after + before - 2.0 * here;
                let b = (after - before) / 2.0;
                let shift = if b.abs() >= a.abs() { 0.0 } else { -b / a };
                peaks.push(((bin as f64 + shift) * self.bin_hz(), here + 0.5 * b * shift));
            }
        }
        if peaks.is_empty() {
            return 0.0;
        }
        // As in librosa, the histogram is of the louder half of the peaks.
        let median = median(peaks.iter().map(|(_, size)| *size).collect());
        let mut counts = [0usize; 100];
        for (hz, _) in peaks.iter().filter(|(_, size)| *size >= median) {
            let rest = (CHROMA as f64 * octaves(*hz, 0.0) + 0.5).rem_euclid(1.0);
            counts[((rest * 100.0) as usize).min(99)] += 1;
        }
        let best = (0..100).rev().max_by_key(|at| counts[*at]);
        best.unwrap_or(0) as f64 / 100.0 - 0.5
    }
}

/// 10 log10 of every cell, at most [`RANGE_DB`] below the largest.
pub(super) fn decibels(mut cells: Array2<f64>) -> Array2<f64> {
    cells.mapv_inplace(|v| 10.0 * v.max(1e-10).log10());
    let floor = cells.fold(f64::NEG_INFINITY, |most, v| most.max(*v)) - RANGE_DB;
    cells.mapv_inplace(|v| v.max(floor));
    cells
}

/// Divides every column by its size, except nearly empty ones.
fn normalise(rows: &mut Array2<f64>, size: impl Fn(ArrayView1<f64>) -> f64) {
    for mut column in rows.columns_mut() {
        let size = size(column.view());
        if size >= f64::from(f32::MIN_POSITIVE) {
            column /= size;
        }
    }
}

fn largest(column: ArrayView1<f64>) -> f64 {
    column.fold(0.0, |most: f64, v| most.max(v.abs()))
}

/// Shares of the pitch classes in five steps, smoothed over 41 frames, each frame of length 1, which
/// removes most of loudness and articulation. Müller and Ewert, "Chroma Toolbox", 2011.
fn smoothed(classes: &Array2<f64>) -> Array2<f64> {
    const REACH: usize = 20;
    let mut shares = classes.clone();
    normalise(&mut shares, |column| column.sum());
    let steps = [0.4, 0.2, 0.1, 0.05];
    shares.mapv_inplace(|v| steps.iter().filter(|step| v > **step).count() as f64 / 4.0);
    let turn = std::f64::consts::PI / (REACH + 1) as f64;
    let window: [f64; REACH + 1] = std::array::from_fn(|n| 0.5 + 0.5 * (turn * n as f64).cos());
    let mut cens = Array2::zeros(classes.dim());
    for (row, mut out) in shares.outer_iter().zip(cens.outer_iter_mut()) {
        for (at, out) in out.iter_mut().enumerate() {
            let inside = at.saturating_sub(REACH)..(at + REACH + 1).min(row.len());
            let near = inside.map(|other| window[at.abs_diff(other)] * row[other]);
            *out = near.sum();
        }
    }
    normalise(&mut cens, |column| column.dot(&column).sqrt());
    cens
}

/// Tonal centroids: positions on circles of fifths, minor and major thirds (Harte and others 2006).
fn tonal_centroids(chroma: &Array2<f64>) -> Array2<f64> {
    let mut shares = chroma.clone();
    normalise(&mut shares, |column| column.sum());
    let circles = [(7.0 / 6.0, 1.0), (1.5, 1.0), (2.0 / 3.0, 0.5)];
    let place = Array2::from_shape_fn((6, CHROMA), |(row, class)| {
        // The radii of the paper: minor thirds as fifths, major thirds half.
        let (turn, radius) = circles[row / 2];
        let quarter = if row % 2 == 0 { 0.5 } else { 0.0 };
        radius * (std::f64::consts::PI * (turn * class as f64 - quarter)).cos()
    });
    place.dot(&shares)
}

/// The first coefficients of the cosine transform (second kind, orthonormal) of each frame.
pub(super) fn cepstrum(mel: &Array2<f64>, count: usize) -> Array2<f64> {
    let n = mel.nrows() as f64;
    let basis = Array2::from_shape_fn((count, mel.nrows()), |(k, i)| {
        let scale = (if k == 0 { 1.0 / n } else { 2.0 / n }).sqrt();
        scale * (std::f64::consts::PI * k as f64 * (2 * i + 1) as f64 / (2.0 * n)).cos()
    });
    basis.dot(mel)
}

/// Bins of each octave band, and how many of them count as its peak and its valley (Jiang and others
/// 2002); bins at the edges as in librosa.
fn contrast_bands(bin_hz: f64) -> Vec<(std::ops::Range<usize>, usize)> {
    (0..CONTRAST_BANDS)
        .map(|band| {
            let upper = CONTRAST_FROM * 2f64.powi(band as i32);
            let lower = if band == 0 { 0.0 } else { upper / 2.0 };
            let hz = |bin: usize| bin as f64 * bin_hz;
            let from = (0..BINS).find(|bin| hz(*bin) >= lower).unwrap_or(0);
            let to = (from..BINS).take_while(|bin| hz(*bin) <= upper).count() + from;
            // librosa includes one bin below each band except the lowest, and leaves out the last bin
            // except the last band's, which counts for its quantile.
            let is_last = band + 1 == CONTRAST_BANDS;
            let from = from.saturating_sub(usize::from(band > 0));
            let to = if is_last { BINS } else { to };
            let quantile = (0.02 * (to - from) as f64).round_ties_even().max(1.0);
            (from..to - usize::from(!is_last), quantile as usize)
        })
        .collect()
}

/// Octaves above the A four octaves below 440 Hz.
fn octaves(hz: f64, tuning: f64) -> f64 {
    (hz / (440.0 * 2f64.powf(tuning / CHROMA as f64) / 16.0)).log2()
}

/// Weight of each bin for each pitch class, `[CHROMA, BINS]`: bumps a semitone wide, with the greatest
/// weights near the fifth octave. Ellis, "Chroma feature analysis and synthesis", 2007.
fn chroma_weights(bin_hz: f64, tuning: f64) -> Array2<f64> {
    let classes = CHROMA as f64;
    let mut places: Vec<f64> = (1..FRAME)
        .map(|bin| classes * octaves(bin as f64 * bin_hz, tuning))
        .collect();
    // Bin 0 has no pitch; librosa places it an octave and a half below bin 1.
    places.insert(0, places[0] - 1.5 * classes);
    let mut weights = Array2::zeros((CHROMA, BINS));
    for bin in 0..BINS {
        let width = (places[bin + 1] - places[bin]).max(1.0);
        let bump = |class: usize| {
            let off =
                (places[bin] - class as f64 + classes / 2.0).rem_euclid(classes) - classes / 2.0;
            (-0.5 * (2.0 * off / width).powi(2)).exp()
        };
        let squares = (0..CHROMA).map(|class| bump(class).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        let octave = (-0.5 * ((places[bin] / classes - 5.0) / 2.0).powi(2)).exp();
        for class in 0..CHROMA {
            // Counted from A; rows begin with C.
            weights[[(class + CHROMA - 3) % CHROMA, bin]] = bump(class) / norm * octave;
        }
    }
    weights
}

pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    let (below, above) = ((numbers.len() - 1) / 2, numbers.len() / 2);
    let mut at = |place| *numbers.select_nth_unstable_by(place, f64::total_cmp).1;
    f64::midpoint(at(below), at(above))
}
