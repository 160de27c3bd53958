//! Leiden on the neighbour graph: resolution and noise.

use std::collections::HashMap;

use rayon::prelude::*;

use super::super::KnnGraph;
use super::NEIGHBOURS;
use super::leiden::{self, Edge, leiden};
use super::stability::stable_resolution;

/// A division before ids and names.
pub(super) struct Division {
    /// Group of each row, from 0, without gaps; `None` is noise.
    pub(super) labels: Vec<Option<usize>>,
    pub(super) modularity: f64,
    pub(super) resolution: f64,
}

/// Runs of Leiden, of which the division with the greatest modularity is taken, in collections of up to [`FEW`] tracks.
const RUNS: u64 = 8;
const FEW: usize = 20_000;

/// Undirected edges of the graph: weight 2 for mutual neighbours, else 1.
pub(super) fn edges(graph: &KnnGraph, noise: &[bool]) -> Vec<Edge> {
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(graph.len() * NEIGHBOURS);
    for row in (0..graph.len()).filter(|&row| !noise[row]) {
        let neighbours = graph.row(row).take(NEIGHBOURS);
        let neighbours = neighbours.filter(|&(other, _)| !noise[other]);
        pairs.extend(neighbours.map(|(other, _)| (row.min(other) as u32, row.max(other) as u32)));
    }
    // Sorting makes the two entries of an edge adjacent.
    pairs.sort_unstable();
    let mut edges: Vec<Edge> = Vec::with_capacity(pairs.len());
    for (a, b) in pairs {
        match edges.last_mut() {
            Some(last) if (last.0, last.1) == (a as usize, b as usize) => last.2 += 1.0,
            _ => edges.push((a as usize, b as usize, 1.0)),
        }
    }
    edges
}

/// Divides the graph.
///
/// - `noise`: rows to leave out
/// - `min_size`: smaller groups become noise
pub(super) fn divide(graph: &KnnGraph, noise: &[bool], min_size: usize, seed: u64) -> Division {
    let edges = edges(graph, noise);
    // Built once for all runs.
    let divided = leiden::graph(graph.len(), edges.iter());
    let resolution = stable_resolution(&edges, noise, seed);
    let runs = if graph.len() <= FEW { RUNS } else { 1 };
    // Hashed, so that the runs of adjacent seeds differ.
    let first = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let found: Vec<Vec<usize>> = (0..runs)
        .into_par_iter()
        .map(|run| leiden(&divided, resolution, first.wrapping_add(run)))
        .collect();
    let best = found
        .into_iter()
        .map(|labels| (leiden::quality(&divided, resolution, &labels), labels))
        // Of equals the last, as the order of runs is fixed.
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .expect("there is a run");
    let mut labels = without_small_groups(&best.1, noise, min_size);
    compact(&mut labels);
    let modularity = modularity(&edges, &labels);
    Division {
        labels,
        modularity,
        resolution,
    }
}

/// Marks groups below the least size as noise.
fn without_small_groups(labels: &[usize], noise: &[bool], min_size: usize) -> Vec<Option<usize>> {
    let mut sizes = vec![0_usize; labels.len()];
    labels.iter().for_each(|&label| sizes[label] += 1);
    let kept = |(&label, &noise): (&usize, &bool)| {
        // Noise rows have no edges and are single groups for Leiden.
        (!noise && sizes[label] >= min_size).then_some(label)
    };
    labels.iter().zip(noise).map(kept).collect()
}

/// Renumbers groups from 0 by first occurrence.
fn compact(labels: &mut [Option<usize>]) {
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    for label in labels.iter_mut().flatten() {
        let next = numbers.len();
        *label = *numbers.entry(*label).or_insert(next);
    }
}

/// Newman's modularity of the labelled part of the graph.
fn modularity(edges: &[Edge], labels: &[Option<usize>]) -> f64 {
    // Numbers may have gaps, since a group without rows adds nothing.
    let groups = labels.iter().flatten().max().map_or(0, |&most| most + 1);
    let mut inside = 0.0;
    let mut volume = vec![0.0; groups];
    let mut total = 0.0;
    for &(a, b, weight) in edges {
        let (Some(a), Some(b)) = (labels[a], labels[b]) else {
            continue;
        };
        volume[a] += weight;
        volume[b] += weight;
        total += weight;
        if a == b {
            inside += weight;
        }
    }
    if total == 0.0 {
        return 0.0;
    }
    let share = |volume: &f64| (volume / (2.0 * total)).powi(2);
    inside / total - volume.iter().map(share).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modularity_of_two_triangles_and_a_bridge() {
        let edges: Vec<Edge> = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]
            .map(|(a, b)| (a, b, 1.0))
            .to_vec();
        let labels: Vec<Option<usize>> = [0, 0, 0, 1, 1, 1].map(Some).to_vec();
        // 6/7 are inside; each side has 7 of 14 edge ends.
        assert!((modularity(&edges, &labels) - (6.0 / 7.0 - 0.5)).abs() < 1e-12);
    }
}
