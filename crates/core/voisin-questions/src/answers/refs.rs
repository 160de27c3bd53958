//! Songs by the references of players.

use schemars::JsonSchema;
use serde::Serialize;

use super::title;
use voisin_base::track::TrackId;
use voisin_library::Track;

/// A song of the answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SongJson {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isrc: Option<String>,
    artist: String,
    artists: Vec<ArtistName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    duration_ms: u64,
    path: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ArtistName {
    name: String,
}

/// A song and its similarity to the named ones.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MatchJson {
    /// The song.
    pub song: SongJson,
    /// 0 to 1.
    pub similarity: f32,
    /// voisin's own number of the track.
    pub track: TrackId,
}

/// Songs near to others, or between them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Matches {
    /// How the songs of the query were found: `mbid`, `isrc`, `path` or `tags`.
    pub found_by: Vec<&'static str>,
    /// The songs.
    pub matches: Vec<MatchJson>,
}

/// Artists near to one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ArtistMatches {
    /// Nearest first.
    pub artists: Vec<ArtistMatch>,
}

/// An artist near to another.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ArtistMatch {
    /// The artist's name.
    pub name: String,
    /// 0 to 1.
    pub similarity: f32,
}

impl SongJson {
    /// The JSON for players.
    pub fn new(track: Track) -> Self {
        let artist = track.main_artist().unwrap_or_default().to_owned();
        let artists = track.artists().into_iter();
        Self {
            name: title(&track),
            artists: artists
                .map(|name| ArtistName {
                    name: name.to_owned(),
                })
                .collect(),
            artist,
            mbid: track.tags.mbid,
            isrc: track.tags.isrc,
            album: track.tags.album,
            // The cast saturates: a negative or damaged length becomes 0.
            duration_ms: (track.audio.seconds * 1000.0).round() as u64,
            path: super::lossy(&track.path),
        }
    }
}
