//! Parses the bytes of a playlist into its entries. Pure: any bytes give some list, none panics.

use std::path::{Path, PathBuf};

use crate::path_matching::percent_decoded;
use voisin_base::encoding::{self, OldEncoding};

use crate::paths;

/// Whether a file is a playlist, by its extension.
pub fn is_playlist(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        ["m3u", "m3u8"]
            .iter()
            .any(|list| ending.eq_ignore_ascii_case(list))
    })
}

/// The location of a track in a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaylistEntry {
    /// The bytes of a path, absolute or relative to the playlist; `//server/share/…` on another machine.
    Path(Vec<u8>),
    /// An address that is no file of this machine, such as a radio stream.
    Remote(String),
}

/// The entries of a playlist, in its order: one path a line, `#` begins a comment.
pub fn parse(bytes: &[u8]) -> Vec<PlaylistEntry> {
    // Some programs write UTF-16; anything without a mark is read as bytes, like paths.
    let decoded = encoding::with_mark(bytes);
    let bytes = decoded.as_ref().map_or(bytes, String::as_bytes);
    lines(bytes)
        .filter(|line| line[0] != b'#')
        .filter_map(entry)
        .collect()
}

/// The encoding of a playlist's names that are not UTF-8: its `#EXTENC`, else the most likely one.
pub fn encoding(bytes: &[u8]) -> OldEncoding {
    let named = lines(bytes).find_map(|line| {
        let (word, name) = line.split_at_checked(8)?;
        let name = std::str::from_utf8(name).ok()?;
        let is_it = word.eq_ignore_ascii_case(b"#EXTENC:");
        is_it.then(|| OldEncoding::named(name)).flatten()
    });
    named.unwrap_or_else(|| OldEncoding::detect(lines(bytes)))
}

/// The path in a cell of a table: as it is, or that of a `file:` address.
pub fn path_in_table(cell: &str) -> PathBuf {
    let is_address = split_scheme(cell.as_bytes())
        .is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(b"file"));
    match is_address.then(|| entry(cell.as_bytes())).flatten() {
        Some(PlaylistEntry::Path(bytes)) => paths::from_bytes(&bytes),
        _ => PathBuf::from(cell),
    }
}

/// Lines without white space around them, empty ones left out.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n' || byte == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

/// A path, or an address with a scheme. `C:` is a drive, not a scheme.
fn entry(text: &[u8]) -> Option<PlaylistEntry> {
    if text.is_empty() {
        return None;
    }
    let Some((scheme, rest)) = split_scheme(text) else {
        return Some(PlaylistEntry::Path(text.to_vec()));
    };
    let address = rest.strip_prefix(b"//").map(without_user);
    if scheme.eq_ignore_ascii_case(b"file") {
        return file_url(address.as_deref().unwrap_or(rest));
    }
    // "Artist: Title.mp3" is a name; an address has slashes after the colon.
    let Some(address) = address else {
        return Some(PlaylistEntry::Path(text.to_vec()));
    };
    let address = [scheme, b":", &address].concat();
    Some(PlaylistEntry::Remote(
        String::from_utf8_lossy(&address).into_owned(),
    ))
}

/// `//host/path` of `user:password@host/path`, as messages must not show passwords.
fn without_user(address: &[u8]) -> Vec<u8> {
    let end = address.iter().position(|&byte| byte == b'/');
    let authority = &address[..end.unwrap_or(address.len())];
    let user = authority.iter().rposition(|&byte| byte == b'@');
    let host = user.map_or(0, |at| at + 1);
    [&b"//"[..], &address[host..]].concat()
}

/// Splits an address into its scheme and the rest, at the first colon.
fn split_scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b':')?;
    let scheme = &text[..at];
    let fits = scheme.len() >= 2
        && scheme[0].is_ascii_alphabetic()
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    fits.then(|| (scheme, &text[at + 1..]))
}

/// The path in `file:///path`, `file://localhost/path` or `file:/path`; `//server/path` of `file://server/path`.
fn file_url(rest: &[u8]) -> Option<PlaylistEntry> {
    let path = match rest.strip_prefix(b"//") {
        Some(authority) => {
            // An address may end with the host: then there is no path.
            let slash = authority
                .iter()
                .position(|&byte| byte == b'/')
                .unwrap_or(authority.len());
            let (host, path) = authority.split_at(slash);
            if host.is_empty() || host.eq_ignore_ascii_case(b"localhost") {
                path
            } else {
                rest
            }
        }
        None => rest,
    };
    let path = percent_decoded(path);
    // "/C:/Music" on Windows.
    let drive = cfg!(windows) && path.len() > 2 && path[0] == b'/' && path[2] == b':';
    let path = if drive { path[1..].to_vec() } else { path };
    (!path.is_empty()).then_some(PlaylistEntry::Path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_no_user_and_no_password() {
        let path = |text: &str| Some(PlaylistEntry::Path(text.into()));
        let remote = |text: &str| Some(PlaylistEntry::Remote(text.to_owned()));
        for (text, expected) in [
            ("file://user:secret@nas/x.mp3", path("//nas/x.mp3")),
            ("file:///m/me@home.mp3", path("/m/me@home.mp3")),
            (
                "https://u:s@radio:80/a@b?c@d",
                remote("https://radio:80/a@b?c@d"),
            ),
        ] {
            assert_eq!(entry(text.as_bytes()), expected, "{text}");
        }
    }
}
