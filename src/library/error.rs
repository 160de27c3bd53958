//! Errors of a library, sorted by what a caller can do about them.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use voisin_base::text::did_you_mean;
use voisin_base::track::TrackId;

use crate::SCHEMA_VERSION;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    #[error(
        "no library in {}: run \"voisin add FOLDER\" first, or name another one with --library",
        dir.display()
    )]
    NotFound { dir: PathBuf },
    /// The file is not a SQLite database, or one of another program.
    #[error("{} is not a voisin library ({found}): name another folder with --library", path.display())]
    NotALibrary { path: PathBuf, found: String },
    #[error(
        "{} was made by another version of voisin (schema {found}, expected {SCHEMA_VERSION}): name another library with --library, or move this one away and run \"voisin add FOLDER\"",
        path.display()
    )]
    OtherSchema { path: PathBuf, found: i64 },
    /// The database is cut or damaged.
    #[error(
        "{} is damaged ({detail}): restore a copy of it, or move it away and run \"voisin add FOLDER\" to analyse again",
        path.display()
    )]
    Damaged { path: PathBuf, detail: String },
    /// The file or its folder cannot be written, or the library was opened read-only.
    #[error(
        "{} cannot be written: check the rights of the file and its folder, or use --library",
        path.display()
    )]
    ReadOnly { path: PathBuf },
    /// The disk (or quota) is full. What was committed before is safe.
    #[error("no space left to write {}: what was added before is kept; free some space and run it again", path.display())]
    DiskFull { path: PathBuf },
    /// Another process is adding to this library, or keeps its database locked for longer than the busy timeout.
    #[error("another voisin{} is changing the library in {}: wait until it is done", pid.map_or_else(String::new, |pid| format!(" (process {pid})")), dir.display())]
    WriterBusy {
        dir: PathBuf,
        /// The process that holds the lock, where known.
        pid: Option<u32>,
    },
    #[error(
        "this library's vectors are from model {held} ({held_fingerprint}), not from {offered} ({offered_fingerprint}): use that model, or a new library with --library"
    )]
    OtherModel {
        held: String,
        held_fingerprint: String,
        offered: String,
        offered_fingerprint: String,
    },
    /// A track that cannot be stored: a vector of another length than the model's, not finite or not of unit norm, a text
    /// that is too long, a number out of range, an invalid path.
    #[error("{0}")]
    Refused(String),
    /// The library has this audio already: attach the file to its track instead.
    #[error("this audio is in the library already, as track {track}")]
    DuplicateContent { track: TrackId },
    #[error("no track has the id {0}: \"voisin list\" shows the ids")]
    UnknownTrack(TrackId),
    #[error("no {what} \"{name}\": {}{next}", did_you_mean(suggestions))]
    UnknownName {
        /// The kind of name: artist, album …
        what: &'static str,
        name: String,
        suggestions: Vec<String>,
        /// Where to look.
        next: &'static str,
    },
    #[error("cannot {action} {}: {source}: check its rights and its disk, or use --library", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: Error,
    },
    /// Any other error of SQLite.
    #[error("database {}: {source}: \"voisin verify\" looks for damage", path.display())]
    Sql {
        path: PathBuf,
        source: rusqlite::Error,
    },
}

impl LibraryError {
    /// The error for a vector of another length than the model's.
    pub fn dimension(expected: usize, found: usize) -> Self {
        Self::Refused(format!(
            "vector has dimension {found}, the library's model has {expected}"
        ))
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::UnknownTrack(_) | Self::UnknownName { .. })
    }

    /// Sorts the system's errors about a file to be written into what a caller can do about them.
    pub(crate) fn from_io(action: &'static str, path: &Path) -> impl FnOnce(Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    /// Sorts SQLite's codes into what a caller can do about them.
    pub(crate) fn from_sql(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let path = path.to_path_buf();
        let Some(code) = error.sqlite_error_code() else {
            return Self::Sql {
                path,
                source: error,
            };
        };
        match code {
            Code::DiskFull => Self::DiskFull { path },
            Code::ReadOnly => Self::ReadOnly { path },
            // Only after the busy timeout: until then SQLite itself tries again.
            Code::DatabaseBusy | Code::DatabaseLocked => Self::WriterBusy {
                dir: path.parent().map_or_else(PathBuf::new, Path::to_owned),
                pid: None,
            },
            Code::DatabaseCorrupt => Self::Damaged {
                path,
                detail: error.to_string(),
            },
            Code::NotADatabase => Self::NotALibrary {
                path,
                found: error.to_string(),
            },
            Code::SystemIoFailure | Code::CannotOpen
                if is_no_space() || is_shared_memory_full(&error) =>
            {
                Self::DiskFull { path }
            }
            // Any other read error may be of the disk or the network.
            Code::SystemIoFailure if is_short_read(&error) => Self::Damaged {
                path,
                detail: error.to_string(),
            },
            _ => Self::Sql {
                path,
                source: error,
            },
        }
    }
}

/// Why a write transaction was rolled back.
#[derive(Debug)]
pub(super) enum WorkError {
    Sql(rusqlite::Error),
    Refused(LibraryError),
}

impl From<rusqlite::Error> for WorkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LibraryError> for WorkError {
    fn from(error: LibraryError) -> Self {
        Self::Refused(error)
    }
}

/// Whether the last system error of this thread was a full disk.
///
/// SQLite reports a full disk as an I/O error where it grows its shared-memory file.
fn is_no_space() -> bool {
    matches!(
        Error::last_os_error().kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// A read that ended before a whole page: the file is cut.
fn is_short_read(error: &rusqlite::Error) -> bool {
    has_code(error, rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

/// Whether the shared-memory file could not grow. Later system calls hide this from [`is_no_space`].
pub(super) fn is_shared_memory_full(error: &rusqlite::Error) -> bool {
    has_code(error, rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

fn has_code(error: &rusqlite::Error, code: i32) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(found, _) if found.extended_code == code)
}
