//! A list for an evening: near its seeds, not all of one artist, as alike or as varied as one likes.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{Result, TrackMeta};
use crate::track::TrackId;

mod formats;
pub use formats::{Format, PathStyle, write};

/// How long a list is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Length {
    /// Number of tracks.
    Tracks(usize),
    /// Total time in seconds; the list ends within one track of it.
    Seconds(f64),
}

/// What a list should be like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistOptions {
    /// How long.
    pub length: Length,
    /// At most this many tracks of one artist.
    pub max_per_artist: Option<usize>,
    /// 0: nearest to the seeds only; 1: spread as widely as the neighbourhood allows.
    pub diversity: f32,
    /// Shuffles with this seed; `None` orders by small steps.
    pub shuffle: Option<u64>,
    /// Whether the seeds themselves open the list.
    pub include_seeds: bool,
    /// Least similarity to the nearest seed.
    pub min_similarity: Option<f32>,
}

/// One entry of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// The seed it is there for, as position in `seeds`.
    pub seed: usize,
    /// Cosine similarity to that seed.
    pub similarity: f32,
}

/// Chooses tracks near `seeds`.
///
/// - `seeds`: row numbers; each gets the same share of the list
/// - `excluded`: rows never taken (duplicates, say)
pub fn playlist(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    seeds: &[usize],
    excluded: &dyn Fn(usize) -> bool,
    options: &PlaylistOptions,
) -> Result<Vec<Entry>> {
    let _ = (vectors, meta, seeds, excluded, options);
    todo!()
}
