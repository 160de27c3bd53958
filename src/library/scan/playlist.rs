//! Parses the bytes of a playlist into its entries. Pure: any bytes give some list, none panics.

use std::path::{Path, PathBuf};

use crate::path_matching::percent_decoded;
use voisin_base::encoding::OldEncoding;

use crate::paths;

/// Whether a file is a playlist, by its extension.
pub fn is_playlist(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        ["m3u", "m3u8"]
            .iter()
            .any(|list| ending.eq_ignore_ascii_case(list))
    })
}

/// The paths in a playlist, in its order, absolute or relative to it: one a line, `#` begins a comment. Addresses of
/// streams are left out.
pub fn parse(bytes: &[u8]) -> Vec<Vec<u8>> {
    lines(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
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
    let address = address(cell.as_bytes()).filter(|(scheme, _)| is_file(scheme));
    match address.and_then(|(_, rest)| file_url(rest)) {
        Some(path) => paths::from_bytes(&path),
        None => PathBuf::from(cell),
    }
}

/// Lines without white space around them, empty ones left out.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n' || byte == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

/// The path of a line; `None` for the address of a stream.
fn entry(text: &[u8]) -> Option<Vec<u8>> {
    match address(text) {
        Some((scheme, rest)) if is_file(scheme) => file_url(rest),
        // "Artist: Title.mp3" is a name; an address has slashes after the colon.
        Some((_, rest)) if rest.starts_with(b"//") => None,
        _ => Some(text.to_vec()),
    }
}

fn is_file(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"file")
}

/// Splits an address into its scheme and the rest, at the first colon. `C:` is a drive, not a scheme.
fn address(text: &[u8]) -> Option<(&[u8], &[u8])> {
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
fn file_url(rest: &[u8]) -> Option<Vec<u8>> {
    let hosts = [&b"//localhost"[..], b"//"].into_iter();
    let mut local = hosts.filter_map(|host| rest.strip_prefix(host));
    let local = local.find(|path| path.starts_with(b"/"));
    let path = percent_decoded(local.unwrap_or(rest));
    // "/C:/Music" on Windows.
    let drive = cfg!(windows) && path.len() > 2 && path[0] == b'/' && path[2] == b':';
    let path = if drive { path[1..].to_vec() } else { path };
    (!matches!(&path[..], b"" | b"//")).then_some(path)
}
