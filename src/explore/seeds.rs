//! Towards some tracks and away from others.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::track::TrackId;

/// A track found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Liked {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// Cosine similarity to the seeds' mean direction.
    pub towards: f32,
    /// Largest cosine similarity to a track to stay away from; −1 if there is none.
    pub away: f32,
    /// What the list is sorted by, descending.
    pub score: f32,
}

/// Tracks like `like` and unlike `unlike`, best first, the seeds themselves left out.
///
/// - `like`, `unlike`: row numbers
/// - `weight`: how strongly to stay away, 0 to 1 (0.5 is a good start)
pub fn like_unlike(
    ids: &[TrackId],
    vectors: ArrayView2<'_, f32>,
    like: &[usize],
    unlike: &[usize],
    weight: f32,
    limit: usize,
) -> Result<Vec<Liked>> {
    let _ = (ids, vectors, like, unlike, weight, limit);
    todo!()
}
