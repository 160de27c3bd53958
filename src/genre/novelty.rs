//! How unlike the training tracks a track is, so that one of an unknown genre is noticed.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::{Near, data::thinned, nearest::nearest, space::unit_rows};

/// Share of unknown genres among the tracks asked about that novelty is judged with.
const UNKNOWN: f64 = 0.05;
/// Neighbours whose whitened Euclidean distance makes up the first of the two distances.
const NEAREST: usize = 5;
/// Reference rows that distances are measured to, at most.
const ROWS: usize = 4000;

/// Novelty: the mean of two standardised distances to the nearest training tracks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Novelty {
    /// Means of the two distances over held-out tracks of known genres.
    pub mean: [f64; 2],
    /// Their standard deviations.
    pub deviation: [f64; 2],
    /// Novelty at which a track is as likely of an unknown genre as of a known one, were 5 % unknown.
    pub middle: f64,
    /// Change of novelty that multiplies those odds by e.
    pub width: f64,
    /// Novelty of held-out tracks of known genres at 0 %, 1 %, … 100 %.
    pub quantiles: Vec<f64>,
}

impl Novelty {
    /// - `known`: distances of held-out tracks; `strange`: of tracks whose genre was left out of training
    pub(super) fn fit(known: &[[f32; 2]], strange: &[[f32; 2]]) -> Self {
        let n = known.len().max(1) as f64;
        let mut novelty =
            Self { mean: [0.0; 2], deviation: [1.0; 2], middle: 2.0, width: 0.5, quantiles: Vec::new() };
        for j in 0..2 {
            let mean = known.iter().map(|d| f64::from(d[j])).sum::<f64>() / n;
            let variance = known.iter().map(|d| (f64::from(d[j]) - mean).powi(2)).sum::<f64>() / n;
            novelty.mean[j] = mean;
            novelty.deviation[j] = variance.sqrt().max(1e-6);
        }
        let mut scores: Vec<f64> = known.iter().map(|d| novelty.score(d)).collect();
        scores.sort_by(f64::total_cmp);
        novelty.quantiles = (0..=100)
            .map(|q| scores.get((scores.len().saturating_sub(1) * q + 50) / 100).copied().unwrap_or(0.0))
            .collect();
        if !strange.is_empty() {
            let outside: Vec<f64> = strange.iter().map(|d| novelty.score(d)).collect();
            (novelty.middle, novelty.width) = boundary(&scores, &outside);
            novelty.middle += novelty.width * (1.0 / UNKNOWN - 1.0).ln();
        }
        novelty
    }

    /// Novelty of a pair of distances; 0 is an average held-out track, larger is stranger.
    pub(super) fn score(&self, distances: &[f32; 2]) -> f64 {
        (0..2).map(|j| (f64::from(distances[j]) - self.mean[j]) / self.deviation[j]).sum::<f64>() / 2.0
    }

    /// How much a track looks like one of an unknown genre, in (0, 1).
    pub(super) fn strangeness(&self, score: f64) -> f64 {
        1.0 / (1.0 + (-(score - self.middle) / self.width).exp())
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
        let (low, high) = (self.quantiles[at - 1], self.quantiles[at]);
        let part = if high > low { (score - low) / (high - low) } else { 0.0 };
        (at as f64 - 1.0 + part) / (self.quantiles.len() - 1) as f64
    }
}

/// One-dimensional logistic regression with equal class weights: where the odds are even, and the scale.
fn boundary(inside: &[f64], outside: &[f64]) -> (f64, f64) {
    let (mut slope, mut offset) = (1.0f64, 0.0f64);
    let sides =
        [(inside, 0.0, 0.5 / inside.len().max(1) as f64), (outside, 1.0, 0.5 / outside.len().max(1) as f64)];
    for _ in 0..50 {
        // gradient and Hessian of the mean loss, with a weak pull of the slope to 1
        let (mut g, mut h) = ([1e-3 * (slope - 1.0), 0.0], [1e-3, 0.0, 1e-6]);
        for (scores, label, weight) in sides {
            for &score in scores {
                let p = 1.0 / (1.0 + (-(slope * score + offset)).exp());
                let (error, curve) = (weight * (p - label), weight * p * (1.0 - p));
                g[0] += error * score;
                g[1] += error;
                h[0] += curve * score * score;
                h[1] += curve * score;
                h[2] += curve;
            }
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant.abs() < 1e-15 {
            break;
        }
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        let size = step[0].hypot(step[1]).max(1.0);
        slope -= step[0] / size;
        offset -= step[1] / size;
        if step[0].hypot(step[1]) < 1e-9 {
            break;
        }
    }
    let slope = slope.max(0.2);
    (-offset / slope, 1.0 / slope)
}

/// The training tracks that distances are measured to.
#[derive(Debug, Clone)]
pub(super) struct NoveltyReference {
    /// Which rows of the training set they are.
    rows: Vec<usize>,
    /// Whitened rows, each followed by minus its squared length.
    whitened: Array2<f32>,
    /// Standardised unit rows.
    standard: Array2<f32>,
}

impl NoveltyReference {
    /// Neighbours whose mean standardised cosine makes up the second of the two distances.
    pub(super) const NEIGHBOURS: usize = 20;

    /// - `standard`, `whitened`: all training tracks, `[n, d]`; at most [`ROWS`] of them are kept
    pub(super) fn new(standard: &Array2<f32>, whitened: &Array2<f32>) -> Self {
        let rows = thinned(standard.nrows(), ROWS);
        Self {
            whitened: with_norms(whitened.select(Axis(0), &rows)),
            standard: unit_rows(standard.select(Axis(0), &rows)),
            rows,
        }
    }

    /// The two distances of each query, and its [`NEIGHBOURS`](Self::NEIGHBOURS) by standardised cosine.
    ///
    /// `allowed(query, row)`: whether a training row may be near to a query.
    pub(super) fn distances(
        &self,
        standard: &Array2<f32>,
        whitened: &Array2<f32>,
        allowed: &(impl Fn(usize, usize) -> bool + Sync),
    ) -> (Vec<[f32; 2]>, Vec<Vec<Near>>) {
        let inside = |q: usize, r: usize| allowed(q, self.rows[r]);
        // 2 q·r - |r|² orders rows by Euclidean distance; |q|² is added back below
        let mut asking = Array2::ones((whitened.nrows(), whitened.ncols() + 1));
        asking.slice_mut(ndarray::s![.., ..whitened.ncols()]).assign(&(whitened * 2.0));
        let near = nearest(asking.view(), self.whitened.view(), NEAREST, inside);
        let unit = unit_rows(standard.clone());
        let wide = nearest(unit.view(), self.standard.view(), Self::NEIGHBOURS, inside);
        let dimension = (whitened.ncols() as f32).sqrt();
        let distances = near
            .iter()
            .zip(&wide)
            .zip(whitened.outer_iter())
            .map(|((near, wide), row)| {
                let square = row.dot(&row);
                let distance = mean(near.iter().map(|n| (square - n.similarity).max(0.0).sqrt() / dimension));
                [distance.unwrap_or(10.0), 1.0 - mean(wide.iter().map(|n| n.similarity)).unwrap_or(-1.0)]
            })
            .collect();
        let neighbours = wide
            .into_iter()
            .map(|list| list.iter().map(|n| Near { row: self.rows[n.row], ..*n }).collect())
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
    fn the_boundary_lies_between_two_clouds() {
        let inside: Vec<f64> = (0..100).map(|i| f64::from(i) / 50.0 - 1.0).collect();
        let outside: Vec<f64> = inside.iter().map(|v| v + 3.0).collect();
        let (middle, width) = boundary(&inside, &outside);
        assert!((middle - 1.5).abs() < 0.05 && width > 0.0 && width < 1.0, "{middle} {width}");
        let (middle, _) = boundary(&inside, &inside);
        assert!(middle.is_finite());
    }

    #[test]
    fn percentiles_are_monotone_and_bounded() {
        let known: Vec<[f32; 2]> = (0..500).map(|i| [i as f32, 2.0 * i as f32]).collect();
        let novelty = Novelty::fit(&known, &[]);
        let p = |i: usize| novelty.percentile(novelty.score(&known[i]));
        assert!((p(250) - 0.5).abs() < 0.02 && p(0) < 0.01 && p(499) > 0.98);
        assert!((novelty.percentile(1e9) - 1.0).abs() < 1e-12 && novelty.percentile(-1e9).abs() < 1e-12);
    }
}
