//! The SQLite catalogue: tracks, files, tags, vectors, failures. The source of truth.
//!
//! For: keeping what cannot be computed again cheaply, and listing changes. Not for: decoding
//! audio, computing vectors or searching them; an index is a cache of it that can be thrown away at
//! any time.
//!
//! A library is a folder with one database, `voisin.db`, in write-ahead mode:
//!
//! - **Nothing committed is lost.** Each track is one transaction, and `synchronous` is `FULL`: the log is
//!   flushed to the disk before a call returns. (`NORMAL` would survive a killed process too, but may lose
//!   the last transactions when the power goes. A flush costs a millisecond or so, analysing a track
//!   hundreds.)
//! - **Readers never wait.** They see all that is committed so far. Writers queue for up to ten seconds, then
//!   fail with [`LibraryError::WriterBusy`]; a long run takes [`Library::lock_for_writing`] besides.
//! - **Generations.** Triggers raise a counter and keep a log whenever a vector is added, replaced or
//!   removed, so that an index can detect that it lags ([`Library::generation`](Library::generation))
//!   and catch up
//!   ([`Library::changes_since`](Library::changes_since)).
//! - **Ids are never reused.** A removed track's id is not given to another.

#![forbid(unsafe_code)]

pub mod artists;
mod descriptors;
mod error;
mod failures;
mod find;
mod health;
mod journal;
mod labels;
mod licence;
mod list;
mod lock;
mod logits;
mod mean;
mod musical_key;
mod open;
mod path_lookup;
mod path_matching;
mod paths;
mod query;
mod read;
mod record;
pub mod recording;
mod scales;
pub mod scan;
mod store;
pub mod testing;
#[cfg(test)]
mod tests;
mod track_set;
mod types;
mod verdicts;
mod written;

pub use error::LibraryError;
use error::WorkError;
pub use find::NameOf;
pub use health::Health;
pub use journal::Leftovers;
pub use journal::{Journal, JournalKind};
pub use licence::licence_fits;
pub use licence::licence_id;
pub use licence::licences_named;
pub use list::SortBy;
pub use lock::WriterLock;
pub use mean::StoredMean;
pub use musical_key::MusicalKey;
pub use open::SCHEMA_VERSION;
pub use path_lookup::PathLookup;
pub use paths::from_bytes as path_from_bytes;
pub use paths::to_bytes as path_to_bytes;
pub use paths::{default_dir, stored_path};
pub use read::Snapshot;
pub use record::Intake;
pub use record::{MergeOutcome, TaggedFile, TrackFacts, TrackRecord};
pub use scales::{SCALES, ScaleBound, ScaleName, ScaleValue, Scales};
pub use track_set::TrackSet;
pub use types::{
    AttachOutcome, AudioFacts, Changes, Descriptors, Failure, FileRecord, FileState, MissingFile,
    NewTrack, OpenMode, Removed, Resolution, Status, StoredFile, StoredModel, Track, TrackFilter,
    Vectors, WordBound, mtime_ns,
};
pub use voisin_base::tags::TrackTags;
pub use voisin_base::text::fold;
pub use written::{TagRun, WrittenTags};

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

/// Name of the database inside a library's folder.
pub const DATABASE: &str = "voisin.db";

type Result<T, E = LibraryError> = std::result::Result<T, E>;

/// An open catalogue: one connection to its database. It can move to another thread but not be shared;
/// several threads or processes open it several times.
#[derive(Debug)]
pub struct Library {
    connection: Connection,
    dir: PathBuf,
    path: PathBuf,
    mode: OpenMode,
}

impl Library {
    /// The folder of the library.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The mode it was opened in.
    pub fn mode(&self) -> OpenMode {
        self.mode
    }

    /// Limits this connection's page cache, in KiB.
    pub fn limit_page_cache(&self, kibibytes: u32) -> Result<()> {
        self.sql(
            self.connection
                .pragma_update(None, "cache_size", -i64::from(kibibytes)),
        )
    }

    /// Keeps SQLite's statement journals in memory: by default it writes the pages that a statement
    /// changes to a file, in case the statement fails, which costs forty writes for each track. For
    /// transactions whose statements each change a few pages.
    fn keep_statements_in_memory(&self) -> Result<()> {
        // SQLite's number for `PRAGMA temp_store = MEMORY`.
        const IN_MEMORY: i64 = 2;
        if self.pragma("temp_store")? == IN_MEMORY {
            return Ok(());
        }
        self.sql(self.connection.pragma_update(None, "temp_store", IN_MEMORY))
    }

    /// Counts, at a cost that does not grow with the library.
    pub fn status(&self) -> Result<Status> {
        // Model and counts are read by several statements and have to agree.
        let snapshot = self.snapshot()?;
        let status = self.sql(self.connection.query_row(
            "SELECT tracks, files, vectors, failures, generation FROM state",
            [],
            |row| {
                let count = |index| row.get::<_, i64>(index).map(|count| count as u64);
                Ok(Status {
                    tracks: count(0)?,
                    files: count(1)?,
                    vectors: count(2)?,
                    failures: count(3)?,
                    generation: count(4)?,
                    model: None,
                    schema: 0,
                    bytes: 0,
                })
            },
        ))?;
        let model = self.model()?;
        let schema = self.pragma("user_version")? as u32;
        let bytes = (self.pragma("page_count")? * self.pragma("page_size")?) as u64;
        drop(snapshot);
        Ok(Status {
            model,
            schema,
            bytes,
            ..status
        })
    }

    /// The model of the library's vectors, if one was set.
    pub fn model(&self) -> Result<Option<StoredModel>> {
        let sql = "SELECT name, fingerprint, dimension, manifest FROM model";
        self.query_opt(sql, [], store::stored_model)
    }

    /// Sets the model whose vectors are going to be stored.
    ///
    /// The same fingerprint again only refreshes name and manifest. Another fingerprint is refused with
    /// [`LibraryError::OtherModel`] while the library has tracks: vectors of two models never mix.
    pub fn set_model(&mut self, model: &StoredModel) -> Result<()> {
        // The usual case, each run of `add`: nothing to write, so no write lock is taken.
        let held = self.model()?;
        if held.as_ref() == Some(model) {
            return Ok(());
        }
        self.write(|tx| {
            let held = tx
                .query_row(
                    "SELECT name, fingerprint FROM model
                     WHERE fingerprint <> ?1 AND EXISTS (SELECT 1 FROM audio)",
                    [&model.fingerprint],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            if let Some((held, held_fingerprint)) = held {
                return Err(WorkError::Refused(LibraryError::OtherModel {
                    held,
                    held_fingerprint,
                    offered: model.name.clone(),
                    offered_fingerprint: model.fingerprint.clone(),
                }));
            }
            tx.execute(
                "INSERT OR REPLACE INTO model VALUES (1, ?1, ?2, ?3, ?4)",
                (
                    &model.name,
                    &model.fingerprint,
                    model.dimension as i64,
                    &model.manifest_json,
                ),
            )?;
            Ok(())
        })
    }

    /// Takes the lock that excludes a second long run of changes, until it is dropped or the process ends. Readers
    /// are not affected.
    ///
    /// Fails at once with [`LibraryError::WriterBusy`] if another run holds it. Removes temporary files of killed
    /// processes.
    pub fn lock_for_writing(&self) -> Result<WriterLock> {
        // Staging folders are only made under this lock; other temporary files are locked by their
        // writers.
        let lock = WriterLock::try_take(&self.dir)?;
        self.remove_leftovers();
        self.remove_staging();
        Ok(lock)
    }

    /// Keeps reads at one state of the database until the guard is dropped, whatever other processes
    /// commit meanwhile.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        // already inside a transaction, which keeps its state as well
        if !self.connection.is_autocommit() {
            return Ok(Snapshot::nested());
        }
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred);
        self.sql(transaction).map(Snapshot::new)
    }

    /// Writes a consistent copy of the database to `target`, which must not exist yet; other processes
    /// may read and write meanwhile. A killed run leaves a part of it.
    pub fn back_up(&self, target: &Path) -> Result<()> {
        // As bytes, since VACUUM INTO takes the name as text.
        let target = paths::to_bytes(target)?;
        let copied = self
            .connection
            .execute("VACUUM INTO CAST(?1 AS TEXT)", [target]);
        self.sql(copied).map(drop)
    }

    /// Runs one write transaction. It takes the write lock at its start, so that writers queue and
    /// none fails half-way. If the work returns an error, nothing is changed.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, WorkError>,
    ) -> Result<T> {
        if self.mode == OpenMode::ReadOnly {
            return Err(LibraryError::ReadOnly {
                path: self.path.clone(),
            });
        }
        let transaction = self
            .connection
            // A deferred transaction could read first and then fail to upgrade its lock.
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let result = transaction.map_err(WorkError::Sql).and_then(|tx| {
            let value = work(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        result.map_err(|error| match error {
            WorkError::Sql(error) => self.note_damage(LibraryError::from_sql(&self.path, error)),
            WorkError::Refused(error) => self.note_damage(error),
        })
    }

    /// Reads all rows of a query, by a cached statement.
    fn query_all<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<C> {
        let found = self.connection.prepare_cached(sql);
        self.sql(found.and_then(|mut query| query.query_map(parameters, read)?.collect()))
    }

    /// Reads one row.
    fn query_one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let found = self.connection.prepare_cached(sql);
        self.sql(found.and_then(|mut query| query.query_row(parameters, read)))
    }

    /// Reads one row, if there is one.
    fn query_opt<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let found = self.connection.prepare_cached(sql);
        self.sql(found.and_then(|mut query| query.query_row(parameters, read).optional()))
    }

    fn pragma(&self, name: &str) -> Result<i64> {
        self.sql(
            self.connection
                .pragma_query_value(None, name, |row| row.get(0)),
        )
    }

    fn sql<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| self.note_damage(LibraryError::from_sql(&self.path, error)))
    }

    /// Leaves the log of a damaged database as it is: if a backup was put in place of another database, that one's log
    /// is the damage, and the last connection to close would merge it into the file.
    fn note_damage(&self, error: LibraryError) -> LibraryError {
        if matches!(error, LibraryError::Damaged { .. }) {
            let _ = open::keep_log(&self.connection, true);
        }
        error
    }

    /// Counter of the changes to vectors. Equal generations of one library have equal vectors.
    pub fn generation(&self) -> Result<u64> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let generation = self.query_one("SELECT generation FROM state", [], read);
        generation.map(i64::unsigned_abs)
    }

    /// Counter of the changes to tags and to labels given by hand.
    pub fn metadata_generation(&self) -> Result<u64> {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let generation = self.query_one("SELECT metadata FROM state", [], read);
        generation.map(i64::unsigned_abs)
    }

    /// Changes whenever another connection, of this process or another, commits; equal values of one connection
    /// mean that none did.
    pub fn data_version(&self) -> Result<i64> {
        self.pragma("data_version")
    }

    /// Two numbers, one of which changes with every commit of this connection or another.
    // `data_version` does not change with this connection's own commits; `total_changes` does.
    pub fn commits(&self) -> Result<(i64, u64)> {
        Ok((self.data_version()?, self.connection.total_changes()))
    }

    /// A setting of this library, such as the number of windows a track.
    pub fn setting(&self, name: &str) -> Result<Option<String>> {
        let sql = "SELECT value FROM settings WHERE name = ?1";
        self.query_opt(sql, [name], |row| row.get(0))
    }

    /// Stores a setting of this library; `None` deletes it.
    pub fn set_setting(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        self.write(|tx| {
            match value {
                Some(value) => tx.execute(
                    "INSERT INTO settings (name, value) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    (name, value),
                )?,
                None => tx.execute("DELETE FROM settings WHERE name = ?1", [name])?,
            };
            Ok(())
        })
    }
}

/// Now, in seconds since 1970 UTC. Only ever stored and shown, never compared.
fn now() -> i64 {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(after) => after.as_secs() as i64,
        Err(before) => -(before.duration().as_secs() as i64),
    }
}
