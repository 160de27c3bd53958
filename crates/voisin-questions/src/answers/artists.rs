//! Artists, and those near one of them.

use serde::Serialize;

use super::track::TrackRef;
use voisin::Collection;
use voisin_explore::artists::{ArtistSummary, NearArtist, Nearest};

/// The documented JSON of `artists`: a list of these.
#[derive(Serialize)]
pub struct ArtistJson<'a> {
    artist: &'a str,
    tracks: usize,
    medoid: Option<TrackRef>,
    cohesion: Option<f32>,
    nearest: Option<&'a Nearest>,
}

/// The documented JSON of `artists NAME`: a list of these.
#[derive(Serialize)]
pub struct SimilarArtistJson<'a> {
    artist: &'a str,
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
            artist: &artist.artist,
            tracks: artist.tracks,
            medoid: TrackRef::of(collection, artist.medoid),
            cohesion: artist.cohesion,
            nearest: artist.nearest.as_ref(),
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
                artist: &artist.artist,
                tracks: artist.tracks,
                similarity: artist.similarity,
                mean_similarity: artist.mean_similarity,
                because: because.collect(),
            }
        });
        json.collect()
    }
}
