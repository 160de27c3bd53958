//! Backups: consistent copies of the database.

use std::path::Path;

use rusqlite::Connection;

use super::{LibraryError, Result, paths};
use voisin_base::atomic_file;

/// Writes a consistent copy under another name, flushes and renames it: `target` is complete or absent.
pub(super) fn back_up(connection: &Connection, path: &Path, target: &Path) -> Result<()> {
    let io = |action, at: &Path, source: std::io::Error| match source.kind() {
        std::io::ErrorKind::StorageFull => LibraryError::DiskFull {
            path: at.to_path_buf(),
        },
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            LibraryError::ReadOnly {
                path: at.to_path_buf(),
            }
        }
        _ => LibraryError::Io {
            action,
            path: at.to_path_buf(),
            source,
        },
    };
    // VACUUM INTO refuses only non-empty files, and the rename would replace whatever is there.
    if target.exists() {
        return Err(io(
            "write",
            target,
            std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    // VACUUM INTO accepts an empty file and takes its name as text, whatever its bytes.
    let staging =
        atomic_file::staging_folder(target).map_err(|source| io("write beside", target, source))?;
    let copy = staging.path().join("copy.db");
    connection
        .execute("VACUUM INTO CAST(?1 AS TEXT)", [paths::to_bytes(&copy)?])
        .map_err(|error| match LibraryError::from_sql(path, error) {
            // The library is only read.
            LibraryError::DiskFull { .. } => {
                io("write", target, std::io::ErrorKind::StorageFull.into())
            }
            error => error,
        })?;
    atomic_file::rename(&copy, target).map_err(|source| io("write", target, source))
}
