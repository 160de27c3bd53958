//! Artists and albums, and those near one of them.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::track::TrackRef;
use crate::{Engine, EngineError, meta};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_explore::artists::{ArtistSummary, NearArtist};

/// The result: artists, or albums.
#[derive(Debug)]
pub enum FoundArtists {
    /// All of them.
    All(Vec<ArtistSummary>),
    /// Those near to one.
    Near(Vec<NearArtist>),
}

impl FoundArtists {
    /// Metadata of the most typical track of each.
    pub fn tracks(&self, engine: &Engine) -> Result<HashMap<TrackId, TrackMeta>, EngineError> {
        let ids: Vec<TrackId> = match self {
            Self::All(all) => all.iter().map(|one| one.medoid).collect(),
            Self::Near(_) => Vec::new(),
        };
        let taxonomy = engine.taxonomy()?;
        let tracks = engine.library().tracks_by_id(&ids)?;
        Ok(tracks
            .iter()
            .map(|track| (track.id, meta(track, &taxonomy)))
            .collect())
    }
}

/// The documented JSON of `artists` and `albums`: a list of these.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ArtistJson {
    /// One of all.
    All(ArtistSummaryJson),
    /// One near to the named one.
    Near(NearArtist),
}

/// An artist, or an album.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ArtistSummaryJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    artist: String,
    tracks: usize,
    /// Of an album: the year of its most typical track.
    year: Option<i32>,
    medoid: Option<TrackRef>,
    cohesion: Option<f32>,
    nearest: Option<NearArtist>,
}

impl ArtistJson {
    /// All of them, in the order found.
    ///
    /// - `known`: returns the metadata of a track
    pub fn list<'a>(
        found: FoundArtists,
        known: impl Fn(TrackId) -> Option<&'a TrackMeta>,
    ) -> Vec<Self> {
        let summary = |one: ArtistSummary| {
            let medoid = known(one.medoid);
            ArtistSummaryJson {
                // Artists have no year.
                year: medoid
                    .and_then(|track| track.year)
                    .filter(|_| one.album.is_some()),
                album: one.album,
                artist: one.artist,
                tracks: one.tracks,
                medoid: medoid.map(TrackRef::of_meta),
                cohesion: one.cohesion,
                nearest: one.nearest,
            }
        };
        match found {
            FoundArtists::All(all) => all.into_iter().map(summary).map(Self::All).collect(),
            FoundArtists::Near(near) => near.into_iter().map(Self::Near).collect(),
        }
    }
}
