//! Labels that look wrong.

use std::collections::HashMap;

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
}

impl SuspectJson {
    /// All of them, in the order found.
    ///
    /// - `shown`: their tracks, for display
    pub fn list(
        shown: &HashMap<TrackId, TrackDisplay>,
        found: &[Suspect],
    ) -> impl Iterator<Item = Self> {
        found.iter().enumerate().filter_map(|(i, suspect)| {
            // A cached answer may have a track that was removed since.
            let facts = shown.get(&suspect.track)?;
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
