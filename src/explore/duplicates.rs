//! The same recording in another file.

use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result, TrackMeta, WindowSource};
use crate::track::TrackId;

/// Thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateOptions {
    /// Pairs of tracks below this cosine are not looked at.
    pub candidate_similarity: f32,
    /// Least mean cosine of windows aligned in time.
    pub window_similarity: f32,
    /// Least share of the shorter track that must be covered, 0 to 1.
    pub coverage: f32,
    /// Length of a window in seconds.
    pub window_seconds: f32,
}

/// Two files of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicatePair {
    /// One track.
    pub a: TrackId,
    /// The other.
    pub b: TrackId,
    /// Mean cosine similarity of aligned windows.
    pub similarity: f32,
    /// Seconds by which `b` is late: time t of `a` sounds at t + offset in `b`.
    pub offset: f32,
    /// Share of the shorter track's windows that have a partner.
    pub coverage: f32,
}

/// Files of one recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicateGroup {
    /// The file to keep.
    pub best: TrackId,
    /// Why it is better than the second best.
    pub reason: String,
    /// The others.
    pub others: Vec<TrackId>,
    /// Bytes to be won by deleting the others. Nothing is ever deleted here.
    pub bytes: u64,
    /// The pairs that join the group.
    pub pairs: Vec<DuplicatePair>,
}

/// Groups files of the same recording.
pub fn duplicates(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    source: &mut dyn WindowSource,
    options: &DuplicateOptions,
) -> Result<Vec<DuplicateGroup>> {
    let _ = (graph, meta, source, options);
    todo!()
}
