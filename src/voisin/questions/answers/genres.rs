//! How close the genres of a library are to one another.

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_genre::{Genre, GenreKinship, Kin, Kinship};

/// The documented JSON of `genres`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenresJson {
    pub genres: Vec<GenreJson>,
    /// Distances between the genres, in their order: 0 near, 1 far.
    pub distance: Vec<Vec<f64>>,
}

/// The documented JSON of `genres NAME`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenreJson {
    genre: Genre,
    tracks: usize,
    cohesion: Option<f64>,
    nearest: Vec<Kin>,
    typical: Vec<TrackRef>,
}

impl GenreJson {
    pub fn new(engine: &Engine, genre: &GenreKinship) -> Result<Self, EngineError> {
        let track = |id: TrackId| -> Result<TrackRef, EngineError> {
            Ok(TrackRef::of_track(&engine.library().track(id)?))
        };
        Ok(Self {
            genre: genre.genre.clone(),
            tracks: genre.tracks,
            cohesion: genre.cohesion,
            nearest: genre.nearest.clone(),
            typical: genre
                .typical
                .iter()
                .map(|&id| track(id))
                .collect::<Result<_, EngineError>>()?,
        })
    }
}

impl GenresJson {
    pub fn new(engine: &Engine, kinship: &Kinship) -> Result<Self, EngineError> {
        let genres = kinship
            .genres
            .iter()
            .map(|genre| GenreJson::new(engine, genre));
        Ok(Self {
            genres: genres.collect::<Result<_, _>>()?,
            distance: kinship.distance.clone(),
        })
    }
}
