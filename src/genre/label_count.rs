//! Counts of labels, and the minimum for a classification.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Genre;
use voisin_base::text::count;

/// The fewest labelled tracks for a classification, of [`LEAST_GENRES`] genres: with two tracks of
/// each of two genres, both remain when one track is left out to be classified.
pub const LEAST_TRACKS: usize = 4;

/// The fewest genres for a classification.
pub const LEAST_GENRES: usize = 2;

/// Tracks from which a genre is well known: it is part of a trained head by default, and at least
/// [`LEAST_GENRES`] such genres are required to write genres into files.
pub const WELL_KNOWN: usize = 8;

/// Numbers of labelled tracks and of their genres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    pub tracks: usize,
    pub genres: usize,
    /// Genres of at least [`WELL_KNOWN`] tracks.
    pub well_known: usize,
}

impl LabelCount {
    /// Counts the genres of tracks; a track with several counts for each.
    pub fn of<'a>(labels: impl IntoIterator<Item = impl IntoIterator<Item = &'a Genre>>) -> Self {
        let mut tracks = 0;
        let mut tracks_by_genre: BTreeMap<&Genre, usize> = BTreeMap::new();
        for genres in labels {
            // Two spellings of one genre on a track count once.
            let distinct: BTreeSet<&Genre> = genres.into_iter().collect();
            tracks += usize::from(!distinct.is_empty());
            for genre in distinct {
                *tracks_by_genre.entry(genre).or_default() += 1;
            }
        }
        let well_known = tracks_by_genre
            .values()
            .filter(|&&tracks| tracks >= WELL_KNOWN)
            .count();
        Self {
            tracks,
            genres: tracks_by_genre.len(),
            well_known,
        }
    }

    pub fn is_enough(self) -> bool {
        self.tracks >= LEAST_TRACKS && self.genres >= LEAST_GENRES
    }

    pub fn is_enough_to_write(self) -> bool {
        self.well_known >= LEAST_GENRES
    }

    /// The number found and the number needed, as text.
    pub fn shortage(self) -> String {
        format!("found {self}, expected at least {LEAST_TRACKS} of {LEAST_GENRES} genres")
    }
}

impl std::fmt::Display for LabelCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.tracks == 0 {
            return f.write_str("no labelled track");
        }
        let tracks = count(self.tracks as u64, "labelled track");
        let genres = count(self.genres as u64, "genre");
        write!(f, "{tracks} of {genres}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(tracks: &[&[&str]]) -> LabelCount {
        let labels: Vec<Vec<Genre>> = tracks
            .iter()
            .map(|names| names.iter().map(|name| Genre::plain(name)).collect())
            .collect();
        LabelCount::of(&labels)
    }

    #[test]
    fn labels_are_counted_by_track_and_by_genre() {
        let found = count_of(&[&["Jazz", "Bebop"], &[], &["jazz"], &["Rock"]]);
        assert_eq!(
            found,
            LabelCount {
                tracks: 3,
                genres: 3,
                well_known: 0
            }
        );
        assert_eq!(found.to_string(), "3 labelled tracks of 3 genres");
        assert_eq!(
            count_of(&[&["Jazz"], &[]]).to_string(),
            "1 labelled track of 1 genre"
        );
        assert_eq!(count_of(&[&[]]).to_string(), "no labelled track");
    }

    #[test]
    fn a_classification_needs_four_tracks_of_two_genres() {
        assert!(!count_of(&[&["A"], &["A"], &["B"]]).is_enough());
        assert!(count_of(&[&["A"], &["A"], &["B"], &["B"]]).is_enough());
        assert!(
            !count_of(&[&["A"][..]; 50]).is_enough(),
            "one genre is no choice"
        );
    }

    #[test]
    fn writing_genres_needs_two_genres_of_eight_tracks() {
        let many = |a: usize, b: usize| {
            let labels: Vec<&[&str]> = [vec![&["A"][..]; a], vec![&["B"][..]; b]].concat();
            count_of(&labels)
        };
        assert!(many(8, 8).is_enough_to_write());
        assert!(!many(8, 7).is_enough_to_write());
        assert!(
            !many(500, 1).is_enough_to_write(),
            "one genre outweighs the other"
        );
    }
}
