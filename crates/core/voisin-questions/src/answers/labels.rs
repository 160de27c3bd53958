//! Genres given by hand, and where the other genres come from.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;
use voisin_base::track::TrackId;
use voisin_engine::TagResult;

/// The documented JSON of the server's `labels`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelsJson {
    /// `tags`, `folder`, or the path of a table: where genres come from that are not given by hand.
    pub source: String,
    /// Labels given by hand, however many are on the page.
    pub total: usize,
    /// Those of the page.
    pub by_hand: Vec<HandLabelJson>,
    /// Names the next page; null on the last one.
    pub next: Option<TrackId>,
}

/// A track and the genre that somebody gave to it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct HandLabelJson {
    /// The track.
    #[serde(flatten)]
    pub track: TrackRef,
    /// Its genre.
    pub genre: String,
}

/// How many labels were given or taken away.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelsChangedJson {
    /// Tracks whose label is another now.
    pub changed: u64,
}

/// A change of a label that was taken back.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelUndoneJson {
    /// Null where its track is no longer in the library.
    pub track: Option<TrackRef>,
    /// The label that was taken back.
    pub before: Option<String>,
    /// The label that holds again.
    pub after: Option<String>,
}

/// Counts of the files into which labels were to be written.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LabelsWrittenJson {
    /// `voisin undo RUN` takes it back; null where nothing was to be written.
    pub run: Option<i64>,
    /// The files.
    pub items: Vec<TagResult>,
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
    /// Lines of the CSV file that name no file of the library.
    pub unmatched: usize,
    /// The genres, commonest first.
    pub genres: Vec<GenreCountJson>,
}

/// A genre.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenreCountJson {
    /// Its name.
    pub genre: String,
    /// Its tracks.
    pub tracks: u64,
}
