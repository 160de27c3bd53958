//! What sounds like these tracks, or like this passage.

use serde::Serialize;

use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::{Passage, Seed, SimilarPassage, SimilarTrack, Standing, Steered, SteeredWord};

/// The answer, how near it is for this library, and by how much it was moved.
#[derive(Debug)]
pub struct SimilarAnswer {
    /// Nearest first, unless another order is asked for.
    pub found: Vec<SimilarTrack>,
    /// What the similarities come to.
    pub standing: Option<Standing>,
    /// What more of this and less of that came to, if it was asked for.
    pub steered: Option<Steered>,
}

impl SimilarAnswer {
    /// An answer of a library whose part that is known here does not tell what similarities come to.
    pub(crate) fn of_part(found: Vec<SimilarTrack>) -> Self {
        Self {
            found,
            standing: None,
            steered: None,
        }
    }
}

/// The documented JSON of `similar`.
#[derive(Debug, Serialize)]
pub struct SimilarJson {
    seeds: Vec<SeedJson>,
    #[serde(flatten)]
    far: FarJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    steered: Option<SteeredJson>,
    neighbours: Vec<NeighbourJson>,
}

/// What more of one thing and less of another came to.
#[derive(Debug, Serialize)]
pub(crate) struct SteeredJson {
    note: String,
    similarity: f32,
    unmoved_similarity: f32,
    words: Vec<SteeredWordJson>,
}

#[derive(Debug, Serialize)]
pub(crate) struct SteeredWordJson {
    word: String,
    less: bool,
    unmoved_percentile: f32,
    percentile: f32,
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
        Self {
            id: seed.track,
            path: lossy(&seed.path),
        }
    }
}

impl FarJson {
    /// As programs read it; of a library that is too small to tell, or of no question of similarity, nothing.
    pub fn new(standing: Option<&Standing>) -> Self {
        let note = standing.and_then(Standing::far);
        Self {
            far: standing.map(|_| note.is_some()),
            note,
        }
    }
}

impl SimilarJson {
    /// As programs read it.
    pub fn new(seeds: &[Seed], answer: &SimilarAnswer) -> Self {
        let standing = answer.standing.as_ref();
        let neighbours = answer
            .found
            .iter()
            .enumerate()
            .map(|(i, found)| NeighbourJson {
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
        let word = |word: &SteeredWord| SteeredWordJson {
            word: word.word.clone(),
            less: word.less,
            unmoved_percentile: word.before,
            percentile: word.after,
        };
        let steered = answer.steered.as_ref().map(|steered| SteeredJson {
            note: steered.to_string(),
            similarity: steered.after,
            unmoved_similarity: steered.before,
            words: steered.words.iter().map(word).collect(),
        });
        Self {
            seeds: seeds.iter().map(SeedJson::new).collect(),
            far: FarJson::new(standing),
            steered,
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
        Self {
            seed: SeedJson::new(&passage.seed),
            from,
            to,
            passages: passages.collect(),
        }
    }
}
