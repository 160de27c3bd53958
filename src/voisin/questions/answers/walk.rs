//! The path from one track to another.

use schemars::JsonSchema;
use serde::Serialize;

use super::list::{KnownTracks, TrackJson};
use crate::{Collection, Engine, EngineError};
use voisin_explore::path::Walk;

/// The documented JSON of `path`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WalkJson {
    /// From one end to the other.
    pub tracks: Vec<StepJson>,
    /// The largest distance from one track to the next.
    pub largest_step: f32,
}

/// A track of the path.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StepJson {
    #[serde(flatten)]
    pub track: TrackJson,
    /// Distance (1 - cosine) from the previous track.
    pub step: Option<f32>,
}

impl WalkJson {
    /// As programs read it.
    pub fn new(engine: &Engine, collection: &Collection, walk: &Walk) -> Result<Self, EngineError> {
        let rows = || walk.rows.iter().map(|&row| &collection.meta[row]);
        let known = KnownTracks::read(engine, rows().map(|track| track.id))?;
        // A walk has one step fewer than tracks.
        let step = |i: usize| (i > 0).then(|| walk.steps[i - 1]);
        let tracks = rows().enumerate().map(|(i, track)| StepJson {
            track: known.track(track),
            step: step(i),
        });
        Ok(Self {
            tracks: tracks.collect(),
            largest_step: walk.largest_step,
        })
    }
}
