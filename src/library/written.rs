//! Genres that voisin wrote into files, with the former ones, so that a run can be undone.

use std::path::{Path, PathBuf};

use super::{Library, Result, now, paths};

/// Genres written into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenTags {
    pub path: PathBuf,
    pub before: Vec<String>,
    pub after: Vec<String>,
    /// Patch that restores the file's former bytes; `None` where none was kept.
    pub patch: Option<Vec<u8>>,
}

fn written(row: &rusqlite::Row<'_>) -> rusqlite::Result<WrittenTags> {
    let list = |at: usize| -> rusqlite::Result<Vec<String>> {
        serde_json::from_str(row.get_ref(at)?.as_str()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, error.into())
        })
    };
    let path = paths::from_bytes(row.get_ref(0)?.as_blob()?);
    Ok(WrittenTags {
        path,
        before: list(1)?,
        after: list(2)?,
        patch: row.get(3)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagRun {
    pub run: i64,
    /// When it began, in seconds since 1970 UTC.
    pub at: i64,
    /// Files that can be undone.
    pub files: u64,
}

impl Library {
    /// Runs that can be undone, the latest first.
    pub fn tag_runs(&self) -> Result<Vec<TagRun>> {
        let sql = "SELECT run, min(written_at), count(*) FROM written_tags GROUP BY run ORDER BY run DESC";
        self.query_all(sql, [], |row| {
            Ok(TagRun {
                run: row.get(0)?,
                at: row.get(1)?,
                files: row.get::<_, i64>(2)? as u64,
            })
        })
    }

    /// The tags that a run wrote, by path.
    pub fn written_tags(&self, run: i64) -> Result<Vec<WrittenTags>> {
        let sql =
            "SELECT path, before, after, patch FROM written_tags WHERE run = ?1 ORDER BY path";
        self.query_all(sql, [run], written)
    }

    /// The tags that a run wrote into a file.
    pub fn written_into(&self, run: i64, path: &Path) -> Result<Option<WrittenTags>> {
        let sql =
            "SELECT path, before, after, patch FROM written_tags WHERE run = ?1 AND path = ?2";
        let path = paths::to_bytes(path)?;
        self.query_opt(sql, (run, path), written)
    }

    /// Stores the tags that are about to be written into a file, replacing those of this run for
    /// it.
    pub fn record_written(&mut self, run: i64, written: &WrittenTags) -> Result<()> {
        let path = paths::to_bytes(&written.path)?;
        self.write(|tx| {
            tx.prepare_cached(
                "INSERT INTO written_tags (run, path, before, after, written_at, patch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (run, path) DO UPDATE
                 SET before = excluded.before, after = excluded.after, patch = excluded.patch",
            )?
            .execute((
                run,
                path,
                serde_json::json!(written.before).to_string(),
                serde_json::json!(written.after).to_string(),
                now(),
                &written.patch,
            ))?;
            Ok(())
        })
    }

    /// Deletes the tags written into a file: they were not written, or were undone.
    pub fn forget_written(&mut self, run: i64, path: &Path) -> Result<()> {
        let path = paths::to_bytes(path)?;
        self.write(|tx| {
            tx.prepare_cached("DELETE FROM written_tags WHERE run = ?1 AND path = ?2")?
                .execute((run, path))?;
            Ok(())
        })
    }
}
