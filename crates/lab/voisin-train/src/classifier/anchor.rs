//! The penalty that keeps tracks as near to each other as a pretrained network had them.

use std::collections::HashMap;

use ndarray::{Array2, Axis};

use crate::TrainError;
use voisin_encoder::Precision;
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_kernels::isa;
use voisin_networks::conv::FastChain;

/// Windows whose embeddings are kept, at most.
const KEPT: usize = 1 << 16;

/// A network that stays as it is, and what it says of the windows that it has heard.
pub(super) struct FixedNet {
    weights: OpenL3Weights,
    net: FastChain,
    /// By the digest of a window.
    known: HashMap<blake3::Hash, Vec<f32>>,
}

impl FixedNet {
    pub(super) fn new(weights: &OpenL3Weights) -> Result<Self, TrainError> {
        let net = weights.compile(isa()?, Precision::F32);
        Ok(Self {
            weights: weights.clone(),
            net,
            known: HashMap::new(),
        })
    }

    pub(super) fn weights(&self) -> &OpenL3Weights {
        &self.weights
    }

    /// Embeddings of windows, one behind the other; those that are kept are not worked out again.
    pub(super) fn embeddings(&mut self, x: &[f32]) -> Vec<f32> {
        let mut found = Vec::with_capacity(x.len() / WINDOW * self.net.dimension());
        for window in x.chunks_exact(WINDOW) {
            // Windows are known by their contents: mixed and blanked ones differ each time, those
            // of validation do not.
            let mut hasher = blake3::Hasher::new();
            window.iter().for_each(|cell| {
                hasher.update(&cell.to_le_bytes());
            });
            let digest = hasher.finalize();
            if let Some(embedding) = self.known.get(&digest) {
                found.extend_from_slice(embedding);
                continue;
            }
            let mut embedding = vec![0.0; self.net.dimension()];
            self.net.forward(window, 1, &mut embedding);
            found.extend_from_slice(&embedding);
            // Of a larger corpus the first windows are kept; the rest is computed again in each
            // epoch.
            if self.known.len() < KEPT {
                self.known.insert(digest, embedding);
            }
        }
        found
    }
}

/// The weighted mean of (cosine after - cosine before)² over all pairs of rows, and its gradient for `after`. Cosines are
/// relative to the mean of all rows, as those of a library are.
///
/// - `after`, `before`: `[n][dimension]`
pub(super) fn pull(
    after: &[f32],
    before: &[f32],
    dimension: usize,
    weight: f64,
) -> (f64, Vec<f32>) {
    let n = after.len() / dimension;
    let pairs = (n * n.saturating_sub(1)).max(1) as f64;
    let (units, lengths) = centred(after, dimension);
    let (others, _) = centred(before, dimension);
    let mut apart = units.dot(&units.t()) - others.dot(&others.t());
    // A row has the cosine 1 with itself, before and after.
    apart.diag_mut().fill(0.0);
    let loss = weight / pairs * apart.iter().map(|x| x * x).sum::<f64>();
    // Each pair is in the sum twice, and the square gives another 2.
    let mut gradient = apart.dot(&units) * (4.0 * weight / pairs);
    for ((mut row, unit), length) in gradient
        .outer_iter_mut()
        .zip(units.outer_iter())
        .zip(lengths)
    {
        // Through the normalisation: what lies along the unit vector changes its length, not its
        // direction.
        let along = row.dot(&unit);
        row.zip_mut_with(&unit, |g, u| *g = (*g - along * u) / length);
    }
    // Through the centring: moving all rows alike moves their mean with them.
    if let Some(mean) = gradient.mean_axis(Axis(0)) {
        gradient -= &mean;
    }
    (loss, gradient.iter().map(|x| *x as f32).collect())
}

/// Rows without their mean, of length 1, and how long they were.
fn centred(rows: &[f32], dimension: usize) -> (Array2<f64>, Vec<f64>) {
    let n = rows.len() / dimension;
    let mut rows = Array2::from_shape_fn((n, dimension), |(row, at)| {
        f64::from(rows[row * dimension + at])
    });
    if let Some(mean) = rows.mean_axis(Axis(0)) {
        rows -= &mean;
    }
    let lengths: Vec<f64> = rows
        .outer_iter()
        .map(|row| row.dot(&row).sqrt().max(1e-9))
        .collect();
    rows.outer_iter_mut()
        .zip(&lengths)
        .for_each(|(mut row, length)| row /= *length);
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
        let after = numbers();
        let before = numbers();
        let (_, gradient) = pull(&after, &before, 4, 10.0);
        for at in 0..after.len() {
            let loss = |step: f32| {
                let mut moved = after.clone();
                moved[at] += step;
                pull(&moved, &before, 4, 10.0).0
            };
            let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
            assert!(
                (slope - f64::from(gradient[at])).abs() < 1e-2,
                "{at}: {slope}, {}",
                gradient[at]
            );
        }
        // longer vectors somewhere else lie as they did
        let moved: Vec<f32> = before
            .iter()
            .enumerate()
            .map(|(at, x)| 3.0 * x + (at % 4) as f32)
            .collect();
        let (loss, gradient) = pull(&moved, &before, 4, 10.0);
        assert!(
            loss < 1e-9 && gradient.iter().all(|g| g.abs() < 1e-4),
            "{loss}"
        );
        assert_eq!(
            pull(&after[..4], &before[..4], 4, 10.0),
            (0.0, vec![0.0; 4])
        );
    }
}
