//! Seeded vectors with and without clusters, for tests.

use ndarray::Array2;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A standard normal number (Box–Muller).
pub(crate) fn normal(rng: &mut StdRng) -> f32 {
    let u: f32 = rng.random::<f32>().max(1e-12);
    let v: f32 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

fn normalise(mut vectors: Array2<f32>) -> Array2<f32> {
    for mut row in vectors.rows_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    vectors
}

/// `[n, dim]` unit vectors without structure.
pub(crate) fn unit_vectors(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    normalise(Array2::from_shape_simple_fn((n, dim), || normal(&mut rng)))
}

/// `groups` groups of `each` unit vectors around random centres, and the group of each row.
///
/// - `spread`: standard deviation of each coordinate, relative to the centre's
pub(crate) fn grouped(
    groups: usize,
    each: usize,
    dim: usize,
    spread: f32,
    seed: u64,
) -> (Array2<f32>, Vec<usize>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let centres = Array2::from_shape_simple_fn((groups, dim), || normal(&mut rng));
    let labels: Vec<usize> = (0..groups * each).map(|i| i % groups).collect();
    let vectors = Array2::from_shape_fn((groups * each, dim), |(i, d)| {
        centres[[labels[i], d]] + spread * normal(&mut rng)
    });
    (normalise(vectors), labels)
}
