//! Labels that look wrong.

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use crate::TrackDisplay;
use voisin_base::track::TrackId;
use voisin_genre::{Genre, Suspect};

/// The documented JSON of `suspects`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SuspectJson {
    /// Its place, from 1.
    pub rank: usize,
    pub id: TrackId,
    /// Where its file is.
    pub path: String,
    pub artist: Option<String>,
    /// Its own genres.
    pub labels: Vec<Genre>,
    /// The predicted genre.
    pub suggested: Genre,
    /// The evidence against its label, 0 to 1.
    pub score: f32,
    /// Whether the suggestion is confident.
    pub confident: bool,
    /// Probability of its own label.
    pub label_probability: f32,
    pub suggested_probability: f32,
    /// The reason, in words.
    pub reason: String,
    #[serde(skip)]
    pub shown: TrackDisplay,
}

impl SuspectJson {
    pub(crate) fn new(rank: usize, found: Suspect, shown: TrackDisplay) -> Self {
        Self {
            rank,
            id: found.track,
            path: lossy(&shown.path),
            artist: shown.artist.clone(),
            labels: found.labels,
            suggested: found.suggested,
            score: found.score,
            confident: found.confident,
            label_probability: found.label_probability,
            suggested_probability: found.suggested_probability,
            reason: found.reason,
            shown,
        }
    }
}
