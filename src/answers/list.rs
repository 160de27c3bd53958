//! Tracks with what is known of each.

use serde::Serialize;

use super::lossy;
use crate::engine::{StrongTags, TrackPage};
use crate::library::{Descriptors, Track, licence_id};
use crate::track::TrackId;

/// The documented JSON of `list`.
#[derive(Debug, Serialize)]
pub(crate) struct PageJson {
    pub(crate) total: usize,
    pub(crate) tracks: Vec<TrackJson>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TrackJson {
    pub(crate) id: TrackId,
    pub(crate) path: String,
    pub(crate) artist: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) album: Option<String>,
    pub(crate) album_artist: Option<String>,
    pub(crate) genres: Vec<String>,
    pub(crate) year: Option<i32>,
    pub(crate) seconds: f64,
    pub(crate) codec: String,
    pub(crate) licence: Option<String>,
    pub(crate) mbid: Option<String>,
    pub(crate) isrc: Option<String>,
    pub(crate) replay_gain: Option<f64>,
    /// Measured; null where it was not.
    pub(crate) tempo: Option<f64>,
    pub(crate) key: Option<&'static str>,
    pub(crate) camelot: Option<String>,
    pub(crate) loudness: Option<f64>,
    pub(crate) loudness_is_exact: Option<bool>,
    /// The tags that stand out most; empty for a model without tags, not there where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<Vec<WordJson>>,
    /// Seconds since 1970 UTC.
    pub(crate) added: i64,
    pub(crate) files: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct WordJson {
    pub(crate) word: String,
    /// Of the library, 0 to 1.
    percentile: f32,
}

impl TrackJson {
    pub(crate) fn new(
        track: &Track,
        measured: Option<&Descriptors>,
        words: Option<&[(String, f32)]>,
    ) -> Self {
        let tags = track.tags.clone();
        let key = measured.and_then(|measured| measured.key);
        let loudness = measured.and_then(|measured| measured.loudness);
        Self {
            id: track.id,
            path: lossy(&track.path),
            artist: tags.artist,
            title: tags.title,
            album: tags.album,
            album_artist: tags.album_artist,
            genres: tags.genres,
            year: tags.year,
            seconds: track.audio.seconds,
            codec: track.audio.codec.clone(),
            licence: tags.licence.as_deref().map(licence_id),
            mbid: tags.mbid,
            isrc: tags.isrc,
            replay_gain: tags.replay_gain,
            tempo: measured.and_then(|measured| measured.tempo),
            key: key.map(crate::library::MusicalKey::name),
            camelot: key.map(crate::library::MusicalKey::camelot),
            loudness,
            loudness_is_exact: loudness.and(measured).map(|measured| measured.loudness_is_exact),
            words: words.map(|words| {
                words
                    .iter()
                    .map(|(word, share)| WordJson { word: word.clone(), percentile: *share })
                    .collect()
            }),
            added: track.added_at,
            files: track.files.len(),
        }
    }
}

impl PageJson {
    pub(crate) fn new(page: &TrackPage, words: Option<&StrongTags>) -> Self {
        let of = |track: &Track| words.map(|words| words.get(&track.id).map_or(&[][..], Vec::as_slice));
        let json = |track: &Track| TrackJson::new(track, page.descriptors.get(&track.id), of(track));
        Self { total: page.total, tracks: page.tracks.iter().map(json).collect() }
    }
}
