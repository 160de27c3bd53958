//! Converts paths to percent-encoded addresses.

use std::fmt::Write as _;

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
