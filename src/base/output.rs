//! Output files that a user names.
//!
//! - A regular file is replaced, whole or not at all; of a link its target.
//! - `-` and `/dev/stdout` are standard output. Devices and pipes are opened and written, never replaced; output that
//!   must be a complete file, such as a database, is refused there.
//!
//! Which files must not be replaced (music, inputs) is the command line's rule.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::{AtomicFile, folder_of};

/// Why an output file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The name is not that of a file that can be written.
    #[error("{0}")]
    Refused(io::Error),
    /// The system refused.
    #[error("cannot write {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl OutputError {
    /// For `map_err`.
    pub fn io(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// The system's kind of error, or the most similar one.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Refused(source) | Self::Io { source, .. } => source.kind(),
        }
    }

    fn refused(kind: io::ErrorKind, path: &Path, why: &str) -> Self {
        Self::Refused(io::Error::new(kind, format!("{}{why}", path.display())))
    }

    fn folder(path: &Path) -> Self {
        let why = " is a folder, expected the name of a file to write";
        Self::refused(io::ErrorKind::IsADirectory, path, why)
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

    /// The path.
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
            let why =
                " is no file on disk, expected the name of a file, which can be written as a whole";
            return Err(OutputError::refused(io::ErrorKind::InvalidInput, path, why));
        } else if is_stream(path) {
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
            let folder = folder_of(&target).display();
            let why = format!(": there is no folder {folder}: make it first, or name another");
            return Err(OutputError::refused(io::ErrorKind::NotFound, &target, &why));
        }
        Ok(target)
    }

    /// Opens it for writing; a regular file is renamed to its name by [`OutputFile::commit`].
    pub fn open(&self) -> Result<OutputFile, OutputError> {
        let failed = OutputError::io(&self.path);
        let target = self.target()?;
        if self.is_standard() {
            return Ok(OutputFile::StandardOutput);
        }
        if is_stream(&target) {
            let opened = File::options().write(true).open(&target);
            return opened.map(OutputFile::Stream).map_err(failed);
        }
        let mut file = AtomicFile::create(&target).map_err(failed)?;
        if let Ok(former) = std::fs::metadata(&target) {
            // Some file systems have none.
            let _ = file.file().set_permissions(former.permissions());
        }
        Ok(OutputFile::Whole(file))
    }

    /// Writes all of it.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let mut file = self.open()?;
        file.write_all(bytes.as_ref())
            .and_then(|()| file.commit())
            .map_err(OutputError::io(&self.path))
    }
}

/// An [`OutputTarget`] that is being written.
#[derive(Debug)]
pub enum OutputFile {
    /// Standard output.
    StandardOutput,
    /// A device or a pipe, which is written directly.
    Stream(File),
    /// A file that appears when it is complete.
    Whole(AtomicFile),
}

impl OutputFile {
    /// Flushes the output and renames a file to its name.
    pub fn commit(mut self) -> io::Result<()> {
        self.flush()?;
        match self {
            Self::Whole(file) => file.commit(),
            _ => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::StandardOutput => io::stdout().write(bytes),
            Self::Stream(file) => file.write(bytes),
            Self::Whole(file) => file.file().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::StandardOutput => io::stdout().flush(),
            Self::Stream(file) => file.flush(),
            Self::Whole(file) => file.file().flush(),
        }
    }
}

impl Seek for OutputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Whole(file) => file.file().seek(to),
            _ => Err(io::ErrorKind::NotSeekable.into()),
        }
    }
}

/// Refuses a path that is no folder; a missing folder is accepted.
pub fn check_folder(folder: &Path) -> Result<(), OutputError> {
    if is_standard(folder) || folder.exists() && !folder.is_dir() {
        let why = ": expected a folder, found a file or a device: name another";
        return Err(OutputError::refused(
            io::ErrorKind::NotADirectory,
            folder,
            why,
        ));
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

    #[test]
    fn streams_and_folders_are_no_whole_files() {
        let folder = tempfile::tempdir().unwrap();
        OutputTarget::new(Path::new("/dev/null"))
            .unwrap()
            .write("through")
            .unwrap();
        for name in ["-", "/dev/null"].map(Path::new) {
            let refused = OutputTarget::whole(name);
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert!(check_folder(name).is_err());
        }
        let refused = |path: &Path| OutputTarget::new(path).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("is a folder"));
        assert!(refused(&folder.path().join("none/x.csv")).contains("there is no folder"));
        assert!(check_folder(&folder.path().join("none")).is_ok());
    }
}
