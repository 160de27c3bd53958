//! A walk from one track to another in small steps.

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result, TrackMeta};
use crate::track::TrackId;

/// Conditions of a walk.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PathOptions {
    /// Rows to pass, in this order.
    pub via: Vec<usize>,
    /// Number of tracks of the whole walk, ends included; `None` lets the walk be as long as it needs.
    pub tracks: Option<usize>,
    /// At most this many tracks of one artist; ends and `via` are always kept.
    pub max_per_artist: Option<usize>,
}

/// A walk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    /// Its tracks, no two the same.
    pub tracks: Vec<TrackId>,
    /// Rows of the same.
    pub rows: Vec<usize>,
    /// Distance (1 − cosine) of each step: one fewer than tracks.
    pub steps: Vec<f32>,
    /// Largest step.
    pub largest_step: f32,
    /// The smallest possible largest step on the neighbour graph between the same ends and via points.
    pub bottleneck: f32,
}

/// Walks from row `from` to row `to`; the largest step is at most 1.5 × the smallest possible one unless
/// `tracks` or `max_per_artist` forbid it.
pub fn path(
    vectors: ArrayView2<'_, f32>,
    graph: &KnnGraph,
    meta: &[TrackMeta],
    from: usize,
    to: usize,
    options: &PathOptions,
) -> Result<Walk> {
    let _ = (vectors, graph, meta, from, to, options);
    todo!()
}
