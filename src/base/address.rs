//! Addresses of remote objects: `s3://bucket/music/a.flac`.

use std::path::Path;

/// The scheme of an address, such as `s3`; `None` for a path. One letter before `:` is a drive.
pub fn scheme(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    (scheme.len() > 1 && scheme.bytes().all(fits)).then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_more_than_a_drive() {
        assert_eq!(scheme(Path::new("s3://bucket/a.flac")), Some("s3"));
        assert_eq!(scheme(Path::new("git+ssh://host/a")), Some("git+ssh"));
        for path in [
            "/m/a://b",
            "c://m/a.flac",
            "a b://c",
            "s3:/bucket",
            "a.flac",
            "://a",
        ] {
            assert_eq!(scheme(Path::new(path)), None, "{path}");
        }
    }
}
