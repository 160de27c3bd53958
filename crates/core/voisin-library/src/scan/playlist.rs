//! Parses the bytes of a playlist into its entries. Pure: any bytes give some list, none panics.

use std::path::{Path, PathBuf};

use voisin_base::encoding::{self, OldEncoding};
use voisin_base::path_matching::percent_decoded;

use crate::paths;

/// Formats of playlists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistKind {
    /// One path per line, `#` begins a comment.
    M3u,
    /// An INI file with `File1=…`.
    Pls,
    /// XML with `<location>`s.
    Xspf,
}

impl PlaylistKind {
    /// The format of a file by its extension.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "m3u" | "m3u8" => Some(Self::M3u),
            "pls" => Some(Self::Pls),
            "xspf" => Some(Self::Xspf),
            _ => None,
        }
    }
}

/// The location of a track in a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaylistEntry {
    /// The bytes of a path, absolute or relative to the playlist; `//server/share/…` on another machine.
    Path(Vec<u8>),
    /// An address that is no file of this machine, such as a radio stream.
    Remote(String),
}

/// The entries of a playlist, in its order.
pub fn parse(bytes: &[u8], kind: PlaylistKind) -> Vec<PlaylistEntry> {
    let entries = parse_with_starts(bytes, kind).into_iter();
    entries.map(|(entry, _)| entry).collect()
}

/// The entries of a playlist, in its order, with the start of each in its file in seconds, if an M3U
/// (`#EXTVLCOPT:start-time=`) or an XSPF (`<vlc:option>start-time=`) has one, as for parts of a file that a CUE sheet
/// describes.
pub fn parse_with_starts(bytes: &[u8], kind: PlaylistKind) -> Vec<(PlaylistEntry, Option<f64>)> {
    // Some programs write UTF-16; anything without a mark is read as bytes, like paths.
    let decoded = encoding::with_mark(bytes);
    let bytes = decoded.as_ref().map_or(bytes, String::as_bytes);
    match kind {
        PlaylistKind::M3u => m3u(bytes),
        PlaylistKind::Pls => pls(bytes).into_iter().map(|entry| (entry, None)).collect(),
        PlaylistKind::Xspf => xspf(bytes),
    }
}

/// The option for the start of a track in VLC's playlists, in seconds.
const START: &[u8] = b"start-time=";

fn start_time(option: &[u8]) -> Option<f64> {
    let seconds = option.strip_prefix(START)?;
    std::str::from_utf8(seconds).ok()?.trim().parse().ok()
}

fn m3u(bytes: &[u8]) -> Vec<(PlaylistEntry, Option<f64>)> {
    let mut entries = Vec::new();
    let mut start = None;
    for line in lines(bytes) {
        if let Some(option) = line.strip_prefix(b"#EXTVLCOPT:")
            && option.starts_with(START)
        {
            // Applies only to the next path, which takes it.
            start = start_time(option);
        } else if line[0] != b'#' {
            entries.extend(entry(line).map(|entry| (entry, start.take())));
        }
    }
    entries
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

/// The file of an entry, or its address if it is no file.
///
/// Playlists are written by many programs: if the path does not exist, it is tried with percent
/// escapes decoded, with backslashes as separators, and read as Latin-1. `exists` is called for each
/// form; if none exists, the path is returned unchanged.
pub fn resolve(
    entry: &PlaylistEntry,
    base: &Path,
    exists: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, String> {
    let bytes = match entry {
        PlaylistEntry::Path(bytes) => bytes,
        PlaylistEntry::Remote(address) => return Err(address.clone()),
    };
    let plain = base.join(paths::from_bytes(bytes));
    if exists(&plain) {
        return Ok(plain);
    }
    let mut forms = vec![bytes.clone()];
    let mut extend = |change: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        let changed: Vec<_> = forms.iter().filter_map(|form| change(form)).collect();
        forms.extend(changed);
    };
    // Each change applies to all forms so far, so combinations are tried, too: at most 8 forms.
    extend(&|form| form.contains(&b'%').then(|| percent_decoded(form)));
    extend(&|form| {
        form.contains(&b'\\').then(|| {
            form.iter()
                .map(|&b| if b == b'\\' { b'/' } else { b })
                .collect()
        })
    });
    extend(&|form| {
        let latin1 = || {
            form.iter()
                // Latin-1 is the first 256 characters of Unicode.
                .map(|&byte| char::from(byte))
                .collect::<String>()
                .into_bytes()
        };
        std::str::from_utf8(form).is_err().then(latin1)
    });
    let found = forms[1..]
        .iter()
        .map(|form| base.join(paths::from_bytes(form)))
        .find(|path| exists(path));
    Ok(found.unwrap_or(plain))
}

/// Lines without white space around them, empty ones left out.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|&byte| byte == b'\n' || byte == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

fn pls(bytes: &[u8]) -> Vec<PlaylistEntry> {
    let mut numbered: Vec<(u64, PlaylistEntry)> = lines(bytes)
        .filter_map(|line| {
            let at = line.iter().position(|&byte| byte == b'=')?;
            let key = line[..at].trim_ascii();
            let value = line[at + 1..].trim_ascii();
            let (word, number) = key.split_at_checked(4)?;
            if !word.eq_ignore_ascii_case(b"file") {
                return None;
            }
            let number = std::str::from_utf8(number).ok()?.parse().ok()?;
            Some((number, entry(value)?))
        })
        .collect();
    // Stable, as numbers may occur twice.
    numbered.sort_by_key(|(number, _)| *number);
    numbered.into_iter().map(|(_, entry)| entry).collect()
}

/// Schemes of network shares.
const SHARES: [&str; 9] = [
    "afp", "cifs", "dav", "davs", "ftp", "nfs", "sftp", "smb", "ssh",
];

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
    let is_share = SHARES
        .iter()
        .any(|share| scheme.eq_ignore_ascii_case(share.as_bytes()));
    if is_share {
        return Some(PlaylistEntry::Path(percent_decoded(&address)));
    }
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

/// The `<location>`s of `<track>`s, with the start in their `<extension>`s. Parses only the XML needed: elements,
/// comments, CDATA, the five named entities and numeric ones. Document types are skipped, so that no entity expands.
fn xspf(bytes: &[u8]) -> Vec<(PlaylistEntry, Option<f64>)> {
    let mut entries = Vec::new();
    // Of the open track: its first entry and its start, which is before or after its locations.
    let mut first = 0;
    let mut start = None;
    let mut open: Vec<&[u8]> = Vec::new();
    let mut text: Vec<u8> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        // By the last two elements, as a playlist itself also has a `location`.
        let in_location = matches!(open.as_slice(), [.., b"track", b"location"]);
        let in_option = matches!(open.as_slice(), [.., b"track", b"extension", b"option"]);
        // Text after the last tag is in no closed element.
        let Some(at) = rest.iter().position(|&byte| byte == b'<') else {
            break;
        };
        if in_location || in_option {
            unescape(&rest[..at], &mut text);
        }
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix(b"<!--") {
            rest = after(tail, b"-->");
        } else if let Some(tail) = rest.strip_prefix(b"<![CDATA[") {
            // Not closed: the rest of the file is text, and `after` below ends the loop.
            let end = find(tail, b"]]>").unwrap_or(tail.len());
            if in_location {
                text.extend_from_slice(&tail[..end]);
            }
            rest = after(tail, b"]]>");
        } else if rest.starts_with(b"<?") {
            rest = after(rest, b"?>");
        } else if rest.starts_with(b"<!") {
            rest = after_declaration(rest);
        } else {
            let end = tag_end(rest);
            let tag = &rest[1..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if let Some(name) = tag.strip_prefix(b"/") {
                let name = local_name(name);
                if name == b"location" && in_location {
                    entries.extend(uri(text.trim_ascii()).map(|entry| (entry, None)));
                } else if name == b"option" && in_option {
                    start = start_time(text.trim_ascii()).or(start);
                } else if name == b"track" {
                    // In bounds: `first` is a length that `entries` had before, and it only grows.
                    for (_, begins) in &mut entries[first..] {
                        *begins = start;
                    }
                    first = entries.len();
                    start = None;
                }
                // Elements left open inside are closed with it.
                if let Some(at) = open.iter().rposition(|element| *element == name) {
                    open.truncate(at);
                }
            // Deeper elements are ignored: no playlist has them, and each end tag searches all.
            } else if !tag.ends_with(b"/") && open.len() < 256 {
                open.push(local_name(tag));
                text.clear();
            }
        }
    }
    entries
}

/// Whether bytes are a complete XSPF, with tracks or without.
pub(super) fn is_whole_xspf(bytes: &[u8]) -> bool {
    let decoded = encoding::with_mark(bytes);
    let bytes = decoded.as_ref().map_or(bytes, String::as_bytes);
    // The closing tag may have a prefix (`</x:playlist>`).
    find(bytes, b"trackList").is_some() && find(bytes, b"playlist>").is_some()
}

/// A location is an address: escapes are decoded even in a relative one.
fn uri(text: &[u8]) -> Option<PlaylistEntry> {
    match entry(text)? {
        PlaylistEntry::Path(path) if split_scheme(text).is_none() => {
            Some(PlaylistEntry::Path(percent_decoded(&path)))
        }
        other => Some(other),
    }
}

/// The name of a tag without its attributes and namespace prefix.
fn local_name(tag: &[u8]) -> &[u8] {
    let end = tag
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || *byte == b'/')
        .unwrap_or(tag.len());
    let name = &tag[..end];
    name.iter()
        .position(|&byte| byte == b':')
        .map_or(name, |at| &name[at + 1..])
}

/// Position of the `>` that ends a tag, outside of quotes.
fn tag_end(tag: &[u8]) -> usize {
    let mut quote = None;
    for (at, &byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// The text after a `<!DOCTYPE …>` with its brackets.
fn after_declaration(text: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' => depth = depth.saturating_sub(1),
            b'>' if depth == 0 => return &text[at + 1..],
            _ => {}
        }
    }
    &[]
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn after<'a>(text: &'a [u8], what: &[u8]) -> &'a [u8] {
    find(text, what).map_or(&[], |at| &text[at + what.len()..])
}

/// Appends text with its entities resolved; unknown ones stay as they are.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'&') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        // The longest entity has 10 characters (`&#x10FFFF;`); the bound keeps a lone `&` cheap.
        let end = rest.iter().take(12).position(|&byte| byte == b';');
        let resolved = end.and_then(|end| entity(&rest[1..end]).map(|c| (c, end)));
        if let Some((c, end)) = resolved {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[end + 1..];
        } else {
            out.push(b'&');
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest);
}

fn entity(name: &[u8]) -> Option<char> {
    Some(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => {
            // Surrogates and numbers beyond Unicode are no characters and stay unchanged.
            char::from_u32(u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?)?
        }
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file_are_read_with_their_starts() {
        let entry = |name: &str, start| (PlaylistEntry::Path(name.into()), start);
        let expected = [entry("a b.flac", Some(90.25)), entry("c.flac", None)];
        let m3u8 = b"#EXTM3U\n#EXTVLCOPT:start-time=90.250\n#EXTVLCOPT:stop-time=99.000\na b.flac\nc.flac\n";
        assert_eq!(parse_with_starts(m3u8, PlaylistKind::M3u), expected);
        let location = "<location>a%20b.flac</location>";
        let extension = "<extension application=\"x\"><vlc:option>start-time=90.250</vlc:option>\
                         <vlc:option>stop-time=99.000</vlc:option></extension>";
        for fields in [[location, extension], [extension, location]] {
            let xspf = format!(
                "<playlist><trackList><track>{}</track>\n<track><location>c.flac</location></track>\
                 </trackList></playlist>",
                fields.concat()
            );
            let found = parse_with_starts(xspf.as_bytes(), PlaylistKind::Xspf);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_entry_keeps_no_user_and_no_password() {
        let path = |text: &str| Some(PlaylistEntry::Path(text.into()));
        let remote = |text: &str| Some(PlaylistEntry::Remote(text.to_owned()));
        for (text, expected) in [
            (
                "smb://user:p%40@ss@nas/a%20b/@x.mp3",
                path("//nas/a b/@x.mp3"),
            ),
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

    #[test]
    fn an_empty_list_is_told_from_what_is_no_list() {
        for text in [
            "<playlist><trackList/></playlist>",
            "<x:playlist><x:trackList></x:trackList></x:playlist>",
        ] {
            assert!(is_whole_xspf(text.as_bytes()), "{text}");
        }
        for text in ["", "<playlist", "<playlist></playlist>", "<trackList>"] {
            assert!(!is_whole_xspf(text.as_bytes()), "{text}");
        }
    }
}
