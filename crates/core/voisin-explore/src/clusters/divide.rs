//! Leiden on the neighbour graph: resolution, number of clusters, noise.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::super::edges::Edges;
use super::super::{ExploreError, KnnGraph, Result};
use super::leiden::{self, Edge, leiden};
use super::stability::stable_resolution;
use super::{COARSE, ClusterOptions, NEIGHBOURS, SMALL};
use voisin_base::random::Random;

/// A division before ids and names.
pub(super) struct Division {
    /// Group of each row, from 0, without gaps; `None` is noise.
    pub(super) labels: Vec<Option<usize>>,
    pub(super) modularity: f64,
    pub(super) resolution: f64,
}

/// Runs of the consensus for up to [`SMALL`] tracks, up to 20 000, and more, where runs agree better.
const CONSENSUS_RUNS: [u64; 3] = [24, 8, 4];

/// Tracks up to which a collection is divided as a whole; of more, only a sample.
const WHOLE: usize = 200_000;
/// Tracks in the sample.
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

/// Inputs of a division.
#[derive(Clone)]
pub(super) struct DivisionInput<'a> {
    pub(super) vectors: ArrayView2<'a, f32>,
    pub(super) graph: &'a KnnGraph,
    /// Rows to leave out.
    pub(super) noise: &'a [bool],
    /// Smaller groups become noise.
    pub(super) min_size: usize,
    pub(super) options: &'a ClusterOptions,
}

/// Divides the graph.
pub(super) fn divide(input: DivisionInput<'_>) -> Result<Division> {
    if input.graph.len() > WHOLE {
        return divide_by_part(input, DIVIDED);
    }
    let DivisionInput {
        vectors,
        graph,
        noise,
        min_size,
        options,
    } = input;
    let edges = edges(graph, noise);
    // Built once for all runs of the consensus.
    let divided = leiden::graph(graph.len(), edges.iter());
    let search = DivisionSearch {
        divided: &divided,
        edges: &edges,
        noise,
        min_size,
        seed: options.seed,
    };
    let (mut labels, resolution) = if let Some(count) = options.count {
        // A small collection has so many groups only if they may be small, too.
        search.with_count(vectors, count).or_else(|error| {
            let any_size = DivisionSearch {
                min_size: 1,
                ..search
            };
            any_size.with_count(vectors, count).map_err(|_| error)
        })?
    } else {
        let resolution = stable_resolution(&edges, noise, options.seed);
        (search.best(resolution), resolution)
    };
    compact(&mut labels);
    let modularity = modularity(edges.iter().copied(), &labels, 1.0);
    Ok(Division {
        labels,
        modularity,
        resolution,
    })
}

/// Divides a random sample of the rows and assigns the others to the groups of their neighbours.
fn divide_by_part(input: DivisionInput<'_>, most: usize) -> Result<Division> {
    let DivisionInput {
        vectors,
        graph,
        noise,
        ..
    } = input;
    let mut rows: Vec<usize> = (0..graph.len()).filter(|&row| !noise[row]).collect();
    let usable = rows.len();
    Random::stream(input.options.seed, PART).shuffle(&mut rows);
    rows.truncate(most);
    rows.sort_unstable();
    let division = divide(DivisionInput {
        vectors: vectors.select(Axis(0), &rows).view(),
        graph: &graph.thinned(vectors, &rows),
        noise: &vec![false; rows.len()],
        // Sizes of groups are proportional to the sample.
        min_size: (input.min_size * rows.len() / usable.max(1)).max(LEAST_OF_PART),
        ..input
    })?;
    let mut labels = vec![None; graph.len()];
    rows.iter()
        .zip(&division.labels)
        .for_each(|(&row, &label)| labels[row] = label);
    let is_drawn: HashSet<usize> = rows.into_iter().collect();
    // A row without a group takes the most common one of its neighbours; once all have one, each is
    // assigned again, since its neighbours may have changed.
    let mut again = true;
    while again {
        let free = (0..graph.len()).filter(|row| !noise[*row] && labels[*row].is_none());
        let new = joined(graph, &labels, &free.collect::<Vec<_>>());
        again = !new.is_empty();
        new.into_iter()
            .for_each(|(row, label)| labels[row] = Some(label));
    }
    let others: Vec<usize> = (0..graph.len())
        .filter(|row| !noise[*row] && !is_drawn.contains(row))
        .collect();
    joined(graph, &labels, &others)
        .into_iter()
        .for_each(|(row, label)| labels[row] = Some(label));
    compact(&mut labels);
    let modularity = modularity(pieces(graph, noise), &labels, 1.0);
    Ok(Division {
        labels,
        modularity,
        resolution: division.resolution,
    })
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

struct DivisionSearch<'a> {
    /// The graph of the edges.
    divided: &'a Edges,
    edges: &'a [Edge],
    noise: &'a [bool],
    min_size: usize,
    seed: u64,
}

impl DivisionSearch<'_> {
    /// The consensus of many near-optimal divisions.
    ///
    /// Leiden with different seeds finds divisions of nearly the same modularity that differ at their borders.
    /// Each edge is weighted by the share of runs that keep its ends together, and Leiden divides that graph
    /// (Lancichinetti and Fortunato, "Consensus clustering in complex networks", 2012).
    fn best(&self, resolution: f64) -> Vec<Option<usize>> {
        let runs = CONSENSUS_RUNS[[SMALL, 20_000].partition_point(|most| *most < self.noise.len())];
        // Hashed, so that the runs of adjacent seeds differ.
        let seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let found: Vec<Vec<usize>> = (0..runs)
            .into_par_iter()
            .map(|run| leiden(self.divided, resolution, seed.wrapping_add(run)))
            .collect();
        let agreed = self.edges.iter().filter_map(|&(a, b, weight)| {
            let together = found.iter().filter(|labels| labels[a] == labels[b]).count();
            // The paper's threshold: edges that fewer than half of the runs keep together are
            // dropped.
            let agree = 2 * together >= found.len();
            agree.then(|| (a, b, weight * together as f64 / found.len() as f64))
        });
        let agreed: Vec<Edge> = agreed.collect();
        let agreed = leiden::graph(self.noise.len(), agreed.iter());
        let labels = leiden(&agreed, resolution, seed);
        self.without_small_groups(&labels)
    }

    /// Marks groups below the least size as noise.
    fn without_small_groups(&self, labels: &[usize]) -> Vec<Option<usize>> {
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        for (label, _) in labels.iter().zip(self.noise).filter(|&(_, &noise)| !noise) {
            *sizes.entry(*label).or_default() += 1;
        }
        let kept = |(label, &noise): (&usize, &bool)| {
            // Noise rows have no edges and are single groups for Leiden.
            (!noise && sizes[label] >= self.min_size).then_some(*label)
        };
        labels.iter().zip(self.noise).map(kept).collect()
    }

    /// Exactly `count` groups: bisects the resolution for at least as many, and joins the best connected
    /// ones.
    fn with_count(
        &self,
        vectors: ArrayView2<'_, f32>,
        count: usize,
    ) -> Result<(Vec<Option<usize>>, f64)> {
        let usable = self.noise.iter().filter(|&&noise| !noise).count();
        if count == 0 || count * self.min_size > usable {
            return Err(ExploreError::Parameter {
                name: "number of clusters",
                found: count.to_string(),
                expected: "from 1 to the number of tracks divided by the least size of a cluster",
            });
        }
        let too_many = || ExploreError::Parameter {
            name: "number of clusters",
            found: count.to_string(),
            expected: "fewer: the collection does not fall into so many groups of the least size",
        };
        // The least resolution at which a single run gives enough groups. Not below the coarse level,
        // where Leiden merges everything connected, while joining by Ward keeps groups even.
        //
        // Bisects logarithms, since ratios of resolutions matter.
        let mut low = COARSE.ln();
        let mut high = 200.0_f64.ln();
        for step in 0..10 {
            let middle = if step == 0 {
                0.0
            } else {
                f64::midpoint(low, high)
            };
            let labels = leiden(self.divided, middle.exp(), self.seed);
            match groups(&self.without_small_groups(&labels)).cmp(&count) {
                Ordering::Less => low = middle,
                Ordering::Equal => {
                    high = middle;
                    break;
                }
                Ordering::Greater => high = middle,
            }
        }
        let mut resolution = high.exp();
        let mut labels = self.best(resolution);
        while groups(&labels) < count {
            // The consensus may have fewer groups than the single run of the bisection. In small steps,
            // so that few groups have to be joined.
            resolution *= 1.25;
            if resolution > 500.0 {
                return Err(too_many());
            }
            labels = self.best(resolution);
        }
        join_down_to(vectors, self.edges, &mut labels, count);
        Ok((labels, resolution))
    }
}

/// Number of different groups.
fn groups(labels: &[Option<usize>]) -> usize {
    labels
        .iter()
        .flatten()
        .collect::<std::collections::HashSet<_>>()
        .len()
}

/// Joins groups pairwise until `count` are left: the pair with the largest gain of modularity, or if no pair gains, the
/// pair with the least increase of squared distances from centres (Ward, 1963).
fn join_down_to(
    vectors: ArrayView2<'_, f32>,
    edges: &[Edge],
    labels: &mut [Option<usize>],
    count: usize,
) {
    let n = compact(labels);
    let mut centres = super::describe::centres(vectors, n, |row| labels[row]);
    let mut sizes = vec![0.0_f32; n];
    for &label in labels.iter().flatten() {
        sizes[label] += 1.0;
    }
    // Dense, since any pair may be joined; there are few more groups than requested.
    let mut between = Array2::<f64>::zeros((n, n));
    let mut volume = vec![0.0; n];
    for &(a, b, weight) in edges {
        if let (Some(a), Some(b)) = (labels[a], labels[b]) {
            volume[a] += weight;
            volume[b] += weight;
            between[[a, b]] += weight;
            between[[b, a]] += weight;
        }
    }
    let total: f64 = volume.iter().sum();
    let mut alive: Vec<usize> = (0..n).collect();
    let mut joined_into: Vec<usize> = (0..n).collect();
    while alive.len() > count {
        let pairs = || {
            alive
                .iter()
                .enumerate()
                .flat_map(|(i, &a)| alive[i + 1..].iter().map(move |&b| (a, b)))
        };
        // Without a constant factor, which does not change the order.
        let gain = |(a, b): (usize, usize)| between[[a, b]] - volume[a] * volume[b] / total;
        let cost = |(a, b): (usize, usize)| {
            let squared: f32 = centres
                .row(a)
                .iter()
                .zip(centres.row(b))
                .map(|(x, y)| (x - y).powi(2))
                .sum();
            sizes[a] * sizes[b] / (sizes[a] + sizes[b]) * squared
        };
        let best = pairs().max_by(|&x, &y| gain(x).total_cmp(&gain(y)).then_with(|| y.cmp(&x)));
        let (a, b) = match best {
            Some(pair) if total > 0.0 && gain(pair) > 0.0 => pair,
            _ => pairs()
                .min_by(|&x, &y| cost(x).total_cmp(&cost(y)).then(x.cmp(&y)))
                .expect("two are left"),
        };
        let size_a = sizes[a];
        let size_b = sizes[b];
        // Copied, since two rows of a matrix cannot be borrowed at once.
        let moved = centres.row(b).to_owned();
        centres.row_mut(a).zip_mut_with(&moved, |x, &y| {
            *x = (*x * size_a + y * size_b) / (size_a + size_b);
        });
        sizes[a] += size_b;
        volume[a] += volume[b];
        for &c in &alive {
            let weight = between[[a, c]] + between[[b, c]];
            between[[a, c]] = weight;
            between[[c, a]] = weight;
        }
        alive.retain(|&c| c != b);
        joined_into
            .iter_mut()
            .filter(|into| **into == b)
            .for_each(|into| *into = a);
    }
    for label in labels.iter_mut().flatten() {
        *label = joined_into[*label];
    }
}

/// Renumbers groups from 0 by first occurrence; returns their number.
fn compact(labels: &mut [Option<usize>]) -> usize {
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    for label in labels.iter_mut().flatten() {
        let next = numbers.len();
        *label = *numbers.entry(*label).or_insert(next);
    }
    numbers.len()
}

/// Newman's modularity of the labelled part of the graph; an edge may have several entries.
fn modularity(edges: impl Iterator<Item = Edge>, labels: &[Option<usize>], resolution: f64) -> f64 {
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
    inside / total
        - resolution
            * volume
                .iter()
                .map(|v| (v / (2.0 * total)).powi(2))
                .sum::<f64>()
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
        assert!((modularity(edges.into_iter(), &labels, 1.0) - (6.0 / 7.0 - 0.5)).abs() < 1e-12);
    }

    #[test]
    fn a_sample_divides_the_collection_like_all_tracks() {
        let (vectors, _) = super::super::super::testing::grouped(12, 250, 24, 0.9, 6);
        let graph = KnnGraph::exact(vectors.view(), NEIGHBOURS).expect("unit vectors");
        let mut noise = vec![false; 3000];
        noise[17] = true;
        let input = DivisionInput {
            vectors: vectors.view(),
            graph: &graph,
            noise: &noise,
            min_size: 10,
            options: &ClusterOptions::default(),
        };
        let whole = divide(input.clone()).expect("3000 rows");
        let part = divide_by_part(input, 1000).expect("3000 rows");
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

    #[test]
    fn joining_merges_the_best_connected_groups() {
        let edges = vec![
            (0, 1, 5.0),
            (1, 2, 0.5),
            (2, 3, 5.0),
            (1, 3, 0.1),
            (0, 4, 3.0),
        ];
        let mut labels: Vec<Option<usize>> = [0, 1, 2, 2, 0].map(Some).to_vec();
        join_down_to(
            ndarray::Array2::zeros((5, 1)).view(),
            &edges,
            &mut labels,
            2,
        );
        assert_eq!(labels, [0, 0, 2, 2, 0].map(Some));
    }
}
