//! Output files that a user names.
//!
//! - A regular file is replaced, whole or not at all; of a link its target.
//! - `-` and `/dev/stdout` are standard output. Devices and pipes are opened and written, never replaced; output that
//!   must be a complete file, such as a database, is refused there.
//!
//! Which files must not be replaced (music, inputs) is the command line's rule.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, folder_of};

/// Why an output file cannot be written; the message names it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutputError(io::Error);

impl OutputError {
    /// For `map_err`.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| {
            Self::new(
                error.kind(),
                format!("cannot write {}: {error}", path.display()),
            )
        }
    }

    /// The system's kind of error, or the most similar one.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }

    fn new(kind: io::ErrorKind, message: String) -> Self {
        Self(io::Error::new(kind, message))
    }

    fn folder(path: &Path) -> Self {
        let shown = path.display();
        let message = format!("{shown} is a folder, expected the name of a file to write");
        Self::new(io::ErrorKind::IsADirectory, message)
    }
}

/// An output file or stream.
#[derive(Debug, Clone)]
pub struct OutputTarget {
    path: PathBuf,
    is_whole: bool,
}

impl OutputTarget {
    /// A file, or `-`, a device or a pipe.
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        Self::checked(path, false)
    }

    /// For output that must be a file on disk, such as a database.
    pub fn whole(path: &Path) -> Result<Self, OutputError> {
        Self::checked(path, true)
    }

    fn checked(path: &Path, is_whole: bool) -> Result<Self, OutputError> {
        let path = path.to_owned();
        let output = Self { path, is_whole };
        // Checked before the work, which may take hours, and again when it is written.
        output.target()?;
        Ok(output)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is standard output, so that nothing else should be written there.
    pub fn is_standard(&self) -> bool {
        is_standard(&self.path)
    }

    /// The regular file it refers to, existing or not, for writers that open files themselves; a stream itself.
    pub fn target(&self) -> Result<PathBuf, OutputError> {
        let path = &self.path;
        if is_stream(path) && self.is_whole {
            let shown = path.display();
            let message = format!(
                "{shown} is no file on disk, expected the name of a file, which can be written as a whole"
            );
            return Err(OutputError::new(io::ErrorKind::InvalidInput, message));
        }
        if is_stream(path) {
            return Ok(path.clone());
        }
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(OutputError::folder(path)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OutputError::io(path)(error));
            }
            _ => {}
        }
        // The link's target, or the rename would replace the link.
        let target = behind_links(path);
        // `out/` means a folder, so it must not become a file.
        if target.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(OutputError::folder(path));
        }
        if !folder_of(&target).is_dir() {
            let [shown, folder] = [&target, folder_of(&target)].map(Path::display);
            let message =
                format!("{shown}: there is no folder {folder}: make it first, or name another");
            return Err(OutputError::new(io::ErrorKind::NotFound, message));
        }
        Ok(target)
    }

    /// Creates a regular file, which appears when it is complete.
    pub fn open(&self) -> Result<AtomicFile, OutputError> {
        let target = self.target()?;
        let mut file = AtomicFile::create(&target).map_err(OutputError::io(&self.path))?;
        if let Ok(former) = std::fs::metadata(&target) {
            // Some file systems have none.
            let _ = file.file().set_permissions(former.permissions());
        }
        Ok(file)
    }

    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let bytes = bytes.as_ref();
        let target = self.target()?;
        let written = if self.is_standard() {
            let mut output = io::stdout();
            output.write_all(bytes).and_then(|()| output.flush())
        } else if is_stream(&target) {
            let opened = File::options().write(true).open(&target);
            opened.and_then(|mut file| file.write_all(bytes))
        } else {
            let mut file = self.open()?;
            file.write_all(bytes).and_then(|()| file.commit())
        };
        written.map_err(OutputError::io(&self.path))
    }
}

/// Refuses a path that is no folder; a missing folder is accepted.
pub fn check_folder(folder: &Path) -> Result<(), OutputError> {
    if is_standard(folder) || folder.exists() && !folder.is_dir() {
        let shown = folder.display();
        let message = format!("{shown}: expected a folder, found a file or a device: name another");
        return Err(OutputError::new(io::ErrorKind::NotADirectory, message));
    }
    Ok(())
}

/// Whether a name means standard output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-") || cfg!(unix) && path == Path::new("/dev/stdout")
}

/// Whether a name means standard output, a device or a pipe.
pub fn is_stream(path: &Path) -> bool {
    is_standard(path)
        || std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// A path's extension in lower case, or empty: it determines the format of a file.
///
/// - `otherwise`: result for standard output, and a device or pipe without an extension
pub fn ending(path: &Path, otherwise: &str) -> String {
    match path.extension() {
        Some(ending) => ending.to_string_lossy().to_ascii_lowercase(),
        None if is_stream(path) => otherwise.to_owned(),
        None => String::new(),
    }
}

/// The target of a path, which need not exist.
fn behind_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        // A relative link starts at its own folder; `join` takes an absolute one as it is.
        std::fs::read_link(path).map_or(path.to_owned(), |target| folder_of(path).join(target))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_leads_to_the_file_that_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("x.csv", at("link.csv")).unwrap();
        let output = OutputTarget::new(&at("link.csv")).unwrap();
        output.write("1").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at("x.csv"), private).unwrap();
        output.write("2").unwrap();
        assert!(at("link.csv").is_symlink());
        assert_eq!(std::fs::read(at("x.csv")).unwrap(), b"2");
        let mode = std::fs::metadata(at("x.csv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        symlink("round", at("round")).unwrap();
        assert!(OutputTarget::new(&at("round")).is_err());
        // A write that does not end leaves the old file.
        output.open().unwrap().write_all(b"half").unwrap();
        assert_eq!(std::fs::read(at("x.csv")).unwrap(), b"2");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
