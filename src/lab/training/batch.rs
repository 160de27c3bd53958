//! Targets of a batch, and its augmentation.

use super::ClassTraining;
use voisin_base::random::Random;

pub(super) struct ClassBatch<'a> {
    /// `[n][cells]`
    pub(super) x: &'a mut [f32],
    /// Each class's target for each example, `[n][classes]`.
    pub(super) wanted: Vec<f32>,
    n: usize,
}

impl<'a> ClassBatch<'a> {
    pub(super) fn new(x: &'a mut [f32], truth: &[usize], classes: usize, smoothing: f64) -> Self {
        let others = smoothing as f32 / classes as f32;
        let mut wanted = vec![others; truth.len() * classes];
        for (row, &truth) in wanted.chunks_exact_mut(classes).zip(truth) {
            row[truth] += 1.0 - smoothing as f32;
        }
        let n = truth.len();
        Self { x, wanted, n }
    }

    /// Masks and mixes examples by the settings.
    ///
    /// - `image`: bands and frames of an example that is a spectrogram
    pub fn vary(
        &mut self,
        training: &ClassTraining,
        image: Option<[usize; 2]>,
        random: &mut Random,
    ) {
        if let Some([bands, frames]) = image
            && training.mask > 0.0
        {
            for example in self.x.chunks_exact_mut(bands * frames) {
                blank(example, frames, training.mask, random);
            }
        }
        if training.mixup > 0.0 {
            self.mix(training.mixup, random);
        }
    }

    /// Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", 2018: sums
    /// of two examples, and of their targets.
    fn mix(&mut self, alpha: f64, random: &mut Random) {
        let share = symmetric_beta(alpha, random);
        // The larger share is the example's own, so that it stays mostly itself.
        let share = share.max(1.0 - share) as f32;
        // One partner for each and one share for the batch; some are mixed with themselves, without effect.
        let mut partner: Vec<usize> = (0..self.n).collect();
        random.shuffle(&mut partner);
        for numbers in [&mut *self.x, &mut self.wanted] {
            let before = numbers.to_vec();
            let width = numbers.len() / self.n;
            for (row, &other) in numbers.chunks_exact_mut(width).zip(&partner) {
                let pairs = row.iter_mut().zip(&before[other * width..][..width]);
                pairs.for_each(|(x, other)| *x = share * *x + (1.0 - share) * other);
            }
        }
    }
}

/// Sets some bands and some frames to the mean. Park and others, "`SpecAugment`", 2019.
fn blank(example: &mut [f32], frames: usize, most: f64, random: &mut Random) {
    let bands = example.len() / frames;
    let mean = example.iter().sum::<f32>() / example.len() as f32;
    let mut drawn = |length: usize| {
        let wide = random.below((most * length as f64) as usize + 1);
        let start = random.below(length - wide + 1);
        start..start + wide
    };
    let rows = drawn(bands);
    let columns = drawn(frames);
    for (band, row) in example.chunks_exact_mut(frames).enumerate() {
        if rows.contains(&band) {
            row.fill(mean);
        }
        row[columns.clone()].fill(mean);
    }
}

/// A number from 0 to 1 whose density is highest at both ends (Jöhnk, 1964).
///
/// - `alpha`: more than 0, at most 1
fn symmetric_beta(alpha: f64, random: &mut Random) -> f64 {
    // By rejection; for small `alpha` both powers may underflow to 0, and are drawn again.
    for _ in 0..1000 {
        let [a, b] = [random.f64(), random.f64()].map(|x| x.powf(1.0 / alpha));
        if a + b <= 1.0 && a + b > 0.0 {
            return a / (a + b);
        }
    }
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_smoothed_and_mixed() {
        let mut x = [1.0, 0.0, 0.0, 1.0];
        let batch = ClassBatch::new(&mut x, &[0, 1], 2, 0.1);
        let expected = [0.95_f32, 0.05, 0.05, 0.95];
        let mut off = batch.wanted.iter().zip(expected);
        assert!(off.all(|(a, b)| (a - b).abs() < 1e-6));
        let mut moved = 0;
        for seed in 0..20 {
            let mut x = [1.0, 0.0, 0.0, 1.0];
            let mut batch = ClassBatch::new(&mut x, &[0, 1], 2, 0.0);
            batch.mix(0.2, &mut Random::new(seed));
            // each example equals its target here
            assert_eq!(batch.x.to_vec(), batch.wanted);
            let sum: f32 = batch.wanted.iter().sum();
            assert!((sum - 2.0).abs() < 1e-6 && batch.wanted[0] >= 0.5);
            moved += usize::from(batch.wanted[0] < 1.0);
        }
        assert!((2..20).contains(&moved), "{moved}");
    }

    #[test]
    fn whole_bands_and_frames_are_masked_up_to_the_limit() {
        let bands = 20;
        let frames = 50;
        let mut blanked = 0;
        for seed in 0..50 {
            let mut x: Vec<f32> = (0..bands * frames).map(|i| 1.0 + i as f32).collect();
            let before = x.clone();
            blank(&mut x, frames, 0.2, &mut Random::new(seed));
            let kept = |i: usize| x[i] == before[i];
            let rows = (0..bands).filter(|row| (0..frames).all(|at| !kept(row * frames + at)));
            let columns = (0..frames).filter(|at| (0..bands).all(|row| !kept(row * frames + at)));
            let [rows, columns] = [rows.count(), columns.count()];
            let gone = x.iter().zip(&before).filter(|(a, b)| a != b).count();
            assert!(rows <= 4 && columns <= 10, "{rows} {columns}");
            assert_eq!(gone, rows * frames + columns * (bands - rows));
            blanked += gone;
        }
        // a tenth of the bands and of the frames on average
        assert!((5_000..14_000).contains(&blanked), "{blanked}");
    }
}
