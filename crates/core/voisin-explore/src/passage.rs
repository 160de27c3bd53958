//! Search by a passage: finds similar places in tracks.

use std::collections::HashSet;

use ndarray::{Array2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::align::spacing;
use super::{ExploreError, Result, WindowSet, WindowSource};
use voisin_base::track::TrackId;

/// A place that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassageMatch {
    /// The track.
    pub track: TrackId,
    /// Start in seconds.
    pub from: f32,
    /// End in seconds.
    pub to: f32,
    /// Mean cosine similarity of aligned windows.
    pub similarity: f32,
    /// Number of the track's windows in the passage, as evidence.
    pub windows: usize,
    /// Seconds between windows of the track, by which the place may be off.
    pub spacing: f32,
}

/// Options of a search by a passage.
#[derive(Debug, Clone, Default)]
pub struct PlaceOptions {
    /// Most places per track, without overlaps; 0 means 1.
    pub places: usize,
    /// Number of first components of a window's vector that decide the place; 0: all. The other components may be of an
    /// earlier window.
    pub placing: usize,
    /// The track of the passage and its copies, in which the passage itself is not a result.
    pub query_tracks: HashSet<TrackId>,
    /// The place of the passage in them, in seconds.
    pub query_place: (f32, f32),
}

impl PlaceOptions {
    /// Excluded stretches of a track: from and to in seconds.
    pub fn excluded(&self, track: TrackId) -> Vec<(f32, f32)> {
        if self.query_tracks.contains(&track) {
            vec![self.query_place]
        } else {
            Vec::new()
        }
    }
}

/// The windows of a track that are completely in a passage; if there are none, the one nearest to its middle.
///
/// - `from`, `to`: seconds
/// - `window_seconds`: length of a window
pub fn cut(windows: &WindowSet, from: f32, to: f32, window_seconds: f32) -> Result<WindowSet> {
    if !(from.is_finite() && to.is_finite() && from >= 0.0 && from < to) {
        return Err(ExploreError::Parameter {
            name: "passage",
            found: format!("{from} s to {to} s"),
            expected: "a start before its end",
        });
    }
    if windows.is_empty() {
        return Err(ExploreError::TooFew {
            what: "a passage's windows",
            needed: 1,
            found: 0,
        });
    }
    // A thousandth of a second, for starts that are rounded to it.
    let within = |start: f32| start >= from - 1e-3 && start + window_seconds <= to + 1e-3;
    let mut kept: Vec<usize> = (0..windows.len())
        .filter(|&i| within(windows.starts[i]))
        .collect();
    if kept.is_empty() {
        // The start of a window around the passage's middle.
        let middle = f32::midpoint(from, to - window_seconds);
        let away = |i: usize| (windows.starts[i] - middle).abs();
        let nearest = (0..windows.len())
            .min_by(|&a, &b| away(a).total_cmp(&away(b)))
            .expect("it is not empty");
        if windows.starts[nearest] > to || windows.starts[nearest] + window_seconds < from {
            return Err(ExploreError::Parameter {
                name: "passage",
                found: format!("{from} s to {to} s"),
                expected: "a part of the track that has windows",
            });
        }
        kept.push(nearest);
    }
    Ok(WindowSet {
        starts: kept.iter().map(|&i| windows.starts[i]).collect(),
        vectors: windows.vectors.select(ndarray::Axis(0), &kept),
    })
}

/// Tracks whose windows are in memory at once.
const BATCH: usize = 1024;

/// The best places in each of `tracks`, best first.
///
/// The passage is aligned with each track at every position where one of its windows coincides with one of
/// the track's; the windows of the track that it then covers are compared with its nearest ones in time.
///
/// - `query`: windows of the passage; only the differences of their starts matter. With one per second (as the
///   encoder computes for a search) places are exact to a second, whatever the track's spacing.
/// - `window_seconds`: length of a window
/// - `source`: windows of the tracks; tracks without windows are left out
pub fn search(
    query: &WindowSet,
    window_seconds: f32,
    tracks: &[TrackId],
    source: &mut dyn WindowSource,
    options: &PlaceOptions,
    limit: usize,
) -> Result<Vec<PassageMatch>> {
    if query.is_empty() {
        return Err(ExploreError::TooFew {
            what: "a passage's windows",
            needed: 1,
            found: 0,
        });
    }
    let mut found = Vec::new();
    // Only the windows of one batch are in memory at a time.
    for batch in tracks.chunks(BATCH) {
        let loaded: Vec<(TrackId, WindowSet)> = batch
            .iter()
            .filter_map(|&track| {
                Some((
                    track,
                    source
                        .windows(track)
                        .filter(|windows| !windows.is_empty())?,
                ))
            })
            .collect();
        found.par_extend(loaded.par_iter().map(|(track, windows)| {
            best_passages(query, window_seconds, (*track, windows), options)
        }));
    }
    let found: Vec<Vec<PassageMatch>> = found.into_iter().collect::<Result<_>>()?;
    let mut found: Vec<PassageMatch> = found.into_iter().flatten().collect();
    found.sort_by(|a, b| {
        b.similarity
            .total_cmp(&a.similarity)
            .then(a.track.cmp(&b.track))
    });
    found.truncate(limit);
    Ok(found)
}

/// The best places for a passage in one track's windows, best first.
///
/// See [`search`]. There must be windows on both sides.
pub fn best_passages(
    query: &WindowSet,
    window_seconds: f32,
    (track, windows): (TrackId, &WindowSet),
    options: &PlaceOptions,
) -> Result<Vec<PassageMatch>> {
    for (what, set) in [
        ("a passage's windows", query),
        ("a track's windows", windows),
    ] {
        if set.is_empty() {
            return Err(ExploreError::TooFew {
                what,
                needed: 1,
                found: 0,
            });
        }
    }
    super::same_length(
        "window vectors",
        query.vectors.ncols(),
        windows.vectors.ncols(),
    )?;
    let products = query.vectors.dot(&windows.vectors.t());
    // The place is chosen by the components that differ in each window; the similarity uses all.
    let placing = match options.placing {
        0 => products.clone(),
        n => {
            let leading = s![.., ..n.min(query.vectors.ncols())];
            query
                .vectors
                .slice(leading)
                .dot(&windows.vectors.slice(leading).t())
        }
    };
    let mut taken = options.excluded(track);
    let first = query.starts[0];
    let length = query.starts[query.len() - 1] - first + window_seconds;
    let spacing = spacing(windows);
    let mut found = Vec::new();
    while found.len() < options.places.max(1) {
        // A place without overlap with a taken one.
        let is_free =
            |from: f32, to: f32| taken.iter().all(|&(begin, end)| to <= begin || from >= end);
        let Some((shift, similarity, count)) = best_place(
            query,
            window_seconds,
            windows,
            [&placing, &products],
            is_free,
        ) else {
            break;
        };
        let from = (first + shift).max(0.0);
        let to = from + length;
        taken.push((from, to));
        found.push(PassageMatch {
            track,
            from,
            to,
            similarity,
            windows: count,
            spacing,
        });
    }
    Ok(found)
}

/// Shifts nearer than this are equal, in seconds.
const SAME_PLACE: f32 = 0.05;

/// Shift of the passage, similarity there, and the number of the track's windows that it is measured on; `None` if no place is
/// free.
///
/// - `products`: of the passage's windows with the track's, for the components that decide the place, and for all
/// - `is_free`: whether the passage may be at a place
fn best_place(
    query: &WindowSet,
    window_seconds: f32,
    windows: &WindowSet,
    products: [&Array2<f32>; 2],
    is_free: impl Fn(f32, f32) -> bool,
) -> Option<(f32, f32, usize)> {
    // Half of the passage's spacing, within which every moment has a window.
    let reach = (spacing(query) / 2.0).max(0.05) + 1e-3;
    let begin = query.starts[0];
    let end = query.starts[query.len() - 1];
    let mut best = (0.0, 0.0, 0_usize);
    let mut most = f32::NEG_INFINITY;
    // It must be completely in the track, by the starts of the track's windows.
    let first = windows.starts[0];
    let last = windows.starts[windows.len() - 1];
    let inside = |shift: f32| {
        let is_in_track = begin + shift >= first - reach && end + shift <= last + reach;
        is_in_track && is_free(begin + shift, end + shift + window_seconds)
    };
    // The passage must cover as many windows as the track's spacing allows, less one at each end, or it could match
    // better on a single window.
    let spacing = spacing(windows).max(1e-3);
    let expected = (((end - begin) / spacing) as usize).clamp(1, windows.len());
    let needed = expected.saturating_sub(1).max(1);
    // All positions where a window of the passage coincides with one of the track.
    let meet = |j: usize| (0..query.len()).map(move |i| (j, i));
    let mut shifts: Vec<f32> = (0..windows.len())
        .flat_map(meet)
        .map(|(j, i)| windows.starts[j] - query.starts[i])
        .collect();
    shifts.sort_unstable_by(f32::total_cmp);
    // Windows of both sides are evenly spaced, so that most shifts coincide.
    shifts.dedup_by(|next, kept| *next - *kept < SAME_PLACE);
    for shift in shifts.into_iter().filter(|&shift| inside(shift)) {
        let low = windows
            .starts
            .partition_point(|&start| start < begin + shift - reach);
        let mut sums = [0.0; 2];
        let mut count = 0;
        let mut q = 0;
        for (w, &start) in windows.starts.iter().enumerate().skip(low) {
            let time = start - shift;
            if time > end + reach {
                break;
            }
            while q + 1 < query.len()
                && (query.starts[q + 1] - time).abs() <= (query.starts[q] - time).abs()
            {
                q += 1;
            }
            if (query.starts[q] - time).abs() <= reach {
                for (sum, products) in sums.iter_mut().zip(products) {
                    *sum += products[[q, w]];
                }
                count += 1;
            }
        }
        let [fit, similarity] = sums.map(|sum| sum / count as f32);
        if count >= needed && fit > most {
            most = fit;
            best = (shift, similarity, count);
        }
    }
    if best.2 == 0 {
        // If the track is shorter than the passage, its best window.
        for ((i, j), &fit) in products[0].indexed_iter() {
            let start = windows.starts[j];
            if fit > most && is_free(start, start + window_seconds) {
                most = fit;
                best = (start - query.starts[i], products[1][[i, j]], 1);
            }
        }
    }
    (best.2 > 0).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::super::testing::unit_vectors;
    use super::*;

    /// A track whose sound drifts, so that windows near in time are similar.
    fn drifting(seconds: usize, seed: u64, spacing: f32) -> WindowSet {
        let anchors = unit_vectors(seconds / 4 + 3, 24, seed);
        let n = (seconds as f32 / spacing) as usize;
        let starts: Vec<f32> = (0..n).map(|i| i as f32 * spacing).collect();
        let at = |t: f32| {
            let k = (t / 4.0) as usize;
            let f = t / 4.0 % 1.0;
            &anchors.row(k) * (1.0 - f) + &anchors.row(k + 1) * f
        };
        let mut vectors = Array2::zeros((n, 24));
        for (i, &t) in starts.iter().enumerate() {
            vectors.row_mut(i).assign(&at(t));
        }
        WindowSet::new(&starts, &vectors)
    }

    #[test]
    fn a_passage_finds_itself_within_a_second() {
        for (spacing, offset) in [(1.0, 0.0), (1.26, 0.4), (5.0, 0.3)] {
            let query =
                cut(&drifting(240, 9, 1.0), 65.0 + offset, 85.0 + offset, 1.0).expect("inside");
            let mut source = |track: TrackId| Some(drifting(240, track.0 as u64, spacing));
            let tracks: Vec<TrackId> = (0..20).map(TrackId).collect();
            let found = search(
                &query,
                1.0,
                &tracks,
                &mut source,
                &PlaceOptions::default(),
                5,
            )
            .expect("windows");
            assert_eq!(found[0].track, TrackId(9));
            let expected = query.starts[0];
            assert!(
                (found[0].from - expected).abs() < 1.0,
                "spacing {spacing}: {} for {expected}",
                found[0].from
            );
            assert!(found[0].similarity > 0.97 && found[1].similarity < 0.9);
        }
    }

    /// The end of a track is similar to a passage's beginning; the rest of the passage would be beyond the end.
    #[test]
    fn a_passage_is_found_whole_or_not_at_all() {
        let whole = drifting(60, 3, 1.0);
        let query = cut(&whole, 40.0, 60.0, 1.0).expect("inside");
        let mut beginning = drifting(50, 4, 1.0);
        for i in 0..5 {
            beginning
                .vectors
                .row_mut(45 + i)
                .assign(&query.vectors.row(i));
        }
        let found = best_passages(
            &query,
            1.0,
            (TrackId(0), &beginning),
            &PlaceOptions::default(),
        )
        .expect("windows");
        let [found] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(
            found.from >= 0.0 && found.to <= 50.5,
            "{} to {}",
            found.from,
            found.to
        );
        assert_eq!(found.windows, query.len());
    }

    #[test]
    fn a_passage_is_not_a_result_in_its_own_track() {
        // A chorus of 12 s at 20 s, and again at 100 and 160 s.
        let mut song = drifting(200, 5, 1.0);
        let chorus = song.vectors.slice(ndarray::s![20..32, ..]).to_owned();
        for at in [100, 160] {
            song.vectors
                .slice_mut(ndarray::s![at..at + 12, ..])
                .assign(&chorus);
        }
        let query = cut(&song, 20.0, 32.0, 1.0).expect("inside");
        let mut source = |track: TrackId| {
            Some(if track.0 == 1 {
                song.clone()
            } else {
                drifting(200, 8, 1.0)
            })
        };
        let tracks = [TrackId(1), TrackId(2)];
        let mut options = PlaceOptions {
            places: 1,
            query_tracks: HashSet::from([TrackId(1)]),
            query_place: (20.0, 32.0),
            ..PlaceOptions::default()
        };
        let found = search(&query, 1.0, &tracks, &mut source, &options, 10).expect("windows");
        assert_eq!(
            (found.len(), found[0].track, found[0].from),
            (2, TrackId(1), 100.0)
        );
        options.places = 3;
        let found = search(&query, 1.0, &tracks, &mut source, &options, 10).expect("windows");
        let places: Vec<&PassageMatch> = found
            .iter()
            .filter(|place| place.track == TrackId(1))
            .collect();
        assert_eq!(
            (places.len(), places[0].from, places[1].from),
            (3, 100.0, 160.0)
        );
        assert!(
            places[1].similarity > 0.99 && places[2].similarity < 0.9,
            "{places:?}"
        );
        assert!(places[2].to <= 20.0 || places[2].from >= 32.0, "{places:?}");
        // A track without room for another place has no result.
        options.query_place = (0.0, 200.0);
        let found = search(&query, 1.0, &tracks[..1], &mut source, &options, 10).expect("windows");
        assert!(found.is_empty(), "{found:?}");
    }

    /// After 24 components of each window there are 24 that change only every fourth window.
    #[test]
    fn components_of_earlier_windows_do_not_move_a_place() {
        let each = drifting(60, 6, 1.0);
        let fewer = drifting(60, 7, 1.0);
        let joined = |row_of: &dyn Fn(usize) -> usize| {
            let rows: Vec<usize> = (0..60).map(row_of).collect();
            let behind = fewer.vectors.select(ndarray::Axis(0), &rows);
            let both =
                ndarray::concatenate(ndarray::Axis(1), &[each.vectors.view(), behind.view()])
                    .expect("a row for each window");
            WindowSet::new(&each.starts, &both)
        };
        let query = cut(&joined(&|i| i), 21.0, 24.0, 1.0).expect("inside");
        let track = joined(&|i| i - i % 4);
        let place = |placing: usize| {
            let options = PlaceOptions {
                placing,
                ..PlaceOptions::default()
            };
            let found = best_passages(&query, 1.0, (TrackId(0), &track), &options);
            found.expect("windows")[0].clone()
        };
        assert_eq!(place(24).from, 21.0);
        assert!(place(0).from > 21.5, "{:?}", place(0));
        assert!(place(24).similarity < place(0).similarity);
    }

    #[test]
    fn cutting_keeps_whole_windows() {
        let windows = drifting(60, 1, 1.0);
        assert_eq!(
            cut(&windows, 10.0, 15.0, 1.0).expect("inside").starts,
            [10.0, 11.0, 12.0, 13.0, 14.0]
        );
        assert_eq!(cut(&windows, 10.2, 10.9, 1.0).expect("inside").len(), 1);
        assert!(cut(&windows, 300.0, 310.0, 1.0).is_err());
        assert!(cut(&windows, 10.0, 10.0, 1.0).is_err());
    }
}
