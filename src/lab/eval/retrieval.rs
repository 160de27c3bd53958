//! Quality of neighbours by labels: precision.
//!
//! The artist filter (Pampalk, Flexer and Widmer, ISMIR 2005): a track by the query's artist never
//! counts as its neighbour, so that styles are measured and not albums.

use ndarray::{Array1, ArrayView2};
use rayon::prelude::*;
use serde::Serialize;

use crate::LabError;
use voisin_genre::metrics::Spread;
use voisin_genre::unit_rows;

/// A mean over queries, with the standard deviation of that mean.
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

/// Evaluates neighbours by cosine.
///
/// - `vectors`: `[tracks, dimension]`, of any length
/// - `labels`: number of each track's label
/// - `artists`: number of each track's artist; `None` is a distinct artist
///
/// # Panics
/// If there are not as many labels and artists as vectors.
pub fn retrieval(
    vectors: ArrayView2<'_, f32>,
    labels: &[usize],
    artists: &[Option<usize>],
    k: usize,
) -> Result<Retrieval, LabError> {
    let k = k.max(1);
    let n = vectors.nrows();
    assert!(labels.len() == n && artists.len() == n);
    let unit = unit_rows(vectors.to_owned());
    // Label, precision and chance of a query that has a candidate.
    let measure = |query: usize| {
        let similarity: Array1<f32> = unit.dot(&unit.row(query));
        // A track of an unknown artist stays a candidate.
        let is_other = |i: usize| artists[i].is_none() || artists[i] != artists[query];
        let mut order: Vec<usize> = (0..n).filter(|&i| i != query && is_other(i)).collect();
        order.sort_by(|&a, &b| similarity[b].total_cmp(&similarity[a]).then(a.cmp(&b)));
        let share = |rows: &[usize]| {
            let same = rows.iter().filter(|&&row| labels[row] == labels[query]);
            same.count() as f64 / rows.len() as f64
        };
        let nearest = &order[..k.min(order.len())];
        (!order.is_empty()).then(|| (labels[query], share(nearest), share(&order)))
    };
    let queries: Vec<(usize, f64, f64)> = (0..n).into_par_iter().filter_map(measure).collect();
    if queries.is_empty() {
        let problem = "nothing to evaluate: expected two or more tracks of different artists";
        return Err(LabError::Options(problem.to_owned()));
    }
    let precisions = |label: Option<usize>| -> Vec<f64> {
        let queries = queries.iter();
        let queries = queries.filter(|(of, ..)| label.is_none_or(|label| label == *of));
        queries.map(|(_, precision, _)| *precision).collect()
    };
    let by_label = (0..=labels.iter().copied().max().unwrap_or(0)).map(|label| {
        let precisions = precisions(Some(label));
        precisions.iter().sum::<f64>() / precisions.len() as f64
    });
    let Spread { mean, deviation } = Spread::of(&precisions(None));
    let all = queries.len() as f64;
    Ok(Retrieval {
        queries: queries.len(),
        k,
        precision: Figure {
            mean,
            spread: deviation / all.sqrt(),
        },
        chance: queries.iter().map(|(.., chance)| chance).sum::<f64>() / all,
        by_label: by_label.collect(),
    })
}
