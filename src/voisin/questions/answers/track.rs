//! A track in an answer: its number, artist and title.

use schemars::JsonSchema;
use serde::Serialize;

use super::list::{KnownTracks, TrackJson};
use super::{lossy, title};
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_library::Track;

#[derive(Debug, Serialize, JsonSchema)]
pub struct TrackRef {
    pub id: TrackId,
    path: String,
    artist: Option<String>,
    title: String,
}

impl TrackRef {
    pub fn of_track(track: &Track) -> Self {
        let artist = track.main_artist().map(str::to_owned);
        Self {
            id: track.id,
            path: lossy(&track.path),
            artist,
            title: title(track),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedJson {
    /// Its place, from 1.
    pub rank: usize,
    #[serde(flatten)]
    pub track: TrackJson,
}

impl ListedJson {
    pub fn list(engine: &Engine, tracks: &[&TrackMeta]) -> Result<Vec<Self>, EngineError> {
        let known = KnownTracks::read(engine, tracks.iter().map(|track| track.id))?;
        let listed = tracks.iter().enumerate().map(|(i, track)| Self {
            rank: i + 1,
            track: known.track(track),
        });
        Ok(listed.collect())
    }
}
