//! The tags of a track that voisin reads and stores.

use serde::{Deserialize, Serialize};

/// The tags voisin uses. Missing ones are `None` or empty; strings are as in the file, without NULs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrackTags {
    pub title: Option<String>,
    pub artist: Option<String>,
    pub album: Option<String>,
    pub album_artist: Option<String>,
    /// Composer; several are separated by `; `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub composer: Option<String>,
    /// Each GENRE value in order. `Rock/Pop` is not split here; numbers of `ID3v1`'s list (`17`, and `(17)`
    /// before other text in `ID3v2.3`) are replaced by their names.
    pub genres: Vec<String>,
    /// Year of release or recording.
    pub year: Option<i32>,
    pub track_number: Option<u32>,
    pub disc_number: Option<u32>,
    /// The recording's id at `MusicBrainz`, a UUID in lower case.
    pub mbid: Option<String>,
    /// International Standard Recording Code, without hyphens, in upper case.
    pub isrc: Option<String>,
    /// The licence: its name or address, or a copyright notice that names a Creative Commons licence.
    pub licence: Option<String>,
    /// Beats per minute in the file's tags, not measured.
    pub bpm: Option<f64>,
    /// The key, as spelt in the file.
    pub musical_key: Option<String>,
    /// `ReplayGain` of the track, dB.
    pub replay_gain: Option<f64>,
}
