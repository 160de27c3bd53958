//! Choice of the resolution whose groups are most stable when a part of the tracks is
//! missing.
//!
//! Modularity at resolution 1 divides small collections of few styles too finely. Real groups are found again in samples of
//! the collection; arbitrary divisions of an even cloud differ each time (Ben-Hur,
//! Elisseeff, Guyon, "A stability based method for discovering structure in clustered data", 2002).

use rayon::prelude::*;

use super::super::edges::Edges;
use super::compare::adjusted_rand_index;
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
            let mut kept = vec![false; noise.len()];
            order[..(rows.len() as f64 * SHARE) as usize]
                .iter()
                .for_each(|&row| kept[row] = true);
            kept
        })
        .collect();
    let of_part = |kept: &Vec<bool>| {
        leiden::graph(
            noise.len(),
            edges.iter().filter(|edge| kept[edge.0] && kept[edge.1]),
        )
    };
    // The graph of each sample is used for all resolutions.
    let graphs: Vec<Edges> = parts.par_iter().map(of_part).collect();
    let tasks: Vec<(f64, usize)> = RESOLUTIONS
        .iter()
        .flat_map(|&resolution| (0..many).map(move |part| (resolution, part)))
        .collect();
    let divided: Vec<Vec<usize>> = tasks
        .par_iter()
        .map(|&(resolution, part)| {
            leiden(&graphs[part], resolution, seed.wrapping_add(part as u64))
        })
        .collect();
    let agreement: Vec<f64> = divided
        .chunks(many)
        .map(|of_resolution| {
            let pairs: Vec<(usize, usize)> = (0..many)
                .flat_map(|a| (0..a).map(move |b| (a, b)))
                .collect();
            let scores: Vec<f64> = pairs
                .par_iter()
                .map(|&(a, b)| {
                    let common = || rows.iter().filter(|&&row| parts[a][row] && parts[b][row]);
                    let labels = |part: usize| {
                        common()
                            .map(|&row| of_resolution[part][row] as u32)
                            .collect::<Vec<_>>()
                    };
                    let a = labels(a);
                    let b = labels(b);
                    // A single group of everything is always found again and does not count as
                    // agreement.
                    let several = |labels: &[u32]| labels.iter().any(|label| *label != labels[0]);
                    if several(&a) && several(&b) {
                        adjusted_rand_index(&a, &b)
                    } else {
                        0.0
                    }
                })
                .collect();
            scores.iter().sum::<f64>() / scores.len() as f64
        })
        .collect();
    let best = (0..RESOLUTIONS.len())
        .max_by(|&a, &b| {
            agreement[a]
                .total_cmp(&agreement[b])
                .then(RESOLUTIONS[b].total_cmp(&RESOLUTIONS[a]))
        })
        .expect("there are candidates");
    RESOLUTIONS[best]
}
