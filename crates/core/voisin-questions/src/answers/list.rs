//! Tracks with what is known of each.

use serde::Serialize;

use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::{StrongTags, TrackPage};
use voisin_library::{Descriptors, Track, licence_id};

/// The documented JSON of `list`.
#[derive(Debug, Serialize)]
pub struct PageJson {
    pub(crate) total: usize,
    pub(crate) tracks: Vec<TrackJson>,
}

/// A track of a list.
#[derive(Debug, Serialize)]
pub struct TrackJson {
    /// The track's number.
    pub id: TrackId,
    /// Where its file is.
    pub path: String,
    /// Its artist.
    pub artist: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Its album.
    pub album: Option<String>,
    pub(crate) album_artist: Option<String>,
    /// Who wrote it.
    composer: Option<String>,
    /// Its genres.
    pub genres: Vec<String>,
    /// Its year.
    pub year: Option<i32>,
    /// Its length in seconds.
    pub seconds: f64,
    pub(crate) codec: String,
    /// The licence in its tags.
    pub licence: Option<String>,
    /// Its recording's MBID.
    pub mbid: Option<String>,
    /// Its ISRC.
    pub isrc: Option<String>,
    pub(crate) replay_gain: Option<f64>,
    /// Measured; null where it was not.
    pub tempo: Option<f64>,
    /// Its musical key.
    pub key: Option<&'static str>,
    pub(crate) camelot: Option<String>,
    /// Its loudness in LUFS.
    pub loudness: Option<f64>,
    pub(crate) loudness_is_exact: Option<bool>,
    /// The tags that stand out most; empty for a model without tags, not there where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<WordJson>>,
    /// Seconds since 1970 UTC.
    pub(crate) added: i64,
    pub(crate) files: usize,
}

/// A word that fits a track.
#[derive(Debug, Serialize)]
pub struct WordJson {
    /// The word.
    pub word: String,
    /// Of the library, 0 to 1.
    percentile: f32,
}

impl TrackJson {
    /// As programs read it.
    pub fn new(
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
            composer: tags.composer,
            genres: tags.genres,
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
                .and(measured)
                .map(|measured| measured.loudness_is_exact),
            words: words.map(|words| {
                words
                    .iter()
                    .map(|(word, share)| WordJson {
                        word: word.clone(),
                        percentile: *share,
                    })
                    .collect()
            }),
            added: track.added_at,
            files: track.files.len(),
        }
    }
}

impl PageJson {
    /// As programs read it.
    pub fn new(page: &TrackPage, words: Option<&StrongTags>) -> Self {
        let of =
            |track: &Track| words.map(|words| words.get(&track.id).map_or(&[][..], Vec::as_slice));
        let json =
            |track: &Track| TrackJson::new(track, page.descriptors.get(&track.id), of(track));
        Self {
            total: page.total,
            tracks: page.tracks.iter().map(json).collect(),
        }
    }
}
