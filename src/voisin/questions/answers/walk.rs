//! The path from one track to another.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::Hit;
use crate::{Engine, EngineError};
use voisin_explore::path::Walk;

/// The documented JSON of `path`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WalkJson {
    /// From one end to the other.
    pub tracks: Vec<Hit>,
    /// The largest distance from one track to the next.
    pub largest_step: f32,
}

impl WalkJson {
    pub(crate) fn new(engine: &Engine, walk: &Walk) -> Result<Self, EngineError> {
        let mut tracks = Hit::ranked(engine, walk.tracks.iter().copied())?;
        // A walk has one step fewer than tracks.
        for (hit, step) in tracks.iter_mut().skip(1).zip(&walk.steps) {
            hit.step = Some(*step);
        }
        Ok(Self {
            tracks,
            largest_step: walk.largest_step,
        })
    }
}
