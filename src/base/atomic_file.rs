//! Files that are complete or absent.
//!
//! Every file that voisin writes has either its old or its new contents, even after a crash or power loss, and once
//! [`AtomicFile::commit`] has returned, the new ones. The file is written under a temporary name in the same folder,
//! flushed and renamed, and the folder is flushed, too.
//!
//! Its name begins with [`PREFIX`], and its writer holds a lock on it, which the system releases when the process ends: a
//! temporary file that can be locked has no owner.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// The prefix of every temporary file's name.
pub const PREFIX: &str = ".voisin-";

/// A file that is being written; if it is dropped before [`commit`](Self::commit), it is removed.
#[derive(Debug)]
pub struct AtomicFile {
    file: NamedTempFile,
    target: PathBuf,
}

impl AtomicFile {
    /// An empty file beside `target`, with the permissions that any new file gets. A folder, a device and a pipe cannot be
    /// replaced by a file.
    pub fn create(target: &Path) -> io::Result<Self> {
        Self::create_noted(target, &mut |_| ())
    }

    /// As [`create`](Self::create).
    ///
    /// - `note`: learns the temporary name before the file is there, so that a kill leaves none that is noted nowhere
    pub fn create_noted(target: &Path, note: &mut dyn FnMut(&Path)) -> io::Result<Self> {
        refuse_streams(target)?;
        // Writers that get the temporary name may choose the format by its extension.
        let extension = target.extension().unwrap_or_default();
        let mut suffix = OsString::from(if extension.is_empty() { "" } else { "." });
        suffix.push(extension);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(&suffix);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        let file = builder.make_in(folder_of(target), |path| {
            note(path);
            options.open(path)
        })?;
        if cfg!(unix) {
            hold(file.as_file());
        }
        let target = target.to_owned();
        Ok(Self { file, target })
    }

    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// The temporary name, for writers that open files themselves.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Flushes the contents, renames the file to its name, replacing a former file, and flushes the folder.
    pub fn commit(self) -> io::Result<()> {
        // Flushed before the rename: some file systems may else write the name before the contents,
        // and a power cut leaves an empty file.
        self.file.as_file().sync_all()?;
        self.file.persist(&self.target)?;
        sync_folder(folder_of(&self.target))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub fn write(target: &Path, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(contents.as_ref())?;
    file.commit()
}

/// Flushes a finished file from a staging folder and renames it to `target`.
pub fn rename(finished: &Path, target: &Path) -> io::Result<()> {
    refuse_streams(target)?;
    // Its writer may have closed it without flushing.
    File::options().write(true).open(finished)?.sync_all()?;
    std::fs::rename(finished, target)?;
    sync_folder(folder_of(target))
}

/// Marks a temporary file as in use until it is closed.
pub fn hold(file: &File) {
    // If the file system has no locks, it is never taken for abandoned.
    let _ = file.try_lock();
}

/// The files in `folder` whose names begin with `prefix` and whose owners have ended.
pub fn abandoned_files(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    // On Windows a lock keeps its owner's other handles from reading, so there temporary files have none.
    if prefix == PREFIX && !cfg!(unix) {
        return Vec::new();
    }
    // Without write permission it is not removed. The lock taken by this test ends with the handle.
    let is_abandoned = |path: &PathBuf| {
        let file = File::options().read(true).write(true).open(path);
        file.is_ok_and(|file| file.try_lock().is_ok())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().starts_with(prefix.as_bytes())
    });
    // A folder cannot be opened to write.
    named
        .map(|entry| entry.path())
        .filter(is_abandoned)
        .collect()
}

/// Refuses a target that is not a regular file: with permission to write to `/dev`, renaming would replace `/dev/null`
/// by a regular file.
pub fn refuse_streams(target: &Path) -> io::Result<()> {
    // Links are followed: one to `/dev/null` counts as that device.
    match std::fs::metadata(target) {
        Ok(metadata) if !metadata.is_file() => {
            let refused = "expected the name of a file, found a folder, a device or a pipe";
            Err(io::Error::new(io::ErrorKind::InvalidInput, refused))
        }
        _ => Ok(()),
    }
}

pub fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Flushes a folder's entries, except where folders cannot be opened or flushed (Windows, some network file systems).
fn sync_folder(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Also for root, whom permissions do not restrict.
    #[test]
    fn devices_and_folders_are_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for target in [&link, Path::new("/dev/null"), folder.path()] {
            let refused = write(target, "x").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_has_an_owner_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".voisin-abc");
        let file = File::create(&path).unwrap();
        hold(&file);
        std::fs::write(folder.path().join("voisin-abc"), "").unwrap();
        std::fs::create_dir(folder.path().join(".voisin-folder")).unwrap();
        let found = || abandoned_files(folder.path(), PREFIX);
        assert_eq!(found(), Vec::<PathBuf>::new());
        drop(file);
        assert_eq!(found(), [path]);
    }

    #[test]
    fn others_may_read_what_they_could_read_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        let whole = folder.path().join("whole");
        std::fs::write(&plain, "").unwrap();
        write(&whole, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&plain), mode(&whole));
    }
}
