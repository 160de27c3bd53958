//! The Leiden algorithm on a weighted graph.
//!
//! Traag, Waltman and van Eck, "From Louvain to Leiden: guaranteeing well-connected communities", 2019: rows move to the
//! neighbouring group with the largest gain of modularity; each group is refined into connected pieces, which become the rows of
//! a smaller graph. Here pieces are joined greedily, not at random. One thread and one stream of random numbers make a division
//! reproducible by its seed.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::super::edges::Edges;
use voisin_base::random::Random;

/// Two rows and the weight between them.
pub(super) type Edge = (usize, usize, f64);

/// Most rounds, each of which starts from the previous division.
const ROUNDS: usize = 10;
/// Least gain of modularity of a move and of a round.
const GAIN: f64 = 1e-9;
const NONE: u32 = u32::MAX;

/// The graph of `n` rows.
///
/// - `edges`: each once, the lower row first, ascending
pub(super) fn graph<'a>(n: usize, edges: impl Iterator<Item = &'a Edge> + Clone) -> Edges {
    Edges::symmetric(
        n,
        edges.map(|&(a, b, weight)| (a as u32, b as u32, weight as f32)),
    )
}

/// Runs Leiden from single rows until it no longer improves. Groups are numbered by first occurrence.
pub(super) fn leiden(edges: &Edges, resolution: f64, seed: u64) -> Vec<usize> {
    let n = edges.len() as u32;
    let whole = Level::of(edges, resolution);
    let mut labels: Vec<u32> = (0..n).collect();
    if whole.volumes.iter().any(|&volume| volume > 0.0) {
        let mut random = Random::new(seed);
        let mut best = f64::NEG_INFINITY;
        for _ in 0..ROUNDS {
            // On a copy, because a round without gain is discarded.
            let mut next = labels.clone();
            whole.divide(&mut next, &mut random);
            let quality = whole.quality(&next);
            if quality <= best + GAIN {
                break;
            }
            (labels, best) = (next, quality);
        }
    }
    renumber(&mut labels);
    labels.into_iter().map(|label| label as usize).collect()
}

/// Modularity of a division, times the total weight of edge ends.
pub(super) fn quality(edges: &Edges, resolution: f64, labels: &[usize]) -> f64 {
    let labels: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
    Level::of(edges, resolution).quality(&labels)
}

/// Numbers groups from 0 by first occurrence; returns their number.
///
/// - `labels`: each below their number
fn renumber(labels: &mut [u32]) -> usize {
    let mut numbers = vec![NONE; labels.len()];
    let mut count = 0;
    for label in labels {
        let number = &mut numbers[*label as usize];
        if *number == NONE {
            *number = count;
            count += 1;
        }
        *label = *number;
    }
    count as usize
}

/// A graph whose rows are pieces of groups, at first single rows.
struct Level<'a> {
    edges: Cow<'a, Edges>,
    /// The weight of all edge ends at each row, including those within it.
    volumes: Vec<f64>,
    /// Penalty per product of two volumes: resolution over the total volume.
    price: f64,
}

impl<'a> Level<'a> {
    fn of(edges: &'a Edges, resolution: f64) -> Self {
        let volume = |row| edges.row(row).map(|(_, weight)| f64::from(weight)).sum();
        let volumes: Vec<f64> = (0..edges.len()).map(volume).collect();
        let price = resolution / volumes.iter().sum::<f64>();
        Self {
            edges: Cow::Borrowed(edges),
            volumes,
            price,
        }
    }

    /// Modularity times the total volume.
    fn quality(&self, labels: &[u32]) -> f64 {
        let mut inside = 0.0;
        let mut sums = vec![0.0; labels.len()];
        for (row, (&label, volume)) in labels.iter().zip(&self.volumes).enumerate() {
            sums[label as usize] += volume;
            let inside_group = self
                .edges
                .row(row)
                .filter(|&(other, _)| labels[other] == label);
            inside += inside_group
                .map(|(_, weight)| f64::from(weight))
                .sum::<f64>();
        }
        inside - self.price * sums.iter().map(|sum: &f64| sum * sum).sum::<f64>()
    }

    /// One round from the groups in `labels`, which are replaced by the result.
    fn divide(&self, labels: &mut [u32], random: &mut Random) {
        renumber(labels);
        let mut groups = labels.to_vec();
        // Without moves the groups are optimal with respect to single moves.
        if !self.move_rows(&mut groups, random) {
            return;
        }
        renumber(&mut groups);
        labels.copy_from_slice(&groups);
        let mut pieces = self.pieces(&groups, random);
        let count = renumber(&mut pieces);
        // If each row is a piece, the next graph would be the same.
        if count == labels.len() {
            return;
        }
        // Pieces start in the groups of their rows, as in the paper.
        let (level, mut groups) = self.joined(&pieces, count, &groups);
        level.divide(&mut groups, random);
        labels
            .iter_mut()
            .zip(pieces)
            .for_each(|(label, piece)| *label = groups[piece as usize]);
    }

    /// Moves rows to the neighbouring group with the largest gain, until there is none; returns whether any moved.
    fn move_rows(&self, groups: &mut [u32], random: &mut Random) -> bool {
        let mut sums = vec![0.0; groups.len()];
        groups
            .iter()
            .zip(&self.volumes)
            .for_each(|(&group, volume)| sums[group as usize] += volume);
        // Only rows whose neighbourhood changed are visited again (fast local move).
        let mut queue = VecDeque::from(self.order(random));
        let mut waits = vec![true; groups.len()];
        let mut ties = Ties::new(groups.len());
        let mut any = false;
        while let Some(row) = queue.pop_front() {
            let row = row as usize;
            waits[row] = false;
            let current = groups[row];
            let volume = self.volumes[row];
            ties.count(
                self.edges
                    .row(row)
                    .map(|(other, weight)| (groups[other], weight)),
            );
            // Without the row itself, so that staying and moving are compared equally.
            sums[current as usize] -= volume;
            let best = ties.best(current, |group| self.price * volume * sums[group as usize]);
            sums[best as usize] += volume;
            if best != current {
                any = true;
                groups[row] = best;
                for (other, _) in self.edges.row(row) {
                    if groups[other] != best && !waits[other] {
                        waits[other] = true;
                        queue.push_back(other as u32);
                    }
                }
            }
        }
        any
    }

    /// Refines groups into pieces, each identified by one of its rows: single rows join the piece of their group with the largest gain.
    fn pieces(&self, groups: &[u32], random: &mut Random) -> Vec<u32> {
        let mut pieces: Vec<u32> = (0..groups.len() as u32).collect();
        let mut sums = self.volumes.clone();
        let mut is_alone = vec![true; groups.len()];
        let mut ties = Ties::new(groups.len());
        for row in self.order(random) {
            let current = row;
            let at = row as usize;
            // Only single rows join, since moving a row out of a piece could disconnect it.
            if !is_alone[at] {
                continue;
            }
            let near = self
                .edges
                .row(at)
                .filter(|&(other, _)| groups[other] == groups[at]);
            ties.count(near.map(|(other, weight)| (pieces[other], weight)));
            // Without the row's own piece.
            sums[at] = 0.0;
            let best = ties.best(current, |piece| {
                self.price * self.volumes[at] * sums[piece as usize]
            });
            sums[best as usize] += self.volumes[at];
            if best != current {
                pieces[at] = best;
                (is_alone[at], is_alone[best as usize]) = (false, false);
            }
        }
        pieces
    }

    /// The graph whose rows are pieces, and their groups.
    fn joined(&self, pieces: &[u32], count: usize, groups: &[u32]) -> (Level<'static>, Vec<u32>) {
        let mut volumes = vec![0.0; count];
        let mut of_pieces = vec![0; count];
        let mut members = vec![Vec::new(); count];
        for (row, &piece) in pieces.iter().enumerate() {
            volumes[piece as usize] += self.volumes[row];
            of_pieces[piece as usize] = groups[row];
            members[piece as usize].push(row);
        }
        let mut edges = Edges::default();
        let mut ties = Ties::new(count);
        edges.offsets.push(0);
        for (piece, members) in members.iter().enumerate() {
            let all = members.iter().flat_map(|&row| self.edges.row(row));
            ties.count(all.map(|(other, weight)| (pieces[other], weight)));
            // Edges within a piece are dropped, but stay in its volume.
            for (other, weight) in ties.drain().filter(|&(other, _)| other as usize != piece) {
                edges.ends.push(other);
                edges.weights.push(weight);
            }
            edges.offsets.push(edges.ends.len());
        }
        (
            Level {
                edges: Cow::Owned(edges),
                volumes,
                price: self.price,
            },
            of_pieces,
        )
    }

    fn order(&self, random: &mut Random) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.edges.len() as u32).collect();
        random.shuffle(&mut order);
        order
    }
}

/// The weight between one row and each group near it.
struct Ties {
    weights: Vec<f32>,
    near: Vec<u32>,
}

impl Ties {
    fn new(groups: usize) -> Self {
        Self {
            weights: vec![0.0; groups],
            near: Vec::new(),
        }
    }

    fn count(&mut self, ties: impl Iterator<Item = (u32, f32)>) {
        for (group, weight) in ties {
            let sum = &mut self.weights[group as usize];
            // Weights are above 0, so that a sum of 0 is a new group.
            if *sum <= 0.0 {
                self.near.push(group);
            }
            *sum += weight;
        }
    }

    /// Removes and returns the counted weights.
    fn drain(&mut self) -> impl Iterator<Item = (u32, f32)> + '_ {
        self.near
            .drain(..)
            .map(|group| (group, std::mem::take(&mut self.weights[group as usize])))
    }

    /// The group with the largest gain, or the current one without any; removes the counted
    /// weights.
    ///
    /// - `cost`: of being in a group
    fn best(&mut self, current: u32, cost: impl Fn(u32) -> f64) -> u32 {
        let mut best = (
            f64::from(self.weights[current as usize]) - cost(current),
            current,
        );
        for (group, weight) in self.drain() {
            let gain = f64::from(weight) - cost(group);
            // By more than rounding, or a row could alternate between two equal groups.
            if gain > best.0 + GAIN {
                best = (gain, group);
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::KnnGraph;
    use super::super::super::testing::grouped;
    use super::super::divide::edges;
    use super::*;

    #[test]
    fn cliques_in_a_ring_are_found_with_any_seed() {
        let n = 60;
        let within = (0..n)
            .flat_map(|a| (a + 1..n).map(move |b| (a, b)))
            .filter(|&(a, b)| a / 6 == b / 6);
        let between = (0..10)
            .map(|clique| (clique * 6, (clique * 6 + 9) % n))
            .map(|(a, b)| (a.min(b), a.max(b)));
        let mut edges: Vec<Edge> = within.chain(between).map(|(a, b)| (a, b, 1.0)).collect();
        edges.sort_by_key(|edge| (edge.0, edge.1));
        let cliques: Vec<usize> = (0..n).map(|row| row / 6).collect();
        for seed in 0..20 {
            assert_eq!(leiden(&graph(n, edges.iter()), 1.0, seed), cliques);
        }
    }

    #[test]
    fn groups_are_connected_and_no_row_gains_by_moving() {
        let (vectors, _) = grouped(9, 40, 12, 1.4, 3);
        let graph_of = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let n = 360;
        let edges = edges(&graph_of, &[false; 360]);
        let graph = graph(n, edges.iter());
        for (resolution, seed) in [(0.5, 1), (1.0, 2), (2.0, 3)] {
            let labels = leiden(&graph, resolution, seed);
            assert_eq!(labels, leiden(&graph, resolution, seed));
            let best = quality(&graph, resolution, &labels);
            for row in (0..n).step_by(7) {
                for (other, _) in graph.row(row) {
                    let mut moved = labels.clone();
                    moved[row] = labels[other];
                    assert!(
                        quality(&graph, resolution, &moved) <= best + 1e-6,
                        "{row}, {other}"
                    );
                }
            }
            // The rows of a group that its first row reaches within it.
            let mut reached = vec![false; n];
            for group in 0..n {
                let mut open: Vec<usize> = Vec::from_iter((0..n).find(|&row| labels[row] == group));
                while let Some(row) = open.pop() {
                    if !std::mem::replace(&mut reached[row], true) {
                        let near = graph.row(row).map(|(other, _)| other);
                        open.extend(near.filter(|&other| labels[other] == group));
                    }
                }
            }
            assert!(reached.iter().all(|&reached| reached));
        }
    }
}
