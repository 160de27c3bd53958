//! Checks a library: the database's structure by SQLite, each vector by its length and norm.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{Library, Result, read};
use voisin_base::track::TrackId;
use voisin_base::vector::{NORM_TOLERANCE, norm};

/// A fault of a library.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LibraryFault {
    /// SQLite reports damage to the database's structure.
    Database(String),
    /// Rows that refer to missing rows.
    Dangling {
        /// The table they are in.
        table: String,
        /// How many.
        rows: u64,
    },
    /// A vector with a component that is not finite.
    NotFinite(TrackId),
    /// A vector whose norm is not 1.
    NotUnit {
        /// Whose vector.
        track: TrackId,
        /// Its norm.
        norm: f64,
    },
    /// A vector of another length than the model's.
    WrongDimension {
        /// Whose vector.
        track: TrackId,
        /// Its length.
        found: usize,
    },
}

impl std::fmt::Display for LibraryFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(message) => write!(f, "database: {message}"),
            Self::Dangling { table, rows } => write!(f, "{rows} rows of {table} belong to nothing"),
            Self::NotFinite(track) => write!(f, "the vector of track {track} is not finite"),
            Self::NotUnit { track, norm } => {
                write!(f, "the vector of track {track} has norm {norm}, expected 1")
            }
            Self::WrongDimension { track, found } => {
                write!(
                    f,
                    "the vector of track {track} has dimension {found}, not the model's"
                )
            }
        }
    }
}

/// The outcome of [`Library::check`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    /// Vectors checked.
    pub vectors: u64,
    /// The faults; empty for a sound library.
    pub findings: Vec<LibraryFault>,
    /// Tracks without a vector, which is no fault: the next `add` embeds them.
    pub without_vector: u64,
    /// Tracks left without a file by an interrupted `add`; the next one removes them.
    pub without_file: u64,
}

impl Library {
    /// Checks the database and every vector.
    pub fn check(&self) -> Result<Health> {
        let _snapshot = self.snapshot()?;
        self.sql(check(&self.connection))
    }
}

fn check(connection: &Connection) -> rusqlite::Result<Health> {
    let mut health = Health {
        findings: structure(connection)?,
        ..Health::default()
    };
    let dimensions: HashMap<i64, usize> = connection
        .prepare("SELECT id, dimension FROM models")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement =
        connection.prepare("SELECT track, model, vector FROM vectors ORDER BY track, model")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        health.vectors += 1;
        let vector = read::f32_values(row.get_ref(2)?.as_blob()?);
        let dimension = dimensions.get(&row.get(1)?).copied();
        let fault = vector_fault(TrackId(row.get(0)?), &vector, dimension);
        health.findings.extend(fault);
    }
    health.without_vector = count(
        connection,
        "SELECT count(*) FROM audio WHERE id NOT IN (SELECT track FROM vectors WHERE model = (SELECT model FROM state))",
    )?;
    health.without_file = count(
        connection,
        "SELECT count(*) FROM audio WHERE id NOT IN (SELECT track FROM files)",
    )?;
    Ok(health)
}

/// Damage that SQLite finds.
fn structure(connection: &Connection) -> rusqlite::Result<Vec<LibraryFault>> {
    // Twenty messages are enough to report a damaged file.
    let messages: Vec<String> = connection
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let messages = messages.into_iter().filter(|message| message != "ok");
    let mut faults: Vec<LibraryFault> = messages.map(LibraryFault::Database).collect();
    let mut statement = connection
        .prepare("SELECT \"table\", count(*) FROM pragma_foreign_key_check GROUP BY \"table\"")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        faults.push(LibraryFault::Dangling {
            table: row.get(0)?,
            rows: row.get::<_, i64>(1)? as u64,
        });
    }
    Ok(faults)
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}

fn vector_fault(track: TrackId, vector: &[f32], dimension: Option<usize>) -> Option<LibraryFault> {
    if Some(vector.len()) != dimension {
        return Some(LibraryFault::WrongDimension {
            track,
            found: vector.len(),
        });
    }
    if !vector.iter().all(|value| value.is_finite()) {
        return Some(LibraryFault::NotFinite(track));
    }
    let norm = norm(vector);
    ((norm - 1.0).abs() > NORM_TOLERANCE).then_some(LibraryFault::NotUnit { track, norm })
}
