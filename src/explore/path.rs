//! A walk from one track to another in small steps.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::union::DisjointSets;
use super::{ExploreError, KnnGraph, Result, TrackMeta, same_length};
use crate::track::TrackId;

/// The largest step may exceed the smallest possible one by this factor: a little slack makes walks smoother.
pub const SLACK: f32 = 1.05;

/// Up to so many tracks a step may go from any track to any other; in larger libraries to near neighbours only.
const EVERY_PAIR: usize = 2000;

/// Rows of a separate piece of the graph from which it is joined to the rest.
const BORDER: usize = 1024;

/// Conditions of a walk.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PathOptions {
    /// Rows to pass, in this order.
    pub via: Vec<usize>,
    /// Number of tracks of the whole walk, ends included; `None` lets the walk be as long as it needs.
    pub tracks: Option<usize>,
    /// At most this many tracks of one artist; ends and `via` are always kept.
    pub max_per_artist: Option<usize>,
}

/// A walk from track to track, as [`path`] finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Its tracks, no two the same.
    pub tracks: Vec<TrackId>,
    /// The same tracks as rows of the collection.
    pub rows: Vec<usize>,
    /// Distance (1 − cosine) of each step: one fewer than tracks.
    pub steps: Vec<f32>,
    /// Largest step.
    pub largest_step: f32,
    /// The smallest possible largest step of any walk of at most as many tracks through the same stops, without regard
    /// to artists.
    pub bottleneck: f32,
}

/// Walks from row `from` to row `to`.
///
/// The largest step is at most [`SLACK`] times the smallest possible one of any walk of at most as many tracks, unless
/// `max_per_artist` or via points stand in the way, or more tracks are asked for than lie near the way. In libraries of
/// up to 2 000 tracks every pair of tracks may be a step; in larger ones the steps are those of the neighbour graph,
/// whose pieces are joined by the nearest pairs of tracks.
pub fn path(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    from: usize,
    to: usize,
    options: &PathOptions,
) -> Result<Walk> {
    same_length("neighbour graph", vectors.nrows(), graph.len())?;
    same_length("metadata", vectors.nrows(), meta.len())?;
    let mut stops = vec![from];
    stops.extend_from_slice(&options.via);
    stops.push(to);
    if let Some(&bad) = stops.iter().find(|&&row| row >= meta.len()) {
        return Err(ExploreError::Row { row: bad, rows: meta.len() });
    }
    let distinct: HashSet<usize> = stops.iter().copied().collect();
    if distinct.len() != stops.len() {
        return Err(ExploreError::Parameter {
            name: "stops of the path",
            found: "the same track twice".into(),
            expected: "different tracks",
        });
    }
    if let Some(tracks) = options.tracks.filter(|&tracks| tracks < stops.len() || tracks > meta.len()) {
        return Err(ExploreError::Parameter {
            name: "number of tracks",
            found: tracks.to_string(),
            expected: "at least the ends and via points, at most the tracks there are",
        });
    }
    let net = WalkSteps::new(vectors, graph, &stops)?;
    let hops = options.tracks.map(|tracks| tracks - 1);
    let least = net.least_step(&stops, hops);
    let mut banned: HashSet<usize> = HashSet::new();
    // Excess tracks of an artist are taken off the graph until the walk has none.
    for _ in 0..64 {
        let mut rows = net.through(&stops, least * SLACK, hops, &banned)?;
        if let Some(tracks) = options.tracks {
            rows = net.fit_length(vectors, rows, &stops, tracks, &banned, meta, options.max_per_artist);
        }
        let excess = excess(&rows, &stops, meta, options.max_per_artist);
        if excess.is_empty() {
            let steps: Vec<f32> = rows.windows(2).map(|step| distance(vectors, step[0], step[1])).collect();
            return Ok(Walk {
                tracks: rows.iter().map(|&row| meta[row].id).collect(),
                largest_step: steps.iter().copied().fold(0.0, f32::max),
                bottleneck: net.least_step(&stops, Some(rows.len() - 1)),
                rows,
                steps,
            });
        }
        banned.extend(excess);
    }
    Err(ExploreError::NoPath { from, to, hint: "allow more tracks of one artist" })
}

fn distance(vectors: ArrayView2<'_, f32>, a: usize, b: usize) -> f32 {
    (1.0 - vectors.row(a).dot(&vectors.row(b))).max(0.0)
}

/// Rows beyond an artist's cap, later ones first to go; stops stay.
fn excess(rows: &[usize], stops: &[usize], meta: &[TrackMeta], cap: Option<usize>) -> Vec<usize> {
    let Some(cap) = cap else { return Vec::new() };
    let mut counts: HashMap<String, usize> = HashMap::new();
    for artist in stops.iter().filter_map(|&row| meta[row].artist_key()) {
        *counts.entry(artist).or_default() += 1;
    }
    let mut out = Vec::new();
    for &row in rows.iter().filter(|row| !stops.contains(row)) {
        if let Some(artist) = meta[row].artist_key() {
            let count = counts.entry(artist).or_default();
            *count += 1;
            if *count > cap {
                out.push(row);
            }
        }
    }
    out
}

/// The steps that a walk may take: every pair of tracks, or the neighbour graph made symmetric, its pieces joined as far
/// as the stops need it, and with steps from each stop to the next.
struct WalkSteps {
    /// For each row the rows that can follow it, and the distance to each.
    links: Vec<Vec<(u32, f32)>>,
}

/// A place in a queue, least cost first.
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
    fn new(vectors: ArrayView2<'_, f32>, graph: &KnnGraph, stops: &[usize]) -> Result<Self> {
        let n = graph.len();
        if n <= EVERY_PAIR {
            let products: ndarray::Array2<f32> = vectors.dot(&vectors.t());
            let steps = |(i, row): (usize, ndarray::ArrayView1<'_, f32>)| {
                let others = row.iter().enumerate().filter(|&(j, _)| j != i);
                others.map(|(j, &similarity)| (j as u32, (1.0 - similarity).max(0.0))).collect()
            };
            return Ok(Self { links: products.rows().into_iter().enumerate().map(steps).collect() });
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
        // However few tracks are asked for, there is a way.
        for leg in stops.windows(2) {
            let step = distance(vectors, leg[0], leg[1]);
            links[leg[0]].push((leg[1] as u32, step));
            links[leg[1]].push((leg[0] as u32, step));
        }
        for list in &mut links {
            list.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            list.dedup_by_key(|link| link.0);
        }
        let mut net = Self { links };
        net.join_pieces(vectors, &mut sets, stops)?;
        Ok(net)
    }

    /// Joins the pieces that hold stops: the smallest of them is linked to the track nearest to any of its own.
    fn join_pieces(
        &mut self,
        vectors: ArrayView2<'_, f32>,
        sets: &mut DisjointSets,
        stops: &[usize],
    ) -> Result<()> {
        for _ in 0..256 {
            let mut roots: Vec<usize> = stops.iter().map(|&stop| sets.find(stop)).collect();
            roots.sort_unstable();
            roots.dedup();
            if roots.len() == 1 {
                return Ok(());
            }
            let piece = |sets: &mut DisjointSets, root| -> Vec<usize> {
                (0..self.links.len()).filter(|&i| sets.find(i) == root).collect()
            };
            let pieces: Vec<Vec<usize>> = roots.iter().map(|&root| piece(sets, root)).collect();
            let smallest = pieces.into_iter().min_by_key(Vec::len).expect("there are pieces");
            let inside: HashSet<usize> = smallest.iter().copied().collect();
            let smallest = Self::border(vectors, smallest, &inside);
            let mut best = (f32::NEG_INFINITY, 0, 0);
            for block in smallest.chunks(256) {
                let products: ndarray::Array2<f32> = vectors.select(Axis(0), block).dot(&vectors.t());
                for (row, &own) in products.rows().into_iter().zip(block) {
                    for (other, &similarity) in row.iter().enumerate() {
                        if similarity > best.0 && !inside.contains(&other) {
                            best = (similarity, own, other);
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

    /// Of a large piece only the rows nearest to the middle of all others are compared, so that time stays linear.
    fn border(vectors: ArrayView2<'_, f32>, piece: Vec<usize>, inside: &HashSet<usize>) -> Vec<usize> {
        if piece.len() <= BORDER {
            return piece;
        }
        let mut middle = ndarray::Array1::<f32>::zeros(vectors.ncols());
        (0..vectors.nrows()).filter(|row| !inside.contains(row)).for_each(|row| middle += &vectors.row(row));
        let mut ranked: Vec<(f32, usize)> =
            piece.into_iter().map(|row| (vectors.row(row).dot(&middle), row)).collect();
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        ranked.truncate(BORDER);
        ranked.into_iter().map(|(_, row)| row).collect()
    }

    /// The smallest possible largest step between two rows (infinite if there is no way).
    fn bottleneck(&self, from: usize, to: usize, banned: &HashSet<usize>) -> f32 {
        let mut best = vec![f32::INFINITY; self.links.len()];
        best[from] = 0.0;
        let mut queue = BinaryHeap::from([QueuePlace(0.0, from)]);
        while let Some(QueuePlace(cost, i)) = queue.pop() {
            if i == to {
                return cost;
            }
            if cost > best[i] {
                continue;
            }
            for &(j, step) in &self.links[i] {
                let j = j as usize;
                let next = cost.max(step);
                if next < best[j] && (j == to || !banned.contains(&j)) {
                    best[j] = next;
                    queue.push(QueuePlace(next, j));
                }
            }
        }
        f32::INFINITY
    }

    /// The shortest way whose steps are at most `limit` (sum of distances).
    fn shortest(&self, from: usize, to: usize, limit: f32, banned: &HashSet<usize>) -> Option<Vec<usize>> {
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
                // A small price per step, so that copies at distance 0 do not make the walk longer.
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

    /// The fewest steps between two rows of which none is larger than `limit`.
    fn fewest(&self, from: usize, to: usize, limit: f32, banned: &HashSet<usize>) -> Option<usize> {
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

    /// The smallest possible largest step of a walk through the stops, of at most `hops` steps.
    fn least_step(&self, stops: &[usize], hops: Option<usize>) -> f32 {
        let nobody = HashSet::new();
        let legs = || stops.windows(2).map(|leg| (leg[0], leg[1]));
        let free = legs().map(|(from, to)| self.bottleneck(from, to, &nobody)).fold(0.0, f32::max);
        let Some(hops) = hops else { return free };
        let fits = |limit: f32| {
            let steps = legs().map(|(from, to)| self.fewest(from, to, limit, &nobody));
            steps.sum::<Option<usize>>().is_some_and(|steps| steps <= hops)
        };
        if fits(free) {
            return free;
        }
        // The answer is one of the steps there are; the largest of them always fits.
        let mut steps: Vec<f32> =
            self.links.iter().flatten().map(|link| link.1).filter(|&step| step > free).collect();
        steps.sort_unstable_by(f32::total_cmp);
        steps.dedup();
        let first = steps.partition_point(|&step| !fits(step));
        steps.get(first).copied().unwrap_or(f32::INFINITY)
    }

    /// The shortest way (sum of distances) of at most `hops` steps, none of them larger than `limit`.
    fn shortest_within(
        &self,
        (from, to): (usize, usize),
        limit: f32,
        hops: usize,
        banned: &HashSet<usize>,
    ) -> Option<Vec<usize>> {
        let mut cost = vec![f32::INFINITY; self.links.len()];
        cost[from] = 0.0;
        // For each number of steps and row, the row before, where that way is shorter than any of fewer steps.
        let mut came: Vec<Vec<u32>> = Vec::new();
        for _ in 0..hops {
            let (mut next, mut before) = (cost.clone(), vec![u32::MAX; cost.len()]);
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
            if before[last] != u32::MAX {
                rows.push(before[last] as usize);
            }
        }
        rows.reverse();
        Some(rows)
    }

    /// Leg by leg, no track twice, within `limit` and `hops` steps in all; where a leg has no such way, its own
    /// bottleneck sets the limit.
    fn through(
        &self,
        stops: &[usize],
        limit: f32,
        hops: Option<usize>,
        banned: &HashSet<usize>,
    ) -> Result<Vec<usize>> {
        // A hair of room: the smallest step itself must be within it.
        let limit = limit * (1.0 + 1e-6);
        let closed = |number: usize, rows: &[usize]| -> HashSet<usize> {
            let others = stops[..number].iter().chain(&stops[number + 2..]);
            banned.iter().chain(rows).chain(others).copied().collect()
        };
        let needed: Vec<usize> = stops
            .windows(2)
            .enumerate()
            .map(|(number, leg)| self.fewest(leg[0], leg[1], limit, &closed(number, &[])).unwrap_or(1))
            .collect();
        let mut spare = hops.map(|hops| hops.saturating_sub(needed.iter().sum()));
        let mut rows = vec![stops[0]];
        for (number, leg) in stops.windows(2).enumerate() {
            let closed = closed(number, &rows);
            let way = match &mut spare {
                None => self.shortest(leg[0], leg[1], limit, &closed),
                Some(spare) => {
                    let way = self.shortest_within((leg[0], leg[1]), limit, needed[number] + *spare, &closed);
                    if let Some(way) = &way {
                        *spare -= (way.len() - 1).saturating_sub(needed[number]);
                    }
                    way
                }
            };
            let way = way.or_else(|| {
                let least = self.bottleneck(leg[0], leg[1], &closed);
                least.is_finite().then(|| self.shortest(leg[0], leg[1], least * SLACK, &closed)).flatten()
            });
            let Some(way) = way else {
                return Err(ExploreError::NoPath {
                    from: leg[0],
                    to: leg[1],
                    hint: "allow more tracks of one artist, or fewer via points",
                });
            };
            rows.extend_from_slice(&way[1..]);
        }
        Ok(rows)
    }

    /// Brings a walk to a number of tracks: short-cuts where the step grows least, or tracks in between where
    /// the step is largest.
    #[allow(clippy::too_many_arguments, reason = "the conditions of one walk")]
    fn fit_length(
        &self,
        vectors: ArrayView2<'_, f32>,
        mut rows: Vec<usize>,
        stops: &[usize],
        tracks: usize,
        banned: &HashSet<usize>,
        meta: &[TrackMeta],
        cap: Option<usize>,
    ) -> Vec<usize> {
        while rows.len() > tracks {
            let cost = |i: usize| distance(vectors, rows[i - 1], rows[i + 1]);
            let loose = (1..rows.len() - 1).filter(|&i| !stops.contains(&rows[i]));
            let Some(least) = loose.min_by(|&a, &b| cost(a).total_cmp(&cost(b))) else { break };
            rows.remove(least);
        }
        while rows.len() < tracks {
            let taken: HashSet<usize> = rows.iter().copied().collect();
            let mut gaps: Vec<usize> = (1..rows.len()).collect();
            let width = |i: usize| distance(vectors, rows[i - 1], rows[i]);
            gaps.sort_by(|&a, &b| width(b).total_cmp(&width(a)).then(a.cmp(&b)));
            let between = |i: usize| {
                let (a, b) = (rows[i - 1], rows[i]);
                let around = |row: usize| self.links[row].iter().map(|link| link.0 as usize);
                around(a)
                    .chain(around(b))
                    .filter(|row| !taken.contains(row) && !banned.contains(row))
                    .filter(|&row| {
                        let mut longer = rows.clone();
                        longer.insert(i, row);
                        excess(&longer, stops, meta, cap).is_empty()
                    })
                    .map(|row| (distance(vectors, a, row).max(distance(vectors, row, b)), row))
                    .min_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)))
                    .map(|(step, row)| (step, i, row))
            };
            // The widest gap that a track in between makes no wider, or else the least harm.
            let found = gaps
                .iter()
                .find_map(|&i| between(i).filter(|found| found.0 <= width(i)))
                .or_else(|| gaps.iter().filter_map(|&i| between(i)).min_by(|x, y| x.0.total_cmp(&y.0)));
            let Some((_, i, row)) = found else { break };
            rows.insert(i, row);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{grouped, unit_vectors};
    use super::*;

    fn metas(n: usize, artists: usize) -> Vec<TrackMeta> {
        (0..n)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"));
                track.artist = Some(format!("a{}", i % artists));
                track
            })
            .collect()
    }

    /// The smallest largest step of a walk of at most `hops` steps, by going through all steps in order of length.
    fn by_brute_force(vectors: ArrayView2<'_, f32>, from: usize, to: usize, hops: usize) -> f32 {
        let n = vectors.nrows();
        // The smallest largest step of a way of at most so many steps to each row.
        let mut least: Vec<f32> = (0..n).map(|j| if j == from { 0.0 } else { f32::INFINITY }).collect();
        for _ in 0..hops {
            let before = least.clone();
            for i in 0..n {
                for j in 0..n {
                    least[j] = least[j].min(before[i].max(distance(vectors, i, j)));
                }
            }
        }
        least[to]
    }

    #[test]
    fn the_largest_step_is_near_the_smallest_of_any_walk_of_as_many_tracks() {
        let vectors = unit_vectors(200, 6, 12);
        let graph = KnnGraph::exact(vectors.view(), 8).expect("unit vectors");
        let meta = metas(200, 200);
        for (from, to) in [(0, 199), (5, 100), (17, 133), (90, 91)] {
            let free = path(vectors.view(), &graph, &meta, from, to, &PathOptions::default());
            let free = free.expect("a way").rows.len();
            for tracks in [None, Some(2), Some(3), Some(5), Some(9), Some(30)] {
                let options = PathOptions { tracks, ..PathOptions::default() };
                let walk = path(vectors.view(), &graph, &meta, from, to, &options).expect("a way");
                assert_eq!(tracks.unwrap_or(walk.rows.len()), walk.rows.len());
                let least = by_brute_force(vectors.view(), from, to, walk.rows.len() - 1);
                assert!((walk.bottleneck - least).abs() < 1e-6, "{} for {least}", walk.bottleneck);
                // A walk that is made longer than it needs to be takes tracks near its own, where there are any.
                assert!(
                    tracks.is_some_and(|tracks| tracks > free) || walk.largest_step <= 1.05 * least + 1e-5,
                    "{tracks:?}: {} for {least}",
                    walk.largest_step
                );
                assert_eq!((walk.rows[0], *walk.rows.last().expect("ends")), (from, to));
                assert_eq!(walk.rows.iter().collect::<HashSet<_>>().len(), walk.rows.len());
                assert_eq!(walk.steps.len() + 1, walk.tracks.len());
            }
        }
    }

    /// Beyond 2 000 tracks a step goes to a neighbour, and the promise holds for such walks.
    #[test]
    fn a_large_library_is_walked_along_its_neighbour_graph() {
        let vectors = unit_vectors(2500, 5, 3);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let meta = metas(2500, 2500);
        for tracks in [None, Some(2), Some(8)] {
            let options = PathOptions { tracks, ..PathOptions::default() };
            let walk = path(vectors.view(), &graph, &meta, 1, 2400, &options).expect("a way");
            assert!(walk.largest_step <= 1.05 * walk.bottleneck + 1e-5);
            assert_eq!(tracks.unwrap_or(walk.rows.len()), walk.rows.len());
        }
    }

    #[test]
    fn via_points_length_and_artists() {
        let vectors = unit_vectors(500, 6, 2);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let meta = metas(500, 40);
        for tracks in [5, 8, 16, 40] {
            let options = PathOptions { via: vec![100, 200], tracks: Some(tracks), max_per_artist: Some(1) };
            let walk = path(vectors.view(), &graph, &meta, 1, 300, &options);
            let walk = walk.expect("a way");
            assert_eq!(walk.rows.len(), tracks.min(40));
            let at = |row| walk.rows.iter().position(|&r| r == row).expect("passed");
            assert!(at(1) == 0 && at(100) < at(200) && at(300) == walk.rows.len() - 1);
            let stops = [1, 100, 200, 300];
            let loose: Vec<usize> = walk.rows.iter().copied().filter(|r| !stops.contains(r)).collect();
            let artists: HashSet<_> = loose.iter().map(|&r| meta[r].artist_key()).collect();
            assert_eq!(artists.len(), loose.len());
        }
    }

    #[test]
    fn pieces_are_joined() {
        let (vectors, labels) = grouped(4, 30, 24, 0.2, 8);
        let graph = KnnGraph::exact(vectors.view(), 6).expect("unit vectors");
        let meta = metas(120, 120);
        assert_ne!(labels[0], labels[1]);
        let walk = path(vectors.view(), &graph, &meta, 0, 1, &PathOptions::default()).expect("joined");
        assert!(walk.largest_step <= 1.05 * walk.bottleneck + 1e-5);
    }

    #[test]
    fn the_same_track_twice_is_refused() {
        let vectors = unit_vectors(20, 4, 2);
        let graph = KnnGraph::exact(vectors.view(), 4).expect("unit vectors");
        assert!(path(vectors.view(), &graph, &metas(20, 20), 3, 3, &PathOptions::default()).is_err());
    }
}
