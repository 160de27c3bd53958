//! Genres given by hand, and where the other genres come from.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;

/// The documented JSON of the server's `labels`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelsJson {
    /// `tags`, `folder`, or the path of a table: the source of genres that are not given by hand.
    pub source: String,
    /// Labels given by hand, by the track's number.
    pub by_hand: Vec<HandLabelJson>,
}

/// A track and its label given by hand.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelJson {
    #[serde(flatten)]
    pub track: TrackRef,
    pub genre: String,
}

/// The documented JSON of `labels`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelSourceJson {
    /// `tags`, `folder`, or the path of a CSV file.
    pub source: String,
    /// Tracks of the library.
    pub tracks: u64,
    /// Tracks with a genre.
    pub labelled: u64,
    /// Labels given by hand.
    pub by_hand: u64,
    /// Lines of the CSV file without a file of the library.
    pub unmatched: usize,
    /// The genres, commonest first.
    pub genres: Vec<GenreCountJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct GenreCountJson {
    /// Its name.
    pub genre: String,
    pub tracks: u64,
}
