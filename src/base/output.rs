//! Output files that a user names: a file is replaced, whole or not at all; of a link its target. `-` is standard output.
//!
//! Which files must not be replaced (music, inputs) is the command line's rule.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, folder_of, refuse_streams};

/// Why an output file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {error}", path.display())]
pub struct OutputError {
    path: PathBuf,
    error: io::Error,
}

impl OutputError {
    /// For `map_err`.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |error| Self {
            path: path.to_owned(),
            error,
        }
    }

    pub fn kind(&self) -> io::ErrorKind {
        self.error.kind()
    }
}

/// An output file, or standard output.
#[derive(Debug, Clone)]
pub struct OutputTarget(PathBuf);

impl OutputTarget {
    /// A file or `-`, checked before the work, which may take hours.
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let output = Self(path.to_owned());
        if !output.is_standard() {
            output.target()?;
        }
        Ok(output)
    }

    /// For output that must be a file on disk, such as a database.
    pub fn whole(path: &Path) -> Result<Self, OutputError> {
        if is_standard(path) {
            let expected = "expected the name of a file, which can be written as a whole";
            return Err(OutputError::io(path)(io::Error::other(expected)));
        }
        Self::new(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether it is standard output, so that nothing else should be written there.
    pub fn is_standard(&self) -> bool {
        is_standard(&self.0)
    }

    /// The regular file it refers to, existing or not, for writers that open files themselves.
    pub fn target(&self) -> Result<PathBuf, OutputError> {
        let path = &self.0;
        refuse_streams(path).map_err(OutputError::io(path))?;
        // The link's target, or the rename would replace the link.
        let target = path.canonicalize().unwrap_or_else(|_| path.clone());
        let folder = folder_of(&target);
        // `out/` means a folder, so it must not become a file.
        let problem = if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            "it is a folder, expected the name of a file to write".to_owned()
        } else if !folder.is_dir() {
            let folder = folder.display();
            format!("there is no folder {folder}: make it first, or name another")
        } else {
            return Ok(target);
        };
        Err(OutputError::io(path)(io::Error::other(problem)))
    }

    /// Creates the file, which appears when it is complete, with the permissions of a former one.
    pub fn open(&self) -> Result<AtomicFile, OutputError> {
        let target = self.target()?;
        let mut file = AtomicFile::create(&target).map_err(OutputError::io(&self.0))?;
        if let Ok(former) = std::fs::metadata(&target) {
            // Some file systems have none.
            let _ = file.file().set_permissions(former.permissions());
        }
        Ok(file)
    }

    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let bytes = bytes.as_ref();
        let written = if self.is_standard() {
            let mut output = io::stdout();
            output.write_all(bytes).and_then(|()| output.flush())
        } else {
            let mut file = self.open()?;
            file.write_all(bytes).and_then(|()| file.commit())
        };
        written.map_err(OutputError::io(&self.0))
    }
}

/// Refuses a path that is no folder; a missing folder is accepted.
pub fn check_folder(folder: &Path) -> Result<(), OutputError> {
    if is_standard(folder) || folder.exists() && !folder.is_dir() {
        let expected = "expected a folder, found a file or a device: name another";
        return Err(OutputError::io(folder)(io::Error::other(expected)));
    }
    Ok(())
}

/// Whether a name means standard output.
pub fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// A path's extension in lower case, or empty: it determines the format of a file.
///
/// - `otherwise`: result for standard output
pub fn ending(path: &Path, otherwise: &str) -> String {
    if is_standard(path) {
        return otherwise.to_owned();
    }
    let ending = path.extension().unwrap_or_default();
    ending.to_string_lossy().to_ascii_lowercase()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_leads_to_the_file_that_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("x.csv"), "1").unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(at("x.csv"), private).unwrap();
        symlink("x.csv", at("link.csv")).unwrap();
        let output = OutputTarget::new(&at("link.csv")).unwrap();
        output.write("2").unwrap();
        // A write that does not end leaves the old file.
        output.open().unwrap().write_all(b"half").unwrap();
        assert!(at("link.csv").is_symlink());
        assert_eq!(std::fs::read(at("x.csv")).unwrap(), b"2");
        let mode = std::fs::metadata(at("x.csv")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
