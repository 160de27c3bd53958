//! Tracks far from all others.

use schemars::JsonSchema;
use serde::Serialize;

use super::list::{KnownTracks, TrackJson};
use voisin_engine::{Collection, Engine, EngineError};
use voisin_explore::outliers::Outlier;

/// The documented JSON of `outliers`: a list of these.
#[derive(Serialize, JsonSchema)]
pub struct OutlierJson {
    /// The track.
    #[serde(flatten)]
    pub track: TrackJson,
    /// Its distance from all others; larger is farther.
    score: f32,
    /// Similarity to its nearest track.
    similarity: f32,
    /// The reasons, in words.
    reasons: Vec<String>,
}

impl OutlierJson {
    /// All of them, in the order found.
    pub fn list(
        engine: &Engine,
        collection: &Collection,
        found: &[Outlier],
    ) -> Result<Vec<Self>, EngineError> {
        let meta = |outlier: &Outlier| &collection.meta[outlier.row];
        let known = KnownTracks::read(engine, found.iter().map(|outlier| meta(outlier).id))?;
        let json = found.iter().map(|outlier| Self {
            track: known.track(meta(outlier)),
            score: outlier.score,
            similarity: outlier.similarity,
            reasons: outlier.reasons.clone(),
        });
        Ok(json.collect())
    }
}
