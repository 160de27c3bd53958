//! Paths as stored bytes, and the default folder of a library.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::LibraryError;
use voisin_base::directories;

/// `path` with `suffix` after its name: `voisin.db` and `-wal` give `voisin.db-wal`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// A path as the bytes stored in the database. On Unix any bytes; elsewhere UTF-8.
#[allow(clippy::unnecessary_wraps)] // It can only fail outside Unix.
pub fn to_bytes(path: &Path) -> Result<&[u8], LibraryError> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(path.as_os_str().as_bytes())
    }
    #[cfg(not(unix))]
    {
        path.to_str().map(str::as_bytes).ok_or_else(|| {
            LibraryError::Refused(format!("path {} is not valid Unicode", path.display()))
        })
    }
}

/// The path of these bytes, from a file or the database. Outside Unix, invalid UTF-8 is replaced.
pub fn from_bytes(bytes: &[u8]) -> PathBuf {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
    }
    #[cfg(not(unix))]
    {
        PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A path as text where it is UTF-8, else as its bytes.
#[derive(Serialize, Deserialize)]
// Most paths are UTF-8 and stay readable in the JSON; serde distinguishes a string from a list.
#[serde(untagged)]
enum PathForm {
    Text(String),
    Bytes(Vec<u8>),
}

/// Serialises a path without loss, whatever its bytes.
pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    let form = match path.to_str() {
        Some(text) => PathForm::Text(text.to_owned()),
        None => PathForm::Bytes(to_bytes(path).map_err(S::Error::custom)?.to_vec()),
    };
    form.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
    Ok(match PathForm::deserialize(from)? {
        PathForm::Text(text) => PathBuf::from(text),
        PathForm::Bytes(bytes) => from_bytes(&bytes),
    })
}

/// A path as it is stored: absolute, its folder without links, its own name unchanged.
///
/// So a folder reached by two links is one folder, and a link to a file keeps its name. A folder
/// that does not exist is made absolute and normalised without reading the disk.
pub fn stored_path(path: &Path) -> PathBuf {
    // It fails only for an empty path or without a current folder: then the path stays unchanged.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    if let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name())
        // only the folder is resolved: a link to a file keeps the name that its owner gave it
        && let Ok(folder) = dunce::canonicalize(parent)
    {
        return folder.join(name);
    }
    // A path without a file name, such as `/` or one that ends in `..`, or whose folder is missing.
    dunce::canonicalize(&absolute).unwrap_or_else(|_| clean(&absolute))
}

/// Refuses a path that [`stored_path`] never returns: relative, with components such as `..`, or with a NUL. Line ends
/// are valid in names, and so are absolute paths of other systems.
pub(super) fn check(path: &Path) -> Result<(), LibraryError> {
    let bytes = to_bytes(path)?;
    // Records come from libraries on other systems: `C:\Music` has to pass on Linux, too.
    let (is_absolute, is_split): (bool, fn(&u8) -> bool) = match bytes {
        [b'/', ..] => (true, |byte| *byte == b'/'),
        [b'a'..=b'z' | b'A'..=b'Z', b':', b'/' | b'\\', ..] | [b'\\', b'\\', ..] => {
            (true, |byte| matches!(byte, b'/' | b'\\'))
        }
        _ => (false, |_| false),
    };
    if is_absolute
        && !bytes.contains(&0)
        && !bytes
            .split(is_split)
            .any(|step| step == b".." || step == b".")
    {
        return Ok(());
    }
    // Cut, because the path is untrusted and ends up on a terminal.
    let shown: String = path.to_string_lossy().chars().take(100).collect();
    Err(LibraryError::Refused(format!(
        "path {shown:?}: expected an absolute one without \"..\" and NUL: run \"voisin add\" on it first"
    )))
}

/// Resolves `.` and `..` without reading the disk.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// The default place of the library: `VOISIN_LIBRARY`, else `XDG_DATA_HOME/voisin`, else
/// `~/.local/share/voisin` (the current folder's `voisin-library` if there is no home).
pub fn default_dir() -> PathBuf {
    directories::from_variable("VOISIN_LIBRARY")
        .or_else(directories::data)
        .unwrap_or_else(|| PathBuf::from("voisin-library"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_link_is_resolved_and_a_file_link_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        std::fs::write(real.join("a.mp3"), b"a").unwrap();
        std::os::unix::fs::symlink(real.join("a.mp3"), real.join("named.mp3")).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(
            stored_path(&dir.path().join("link/named.mp3")),
            real.join("named.mp3")
        );
        assert_eq!(
            stored_path(&dir.path().join("link/../real/./a.mp3")),
            real.join("a.mp3")
        );
        let gone = real.join("no/such/../folder/x.mp3");
        assert_eq!(stored_path(&gone), real.join("no/folder/x.mp3"));
    }

    #[cfg(windows)]
    #[test]
    fn a_stored_path_is_as_other_programs_write_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.mp3"), b"a").unwrap();
        let stored = stored_path(&dir.path().join(".").join("A.mp3"));
        let text = stored.to_str().unwrap();
        assert!(
            text.as_bytes()[1] == b':' && text.ends_with(r"\A.mp3"),
            "{text}"
        );
    }

    #[test]
    fn foreign_paths_are_such_as_are_stored() {
        for good in [
            "/m/a.mp3",
            "/m/od\nd/a.mp3/03",
            "C:\\m\\a.mp3",
            "d:/m/a.mp3",
            "\\\\nas\\m\\a.mp3",
            "/m/..a/b..",
            "/a\\..\\b",
        ] {
            assert!(check(Path::new(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.mp3",
            "m/a.mp3",
            "/m/../a.mp3",
            "/m/./a.mp3",
            "/m/a\0b",
            "C:a.mp3",
            "C:\\m\\..\\a.mp3",
            "/..",
            "s3://bucket/a.mp3",
        ] {
            let message = check(Path::new(bad)).expect_err(bad).to_string();
            assert!(
                message.starts_with(&format!("path {bad:?}: expected an absolute one")),
                "{message}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn any_bytes_survive() {
        let bytes = b"/m\xff\xfeusic/\n\x1b[31m.mp3";
        assert_eq!(to_bytes(&from_bytes(bytes)).unwrap(), bytes);
    }
}
