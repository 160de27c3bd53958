//! The advisory lock of a library's folder: one long run of changes at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::LibraryError;

const LOCK_FILE: &str = "voisin.lock";

/// Held by the process that is adding to a library. The system releases it when the process ends.
#[derive(Debug)]
pub struct WriterLock {
    file: Option<File>,
}

impl Drop for WriterLock {
    /// Closing the file is not enough: a program that another thread is just starting has a copy of it until it runs, and the
    /// lock with it.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = file.unlock();
        }
    }
}

impl WriterLock {
    /// Takes the lock of `dir`; the error names the process that has it.
    pub(super) fn try_take(dir: &Path) -> Result<Self, LibraryError> {
        let path = dir.join(LOCK_FILE);
        // The file is never removed: a lock on a removed
        // file would be of nothing that others can open.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // Its contents are the holder's process id, which
            // is not ours to clear before the lock is had.
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                LibraryError::ReadOnly { path: path.clone() }
            }
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                LibraryError::DiskFull { path: path.clone() }
            }
            _ => LibraryError::Io {
                action: "open",
                path: path.clone(),
                source,
            },
        })?;
        match file.try_lock() {
            Ok(()) => {
                // The process id only helps people to see who holds the lock: where the disk is too full to write it, tracks can
                // still be removed.
                let _ = file
                    .set_len(0)
                    .and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Self { file: Some(file) })
            }
            Err(TryLockError::WouldBlock) => {
                // Best effort: on Windows the holder's lock
                // also keeps others from reading the number.
                let mut text = String::new();
                let _ = file
                    .rewind()
                    .and_then(|()| file.take(32).read_to_string(&mut text));
                Err(LibraryError::WriterBusy {
                    dir: dir.to_path_buf(),
                    pid: text.trim().parse().ok(),
                })
            }
            // A file system without locks: SQLite's own remain.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { file: None })
            }
            Err(TryLockError::Error(source)) => Err(LibraryError::Io {
                action: "lock",
                path,
                source,
            }),
        }
    }

    /// Takes the lock of `dir`, waiting for it up to `patience`.
    pub(super) fn take(dir: &Path, patience: Duration) -> Result<Self, LibraryError> {
        let start = Instant::now();
        loop {
            match Self::try_take(dir) {
                Err(LibraryError::WriterBusy { .. }) if start.elapsed() < patience => {
                    // The standard library has no lock that waits up to a limit.
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_is_free_although_a_copy_of_its_file_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let lock = WriterLock::try_take(folder.path()).unwrap();
        assert!(matches!(
            WriterLock::try_take(folder.path()),
            Err(LibraryError::WriterBusy { .. })
        ));
        let _copy = lock.file.as_ref().map(|file| file.try_clone().unwrap());
        drop(lock);
        WriterLock::try_take(folder.path()).unwrap();
    }
}
