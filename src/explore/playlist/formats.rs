//! M3U8 and bare paths, with escapes for any tags and file names.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Component, Path};

use super::super::{ExploreError, Result, TrackMeta};

/// File formats of playlists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    M3u8,
    /// One path per line; refuses paths with a line break.
    Paths,
    /// Paths ended by a zero byte, for `xargs -0`.
    Paths0,
}

/// Writes `tracks` as a playlist, with paths relative to `folder`, that of the list, or absolute ones.
///
/// In M3U8, which is UTF-8, line breaks and control characters in tags become spaces, and a path with such characters, or one
/// that is not UTF-8, becomes a percent-encoded address; [`Format::Paths`] refuses line breaks.
pub fn write(
    tracks: &[&TrackMeta],
    title: &str,
    format: Format,
    folder: Option<&Path>,
) -> Result<Vec<u8>> {
    let entries: Vec<WrittenEntry<'_>> = tracks
        .iter()
        .map(|track| WrittenEntry {
            path: relative(track.system_path(), folder),
            track,
        })
        .collect();
    match format {
        Format::M3u8 => Ok(m3u8(&entries, title).into_bytes()),
        Format::Paths => paths(&entries),
        Format::Paths0 => Ok(entries
            .iter()
            .flat_map(|entry| entry.path.iter().copied().chain([0]))
            .collect()),
    }
}

struct WrittenEntry<'a> {
    path: Vec<u8>,
    track: &'a TrackMeta,
}

/// `path` relative to `folder`; unchanged unless both are absolute. Separators become `/`.
pub(crate) fn relative(path: &Path, folder: Option<&Path>) -> Vec<u8> {
    let bytes = |text: &OsStr| text.as_encoded_bytes().to_vec();
    // Players on all systems accept `/`; except on Windows a backslash is part of a name.
    let slashes = |text: &OsStr| -> Vec<u8> {
        let slash = |byte| {
            if cfg!(windows) && byte == b'\\' {
                b'/'
            } else {
                byte
            }
        };
        bytes(text).into_iter().map(slash).collect()
    };
    let Some(folder) = folder.filter(|folder| folder.is_absolute() && path.is_absolute()) else {
        return slashes(path.as_os_str());
    };
    let parts = |path: &Path| -> Vec<Vec<u8>> {
        path.components()
            .filter(|part| !matches!(part, Component::CurDir))
            .map(|part| bytes(part.as_os_str()))
            .collect()
    };
    let from = parts(folder);
    let to = parts(path);
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    // Another drive, to which there is no relative path.
    if common == 0 {
        return slashes(path.as_os_str());
    }
    let mut steps = vec![b"..".to_vec(); from.len() - common];
    // As bytes, so that a path that is not UTF-8 is unchanged.
    steps.extend_from_slice(&to[common..]);
    steps.join(&b'/')
}

fn one_line(text: &str) -> String {
    text.replace(breaks_lines, " ").trim().to_owned()
}

fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn m3u8(entries: &[WrittenEntry<'_>], title: &str) -> String {
    let mut text = "#EXTM3U\n".to_owned();
    if !title.is_empty() {
        let _ = writeln!(text, "#PLAYLIST:{}", one_line(title));
    }
    for WrittenEntry { path, track } in entries {
        // -1 means an unknown length.
        let seconds = if track.seconds > 0.0 {
            track.seconds.round()
        } else {
            -1.0
        };
        let _ = writeln!(text, "#EXTINF:{seconds},{}", one_line(&track.display()));
        let plain = std::str::from_utf8(path).ok().filter(|path| {
            // Readers strip blanks at the end.
            !path.chars().any(breaks_lines) && !path.ends_with(char::is_whitespace)
        });
        let _ = match plain {
            None => writeln!(text, "{}", address(path)),
            // A line that begins with "#" is a comment, and blanks before a path are skipped.
            Some(path) if path.starts_with('#') || path.starts_with(char::is_whitespace) => {
                writeln!(text, "./{path}")
            }
            Some(path) => writeln!(text, "{path}"),
        };
    }
    text
}

fn paths(entries: &[WrittenEntry<'_>]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for WrittenEntry { path, .. } in entries {
        if path.iter().any(|byte| b"\n\r".contains(byte)) {
            return Err(ExploreError::Parameter {
                name: "path",
                found: format!("{:?}", String::from_utf8_lossy(path)),
                expected: "no line break in it: end paths with NUL (-0), or use the format m3u8",
            });
        }
        text.extend_from_slice(path);
        text.push(b'\n');
    }
    Ok(text)
}

/// Whether a path is absolute, from a root or a drive.
fn is_absolute(path: &[u8]) -> bool {
    path.starts_with(b"/") || cfg!(windows) && path.get(1) == Some(&b':')
}

/// The address of a path, with all bytes except letters, digits and marks of paths percent-encoded.
pub fn address(path: &[u8]) -> String {
    let mut text = if is_absolute(path) {
        "file://".to_owned()
    } else {
        String::new()
    };
    if is_absolute(path) && !path.starts_with(b"/") {
        text.push('/'); // a drive letter
    }
    // A colon in the first component of a relative address would be parsed as a scheme.
    let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    if !is_absolute(path) && first.contains(&b':') {
        text.push_str("./");
    }
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;

    fn written(
        tracks: &[&TrackMeta],
        title: &str,
        format: Format,
        folder: Option<&Path>,
    ) -> String {
        String::from_utf8(write(tracks, title, format, folder).expect("writable")).expect("UTF-8")
    }

    fn hostile() -> TrackMeta {
        let mut track = TrackMeta::new(TrackId(1), "/music/a\n#EXTINF:0,x\n/etc/passwd.mp3");
        track.title = "</title><x>&\"\u{0}\r\n#EXTM3U".into();
        track.artist = Some("A]]>\u{2028}B".into());
        track.seconds = 61.4;
        track
    }

    #[test]
    fn a_path_stays_a_path() {
        let track = TrackMeta::new(TrackId(1), "#1 hit.mp3");
        let text = written(&[&track], "", Format::M3u8, None);
        assert_eq!(text, "#EXTM3U\n#EXTINF:-1,#1 hit\n./#1 hit.mp3\n");
        assert_eq!(address(b"a:b/c.mp3"), "./a:b/c.mp3");
    }

    #[test]
    fn paths_refuse_line_breaks_and_paths0_does_not() {
        assert!(write(&[&hostile()], "", Format::Paths, None).is_err());
        let text = written(&[&hostile()], "", Format::Paths0, None);
        assert_eq!(text.matches('\0').count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn relative_paths() {
        let folder = |text| Some(Path::new(text));
        for (path, from, expected) in [
            ("/m/a/x.mp3", folder("/m"), "a/x.mp3"),
            ("/m/a/x.mp3", folder("/m/b/c"), "../../a/x.mp3"),
            ("/x.mp3", folder("/m"), "../x.mp3"),
            ("a/x.mp3", folder("/m"), "a/x.mp3"),
            ("/m/a/x.mp3", None, "/m/a/x.mp3"),
        ] {
            assert_eq!(relative(Path::new(path), from), expected.as_bytes());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_written_byte_for_byte() {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(OsStr::from_bytes(b"/m/caf\xe9 \x1b.mp3"));
        let track = TrackMeta::of_file(TrackId(1), path);
        assert_eq!(track.display(), "caf\u{fffd} \u{1b}");
        let text = written(&[&track], "", Format::M3u8, None);
        assert_eq!(
            text,
            "#EXTM3U\n#EXTINF:-1,caf\u{fffd}\nfile:///m/caf%E9%20%1B.mp3\n"
        );
        let below = Some(Path::new("/m"));
        assert!(written(&[&track], "", Format::M3u8, below).ends_with("\ncaf%E9%20%1B.mp3\n"));
        let bare = write(&[&track], "", Format::Paths0, None).expect("writable");
        assert_eq!(bare, b"/m/caf\xe9 \x1b.mp3\0");
    }
}
