//! Checks a library, and repairs it without losing data that cannot be computed again.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, Transaction};
use rusqlite_migration::Migrations;

use super::open::migrations;
use super::store::{f32_bytes, is_gone};
use super::{Library, LibraryError, Result, checksum, paths, read, spaces};
use voisin_base::track::TrackId;
use voisin_base::vector::{NORM_TOLERANCE, make_unit, norm};

/// A fault of a library.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LibraryFault {
    /// SQLite reports damage to the database's structure.
    Database(String),
    /// A table, index or trigger whose definition was changed.
    Definition(String),
    /// Rows that refer to missing rows.
    Dangling {
        /// The table they are in.
        table: String,
        /// How many.
        rows: u64,
    },
    /// A vector whose checksum differs.
    Checksum(TrackId),
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
    /// Window vectors whose checksum differs, that are not finite, or whose number, starts and size disagree.
    BadWindows(TrackId),
    /// A row whose checksum differs.
    Row {
        /// The table it is in.
        table: &'static str,
        /// The track it belongs to, if the library has it.
        track: Option<TrackId>,
    },
    /// A counter that differs from what it counts.
    Counter {
        /// Which one.
        name: &'static str,
        /// Its value.
        stored: u64,
        /// The number counted.
        actual: u64,
    },
}

impl std::fmt::Display for LibraryFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(message) => write!(f, "database: {message}"),
            Self::Definition(name) => write!(f, "the definition of {name} is damaged"),
            Self::Dangling { table, rows } => write!(f, "{rows} rows of {table} belong to nothing"),
            Self::Checksum(track) => {
                write!(
                    f,
                    "the vector of track {track} is damaged: its checksum differs"
                )
            }
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
            Self::BadWindows(track) => write!(f, "the window vectors of track {track} are damaged"),
            Self::Row { table, track } => {
                let what = checksum::SEALED.iter().find(|sealed| sealed.name == *table);
                write!(f, "the {} of ", what.map_or(*table, |sealed| sealed.what))?;
                match track {
                    Some(track) => write!(f, "track {track}")?,
                    None => f.write_str("a track that is not here")?,
                }
                f.write_str(": damaged, the checksum differs")?;
                f.write_str(match *table {
                    "labels" | "scales" => " (set it again)",
                    "tags" | "genres" | "credits" => " (the next add reads the file again)",
                    _ => "",
                })
            }
            Self::Counter {
                name,
                stored,
                actual,
            } => {
                write!(f, "the count of {name} is {stored}, there are {actual}")
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

/// The outcome of [`Library::repair`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RepairReport {
    /// Vectors that were scaled to norm 1.
    pub renormalised: u64,
    /// Vectors that were computed again from their windows.
    pub repooled: u64,
    /// Vectors that were removed because their file can be embedded again: run `add`.
    pub to_embed: u64,
    /// The same of spaces that are not the default one: run `space add` with their names.
    pub to_embed_in_spaces: u64,
    /// Files whose tags and place the next `add` reads again.
    pub to_read: u64,
    /// Measurements of tempo, key and loudness that were removed because the file can be measured
    /// again.
    pub to_measure: u64,
    /// Rows that referred to missing rows and were deleted.
    pub dangling_rows: u64,
    /// Counters that were corrected.
    pub counters: u64,
    /// Definitions of tables, indices and triggers that were restored.
    pub definitions: u64,
    /// Whether the database's own indices were rebuilt.
    pub reindexed: bool,
    /// Faults that cannot be repaired without losing data.
    pub remaining: Vec<LibraryFault>,
}

// Triggers keep these in `state`, so that `status` costs the same in a library of any size.
const COUNTERS: [(&str, &str); 5] = [
    ("tracks", "SELECT count(*) FROM audio"),
    ("files", "SELECT count(*) FROM files"),
    (
        "vectors",
        "SELECT count(*) FROM vectors WHERE model = (SELECT model FROM state)",
    ),
    (
        "windows",
        "SELECT coalesce(sum(count), 0) FROM windows WHERE model = (SELECT model FROM state)",
    ),
    ("failures", "SELECT count(*) FROM failures"),
];

/// Tables whose rows belong to a row of another, children first.
const CHILDREN: [(&str, &str); 13] = [
    ("genres", "file NOT IN (SELECT id FROM files)"),
    ("credits", "file NOT IN (SELECT id FROM files)"),
    ("tags", "file NOT IN (SELECT id FROM files)"),
    (
        "windows",
        "track NOT IN (SELECT id FROM audio) OR model NOT IN (SELECT id FROM models)",
    ),
    (
        "vectors",
        "track NOT IN (SELECT id FROM audio) OR model NOT IN (SELECT id FROM models)",
    ),
    (
        "logits",
        "track NOT IN (SELECT id FROM audio) OR model NOT IN (SELECT id FROM models)",
    ),
    ("descriptors", "track NOT IN (SELECT id FROM audio)"),
    ("songs", "track NOT IN (SELECT id FROM audio)"),
    ("links", "track NOT IN (SELECT id FROM audio)"),
    (
        "duplicate_verdicts",
        "first NOT IN (SELECT id FROM audio) OR second NOT IN (SELECT id FROM audio)",
    ),
    ("files", "track NOT IN (SELECT id FROM audio)"),
    ("space_changes", "space NOT IN (SELECT model FROM spaces)"),
    ("spaces", "model NOT IN (SELECT id FROM models)"),
];

impl Library {
    /// Checks every row. `thorough` also compares the database's indices with their tables, which
    /// takes several times as long.
    #[doc(hidden)]
    pub fn check(&self, thorough: bool) -> Result<Health> {
        let _snapshot = self.snapshot()?;
        self.sql(check(&self.connection, thorough))
    }

    /// Repairs what can be repaired, in one transaction.
    ///
    /// A vector whose checksum differs is removed if its file is on disk, for the next `add` to embed it again, and
    /// else pooled from its windows. One that was stored with a wrong norm is pooled again or scaled, and removed only
    /// if neither works. Vectors of another program's model are never removed, as voisin cannot compute them. Other rows
    /// whose checksum differs are deleted if their file is on disk, which the next `add` reads again. Rows that refer to
    /// missing rows are deleted: their files are new to the next `add`. Nothing else is deleted.
    ///
    /// # Errors
    /// [`LibraryError::Damaged`] if the database's structure cannot be repaired; nothing is changed then;
    /// [`salvage`](crate::salvage()) recovers what can be read. [`LibraryError::NotALibrary`] if a table is missing.
    #[doc(hidden)]
    pub fn repair(&mut self) -> Result<RepairReport> {
        let damaged = self.sql(damaged_definitions(&self.connection))?;
        // An empty one in its place would make the rows of others dangle, and hide its own if it only lost its name.
        if let Some(table) = damaged.lost_table {
            return Err(LibraryError::NotALibrary {
                path: self.path.clone(),
                found: format!("the table {table} is missing"),
            });
        }
        let definitions = self.sql(mend_definitions(&self.connection, &damaged.expected))?;
        // The disk is read before the transaction, which blocks other writers. A row damaged in
        // between is not in this list, so nothing of it is removed.
        let on_disk = self.sql(on_disk(&self.connection))?;
        let path = self.path.clone();
        let report = self.write(|tx| {
            let report = repair(tx, &on_disk)?;
            match report
                .remaining
                .iter()
                .find(|finding| matches!(finding, LibraryFault::Database(_)))
            {
                Some(broken) => Err(LibraryError::Damaged {
                    path,
                    detail: broken.to_string(),
                }
                .into()),
                None => Ok(report),
            }
        })?;
        Ok(RepairReport {
            definitions,
            ..report
        })
    }
}

/// How tables, indices and triggers are defined, by kind and name.
type Definitions = BTreeMap<(String, String), String>;

fn definitions(connection: &Connection) -> rusqlite::Result<Definitions> {
    connection
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite~_%' ESCAPE '~'")?
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect()
}

/// The definitions that differ from those of a new library, with the right ones.
struct DamagedDefinitions {
    expected: Definitions,
    /// A table that is not there at all.
    lost_table: Option<String>,
}

fn damaged_definitions(connection: &Connection) -> rusqlite::Result<DamagedDefinitions> {
    // the migrations define a sound library
    let mut new = Connection::open_in_memory()?;
    let mut expected = Definitions::new();
    // If no new library can be made, there is nothing to compare with.
    if Migrations::from_slice(&migrations())
        .to_latest(&mut new)
        .is_ok()
    {
        expected = definitions(&new)?;
    }
    let found = definitions(connection)?;
    expected.retain(|key, sql| found.get(key) != Some(sql));
    let mut lost = expected.keys().filter(|key| !found.contains_key(key));
    let lost_table = lost.find(|(kind, _)| kind == "table");
    Ok(DamagedDefinitions {
        lost_table: lost_table.map(|(_, name)| name.clone()),
        expected,
    })
}

/// Restores damaged definitions; their rows stay as they are. A definition that lost its name stays damaged.
fn mend_definitions(connection: &Connection, damaged: &Definitions) -> rusqlite::Result<u64> {
    if damaged.is_empty() {
        return Ok(0);
    }
    // the only way to restore a definition without copying its rows
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    let update = "UPDATE sqlite_schema SET sql = ?3 WHERE type = ?1 AND name = ?2";
    let mended: rusqlite::Result<usize> = damaged
        .iter()
        .map(|((kind, name), sql)| connection.execute(update, [kind, name, sql]))
        .sum();
    // RESET also makes this connection read the schema again; its cached one is the damaged one.
    // After an error, too: the connection is used further and its schema must not stay writable.
    connection.execute_batch("PRAGMA writable_schema = RESET")?;
    Ok(mended? as u64)
}

fn check(connection: &Connection, thorough: bool) -> rusqlite::Result<Health> {
    let mut health = Health::default();
    let damaged = damaged_definitions(connection)?;
    health.findings.extend(
        damaged
            .expected
            .into_keys()
            .map(|(kind, name)| LibraryFault::Definition(format!("{kind} {name}"))),
    );
    // The rest reads every table.
    if damaged.lost_table.is_some() {
        return Ok(health);
    }
    // Twenty messages are enough to report a damaged file.
    let pragma = if thorough {
        "PRAGMA integrity_check(20)"
    } else {
        "PRAGMA quick_check(20)"
    };
    let messages: Vec<String> = connection
        .prepare(pragma)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    health.findings.extend(
        messages
            .into_iter()
            .filter(|message| message != "ok")
            .map(LibraryFault::Database),
    );

    for (table, condition) in CHILDREN {
        let rows = count(
            connection,
            &format!("SELECT count(*) FROM {table} WHERE {condition}"),
        )?;
        if rows > 0 {
            health.findings.push(LibraryFault::Dangling {
                table: table.to_owned(),
                rows,
            });
        }
    }
    for (name, sql) in COUNTERS {
        let stored = count(connection, &format!("SELECT {name} FROM state"))?;
        let actual = count(connection, sql)?;
        if stored != actual {
            health.findings.push(LibraryFault::Counter {
                name,
                stored,
                actual,
            });
        }
    }

    for (name, stored, actual) in spaces::wrong_counters(connection)? {
        health.findings.push(LibraryFault::Counter {
            name,
            stored,
            actual,
        });
    }

    // Vectors of every model are checked, also those of other spaces and of an unfinished upgrade.
    let dimensions: HashMap<i64, usize> = connection
        .prepare("SELECT id, dimension FROM models")?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = connection
        .prepare("SELECT track, model, vector, checksum FROM vectors ORDER BY track, model")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        health.vectors += 1;
        let track = TrackId(row.get(0)?);
        let dimension = dimensions.get(&row.get(1)?).copied();
        let vector = row.get_ref(2)?.as_blob()?;
        // If the checksum matches, the vector was stored with a wrong norm; else the disk changed
        // the bytes. The two are repaired in different ways, so only the first fault is reported.
        if row.get_ref(3)?.as_blob()? == checksum::of(track.0, &[vector]) {
            health
                .findings
                .extend(vector_finding(track, &read::f32_values(vector), dimension));
        } else {
            health.findings.push(LibraryFault::Checksum(track));
        }
    }
    let mut statement = connection.prepare(
        "SELECT track, count, starts, vectors, checksum, model FROM windows ORDER BY track, model",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let dimension = dimensions.get(&row.get(5)?).copied();
        if window_mean(row, dimension)?.is_none() {
            health
                .findings
                .push(LibraryFault::BadWindows(TrackId(row.get(0)?)));
        }
    }
    for sealed in &checksum::SEALED {
        let mut statement = connection.prepare(&sealed.damaged_tracks())?;
        let tracks = statement.query_map([], |row| row.get::<_, Option<i64>>(0))?;
        for track in tracks {
            health.findings.push(LibraryFault::Row {
                table: sealed.name,
                track: track?.map(TrackId),
            });
        }
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

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<u64> {
    connection
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|n| n as u64)
}

fn vector_finding(
    track: TrackId,
    vector: &[f32],
    dimension: Option<usize>,
) -> Option<LibraryFault> {
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

/// Mean of the windows of a row (track, count, starts, vectors, checksum); `None` if they are damaged, empty if there are
/// none.
fn window_mean(
    row: &rusqlite::Row<'_>,
    dimension: Option<usize>,
) -> rusqlite::Result<Option<Vec<f32>>> {
    let count = row.get::<_, i64>(1)?;
    let starts = row.get_ref(2)?.as_blob()?;
    let vectors = row.get_ref(3)?.as_blob()?;
    if row.get_ref(4)?.as_blob()? != checksum::of(row.get(0)?, &[starts, vectors]) {
        return Ok(None);
    }
    // The model's row is lost, so the size of a window is unknown; no windows need none.
    let Some(dimension) = dimension else {
        return Ok((count == 0).then(Vec::new));
    };
    if count < 0
        // 4 bytes for each start (f32), 2 for each number of a vector (f16).
        || starts.len() as i64 != count * 4
        || vectors.len() as i64 != count * dimension as i64 * 2
    {
        return Ok(None);
    }
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    // In double precision: half-precision sums would lose digits with each window.
    let mut sum = vec![0.0_f64; dimension];
    for window in vectors.chunks_exact(dimension * 2) {
        for (sum, bytes) in sum.iter_mut().zip(window.as_chunks::<2>().0) {
            *sum += half::f16::from_le_bytes(*bytes).to_f64();
        }
    }
    let finite = sum.iter().all(|value| value.is_finite())
        && read::f32_values(starts).iter().all(|s| s.is_finite());
    Ok(finite.then(|| {
        sum.into_iter()
            .map(|sum| (sum / count as f64) as f32)
            .collect()
    }))
}

/// Tracks with a fault that have a file on disk.
fn on_disk(connection: &Connection) -> rusqlite::Result<HashSet<TrackId>> {
    let mut found = HashSet::new();
    for finding in check(connection, false)?.findings {
        match finding {
            LibraryFault::Checksum(track)
            | LibraryFault::NotUnit { track, .. }
            | LibraryFault::NotFinite(track)
            | LibraryFault::WrongDimension { track, .. }
            | LibraryFault::BadWindows(track)
            | LibraryFault::Row {
                track: Some(track), ..
            } if has_file(connection, track)? => {
                found.insert(track);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn repair(tx: &Transaction<'_>, on_disk: &HashSet<TrackId>) -> rusqlite::Result<RepairReport> {
    let mut report = RepairReport::default();
    let health = check(tx, true)?;
    if health
        .findings
        .iter()
        .any(|finding| matches!(finding, LibraryFault::Database(_)))
    {
        // an index is rebuilt from its table: often only indexes are damaged
        tx.execute_batch("REINDEX")?;
        report.reindexed = true;
    }
    // Parents before children, the reverse of the list's order.
    // Files first: their tags and genres become dangling with them.
    for (table, condition) in CHILDREN.iter().rev() {
        report.dangling_rows +=
            tx.execute(&format!("DELETE FROM {table} WHERE {condition}"), [])? as u64;
    }
    for finding in &health.findings {
        match *finding {
            // If the file is there, embedding it again is better than pooling its windows.
            LibraryFault::Checksum(track) => {
                // A fault names a track but not the model; the second of two faults of one track
                // finds nothing left.
                for model in faulty_vectors(tx, track, true)? {
                    if on_disk.contains(&track) && !model.is_external {
                        take_vector(tx, track, model, &mut report)?;
                    } else {
                        pool_again(tx, track, model, &mut report)?;
                    }
                }
            }
            LibraryFault::NotUnit { track, .. }
            | LibraryFault::NotFinite(track)
            | LibraryFault::WrongDimension { track, .. } => {
                for model in faulty_vectors(tx, track, false)? {
                    let is_there = on_disk.contains(&track) && !model.is_external;
                    mend_vector(tx, track, model, is_there, &mut report)?;
                }
            }
            // Without the file damaged windows stay: they cannot be computed again, and are not
            // served.
            LibraryFault::BadWindows(track) if on_disk.contains(&track) => {
                let models = faulty_windows(tx, track)?;
                for model in models.into_iter().filter(|model| !model.is_external) {
                    let sql = "DELETE FROM windows WHERE track = ?1 AND model = ?2";
                    tx.execute(sql, (track.0, model.id))?;
                    take_vector(tx, track, model, &mut report)?;
                }
            }
            LibraryFault::Row { table, track } => {
                let there = track.filter(|track| on_disk.contains(track));
                mend_row(tx, table, track, there, &mut report)?;
            }
            _ => {}
        }
    }
    for (name, sql) in COUNTERS {
        let changed = tx.execute(
            &format!("UPDATE state SET {name} = ({sql}) WHERE {name} <> ({sql})"),
            [],
        )?;
        report.counters += changed as u64;
    }
    report.counters += spaces::mend_counters(tx)?;
    report.remaining = check(tx, true)?.findings;
    report.remaining.retain(|finding| {
        !matches!(finding, LibraryFault::Row { table: "tags" | "genres" | "credits", track: Some(track) } if on_disk.contains(track))
    });
    Ok(report)
}

/// Repairs a damaged row as far as its content can be read again from its file or its track.
///
/// - `there`: the track that it belongs to, where that has a file on disk
fn mend_row(
    tx: &Transaction<'_>,
    table: &str,
    track: Option<TrackId>,
    there: Option<TrackId>,
    report: &mut RepairReport,
) -> rusqlite::Result<()> {
    let damaged = |table: &str| {
        let sealed = checksum::SEALED.iter().find(|sealed| sealed.name == table);
        sealed.map_or_else(|| "false".to_owned(), checksum::SealedTable::is_damaged)
    };
    match (table, track, there) {
        // The wrong column is unknown, so the file is read again: it is new to the next `add`.
        ("audio", _, Some(track)) if !has_external_vector(tx, track)? => {
            report.to_embed += tx.execute("DELETE FROM audio WHERE id = ?1", [track.0])? as u64;
        }
        // A time that no file has, so that the file counts as changed.
        ("files" | "tags" | "genres" | "credits", _, Some(track)) => {
            let sql = "UPDATE files SET mtime_ns = -1 WHERE track = ?1 AND mtime_ns <> -1";
            report.to_read += tx.execute(sql, [track.0])? as u64;
        }
        // Values that can be computed again: the next measurement fills them in.
        ("scales", _, Some(track)) => {
            let damaged = damaged(table);
            let sql = format!(
                "DELETE FROM scales WHERE content = (SELECT content FROM audio WHERE id = ?1) AND origin < 2 AND {damaged}"
            );
            if tx.execute(&sql, [track.0])? > 0 {
                let sql = "UPDATE descriptors SET version = 1 WHERE track = ?1";
                report.to_measure += tx.execute(sql, [track.0])? as u64;
            }
        }
        ("descriptors", _, Some(track)) => {
            report.to_measure +=
                tx.execute("DELETE FROM descriptors WHERE track = ?1", [track.0])? as u64;
        }
        // computed again from the windows when they are needed
        ("logits", Some(track), _) => {
            tx.execute("DELETE FROM logits WHERE track = ?1", [track.0])?;
        }
        ("labels" | "scales", None, _) => {
            let damaged = damaged(table);
            let sql = format!(
                "DELETE FROM {table} WHERE content NOT IN (SELECT content FROM audio) AND {damaged}"
            );
            report.dangling_rows += tx.execute(&sql, [])? as u64;
        }
        _ => {}
    }
    Ok(())
}

fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    make_unit(&mut vector).then_some(vector)
}

/// A model that has vectors in the library; the dimension is `None` if the model's row is lost.
#[derive(Debug, Clone, Copy)]
struct HeldModel {
    id: i64,
    dimension: Option<usize>,
    /// Whether it is another program's, so that its vectors cannot be computed here.
    is_external: bool,
}

impl HeldModel {
    /// Of three columns from `at` on: id, dimension and manifest.
    fn read(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Self> {
        let manifest: Option<String> = row.get(at + 2)?;
        Ok(Self {
            id: row.get(at)?,
            dimension: row.get::<_, Option<i64>>(at + 1)?.map(|n| n as usize),
            is_external: manifest.is_some_and(|manifest| is_external(&manifest)),
        })
    }
}

/// Whether a manifest is that of another program's model, which has its name as `external`.
fn is_external(manifest: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(manifest)
        .is_ok_and(|manifest| manifest.get("external").is_some())
}

fn has_external_vector(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<bool> {
    let mut statement = tx.prepare_cached(
        "SELECT m.manifest FROM vectors v JOIN models m ON m.id = v.model WHERE v.track = ?1",
    )?;
    let mut manifests = statement.query_map([track.0], |row| row.get::<_, String>(0))?;
    manifests.try_fold(
        false,
        |found, manifest| Ok(found || is_external(&manifest?)),
    )
}

/// Models of which a track's vector is faulty.
///
/// - `is_changed`: whether the checksum differs; else the vector was stored with a wrong norm
fn faulty_vectors(
    tx: &Transaction<'_>,
    track: TrackId,
    is_changed: bool,
) -> rusqlite::Result<Vec<HeldModel>> {
    let mut statement = tx.prepare_cached(
        "SELECT v.vector, v.checksum, v.model, m.dimension, m.manifest
         FROM vectors v LEFT JOIN models m ON m.id = v.model WHERE v.track = ?1",
    )?;
    let mut rows = statement.query([track.0])?;
    let mut models = Vec::new();
    while let Some(row) = rows.next()? {
        let model = HeldModel::read(row, 2)?;
        let vector = row.get_ref(0)?.as_blob()?;
        let is_whole = row.get_ref(1)?.as_blob()? == checksum::of(track.0, &[vector]);
        let is_wrong =
            || vector_finding(track, &read::f32_values(vector), model.dimension).is_some();
        if if is_changed {
            !is_whole
        } else {
            is_whole && is_wrong()
        } {
            models.push(model);
        }
    }
    Ok(models)
}

/// Models of which a track's windows are damaged.
fn faulty_windows(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<Vec<HeldModel>> {
    let mut statement = tx.prepare_cached(
        "SELECT w.track, w.count, w.starts, w.vectors, w.checksum, w.model, m.dimension, m.manifest
         FROM windows w LEFT JOIN models m ON m.id = w.model WHERE w.track = ?1",
    )?;
    let mut rows = statement.query([track.0])?;
    let mut models = Vec::new();
    while let Some(row) = rows.next()? {
        let model = HeldModel::read(row, 5)?;
        if window_mean(row, model.dimension)?.is_none() {
            models.push(model);
        }
    }
    Ok(models)
}

/// Removes a vector whose file can be embedded again.
fn take_vector(
    tx: &Transaction<'_>,
    track: TrackId,
    model: HeldModel,
    report: &mut RepairReport,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM vectors WHERE track = ?1 AND model = ?2";
    let taken = tx.execute(sql, (track.0, model.id))? as u64;
    let is_current: bool = tx.query_row("SELECT model IS ?1 FROM state", [model.id], |row| {
        row.get(0)
    })?;
    if is_current {
        report.to_embed += taken;
    } else {
        report.to_embed_in_spaces += taken;
    }
    Ok(())
}

/// Computes a vector again from its windows; returns whether the windows are sound.
fn pool_again(
    tx: &Transaction<'_>,
    track: TrackId,
    model: HeldModel,
    report: &mut RepairReport,
) -> rusqlite::Result<bool> {
    let mut statement = tx.prepare_cached(
        "SELECT track, count, starts, vectors, checksum FROM windows WHERE track = ?1 AND model = ?2",
    )?;
    let mut rows = statement.query((track.0, model.id))?;
    let pooled = match rows.next()? {
        Some(row) => window_mean(row, model.dimension)?
            .filter(|mean| !mean.is_empty())
            .and_then(unit),
        None => None,
    };
    let Some(pooled) = pooled else {
        return Ok(false);
    };
    report.repooled += 1;
    put(tx, track, model, &pooled).map(|()| true)
}

fn put(
    tx: &Transaction<'_>,
    track: TrackId,
    model: HeldModel,
    vector: &[f32],
) -> rusqlite::Result<()> {
    let vector = f32_bytes(vector);
    let sql = "UPDATE vectors SET vector = ?2, checksum = ?3 WHERE track = ?1 AND model = ?4";
    let checksum = checksum::of(track.0, &[&vector]);
    tx.execute(sql, (track.0, &vector, checksum, model.id))
        .map(drop)
}

fn mend_vector(
    tx: &Transaction<'_>,
    track: TrackId,
    model: HeldModel,
    is_on_disk: bool,
    report: &mut RepairReport,
) -> rusqlite::Result<()> {
    // Windows are in half precision, but a wrong norm means that some component of the vector is
    // wrong.
    if pool_again(tx, track, model, report)? {
        return Ok(());
    }
    let sql = "SELECT vector FROM vectors WHERE track = ?1 AND model = ?2";
    let held = tx.query_row(sql, (track.0, model.id), |row| {
        Ok(read::f32_values(row.get_ref(0)?.as_blob()?))
    })?;
    let scaled = (Some(held.len()) == model.dimension)
        .then_some(held)
        .and_then(unit);
    if let Some(scaled) = scaled {
        report.renormalised += 1;
        return put(tx, track, model, &scaled);
    }
    if is_on_disk {
        take_vector(tx, track, model, report)?;
    }
    Ok(())
}

/// Whether some file of the track is on disk.
fn has_file(connection: &Connection, track: TrackId) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT path FROM files WHERE track = ?1")?;
    let mut rows = statement.query([track.0])?;
    while let Some(row) = rows.next()? {
        if !is_gone(&paths::from_bytes(row.get_ref(0)?.as_blob()?)) {
            return Ok(true);
        }
    }
    Ok(false)
}
