//! Checksums of stored data. A vector or window whose checksum differs is not served; damage to
//! other rows is found by [`Library::check`](super::Library::check).

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Transaction};

/// Bytes of a checksum.
// Half of a BLAKE3 digest: it has to detect disk corruption, not deliberate forgery.
const LENGTH: usize = 16;

/// A table with a checksum of the columns of each row.
pub(super) struct SealedTable {
    pub(super) name: &'static str,
    /// The table's primary key.
    key: &'static str,
    /// The columns that the checksum covers, without hints such as when a file was last seen.
    columns: &'static str,
    /// Its content in words, for messages.
    pub(super) what: &'static str,
    /// The track that a row belongs to.
    track: &'static str,
}

pub(super) const SEALED: [SealedTable; 9] = [
    SealedTable {
        name: "audio",
        key: "id",
        columns: "id, content, seconds, sample_rate, channels, container, codec, packets, damaged_packets, added_at, identity",
        what: "content id and format",
        track: "id",
    },
    SealedTable {
        name: "files",
        key: "id",
        columns: "id, track, path, size, mtime_ns",
        what: "file",
        track: "track",
    },
    SealedTable {
        name: "tags",
        key: "file",
        columns: "file, title, artist, album, album_artist, year, track_number, disc_number, artist_key, album_artist_key, \
                  search, mbid, isrc, licence, replay_gain, bpm, musical_key",
        what: "tags",
        track: OF_FILE,
    },
    SealedTable {
        name: "genres",
        key: "file, position",
        columns: "file, position, genre, genre_key",
        what: "genre tag",
        track: OF_FILE,
    },
    SealedTable {
        name: "credits",
        key: "file",
        columns: "file, composer, composer_key",
        what: "composer",
        track: OF_FILE,
    },
    SealedTable {
        name: "descriptors",
        key: "track",
        columns: "track, version, tempo, key, loudness, loudness_is_exact",
        what: "tempo, key and loudness",
        track: "track",
    },
    SealedTable {
        name: "logits",
        key: "id",
        columns: "id, track, model, logits",
        what: "words that the model hears",
        track: "track",
    },
    SealedTable {
        name: "labels",
        key: "content",
        columns: "content, genre, set_at",
        what: "genre given by hand",
        track: "(SELECT id FROM audio WHERE audio.content = labels.content)",
    },
    SealedTable {
        name: "scales",
        key: "content, scale",
        columns: "content, scale, value, error, origin",
        what: "value of a scale",
        track: "(SELECT id FROM audio WHERE audio.content = scales.content)",
    },
];

const OF_FILE: &str = "(SELECT track FROM files WHERE id = file)";

impl SealedTable {
    /// An SQL condition for the rows whose checksum differs.
    pub(super) fn is_damaged(&self) -> String {
        format!(
            "{0}.checksum IS NOT row_checksum({1})",
            self.name, self.columns
        )
    }

    /// The tracks of these rows; `NULL` where the library has none.
    pub(super) fn damaged_tracks(&self) -> String {
        format!(
            "SELECT {} FROM {} WHERE {} ORDER BY 1",
            self.track,
            self.name,
            self.is_damaged()
        )
    }
}

/// Registers the SQL function `row_checksum`: the checksum of its arguments, with their order and types.
pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    // It reads nothing but its arguments, so that the schema of a file from elsewhere, which is not
    // trusted (see `open::prepare`), may call it.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("row_checksum", -1, flags, |row: &Context<'_>| {
        Ok(of_row(row))
    })
}

fn of_row(row: &Context<'_>) -> [u8; LENGTH] {
    let mut hasher = blake3::Hasher::new();
    // with type and length before each value, so that no two rows give the same bytes
    let mut add = |kind: u8, bytes: &[u8]| {
        hasher
            .update(&[kind])
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(bytes);
    };
    for at in 0..row.len() {
        match row.get_raw(at) {
            ValueRef::Null => add(0, &[]),
            ValueRef::Integer(value) => add(1, &value.to_le_bytes()),
            ValueRef::Real(value) => add(2, &value.to_le_bytes()),
            ValueRef::Text(value) => add(3, value),
            ValueRef::Blob(value) => add(4, value),
        }
    }
    cut(&hasher)
}

/// Adds triggers that store the checksum of every row this connection writes into a sealed table. They are temporary,
/// so that a program without the function can write into the database, too.
pub(super) fn seal_what_is_written(connection: &Connection) -> rusqlite::Result<()> {
    for SealedTable {
        name, key, columns, ..
    } in &SEALED
    {
        let row = key
            .split(", ")
            .map(|key| format!("{key} = new.{key}"))
            .collect::<Vec<_>>()
            .join(" AND ");
        // The trigger writes `checksum`, which is in no list of columns, so it cannot set itself
        // off.
        for (event, trigger) in [("INSERT", "added"), ("UPDATE OF", "changed")] {
            let watched = if trigger == "added" { "" } else { columns };
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER {name}_{trigger}_sealed AFTER {event} {watched} ON main.{name} BEGIN
                     UPDATE {name} SET checksum = row_checksum({columns}) WHERE {row};
                 END"
            ))?;
        }
    }
    Ok(())
}

/// Computes the checksums of all rows, for a library that had none.
pub(super) fn seal_all(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    register(tx)?;
    // Tables of later schemas do not exist yet.
    // This runs in the middle of the migrations, with the list of sealed tables of the newest
    // schema.
    let there = |name: &str| tx.table_exists(None, name);
    for SealedTable { name, columns, .. } in &SEALED {
        if !there(name)? {
            continue;
        }
        tx.execute(
            &format!("UPDATE {name} SET checksum = row_checksum({columns})"),
            [],
        )?;
    }
    Ok(())
}

/// The checksum of a track's vector or windows: truncated BLAKE3 of the track's id and these bytes.
pub(super) fn of(track: i64, parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&track.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    cut(&hasher)
}

// Shared by vectors, windows and rows: their checksums have one length in the schema.
fn cut(hasher: &blake3::Hasher) -> [u8; LENGTH] {
    let mut checksum = [0; LENGTH];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..LENGTH]);
    checksum
}

/// Computes the checksums of all vectors and windows, for a library that had none.
pub(super) fn fill(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    for (table, starts) in [("vectors", "x''"), ("windows", "starts")] {
        let column = if table == "vectors" {
            "vector"
        } else {
            "vectors"
        };
        let mut select = tx.prepare(&format!(
            "SELECT track, {starts}, {column} FROM {table} WHERE id = ?1"
        ))?;
        let mut update = tx.prepare(&format!("UPDATE {table} SET checksum = ?2 WHERE id = ?1"))?;
        // The ids are collected first, since a table must not change under the statement that reads
        // it.
        let ids: Vec<i64> = tx
            .prepare(&format!("SELECT id FROM {table}"))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in ids {
            let checksum = select.query_row([id], |row| {
                Ok(of(
                    row.get(0)?,
                    &[row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?],
                ))
            })?;
            update.execute((id, checksum))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::library;

    /// Fails if a new column is in no list of sealed columns.
    #[test]
    fn checksums_are_of_all_columns_but_hints() {
        let dir = tempfile::tempdir().unwrap();
        let library = library(dir.path(), 4);
        for SealedTable { name, columns, .. } in &SEALED {
            let mut select = library
                .connection
                .prepare("SELECT name FROM pragma_table_info(?1)")
                .unwrap();
            let all = select.query_map([name], |row| row.get(0)).unwrap();
            let mut all: Vec<String> = all.collect::<Result<_, _>>().unwrap();
            all.retain(|column| !matches!(column.as_str(), "checksum" | "seen_at" | "last_path"));
            let mut sealed: Vec<&str> = columns.split(", ").collect();
            all.sort_unstable();
            sealed.sort_unstable();
            assert_eq!(sealed, all, "{name}");
        }
    }

    #[test]
    fn values_of_other_types_and_other_borders_have_other_checksums() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let checksum_of = |values: &str| {
            let sql = format!("SELECT row_checksum({values})");
            connection
                .query_row(&sql, [], |row| row.get::<_, Vec<u8>>(0))
                .unwrap()
        };
        let all = [
            "1", "1.0", "'1'", "x'31'", "NULL", "'1', ''", "'', '1'", "1, NULL", "'11'",
        ]
        .map(checksum_of);
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!((different.len(), all[0].len()), (all.len(), LENGTH));
        assert_eq!(checksum_of("1, 'a', NULL"), checksum_of("1, 'a', NULL"));
    }
}
