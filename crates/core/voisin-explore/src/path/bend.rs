//! Adapts a path to a curve of values, such as rising energy.

use std::collections::HashSet;

use ndarray::ArrayView2;

use super::legs::excess;
use super::steps::WalkSteps;
use super::{PathOptions, Walk, are_copies, walk_of};
use crate::course::Course;
use crate::{ExploreError, KnnGraph, Result, TrackMeta};

/// Factor by which the largest step may exceed that of the original path; its square if no path fits, and so on. Among 200
/// tracks, paths of 20 were 3.7 points off an energy curve with 1.25, 9 with 1, and 19 without a curve.
pub const BEND: f32 = 1.25;
/// Most times that the factor is applied.
const TRIES: i32 = 4;
/// Deviation in points of a row without a value.
const UNKNOWN: f64 = 100.0;

/// A path with the stops of another one in the same places, and between them tracks whose values follow a curve.
///
/// - `walk`: the result of [`path`](super::path) with these options
/// - `shape`: from a position on the path, 0 to 1, to a height, 0 to 1, between the low and the high percentile of tracks near
///   the path
/// - `values`: of each row, 0 to 100
pub fn bend(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    walk: &Walk,
    options: &PathOptions,
    shape: &dyn Fn(f64) -> f64,
    values: &[Option<f64>],
) -> Result<Walk> {
    let from = walk.rows[0];
    let to = walk.rows[walk.rows.len() - 1];
    let mut stops = vec![from];
    stops.extend_from_slice(&options.via);
    stops.push(to);
    // The same graph of steps as for the original path, so that it contains its steps.
    let net = WalkSteps::new(vectors, graph, &stops)?;
    let is_copy = |a: usize, b: usize| a == b || are_copies(vectors, meta, a, b);
    for attempt in 1..=TRIES {
        let limit = walk.largest_step * BEND.powi(attempt);
        let steps: Vec<Vec<(u32, f32)>> = net
            .links
            .iter()
            .map(|links| {
                links
                    .iter()
                    .copied()
                    .filter(|link| link.1 <= limit)
                    .collect()
            })
            .collect();
        // The curve is between the extremes of tracks within a step of the path.
        let near: HashSet<usize> = walk
            .rows
            .iter()
            .flat_map(|&row| steps[row].iter().map(|step| step.0 as usize))
            .collect();
        let near = near.into_iter().filter_map(|row| values[row]);
        let course = Course::new(shape, walk.rows.len() as f64, near);
        let off = |place: usize, row: usize| {
            values[row].map_or(UNKNOWN, |value| course.off(place, value))
        };
        // Tracks that must not be at a place; each round adds at least one.
        let mut forbidden: HashSet<(usize, usize)> = HashSet::new();
        // The same limit of rounds as for the path itself.
        for _ in 0..64 {
            let cost = |place: usize, row: usize| {
                // Stops keep their places.
                let is_stop = stops.contains(&row) || stops.contains(&walk.rows[place]);
                let fits = if is_stop {
                    row == walk.rows[place]
                } else {
                    !forbidden.contains(&(place, row))
                };
                fits.then(|| off(place, row))
            };
            let Some(rows) = nearest_walk(&steps, walk.rows.len(), from, &cost) else {
                break;
            };
            let is_again = |place: usize| {
                let row = rows[place];
                let mut others =
                    (0..rows.len()).filter(|&other| other != place && is_copy(rows[other], row));
                others.any(|other| {
                    stops.contains(&rows[other])
                        || (off(other, rows[other]), other) < (off(place, row), place)
                })
            };
            let loose = (1..rows.len()).filter(|&place| !stops.contains(&rows[place]));
            let mut again: Vec<(usize, usize)> = loose
                .filter(|&place| is_again(place))
                .map(|place| (place, rows[place]))
                .collect();
            // Copies first, since removing them may reduce the number of tracks per artist.
            if again.is_empty() {
                let surplus = excess(&rows, &stops, meta, options.max_per_artist);
                let everywhere = |row| (1..rows.len()).map(move |place| (place, row));
                again.extend(surplus.into_iter().flat_map(everywhere));
            }
            if again.is_empty() {
                return Ok(walk_of(vectors, meta, &net, &stops, rows));
            }
            forbidden.extend(again);
        }
    }
    Err(ExploreError::NoPath {
        from,
        to,
        hint: "allow more tracks of one artist or fewer steps, or go without a curve",
    })
}

/// The path of this many tracks with the least sum of costs; `None` if there is none.
///
/// - `steps`: from each row
/// - `cost`: of a row at a place; `None`: forbidden
fn nearest_walk(
    steps: &[Vec<(u32, f32)>],
    tracks: usize,
    from: usize,
    cost: &dyn Fn(usize, usize) -> Option<f64>,
) -> Option<Vec<usize>> {
    let mut sums = vec![f64::INFINITY; steps.len()];
    sums[from] = 0.0;
    let mut came: Vec<Vec<u32>> = Vec::new();
    for place in 1..tracks {
        let mut next = vec![f64::INFINITY; steps.len()];
        let mut before = vec![u32::MAX; steps.len()];
        for row in (0..steps.len()).filter(|&row| sums[row].is_finite()) {
            for &(other, step) in &steps[row] {
                // A distance of 1 counts as one point, so that the smoother of two paths is chosen.
                let sum = sums[row] + f64::from(step);
                if sum < next[other as usize] {
                    next[other as usize] = sum;
                    before[other as usize] = row as u32;
                }
            }
        }
        for (row, sum) in next
            .iter_mut()
            .enumerate()
            .filter(|(_, sum)| sum.is_finite())
        {
            *sum += cost(place, row).unwrap_or(f64::INFINITY);
        }
        sums = next;
        came.push(before);
    }
    let last = (0..sums.len()).min_by(|&a, &b| sums[a].total_cmp(&sums[b]))?;
    if !sums[last].is_finite() {
        return None;
    }
    let mut rows = vec![last];
    for before in came.iter().rev() {
        rows.push(before[rows[rows.len() - 1]] as usize);
    }
    rows.reverse();
    Some(rows)
}
