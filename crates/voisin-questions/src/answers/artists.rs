//! Artists and albums, and those near one of them.

use serde::Serialize;

use super::track::TrackRef;
use voisin::Collection;
use voisin_explore::artists::{ArtistSummary, NearArtist};

/// The documented JSON of `artists` and `albums`: a list of these.
#[derive(Serialize)]
pub struct ArtistJson<'a> {
    #[serde(flatten)]
    name: MakerName<'a>,
    tracks: usize,
    medoid: Option<TrackRef>,
    cohesion: Option<f32>,
    nearest: Option<NearestJson<'a>>,
}

/// An artist, or an album and whose it is.
#[derive(Serialize)]
pub(crate) struct MakerName<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<&'a str>,
    artist: &'a str,
}

#[derive(Serialize)]
pub(crate) struct NearestJson<'a> {
    #[serde(flatten)]
    name: MakerName<'a>,
    similarity: f32,
}

/// The documented JSON of `artists NAME` and `albums NAME`: a list of these.
#[derive(Serialize)]
pub struct SimilarArtistJson<'a> {
    #[serde(flatten)]
    name: MakerName<'a>,
    tracks: usize,
    similarity: f32,
    mean_similarity: f32,
    because: Vec<TrackPairJson>,
}

#[derive(Serialize)]
pub(crate) struct TrackPairJson {
    own: Option<TrackRef>,
    other: Option<TrackRef>,
    similarity: f32,
}

impl<'a> ArtistJson<'a> {
    /// All of them, in the order found.
    pub fn list(collection: &Collection, artists: &'a [ArtistSummary]) -> Vec<Self> {
        let json = artists.iter().map(|artist| Self {
            name: MakerName { album: artist.album.as_deref(), artist: &artist.artist },
            tracks: artist.tracks,
            medoid: TrackRef::of(collection, artist.medoid),
            cohesion: artist.cohesion,
            nearest: artist.nearest.as_ref().map(|near| NearestJson {
                name: MakerName { album: near.album.as_deref(), artist: &near.artist },
                similarity: near.similarity,
            }),
        });
        json.collect()
    }
}

impl<'a> SimilarArtistJson<'a> {
    /// All of them, in the order found.
    pub fn list(collection: &Collection, near: &'a [NearArtist]) -> Vec<Self> {
        let json = near.iter().map(|artist| {
            let because = artist.because.iter().map(|pair| TrackPairJson {
                own: TrackRef::of(collection, pair.own),
                other: TrackRef::of(collection, pair.other),
                similarity: pair.similarity,
            });
            Self {
                name: MakerName { album: artist.album.as_deref(), artist: &artist.artist },
                tracks: artist.tracks,
                similarity: artist.similarity,
                mean_similarity: artist.mean_similarity,
                because: because.collect(),
            }
        });
        json.collect()
    }
}
