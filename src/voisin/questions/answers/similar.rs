//! Tracks that sound like seeds.

use schemars::JsonSchema;
use serde::Serialize;

use super::list::TrackJson;
use super::lossy;
use super::track::Hit;
use crate::{Engine, EngineError, Seed, SimilarTrack, Standing};
use voisin_base::track::TrackId;

#[derive(Debug, Serialize, JsonSchema)]
pub struct SimilarJson {
    seeds: Vec<SeedJson>,
    #[serde(flatten)]
    pub far: FarJson,
    /// Nearest first.
    pub neighbours: Vec<Hit>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct FarJson {
    far: Option<bool>,
    pub note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SeedJson {
    pub(crate) id: Option<TrackId>,
    pub(crate) path: String,
}

impl SeedJson {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self {
            id: seed.track,
            path: lossy(&seed.path),
        }
    }
}

impl FarJson {
    /// The JSON of a standing; empty if there is none, as in a library that is too small.
    pub fn new(standing: Option<&Standing>) -> Self {
        let note = standing.and_then(Standing::far);
        Self {
            // Null means unknown, and false that a track is near.
            far: standing.map(|_| note.is_some()),
            note,
        }
    }
}

impl SimilarJson {
    /// - `standing`: `None` if only a part of the library is here
    pub fn new(
        engine: &Engine,
        seeds: &[Seed],
        found: &[SimilarTrack],
        standing: Option<Standing>,
    ) -> Result<Self, EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let measured = engine.library().descriptors(&ids)?;
        let similarities = found.iter().map(|found| found.similarity);
        let standing = standing.map(|standing| standing.beside(similarities));
        let standing = standing.as_ref();
        let neighbours = found.iter().zip(1..).map(|(found, rank)| {
            let similarity = found.similarity;
            let percentile = standing.and_then(|standing| standing.percentile(similarity));
            let nearness = standing.and_then(|standing| standing.closeness(similarity));
            Hit {
                rank,
                track: TrackJson::new(&found.track, measured.get(&found.track.id), None),
                similarity: Some(similarity),
                // Percent within voisin, shares in JSON.
                percentile: percentile.map(|percent| f64::from(percent) / 100.0),
                nearness: nearness.map(|nearness| nearness.to_string()),
                ..Hit::default()
            }
        });
        Ok(Self {
            seeds: seeds.iter().map(SeedJson::new).collect(),
            far: FarJson::new(standing),
            neighbours: neighbours.collect(),
        })
    }
}
