//! Stochastic gradient descent on the layout, the same whatever the number of threads.

use rayon::prelude::*;

use super::LayoutOptions;
use super::curve;
use super::fuzzy::Edges;

/// Largest move per sample and coordinate.
const CLIP: f32 = 4.0;
/// Rows per task.
const BLOCK: usize = 256;

/// Moves the rows that may move so that strong pairs lie close and random pairs apart.
///
/// Follows umap-learn's schedule: an edge of relative strength w is sampled in a share w of the rounds and
/// pulls both its ends; after each sample its head is pushed away from `negative_samples` random rows; the
/// step falls linearly from 1 to 0. Unlike there, all rows see the positions from before the round.
pub(super) fn optimise(
    positions: &mut [[f32; 2]],
    edges: &Edges,
    moving: &[bool],
    epochs: usize,
    options: &LayoutOptions,
) {
    let n = positions.len();
    let (a, b) = curve::fit(options.min_dist);
    let strongest = edges.weights.iter().copied().fold(0.0, f32::max);
    if strongest <= 0.0 || epochs == 0 {
        return;
    }
    let forces = Forces::new(a, b);
    let mut before = positions.to_vec();
    for epoch in 0..epochs {
        let step = 1.0 - epoch as f32 / epochs as f32;
        before.copy_from_slice(positions);
        let before = &before;
        let forces = &forces;
        positions.par_chunks_mut(BLOCK).enumerate().for_each(|(block, chunk)| {
            for (offset, position) in chunk.iter_mut().enumerate() {
                let i = block * BLOCK + offset;
                if !moving[i] {
                    continue;
                }
                let mut random = Random::new(options.seed, epoch as u64, i as u64);
                let mut here = *position;
                for (j, weight) in edges.row(i) {
                    // Sampled when the running count of w · epoch passes a whole number. Weak edges that would
                    // never be sampled in all rounds are skipped, as in umap-learn.
                    let rate = f64::from(weight / strongest);
                    let due = (rate * (epoch + 1) as f64).floor() > (rate * epoch as f64).floor();
                    if !due {
                        continue;
                    }
                    // Once as head, once as tail of the mirrored edge, which is due in the same round.
                    for _ in 0..2 {
                        let (dx, dy) = (here[0] - before[j][0], here[1] - before[j][1]);
                        let force = forces.attract(dx * dx + dy * dy);
                        here[0] += step * (force * dx).clamp(-CLIP, CLIP);
                        here[1] += step * (force * dy).clamp(-CLIP, CLIP);
                    }
                    for _ in 0..options.negative_samples {
                        let j = random.below(n);
                        if j == i {
                            continue;
                        }
                        let (dx, dy) = (here[0] - before[j][0], here[1] - before[j][1]);
                        let force = forces.repel(dx * dx + dy * dy);
                        here[0] += step * (force * dx).clamp(-CLIP, CLIP);
                        here[1] += step * (force * dy).clamp(-CLIP, CLIP);
                    }
                }
                *position = here;
            }
        });
    }
}

/// Gradient coefficients as functions of squared distance.
struct Forces {
    a: f32,
    b: f32,
}

impl Forces {
    fn new(a: f32, b: f32) -> Self {
        Self { a, b }
    }

    fn attract(&self, squared: f32) -> f32 {
        if squared <= 0.0 {
            return 0.0;
        }
        let power = squared.powf(self.b);
        -2.0 * self.a * self.b * power / squared / (self.a * power + 1.0)
    }

    fn repel(&self, squared: f32) -> f32 {
        if squared <= 0.0 {
            return 0.0;
        }
        2.0 * self.b / ((0.001 + squared) * (self.a * squared.powf(self.b) + 1.0))
    }
}

/// A small counter-based generator (SplitMix64): each row and round has its own stream.
struct Random(u64);

impl Random {
    fn new(seed: u64, epoch: u64, row: u64) -> Self {
        let mut random = Self(seed ^ (epoch << 32 | row).wrapping_mul(0xD134_2543_DE82_EF95));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 32) * n as u64 >> 32) as usize
    }
}
