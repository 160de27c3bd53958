//! Paths from stop to stop, with a given number of tracks and limits per artist.

use std::collections::HashSet;

use ndarray::ArrayView2;

use super::steps::WalkSteps;
use super::{SLACK, distance};
use crate::{ExploreError, NameLimit, Result, TrackMeta};

/// Rows beyond the limit per artist, later ones first; stops stay.
pub(super) fn excess(
    rows: &[usize],
    stops: &[usize],
    meta: &[TrackMeta],
    cap: Option<usize>,
) -> Vec<usize> {
    let Some(cap) = cap else { return Vec::new() };
    let mut artists = NameLimit::new(Some(cap));
    stops
        .iter()
        .for_each(|&row| artists.take(meta[row].artist_keys()));
    let mut exceeds = |row: &usize| {
        let names = meta[*row].artist_keys();
        let exceeds = !artists.has_room(&names);
        artists.take(names);
        exceeds
    };
    rows.iter()
        .filter(|row| !stops.contains(row))
        .copied()
        .filter(|row| exceeds(row))
        .collect()
}

impl WalkSteps {
    /// Finds the path leg by leg, without repeated tracks, within `limit` and `hops` steps in total; for a leg without such a
    /// path, its bottleneck is the limit.
    pub(super) fn through(
        &self,
        stops: &[usize],
        limit: f32,
        hops: Option<usize>,
        banned: &HashSet<usize>,
    ) -> Result<Vec<usize>> {
        // Tolerance for rounding, because the smallest possible step must be within the limit.
        let limit = limit * (1.0 + 1e-6);
        let closed = |number: usize, rows: &[usize]| -> HashSet<usize> {
            // Without the stops of other legs, or a path would have them twice.
            let others = stops[..number].iter().chain(&stops[number + 2..]);
            banned.iter().chain(rows).chain(others).copied().collect()
        };
        let needed: Vec<usize> = stops
            .windows(2)
            .enumerate()
            .map(|(number, leg)| {
                self.fewest(leg[0], leg[1], limit, &closed(number, &[]))
                    .unwrap_or(1)
            })
            .collect();
        // Steps that one leg does not need are available to later ones.
        let mut spare = hops.map(|hops| hops.saturating_sub(needed.iter().sum()));
        let mut rows = vec![stops[0]];
        for (number, leg) in stops.windows(2).enumerate() {
            let closed = closed(number, &rows);
            let way = match &mut spare {
                None => self.shortest(leg[0], leg[1], limit, &closed),
                Some(spare) => {
                    let way = self.shortest_within(
                        (leg[0], leg[1]),
                        limit,
                        needed[number] + *spare,
                        &closed,
                    );
                    if let Some(way) = &way {
                        *spare -= (way.len() - 1).saturating_sub(needed[number]);
                    }
                    way
                }
            };
            let way = way.or_else(|| {
                let least = self.bottleneck(leg[0], leg[1], &closed);
                least
                    .is_finite()
                    .then(|| self.shortest(leg[0], leg[1], least * SLACK, &closed))
                    .flatten()
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

    /// Adapts a path to a number of tracks: removes tracks where the step grows least, or inserts tracks where the
    /// step is largest.
    #[allow(clippy::too_many_arguments, reason = "the conditions of one walk")]
    pub(super) fn fit_length(
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
            // Ends and stops stay.
            let loose = (1..rows.len() - 1).filter(|&i| !stops.contains(&rows[i]));
            let Some(least) = loose.min_by(|&a, &b| cost(a).total_cmp(&cost(b))) else {
                break;
            };
            rows.remove(least);
        }
        while rows.len() < tracks {
            let taken: HashSet<usize> = rows.iter().copied().collect();
            let mut gaps: Vec<usize> = (1..rows.len()).collect();
            let width = |i: usize| distance(vectors, rows[i - 1], rows[i]);
            gaps.sort_by(|&a, &b| width(b).total_cmp(&width(a)).then(a.cmp(&b)));
            let between = |i: usize| {
                let a = rows[i - 1];
                let b = rows[i];
                let around = |row: usize| self.links[row].iter().map(|link| link.0 as usize);
                around(a)
                    .chain(around(b))
                    .filter(|row| !taken.contains(row) && !banned.contains(row))
                    .filter(|&row| {
                        let mut longer = rows.clone();
                        longer.insert(i, row);
                        excess(&longer, stops, meta, cap).is_empty()
                    })
                    .map(|row| {
                        (
                            distance(vectors, a, row).max(distance(vectors, row, b)),
                            row,
                        )
                    })
                    .min_by(|x, y| x.0.total_cmp(&y.0).then(x.1.cmp(&y.1)))
                    .map(|(step, row)| (step, i, row))
            };
            // The largest gap that an inserted track does not enlarge, or else the least enlargement.
            let found = gaps
                .iter()
                .find_map(|&i| between(i).filter(|found| found.0 <= width(i)))
                .or_else(|| {
                    gaps.iter()
                        .filter_map(|&i| between(i))
                        .min_by(|x, y| x.0.total_cmp(&y.0))
                });
            let Some((_, i, row)) = found else { break };
            rows.insert(i, row);
        }
        rows
    }
}
