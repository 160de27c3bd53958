//! Candidates for a list, and the list under construction.

use std::collections::HashSet;

use ndarray::ArrayView2;

use super::{Entry, Length, PlaylistOptions, USUAL_SECONDS};
use crate::{NameLimit, TrackMeta};

/// A list under construction, with its limits.
pub(super) struct PlaylistBuilder<'a> {
    meta: &'a [TrackMeta],
    options: &'a PlaylistOptions,
    pub(super) entries: Vec<Entry>,
    seconds: f64,
    taken: HashSet<usize>,
    artists: NameLimit,
    albums: NameLimit,
}

impl<'a> PlaylistBuilder<'a> {
    pub(super) fn new(meta: &'a [TrackMeta], options: &'a PlaylistOptions) -> Self {
        Self {
            meta,
            options,
            entries: Vec::new(),
            seconds: 0.0,
            taken: HashSet::new(),
            artists: NameLimit::new(options.max_per_artist),
            albums: NameLimit::new(options.max_per_album),
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        match self.options.length {
            Length::Tracks(tracks) => self.entries.len() < tracks,
            Length::Seconds(seconds) => self.seconds < seconds,
        }
    }

    fn admits(&self, row: usize) -> bool {
        !self.taken.contains(&row)
            && self.artists.has_room(&self.meta[row].artist_keys())
            && self.albums.has_room(&self.albums_of(row))
    }

    /// The album of a track, if albums are limited.
    fn albums_of(&self, row: usize) -> Vec<String> {
        let is_counted = self.options.max_per_album.is_some();
        let album = is_counted.then(|| self.meta[row].album_key());
        album.flatten().into_iter().collect()
    }

    /// Adds a track; `false` if the list is nearer to the requested length without it.
    pub(super) fn push(&mut self, row: usize, seed: usize, similarity: f32) -> bool {
        let track = &self.meta[row];
        let seconds = if track.seconds > 0.0 {
            track.seconds
        } else {
            USUAL_SECONDS
        };
        if let Length::Seconds(wanted) = self.options.length
            && !self.entries.is_empty()
            // With it the list would be off by more than without it.
            && self.seconds + seconds - wanted > wanted - self.seconds
        {
            return false;
        }
        self.seconds += seconds;
        self.taken.insert(row);
        self.artists.take(track.artist_keys());
        self.albums.take(self.albums_of(row));
        self.entries.push(Entry {
            track: track.id,
            row,
            seed,
            similarity,
        });
        true
    }
}

/// Candidates of one seed.
pub(super) struct CandidatePool {
    pub(super) seed: usize,
    /// Row and similarity to the seed, nearest first.
    candidates: Vec<(usize, f32)>,
    /// Number of candidates considered so far.
    seen: usize,
    /// Those of them that the list admits.
    near: Vec<PlaylistCandidate>,
}

/// A candidate for the next track.
pub(super) struct PlaylistCandidate {
    row: usize,
    similarity: f32,
    /// Largest similarity to the first `compared` entries of the list.
    repeated: f32,
    compared: usize,
}

impl CandidatePool {
    /// - `wanted`: least similarity to the seed
    pub(super) fn new(
        vectors: ArrayView2<'_, f32>,
        seed: usize,
        wanted: f32,
        usable: impl Fn(usize) -> bool,
    ) -> Self {
        let similarities = vectors.dot(&vectors.row(seed));
        let mut candidates: Vec<(usize, f32)> = similarities
            .iter()
            .enumerate()
            .filter(|&(row, &s)| s >= wanted && usable(row))
            .map(|(row, &s)| (row, s))
            .collect();
        candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Self {
            seed,
            candidates,
            seen: 0,
            near: Vec::new(),
        }
    }

    /// One of the best of the `reach` nearest candidates that the list admits; farther ones replace those that
    /// are taken. A candidate that the list refuses is dropped, since it would be refused
    /// again.
    ///
    /// - `opening`: number of first entries that candidates are not compared with
    /// - `draw`: which of so many to take, by place, the best at 0
    pub(super) fn take(
        &mut self,
        vectors: ArrayView2<'_, f32>,
        list: &PlaylistBuilder<'_>,
        opening: usize,
        reach: usize,
        draw: impl FnOnce(usize) -> usize,
    ) -> Option<(usize, f32)> {
        self.near.retain(|candidate| list.admits(candidate.row));
        while let Some(&(row, similarity)) = self
            .candidates
            .get(self.seen)
            .filter(|_| self.near.len() < reach)
        {
            self.seen += 1;
            if list.admits(row) {
                let repeated = f32::NEG_INFINITY;
                self.near.push(PlaylistCandidate {
                    row,
                    similarity,
                    repeated,
                    compared: opening,
                });
            }
        }
        let diversity = list.options.diversity;
        if diversity > 0.0 {
            for candidate in &mut self.near {
                // Only entries that were added meanwhile; the largest similarity to the others is
                // known.
                for entry in &list.entries[candidate.compared..] {
                    let similarity = vectors.row(candidate.row).dot(&vectors.row(entry.row));
                    candidate.repeated = candidate.repeated.max(similarity);
                }
                candidate.compared = list.entries.len();
            }
        }
        let score = |candidate: &PlaylistCandidate| {
            // Without entries only nearness to the seed counts.
            let repeated = if candidate.repeated.is_finite() {
                candidate.repeated
            } else {
                0.0
            };
            (1.0 - diversity) * candidate.similarity - diversity * repeated
        };
        let mut best: Vec<&PlaylistCandidate> = self.near.iter().collect();
        // Stable, so that of equals the nearest comes first.
        best.sort_by(|a, b| score(b).total_cmp(&score(a)));
        let taken = best.get(draw(best.len()))?;
        Some((taken.row, taken.similarity))
    }
}
