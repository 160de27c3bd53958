//! M3U8, XSPF, JSPF and bare paths, safe against what tags and file names may hold.

use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use serde_json::json;

use super::super::{ExploreError, Result, TrackMeta};

/// File formats of playlists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Extended M3U, UTF-8.
    M3u8,
    /// XML Shareable Playlist Format 1.
    Xspf,
    /// Its JSON sibling.
    Jspf,
    /// One path per line; refuses paths with a line break.
    Paths,
    /// Paths ended by a zero byte, for `xargs -0`.
    Paths0,
}

impl std::str::FromStr for Format {
    type Err = ExploreError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "m3u8" | "m3u" => Ok(Self::M3u8),
            "xspf" => Ok(Self::Xspf),
            "jspf" => Ok(Self::Jspf),
            "paths" => Ok(Self::Paths),
            "paths0" => Ok(Self::Paths0),
            other => Err(ExploreError::Parameter {
                name: "playlist format",
                found: other.to_owned(),
                expected: "m3u8, xspf, jspf, paths or paths0",
            }),
        }
    }
}

/// How paths are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStyle {
    /// As the library has them.
    Absolute,
    /// Relative to this folder, where the list will lie.
    Relative(PathBuf),
}

/// Writes `tracks` as a playlist.
///
/// Line breaks and control characters in tags become spaces; a path that holds some is written as a
/// percent-encoded address in M3U8, and refused by [`Format::Paths`].
pub fn write(tracks: &[&TrackMeta], title: &str, format: Format, style: &PathStyle) -> Result<String> {
    let folder = match style {
        PathStyle::Absolute => None,
        PathStyle::Relative(folder) => Some(folder.as_path()),
    };
    let entries: Vec<(String, &TrackMeta)> =
        tracks.iter().map(|track| (relative(&track.path, folder), *track)).collect();
    match format {
        Format::M3u8 => Ok(m3u8(&entries, title)),
        Format::Xspf => Ok(xspf(&entries, title)),
        Format::Jspf => jspf(&entries, title),
        Format::Paths => paths(&entries),
        Format::Paths0 => Ok(entries.iter().fold(String::new(), |text, (path, _)| text + path + "\0")),
    }
}

/// `path` as seen from `folder`; unchanged where one of them is not absolute. Separators become `/`.
pub(crate) fn relative(path: &str, folder: Option<&Path>) -> String {
    let slashes = |text: &str| if cfg!(windows) { text.replace('\\', "/") } else { text.to_owned() };
    let Some(folder) = folder.filter(|folder| folder.is_absolute() && Path::new(path).is_absolute()) else {
        return slashes(path);
    };
    let parts = |path: &Path| -> Vec<String> {
        path.components()
            .filter(|part| !matches!(part, Component::CurDir))
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect()
    };
    let (from, to) = (parts(folder), parts(Path::new(path)));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return slashes(path);
    }
    let mut steps = vec!["..".to_owned(); from.len() - common];
    steps.extend_from_slice(&to[common..]);
    steps.join("/")
}

/// Control characters and line separators as one space each.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if breaks_lines(c) { ' ' } else { c }).collect::<String>().trim().to_owned()
}

fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// An address: each byte that is not plainly a letter, digit or mark of a path is percent-encoded.
fn address(path: &str) -> String {
    let mut text = if Path::new(path).is_absolute() { "file://".to_owned() } else { String::new() };
    if Path::new(path).is_absolute() && !path.starts_with('/') {
        text.push('/'); // a drive letter
    }
    // A colon in the first part of a relative address would read as a scheme.
    if !Path::new(path).is_absolute() && path.split('/').next().is_some_and(|part| part.contains(':')) {
        text.push_str("./");
    }
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn m3u8(entries: &[(String, &TrackMeta)], title: &str) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    if !title.is_empty() {
        let _ = writeln!(text, "#PLAYLIST:{}", one_line(title));
    }
    for (path, track) in entries {
        let seconds = if track.seconds > 0.0 { track.seconds.round() } else { -1.0 };
        let _ = writeln!(text, "#EXTINF:{seconds},{}", one_line(&track.display()));
        if path.chars().any(breaks_lines) {
            let _ = writeln!(text, "{}", address(path));
        } else if path.starts_with('#') || path.starts_with(char::is_whitespace) {
            let _ = writeln!(text, "./{path}");
        } else {
            let _ = writeln!(text, "{path}");
        }
    }
    text
}

/// Text for XML 1.0: marks escaped, characters that it does not allow left out.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn xspf(entries: &[(String, &TrackMeta)], title: &str) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                    <playlist version=\"1\" xmlns=\"http://xspf.org/ns/0/\">\n"
        .to_owned();
    if !title.is_empty() {
        let _ = writeln!(text, "  <title>{}</title>", xml(title));
    }
    text.push_str("  <trackList>\n");
    for (path, track) in entries {
        let _ = write!(text, "    <track><location>{}</location>", xml(&address(path)));
        let _ = write!(text, "<title>{}</title>", xml(track.display_title()));
        for (name, value) in [("creator", &track.artist), ("album", &track.album)] {
            if let Some(value) = value {
                let _ = write!(text, "<{name}>{}</{name}>", xml(value));
            }
        }
        if track.seconds > 0.0 {
            let _ = write!(text, "<duration>{:.0}</duration>", track.seconds * 1000.0);
        }
        text.push_str("</track>\n");
    }
    text.push_str("  </trackList>\n</playlist>\n");
    text
}

fn jspf(entries: &[(String, &TrackMeta)], title: &str) -> Result<String> {
    let tracks: Vec<serde_json::Value> = entries
        .iter()
        .map(|(path, track)| {
            let mut value = json!({"location": [address(path)], "title": track.display_title()});
            for (name, tag) in [("creator", &track.artist), ("album", &track.album)] {
                if let Some(tag) = tag {
                    value[name] = json!(tag);
                }
            }
            if track.seconds > 0.0 {
                value["duration"] = json!((track.seconds * 1000.0).round() as u64);
            }
            value
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({"playlist": {"title": title, "track": tracks}}))? + "\n")
}

fn paths(entries: &[(String, &TrackMeta)]) -> Result<String> {
    let mut text = String::new();
    for (path, _) in entries {
        if path.contains(['\n', '\r']) {
            return Err(ExploreError::Parameter {
                name: "path",
                found: format!("{path:?}"),
                expected: "no line break in it: use --format paths0 or m3u8",
            });
        }
        text.push_str(path);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::TrackId;

    fn hostile() -> TrackMeta {
        let mut track = TrackMeta::new(TrackId(1), "/music/a\n#EXTINF:0,x\n/etc/passwd.mp3");
        track.title = "</title><x>&\"\u{0}\r\n#EXTM3U".into();
        track.artist = Some("A]]>\u{2028}B".into());
        track.seconds = 61.4;
        track
    }

    #[test]
    fn an_m3u8_has_two_lines_per_track_whatever_the_names() {
        let track = hostile();
        let text = write(&[&track, &track], "t\nx", Format::M3u8, &PathStyle::Absolute).expect("writable");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[1], "#PLAYLIST:t x");
        assert!(lines[2].starts_with("#EXTINF:61,A]]> B – </title><x>&\""));
        assert_eq!(lines[3], "file:///music/a%0A%23EXTINF:0,x%0A/etc/passwd.mp3");
    }

    #[test]
    fn a_path_like_a_comment_stays_a_path() {
        let track = TrackMeta::new(TrackId(1), "#1 hit.mp3");
        let text = write(&[&track], "", Format::M3u8, &PathStyle::Absolute).expect("writable");
        assert_eq!(text, "#EXTM3U\n#EXTINF:-1,#1 hit\n./#1 hit.mp3\n");
    }

    #[test]
    fn xspf_is_well_formed() {
        let track = hostile();
        let text = write(&[&track], "a<b", Format::Xspf, &PathStyle::Absolute).expect("writable");
        assert!(text.contains("<title>a&lt;b</title>") && !text.contains("<x>") && !text.contains('\0'));
        assert!(text.contains("<duration>61400</duration>"));
        assert_eq!(text.matches("<track>").count(), 1);
    }

    #[test]
    fn jspf_parses_back() {
        let text = write(&[&hostile()], "x", Format::Jspf, &PathStyle::Absolute).expect("writable");
        let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
        assert_eq!(value["playlist"]["track"][0]["creator"], "A]]>\u{2028}B");
    }

    #[test]
    fn paths_refuse_line_breaks_and_paths0_does_not() {
        assert!(write(&[&hostile()], "", Format::Paths, &PathStyle::Absolute).is_err());
        let text = write(&[&hostile()], "", Format::Paths0, &PathStyle::Absolute).expect("writable");
        assert_eq!(text.matches('\0').count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn relative_paths() {
        let folder = |text: &str| Some(PathBuf::from(text));
        for (path, from, expected) in [
            ("/m/a/x.mp3", folder("/m"), "a/x.mp3"),
            ("/m/a/x.mp3", folder("/m/b/c"), "../../a/x.mp3"),
            ("/x.mp3", folder("/m"), "../x.mp3"),
            ("a/x.mp3", folder("/m"), "a/x.mp3"),
            ("/m/a/x.mp3", None, "/m/a/x.mp3"),
        ] {
            assert_eq!(relative(path, from.as_deref()), expected);
        }
    }
}
