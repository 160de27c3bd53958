//! Converts paths to percent-encoded addresses.

use std::fmt::Write as _;
use std::path::Path;

use voisin_base::address::scheme;

/// Whether a path is absolute, from a root or a drive.
fn is_absolute(path: &[u8]) -> bool {
    path.starts_with(b"/") || cfg!(windows) && path.get(1) == Some(&b':')
}

/// Whether a path is a remote address.
fn is_remote(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok_and(|path| scheme(Path::new(path)).is_some())
}

/// The address of a path, with all bytes except letters, digits and marks of paths percent-encoded. A remote
/// address keeps its escapes and its query.
pub fn address(path: &[u8]) -> String {
    let is_remote = is_remote(path);
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
    if !is_remote && !is_absolute(path) && first.contains(&b':') {
        text.push_str("./");
    }
    for &byte in path {
        if byte.is_ascii_alphanumeric()
            || b"-._~/!$&'()*+,;=:@".contains(&byte)
            || is_remote && b"%?".contains(&byte)
        {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
