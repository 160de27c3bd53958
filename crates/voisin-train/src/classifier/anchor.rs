//! What keeps tracks as near to each other as a pretrained network had them.

use std::collections::HashMap;

use ndarray::{Array2, Axis};

use crate::encoder::TrainError;
use voisin_encoder::Precision;
use voisin_kernels::conv::{FastChain, OpenL3Weights, WINDOW};
use voisin_kernels::isa;

/// The network as it was, and what it says of the windows of a batch.
pub(super) struct EmbeddingAnchor {
    weight: f64,
    before: FastChain,
    /// By the digest of a window.
    known: HashMap<blake3::Hash, Vec<f32>>,
    /// Of the batch in hand.
    wanted: Vec<f32>,
}

impl EmbeddingAnchor {
    pub(super) fn new(weight: f64, before: &OpenL3Weights) -> Result<Self, TrainError> {
        let before = FastChain::openl3(before, isa()?, Precision::F32);
        Ok(Self { weight, before, known: HashMap::new(), wanted: Vec::new() })
    }

    /// Listens to windows as the network did before; each is listened to once.
    pub(super) fn listen(&mut self, x: &[f32]) {
        let digests: Vec<blake3::Hash> = x
            .chunks_exact(WINDOW)
            .map(|window| {
                let mut hasher = blake3::Hasher::new();
                window.iter().for_each(|cell| {
                    hasher.update(&cell.to_le_bytes());
                });
                hasher.finalize()
            })
            .collect();
        for (window, digest) in x.chunks_exact(WINDOW).zip(&digests) {
            self.known.entry(*digest).or_insert_with(|| {
                let mut embedding = vec![0.0; self.before.dimension()];
                self.before.forward(window, 1, &mut embedding);
                embedding
            });
        }
        self.wanted = digests.iter().flat_map(|digest| self.known[digest].iter().copied()).collect();
    }

    /// What is added to the gradient of the batch's embeddings.
    pub(super) fn gradient(&self, after: &[f32]) -> Vec<f32> {
        pull(after, &self.wanted, self.before.dimension(), self.weight).1
    }
}

/// The weighted mean of (cosine after - cosine before)² over all pairs of rows, and its gradient for `after`. Cosines are
/// relative to the mean of all rows, as those of a library are.
///
/// - `after`, `before`: `[n][dimension]`
fn pull(after: &[f32], before: &[f32], dimension: usize, weight: f64) -> (f64, Vec<f32>) {
    let n = after.len() / dimension;
    let pairs = (n * n.saturating_sub(1)).max(1) as f64;
    let (units, lengths) = centred(after, dimension);
    let (others, _) = centred(before, dimension);
    let mut apart = units.dot(&units.t()) - others.dot(&others.t());
    apart.diag_mut().fill(0.0);
    let loss = weight / pairs * apart.iter().map(|x| x * x).sum::<f64>();
    let mut gradient = apart.dot(&units) * (4.0 * weight / pairs);
    for ((mut row, unit), length) in gradient.outer_iter_mut().zip(units.outer_iter()).zip(lengths) {
        let along = row.dot(&unit);
        row.zip_mut_with(&unit, |g, u| *g = (*g - along * u) / length);
    }
    if let Some(mean) = gradient.mean_axis(Axis(0)) {
        gradient -= &mean;
    }
    (loss, gradient.iter().map(|x| *x as f32).collect())
}

/// Rows without their mean, of length 1, and how long they were.
fn centred(rows: &[f32], dimension: usize) -> (Array2<f64>, Vec<f64>) {
    let n = rows.len() / dimension;
    let mut rows = Array2::from_shape_fn((n, dimension), |(row, at)| f64::from(rows[row * dimension + at]));
    if let Some(mean) = rows.mean_axis(Axis(0)) {
        rows -= &mean;
    }
    let lengths: Vec<f64> = rows.outer_iter().map(|row| row.dot(&row).sqrt().max(1e-9)).collect();
    rows.outer_iter_mut().zip(&lengths).for_each(|(mut row, length)| row /= *length);
    (rows, lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    #[test]
    fn the_pull_has_the_slopes_of_its_loss_and_none_where_nothing_moved() {
        let mut random = Random::new(3);
        let mut numbers = || -> Vec<f32> { (0..5 * 4).map(|_| random.normal() as f32).collect() };
        let (after, before) = (numbers(), numbers());
        let (_, gradient) = pull(&after, &before, 4, 10.0);
        for at in 0..after.len() {
            let loss = |step: f32| {
                let mut moved = after.clone();
                moved[at] += step;
                pull(&moved, &before, 4, 10.0).0
            };
            let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
            assert!((slope - f64::from(gradient[at])).abs() < 1e-2, "{at}: {slope}, {}", gradient[at]);
        }
        // longer vectors somewhere else lie as they did
        let moved: Vec<f32> = before.iter().enumerate().map(|(at, x)| 3.0 * x + (at % 4) as f32).collect();
        let (loss, gradient) = pull(&moved, &before, 4, 10.0);
        assert!(loss < 1e-9 && gradient.iter().all(|g| g.abs() < 1e-4), "{loss}");
        assert_eq!(pull(&after[..4], &before[..4], 4, 10.0), (0.0, vec![0.0; 4]));
    }
}
