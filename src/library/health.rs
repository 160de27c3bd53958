//! Checks a library: the database's structure by SQLite, each vector by its length and norm.

use rusqlite::{Connection, OptionalExtension as _};

use super::{Library, Result, read};
use voisin_base::track::TrackId;
use voisin_base::vector::{NORM_TOLERANCE, norm};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Health {
    pub vectors: u64,
    /// The faults; empty for a sound library.
    pub findings: Vec<String>,
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
    let dimension: Option<i64> = connection
        .query_row("SELECT dimension FROM model", [], |row| row.get(0))
        .optional()?;
    let dimension = dimension.map(|dimension| dimension as usize);
    let mut statement = connection.prepare("SELECT track, vector FROM vectors ORDER BY track")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        health.vectors += 1;
        let vector = read::f32_values(row.get_ref(1)?.as_blob()?);
        let fault = vector_fault(TrackId(row.get(0)?), &vector, dimension);
        health.findings.extend(fault);
    }
    health.without_vector = count(
        connection,
        "SELECT count(*) FROM audio WHERE id NOT IN (SELECT track FROM vectors)",
    )?;
    health.without_file = count(
        connection,
        "SELECT count(*) FROM audio WHERE id NOT IN (SELECT track FROM files)",
    )?;
    Ok(health)
}

/// Damage that SQLite finds.
fn structure(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // Twenty messages are enough to report a damaged file.
    let messages: Vec<String> = connection
        .prepare("PRAGMA integrity_check(20)")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let messages = messages.into_iter().filter(|message| message != "ok");
    let mut faults: Vec<String> = messages
        .map(|message| format!("database: {message}"))
        .collect();
    let mut statement = connection
        .prepare("SELECT \"table\", count(*) FROM pragma_foreign_key_check GROUP BY \"table\"")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, rows): (String, i64) = (row.get(0)?, row.get(1)?);
        faults.push(format!("{rows} rows of {table} belong to nothing"));
    }
    Ok(faults)
}

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}

fn vector_fault(track: TrackId, vector: &[f32], dimension: Option<usize>) -> Option<String> {
    let norm = norm(vector);
    let fault = if Some(vector.len()) != dimension {
        format!("has dimension {}, not the model's", vector.len())
    } else if !vector.iter().all(|value| value.is_finite()) {
        "is not finite".to_owned()
    } else if (norm - 1.0).abs() > NORM_TOLERANCE {
        format!("has norm {norm}, expected 1")
    } else {
        return None;
    };
    Some(format!("the vector of track {track} {fault}"))
}
