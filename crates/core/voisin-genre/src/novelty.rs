//! Novelty: how unlike the training tracks a track is, to detect unknown genres.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::{Near, data::thinned, nearest::nearest, space::unit_rows};

/// Distance beyond the 99th percentile of held-out tracks, in deviations, at which an unknown genre
/// is as likely as a known one.
const BEYOND: f64 = 0.5;
/// Distance over which these odds grow by the factor e.
const WIDTH: f64 = 0.3;
/// Neighbours over which the first distance, Euclidean in the whitened space, is averaged.
const NEAREST: usize = 5;
/// Most reference rows.
const ROWS: usize = 4000;

/// Novelty: the mean of two standardised distances to the nearest training tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// Means of the two distances over held-out tracks of known genres.
    pub mean: [f64; 2],
    /// Their standard deviations.
    pub deviation: [f64; 2],
    /// Percentiles 0 to 100 of the novelty of held-out tracks of known genres; empty if no track
    /// could be held out.
    pub quantiles: Vec<f64>,
}

impl Novelty {
    /// - `known`: distances of held-out tracks
    pub(super) fn fit(known: &[[f32; 2]]) -> Self {
        let n = known.len().max(1) as f64;
        let mut novelty = Self {
            mean: [0.0; 2],
            deviation: [1.0; 2],
            quantiles: Vec::new(),
        };
        for j in 0..2 {
            let mean = known.iter().map(|d| f64::from(d[j])).sum::<f64>() / n;
            let variance = known
                .iter()
                .map(|d| (f64::from(d[j]) - mean).powi(2))
                .sum::<f64>()
                / n;
            novelty.mean[j] = mean;
            // Without a floor, equal held-out tracks would make any other distance infinitely novel.
            novelty.deviation[j] = variance.sqrt().max(1e-6);
        }
        let mut scores: Vec<f64> = known.iter().map(|d| novelty.score(d)).collect();
        scores.sort_by(f64::total_cmp);
        if let Some(last) = scores.len().checked_sub(1) {
            novelty.quantiles = (0..=100).map(|q| scores[(last * q + 50) / 100]).collect();
        }
        novelty
    }

    /// Novelty of a pair of distances; 0 for an average held-out track, larger is more novel.
    pub(super) fn score(&self, distances: &[f32; 2]) -> f64 {
        (0..2)
            .map(|j| (f64::from(distances[j]) - self.mean[j]) / self.deviation[j])
            .sum::<f64>()
            / 2.0
    }

    /// Probability-like score of an unknown genre, in [0, 1).
    pub(super) fn strangeness(&self, score: f64) -> f64 {
        // One known track in a hundred is beyond the 99th percentile.
        let middle = self
            .quantiles
            .get(99)
            .map_or(f64::INFINITY, |most| most + BEYOND);
        1.0 / (1.0 + ((middle - score) / WIDTH).exp())
    }

    /// Share of held-out tracks of known genres that are less novel, in [0, 1].
    pub(super) fn percentile(&self, score: f64) -> f64 {
        let at = self.quantiles.partition_point(|q| *q < score);
        if at == 0 || self.quantiles.len() < 2 {
            return 0.0;
        }
        if at >= self.quantiles.len() {
            return 1.0;
        }
        let low = self.quantiles[at - 1];
        let high = self.quantiles[at];
        let part = if high > low {
            (score - low) / (high - low)
        } else {
            0.0
        };
        (at as f64 - 1.0 + part) / (self.quantiles.len() - 1) as f64
    }
}

/// The training tracks that distances are measured to.
#[derive(Debug, Clone)]
pub(super) struct NoveltyReference {
    /// Their rows in the training set.
    rows: Vec<usize>,
    /// Whitened rows, each followed by minus its squared length.
    whitened: Array2<f32>,
    /// Standardised unit rows.
    standard: Array2<f32>,
}

impl NoveltyReference {
    /// Neighbours over which the second distance, by standardised cosine, is averaged.
    pub(super) const NEIGHBOURS: usize = 20;

    /// - `standard`, `whitened`: all training tracks, `[n, d]`; at most [`ROWS`] of them are used
    pub(super) fn new(standard: &Array2<f32>, whitened: &Array2<f32>) -> Self {
        let rows = thinned(standard.nrows(), ROWS);
        Self {
            whitened: with_norms(whitened.select(Axis(0), &rows)),
            standard: unit_rows(standard.select(Axis(0), &rows)),
            rows,
        }
    }

    /// The two distances of each query, and its [`NEIGHBOURS`](Self::NEIGHBOURS) by standardised
    /// cosine.
    ///
    /// `allowed(query, row)`: whether a training row may be a neighbour of a query.
    pub(super) fn distances(
        &self,
        standard: &Array2<f32>,
        whitened: &Array2<f32>,
        allowed: &(impl Fn(usize, usize) -> bool + Sync),
    ) -> (Vec<[f32; 2]>, Vec<Vec<Near>>) {
        let inside = |q: usize, r: usize| allowed(q, self.rows[r]);
        // 2 q·r - |r|² orders rows by Euclidean distance; |q|² is added below.
        let mut doubled = Array2::ones((whitened.nrows(), whitened.ncols() + 1));
        doubled
            .slice_mut(ndarray::s![.., ..whitened.ncols()])
            .assign(&(whitened * 2.0));
        let near = nearest(doubled.view(), self.whitened.view(), NEAREST, inside);
        let unit = unit_rows(standard.clone());
        let wide = nearest(unit.view(), self.standard.view(), Self::NEIGHBOURS, inside);
        let dimension = (whitened.ncols() as f32).sqrt();
        let distances = near
            .iter()
            .zip(&wide)
            .zip(whitened.outer_iter())
            .map(|((near, wide), row)| {
                let square = row.dot(&row);
                // Rounding may make the squared distance of a near copy negative.
                let distance = mean(
                    near.iter()
                        .map(|n| (square - n.similarity).max(0.0).sqrt() / dimension),
                );
                [
                    distance.unwrap_or(10.0),
                    1.0 - mean(wide.iter().map(|n| n.similarity)).unwrap_or(-1.0),
                ]
            })
            .collect();
        let neighbours = wide
            .into_iter()
            .map(|list| {
                list.iter()
                    .map(|n| Near {
                        row: self.rows[n.row],
                        ..*n
                    })
                    .collect()
            })
            .collect();
        (distances, neighbours)
    }
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, n) = values.fold((0.0, 0), |(s, n), v| (s + v, n + 1));
    (n > 0).then(|| sum / n as f32)
}

/// Rows `[r, -|r|²]`.
fn with_norms(x: Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((x.nrows(), x.ncols() + 1));
    for (mut to, from) in out.outer_iter_mut().zip(x.outer_iter()) {
        to.slice_mut(ndarray::s![..from.len()]).assign(&from);
        to[from.len()] = -from.dot(&from);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_monotone_and_bounded() {
        let known: Vec<[f32; 2]> = (0..500).map(|i| [i as f32, 2.0 * i as f32]).collect();
        let novelty = Novelty::fit(&known);
        let p = |i: usize| novelty.percentile(novelty.score(&known[i]));
        assert!((p(250) - 0.5).abs() < 0.02 && p(0) < 0.01 && p(499) > 0.98);
        assert!(
            (novelty.percentile(1e9) - 1.0).abs() < 1e-12 && novelty.percentile(-1e9).abs() < 1e-12
        );
        // Only scores beyond nearly all of them are strange.
        assert!(novelty.strangeness(novelty.score(&known[450])) < 0.1);
        assert!(novelty.strangeness(novelty.quantiles[99] + 0.4) < 0.5);
        assert!(novelty.strangeness(novelty.quantiles[99] + 1.5) > 0.9);
        assert!(
            Novelty::fit(&[]).strangeness(1e6) == 0.0 && Novelty::fit(&[]).percentile(1e6) == 0.0
        );
    }
}
