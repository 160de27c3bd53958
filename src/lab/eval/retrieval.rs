//! Quality of neighbours by labels: precision.
//!
//! The artist filter (Pampalk, Flexer and Widmer, ISMIR 2005): a track by the query's artist never
//! counts as its neighbour, so that styles are measured and not albums.

use ndarray::{Array1, ArrayView2};
use rayon::prelude::*;
use serde::Serialize;

use crate::LabError;
use voisin_base::random::Random;
use voisin_genre::unit_rows;

const REDRAWS: usize = 1000;

/// A mean over queries, with the standard deviation of that mean (bootstrap over queries).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    pub mean: f64,
    pub spread: f64,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ± {:.3}", self.mean, self.spread)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Retrieval {
    /// Tracks used as queries: those with a candidate by another artist.
    pub queries: usize,
    pub k: usize,
    /// Share of the k nearest (by other artists) that have the query's label.
    pub precision: Figure,
    /// The same by chance: the label's share among the candidates.
    pub chance: f64,
    /// Precision of each label's queries, in the order of the labels' numbers; NaN without queries.
    pub by_label: Vec<f64>,
}

struct QueryFigures {
    label: usize,
    precision: f64,
    chance: f64,
}

/// Evaluates neighbours by cosine.
///
/// - `vectors`: `[tracks, dimension]`, of any length
/// - `labels`: number of each track's label
/// - `artists`: number of each track's artist; `None` is a distinct artist
pub fn retrieval(
    vectors: ArrayView2<'_, f32>,
    labels: &[usize],
    artists: &[Option<usize>],
    k: usize,
) -> Result<Retrieval, LabError> {
    let k = k.max(1);
    let queries = measure_each(vectors, labels, artists, k)?;
    let count = labels.iter().max().map_or(0, |most| most + 1);
    let by_label = (0..count)
        .map(|label| {
            let precisions: Vec<f64> = queries
                .iter()
                .filter(|q| q.label == label)
                .map(|q| q.precision)
                .collect();
            precisions.iter().sum::<f64>() / precisions.len() as f64
        })
        .collect();
    let precisions: Vec<f64> = queries.iter().map(|q| q.precision).collect();
    Ok(Retrieval {
        queries: queries.len(),
        k,
        precision: figure(&precisions),
        chance: queries.iter().map(|q| q.chance).sum::<f64>() / queries.len() as f64,
        by_label,
    })
}

/// Figures of all queries that have a candidate; which ones have does not depend on the vectors.
fn measure_each(
    vectors: ArrayView2<'_, f32>,
    labels: &[usize],
    artists: &[Option<usize>],
    k: usize,
) -> Result<Vec<QueryFigures>, LabError> {
    let n = vectors.nrows();
    if labels.len() != n || artists.len() != n {
        return Err(LabError::Options(format!(
            "expected as many labels and artists as vectors ({n}), found {} and {}",
            labels.len(),
            artists.len()
        )));
    }
    let unit = unit_rows(vectors.to_owned());
    let queries: Vec<QueryFigures> = (0..n)
        .into_par_iter()
        .filter_map(|query| {
            let similarity: Array1<f32> = unit.dot(&unit.row(query));
            let mut order: Vec<usize> = (0..n)
                // a track of an unknown artist stays a candidate
                .filter(|&i| i != query && (artists[i].is_none() || artists[i] != artists[query]))
                .collect();
            if order.is_empty() {
                return None;
            }
            order.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]).then(a.cmp(&b)));
            let label = labels[query];
            let share = |rows: &[usize]| {
                let same = rows.iter().filter(|&&row| labels[row] == label).count();
                same as f64 / rows.len() as f64
            };
            Some(QueryFigures {
                label,
                precision: share(&order[..k.min(order.len())]),
                chance: share(&order),
            })
        })
        .collect();
    if queries.is_empty() {
        let problem = "nothing to evaluate: expected two or more tracks of different artists";
        return Err(LabError::Options(problem.to_owned()));
    }
    Ok(queries)
}

/// The mean and its standard deviation by a bootstrap over queries (Efron, 1979) with a fixed seed.
fn figure(values: &[f64]) -> Figure {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let mut random = Random::new(0);
    let variance = (0..REDRAWS)
        .map(|_| ((0..n).map(|_| values[random.below(n)]).sum::<f64>() / n as f64 - mean).powi(2))
        .sum::<f64>()
        / REDRAWS as f64;
    Figure {
        mean,
        spread: variance.sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_a_mean() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let figure = figure(&values);
        assert!(
            (figure.mean - 0.5).abs() < 1e-12 && (figure.spread - 0.025).abs() < 0.003,
            "{figure:?}"
        );
        assert_eq!(
            Figure {
                mean: 0.5,
                spread: 0.025
            }
            .to_string(),
            "0.500 ± 0.025"
        );
    }
}
