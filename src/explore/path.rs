//! Paths from one track to another: tracks near points on the great circle between them.

use std::collections::HashSet;

use ndarray::{Array1, ArrayView1, ArrayView2};

use super::{ExploreError, NameLimit, Result, TrackMeta};
use voisin_base::track::TrackId;

/// Tracks between two stops, unless a number is requested.
const BETWEEN: usize = 8;

#[derive(Debug, Clone, Default)]
pub struct PathOptions {
    /// Rows to pass, in this order.
    pub via: Vec<usize>,
    /// Number of tracks of the whole path, including its ends; `None`: eight between two stops.
    pub tracks: Option<usize>,
    /// Most tracks of one artist; ends and `via` are always kept.
    pub max_per_artist: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct Walk {
    pub tracks: Vec<TrackId>,
    /// The same tracks as rows of the collection.
    pub rows: Vec<usize>,
    /// Distance (1 − cosine) of each step: one fewer than tracks.
    pub steps: Vec<f32>,
    pub largest_step: f32,
}

/// Finds a path from row `from` to row `to`: for each of some points at even distances on the great circle between two stops,
/// the nearest track that is no copy of another one of the path and within the limit per artist.
///
/// Shorter than requested if no more tracks fulfil the conditions.
pub fn path(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    from: usize,
    to: usize,
    options: &PathOptions,
) -> Result<Walk> {
    let mut stops = vec![from];
    stops.extend_from_slice(&options.via);
    stops.push(to);
    check(&stops, meta.len(), options)?;
    let legs = stops.len() - 1;
    let between = options
        .tracks
        .map_or(BETWEEN * legs, |tracks| tracks - stops.len());
    let mut known = stops.clone();
    let mut artists = NameLimit::new(options.max_per_artist);
    stops
        .iter()
        .for_each(|&row| artists.take(meta[row].artist_keys()));
    let mut rows = vec![from];
    for (leg, ends) in stops.windows(2).enumerate() {
        // The first legs have one point more if the number cannot be divided.
        let points = between / legs + usize::from(leg < between % legs);
        for point in 1..=points {
            let share = point as f32 / (points + 1) as f32;
            let place = between_ends(vectors.row(ends[0]), vectors.row(ends[1]), share);
            let similarities = vectors.dot(&place);
            let mut order: Vec<usize> = (0..meta.len()).collect();
            order.sort_unstable_by(|&a, &b| {
                similarities[b].total_cmp(&similarities[a]).then(a.cmp(&b))
            });
            let fits = |row: &usize| {
                !known
                    .iter()
                    .any(|&other| other == *row || are_copies(vectors, meta, other, *row))
                    && artists.has_room(&meta[*row].artist_keys())
            };
            if let Some(row) = order.into_iter().find(fits) {
                artists.take(meta[row].artist_keys());
                known.push(row);
                rows.push(row);
            }
        }
        rows.push(ends[1]);
    }
    let steps: Vec<f32> = rows
        .windows(2)
        .map(|step| (1.0 - vectors.row(step[0]).dot(&vectors.row(step[1]))).max(0.0))
        .collect();
    Ok(Walk {
        tracks: rows.iter().map(|&row| meta[row].id).collect(),
        largest_step: steps.iter().copied().fold(0.0, f32::max),
        rows,
        steps,
    })
}

fn check(stops: &[usize], rows: usize, options: &PathOptions) -> Result<()> {
    let distinct: HashSet<&usize> = stops.iter().collect();
    if distinct.len() != stops.len() {
        return Err(ExploreError::Parameter {
            name: "path",
            found: "the same track twice".into(),
            expected: "stops that are different tracks",
        });
    }
    match options.tracks {
        Some(tracks) if tracks < stops.len() || tracks > rows => Err(ExploreError::Parameter {
            name: "number of tracks",
            found: tracks.to_string(),
            expected: "at least the ends and via points, at most the tracks there are",
        }),
        _ => Ok(()),
    }
}

/// The point at a share of the way on the great circle between two unit vectors.
pub fn between_ends(from: ArrayView1<'_, f32>, to: ArrayView1<'_, f32>, share: f32) -> Array1<f32> {
    let angle = from.dot(&to).clamp(-1.0, 1.0).acos();
    let sine = angle.sin();
    // Equal and opposite ends have no one great circle between them.
    let [a, b] = if sine < 1e-4 {
        [1.0 - share, share]
    } else {
        [
            ((1.0 - share) * angle).sin() / sine,
            (share * angle).sin() / sine,
        ]
    };
    &from * a + &to * b
}

/// Whether two rows are the same recording, or have one artist and title.
fn are_copies(vectors: ArrayView2<'_, f32>, meta: &[TrackMeta], a: usize, b: usize) -> bool {
    let similarity = vectors.row(a).dot(&vectors.row(b));
    let [a, b] = [a, b].map(|row| &meta[row]);
    let is_one_song = a.song().is_some_and(|song| b.song() == Some(song));
    is_one_song || a.recording().is_copy(&b.recording(), similarity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::unit_vectors;

    fn metas(n: usize, artists: usize) -> Vec<TrackMeta> {
        (0..n)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i as i64), format!("{i}.mp3"));
                track.artist = Some(format!("a{}", i % artists));
                track
            })
            .collect()
    }

    fn options(via: &[usize], tracks: usize, max_per_artist: Option<usize>) -> PathOptions {
        PathOptions {
            via: via.to_vec(),
            tracks: Some(tracks),
            max_per_artist,
        }
    }

    #[test]
    fn a_path_follows_the_circle_between_its_stops() {
        // A quarter of a circle, and a track beside it.
        let angle = |i: usize| i as f32 / 90.0 * std::f32::consts::FRAC_PI_2;
        let vectors = ndarray::Array2::from_shape_fn((92, 3), |(i, d)| match (i, d) {
            (91, 2) => 1.0,
            (91, _) | (_, 2) => 0.0,
            (_, 0) => angle(i).cos(),
            _ => angle(i).sin(),
        });
        let meta = metas(92, 92);
        let walk = |via: &[usize], tracks| {
            let options = options(via, tracks, None);
            path(vectors.view(), &meta, 0, 90, &options).expect("a way")
        };
        let direct = walk(&[], 10);
        assert_eq!(direct.rows, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert!(direct.largest_step < 0.016, "{}", direct.largest_step);
        assert_eq!(walk(&[91], 3).rows, [0, 91, 90]);
    }

    #[test]
    fn tracks_differ_and_artists_are_limited() {
        let vectors = unit_vectors(200, 6, 12);
        let meta = metas(200, 20);
        let walk = |to, options| path(vectors.view(), &meta, 3, to, &options);
        let rows = walk(199, options(&[7], 30, Some(2))).expect("a way").rows;
        let distinct: HashSet<&usize> = rows.iter().collect();
        assert_eq!((distinct.len(), rows.len()), (30, 30));
        for artist in 0..20 {
            assert!(rows.iter().filter(|row| **row % 20 == artist).count() <= 2);
        }
        for (to, tracks, expected) in [
            (3, 5, "the same track twice"),
            (9, 201, "at most the tracks there are"),
        ] {
            let error = walk(to, options(&[], tracks, None)).expect_err("refused");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
