//! What is far from everything, and why.

use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result, TrackMeta, WindowSource};
use crate::track::TrackId;

/// A track that does not belong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// How far it lies, in robust standard deviations above the median distance to neighbours.
    pub score: f32,
    /// Mean cosine similarity to its nearest neighbours.
    pub similarity: f32,
    /// Reasons in words, strongest first.
    pub reasons: Vec<String>,
}

/// Tracks whose score is above `threshold` (3.5 is usual), farthest first.
pub fn outliers(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    source: Option<&mut dyn WindowSource>,
    threshold: f32,
) -> Result<Vec<Outlier>> {
    let _ = (graph, meta, source, threshold);
    todo!()
}
