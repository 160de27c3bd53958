//! Compares two stretches of audio by band energies over time to detect the same recording.
//!
//! Vectors measure similarity of sound; outlines identify the same performance. Subtracting each band's
//! local mean removes levels and equalisation; what is left, the rises and falls of each band, is
//! preserved by codecs and differs between performances. Songs over one backing have most of that in common:
//! [`Rest`] is what they have not. Not for searching: it compares two given stretches.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

use voisin_base::vector::dot_in_lanes;

/// Seconds around each frame over which the subtracted mean is taken.
const LOCAL: f32 = 1.0;
/// Least root mean square of the motion in dB; silence, steady tones and noise have less.
const LEAST_MOTION: f32 = 1.0;
/// Least share of the shorter stretch that must overlap the other.
const LEAST_OVERLAP: f32 = 0.6;

/// Seconds over which levels are compared: a codec keeps the mean of so many, not each frame.
const BLOCK: f32 = 0.25;
/// Decibels below the loudest band and block at which sound ends: codecs drop what is softer beside it.
const SILENCE: f32 = 30.0;
/// Decibels by which a band of two copies may differ at most: with 4, three of a hundred copies are lost.
const SAME_LEVEL: f32 = 6.0;

/// The rises and falls of the bands of a stretch of audio.
#[derive(Debug, Clone)]
pub struct Outline {
    /// `[frames, bands]`, dB above the band's local mean.
    motion: Array2<f32>,
    /// Prefix sums of the squares of frames.
    energy: Vec<f64>,
    frames_per_second: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LagAgreement {
    /// Normalised cross-correlation, −1 to 1.
    pub correlation: f32,
    /// Time t of the first sounds at t + lag in the second, in seconds from the starts of the stretches.
    pub lag: f32,
}

impl Outline {
    /// - `decibels`: `[bands, frames]`, logarithmic band energies
    pub fn new(decibels: ArrayView2<'_, f32>, frames_per_second: f32) -> Self {
        let (bands, frames) = decibels.dim();
        let half = ((LOCAL / 2.0 * frames_per_second).round() as usize).max(1);
        let mut motion = Array2::zeros((frames, bands));
        for (band, row) in decibels.axis_iter(Axis(0)).enumerate() {
            // Prefix sums make the cost of local means independent of their width.
            let mut sums = Vec::with_capacity(frames + 1);
            sums.push(0.0_f64);
            for &value in row {
                sums.push(sums[sums.len() - 1] + f64::from(value));
            }
            for (frame, &value) in row.iter().enumerate() {
                let from = frame.saturating_sub(half);
                let to = (frame + half + 1).min(frames);
                let mean = (sums[to] - sums[from]) / (to - from) as f64;
                motion[[frame, band]] = value - mean as f32;
            }
        }
        // Prefix sums again, so that the norms of any overlap are two subtractions.
        let mut energy = Vec::with_capacity(frames + 1);
        energy.push(0.0);
        for frame in motion.rows() {
            energy.push(energy[energy.len() - 1] + f64::from(frame.dot(&frame)));
        }
        Self {
            motion,
            energy,
            frames_per_second,
        }
    }

    fn len(&self) -> usize {
        self.motion.nrows()
    }

    fn frames(&self, start: usize, count: usize) -> &[f32] {
        let bands = self.motion.ncols();
        let all = self.motion.as_slice().expect("made in this order");
        &all[start * bands..(start + count) * bands]
    }

    fn squares(&self, from: usize, to: usize) -> f64 {
        self.energy[to] - self.energy[from]
    }

    /// The best agreement of `self` with `other` among lags (see [`LagAgreement::lag`]) from `least` to `most` seconds.
    ///
    /// `None` if they cannot be compared, because of too little overlap or motion.
    ///
    /// # Panics
    /// If the outlines have different numbers of bands.
    pub fn agreement(&self, other: &Self, least: f32, most: f32) -> Option<LagAgreement> {
        let n = self.len() as i64;
        let m = other.len() as i64;
        // Short overlaps correlate by chance.
        let needed = ((LEAST_OVERLAP * n.min(m) as f32) as i64).max(1);
        let frame = |seconds: f32| (seconds * self.frames_per_second).round() as i64;
        let bands = self.motion.ncols();
        assert_eq!(bands, other.motion.ncols(), "outlines of one kind");
        let quiet = f64::from(LEAST_MOTION * LEAST_MOTION);
        let at = |lag: i64| -> Option<f64> {
            // The first frame of `self` with a partner, and the one after the last.
            let from = 0.max(-lag);
            let to = n.min(m - lag);
            if to - from < needed {
                return None;
            }
            let i = from as usize;
            let j = (from + lag) as usize;
            let count = (to - from) as usize;
            let a = self.squares(i, i + count);
            let b = other.squares(j, j + count);
            // The correlation of nearly constant signals is noise.
            if a.min(b) < quiet * (bands * count) as f64 {
                return None;
            }
            Some(
                f64::from(dot_in_lanes::<16>(
                    self.frames(i, count),
                    other.frames(j, count),
                )) / (a * b).sqrt(),
            )
        };
        let best = (frame(least)..=frame(most))
            .filter_map(|lag| Some((lag, at(lag)?)))
            .max_by(|x, y| x.1.total_cmp(&y.1).then(y.0.abs().cmp(&x.0.abs())))?;
        Some(LagAgreement {
            correlation: best.1 as f32,
            lag: best.0 as f32 / self.frames_per_second,
        })
    }
}

/// Seconds that two stretches of audio do not have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rest {
    /// Where both sound, but a band of one is louder, after their levels are matched.
    pub differing: f32,
    /// Where one sounds before the other begins or after it ends.
    pub outside: f32,
}

impl Rest {
    /// - `a`, `b`: `[bands, frames]`, logarithmic band energies in dB
    /// - `lag`: see [`LagAgreement::lag`]
    pub fn of(
        a: ArrayView2<'_, f32>,
        b: ArrayView2<'_, f32>,
        frames_per_second: f32,
        lag: f32,
    ) -> Self {
        let lag = (lag * frames_per_second).round() as i64;
        let [from_a, from_b] = [-lag, lag].map(|from| from.max(0) as usize);
        let [from_a, from_b] = [from_a.min(a.ncols()), from_b.min(b.ncols())];
        let common = (a.ncols() - from_a).min(b.ncols() - from_b);
        let size = ((BLOCK * frames_per_second).round() as usize).max(1);
        let seconds = |blocks: usize| (blocks * size) as f32 / frames_per_second;
        let blocks_of = |all: ArrayView2<'_, f32>, from: usize| {
            let loudest = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let audible = |block: &[f32]| block.iter().any(|&level| level > loudest - SILENCE);
            let behind = from + common;
            let outside = [
                levels(all.slice(s![.., ..from]), size),
                levels(all.slice(s![.., behind..]), size),
            ];
            let outside = outside.iter().flatten().filter(|block| audible(block));
            (
                levels(all.slice(s![.., from..behind]), size),
                outside.count(),
            )
        };
        let (a, outside_a) = blocks_of(a, from_a);
        let (b, outside_b) = blocks_of(b, from_b);
        Self {
            differing: seconds(differing(&a, &b)),
            outside: seconds(outside_a + outside_b),
        }
    }
}

/// Levels of each band in whole blocks of so many frames.
fn levels(decibels: ArrayView2<'_, f32>, size: usize) -> Vec<Vec<f32>> {
    let level = |band: ArrayView1<'_, f32>| {
        let power: f32 = band.iter().map(|level| 10.0_f32.powf(level / 10.0)).sum();
        10.0 * (power / size as f32).max(f32::MIN_POSITIVE).log10()
    };
    decibels
        .axis_chunks_iter(Axis(1), size)
        .filter(|block| block.ncols() == size)
        .map(|block| block.rows().into_iter().map(level).collect())
        .collect()
}

/// Number of blocks with a band that differs, after the median difference of each band is taken away.
fn differing(a: &[Vec<f32>], b: &[Vec<f32>]) -> usize {
    let bands = a.first().map_or(0, Vec::len);
    let [floor_a, floor_b] = [a, b].map(|all| {
        let loudest = all.iter().flatten().copied();
        loudest.fold(f32::NEG_INFINITY, f32::max) - SILENCE
    });
    let mut differs = vec![false; a.len()];
    for band in 0..bands {
        let audible: Vec<(usize, f32)> = a
            .iter()
            .zip(b)
            .enumerate()
            .filter(|(_, (a, b))| a[band] > floor_a || b[band] > floor_b)
            .map(|(block, (a, b))| (block, a[band] - b[band]))
            .collect();
        let mut sorted: Vec<f32> = audible.iter().map(|(_, apart)| *apart).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let Some(&usual) = sorted.get(sorted.len() / 2) else {
            continue;
        };
        for (block, apart) in audible {
            differs[block] |= (apart - usual).abs() > SAME_LEVEL;
        }
    }
    differs.into_iter().filter(|&differs| differs).count()
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// 24 bands at 50 frames per second, each varying by about 5 dB.
    fn music(seed: u64, frames: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut state = [0.0_f32; 24];
        Array2::from_shape_fn((frames, 24), |(_, band)| {
            state[band] = 0.8 * state[band] + 3.0 * normal(&mut rng);
            state[band]
        })
        .reversed_axes()
    }

    #[test]
    fn the_same_recording_is_recognised_by_its_motion() {
        let whole = music(1, 2000);
        let a = Outline::new(whole.slice(s![.., 800..1400]), 50.0);
        // Softer, with another treble, and with coding noise.
        let mut rng = StdRng::seed_from_u64(9);
        let mut other = whole.slice(s![.., 100..1900]).to_owned();
        for ((band, _), value) in other.indexed_iter_mut() {
            *value += -12.0 - 0.3 * band as f32 + 2.0 * normal(&mut rng);
        }
        let found = a
            .agreement(&Outline::new(other.view(), 50.0), 0.0, 30.0)
            .expect("both move");
        assert!(
            (found.lag - 14.0).abs() < 0.03 && found.correlation > 0.85,
            "{found:?}"
        );
        let outside = a
            .agreement(&Outline::new(other.view(), 50.0), 0.0, 10.0)
            .expect("both move");
        assert!(outside.correlation < 0.3, "{outside:?}");
        let unrelated = a
            .agreement(&Outline::new(music(2, 1800).view(), 50.0), -20.0, 30.0)
            .expect("both move");
        assert!(unrelated.correlation < 0.3, "{unrelated:?}");
    }

    #[test]
    fn a_steady_sound_has_no_agreement() {
        let steady = Array2::from_elem((24, 600), -20.0_f32);
        let a = Outline::new(music(1, 600).view(), 50.0);
        assert_eq!(
            a.agreement(&Outline::new(steady.view(), 50.0), -1.0, 1.0),
            None
        );
        assert_eq!(
            a.agreement(
                &Outline::new(Array2::zeros((24, 0)).view(), 50.0),
                -1.0,
                1.0
            ),
            None
        );
        // The overlap is too short.
        assert_eq!(a.agreement(&a, 8.0, 9.0), None);
        assert!(a.agreement(&a, -1.0, 1.0).expect("itself").correlation > 0.999);
    }

    /// Seconds as the test of [`Rest`] expects them, to a block.
    fn about(found: f32, expected: f32) -> bool {
        (found - expected).abs() <= 2.0 * BLOCK
    }

    #[test]
    fn a_part_that_only_one_has_is_left() {
        let backing = music(1, 1500);
        let rest = |a: &Array2<f32>, b: &Array2<f32>, lag| Rest::of(a.view(), b.view(), 50.0, lag);
        // Softer, with another treble, and with coding noise: a copy.
        let mut rng = StdRng::seed_from_u64(9);
        let mut copy = backing.clone();
        for ((band, _), value) in copy.indexed_iter_mut() {
            *value += -12.0 - 0.3 * band as f32 + 2.0 * normal(&mut rng);
        }
        assert!(rest(&backing, &copy, 0.0).differing < 0.5);
        // Something sounds in three bands for five seconds.
        let mut sung = copy.clone();
        for value in sung.slice_mut(s![8..11, 500..750]) {
            *value += 15.0;
        }
        let found = rest(&backing, &sung, 0.0);
        assert!(
            about(found.differing, 5.0) && found.outside < 0.5,
            "{found:?}"
        );
    }

    #[test]
    fn a_cut_file_is_no_copy_of_the_whole_one() {
        let whole = music(3, 1500);
        let rest = |a: &Array2<f32>, b: &Array2<f32>, lag| Rest::of(a.view(), b.view(), 50.0, lag);
        let cut = whole.slice(s![.., 400..]).to_owned();
        for found in [rest(&whole, &cut, -8.0), rest(&cut, &whole, 8.0)] {
            assert!(
                about(found.outside, 8.0) && found.differing < 0.5,
                "{found:?}"
            );
        }
        // Silence at the ends is no music.
        let silence = Array2::from_elem((24, 300), -80.0_f32);
        let padded = ndarray::concatenate![Axis(1), silence, whole, silence];
        let found = rest(&whole, &padded, 6.0);
        assert!(found.outside < 0.5 && found.differing < 0.5, "{found:?}");
    }
}
