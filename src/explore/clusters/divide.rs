//! Leiden on the neighbour graph: resolution and noise.

use std::collections::{BTreeMap, HashMap};

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::super::KnnGraph;
use super::NEIGHBOURS;
use super::leiden::{self, Edge, leiden};
use super::stability::stable_resolution;
use voisin_base::random::Random;

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

/// Tracks up to which a collection is divided as a whole; of more, only a sample.
const WHOLE: usize = 200_000;
const DIVIDED: usize = 100_000;
/// Least size of a group in the sample.
const LEAST_OF_PART: usize = 3;
/// The stream of random numbers for the sample.
const PART: u64 = 0xD1F1;

/// Undirected edges of the graph, with an entry of weight 1 from each end that has the other as a neighbour.
fn pieces<'a>(graph: &'a KnnGraph, noise: &'a [bool]) -> impl Iterator<Item = Edge> + 'a {
    let rows = (0..graph.len()).filter(|&row| !noise[row]);
    rows.flat_map(|row| {
        let neighbours = graph
            .row(row)
            .take(NEIGHBOURS)
            .filter(|&(other, _)| !noise[other]);
        neighbours.map(move |(other, _)| (row.min(other), row.max(other), 1.0))
    })
}

/// The same with entries merged: weight 2 for mutual neighbours, else 1.
pub(super) fn edges(graph: &KnnGraph, noise: &[bool]) -> Vec<Edge> {
    let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(graph.len() * NEIGHBOURS);
    pairs.extend(pieces(graph, noise).map(|(a, b, _)| (a as u32, b as u32)));
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
pub(super) fn divide(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    noise: &[bool],
    min_size: usize,
    seed: u64,
) -> Division {
    if graph.len() > WHOLE {
        return divide_by_part(vectors, graph, noise, min_size, seed, DIVIDED);
    }
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
    let modularity = modularity(edges.into_iter(), &labels);
    Division {
        labels,
        modularity,
        resolution,
    }
}

/// Divides a random sample of `most` rows and assigns the others to the groups of their neighbours.
fn divide_by_part(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    noise: &[bool],
    min_size: usize,
    seed: u64,
    most: usize,
) -> Division {
    let mut rows: Vec<usize> = (0..graph.len()).filter(|&row| !noise[row]).collect();
    let usable = rows.len();
    Random::stream(seed, PART).shuffle(&mut rows);
    let mut others = rows.split_off(most.min(usable));
    rows.sort_unstable();
    others.sort_unstable();
    let division = divide(
        vectors.select(Axis(0), &rows).view(),
        &graph.thinned(vectors, &rows),
        &vec![false; rows.len()],
        // Sizes of groups are proportional to the sample.
        (min_size * rows.len() / usable.max(1)).max(LEAST_OF_PART),
        seed,
    );
    let mut labels = vec![None; graph.len()];
    rows.iter()
        .zip(&division.labels)
        .for_each(|(&row, &label)| labels[row] = label);
    // A row without a group takes the most common one of its neighbours; once all have one, each is
    // assigned again, since its neighbours may have changed.
    loop {
        let free = (0..graph.len()).filter(|row| !noise[*row] && labels[*row].is_none());
        let new = joined(graph, &labels, &free.collect::<Vec<_>>());
        if new.is_empty() {
            break;
        }
        new.into_iter()
            .for_each(|(row, label)| labels[row] = Some(label));
    }
    joined(graph, &labels, &others)
        .into_iter()
        .for_each(|(row, label)| labels[row] = Some(label));
    compact(&mut labels);
    let modularity = modularity(pieces(graph, noise), &labels);
    Division {
        labels,
        modularity,
        resolution: division.resolution,
    }
}

/// For each of some rows the group with the greatest sum of neighbours' similarities, of equals the lowest; rows without
/// such neighbours are left out.
fn joined(graph: &KnnGraph, labels: &[Option<usize>], rows: &[usize]) -> Vec<(usize, usize)> {
    let group = |&row: &usize| {
        let mut ties: BTreeMap<usize, f32> = BTreeMap::new();
        for (other, similarity) in graph.row(row).take(NEIGHBOURS) {
            if let Some(group) = labels[other] {
                // Above 0, so that groups of dissimilar neighbours count.
                *ties.entry(group).or_default() += similarity.max(f32::MIN_POSITIVE);
            }
        }
        let best = ties
            .into_iter()
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
        Some((row, best.0))
    };
    rows.par_iter().filter_map(group).collect()
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

/// Newman's modularity of the labelled part of the graph; an edge may have several entries.
fn modularity(edges: impl Iterator<Item = Edge>, labels: &[Option<usize>]) -> f64 {
    // Numbers may have gaps, since a group without rows adds nothing.
    let groups = labels.iter().flatten().max().map_or(0, |&most| most + 1);
    let mut inside = 0.0;
    let mut volume = vec![0.0; groups];
    let mut total = 0.0;
    for (a, b, weight) in edges {
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
        assert!((modularity(edges.into_iter(), &labels) - (6.0 / 7.0 - 0.5)).abs() < 1e-12);
    }

    #[test]
    fn a_sample_divides_the_collection_like_all_tracks() {
        let (vectors, _) = super::super::super::testing::grouped(12, 250, 24, 0.9, 6);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let mut noise = vec![false; 3000];
        noise[17] = true;
        let whole = divide(vectors.view(), &graph, &noise, 10, 0);
        let part = divide_by_part(vectors.view(), &graph, &noise, 10, 0, 1000);
        assert_eq!(part.labels[17], None);
        assert!(part.labels.iter().filter(|label| label.is_none()).count() < 5);
        let numbers = |labels: &[Option<usize>]| {
            labels
                .iter()
                .map(|label| label.map_or(0, |l| l as u32 + 1))
                .collect::<Vec<_>>()
        };
        let same =
            super::super::adjusted_rand_index(&numbers(&whole.labels), &numbers(&part.labels));
        assert!(same > 0.97, "{same}");
        assert!(
            part.modularity > whole.modularity - 0.01,
            "{} {}",
            part.modularity,
            whole.modularity
        );
    }
}
