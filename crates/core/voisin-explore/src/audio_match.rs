//! Compares two stretches of audio by band energies over time to detect the same recording.
//!
//! Vectors measure similarity of sound; outlines identify the same performance. Subtracting each band's
//! local mean removes levels and equalisation; what is left, the rises and falls of each band, is
//! preserved by codecs and differs between performances. Not for searching: it compares two given
//! stretches.

use ndarray::{Array2, ArrayView2, Axis};

use voisin_base::vector::dot_in_lanes;

/// Seconds around each frame over which the subtracted mean is taken.
const LOCAL: f32 = 1.0;
/// Least root mean square of the motion in dB; silence, steady tones and noise have less.
const LEAST_MOTION: f32 = 1.0;
/// Least share of the shorter stretch that must overlap the other.
const LEAST_OVERLAP: f32 = 0.6;

/// The rises and falls of the bands of a stretch of audio.
#[derive(Debug, Clone)]
pub struct Outline {
    /// `[frames, bands]`, dB above the band's local mean.
    motion: Array2<f32>,
    /// Prefix sums of the squares of frames.
    energy: Vec<f64>,
    frames_per_second: f32,
}

/// The best agreement of two outlines.
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

    /// Consecutive frames from `start` on.
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
                f64::from(dot_in_lanes::<_, 16>(
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

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;
    use ndarray::s;
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
}
