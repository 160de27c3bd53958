//! Quality of neighbours by labels: precision, average precision, k-NN accuracy.
//!
//! The artist filter (Pampalk, Flexer and Widmer, ISMIR 2005): a track by the query's artist never
//! counts as its neighbour, so that styles are measured and not albums.

use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
use serde::Serialize;

use crate::LabError;
use voisin_base::random::Random;
use voisin_genre::Standardiser;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrievalOptions {
    pub k: usize,
    /// Bring every dimension to mean 0 and deviation 1 first (over the set); else vectors are compared unchanged.
    pub standardise: bool,
}

impl Default for RetrievalOptions {
    /// Ten neighbours of unchanged vectors, as in a search.
    fn default() -> Self {
        Self {
            k: 10,
            standardise: false,
        }
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
    /// Mean average precision over the whole ranking.
    pub average_precision: Figure,
    /// Share of queries whose k nearest vote for their label (ties go to the nearer).
    pub knn_accuracy: Figure,
    /// Precision of each label's queries, in the order of the labels' numbers; NaN without queries.
    pub by_label: Vec<f64>,
}

struct QueryFigures {
    label: usize,
    precision: f64,
    chance: f64,
    average_precision: f64,
    correct: f64,
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
    options: RetrievalOptions,
) -> Result<Retrieval, LabError> {
    let queries = rank_each(vectors, labels, artists, options)?;
    let k = options.k.max(1);
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
    let figure =
        |value: fn(&QueryFigures) -> f64| figure(&queries.iter().map(value).collect::<Vec<_>>());
    Ok(Retrieval {
        queries: queries.len(),
        k,
        precision: figure(|q| q.precision),
        chance: queries.iter().map(|q| q.chance).sum::<f64>() / queries.len() as f64,
        average_precision: figure(|q| q.average_precision),
        knn_accuracy: figure(|q| q.correct),
        by_label,
    })
}

/// Rankings of all queries that have a candidate; which ones have does not depend on the vectors.
fn rank_each(
    vectors: ArrayView2<'_, f32>,
    labels: &[usize],
    artists: &[Option<usize>],
    options: RetrievalOptions,
) -> Result<Vec<QueryFigures>, LabError> {
    let n = vectors.nrows();
    if labels.len() != n || artists.len() != n {
        return Err(LabError::Options(format!(
            "expected as many labels and artists as vectors ({n}), found {} and {}",
            labels.len(),
            artists.len()
        )));
    }
    let unit = unit(vectors, options.standardise);
    let k = options.k.max(1);
    let queries: Vec<QueryFigures> = (0..n)
        .into_par_iter()
        .filter_map(|query| {
            // All candidates are ranked, since average precision needs the whole order.
            let similarity: Array1<f32> = unit.dot(&unit.row(query));
            let mut order: Vec<usize> = (0..n)
                // a track of an unknown artist stays a candidate
                .filter(|&i| i != query && (artists[i].is_none() || artists[i] != artists[query]))
                .collect();
            if order.is_empty() {
                return None;
            }
            order.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]).then(a.cmp(&b)));
            Some(measure_ranking(labels, query, &order, k))
        })
        .collect();
    if queries.is_empty() {
        let problem = "nothing to evaluate: expected two or more tracks of different artists";
        return Err(LabError::Options(problem.to_owned()));
    }
    Ok(queries)
}

/// Figures of one ranking of candidates.
fn measure_ranking(labels: &[usize], row: usize, order: &[usize], k: usize) -> QueryFigures {
    let label = labels[row];
    let same = |i: &usize| labels[*i] == label;
    let top = &order[..k.min(order.len())];
    let mut found = 0.0;
    let mut sum = 0.0;
    for (rank, i) in order.iter().enumerate() {
        if same(i) {
            found += 1.0;
            sum += found / (rank + 1) as f64;
        }
    }
    // Votes; the first to reach the highest count wins, so ties go to the nearer.
    let mut votes: Vec<(usize, usize)> = Vec::new();
    for &i in top {
        match votes.iter_mut().find(|(voted, _)| *voted == labels[i]) {
            Some((_, count)) => *count += 1,
            None => votes.push((labels[i], 1)),
        }
    }
    let most = votes.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let winner = votes
        .iter()
        .find(|(_, count)| *count == most)
        .map(|(voted, _)| *voted);
    QueryFigures {
        label,
        precision: top.iter().filter(|i| same(i)).count() as f64 / top.len() as f64,
        chance: found / order.len() as f64,
        average_precision: if found > 0.0 { sum / found } else { 0.0 },
        correct: f64::from(winner == Some(label)),
    }
}

/// Rows of length 1 (rows of zeros stay), optionally after scaling columns to deviation 1.
fn unit(vectors: ArrayView2<'_, f32>, standardise: bool) -> Array2<f32> {
    unit_rows(if standardise {
        Standardiser::fit(vectors).1
    } else {
        vectors.to_owned()
    })
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

    #[test]
    fn mistakes_are_refused() {
        let vectors = ndarray::array![[1.0f32, 0.0], [0.0, 1.0], [0.7, 0.7]];
        let refused = |labels: &[usize], artist| {
            let options = RetrievalOptions::default();
            let found = retrieval(vectors.view(), labels, &[artist; 3], options);
            found.unwrap_err().to_string()
        };
        assert!(refused(&[0; 3], Some(1)).contains("nothing to evaluate"));
        assert!(refused(&[0; 2], None).contains("expected as many labels"));
    }
}
