//! Artists near an artist, from the distributions of their tracks.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{Result, TrackMeta};
use crate::track::TrackId;

/// An artist near another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearArtist {
    /// Name as most of the tracks spell it.
    pub artist: String,
    /// Number of tracks.
    pub tracks: usize,
    /// Similarity of the two distributions of tracks, at most 1; higher is nearer.
    pub similarity: f32,
    /// Cosine similarity of the mean directions, for comparison.
    pub mean_similarity: f32,
    /// The pairs of tracks (one of each artist) that make them near, nearest first, with their cosine.
    pub because: Vec<(TrackId, TrackId, f32)>,
}

/// An artist of the collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistSummary {
    /// Name as most of the tracks spell it.
    pub artist: String,
    /// Number of tracks.
    pub tracks: usize,
    /// The most typical track.
    pub medoid: TrackId,
    /// Mean cosine similarity of the tracks to their centre: 1 if they all sound the same.
    pub cohesion: f32,
    /// The nearest artist, if there is another.
    pub nearest: Option<(String, f32)>,
}

/// Artists nearest to `artist` (compared trimmed, in lower case).
pub fn near_artists(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    artist: &str,
    limit: usize,
) -> Result<Vec<NearArtist>> {
    let _ = (vectors, meta, artist, limit);
    todo!()
}

/// All artists, most tracks first.
pub fn artists(vectors: ArrayView2<'_, f32>, meta: &[TrackMeta]) -> Result<Vec<ArtistSummary>> {
    let _ = (vectors, meta);
    todo!()
}
