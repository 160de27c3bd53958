//! Tracks with their metadata and measurements.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use super::title;
use crate::{StrongTags, TrackPage};
use voisin_base::track::TrackId;
use voisin_explore::TrackMeta;
use voisin_library::artists::{is_no_album, is_nobody};
use voisin_library::{Descriptors, Track, licence_id};

#[derive(Debug, Serialize, JsonSchema)]
pub struct PageJson {
    pub(crate) total: usize,
    pub tracks: Vec<TrackJson>,
}

#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct TrackJson {
    pub id: Option<TrackId>,
    pub path: String,
    /// Its artist; null also for a placeholder such as `Unknown Artist`.
    pub artist: Option<String>,
    /// Its title, or its file's name if the tags have none.
    pub title: String,
    /// Its album; null also for a placeholder such as `Unknown Album`.
    pub album: Option<String>,
    pub album_artist: Option<String>,
    pub composer: Option<String>,
    /// Its genres by the library's label source.
    pub genres: Vec<String>,
    pub year: Option<i32>,
    pub seconds: f64,
    pub codec: String,
    pub licence: Option<String>,
    pub mbid: Option<String>,
    pub isrc: Option<String>,
    /// Track gain in dB, from its tags.
    pub replay_gain: Option<f64>,
    /// Measured, in beats a minute; null if it was not.
    pub tempo: Option<f64>,
    pub key: Option<&'static str>,
    pub(crate) camelot: Option<String>,
    /// Its loudness in LUFS.
    pub loudness: Option<f64>,
    /// Whether the whole file was decoded for it.
    pub loudness_is_exact: Option<bool>,
    /// Its values of scales, 0 to 100, by name.
    pub scales: BTreeMap<String, f64>,
    /// The most outstanding tags; empty for a model without tags, absent if they were not requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<WordJson>>,
    /// When it was added, in seconds since 1970 UTC.
    pub(crate) added: Option<i64>,
    /// Files that hold the recording.
    pub(crate) files: usize,
    /// The exact path, which need not be UTF-8.
    #[serde(skip)]
    pub file: PathBuf,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WordJson {
    pub word: String,
    /// Percentile in the library, 0 to 1.
    pub percentile: f32,
}

impl TrackJson {
    pub fn new(
        track: &Track,
        measured: Option<&Descriptors>,
        words: Option<&[(String, f32)]>,
    ) -> Self {
        let artist = track.tags.artist.as_deref();
        let artist = artist.filter(|name| !is_nobody(name)).map(str::to_owned);
        let album = track.album().map(str::to_owned);
        let title = title(track);
        let tags = track.tags.clone();
        let key = measured.and_then(|measured| measured.key);
        let loudness = measured.and_then(|measured| measured.loudness);
        Self {
            id: Some(track.id),
            path: lossy(&track.path),
            artist,
            title,
            album,
            album_artist: tags.album_artist,
            composer: tags.composer,
            genres: named_genres(tags.genres),
            year: tags.year,
            seconds: track.audio.seconds,
            codec: track.audio.codec.clone(),
            licence: tags.licence.as_deref().map(licence_id),
            mbid: tags.mbid,
            isrc: tags.isrc,
            replay_gain: tags.replay_gain,
            tempo: measured.and_then(|measured| measured.tempo),
            key: key.map(voisin_library::MusicalKey::name),
            camelot: key.map(voisin_library::MusicalKey::camelot),
            loudness,
            loudness_is_exact: loudness
                // Null without a loudness.
                .and(measured)
                .map(|measured| measured.loudness_is_exact),
            scales: measured.map(scale_values).unwrap_or_default(),
            words: words.map(|words| {
                words
                    .iter()
                    .map(|(word, share)| WordJson {
                        word: word.clone(),
                        percentile: *share,
                    })
                    .collect()
            }),
            added: Some(track.added_at),
            files: track.files.len(),
            file: track.path.clone(),
        }
    }

    /// The track as players read it.
    pub fn meta(&self) -> TrackMeta {
        let artist = self.artist.as_ref().or(self.album_artist.as_ref());
        TrackMeta {
            title: self.title.clone(),
            artist: artist.cloned(),
            seconds: self.seconds,
            ..TrackMeta::of_file(self.id.unwrap_or(TrackId(0)), &self.file)
        }
    }
}

pub fn scale_values(measured: &Descriptors) -> BTreeMap<String, f64> {
    let values = measured.scales.iter();
    values
        .map(|(name, value)| (name.to_string(), value.value))
        .collect()
}

/// The genres without placeholders such as `(None)`.
fn named_genres(mut genres: Vec<String>) -> Vec<String> {
    genres.retain(|genre| !is_no_album(genre));
    genres
}

impl PageJson {
    pub fn new(page: &TrackPage, words: Option<&StrongTags>) -> Self {
        let words_of =
            |track: &Track| words.map(|words| words.get(&track.id).map_or(&[][..], Vec::as_slice));
        let json =
            |track: &Track| TrackJson::new(track, page.descriptors.get(&track.id), words_of(track));
        Self {
            total: page.total,
            tracks: page.tracks.iter().map(json).collect(),
        }
    }
}
