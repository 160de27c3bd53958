//! The penalty that keeps the cosines between tracks as in a pretrained network.

use std::collections::HashMap;

use ndarray::{Array2, Axis};

use crate::TrainError;
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_kernels::isa;
use voisin_networks::conv::FastChain;

/// At most this many embeddings are cached.
const KEPT: usize = 1 << 16;

/// A frozen network, with a cache of its embeddings.
pub(super) struct FrozenNet {
    weights: OpenL3Weights,
    net: FastChain,
    /// Embeddings by the digest of the window.
    known: HashMap<blake3::Hash, Vec<f32>>,
}

impl FrozenNet {
    pub(super) fn new(weights: &OpenL3Weights) -> Result<Self, TrainError> {
        let net = weights.compile(isa()?);
        Ok(Self {
            weights: weights.clone(),
            net,
            known: HashMap::new(),
        })
    }

    pub(super) fn weights(&self) -> &OpenL3Weights {
        &self.weights
    }

    /// Embeddings of windows, concatenated; cached ones are not computed again.
    pub(super) fn embeddings(&mut self, x: &[f32]) -> Vec<f32> {
        let mut found = Vec::with_capacity(x.len() / WINDOW * self.net.dimension());
        for window in x.chunks_exact(WINDOW) {
            // By contents: windows that are mixed or masked differ each time, those of validation do not.
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
            // Of a larger corpus the first windows are cached; the others are computed again in each epoch.
            if self.known.len() < KEPT {
                self.known.insert(digest, embedding);
            }
        }
        found
    }
}

/// The weighted mean of (cosine after - cosine before)² over all pairs of rows, and its gradient
/// for `after`. Cosines are relative to the mean of all rows, as in a library.
///
/// - `after`, `before`: `[n][dimension]`
pub(super) fn anchor_penalty(
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
    // Each pair is in the sum twice, and the square gives another factor of 2.
    let mut gradient = apart.dot(&units) * (4.0 * weight / pairs);
    for ((mut row, unit), length) in gradient
        .outer_iter_mut()
        .zip(units.outer_iter())
        .zip(lengths)
    {
        // Through the normalisation: the component along the unit vector changes its length only.
        let along = row.dot(&unit);
        row.zip_mut_with(&unit, |g, u| *g = (*g - along * u) / length);
    }
    // Through the centring: shifting all rows alike shifts their mean.
    if let Some(mean) = gradient.mean_axis(Axis(0)) {
        gradient -= &mean;
    }
    (loss, gradient.iter().map(|x| *x as f32).collect())
}

/// Centred rows of length 1, and their former lengths.
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
    fn the_anchor_has_the_gradient_of_its_loss() {
        let mut random = Random::new(3);
        let mut numbers = || -> Vec<f32> { (0..5 * 4).map(|_| random.normal() as f32).collect() };
        let after = numbers();
        let before = numbers();
        let (_, gradient) = anchor_penalty(&after, &before, 4, 10.0);
        for at in 0..after.len() {
            let loss = |step: f32| {
                let mut moved = after.clone();
                moved[at] += step;
                anchor_penalty(&moved, &before, 4, 10.0).0
            };
            let slope = (loss(1e-3) - loss(-1e-3)) / 2e-3;
            assert!(
                (slope - f64::from(gradient[at])).abs() < 1e-2,
                "{at}: {slope}, {}",
                gradient[at]
            );
        }
        // scaled and shifted vectors have the same cosines
        let moved: Vec<f32> = before
            .iter()
            .enumerate()
            .map(|(at, x)| 3.0 * x + (at % 4) as f32)
            .collect();
        let (loss, gradient) = anchor_penalty(&moved, &before, 4, 10.0);
        assert!(
            loss < 1e-9 && gradient.iter().all(|g| g.abs() < 1e-4),
            "{loss}"
        );
        assert_eq!(
            anchor_penalty(&after[..4], &before[..4], 4, 10.0),
            (0.0, vec![0.0; 4])
        );
    }
}
