//! Recovers what can be read of a damaged database into a new one.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row};

use super::open::{PAGE_SIZE, immutable_uri, log_is_empty, migrations};
use super::{DATABASE, Library, LibraryError, OpenMode, Result, WriterLock, paths};
use voisin_base::abandoned::PREFIX;
use voisin_base::atomic_file::{self, StagingFolder};

/// The outcome of [`salvage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvageReport {
    /// Where the damaged database is kept.
    pub damaged: PathBuf,
    /// The number of tracks before, if it can be read.
    pub tracks: Option<u64>,
    /// Rows read, by table.
    pub rows: Vec<(&'static str, u64)>,
    /// Tables of which some part could not be read.
    pub incomplete: Vec<&'static str>,
}

/// Tables of all schemas but the genres, parents first. `true`: the first column is an integer key, by which rows
/// around damage are read one by one.
// Without `state`, which triggers fill, and the logs of changes, which belong to indexes of the damaged library.
const TABLES: [(&str, bool); 23] = [
    ("model", true),
    ("models", true),
    ("spaces", true),
    ("settings", false),
    ("audio", true),
    ("files", true),
    ("tags", true),
    ("credits", true),
    ("vectors", true),
    ("windows", true),
    ("logits", true),
    ("descriptors", true),
    ("failures", true),
    ("labels", false),
    ("scales", false),
    ("label_changes", true),
    ("duplicate_verdicts", false),
    ("songs", true),
    ("links", false),
    ("linked_artists", false),
    ("written_tags", false),
    ("heard", false),
    ("opinions", false),
];

/// Greatest key that is tried row by row if no better limit is known.
// Each key costs a look-up. A larger library has a sequence, which gives the limit.
const UNKNOWN_LIMIT: i64 = 1_000_000;

/// Recovers what can be read of a damaged database into a new one; the damaged file is kept beside it.
///
/// For a database that [`Library::open`] or [`Library::check`] reports as damaged. No other process may
/// have it open. Tracks whose rows are lost are new to the next `add`. If more can be read without the log than with it,
/// that is taken: a log that was left beside a restored backup is of another database. Fails without a change if not
/// even the schema can be read.
pub fn salvage(dir: &Path) -> Result<SalvageReport> {
    let path = dir.join(DATABASE);
    // No lock keeps readers away, so the caller closes its own library first.
    let _lock = WriterLock::try_take(dir)?;
    let io = |action, at: &Path, source| LibraryError::Io {
        action,
        path: at.to_path_buf(),
        source,
    };
    let folder =
        || StagingFolder::beside(&path, PREFIX).map_err(|source| io("write into", dir, source));
    let mut staging = folder()?;
    let mut report = rebuild(&path, true, staging.path());
    let is_whole = |report: &SalvageReport| report.incomplete.is_empty();
    if !log_is_empty(&path) && !report.as_ref().is_ok_and(is_whole) {
        let rows = |report: &Result<SalvageReport>| -> u64 {
            let report = report.as_ref();
            report.map_or(0, |report| report.rows.iter().map(|(_, rows)| rows).sum())
        };
        let other = folder()?;
        let without = rebuild(&path, false, other.path());
        if rows(&without) > rows(&report) {
            report = without;
            staging = other;
        }
    }
    let report = report?;
    put_in_place(&path, &staging.path().join(DATABASE), &report.damaged)
        .map_err(|source| io("replace", &path, source))?;
    Ok(report)
}

/// Copies what can be read into a new library.
///
/// - `with_log`: read the log, too
fn rebuild(path: &Path, with_log: bool, into: &Path) -> Result<SalvageReport> {
    let mut report = SalvageReport {
        damaged: paths::free_name(path, ".damaged"),
        tracks: None,
        rows: Vec::new(),
        incomplete: Vec::new(),
    };
    // Read-only, so that closing it moves nothing from the log into the damaged file.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let damaged = |detail: &str| LibraryError::Damaged {
        path: path.to_owned(),
        detail: detail.to_owned(),
    };
    let old = if with_log {
        Connection::open_with_flags(path, flags)
    } else {
        Connection::open_with_flags(immutable_uri(path)?, flags | OpenFlags::SQLITE_OPEN_URI)
    }
    .map_err(|e| LibraryError::from_sql(path, e))?;
    // With a writable schema SQLite accepts a file that is shorter than in its header.
    old.execute_batch(
        "PRAGMA writable_schema = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
    )
    .map_err(|e| LibraryError::from_sql(path, e))?;
    let version: i64 = old
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|_| damaged("its first page cannot be read, restore a backup"))?;
    let migrations = migrations();
    // An older schema is kept; the next opening migrates it.
    let known = usize::try_from(version).ok().filter(|version| *version > 0);
    let Some(migrations) = known.and_then(|version| migrations.get(..version)) else {
        let newest = migrations.len();
        return Err(damaged(&format!(
            "its schema is {version}, only 1 to {newest} can be salvaged"
        )));
    };
    // The old and new tables then have the same columns, and rows can be copied as they are.
    let new = Library::open_with(into, OpenMode::Create, migrations, PAGE_SIZE)?;
    copy(&old, &new, &mut report)?;
    Ok(report)
}

fn copy(old: &Connection, library: &Library, report: &mut SalvageReport) -> Result<()> {
    let new = &library.connection;
    let fail = |error| LibraryError::from_sql(&library.path, error);
    // a parent's page may be lost while its children can be read
    new.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")
        .map_err(fail)?;
    for (table, is_keyed) in TABLES {
        let columns = columns_of(new, table).map_err(fail)?;
        // A table of another schema.
        let Some(first) = columns.first() else {
            continue;
        };
        let key = if is_keyed { first.as_str() } else { "" };
        let places = (1..=columns.len())
            .map(|n| format!("?{n}"))
            .collect::<Vec<_>>()
            .join(", ");
        // By name: migrations append columns, which a newer schema may have elsewhere.
        let all = columns.join(", ");
        let mut insert = new
            .prepare(&format!(
                "INSERT OR IGNORE INTO {table} ({all}) VALUES ({places})"
            ))
            .map_err(fail)?;
        let mut read = 0;
        let mut rows = 0;
        let whole = read_table(old, table, key, &all, |values| {
            read += 1;
            rows += insert.execute(rusqlite::params_from_iter(values))? as u64;
            Ok(())
        })
        .map_err(fail)?;
        // a row that the schema refuses was read, but is damaged
        report.note(table, rows, whole && rows == read);
    }
    // Last, as they are read by the files that were recovered.
    let (rows, whole) = copy_genres(old, new).map_err(fail)?;
    report.note("genres", rows, whole);

    // An index of the damaged library must not match this one.
    let old_state = |column: &str| -> Option<Value> {
        old.query_row(&format!("SELECT {column} FROM state"), [], |row| {
            value(row, 0)
        })
        .ok()
    };
    report.tracks = match old_state("tracks") {
        Some(Value::Integer(tracks)) => u64::try_from(tracks).ok(),
        _ => None,
    };
    let generation = match old_state("generation") {
        Some(Value::Integer(generation)) if (0..i64::MAX / 2).contains(&generation) => generation,
        // Beyond the generation of any library, so that an existing index is always older.
        _ => 1 << 32,
    };
    if !columns_of(new, "models").map_err(fail)?.is_empty() {
        let model = old_state("model").unwrap_or(Value::Null);
        // If it cannot be read, the model with most vectors.
        let sql = "UPDATE state SET model = coalesce((SELECT id FROM models WHERE id = ?1),
            (SELECT model FROM vectors GROUP BY model ORDER BY count(*) DESC LIMIT 1), (SELECT min(id) FROM models))";
        new.execute(sql, [model]).map_err(fail)?;
    }
    // Ids of lost tracks are not reused either: servers and exported lists refer to tracks by id.
    if let Some(newest) = newest_track(old) {
        for sql in [
            "DELETE FROM sqlite_sequence WHERE name = 'audio' AND seq < ?1",
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'audio', ?1
             WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'audio')",
        ] {
            new.execute(sql, [newest]).map_err(fail)?;
        }
    }
    new.execute(
        "UPDATE state SET generation = generation + ?1 + 1",
        [generation],
    )
    .map_err(fail)?;
    if !columns_of(new, "spaces").map_err(fail)?.is_empty() {
        new.execute_batch(
            "UPDATE spaces SET generation = generation + 1; DELETE FROM space_changes",
        )
        .map_err(fail)?;
    }
    // Only the database file is renamed, so that the log must be merged into it.
    new.execute_batch("DELETE FROM changes; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
        .map_err(fail)
}

/// The columns of a table, in order; none if there is no such table.
fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

impl SalvageReport {
    /// Rows read of a table.
    pub fn rows_of(&self, table: &str) -> u64 {
        self.rows
            .iter()
            .find(|(name, _)| *name == table)
            .map_or(0, |(_, rows)| *rows)
    }

    fn note(&mut self, table: &'static str, rows: u64, whole: bool) {
        self.rows.push((table, rows));
        if !whole {
            self.incomplete.push(table);
        }
    }
}

/// Passes every row that can be read to `put`: forwards up to the damage, backwards down to it, then one
/// by one between. Returns whether all could be read. Errors are those of `put`.
fn read_table(
    old: &Connection,
    table: &str,
    key: &str,
    columns: &str,
    mut put: impl FnMut(Vec<Value>) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    // An index may be damaged and the table sound.
    let select = format!("SELECT {columns} FROM {table} NOT INDEXED");
    // a table that the damaged schema lacks
    if old.prepare(&select).is_err() {
        return Ok(false);
    }
    if key.is_empty() {
        return Ok(read_rows(old, &select, None, &mut put)?.whole);
    }
    let forwards = read_rows(old, &format!("{select} ORDER BY {key}"), None, &mut put)?;
    if forwards.whole {
        return Ok(true);
    }
    let after = forwards.last.unwrap_or(i64::MIN);
    // rows after a damaged page can be read in descending order
    let downwards = format!("{select} WHERE {key} > ?1 ORDER BY {key} DESC");
    let backwards = read_rows(old, &downwards, Some(after), &mut put)?;
    if backwards.whole {
        return Ok(false);
    }
    let from = forwards.last.map_or(1, |last| last.saturating_add(1));
    // Between the last rows read from both ends, either of which may be missing.
    let to = backwards.last.unwrap_or(i64::MAX).min(greatest_key(old));
    let single = format!("{select} WHERE {key} = ?1");
    // rows between two damaged pages can only be read by key
    for id in from..to {
        read_rows(old, &single, Some(id), &mut put)?;
    }
    Ok(false)
}

/// The greatest id that a track had, where that can be read.
fn newest_track(old: &Connection) -> Option<i64> {
    let newest = old.query_row(
        "SELECT seq FROM sqlite_sequence WHERE name = 'audio'",
        [],
        |row| row.get::<_, i64>(0),
    );
    // clamped, as the sequence may be damaged as well
    newest
        .ok()
        .map(|newest| newest.clamp(0, UNKNOWN_LIMIT * 10))
}

/// An estimate of the greatest key of any table: tracks have few files each.
fn greatest_key(old: &Connection) -> i64 {
    // Files have keys of their own: twice as many leaves room for copies.
    newest_track(old).map_or(UNKNOWN_LIMIT, |newest| newest * 2 + 1000)
}

struct RowProgress {
    whole: bool,
    last: Option<i64>,
}

fn read_rows(
    old: &Connection,
    sql: &str,
    key: Option<i64>,
    put: &mut impl FnMut(Vec<Value>) -> rusqlite::Result<()>,
) -> rusqlite::Result<RowProgress> {
    let mut progress = RowProgress {
        whole: false,
        last: None,
    };
    let Ok(mut statement) = old.prepare_cached(sql) else {
        return Ok(progress);
    };
    let columns = statement.column_count();
    let Ok(mut rows) = statement.query(rusqlite::params_from_iter(key)) else {
        return Ok(progress);
    };
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                let Ok(values) = (0..columns)
                    .map(|at| value(row, at))
                    .collect::<rusqlite::Result<Vec<_>>>()
                else {
                    return Ok(progress);
                };
                if let Some(Value::Integer(id)) = values.first() {
                    progress.last = Some(*id);
                }
                match put(values) {
                    Err(error) if !is_refusal(&error) => return Err(error),
                    _ => {}
                }
            }
            Ok(None) => {
                progress.whole = true;
                return Ok(progress);
            }
            Err(_) => return Ok(progress),
        }
    }
}

/// Whether the schema refused a row, which is then lost. `OR IGNORE` does not skip a wrong type.
fn is_refusal(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// Copies the genres by file, as they have no integer key.
fn copy_genres(old: &Connection, new: &Connection) -> rusqlite::Result<(u64, bool)> {
    let files: Vec<i64> = new
        .prepare("SELECT id FROM files ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let columns = columns_of(new, "genres")?;
    let places = vec!["?"; columns.len()].join(", ");
    let all = columns.join(", ");
    let mut insert = new.prepare(&format!(
        "INSERT OR IGNORE INTO genres ({all}) VALUES ({places})"
    ))?;
    let select = format!("SELECT {all} FROM genres WHERE file = ?1");
    let mut count = 0;
    let mut whole = true;
    for file in files {
        let read = (|| -> rusqlite::Result<_> {
            let mut statement = old.prepare_cached(&select)?;
            let mut rows = statement.query([file])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(
                    (0..columns.len())
                        .map(|at| value(row, at))
                        .collect::<rusqlite::Result<Vec<_>>>()?,
                );
            }
            Ok(found)
        })();
        match read {
            Ok(found) => {
                for values in found {
                    let rows = match insert.execute(rusqlite::params_from_iter(values)) {
                        Err(error) if is_refusal(&error) => 0,
                        inserted => inserted?,
                    };
                    whole &= rows > 0;
                    count += rows as u64;
                }
            }
            Err(_) => whole = false,
        }
    }
    Ok((count, whole))
}

/// A value; invalid UTF-8 in a text is replaced.
fn value(row: &Row<'_>, at: usize) -> rusqlite::Result<Value> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

/// Keeps the damaged file under another name and puts the new one in its place. The log moves with
/// the damaged file, as it would be replayed into the new one.
fn put_in_place(path: &Path, new: &Path, damaged: &Path) -> std::io::Result<()> {
    if fs::hard_link(path, damaged).is_err() {
        fs::copy(path, damaged)?;
    }
    let log = paths::with_suffix(path, "-wal");
    if log.exists() {
        fs::rename(&log, paths::with_suffix(damaged, "-wal"))?;
    }
    let _ = fs::remove_file(paths::with_suffix(path, "-shm"));
    atomic_file::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use voisin_base::track::TrackId;

    /// A library of two tracks with two genres each, changed by this SQL.
    fn damaged_by(dir: &Path, sql: &str) {
        let mut library = testing::library(dir, 2);
        for seed in 1..=2 {
            let mut new = testing::track(seed, vec![0.6, 0.8], 1);
            new.tags.genres = vec!["Dub".to_owned(), "Ska".to_owned()];
            library.insert_track(&new).unwrap();
        }
        drop(library);
        let raw = Connection::open(dir.join(DATABASE)).unwrap();
        raw.execute_batch(sql).unwrap();
    }

    #[test]
    fn links_of_a_lost_track_go_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        damaged_by(
            dir.path(),
            "PRAGMA foreign_keys = OFF;
             INSERT INTO links (server, item, track) VALUES ('server', 'item', 2);
             INSERT INTO songs (track, song) VALUES (2, 1);
             INSERT INTO duplicate_verdicts (first, second, version, is_duplicate) VALUES (1, 2, 1, 1);
             INSERT INTO descriptors (track, version, tempo) VALUES (2, 1, 99.0);
             INSERT INTO logits (track, model, logits) VALUES (2, 1, x'00000000');
             DELETE FROM audio WHERE id = 2",
        );
        salvage(dir.path()).unwrap();
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert_eq!(library.repair().unwrap().remaining, vec![]);
        for table in [
            "links",
            "songs",
            "duplicate_verdicts",
            "descriptors",
            "logits",
        ] {
            let sql = format!("SELECT count(*) FROM {table}");
            let rows: i64 = library
                .connection
                .query_row(&sql, [], |row| row.get(0))
                .unwrap();
            assert_eq!(rows, 0, "{table}");
        }
        let new = testing::track(3, vec![0.6, 0.8], 0);
        assert_eq!(library.insert_track(&new).unwrap(), TrackId(3));
    }

    #[test]
    fn a_foreign_log_spoils_no_restored_backup() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut library = testing::library(dir.path(), 2);
        let fill = |library: &mut Library, seeds: std::ops::Range<u64>| {
            for seed in seeds {
                let new = testing::track(seed, vec![0.6, 0.8], 500);
                library.insert_track(&new).unwrap();
            }
        };
        fill(&mut library, 1..400);
        drop(library);
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        library.back_up(&at("backup")).unwrap();
        // The log of a process that was killed.
        fill(&mut library, 400..430);
        fs::copy(at("voisin.db-wal"), at("log")).unwrap();
        drop(library);
        let backup = fs::read(at("backup")).unwrap();
        fs::write(at(DATABASE), &backup).unwrap();
        fs::copy(at("log"), at("voisin.db-wal")).unwrap();
        let opened = Library::open(dir.path(), OpenMode::ReadWrite);
        let error = opened.and_then(|mut library| library.repair()).unwrap_err();
        assert!(matches!(error, LibraryError::Damaged { .. }), "{error}");
        assert_eq!(fs::read(at(DATABASE)).unwrap(), backup);

        let report = salvage(dir.path()).unwrap();
        assert_eq!(report.incomplete, Vec::<&str>::new());
        assert_eq!((report.rows_of("audio"), report.tracks), (399, Some(399)));
        assert_eq!(fs::read(&report.damaged).unwrap(), backup);
        assert_eq!(
            fs::read(at("voisin.db.damaged-wal")).unwrap(),
            fs::read(at("log")).unwrap()
        );
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert_eq!(library.repair().unwrap().remaining, vec![]);
        assert_eq!(library.vectors().unwrap().ids.len(), 399);
    }

    #[test]
    fn a_genre_of_a_wrong_type_is_lost_alone() {
        let dir = tempfile::tempdir().unwrap();
        damaged_by(
            dir.path(),
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'STRICT, ', '') WHERE name = 'genres';
             PRAGMA writable_schema = RESET;
             UPDATE genres SET genre = x'00' WHERE position = 0 AND file = 1",
        );
        let report = salvage(dir.path()).unwrap();
        assert_eq!(report.incomplete, ["genres"]);
        assert_eq!((report.rows_of("genres"), report.rows_of("audio")), (3, 2));
    }
}
