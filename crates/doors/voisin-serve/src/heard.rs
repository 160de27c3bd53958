//! Listening histories and likes from exports of `ListenBrainz`.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::songs::{Everything, SongRef};
use voisin_base::track::TrackId;
use voisin_library::{Library, LibraryError, Told};

/// Lines that are named because nothing could be made of them.
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
    /// Lines of which nothing could be made, and the first of them: where, and why.
    pub malformed: usize,
    /// The first of those lines.
    pub named: Vec<String>,
}

/// A listen, or what somebody thinks of a song.
fn read(entry: &Value) -> Result<(SongRef, Told), &'static str> {
    let about = entry
        .get("track_metadata")
        .filter(|about| about.is_object());
    let info = about.map_or(&Value::Null, |about| &about["additional_info"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mapped = about.map_or(
        &Value::Null,
        |about| &about["mbid_mapping"]["recording_mbid"],
    );
    let mbid = [&entry["recording_mbid"], mapped, &info["recording_mbid"]]
        .into_iter()
        .find_map(text);
    let named = |name: &str| about.and_then(|about| text(&about[name]));
    let song = SongRef {
        name: named("track_name").unwrap_or_default(),
        mbid,
        isrc: text(&info["isrc"]),
        artist: named("artist_name"),
        album: named("release_name"),
        duration_ms: info["duration_ms"]
            .as_f64()
            .or(info["duration"].as_f64().map(|seconds| seconds * 1000.0)),
        ..SongRef::default()
    };
    if song.name.is_empty() && song.mbid.is_none() {
        return Err("expected track_metadata or recording_mbid");
    }
    if let Some(score) = entry.get("score") {
        return match score.as_i64() {
            Some(0) => Ok((song, Told::Liked(None))),
            Some(score @ (-1 | 1)) => Ok((song, Told::Liked(Some(score > 0)))),
            _ => Err("expected a score of -1, 0 or 1"),
        };
    }
    match entry["listened_at"].as_i64().filter(|at| *at >= 0) {
        Some(at) => Ok((song, Told::Heard(at))),
        None => Err("expected listened_at or score"),
    }
}

/// Takes in files of listens and of feedback: a JSON object a line, or one list of them.
///
/// - `files`: what each is called, and what it holds
pub fn take_listens(
    library: &mut Library,
    listener: &str,
    files: &[(String, Vec<u8>)],
) -> Result<ListensReport, LibraryError> {
    let everything = Everything::of(library)?;
    let mut report = ListensReport::default();
    let mut told: Vec<(TrackId, Told)> = Vec::new();
    // The same songs come again and again.
    let mut found: HashMap<String, Option<TrackId>> = HashMap::new();
    for (name, bytes) in files {
        let list = serde_json::from_slice::<Vec<Value>>(bytes);
        let entries: Vec<(usize, Option<Value>)> = if let Ok(list) = list {
            list.into_iter()
                .enumerate()
                .map(|(at, entry)| (at + 1, Some(entry)))
                .collect()
        } else {
            let lines = bytes.split(|byte| *byte == b'\n').enumerate();
            let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
            lines
                .map(|(at, line)| (at + 1, serde_json::from_slice(line).ok()))
                .collect()
        };
        for (at, entry) in entries {
            let (song, what) = match entry.as_ref().map_or(Err("expected a JSON object"), read) {
                Ok(read) => read,
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
                (Some(track), Told::Heard(_)) => {
                    report.plays += 1;
                    told.push((track, what));
                }
                (Some(track), _) => {
                    report.opinions += 1;
                    told.push((track, what));
                }
            }
        }
    }
    library.note_listening(listener, &told)?;
    Ok(report)
}
