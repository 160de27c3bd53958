//! Search by a passage: where in each track does something like it sound?

use serde::{Deserialize, Serialize};

use super::{Result, WindowSet, WindowSource};
use crate::track::TrackId;

/// A passage found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassageMatch {
    /// The track.
    pub track: TrackId,
    /// Start in seconds.
    pub from: f32,
    /// End in seconds.
    pub to: f32,
    /// Mean cosine similarity of the aligned windows.
    pub similarity: f32,
}

/// Cuts the windows that lie in a passage out of a track's.
///
/// - `from`, `to`: seconds
/// - `window_seconds`: length of a window
pub fn cut(windows: &WindowSet, from: f32, to: f32, window_seconds: f32) -> Result<WindowSet> {
    let _ = (windows, from, to, window_seconds);
    todo!()
}

/// The best place in each of `tracks`, best track first.
///
/// - `query`: windows of the passage, starts in seconds (their differences matter)
/// - `source`: windows of the tracks to look at
pub fn search(
    query: &WindowSet,
    window_seconds: f32,
    tracks: &[TrackId],
    source: &mut dyn WindowSource,
    limit: usize,
) -> Result<Vec<PassageMatch>> {
    let _ = (query, window_seconds, tracks, source, limit);
    todo!()
}
