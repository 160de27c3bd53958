//! A track in an answer: its number, artist and title; or all of it, and what the answer found.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::list::TrackJson;
use super::{lossy, title};
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_library::Track;

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrackRef {
    pub id: TrackId,
    path: String,
    pub artist: Option<String>,
    pub title: String,
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

/// A track of an answer that is in an order.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Hit {
    /// Its place, from 1.
    pub rank: usize,
    #[serde(flatten)]
    pub track: TrackJson,
    /// Of `similar`: cosine to the seeds' mean, -1 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
    /// Of `similar`: share of the library's tracks whose nearest by another artist is no nearer; absent if the library is too
    /// small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// The percentile as a word: `same`, `close`, `related` or `far`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearness: Option<String>,
    /// Of `path`: distance (1 - cosine) from the track before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f32>,
    /// Of `find`: strength of each term, 0 to 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, f32>,
    /// Of each sentence, the share of a thousand captions that the track sounds less like, 0 to 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub captions: BTreeMap<String, f32>,
}

impl Hit {
    /// Tracks in this order, with what the library knows of them.
    pub(crate) fn ranked(
        engine: &Engine,
        ids: impl IntoIterator<Item = TrackId>,
    ) -> Result<Vec<Self>, EngineError> {
        let ids: Vec<TrackId> = ids.into_iter().collect();
        let mut tracks = engine.library().tracks_by_id(&ids)?;
        engine.label(&mut tracks)?;
        let measured = engine.library().descriptors(&ids)?;
        let ranked = tracks.iter().zip(1..).map(|(track, rank)| Self {
            rank,
            track: TrackJson::new(track, measured.get(&track.id), None),
            ..Self::default()
        });
        Ok(ranked.collect())
    }
}
