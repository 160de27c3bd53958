//! What sounds like these tracks, or like this passage.

use serde::Serialize;

use super::lossy;
use voisin::{Passage, Seed, SimilarPassage, SimilarTrack, Standing};
use voisin_base::track::TrackId;

/// The documented JSON of `similar`.
#[derive(Debug, Serialize)]
pub struct SimilarJson {
    seeds: Vec<SeedJson>,
    #[serde(flatten)]
    far: FarJson,
    neighbours: Vec<NeighbourJson>,
}

/// Whether nothing is near.
#[derive(Debug, Serialize)]
pub struct FarJson {
    far: Option<bool>,
    note: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SeedJson {
    pub(crate) id: Option<TrackId>,
    pub(crate) path: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct NeighbourJson {
    rank: usize,
    id: TrackId,
    path: String,
    similarity: f32,
    percentile: Option<f64>,
    nearness: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity_to_unlike: Option<f32>,
    artist: Option<String>,
    title: Option<String>,
    genres: Vec<String>,
}

/// The documented JSON of a search by passage.
#[derive(Debug, Serialize)]
pub struct PassagesJson {
    seed: SeedJson,
    from: f64,
    to: f64,
    passages: Vec<PassageJson>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PassageJson {
    rank: usize,
    id: TrackId,
    path: String,
    from: f32,
    to: f32,
    similarity: f32,
    listened: bool,
    artist: Option<String>,
    title: Option<String>,
}

impl SeedJson {
    pub(crate) fn new(seed: &Seed) -> Self {
        Self { id: seed.track, path: lossy(&seed.path) }
    }
}

impl FarJson {
    /// As programs read it; of a library that is too small to tell, or of no question of similarity, nothing.
    pub fn new(standing: Option<&Standing>) -> Self {
        let note = standing.and_then(Standing::far);
        Self { far: standing.map(|_| note.is_some()), note }
    }
}

impl SimilarJson {
    /// As programs read it.
    pub fn new(seeds: &[Seed], neighbours: &[SimilarTrack], standing: Option<&Standing>) -> Self {
        let neighbours = neighbours.iter().enumerate().map(|(i, found)| NeighbourJson {
            rank: i + 1,
            id: found.track.id,
            path: lossy(&found.track.path),
            similarity: found.similarity,
            percentile: standing
                .and_then(|standing| standing.percentile(found.similarity))
                .map(|percent| f64::from(percent) / 100.0),
            nearness: standing
                .and_then(|standing| standing.closeness(found.similarity))
                .map(|nearness| nearness.to_string()),
            similarity_to_unlike: found.unlike,
            artist: found.track.tags.artist.clone(),
            title: found.track.tags.title.clone(),
            genres: found.genres.iter().map(ToString::to_string).collect(),
        });
        Self {
            seeds: seeds.iter().map(SeedJson::new).collect(),
            far: FarJson::new(standing),
            neighbours: neighbours.collect(),
        }
    }
}

impl PassagesJson {
    /// As programs read it.
    pub fn new(passage: &Passage, from: f64, to: f64, found: &[SimilarPassage]) -> Self {
        let passages = found.iter().enumerate().map(|(i, found)| PassageJson {
            rank: i + 1,
            id: found.track.id,
            path: lossy(&found.track.path),
            from: found.from,
            to: found.to,
            similarity: found.similarity,
            listened: found.listened,
            artist: found.track.tags.artist.clone(),
            title: found.track.tags.title.clone(),
        });
        Self { seed: SeedJson::new(&passage.seed), from, to, passages: passages.collect() }
    }
}
