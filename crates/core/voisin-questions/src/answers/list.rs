//! Tracks with what is known of each.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::lossy;
use super::title;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, EngineError, StrongTags, TrackPage};
use voisin_explore::TrackMeta;
use voisin_library::{Descriptors, Track, licence_id};
use voisin_music::artists::{is_no_album, is_nobody};

/// The documented JSON of `list`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PageJson {
    pub(crate) total: usize,
    pub(crate) tracks: Vec<TrackJson>,
}

/// A track, as every answer has it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrackJson {
    /// The track's number; null where it is not in the library.
    pub id: Option<TrackId>,
    /// Where its file is.
    pub path: String,
    /// Its artist; null where only a placeholder such as `Unknown Artist` is named.
    pub artist: Option<String>,
    /// Its title, or its file's name where the tags have none.
    pub title: String,
    /// Its album; null where only a placeholder such as `Unknown Album` is named.
    pub album: Option<String>,
    pub(crate) album_artist: Option<String>,
    /// Who wrote it.
    pub composer: Option<String>,
    /// Its genres, as the library's label source has them.
    pub genres: Vec<String>,
    /// Its year.
    pub year: Option<i32>,
    /// Its length in seconds.
    pub seconds: f64,
    /// As the file has it.
    pub(crate) codec: String,
    /// The licence in its tags.
    pub licence: Option<String>,
    /// Its recording's MBID.
    pub mbid: Option<String>,
    /// Its ISRC.
    pub isrc: Option<String>,
    /// Of the track, in dB, as its tags have it.
    pub(crate) replay_gain: Option<f64>,
    /// Measured, in beats a minute; null where it was not.
    pub tempo: Option<f64>,
    /// Its musical key.
    pub key: Option<&'static str>,
    pub(crate) camelot: Option<String>,
    /// Its loudness in LUFS.
    pub loudness: Option<f64>,
    /// Whether the whole file was decoded for it.
    pub(crate) loudness_is_exact: Option<bool>,
    /// Its values of scales, 0 to 100, by their names: measured, learned or given.
    pub scales: BTreeMap<String, f64>,
    /// The tags that stand out most; empty for a model without tags, not there where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Vec<WordJson>>,
    /// When it was added, in seconds since 1970 UTC.
    pub(crate) added: Option<i64>,
    /// Files that hold the recording.
    pub(crate) files: usize,
}

/// A word that fits a track.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
                // Null where there is no loudness that could be exact.
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
        }
    }
}

impl TrackJson {
    /// A file of which the library knows nothing more.
    pub(crate) fn of_file(track: &TrackMeta) -> Self {
        Self {
            // Files from outside have ids below 1, which no answer shows.
            id: track.library_id(),
            path: track.path.clone(),
            artist: track.artist.clone(),
            title: track.display_title().to_owned(),
            album: track.album.clone(),
            album_artist: track.album_artist.clone(),
            composer: track.composers.clone(),
            genres: track.genres.clone(),
            year: track.year,
            seconds: track.seconds,
            codec: track.codec.clone(),
            licence: None,
            mbid: None,
            isrc: None,
            replay_gain: None,
            tempo: None,
            key: None,
            camelot: None,
            loudness: None,
            loudness_is_exact: None,
            scales: BTreeMap::new(),
            words: None,
            added: None,
            files: 1,
        }
    }
}

/// Values of scales by their names.
pub fn scale_values(measured: &Descriptors) -> BTreeMap<String, f64> {
    let values = measured.scales.iter();
    values
        .map(|(name, value)| (name.to_string(), value.value))
        .collect()
}

/// Those that are no placeholders such as `(None)`.
fn named_genres(mut genres: Vec<String>) -> Vec<String> {
    genres.retain(|genre| !is_no_album(genre));
    genres
}

/// Tracks of a library, as answers have them.
pub struct KnownTracks(HashMap<TrackId, TrackJson>);

impl KnownTracks {
    /// Those of these that are in the library.
    pub fn read(
        engine: &Engine,
        ids: impl IntoIterator<Item = TrackId>,
    ) -> Result<Self, EngineError> {
        // Ids below 1 are of files that are not in the library.
        let ids: Vec<TrackId> = ids.into_iter().filter(|id| id.0 > 0).collect();
        let mut tracks = engine.library().tracks_by_id(&ids)?;
        engine.label(&mut tracks)?;
        let measured = engine.library().derived().descriptors(&ids)?;
        let known = tracks.iter().map(|track| {
            (
                track.id,
                TrackJson::new(track, measured.get(&track.id), None),
            )
        });
        Ok(Self(known.collect()))
    }

    /// A track, by the file that stands for it.
    pub(crate) fn track(&self, meta: &TrackMeta) -> TrackJson {
        match self.0.get(&meta.id) {
            Some(known) => TrackJson {
                // A track of several files is shown by the one that was named, or that is compared.
                path: meta.path.clone(),
                ..known.clone()
            },
            None => TrackJson::of_file(meta),
        }
    }
}

impl PageJson {
    /// As programs read it.
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
