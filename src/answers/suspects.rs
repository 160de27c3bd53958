//! Labels that look wrong.

use serde::Serialize;

use super::lossy;
use crate::engine::LabelledTracks;
use crate::genre::{Genre, Suspect};
use crate::track::TrackId;

/// The documented JSON of `suspects`: a list of these.
#[derive(Debug, Serialize)]
pub(crate) struct SuspectJson {
    pub(crate) rank: usize,
    pub(crate) id: TrackId,
    pub(crate) path: String,
    pub(crate) artist: Option<String>,
    pub(crate) labels: Vec<Genre>,
    pub(crate) suggested: Genre,
    pub(crate) score: f32,
    pub(crate) confident: bool,
    pub(crate) label_probability: f32,
    pub(crate) suggested_probability: f32,
    pub(crate) reason: String,
}

impl SuspectJson {
    pub(crate) fn list(tracks: &LabelledTracks, found: &[Suspect]) -> impl Iterator<Item = Self> {
        found.iter().enumerate().filter_map(|(i, suspect)| {
            let facts = &tracks.facts[tracks.row(suspect.track)?];
            Some(Self {
                rank: i + 1,
                id: suspect.track,
                path: lossy(&facts.path),
                artist: facts.artist.clone(),
                labels: suspect.labels.clone(),
                suggested: suspect.suggested.clone(),
                score: suspect.score,
                confident: suspect.confident,
                label_probability: suspect.label_probability,
                suggested_probability: suspect.suggested_probability,
                reason: suspect.reason.clone(),
            })
        })
    }
}
