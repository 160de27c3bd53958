//! Parses exports of listening histories from `ListenBrainz` and Last.fm.
//!
//! - `ListenBrainz`: JSON, an object a line or one list; `listened_at` is a play, `score` feedback.
//! - Last.fm's API (`user.getRecentTracks`, `user.getLovedTracks`) as exporters save it: JSON, one page, a
//!   list of pages or a list of tracks, whose artist is `#text` or `name` and whose time is `date.uts`.
//! - CSV with the columns `uts` (seconds), `artist`, `album`, `track` and `track_mbid` by name, in any order.
//! - CSV without a heading: artist, album, track, and the time as `31 Dec 2025 21:38`.
//!
//! Last.fm's pages of loved tracks differ from those of plays only by name: a key or a file name with
//! "loved" makes each track a like.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use serde_json::Value;

use super::songs::SongRef;
use voisin_base::table::TableText;
use voisin_library::PlayerEvent;

/// One row or item of an export: its number from 1, and a song with its event, or what was expected.
pub(super) type ExportItem = (usize, Result<(SongRef, PlayerEvent), &'static str>);

/// All items of a file.
///
/// - `name`: the file's name, which distinguishes Last.fm's loved tracks from plays
pub(super) fn read_export(name: &str, bytes: &[u8]) -> Vec<ExportItem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let loved = file.to_lowercase().contains("loved");
    // Detected by content: exporters use .json for JSON of any form.
    if let Ok(document) = serde_json::from_slice::<Value>(bytes) {
        let mut entries = Vec::new();
        flatten(document, loved, &mut entries);
        return (1..)
            .zip(entries)
            .filter(|(_, (entry, _))| !is_now_playing(entry))
            .map(|(at, (entry, loved))| (at, read_entry(&entry, loved)))
            .collect();
    }
    let first = bytes.trim_ascii_start().first();
    if first.is_some_and(|&byte| byte != b'{' && byte != b'[') {
        return read_table(bytes, loved);
    }
    (1..)
        .zip(bytes.split(|&byte| byte == b'\n'))
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(at, line)| {
            let entry = serde_json::from_slice::<Value>(line);
            let item = entry.map_or(Err("expected a JSON object"), |entry| {
                read_entry(&entry, loved)
            });
            (at, item)
        })
        .collect()
}

/// The objects of nested lists and of Last.fm's pages, each with whether it was loved.
fn flatten(value: Value, loved: bool, entries: &mut Vec<(Value, bool)>) {
    match value {
        Value::Array(items) => {
            for item in items {
                flatten(item, loved, entries);
            }
        }
        Value::Object(mut object) => {
            for (key, loved) in [("recenttracks", false), ("lovedtracks", true)] {
                if let Some(page) = object.get_mut(key).map(Value::take) {
                    return flatten(page, loved, entries);
                }
            }
            // A page of one track has no list.
            let is_page = |tracks: &&mut Value| tracks.is_array() || tracks["name"].is_string();
            if let Some(tracks) = object.get_mut("track").filter(is_page) {
                return flatten(tracks.take(), loved, entries);
            }
            entries.push((Value::Object(object), loved));
        }
        other => entries.push((other, loved)),
    }
}

/// Whether it is the track that plays now, which Last.fm puts before each page and which is no play yet.
fn is_now_playing(entry: &Value) -> bool {
    entry["@attr"]["nowplaying"] == "true"
}

/// A non-empty text.
fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn read_entry(entry: &Value, loved: bool) -> Result<(SongRef, PlayerEvent), &'static str> {
    if !entry.is_object() {
        return Err("expected a JSON object");
    }
    if entry["name"].is_string() && !entry["artist"].is_null() {
        return read_last_fm(entry, loved);
    }
    read_listen(entry)
}

fn read_last_fm(entry: &Value, loved: bool) -> Result<(SongRef, PlayerEvent), &'static str> {
    let named = |value: &Value| {
        text(value)
            .or_else(|| text(&value["#text"]))
            .or_else(|| text(&value["name"]))
    };
    let song = SongRef {
        name: text(&entry["name"]).ok_or("expected a track's name")?,
        mbid: text(&entry["mbid"]),
        artist: named(&entry["artist"]),
        album: named(&entry["album"]),
        ..SongRef::default()
    };
    let time = &entry["date"]["uts"];
    let time = time
        .as_i64()
        .or_else(|| time.as_str().and_then(|time| time.parse().ok()));
    song_event(song, time, loved, "expected date.uts")
}

/// A play with its time, or a like.
fn song_event(
    song: SongRef,
    time: Option<i64>,
    loved: bool,
    expected: &'static str,
) -> Result<(SongRef, PlayerEvent), &'static str> {
    if loved {
        return Ok((song, PlayerEvent::Liked(Some(true))));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    // A day later, as a date has no time zone.
    let latest = now.map_or(0, |now| now.as_secs() as i64) + 86_400;
    // Some programs write milliseconds, which as seconds would be after the year 5000.
    let is_finer = time.is_some_and(|time| time > 100_000_000_000);
    match time.map(|time| if is_finer { time / 1000 } else { time }) {
        Some(time) if time > latest => Err("expected a time of the past, found a later one"),
        Some(time) if time >= 0 => Ok((song, PlayerEvent::Played(time))),
        _ => Err(expected),
    }
}

/// A play or feedback of `ListenBrainz`.
fn read_listen(entry: &Value) -> Result<(SongRef, PlayerEvent), &'static str> {
    let about = &entry["track_metadata"];
    let info = &about["additional_info"];
    let mbid = [
        &entry["recording_mbid"],
        &about["mbid_mapping"]["recording_mbid"],
        &info["recording_mbid"],
    ];
    let song = SongRef {
        name: text(&about["track_name"]).unwrap_or_default(),
        mbid: mbid.into_iter().find_map(text),
        isrc: text(&info["isrc"]),
        artist: text(&about["artist_name"]),
        album: text(&about["release_name"]),
        duration_ms: info["duration_ms"]
            .as_f64()
            .or(info["duration"].as_f64().map(|seconds| seconds * 1000.0)),
        ..SongRef::default()
    };
    if song.name.is_empty() && song.mbid.is_none() {
        return Err("expected track_metadata, recording_mbid, or a name and an artist");
    }
    if let Some(score) = entry.get("score") {
        return match score.as_i64() {
            Some(0) => Ok((song, PlayerEvent::Liked(None))),
            Some(score @ (-1 | 1)) => Ok((song, PlayerEvent::Liked(Some(score > 0)))),
            _ => Err("expected a score of -1, 0 or 1"),
        };
    }
    let time = entry["listened_at"].as_i64();
    song_event(song, time, false, "expected listened_at or score")
}

/// A table of Last.fm's plays or loved tracks, with or without a heading.
fn read_table(bytes: &[u8], loved: bool) -> Vec<ExportItem> {
    let table = TableText::parse(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(table.separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(table.text.as_bytes());
    let mut columns = ExportColumns::UNNAMED;
    let mut items = Vec::new();
    let mut record = csv::ByteRecord::new();
    let mut row = 0;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            // With flexible rows and bytes, errors cannot occur.
            Ok(false) | Err(_) => return items,
        }
        row += 1;
        let cells: Vec<String> = record
            .iter()
            .map(|cell| String::from_utf8_lossy(cell).trim().to_owned())
            .collect();
        // Only the first row can be a heading; a song may be named "Artist".
        if items.is_empty()
            && let Some(named) = ExportColumns::named(&cells)
        {
            columns = named;
            continue;
        }
        // An unclosed quote joins all rows below it into one cell.
        let is_broken = cells.iter().any(|cell| cell.contains('\n'));
        let item = if is_broken {
            Err("expected a row on one line: is a quote closed?")
        } else {
            columns.read(&cells, loved)
        };
        items.push((row, item));
    }
}

/// Columns of a table.
struct ExportColumns {
    artist: usize,
    track: usize,
    album: Option<usize>,
    mbid: Option<usize>,
    time: Option<usize>,
}

impl ExportColumns {
    /// The order of tables without a heading.
    const UNNAMED: Self = Self {
        artist: 0,
        album: Some(1),
        track: 2,
        time: Some(3),
        mbid: None,
    };

    /// From a heading, if `cells` are one.
    fn named(cells: &[String]) -> Option<Self> {
        let find = |names: &[&str]| {
            cells
                .iter()
                .position(|cell| names.contains(&cell.to_lowercase().as_str()))
        };
        let time = find(&["uts", "timestamp", "date", "time", "utc_time"]);
        Some(Self {
            artist: find(&["artist", "artist_name"])?,
            track: find(&["track", "title", "track_name", "name"])?,
            album: find(&["album", "release_name"]),
            mbid: find(&["track_mbid", "recording_mbid"]),
            // Seconds take precedence over a date, which has no time zone.
            time: find(&["uts"]).or(time),
        })
    }

    fn read(&self, cells: &[String], loved: bool) -> Result<(SongRef, PlayerEvent), &'static str> {
        let cell = |column: Option<usize>| {
            column
                .and_then(|column| cells.get(column))
                .filter(|cell| !cell.is_empty())
                .cloned()
        };
        let song = SongRef {
            name: cell(Some(self.track)).ok_or("expected a track in its column")?,
            artist: Some(cell(Some(self.artist)).ok_or("expected an artist in its column")?),
            album: cell(self.album),
            mbid: cell(self.mbid),
            ..SongRef::default()
        };
        let time = cell(self.time).and_then(|time| read_time(&time));
        let expected = "expected a time in seconds since 1970 or as 31 Dec 2025 21:38";
        song_event(song, time, loved, expected)
    }
}

/// Parses seconds since 1970 or a date in UTC.
fn read_time(time: &str) -> Option<i64> {
    if let Ok(seconds) = time.parse() {
        return Some(seconds);
    }
    ["%d %b %Y %H:%M", "%d %b %Y, %H:%M", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(time, format).ok())
        .map(|time| time.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Artist, title and event of each item, or what was expected.
    fn items(name: &str, contents: &str) -> Vec<(usize, String)> {
        read_export(name, contents.as_bytes())
            .into_iter()
            .map(|(at, item)| {
                let text = match item {
                    Ok((song, event)) => format!(
                        "{} - {} ({}) {event:?}",
                        song.artist.unwrap_or_default(),
                        song.name,
                        song.album.unwrap_or_default()
                    ),
                    Err(expected) => expected.to_owned(),
                };
                (at, text)
            })
            .collect()
    }

    #[test]
    fn tables_of_plays_are_read_by_their_heading() {
        let table = "\u{feff}uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\r\n\
            \"1767217094\",\"31 Dec 2025, 21:38\",\"Oneohtrix, Point\",\"a\",\"Tranquilizer\",\"b\",\"Modern Lust\",\"c\"\r\n\
            ,\"31 Dec 2025, 21:38\",Wiv,,,,I love u,\r\n\
            17,,Wiv,,,,,\r\n";
        let found = items("recenttracks-me.csv", table);
        let heard = "Oneohtrix, Point - Modern Lust (Tranquilizer) Played(1767217094)";
        assert_eq!(found[0], (2, heard.to_owned()));
        assert!(found[1].1.starts_with("expected a time"), "{found:?}");
        assert_eq!(found[2], (4, "expected a track in its column".to_owned()));
        let loved = items("lovedtracks-me.csv", table);
        assert!(loved[0].1.ends_with("Liked(Some(true))"), "{loved:?}");
    }

    #[test]
    fn a_time_of_the_future_is_an_error_of_its_row() {
        let table = "artist,track,uts\nCher,Believe,1700000000000\nCher,Strong,4000000000\n";
        let found = items("me.csv", table);
        let heard = "Cher - Believe () Played(1700000000)";
        assert_eq!(found[0], (2, heard.to_owned()));
        assert!(found[1].1.contains("of the past"), "{found:?}");
    }

    #[test]
    fn an_unclosed_quote_is_an_error_of_its_row() {
        let table = "Deftones,Ohms,Pompeji,01 Apr 2021 10:42\n\
            Deftones,Ohms,\"Error,01 Apr 2021 10:42\nDeftones,Ohms,Genesis,01 Apr 2021 10:42\n";
        let found = items("me.csv", table);
        assert_eq!(found.len(), 2);
        assert!(
            found[1].1.starts_with("expected a row on one line"),
            "{found:?}"
        );
    }

    #[test]
    fn tables_without_a_heading_have_four_columns() {
        let table = "Deftones,Ohms,Pompeji,01 Apr 2021 10:42\nDeftones,,Error,yesterday\n";
        let found = items("me.csv", table);
        let heard = "Deftones - Pompeji (Ohms) Played(1617273720)";
        assert_eq!(found[0], (1, heard.to_owned()));
        assert_eq!(items("me.csv", &table.replace(',', ";")), found);
        assert!(found[1].1.starts_with("expected a time"), "{found:?}");
    }

    #[test]
    fn pages_of_the_api_are_read_without_what_plays() {
        let track = |name: &str, time: &str| {
            format!(
                r##"{{"artist":{{"mbid":"","#text":"Cher"}},"name":"{name}","album":{{"#text":"A"}},"date":{{"uts":"{time}"}}}}"##
            )
        };
        let playing = r##"{"artist":{"#text":"Cher"},"name":"Now","@attr":{"nowplaying":"true"}}"##;
        let one = track("Believe", "1700000000");
        let two = track("Strong", "17");
        let heard = [
            "Cher - Believe (A) Played(1700000000)",
            "Cher - Strong (A) Played(17)",
        ];
        let page = format!(r#"{{"recenttracks":{{"track":[{playing},{one},{two}]}}}}"#);
        let pages = format!("[[{playing},{one}],[{two}]]");
        for document in [&page, &format!("[{page}]"), &pages] {
            let found: Vec<String> = items("a.json", document).into_iter().map(|i| i.1).collect();
            assert_eq!(found, heard, "{document}");
        }
        let loved = format!(r#"{{"lovedtracks":{{"track":[{one}]}}}}"#);
        let single = format!(r#"{{"recenttracks":{{"track":{two},"@attr":{{"page":"1"}}}}}}"#);
        assert_eq!(items("a.json", &single), [(1, heard[1].to_owned())]);
        assert_eq!(
            items("a.json", &loved)[0].1,
            "Cher - Believe (A) Liked(Some(true))"
        );
        let timeless = r#"[{"artist":{"name":"Cher"},"name":"Believe"}, 7]"#;
        let found: Vec<String> = items("a.json", timeless).into_iter().map(|i| i.1).collect();
        assert_eq!(found, ["expected date.uts", "expected a JSON object"]);
    }
}
