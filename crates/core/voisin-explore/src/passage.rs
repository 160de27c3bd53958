//! Search by a passage: where in each track does something like it sound?

use std::collections::HashSet;

use ndarray::{Array2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::align::spacing;
use super::{ExploreError, Result, WindowSet, WindowSource};
use voisin_base::track::TrackId;

/// A passage found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassageMatch {
    /// The track.
    pub track: TrackId,
    /// Start in seconds.
    pub from: f32,
    /// End in seconds.
    pub to: f32,
    /// Mean cosine similarity of the windows laid over each other.
    pub similarity: f32,
    /// Windows of the track that lie in the passage: one is weaker evidence than ten.
    pub windows: usize,
    /// Seconds from one window of the track to the next: the place may be off by as much.
    pub spacing: f32,
}

/// Where a passage is searched for.
#[derive(Debug, Clone, Default)]
pub struct PlaceOptions {
    /// Places of each track at most, none of which overlap; 0 is 1.
    pub places: usize,
    /// Numbers of a window's vector, from the first, that decide where in a track a passage lies; 0 is all. Those behind them
    /// may be of the window before.
    pub placing: usize,
    /// Tracks that the passage is from, or a copy of that: where it is itself is no answer.
    pub own: HashSet<TrackId>,
    /// Where that is, in seconds.
    pub itself: (f32, f32),
}

impl PlaceOptions {
    /// Stretches of a track that are no answer: from and to in seconds.
    pub fn taken(&self, track: TrackId) -> Vec<(f32, f32)> {
        if self.own.contains(&track) {
            vec![self.itself]
        } else {
            Vec::new()
        }
    }
}

/// Cuts the windows that lie wholly in a passage out of a track's; if none does, the one nearest to its middle.
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
        // Where a window would have to start to lie around the passage's middle.
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

/// Tracks whose windows are held at once.
const BATCH: usize = 1024;

/// The best places in each of `tracks`, best first.
///
/// The passage is laid over each track wherever one of its windows meets one of the track's; the windows of
/// the track that it then covers are compared with its own nearest in time.
///
/// - `query`: windows of the passage; only the differences of their starts matter. One a second (as the
///   encoder makes for a search) finds itself within a second whatever the track's own spacing.
/// - `window_seconds`: length of a window
/// - `source`: windows of the tracks to look at; tracks without windows are left out
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
    // only the windows of one batch are in memory at a time
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

/// The places in one track's windows that a passage fits best, best first.
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
    // The place is chosen by the numbers that are of the window itself; the similarity is of all.
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
    let mut taken = options.taken(track);
    let first = query.starts[0];
    let length = query.starts[query.len() - 1] - first + window_seconds;
    let spacing = spacing(windows);
    let mut found = Vec::new();
    while found.len() < options.places.max(1) {
        // A place that overlaps none that is taken.
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

/// Places nearer than this are one, in seconds.
const SAME_PLACE: f32 = 0.05;

/// Shift of the passage, similarity there, and how many of the track's windows it was measured on; `None` where no place is
/// free.
///
/// - `products`: of the passage's windows with the track's, as far as they decide the place, and whole
/// - `is_free`: whether the passage may lie from here to there
fn best_place(
    query: &WindowSet,
    window_seconds: f32,
    windows: &WindowSet,
    products: [&Array2<f32>; 2],
    is_free: impl Fn(f32, f32) -> bool,
) -> Option<(f32, f32, usize)> {
    // Half of the passage's spacing: within it, every moment has a window this near.
    let reach = (spacing(query) / 2.0).max(0.05) + 1e-3;
    let begin = query.starts[0];
    let end = query.starts[query.len() - 1];
    let mut best = (0.0, 0.0, 0_usize);
    let mut most = f32::NEG_INFINITY;
    // it must lie wholly in the track, by the starts of the track's windows
    let first = windows.starts[0];
    let last = windows.starts[windows.len() - 1];
    let inside = |shift: f32| {
        let is_in_track = begin + shift >= first - reach && end + shift <= last + reach;
        is_in_track && is_free(begin + shift, end + shift + window_seconds)
    };
    // A passage cannot match better on one window than on many just because the others are left out: it must
    // cover as many windows as the track's spacing allows, less one at each end.
    let spacing = spacing(windows).max(1e-3);
    let expected = (((end - begin) / spacing) as usize).clamp(1, windows.len());
    let needed = expected.saturating_sub(1).max(1);
    // Wherever a window of the passage meets one of the track.
    let meet = |j: usize| (0..query.len()).map(move |i| (j, i));
    let mut shifts: Vec<f32> = (0..windows.len())
        .flat_map(meet)
        .map(|(j, i)| windows.starts[j] - query.starts[i])
        .collect();
    shifts.sort_unstable_by(f32::total_cmp);
    // windows of both sides are evenly spaced, so most shifts coincide
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
        // The track is shorter than the passage: its best window.
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

    /// A track whose sound drifts: windows near in time are alike.
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

    /// The end of a track is like a passage's beginning; the rest of the passage would lie behind the track's end.
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
    fn a_passage_finds_its_like_in_its_own_track_and_not_itself() {
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
            own: HashSet::from([TrackId(1)]),
            itself: (20.0, 32.0),
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
        // A track without room for another place answers nothing.
        options.itself = (0.0, 200.0);
        let found = search(&query, 1.0, &tracks[..1], &mut source, &options, 10).expect("windows");
        assert!(found.is_empty(), "{found:?}");
    }

    /// Behind 24 numbers of each window stand 24 that every fourth one has of its own.
    #[test]
    fn numbers_of_a_window_before_do_not_move_a_place() {
        let each = drifting(60, 6, 1.0);
        let fewer = drifting(60, 7, 1.0);
        let joined = |heard: &dyn Fn(usize) -> usize| {
            let rows: Vec<usize> = (0..60).map(heard).collect();
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
    fn cutting_takes_whole_windows() {
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
