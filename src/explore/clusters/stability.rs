//! Choice of the resolution whose groups are most stable when a part of the tracks is
//! missing.
//!
//! Modularity at resolution 1 divides small collections of few styles too finely. Real groups are found again in samples of
//! the collection; arbitrary divisions of an even cloud differ each time (Ben-Hur,
//! Elisseeff, Guyon, "A stability based method for discovering structure in clustered data", 2002).

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::edges::Edges;
use super::leiden::{self, Edge, leiden};
use voisin_base::random::Random;

/// Resolutions to choose from.
const RESOLUTIONS: [f64; 5] = [0.35, 0.5, 0.7, 1.0, 1.4];
/// Larger collections are divided at [`USUAL`], since their groups are stable in any case.
const MOST_TRACKS: usize = 20_000;
/// The resolution if stability is not measured.
pub(super) const USUAL: f64 = 1.0;
/// Samples to divide; half as many for more than [`SMALL`] tracks, where samples agree better.
const PARTS: usize = 8;
const SMALL: usize = 5000;
/// Share of the tracks in a sample.
const SHARE: f64 = 0.8;

/// The resolution at which the groups of random samples agree best (mean adjusted Rand index of all pairs of samples, on
/// their common tracks); of equals the lowest.
///
/// - `edges`: of the whole graph; `noise`: rows left out
pub(super) fn stable_resolution(edges: &[Edge], noise: &[bool], seed: u64) -> f64 {
    let rows: Vec<usize> = (0..noise.len()).filter(|&row| !noise[row]).collect();
    // With fewer tracks, samples would differ only by a track or two.
    if rows.len() > MOST_TRACKS || rows.len() < 10 {
        return USUAL;
    }
    let many = if rows.len() <= SMALL {
        PARTS
    } else {
        PARTS / 2
    };
    let parts: Vec<Vec<bool>> = (0..many as u64)
        .map(|part| {
            let mut order = rows.clone();
            Random::stream(seed, part).shuffle(&mut order);
            order.truncate((rows.len() as f64 * SHARE) as usize);
            let mut kept = vec![false; noise.len()];
            order.iter().for_each(|&row| kept[row] = true);
            kept
        })
        .collect();
    let of_part = |kept: &Vec<bool>| {
        let inside = edges.iter().filter(|edge| kept[edge.0] && kept[edge.1]);
        leiden::graph(noise.len(), inside)
    };
    // The graph of each sample is used for all resolutions.
    let graphs: Vec<Edges> = parts.par_iter().map(of_part).collect();
    let agreement = |resolution: f64| {
        let divided: Vec<Vec<usize>> = (0..many)
            .into_par_iter()
            .map(|part| leiden(&graphs[part], resolution, seed.wrapping_add(part as u64)))
            .collect();
        let pairs: Vec<(usize, usize)> = (0..many)
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .collect();
        let scores: Vec<f64> = pairs
            .par_iter()
            .map(|&(a, b)| {
                let common = rows.iter().filter(|&&row| parts[a][row] && parts[b][row]);
                let labels = common.map(|&row| (divided[a][row] as u32, divided[b][row] as u32));
                agreement(&labels.unzip())
            })
            .collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    let measured = RESOLUTIONS.map(|resolution| (agreement(resolution), resolution));
    let best = measured
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    best.expect("there are candidates").1
}

/// The adjusted Rand index; 0 if one division has a single group, which is always found again.
fn agreement((a, b): &(Vec<u32>, Vec<u32>)) -> f64 {
    let several = |labels: &[u32]| labels.iter().any(|label| *label != labels[0]);
    if several(a) && several(b) {
        adjusted_rand_index(a, b)
    } else {
        0.0
    }
}

/// Adjusted Rand index (Hubert and Arabie, 1985): 0 is the expectation for random divisions, 1 identical up to names.
pub fn adjusted_rand_index(a: &[u32], b: &[u32]) -> f64 {
    let pairs = |c: f64| c * (c - 1.0) / 2.0;
    // Sorted maps, so that sums do not depend on an order.
    let sum = |labels: &mut dyn Iterator<Item = (u32, u32)>| -> f64 {
        let mut counts: BTreeMap<(u32, u32), f64> = BTreeMap::new();
        labels.for_each(|label| *counts.entry(label).or_default() += 1.0);
        counts.into_values().map(pairs).sum()
    };
    let index = sum(&mut a.iter().copied().zip(b.iter().copied()));
    let [rows, columns] = [a, b].map(|labels| sum(&mut labels.iter().map(|&label| (label, 0))));
    let all = pairs(a.len() as f64);
    let expected = if all > 0.0 { rows * columns / all } else { 0.0 };
    let most = f64::midpoint(rows, columns);
    // Both have a single group, or only groups of one track.
    if most - expected == 0.0 {
        1.0
    } else {
        (index - expected) / (most - expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rand_index_agrees_with_scikit_learn() {
        // scikit-learn 1.9.1: adjusted_rand_score of the same lists.
        let a = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let b = [0, 0, 1, 1, 1, 1, 2, 2, 0, 2];
        assert!((adjusted_rand_index(&a, &b) - 0.431_818_181_8).abs() < 1e-9);
        assert!((adjusted_rand_index(&a, &a) - 1.0).abs() < 1e-12);
        assert!(adjusted_rand_index(&a, &[0; 10]).abs() < 1e-12);
    }
}
