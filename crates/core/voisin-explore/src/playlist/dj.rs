//! Playlists for DJ programs: Rekordbox's XML and Traktor's NML. Mixxx reads M3U8.
//!
//! Rekordbox: "rekordbox xml format list" of its makers, version 1.0.0. Traktor: NML 19, as exported by Traktor 3. Both
//! contain a small collection and then the list, which refers to its entries by number or by location.

use std::fmt::Write as _;

use super::super::{ExploreError, Result, TrackMeta};
use super::escape::address;
use voisin_base::text::xml;
use voisin_music::key::MusicalKey;

/// ` name="value"`, or nothing without a value.
fn attribute(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = write!(text, " {name}=\"{}\"", xml(value));
    }
}

fn seconds(track: &TrackMeta) -> String {
    if track.seconds > 0.0 {
        format!("{:.0}", track.seconds)
    } else {
        String::new()
    }
}

fn year(track: &TrackMeta) -> String {
    track.year.map_or_else(String::new, |year| year.to_string())
}

/// Beats per minute, with so many decimals; empty if unknown.
fn tempo(track: &TrackMeta, decimals: usize) -> String {
    track
        .tempo
        .map_or_else(String::new, |tempo| format!("{tempo:.decimals$}"))
}

/// Energy from 1 to 10 in Mixed In Key's form of comments: `Energy 7`; empty if unknown.
fn comment(track: &TrackMeta) -> String {
    let level = track.energy.map(|energy| (energy / 10.0).clamp(1.0, 10.0));
    level.map_or_else(String::new, |level| format!("Energy {level:.0}"))
}

/// Rekordbox: File → Preferences → Advanced → Database → rekordbox xml.
pub(super) fn rekordbox(tracks: &[&TrackMeta], title: &str) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DJ_PLAYLISTS Version=\"1.0.0\">\n  \
         <PRODUCT Name=\"voisin\" Version=\"{}\" Company=\"\"/>\n  <COLLECTION Entries=\"{}\">\n",
        env!("CARGO_PKG_VERSION"),
        tracks.len()
    );
    for (i, track) in tracks.iter().enumerate() {
        // Numbers within this file, by which the list below refers to tracks.
        let _ = write!(text, "    <TRACK TrackID=\"{}\"", i + 1);
        attribute(&mut text, "Name", track.display_title());
        attribute(
            &mut text,
            "Artist",
            track.artist.as_deref().unwrap_or_default(),
        );
        attribute(
            &mut text,
            "Album",
            track.album.as_deref().unwrap_or_default(),
        );
        attribute(&mut text, "Genre", &track.genres.join(", "));
        attribute(&mut text, "TotalTime", &seconds(track));
        attribute(&mut text, "Year", &year(track));
        attribute(&mut text, "AverageBpm", &tempo(track, 2));
        attribute(
            &mut text,
            "Tonality",
            track.key.map_or("", MusicalKey::name),
        );
        attribute(&mut text, "Comments", &comment(track));
        // "file:///music/x.mp3" has an empty host, which Rekordbox does not accept.
        let place = address(track.system_path().as_os_str().as_encoded_bytes());
        attribute(
            &mut text,
            "Location",
            &place.replacen("file:///", "file://localhost/", 1),
        );
        text.push_str("/>\n");
    }
    let _ = write!(
        text,
        "  </COLLECTION>\n  <PLAYLISTS>\n    <NODE Type=\"0\" Name=\"ROOT\" Count=\"1\">\n      \
         <NODE Name=\"{}\" Type=\"1\" KeyType=\"0\" Entries=\"{}\">\n",
        xml(title),
        tracks.len()
    );
    for i in 0..tracks.len() {
        let _ = writeln!(text, "        <TRACK Key=\"{}\"/>", i + 1);
    }
    text.push_str("      </NODE>\n    </NODE>\n  </PLAYLISTS>\n</DJ_PLAYLISTS>\n");
    text
}

/// A location in Traktor's form: volume, folder and name.
fn place(track: &TrackMeta) -> Result<(String, String, String)> {
    let path = track.system_path();
    let text = path.to_str().ok_or_else(|| ExploreError::Parameter {
        name: "path",
        found: format!("{:?}", path.to_string_lossy()),
        expected: "one in UTF-8 for Traktor: use the format m3u8",
    })?;
    // On Windows the first part is the drive.
    let separators: &[char] = if cfg!(windows) { &['/', '\\'] } else { &['/'] };
    let mut parts: Vec<&str> = text
        .split(separators)
        .filter(|part| !part.is_empty())
        .collect();
    let name = parts.pop().unwrap_or_default().to_owned();
    let volume = match parts.first() {
        Some(drive) if cfg!(windows) && drive.ends_with(':') => parts.remove(0).to_owned(),
        // On a Mac other disks are below /Volumes, which Traktor leaves out.
        Some(&"Volumes") if parts.len() > 1 => {
            let volume = parts.remove(1).to_owned();
            parts.remove(0);
            volume
        }
        _ if cfg!(target_os = "macos") => "Macintosh HD".to_owned(),
        _ => String::new(),
    };
    let folder: String = parts
        .iter()
        .map(|part| format!("/:{part}"))
        .collect::<String>()
        + "/:";
    Ok((volume, folder, name))
}

/// Traktor: right click on "Playlists" → Import Playlist.
pub(super) fn traktor(tracks: &[&TrackMeta], title: &str) -> Result<String> {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"no\" ?>\n<NML VERSION=\"19\">\
         <HEAD COMPANY=\"voisin\" PROGRAM=\"voisin\"></HEAD>\n<MUSICFOLDERS></MUSICFOLDERS>\n\
         <COLLECTION ENTRIES=\"{}\">\n",
        tracks.len()
    );
    let mut keys = String::new();
    for track in tracks {
        let (volume, folder, name) = place(track)?;
        text.push_str("<ENTRY");
        attribute(&mut text, "TITLE", track.display_title());
        attribute(
            &mut text,
            "ARTIST",
            track.artist.as_deref().unwrap_or_default(),
        );
        text.push_str("><LOCATION");
        attribute(&mut text, "DIR", &folder);
        attribute(&mut text, "FILE", &name);
        attribute(&mut text, "VOLUME", &volume);
        text.push_str("></LOCATION>");
        if let Some(album) = &track.album {
            let _ = write!(text, "<ALBUM TITLE=\"{}\"></ALBUM>", xml(album));
        }
        text.push_str("<INFO");
        attribute(&mut text, "GENRE", &track.genres.join(", "));
        attribute(&mut text, "COMMENT", &comment(track));
        attribute(&mut text, "PLAYTIME", &seconds(track));
        if let Some(year) = track.year {
            // The format requires a complete date.
            let _ = write!(text, " RELEASE_DATE=\"{year}/1/1\"");
        }
        text.push_str("></INFO>");
        let tempo = tempo(track, 6);
        if !tempo.is_empty() {
            let _ = write!(text, "<TEMPO BPM=\"{tempo}\"></TEMPO>");
        }
        if let Some(key) = track.key {
            // Traktor numbers keys in the same order.
            let number = key.number();
            let _ = write!(text, "<MUSICAL_KEY VALUE=\"{number}\"></MUSICAL_KEY>");
        }
        text.push_str("</ENTRY>\n");
        // The list refers to an entry by its location, without separators between the three parts.
        let key = xml(&format!("{volume}{folder}{name}"));
        let _ = writeln!(
            keys,
            "<ENTRY><PRIMARYKEY TYPE=\"TRACK\" KEY=\"{key}\"></PRIMARYKEY></ENTRY>"
        );
    }
    let _ = write!(
        text,
        "</COLLECTION>\n<PLAYLISTS><NODE TYPE=\"FOLDER\" NAME=\"$ROOT\"><SUBNODES COUNT=\"1\">\n\
         <NODE TYPE=\"PLAYLIST\" NAME=\"{}\"><PLAYLIST ENTRIES=\"{}\" TYPE=\"LIST\">\n{keys}</PLAYLIST></NODE>\n\
         </SUBNODES></NODE></PLAYLISTS>\n</NML>\n",
        xml(title),
        tracks.len()
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;

    fn hostile() -> TrackMeta {
        let mut track = TrackMeta::new(TrackId(1), "/music/Ärzte & Co/a \"b\" <c>\n#%.mp3");
        track.title = "</TRACK><x>&\"\u{0}\r\n".into();
        track.artist = Some("A'B\u{ffff}".into());
        track.album = Some("<Album>".into());
        track.genres = vec!["R&B".into()];
        (track.seconds, track.year) = (61.4, Some(1999));
        track.tempo = Some(127.996);
        track.key = Some(MusicalKey::new(9, true));
        track.energy = Some(68.2);
        track
    }

    /// Whether tags are closed, quotes are paired, and there is no bare ampersand or control character.
    fn well_formed(text: &str) -> bool {
        let mut open = 0_i32;
        for (i, c) in text.char_indices() {
            match c {
                '<' => open += 1,
                '>' => open -= 1,
                '&' if !["&amp;", "&lt;", "&gt;", "&quot;", "&#10;", "&#13;"]
                    .iter()
                    .any(|mark| text[i..].starts_with(mark)) =>
                {
                    return false;
                }
                c if c.is_control() && c != '\n' => return false,
                _ => {}
            }
            if !(0..=1).contains(&open) {
                return false;
            }
        }
        open == 0 && text.matches('"').count().is_multiple_of(2)
    }

    #[test]
    fn rekordbox_refers_to_tracks_by_number_and_address() {
        let track = hostile();
        let text = rekordbox(&[&track, &track], "a<b");
        assert!(well_formed(&text), "{text}");
        assert_eq!(
            (
                text.matches("<TRACK TrackID=").count(),
                text.matches("<TRACK Key=").count()
            ),
            (2, 2)
        );
        assert!(
            text.contains("Name=\"a&lt;b\" Type=\"1\"")
                && text.contains(
                    "TotalTime=\"61\" Year=\"1999\" AverageBpm=\"128.00\" Tonality=\"Am\" Comments=\"Energy 7\""
                ),
            "{text}"
        );
        let unmeasured = rekordbox(&[&TrackMeta::new(TrackId(2), "/m/x.mp3")], "");
        assert!(
            !unmeasured.contains("Bpm") && !unmeasured.contains("Tonality"),
            "{unmeasured}"
        );
        let place = "Location=\"file://localhost/music/%C3%84rzte%20&amp;%20Co/a%20%22b%22%20%3Cc%3E%0A%23%25.mp3\"";
        assert!(text.contains(place), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn traktor_refers_to_tracks_by_location() {
        use std::os::unix::ffi::OsStrExt;
        let track = hostile();
        let text = traktor(&[&track], "x\"y").unwrap();
        assert!(well_formed(&text), "{text}");
        assert!(text.contains("DIR=\"/:music/:Ärzte &amp; Co/:\""), "{text}");
        assert!(
            text.contains("NAME=\"x&quot;y\"") && text.contains("RELEASE_DATE=\"1999/1/1\""),
            "{text}"
        );
        assert!(text.contains("KEY=\""), "{text}");
        let measured =
            "</INFO><TEMPO BPM=\"127.996000\"></TEMPO><MUSICAL_KEY VALUE=\"21\"></MUSICAL_KEY>";
        assert!(text.contains(measured), "{text}");
        assert!(text.contains("COMMENT=\"Energy 7\""), "{text}");
        let mac = TrackMeta::new(TrackId(2), "/Volumes/Disk/Music/x.mp3");
        let text = traktor(&[&mac], "").unwrap();
        assert!(
            text.contains("DIR=\"/:Music/:\" FILE=\"x.mp3\" VOLUME=\"Disk\""),
            "{text}"
        );
        assert!(text.contains("KEY=\"Disk/:Music/:x.mp3\""), "{text}");
        let odd = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/m/caf\xe9.mp3"));
        assert!(traktor(&[&TrackMeta::of_file(TrackId(3), odd)], "").is_err());
    }
}
