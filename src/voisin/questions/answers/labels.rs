//! Genres given by hand, and where the other genres come from.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;

#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelsJson {
    /// `tags`, `folder`, or the path of a table: the source of genres that are not given by hand.
    pub source: String,
    /// Labels given by hand, by the track's number.
    pub by_hand: Vec<HandLabelJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelJson {
    #[serde(flatten)]
    pub track: TrackRef,
    pub genre: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelSourceJson {
    /// `tags`, `folder`, or the path of a CSV file.
    pub source: String,
    pub tracks: u64,
    pub labelled: u64,
    pub by_hand: u64,
    /// Lines of the CSV file without a file of the library.
    pub unmatched: usize,
    pub genres: Vec<GenreCountJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct GenreCountJson {
    pub genre: String,
    pub tracks: u64,
}
