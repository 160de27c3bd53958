//! Temporary files of killed processes.
//!
//! The name of every temporary file of voisin begins with [`PREFIX`], and its writer holds a lock on it. The system
//! releases the lock when the process ends: a temporary file that can be locked has no owner. On Windows a lock keeps
//! its owner's other handles from reading, so there, and on file systems without locks, the age of the file decides.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The prefix of every temporary file's name.
pub const PREFIX: &str = ".voisin-";

/// Without locks, a file that was not written for this time has no owner.
// Longer than any pause in writing a file, short enough for a daily run to clean up.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// Marks a temporary file as in use until it is closed.
pub fn hold(file: &File) {
    // If the file system has no locks, the age decides.
    let _ = file.try_lock();
}

/// The files in `folder` whose names begin with `prefix` and whose owners have ended. Without folders, which cannot be
/// locked.
pub fn files_in(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
        })
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        // Journals are locked on every system, other temporary files only on Unix: see above.
        .filter(|path| is_abandoned(path, prefix != PREFIX || cfg!(unix)))
        .collect()
}

/// Whether the process that made this file has ended; `is_held`: whether it locked the file.
fn is_abandoned(path: &Path, is_held: bool) -> bool {
    // Without write permission it is not removed.
    let Ok(file) = File::options().read(true).write(true).open(path) else {
        return false;
    };
    match file.try_lock() {
        // The lock taken by this test ends with `file`, at the end of this function.
        Ok(()) if is_held => true,
        Err(TryLockError::WouldBlock) => false,
        Ok(()) | Err(TryLockError::Error(_)) => {
            let written = file.metadata().and_then(|metadata| metadata.modified());
            // Clocks may be set back, so an hour in the future counts like an hour ago.
            let age = written.map(|written| match SystemTime::now().duration_since(written) {
                Ok(age) => age,
                Err(ahead) => ahead.duration(),
            });
            age.is_ok_and(|age| age > FORGOTTEN)
        }
    }
}

#[cfg(test)]
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
        // Without locks the age decides.
        file.set_modified(SystemTime::now() - 2 * FORGOTTEN)
            .unwrap();
        drop(file);
        assert_eq!(files_in(folder.path(), PREFIX), [path]);
    }
}
