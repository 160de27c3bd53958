//! A track in an answer: who it is by, and what it is called.

use std::path::Path;

use serde::Serialize;

use super::lossy;
use voisin_base::track::TrackId;
use voisin_engine::Collection;
use voisin_explore::TrackMeta;
use voisin_library::Track;

/// A track in JSON answers that are about something else.
#[derive(Debug, Serialize)]
pub struct TrackRef {
    /// The track's number.
    pub id: TrackId,
    path: String,
    artist: Option<String>,
    title: String,
}

impl TrackRef {
    pub(crate) fn of_meta(track: &TrackMeta) -> Self {
        let title = track.display_title().to_owned();
        Self {
            id: track.id,
            path: track.path.clone(),
            artist: track.artist.clone(),
            title,
        }
    }

    /// A track's name, for lists.
    pub fn of_track(track: &Track) -> Self {
        let artist = track.main_artist().map(str::to_owned);
        Self {
            id: track.id,
            path: lossy(&track.path),
            artist,
            title: title(track),
        }
    }

    /// A track of a collection.
    pub(crate) fn of(collection: &Collection, track: TrackId) -> Option<Self> {
        collection
            .row(track)
            .map(|row| Self::of_meta(&collection.meta[row]))
    }
}

/// The title, or the file's name without its extension.
pub fn title(track: &Track) -> String {
    track
        .tags
        .title
        .clone()
        .unwrap_or_else(|| lossy(Path::new(track.path.file_stem().unwrap_or_default())))
}

/// The documented JSON of `playlist`: a list of these.
#[derive(Debug, Serialize)]
pub struct ListedJson<'a> {
    rank: usize,
    /// Null where it is not in the library.
    id: Option<TrackId>,
    path: &'a str,
    artist: Option<&'a str>,
    title: &'a str,
    album: Option<&'a str>,
    genres: &'a [String],
    year: Option<i32>,
    seconds: f64,
}

impl<'a> ListedJson<'a> {
    /// All of them, in the order found.
    pub fn list(tracks: &'a [&TrackMeta]) -> impl Iterator<Item = Self> {
        tracks.iter().enumerate().map(|(i, track)| Self {
            rank: i + 1,
            id: track.library_id(),
            path: &track.path,
            artist: track.artist.as_deref(),
            title: track.display_title(),
            album: track.album.as_deref(),
            genres: &track.genres,
            year: track.year,
            seconds: track.seconds,
        })
    }
}
