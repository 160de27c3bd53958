//! Imports listening histories and likes from exports of `ListenBrainz` and Last.fm.

use std::collections::HashMap;

use serde::Serialize;

use super::listen_exports::read_export;
use super::songs::Everything;
use voisin_base::track::TrackId;
use voisin_library::{Library, LibraryError, PlayerEvent};

/// Most malformed lines that are reported.
const MOST_NAMED: usize = 20;

/// Counts of an export.
#[derive(Debug, Default, Serialize)]
pub struct ListensReport {
    /// Plays of tracks of the library.
    pub plays: usize,
    /// Opinions on tracks of the library.
    pub opinions: usize,
    /// Plays and opinions of songs that the library does not have.
    pub unknown: usize,
    /// Number of malformed lines.
    pub malformed: usize,
    /// The first of them: number and reason.
    pub named: Vec<String>,
}

/// Imports files of plays, likes and feedback.
///
/// - `files`: names and contents
pub fn take_listens(
    library: &mut Library,
    listener: &str,
    files: &[(String, Vec<u8>)],
) -> Result<ListensReport, LibraryError> {
    let everything = Everything::of(library)?;
    let mut report = ListensReport::default();
    let mut events: Vec<(TrackId, PlayerEvent)> = Vec::new();
    // A cache, since songs are repeated.
    let mut found: HashMap<String, Option<TrackId>> = HashMap::new();
    for (name, bytes) in files {
        for (at, item) in read_export(name, bytes) {
            let (song, what) = match item {
                Ok(item) => item,
                Err(expected) => {
                    report.malformed += 1;
                    if report.named.len() < MOST_NAMED {
                        report.named.push(format!("{name}:{at}: {expected}"));
                    }
                    continue;
                }
            };
            let key = format!(
                "{:?}\n{:?}\n{}\n{:?}",
                song.mbid, song.artist, song.name, song.album
            );
            let track = if let Some(track) = found.get(&key) {
                *track
            } else {
                let track = song.find(&everything)?.map(|(track, _)| track);
                found.insert(key, track);
                track
            };
            match (track, what) {
                (None, _) => report.unknown += 1,
                (Some(track), PlayerEvent::Played(_)) => {
                    report.plays += 1;
                    events.push((track, what));
                }
                (Some(track), _) => {
                    report.opinions += 1;
                    events.push((track, what));
                }
            }
        }
    }
    // Once, at the end, so that an error stores nothing.
    library.history_mut().note_listening(listener, &events)?;
    Ok(report)
}
