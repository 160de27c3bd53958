//! Paths from one track to another in small steps.

mod legs;
mod steps;

use std::collections::HashSet;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{ExploreError, KnnGraph, Result, TrackMeta, same_length};
use legs::excess;
use steps::WalkSteps;
use voisin_base::track::TrackId;

/// Factor by which the largest step may exceed the smallest possible one, which makes paths smoother.
pub const SLACK: f32 = 1.05;

/// Conditions of a path.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PathOptions {
    /// Rows to pass, in this order.
    pub via: Vec<usize>,
    /// Number of tracks of the whole path, including its ends; `None`: as many as needed.
    pub tracks: Option<usize>,
    /// Most tracks of one artist; ends and `via` are always kept.
    pub max_per_artist: Option<usize>,
}

/// The result of [`path`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Its tracks, all different.
    pub tracks: Vec<TrackId>,
    /// The same tracks as rows of the collection.
    pub rows: Vec<usize>,
    /// Distance (1 − cosine) of each step: one fewer than tracks.
    pub steps: Vec<f32>,
    /// Largest step.
    pub largest_step: f32,
    /// The smallest possible largest step of a path of at most as many tracks through the same stops, regardless of
    /// artists.
    pub bottleneck: f32,
}

/// Finds a path from row `from` to row `to`.
///
/// The largest step is at most [`SLACK`] times the smallest possible one of a path of at most as many tracks, unless
/// `max_per_artist` or via points prevent it, or more tracks are requested than there are nearby. In libraries of up
/// to 2 000 tracks every pair of tracks may be a step; in larger ones steps are edges of the neighbour graph, whose
/// components are joined by the nearest pairs of tracks.
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
        return Err(ExploreError::Row {
            row: bad,
            rows: meta.len(),
        });
    }
    let distinct: HashSet<usize> = stops.iter().copied().collect();
    if distinct.len() != stops.len() {
        return Err(ExploreError::Parameter {
            name: "path",
            found: "the same track twice".into(),
            expected: "stops that are different tracks",
        });
    }
    if let Some(tracks) = options
        .tracks
        .filter(|&tracks| tracks < stops.len() || tracks > meta.len())
    {
        return Err(ExploreError::Parameter {
            name: "number of tracks",
            found: tracks.to_string(),
            expected: "at least the ends and via points, at most the tracks there are",
        });
    }
    let net = WalkSteps::new(vectors, graph, &stops)?;
    let hops = options.tracks.map(|tracks| tracks - 1);
    // Regardless of artists and copies, for which `through` raises the limit of single
    // legs.
    let least = net.least_step(&stops, hops);
    let mut banned: HashSet<usize> = HashSet::new();
    // Excess tracks of an artist and copies are removed from the graph until the path has none. Each round
    // bans at least one track; the number of rounds is limited.
    for round in 0..64 {
        let mut rows = net.through(&stops, least * SLACK, hops, &banned)?;
        if let Some(tracks) = options.tracks {
            rows = net.fit_length(
                vectors,
                rows,
                &stops,
                tracks,
                &banned,
                meta,
                options.max_per_artist,
            );
        }
        let mut unwanted = excess(&rows, &stops, meta, options.max_per_artist);
        // With too many copies a path with some is better than none.
        if round < 32 {
            unwanted.extend(copies(&rows, &stops, vectors, meta));
        }
        if unwanted.is_empty() {
            return Ok(walk_of(vectors, meta, &net, &stops, rows));
        }
        banned.extend(unwanted);
    }
    Err(ExploreError::NoPath {
        from,
        to,
        hint: "allow more tracks of one artist",
    })
}

fn walk_of(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    net: &WalkSteps,
    stops: &[usize],
    rows: Vec<usize>,
) -> Walk {
    let steps: Vec<f32> = rows
        .windows(2)
        .map(|step| distance(vectors, step[0], step[1]))
        .collect();
    Walk {
        tracks: rows.iter().map(|&row| meta[row].id).collect(),
        largest_step: steps.iter().copied().fold(0.0, f32::max),
        bottleneck: net.least_step(stops, Some(rows.len() - 1)),
        rows,
        steps,
    }
}

/// Rows that are copies or versions of a stop or of an earlier row; stops stay.
fn copies(
    rows: &[usize],
    stops: &[usize],
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
) -> Vec<usize> {
    let mut known = stops.to_vec();
    let mut found = Vec::new();
    for &row in rows.iter().filter(|row| !stops.contains(row)) {
        if known
            .iter()
            .any(|&other| are_copies(vectors, meta, other, row))
        {
            found.push(row);
        } else {
            known.push(row);
        }
    }
    found
}

/// Whether two rows are the same recording, or have one artist and title.
fn are_copies(vectors: ArrayView2<'_, f32>, meta: &[TrackMeta], a: usize, b: usize) -> bool {
    let similarity = vectors.row(a).dot(&vectors.row(b));
    let is_copy = meta[a]
        .recording()
        .is_copy(&meta[b].recording(), similarity);
    is_copy
        || meta[a]
            .song()
            .is_some_and(|song| meta[b].song() == Some(song))
}

fn distance(vectors: ArrayView2<'_, f32>, a: usize, b: usize) -> f32 {
    (1.0 - vectors.row(a).dot(&vectors.row(b))).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{grouped, unit_vectors};

    fn metas(n: usize, artists: usize) -> Vec<TrackMeta> {
        (0..n)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"));
                track.artist = Some(format!("a{}", i % artists));
                track
            })
            .collect()
    }

    /// The smallest largest step of a path of at most `hops` steps, by trying all steps in order of length.
    fn by_brute_force(vectors: ArrayView2<'_, f32>, from: usize, to: usize, hops: usize) -> f32 {
        let n = vectors.nrows();
        // The smallest largest step of a path of at most so many steps to each row.
        let mut least: Vec<f32> = (0..n)
            .map(|j| if j == from { 0.0 } else { f32::INFINITY })
            .collect();
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
    fn the_largest_step_is_near_the_smallest_possible() {
        let vectors = unit_vectors(200, 6, 12);
        let graph = KnnGraph::exact(vectors.view(), 8).expect("unit vectors");
        let meta = metas(200, 200);
        for (from, to) in [(0, 199), (5, 100), (17, 133), (90, 91)] {
            let free = path(
                vectors.view(),
                &graph,
                &meta,
                from,
                to,
                &PathOptions::default(),
            );
            let free = free.expect("a way").rows.len();
            for tracks in [None, Some(2), Some(3), Some(5), Some(9), Some(30)] {
                let options = PathOptions {
                    tracks,
                    ..PathOptions::default()
                };
                let walk = path(vectors.view(), &graph, &meta, from, to, &options).expect("a way");
                assert_eq!(tracks.unwrap_or(walk.rows.len()), walk.rows.len());
                let least = by_brute_force(vectors.view(), from, to, walk.rows.len() - 1);
                assert!(
                    (walk.bottleneck - least).abs() < 1e-6,
                    "{} for {least}",
                    walk.bottleneck
                );
                // A longer path than necessary inserts tracks near its own, if there are any.
                assert!(
                    tracks.is_some_and(|tracks| tracks > free)
                        || walk.largest_step <= 1.05 * least + 1e-5,
                    "{tracks:?}: {} for {least}",
                    walk.largest_step
                );
                assert_eq!((walk.rows[0], *walk.rows.last().expect("ends")), (from, to));
                assert_eq!(
                    walk.rows.iter().collect::<HashSet<_>>().len(),
                    walk.rows.len()
                );
                assert_eq!(walk.steps.len() + 1, walk.tracks.len());
            }
        }
    }

    #[test]
    fn a_path_has_no_copies_of_its_ends_or_steps() {
        // A copy of the start, and two of one song half-way.
        let angles = [0.0_f32, 0.06, 0.5, 0.56, 0.8, 1.2, 1.5];
        let vectors = ndarray::Array2::from_shape_fn((7, 2), |(row, column)| {
            if column == 0 {
                angles[row].cos()
            } else {
                angles[row].sin()
            }
        });
        let graph = KnnGraph::exact(vectors.view(), 3).expect("unit vectors");
        let mut meta = metas(7, 7);
        let options = PathOptions {
            tracks: Some(6),
            ..PathOptions::default()
        };
        let copies = ["a", "a", "b", "b", "c", "d", "e"];
        let versions = ["a", "a (Live)", "b Live in Nara", "b", "c", "d", "e"];
        for titles in [copies, versions] {
            for (row, title) in titles.into_iter().enumerate() {
                meta[row].title = title.into();
                meta[row].artist = Some("One".into());
                meta[row].seconds = 200.0;
            }
            let walk = path(vectors.view(), &graph, &meta, 0, 6, &options).expect("a way");
            assert!(!walk.rows.contains(&1), "{walk:?}");
            assert!(
                !(walk.rows.contains(&2) && walk.rows.contains(&3)),
                "{walk:?}"
            );
            assert_eq!(walk.rows.len(), 5, "without copies and versions");
        }
    }

    /// Beyond 2 000 tracks a step goes to a neighbour, and the bound holds for such paths.
    #[test]
    fn a_path_in_a_large_library_follows_the_neighbour_graph() {
        let vectors = unit_vectors(2500, 5, 3);
        let graph = KnnGraph::exact(vectors.view(), 10).expect("unit vectors");
        let meta = metas(2500, 2500);
        for tracks in [None, Some(2), Some(8)] {
            let options = PathOptions {
                tracks,
                ..PathOptions::default()
            };
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
            let options = PathOptions {
                via: vec![100, 200],
                tracks: Some(tracks),
                max_per_artist: Some(1),
            };
            let walk = path(vectors.view(), &graph, &meta, 1, 300, &options);
            let walk = walk.expect("a way");
            assert_eq!(walk.rows.len(), tracks.min(40));
            let at = |row| walk.rows.iter().position(|&r| r == row).expect("passed");
            assert!(at(1) == 0 && at(100) < at(200) && at(300) == walk.rows.len() - 1);
            let stops = [1, 100, 200, 300];
            let loose: Vec<usize> = walk
                .rows
                .iter()
                .copied()
                .filter(|r| !stops.contains(r))
                .collect();
            let artists: HashSet<_> = loose.iter().map(|&r| meta[r].artist_keys()).collect();
            assert_eq!(artists.len(), loose.len());
        }
    }

    #[test]
    fn pieces_are_joined() {
        let (vectors, labels) = grouped(4, 30, 24, 0.2, 8);
        let graph = KnnGraph::exact(vectors.view(), 6).expect("unit vectors");
        let meta = metas(120, 120);
        assert_ne!(labels[0], labels[1]);
        let walk =
            path(vectors.view(), &graph, &meta, 0, 1, &PathOptions::default()).expect("joined");
        assert!(walk.largest_step <= 1.05 * walk.bottleneck + 1e-5);
    }

    #[test]
    fn the_same_track_twice_is_refused() {
        let vectors = unit_vectors(20, 4, 2);
        let graph = KnnGraph::exact(vectors.view(), 4).expect("unit vectors");
        assert!(
            path(
                vectors.view(),
                &graph,
                &metas(20, 20),
                3,
                3,
                &PathOptions::default()
            )
            .is_err()
        );
    }
}
