//! The graph of possible steps, and shortest paths by largest step, by length, and by number of steps.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashSet};

use ndarray::{ArrayView2, Axis};

use super::distance;
use crate::union::DisjointSets;
use crate::{ExploreError, KnnGraph, Result};

/// Tracks up to which a step may go from any track to any other; in larger libraries only to neighbours.
const EVERY_PAIR: usize = 2000;

/// Rows of a component of the graph that are compared to join it to the rest.
const BORDER: usize = 1024;

/// The graph of possible steps: every pair of tracks, or the symmetric neighbour graph with its components joined as far as
/// necessary for the stops, and with steps between consecutive stops.
pub(super) struct WalkSteps {
    /// For each row the possible next rows and their distances.
    pub(super) links: Vec<Vec<(u32, f32)>>,
}

/// An entry of a queue, least cost first.
struct QueuePlace(f32, usize);
impl PartialEq for QueuePlace {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for QueuePlace {}
impl PartialOrd for QueuePlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for QueuePlace {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

impl WalkSteps {
    pub(super) fn new(
        vectors: ArrayView2<'_, f32>,
        graph: &KnnGraph,
        stops: &[usize],
    ) -> Result<Self> {
        let n = graph.len();
        if n <= EVERY_PAIR {
            let products: ndarray::Array2<f32> = vectors.dot(&vectors.t());
            let steps = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| {
                let others = row.iter().enumerate().filter(|&(j, _)| j != i);
                others
                    .map(|(j, &similarity)| (j as u32, (1.0 - similarity).max(0.0)))
                    .collect()
            };
            return Ok(Self {
                links: products.rows().into_iter().enumerate().map(steps).collect(),
            });
        }
        let mut links: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n];
        let mut sets = DisjointSets::new(n);
        for i in 0..n {
            for (j, similarity) in graph.row(i) {
                let step = (1.0 - similarity).max(0.0);
                links[i].push((j as u32, step));
                links[j].push((i as u32, step));
                sets.join(i, j);
            }
        }
        // Direct steps between stops, so that there is a path of any number of tracks.
        for leg in stops.windows(2) {
            let step = distance(vectors, leg[0], leg[1]);
            links[leg[0]].push((leg[1] as u32, step));
            links[leg[1]].push((leg[0] as u32, step));
        }
        for list in &mut links {
            list.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            // Two rows may have each other as neighbours; of equal ends the shorter step is first.
            list.dedup_by_key(|link| link.0);
        }
        let mut net = Self { links };
        net.join_pieces(vectors, &mut sets, stops)?;
        Ok(net)
    }

    /// Joins the components with stops: links the smallest of them to the track nearest to any of its own.
    fn join_pieces(
        &mut self,
        vectors: ArrayView2<'_, f32>,
        sets: &mut DisjointSets,
        stops: &[usize],
    ) -> Result<()> {
        // Each round joins two components; a graph that needs more rounds is too fragmented, which is an
        // error.
        for _ in 0..256 {
            let mut roots: Vec<usize> = stops.iter().map(|&stop| sets.find(stop)).collect();
            roots.sort_unstable();
            roots.dedup();
            if roots.len() == 1 {
                return Ok(());
            }
            let piece = |sets: &mut DisjointSets, root| -> Vec<usize> {
                (0..self.links.len())
                    .filter(|&i| sets.find(i) == root)
                    .collect()
            };
            let pieces: Vec<Vec<usize>> = roots.iter().map(|&root| piece(sets, root)).collect();
            let smallest = pieces
                .into_iter()
                .min_by_key(Vec::len)
                .expect("there are pieces");
            let inside: HashSet<usize> = smallest.iter().copied().collect();
            let smallest = Self::border(vectors, smallest, &inside);
            let mut best = (f32::NEG_INFINITY, 0, 0);
            for block in smallest.chunks(256) {
                let products: ndarray::Array2<f32> =
                    vectors.select(Axis(0), block).dot(&vectors.t());
                for (row, &inner) in products.rows().into_iter().zip(block) {
                    for (other, &similarity) in row.iter().enumerate() {
                        if similarity > best.0 && !inside.contains(&other) {
                            best = (similarity, inner, other);
                        }
                    }
                }
            }
            let (similarity, a, b) = best;
            let step = (1.0 - similarity).max(0.0);
            self.links[a].push((b as u32, step));
            self.links[b].push((a as u32, step));
            sets.join(a, b);
        }
        Err(ExploreError::NoPath {
            from: stops[0],
            to: stops[stops.len() - 1],
            hint: "the neighbour graph is in many pieces: use more neighbours per track",
        })
    }

    /// The rows of a component to compare: in a large one only those nearest to the middle of all others, so that time is linear.
    fn border(
        vectors: ArrayView2<'_, f32>,
        piece: Vec<usize>,
        inside: &HashSet<usize>,
    ) -> Vec<usize> {
        if piece.len() <= BORDER {
            return piece;
        }
        let mut middle = ndarray::Array1::<f32>::zeros(vectors.ncols());
        (0..vectors.nrows())
            .filter(|row| !inside.contains(row))
            .for_each(|row| middle += &vectors.row(row));
        let mut ranked: Vec<(f32, usize)> = piece
            .into_iter()
            .map(|row| (vectors.row(row).dot(&middle), row))
            .collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.truncate(BORDER);
        ranked.into_iter().map(|(_, row)| row).collect()
    }

    /// The smallest possible largest step between two rows (infinite if there is no path).
    pub(super) fn bottleneck(&self, from: usize, to: usize, banned: &HashSet<usize>) -> f32 {
        let mut best = vec![f32::INFINITY; self.links.len()];
        best[from] = 0.0;
        let mut queue = BinaryHeap::from([QueuePlace(0.0, from)]);
        while let Some(QueuePlace(cost, i)) = queue.pop() {
            if i == to {
                return cost;
            }
            // An outdated entry of the queue: a better path was found later.
            if cost > best[i] {
                continue;
            }
            for &(j, step) in &self.links[i] {
                let j = j as usize;
                // Dijkstra with the largest step in place of the sum.
                let next = cost.max(step);
                if next < best[j] && (j == to || !banned.contains(&j)) {
                    best[j] = next;
                    queue.push(QueuePlace(next, j));
                }
            }
        }
        f32::INFINITY
    }

    /// The shortest path (sum of distances) whose steps are at most `limit`.
    pub(super) fn shortest(
        &self,
        from: usize,
        to: usize,
        limit: f32,
        banned: &HashSet<usize>,
    ) -> Option<Vec<usize>> {
        let mut best = vec![f32::INFINITY; self.links.len()];
        let mut came = vec![u32::MAX; self.links.len()];
        best[from] = 0.0;
        let mut queue = BinaryHeap::from([QueuePlace(0.0, from)]);
        while let Some(QueuePlace(cost, i)) = queue.pop() {
            if i == to {
                let mut rows = vec![to];
                while let Some(&last) = rows.last().filter(|&&row| row != from) {
                    rows.push(came[last] as usize);
                }
                rows.reverse();
                return Some(rows);
            }
            if cost > best[i] {
                continue;
            }
            for &(j, step) in self.links[i].iter().filter(|link| link.1 <= limit) {
                let j = j as usize;
                // A small cost per step, so that copies at distance 0 do not make the path longer.
                let next = cost + step + 1e-4;
                if next < best[j] && (j == to || !banned.contains(&j)) {
                    best[j] = next;
                    came[j] = i as u32;
                    queue.push(QueuePlace(next, j));
                }
            }
        }
        None
    }

    /// The fewest steps between two rows with steps of at most `limit`.
    pub(super) fn fewest(
        &self,
        from: usize,
        to: usize,
        limit: f32,
        banned: &HashSet<usize>,
    ) -> Option<usize> {
        let mut seen = vec![false; self.links.len()];
        seen[from] = true;
        let mut ring = vec![from];
        let mut steps = 0;
        while !ring.is_empty() {
            if ring.contains(&to) {
                return Some(steps);
            }
            let mut next = Vec::new();
            for &i in &ring {
                for &(j, _) in self.links[i].iter().filter(|link| link.1 <= limit) {
                    let j = j as usize;
                    if !seen[j] && (j == to || !banned.contains(&j)) {
                        seen[j] = true;
                        next.push(j);
                    }
                }
            }
            ring = next;
            steps += 1;
        }
        None
    }

    /// The smallest possible largest step of a path through the stops of at most `hops` steps.
    pub(super) fn least_step(&self, stops: &[usize], hops: Option<usize>) -> f32 {
        let no_exclusions = HashSet::new();
        let legs = || stops.windows(2).map(|leg| (leg[0], leg[1]));
        // The bottleneck for any number of steps, which is optimal if `hops` steps suffice for
        // it.
        let free = legs()
            .map(|(from, to)| self.bottleneck(from, to, &no_exclusions))
            .fold(0.0, f32::max);
        let Some(hops) = hops else { return free };
        let fits = |limit: f32| {
            let steps = legs().map(|(from, to)| self.fewest(from, to, limit, &no_exclusions));
            steps
                .sum::<Option<usize>>()
                .is_some_and(|steps| steps <= hops)
        };
        if fits(free) {
            return free;
        }
        // The result is one of the existing steps; the largest of them always fits.
        let mut steps: Vec<f32> = self
            .links
            .iter()
            .flatten()
            .map(|link| link.1)
            .filter(|&step| step > free)
            .collect();
        steps.sort_unstable_by(f32::total_cmp);
        steps.dedup();
        // A larger limit never needs more hops, so that the smallest one is found by bisection.
        let first = steps.partition_point(|&step| !fits(step));
        steps.get(first).copied().unwrap_or(f32::INFINITY)
    }

    /// The shortest path (sum of distances) of at most `hops` steps, each at most `limit`.
    pub(super) fn shortest_within(
        &self,
        (from, to): (usize, usize),
        limit: f32,
        hops: usize,
        banned: &HashSet<usize>,
    ) -> Option<Vec<usize>> {
        let mut cost = vec![f32::INFINITY; self.links.len()];
        cost[from] = 0.0;
        // For each number of steps and row, the previous row, if that path is shorter than any of fewer steps.
        let mut came: Vec<Vec<u32>> = Vec::new();
        for _ in 0..hops {
            let mut next = cost.clone();
            let mut before = vec![u32::MAX; cost.len()];
            for i in (0..cost.len()).filter(|&i| cost[i].is_finite()) {
                for &(j, step) in self.links[i].iter().filter(|link| link.1 <= limit) {
                    let j = j as usize;
                    if cost[i] + step < next[j] && (j == to || !banned.contains(&j)) {
                        next[j] = cost[i] + step;
                        before[j] = i as u32;
                    }
                }
            }
            cost = next;
            came.push(before);
        }
        if !cost[to].is_finite() {
            return None;
        }
        let mut rows = vec![to];
        for before in came.iter().rev() {
            let last = rows[rows.len() - 1];
            // Without an entry, fewer steps were at least as short.
            if before[last] != u32::MAX {
                rows.push(before[last] as usize);
            }
        }
        rows.reverse();
        Some(rows)
    }
}
