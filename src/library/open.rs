//! Opening a library: creation and checks.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::is_shared_memory_full;
use super::list::natural;
use super::{DATABASE, Library, LibraryError, OpenMode, Result, WriterLock, journal, paths};
use voisin_base::atomic_file::PREFIX;

/// "vois" in ASCII, big-endian: marks a SQLite file as a voisin library.
pub(super) const APPLICATION_ID: i32 = 0x766f_6973;

/// The schema's day. A library with another one is refused.
pub const SCHEMA_VERSION: u32 = 20_261_201;

/// A vector of 512 numbers takes 2 kB: a page of 4 kB holds one, of 8 kB three, of 16 kB seven. Larger pages
/// make a transaction write more: measured, 8 kB inserts as fast as 4 kB and reads as fast as 16 kB.
pub(super) const PAGE_SIZE: i64 = 8_192;

// Long enough for a writer in the middle of a transaction; after it `LibraryError::WriterBusy`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl Library {
    /// Opens the library in `dir`. Nothing is written in [`OpenMode::ReadOnly`].
    pub fn open(dir: &Path, mode: OpenMode) -> Result<Self> {
        Self::open_with(dir, mode, PAGE_SIZE)
    }

    /// Opens a library for reading.
    pub fn open_to_read(dir: &Path) -> Result<Self> {
        Self::open(dir, OpenMode::ReadOnly)
    }

    /// Opens a library for writing if possible.
    pub fn open_to_write_if_possible(dir: &Path) -> Result<Self> {
        match Self::open(dir, OpenMode::ReadWrite) {
            // Queries need no write; a new index is then kept in memory alone.
            Err(LibraryError::ReadOnly { .. } | LibraryError::DiskFull { .. }) => {
                Self::open_to_read(dir)
            }
            opened => opened,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one sequence of steps")]
    pub(super) fn open_with(dir: &Path, mode: OpenMode, page_size: i64) -> Result<Self> {
        // Checked first, since SQLite's own message for a file in the folder's place does not help.
        if std::fs::metadata(dir).is_ok_and(|metadata| !metadata.is_dir()) {
            let (path, found) = (dir.to_path_buf(), "not a folder".into());
            return Err(LibraryError::NotALibrary { path, found });
        }
        if mode == OpenMode::Create {
            create_private(dir).map_err(LibraryError::from_io("create", dir))?;
        }
        let path = dir.join(DATABASE);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => {
                let found = "not a regular file".into();
                return Err(LibraryError::NotALibrary { path, found });
            }
            // Distinguished here: SQLite only reports that it cannot open the file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if mode != OpenMode::Create {
                    return Err(LibraryError::NotFound {
                        dir: dir.to_path_buf(),
                    });
                }
            }
            Err(source) => {
                return Err(LibraryError::Io {
                    action: "open",
                    path,
                    source,
                });
            }
        }

        let (connection, version) = connect(&path, mode)?;
        let mut library = Self {
            connection,
            dir: dir.to_path_buf(),
            path,
            mode,
        };
        // before anything is written, which could hide the truncation
        library.refuse_cut_file()?;
        if version == 0 {
            // an empty database beside other files of a library was lost and is not new
            if mode != OpenMode::Create {
                let detail = "it is empty, but the files beside it show that there was a library";
                let Self { path, dir, .. } = library;
                let detail = detail.into();
                return Err(if has_other_files(&dir) {
                    LibraryError::Damaged { path, detail }
                } else {
                    LibraryError::NotFound { dir }
                });
            }
            library.create(page_size)?;
        } else if version != i64::from(SCHEMA_VERSION) {
            return Err(LibraryError::OtherSchema {
                path: library.path,
                found: version,
            });
        }
        if mode != OpenMode::ReadOnly {
            library.sql(
                library
                    .connection
                    .execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"),
            )?;
        }
        Ok(library)
    }

    /// SQLite detects missing pages, but reads the rest of a truncated page as zeros.
    fn refuse_cut_file(&self) -> Result<()> {
        // In SQLite's count of pages: a shorter file was truncated within a page.
        let expected = self.pragma("page_count")? * self.pragma("page_size")?;
        // pages in the log need not be in the file yet
        if !log_is_empty(&self.path) {
            return Ok(());
        }
        match std::fs::metadata(&self.path) {
            Ok(file) if (file.len() as i64) < expected => Err(LibraryError::Damaged {
                path: self.path.clone(),
                detail: format!("it has {} bytes, expected {expected}", file.len()),
            }),
            _ => Ok(()),
        }
    }

    /// Creates the tables of a new library.
    fn create(&mut self, page_size: i64) -> Result<()> {
        // two processes may find the empty file at the same time
        let _lock = WriterLock::take(&self.dir, BUSY_TIMEOUT)?;
        if self.pragma("user_version")? != 0 {
            return Ok(());
        }
        // Page size and write-ahead mode must be set before the first table is created.
        self.sql(self.connection.execute_batch(&format!(
            "PRAGMA page_size = {page_size};
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;"
        )))?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let created = transaction.and_then(|transaction| {
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()
        });
        self.sql(created)
    }
}

/// Makes the folder accessible to its owner alone, since a library names all files of its owner.
fn create_private(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    // Parent folders get the usual permissions: only the library itself is private.
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    let created = {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().mode(0o700).create(dir)
    };
    #[cfg(not(unix))]
    let created = std::fs::create_dir(dir);
    match created {
        // Another process made it first.
        Err(_) if dir.is_dir() => Ok(()),
        created => created,
    }
}

/// Whether the folder holds more files than a killed first run leaves, so that it was a library.
fn has_other_files(dir: &Path) -> bool {
    // A first run makes these before the database has a table.
    let of_the_first_moment = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name == DATABASE
            || name == "voisin.lock"
            || name.starts_with(PREFIX)
            || journal::is_journal(&name)
            || name.starts_with(DATABASE) && (name.ends_with("-wal") || name.ends_with("-shm"))
    };
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| !of_the_first_moment(&entry.file_name()))
}

/// Opens a connection and reads the schema version, which is 0 for an empty file.
fn connect(path: &Path, mode: OpenMode) -> Result<(Connection, i64)> {
    let fault = |error| LibraryError::from_sql(path, error);
    // No mutex: a connection is never shared by threads. Extended codes distinguish a short read
    // from other errors.
    let base = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let flags = base
        | match mode {
            OpenMode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            OpenMode::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
            OpenMode::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        };
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        let version = prepare(&connection)?;
        Ok((connection, version))
    });
    let (connection, version) = match opened {
        Ok(opened) => opened,
        // A read-only folder or a full disk has no place for the shared memory of write-ahead mode. If the
        // log is empty as well, the file is complete and nobody can change it.
        Err(error) if mode == OpenMode::ReadOnly && is_unwritable(&error) && log_is_empty(path) => {
            let connection = Connection::open_with_flags(
                immutable_uri(path)?,
                flags | OpenFlags::SQLITE_OPEN_URI,
            )
            .map_err(fault)?;
            let version = prepare(&connection).map_err(fault)?;
            (connection, version)
        }
        Err(error) => {
            return Err(match fault(error) {
                LibraryError::Sql { path, source }
                    if mode != OpenMode::ReadOnly
                        && source.sqlite_error_code() == Some(ErrorCode::CannotOpen) =>
                {
                    LibraryError::ReadOnly { path }
                }
                other => other,
            });
        }
    };

    let application: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(fault)?;
    // A new, empty file has no application id yet.
    if application != APPLICATION_ID {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(fault)?;
        if application != 0 || tables != 0 || version != 0 {
            return Err(LibraryError::NotALibrary {
                path: path.to_path_buf(),
                found: format!(
                    "a SQLite database of another program, application id {application:#010x}"
                ),
            });
        }
    }
    // SQLite opens a file without write permission for reading; only this call shows it.
    if mode != OpenMode::ReadOnly && connection.is_readonly("main").map_err(fault)? {
        return Err(LibraryError::ReadOnly {
            path: path.to_path_buf(),
        });
    }
    Ok((connection, version))
}

fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    // until it is known that the file can be read: see `Library::note_damage`
    keep_log(connection, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.create_collation("numbers", natural)?;
    let is_pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // As `instr`, in a quarter of its time.
    connection.create_scalar_function("holds", 2, is_pure, |call| {
        // Lossily: a flipped bit in one text must not fail all searches.
        let text = String::from_utf8_lossy(call.get_raw(0).as_bytes()?);
        Ok(text.contains(call.get_raw(1).as_str()?))
    })?;
    // More than the 16 of rusqlite: adding one track alone runs some twenty cached statements.
    connection.set_prepared_statement_cache_capacity(64);
    // 32 MiB of pages for each connection; a log beyond 64 MiB is truncated at a checkpoint.
    // A database comes from disk and may be hostile: its schema may only call harmless functions,
    // and ill-formed cells are found when a page is read.
    connection.execute_batch(
        "PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -32768;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    keep_log(connection, false)?;
    Ok(version)
}

/// Sets whether the log stays as it is when the last connection closes.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)
        .map(drop)
}

/// Whether there is no right to write, or no space for the shared memory.
fn is_unwritable(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    ) || is_shared_memory_full(error)
}

pub(super) fn log_is_empty(path: &Path) -> bool {
    std::fs::metadata(paths::with_suffix(path, "-wal")).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |log| log.len() == 0,
    )
}

/// `file:` URI that opens a database without locks and log.
pub(super) fn immutable_uri(path: &Path) -> Result<String> {
    use std::fmt::Write;
    let absolute = std::path::absolute(path).map_err(|source| LibraryError::Io {
        action: "open",
        path: path.to_path_buf(),
        source,
    })?;
    let mut uri = String::from("file:");
    for &byte in paths::to_bytes(&absolute)? {
        // The unreserved characters of RFC 3986 and the separator: `?` and `#` would end the path.
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    // SQLite then takes no lock and reads no log, which is safe only because nobody can write
    // there.
    uri.push_str("?immutable=1");
    Ok(uri)
}
