//! Tracks that sound like seeds.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::list::TrackJson;
use super::lossy;
use crate::{Engine, EngineError, Seed, SimilarTrack, Standing};
use voisin_base::track::TrackId;
use voisin_library::Descriptors;

#[derive(Debug)]
pub struct SimilarAnswer {
    pub found: Vec<SimilarTrack>,
    pub measured: HashMap<TrackId, Descriptors>,
    pub standing: Option<Standing>,
}

impl SimilarAnswer {
    /// Adds the measurements of the tracks. Without a standing if only a part of the library is here.
    pub fn new(
        engine: &Engine,
        found: Vec<SimilarTrack>,
        standing: Option<Standing>,
    ) -> Result<Self, EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let measured = engine.library().descriptors(&ids)?;
        let similarities = found.iter().map(|found| found.similarity);
        let standing = standing.map(|standing| standing.beside(similarities));
        Ok(Self {
            found,
            measured,
            standing,
        })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SimilarJson {
    seeds: Vec<SeedJson>,
    #[serde(flatten)]
    far: FarJson,
    /// Nearest first.
    pub neighbours: Vec<NeighbourJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct FarJson {
    far: Option<bool>,
    note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SeedJson {
    pub(crate) id: Option<TrackId>,
    pub(crate) path: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct NeighbourJson {
    /// Its place, from 1.
    pub rank: usize,
    #[serde(flatten)]
    pub track: TrackJson,
    /// Cosine to the seeds' mean, -1 to 1.
    pub similarity: f32,
    /// Share of the library's tracks whose nearest by another artist is no nearer; null if the library is too small.
    pub percentile: Option<f64>,
    /// The percentile as a word: `same`, `close`, `related` or `far`.
    pub nearness: Option<String>,
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
    pub fn new(seeds: &[Seed], answer: &SimilarAnswer) -> Self {
        let standing = answer.standing.as_ref();
        let neighbours = answer
            .found
            .iter()
            .enumerate()
            .map(|(i, found)| NeighbourJson {
                rank: i + 1,
                track: TrackJson::new(&found.track, answer.measured.get(&found.track.id), None),
                similarity: found.similarity,
                percentile: standing
                    .and_then(|standing| standing.percentile(found.similarity))
                    // Percent within voisin, shares in JSON.
                    .map(|percent| f64::from(percent) / 100.0),
                nearness: standing
                    .and_then(|standing| standing.closeness(found.similarity))
                    .map(|nearness| nearness.to_string()),
            });
        Self {
            seeds: seeds.iter().map(SeedJson::new).collect(),
            far: FarJson::new(standing),
            neighbours: neighbours.collect(),
        }
    }
}
