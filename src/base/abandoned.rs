//! Temporary files of killed processes.
//!
//! The name of every temporary file of voisin begins with [`PREFIX`], and its writer holds a lock on it. The system
//! releases the lock when the process ends: a temporary file that can be locked has no owner.

use std::fs::File;
use std::path::{Path, PathBuf};

/// The prefix of every temporary file's name.
pub const PREFIX: &str = ".voisin-";

/// Marks a temporary file as in use until it is closed.
pub fn hold(file: &File) {
    // If the file system has no locks, it is never taken for abandoned.
    let _ = file.try_lock();
}

/// The files in `folder` whose names begin with `prefix` and whose owners have ended. Without folders, which cannot be
/// locked.
pub fn files_in(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    // On Windows a lock keeps its owner's other handles from reading, so there temporary files have none.
    if prefix == PREFIX && !cfg!(unix) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(prefix.as_bytes())
        })
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| is_abandoned(path))
        .collect()
}

/// Whether the process that made this file has ended.
fn is_abandoned(path: &Path) -> bool {
    // Without write permission it is not removed. The lock taken by this test ends with the handle.
    let file = File::options().read(true).write(true).open(path);
    file.is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_an_owner_as_long_as_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".voisin-abc");
        let file = File::create(&path).unwrap();
        hold(&file);
        std::fs::write(folder.path().join("voisin-abc"), "").unwrap();
        std::fs::create_dir(folder.path().join(".voisin-folder")).unwrap();
        assert_eq!(files_in(folder.path(), PREFIX), Vec::<PathBuf>::new());
        drop(file);
        assert_eq!(files_in(folder.path(), PREFIX), [path]);
    }
}
