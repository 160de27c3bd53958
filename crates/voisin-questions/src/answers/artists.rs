//! Artists and albums, and those near one of them.

use serde::Serialize;

use super::track::TrackRef;
use voisin::Collection;
use voisin_explore::artists::{ArtistSummary, NearArtist, TrackPair};

/// What was found: artists, or albums.
#[derive(Debug)]
pub enum FoundArtists {
    /// All of them.
    All(Vec<ArtistSummary>),
    /// Those near to one.
    Near(Vec<NearArtist>),
}

/// The documented JSON of `artists` and `albums`: a list of these.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ArtistJson {
    /// One of all.
    All(ArtistSummaryJson),
    /// One near to the one that was named.
    Near(NearArtistJson),
}

/// An artist, or an album.
#[derive(Debug, Serialize)]
pub struct ArtistSummaryJson {
    #[serde(flatten)]
    name: MakerName,
    tracks: usize,
    medoid: Option<TrackRef>,
    cohesion: Option<f32>,
    nearest: Option<NearestJson>,
}

/// An artist, or an album and whose it is.
#[derive(Debug, Serialize)]
pub(crate) struct MakerName {
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    artist: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct NearestJson {
    #[serde(flatten)]
    name: MakerName,
    similarity: f32,
}

/// An artist, or an album, near to the one that was named.
#[derive(Debug, Serialize)]
pub struct NearArtistJson {
    #[serde(flatten)]
    name: MakerName,
    tracks: usize,
    similarity: f32,
    mean_similarity: f32,
    because: Vec<TrackPairJson>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TrackPairJson {
    own: Option<TrackRef>,
    other: Option<TrackRef>,
    similarity: f32,
}

impl ArtistJson {
    /// All of them, in the order found.
    pub fn list(collection: &Collection, found: FoundArtists) -> Vec<Self> {
        match found {
            FoundArtists::All(all) => {
                all.into_iter().map(|one| Self::All(ArtistSummaryJson::new(collection, one))).collect()
            }
            FoundArtists::Near(near) => {
                near.into_iter().map(|one| Self::Near(NearArtistJson::new(collection, one))).collect()
            }
        }
    }
}

impl ArtistSummaryJson {
    fn new(collection: &Collection, one: ArtistSummary) -> Self {
        Self {
            name: MakerName { album: one.album, artist: one.artist },
            tracks: one.tracks,
            medoid: TrackRef::of(collection, one.medoid),
            cohesion: one.cohesion,
            nearest: one.nearest.map(|near| NearestJson {
                name: MakerName { album: near.album, artist: near.artist },
                similarity: near.similarity,
            }),
        }
    }
}

impl NearArtistJson {
    fn new(collection: &Collection, one: NearArtist) -> Self {
        let because = |pair: TrackPair| TrackPairJson {
            own: TrackRef::of(collection, pair.own),
            other: TrackRef::of(collection, pair.other),
            similarity: pair.similarity,
        };
        Self {
            name: MakerName { album: one.album, artist: one.artist },
            tracks: one.tracks,
            similarity: one.similarity,
            mean_similarity: one.mean_similarity,
            because: one.because.into_iter().map(because).collect(),
        }
    }
}
