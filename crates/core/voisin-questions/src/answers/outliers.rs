//! Tracks far from all others.

use serde::Serialize;

use super::track::TrackRef;
use voisin_engine::Collection;
use voisin_explore::outliers::Outlier;

/// The documented JSON of `outliers`: a list of these.
#[derive(Serialize)]
pub struct OutlierJson {
    /// Which.
    #[serde(flatten)]
    pub track: TrackRef,
    score: f32,
    similarity: f32,
    reasons: Vec<String>,
}

impl OutlierJson {
    /// All of them, in the order found.
    pub fn list(collection: &Collection, found: &[Outlier]) -> Vec<Self> {
        let json = found.iter().map(|outlier| Self {
            track: TrackRef::of_meta(&collection.meta[outlier.row]),
            score: outlier.score,
            similarity: outlier.similarity,
            reasons: outlier.reasons.clone(),
        });
        json.collect()
    }
}
