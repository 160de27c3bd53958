//! All tracks on the map.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::graph::MappedLibrary;
use super::list::scale_values;
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_explore::map::{coloured_genres, genre};
use voisin_library::MusicalKey;

/// A track on the map.
#[derive(Serialize, JsonSchema)]
pub struct MapTrack {
    /// The track's number.
    pub id: TrackId,
    x: f32,
    y: f32,
    /// 0: none.
    cluster: u32,
    artist: Option<String>,
    title: String,
    genre: Option<String>,
    year: Option<i32>,
    seconds: f64,
    /// Measured; null if it was not.
    tempo: Option<f64>,
    key: Option<&'static str>,
    camelot: Option<String>,
    loudness: Option<f64>,
    scales: BTreeMap<String, f64>,
    /// Its most outstanding word.
    word: Option<String>,
}

/// A cluster of the map.
#[derive(Serialize, JsonSchema)]
pub struct ClusterName {
    id: u32,
    name: String,
    tracks: usize,
}

/// The documented JSON of the server's `map`.
#[derive(Serialize, JsonSchema)]
pub struct MapJson {
    /// The tracks, each with its place.
    pub tracks: Vec<MapTrack>,
    /// The clusters, by number.
    pub clusters: Vec<ClusterName>,
    /// The genres with a colour of their own, in the order of the palette.
    pub genres: Vec<String>,
}

impl MapJson {
    pub fn new(engine: &Engine, mapped: &MappedLibrary) -> Result<Self, EngineError> {
        let collection = &mapped.collection;
        let ids = mapped.clustering.ids();
        let measured = engine.library().descriptors(&collection.ids)?;
        let tags = engine.predicted_tags_if_any()?;
        let mut words = tags
            .map(|tags| tags.strongest(&collection.ids, 1))
            .unwrap_or_default();
        let tracks = collection.meta.iter().zip(mapped.places.rows());
        let tracks = tracks.map(|(track, at)| {
            let measured = measured.get(&track.id);
            let key = measured.and_then(|measured| measured.key);
            MapTrack {
                id: track.id,
                x: at[0],
                y: at[1],
                cluster: ids.get(&track.id).copied().unwrap_or_default(),
                artist: track.artist.clone(),
                title: track.display_title().to_owned(),
                genre: genre(track).map(str::to_owned),
                year: track.year,
                seconds: track.seconds,
                tempo: measured.and_then(|measured| measured.tempo),
                key: key.map(MusicalKey::name),
                camelot: key.map(MusicalKey::camelot),
                loudness: measured.and_then(|measured| measured.loudness),
                scales: measured.map(scale_values).unwrap_or_default(),
                word: words
                    .remove(&track.id)
                    // Moved, not cloned: there may be a million tracks.
                    .and_then(|mut words| (!words.is_empty()).then(|| words.remove(0).0)),
            }
        });
        let clusters = mapped
            .clustering
            .clusters
            .iter()
            .map(|cluster| ClusterName {
                id: cluster.id,
                name: cluster.name.clone(),
                tracks: cluster.members.len(),
            });
        Ok(Self {
            tracks: tracks.collect(),
            clusters: clusters.collect(),
            genres: coloured_genres(&collection.meta),
        })
    }
}
