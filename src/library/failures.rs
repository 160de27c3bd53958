//! Files that could not be added.

use std::path::PathBuf;

use rusqlite::{Transaction, params};

use super::store::{below, delete_below};
use super::{Failure, Library, Result, now, paths};
use voisin_base::text::LONGEST_TEXT;

impl Library {
    /// Files that failed, by path.
    pub fn failures(&self) -> Result<Vec<Failure>> {
        let sql = "SELECT path, size, mtime_ns, reason, transient, attempts, failed_at FROM failures ORDER BY path";
        self.query_all(sql, [], |row| {
            Ok(Failure {
                path: paths::from_bytes(row.get_ref(0)?.as_blob()?),
                size: row.get::<_, Option<i64>>(1)?.map(|size| size as u64),
                mtime_ns: row.get(2)?,
                reason: row.get(3)?,
                transient: row.get(4)?,
                attempts: row.get(5)?,
                failed_at: row.get(6)?,
            })
        })
    }

    /// Stores that a file could not be added, and counts the attempts.
    pub fn record_failure(&mut self, failure: &Failure) -> Result<()> {
        let path = paths::to_bytes(&failure.path)?;
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO failures (path, size, mtime_ns, reason, transient, attempts, failed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)
                 ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns,
                 reason = excluded.reason, transient = excluded.transient, attempts = attempts + 1,
                 failed_at = excluded.failed_at",
            )?
            .execute(params![
                path,
                failure.size.map(|size| size as i64),
                failure.mtime_ns,
                failure.reason,
                failure.transient,
                now()
            ])?;
            Ok(())
        })
    }

    /// Deletes failures so that the next `add` tries again: all, or those of these files and folders.
    /// Returns how many.
    pub fn clear_failures(&mut self, only: Option<&[PathBuf]>) -> Result<u64> {
        let ranges = only
            .map(|paths| {
                paths
                    .iter()
                    .map(|path| below(path))
                    .collect::<Result<Vec<_>>>()
            })
            .transpose()?;
        self.write(|tx| {
            Ok(match ranges {
                None => tx.execute("DELETE FROM failures", [])? as u64,
                Some(ranges) => delete_below(tx, "failures", &ranges)?,
            })
        })
    }

    /// Imports failures of another library, except of files that this one has an entry for.
    pub fn take_in_failures(&mut self, failures: &[Failure]) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        self.write(|tx| Ok(put_failures(tx, failures)?))
    }
}

pub(super) fn put_failures(tx: &Transaction<'_>, failures: &[Failure]) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO failures (path, size, mtime_ns, reason, transient, attempts, failed_at)
         SELECT ?1, ?2, ?3, ?4, ?5, 1, ?6 WHERE NOT EXISTS (SELECT 1 FROM files WHERE path = ?1)
         ON CONFLICT (path) DO NOTHING",
    )?;
    for failure in failures {
        let Ok(path) = paths::to_bytes(&failure.path) else {
            continue;
        };
        // They come from other machines and are as untrusted as tracks.
        let is_long = path.len().max(failure.reason.len()) > LONGEST_TEXT;
        if is_long || paths::check(&failure.path).is_err() {
            continue;
        }
        insert.execute(params![
            path,
            failure.size.map(|size| size as i64),
            failure.mtime_ns,
            failure.reason,
            failure.transient,
            now()
        ])?;
    }
    Ok(())
}
