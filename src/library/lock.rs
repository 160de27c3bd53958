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
    /// Closing the file is not enough: a process that another thread is just starting holds a copy of the descriptor,
    /// and the lock with it, until `exec`.
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
        // The file is never removed: others could not open a removed file and see its lock.
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // The file has the holder's process id, which must not be cleared before the lock is
            // taken.
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(LibraryError::from_io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                // The process id is only for messages: on a full disk it is not written, and tracks can still be
                // removed.
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
            Err(TryLockError::Error(error)) => Err(LibraryError::from_io("lock", &path)(error)),
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
    fn a_released_lock_is_free_although_its_file_is_still_open() {
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
