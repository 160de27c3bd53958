//! Answers of tracks that sound like these, or like this passage.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::list::TrackJson;
use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::{
    Engine, EngineError, Passage, Seed, SimilarPassage, SimilarTrack, Standing, Steered,
    SteeredWord, sound_notes,
};
use voisin_library::Descriptors;

/// The answer, how near it is for this library, and by how much it was moved.
#[derive(Debug)]
pub struct SimilarAnswer {
    /// Nearest first, unless another order is asked for.
    pub found: Vec<SimilarTrack>,
    /// Tempo, key and loudness of the tracks, where they were measured.
    pub measured: HashMap<TrackId, Descriptors>,
    /// The meaning of the similarities in this library.
    pub standing: Option<Standing>,
    /// The effect of more of this and less of that, if it was asked for.
    pub steered: Option<Steered>,
    /// Why there are fewer than were asked for, where that takes a reason.
    pub short: Option<String>,
}

impl SimilarAnswer {
    /// With what is known of the tracks. Of a library whose part that is known here does not tell what similarities come to,
    /// without a standing.
    pub fn new(
        engine: &Engine,
        found: Vec<SimilarTrack>,
        standing: Option<Standing>,
        steered: Option<Steered>,
    ) -> Result<Self, EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track.id).collect();
        let measured = engine.library().derived().descriptors(&ids)?;
        let similarities = found.iter().map(|found| found.similarity);
        let standing = standing.map(|standing| standing.beside(similarities));
        Ok(Self {
            found,
            measured,
            standing,
            steered,
            short: None,
        })
    }
}

/// The documented JSON of `similar`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SimilarJson {
    seeds: Vec<SeedJson>,
    #[serde(flatten)]
    far: FarJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    steered: Option<SteeredJson>,
    /// Nearest first, unless another order is asked for.
    pub neighbours: Vec<NeighbourJson>,
}

/// The effect of more of one thing and less of another.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SteeredJson {
    note: String,
    similarity: f32,
    unmoved_similarity: f32,
    words: Vec<SteeredWordJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SteeredWordJson {
    word: String,
    less: bool,
    unmoved_percentile: f32,
    percentile: f32,
}

/// Whether nothing is near.
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

/// A track, and how near it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NeighbourJson {
    /// Its place, from 1.
    pub rank: usize,
    /// The track.
    #[serde(flatten)]
    pub track: TrackJson,
    /// Cosine to the seeds' mean, -1 to 1.
    pub similarity: f32,
    /// Share of the library's tracks whose nearest by another artist is no nearer; null in a library too small to tell.
    pub percentile: Option<f64>,
    /// The same in a word: `same`, `close`, `related` or `far`.
    pub nearness: Option<String>,
    /// Largest cosine to what to stay away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity_to_unlike: Option<f32>,
}

/// The documented JSON of a search by passage.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PassagesJson {
    seed: SeedJson,
    from: f64,
    to: f64,
    passages: Vec<PassageJson>,
}

#[derive(Debug, Serialize, JsonSchema)]
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
            // Null is "not known", and false "something is near".
            far: standing.map(|_| note.is_some()),
            note,
        }
    }
}

impl FarJson {
    /// With another note where there is none.
    fn or_note(self, note: Option<&str>) -> Self {
        Self {
            // That nothing is near explains more than that the answer is short.
            note: self.note.or_else(|| note.map(str::to_owned)),
            ..self
        }
    }

    /// With what is worth knowing of seeds that phrases stand for before its own note.
    pub(crate) fn of_seeds(self, seeds: &[Seed]) -> Self {
        let mut notes = sound_notes(seeds);
        notes.extend(self.note);
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Self { note, ..self }
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
                track: TrackJson {
                    // Those of the label source: the track itself has its tags'.
                    genres: found.genres.iter().map(ToString::to_string).collect(),
                    ..TrackJson::new(&found.track, answer.measured.get(&found.track.id), None)
                },
                similarity: found.similarity,
                percentile: standing
                    .and_then(|standing| standing.percentile(found.similarity))
                    // Percent within voisin, shares in JSON.
                    .map(|percent| f64::from(percent) / 100.0),
                nearness: standing
                    .and_then(|standing| standing.closeness(found.similarity))
                    .map(|nearness| nearness.to_string()),
                similarity_to_unlike: found.unlike,
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
            far: FarJson::new(standing)
                .or_note(answer.short.as_deref())
                .of_seeds(seeds),
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
