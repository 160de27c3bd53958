//! Reading tracks, files and vectors.

use ndarray::Array2;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{
    AudioFacts, Changes, FileRecord, FileState, Library, LibraryError, Result, StoredFile, Track,
    TrackTags, Vectors, mean, paths,
};
use voisin_base::track::{ContentId, TrackId};

/// Keeps reads at one state of the database; see [`Library::snapshot`].
#[derive(Debug)]
pub struct Snapshot<'a> {
    _transaction: Option<Transaction<'a>>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(transaction: Transaction<'a>) -> Self {
        Self {
            _transaction: Some(transaction),
        }
    }

    pub(super) fn nested() -> Self {
        Self { _transaction: None }
    }
}

pub(super) const FILE_COLUMNS: &str = "path, size, mtime_ns, track";

pub(super) fn stored_file(row: &Row<'_>) -> rusqlite::Result<StoredFile> {
    file_at(row, 0)
}

fn file_at(row: &Row<'_>, at: usize) -> rusqlite::Result<StoredFile> {
    Ok(StoredFile {
        record: FileRecord {
            path: paths::from_bytes(row.get_ref(at)?.as_blob()?),
            size: row.get::<_, i64>(at + 1)? as u64,
            mtime_ns: row.get(at + 2)?,
        },
        track: TrackId(row.get(at + 3)?),
    })
}

/// Columns of a file's tags, as [`tags_at`] reads them.
// A macro, so that `concat!` can build the queries below at compile time.
macro_rules! tag_columns {
    () => {
        "t.title, t.artist, t.album, t.album_artist, t.year, t.track_number, t.disc_number, t.mbid, t.isrc, t.licence,
         t.bpm, t.musical_key, t.replay_gain, t.composer"
    };
}

// Column numbers in `new_track` and `read_tracks` follow this order: 11 is the file's path, 15 its
// number, 16 the first of its tags.
const TRACK_QUERY: &str = concat!(
    "SELECT a.id, a.content, a.seconds, a.sample_rate, a.channels, a.container, a.codec, a.packets, a.damaged_packets,
     a.added_at, a.last_path, f.path, f.size, f.mtime_ns, f.track, f.id, ",
    tag_columns!(),
    " FROM audio a LEFT JOIN files f ON f.track = a.id LEFT JOIN tags t ON t.file = f.id"
);

impl Library {
    /// The state of a file with this size and modification time. Compares for equality only, so
    /// that a clock that went backwards hides no change.
    pub fn file_state(&self, file: &FileRecord) -> Result<FileState> {
        let path = paths::to_bytes(&file.path)?;
        let sql =
            "SELECT track, size, mtime_ns, EXISTS (SELECT 1 FROM vectors v WHERE v.track = f.track)
            FROM files f WHERE path = ?1";
        let known = self.query_opt(sql, [path], |row| {
            let track = TrackId(row.get(0)?);
            let same =
                row.get::<_, i64>(1)? as u64 == file.size && row.get::<_, i64>(2)? == file.mtime_ns;
            // A change of the file outweighs a missing vector: it may be other music by now.
            Ok(match (same, row.get(3)?) {
                (false, _) => FileState::Changed(track),
                (true, false) => FileState::NoVector(track),
                (true, true) => FileState::Unchanged(track),
            })
        })?;
        // A changed file may have failed since: it is skipped like a new one that failed.
        if let Some(state @ FileState::Unchanged(_)) = known {
            return Ok(state);
        }
        let sql = "SELECT reason FROM failures
            WHERE path = ?1 AND size = ?2 AND mtime_ns = ?3 AND NOT transient";
        let failed = self.query_opt(sql, (path, file.size as i64, file.mtime_ns), |row| {
            row.get(0)
        })?;
        Ok(match (failed, known) {
            (Some(reason), _) => FileState::FailedBefore { reason },
            (None, Some(state)) => state,
            (None, None) => FileState::New,
        })
    }

    /// The track with this audio.
    pub fn find_by_content(&self, content: &ContentId) -> Result<Option<TrackId>> {
        self.find_track("SELECT id FROM audio WHERE content = ?1", &content.0)
    }

    /// The track of the file under this path, which is converted to the stored form first.
    pub fn find_by_path(&self, path: &Path) -> Result<Option<TrackId>> {
        let stored = super::stored_path(path);
        self.find_track(
            "SELECT track FROM files WHERE path = ?1",
            paths::to_bytes(&stored)?,
        )
    }

    /// The track of the file under this stored path, without access to the disk.
    pub fn find_by_stored_path(&self, path: &Path) -> Result<Option<TrackId>> {
        self.find_track(
            "SELECT track FROM files WHERE path = ?1",
            paths::to_bytes(path)?,
        )
    }

    /// The tracks with several files, ascending by id.
    pub fn tracks_of_several_files(&self) -> Result<Vec<Track>> {
        let mut found = Vec::new();
        let several = "SELECT track FROM files GROUP BY track HAVING count(*) > 1";
        let sql = format!("{TRACK_QUERY} WHERE a.id IN ({several}) ORDER BY a.id, f.id");
        self.read_tracks(&sql, [], |track| {
            found.push(track);
            Ok(())
        })?;
        Ok(found)
    }

    fn find_track(&self, sql: &str, key: &[u8]) -> Result<Option<TrackId>> {
        self.query_opt(sql, [key], |row| row.get(0).map(TrackId))
    }

    /// One track with its files and tags.
    pub fn track(&self, id: TrackId) -> Result<Track> {
        let mut found = None;
        self.read_tracks(
            &format!("{TRACK_QUERY} WHERE a.id = ?1 ORDER BY f.id"),
            [id.0],
            |track| {
                found = Some(track);
                Ok(())
            },
        )?;
        found.ok_or(LibraryError::UnknownTrack(id))
    }

    /// These tracks, in this order, in one read; each must exist.
    pub fn tracks_by_id(&self, ids: &[TrackId]) -> Result<Vec<Track>> {
        // One JSON text for all ids, as SQLite limits the number of values.
        let list = serde_json::json!(ids).to_string();
        let mut found = HashMap::with_capacity(ids.len());
        let sql = format!(
            "{TRACK_QUERY} WHERE a.id IN (SELECT value FROM json_each(?1)) ORDER BY a.id, f.id"
        );
        self.read_tracks(&sql, [list], |track| {
            found.insert(track.id, track);
            Ok(())
        })?;
        ids.iter()
            .map(|id| {
                found
                    .get(id)
                    .cloned()
                    .ok_or(LibraryError::UnknownTrack(*id))
            })
            .collect()
    }

    /// Whether a track has this id.
    pub fn contains(&self, id: TrackId) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM audio WHERE id = ?1)";
        self.query_one(sql, [id.0], |row| row.get(0))
    }

    /// The ids of all tracks, ascending.
    pub fn track_ids(&self) -> Result<Vec<TrackId>> {
        let sql = "SELECT id FROM audio ORDER BY id";
        self.query_all(sql, [], |row| row.get(0).map(TrackId))
    }

    /// Every track, ascending by id: the row order of [`Library::vectors`] and of an export, except that
    /// a track without a vector has no row there.
    pub fn tracks(&self) -> Result<Vec<Track>> {
        let mut tracks = Vec::new();
        self.for_each_track(|track| {
            tracks.push(track);
            Ok(())
        })?;
        Ok(tracks)
    }

    /// Calls `visit` with each track, ascending by id, one in memory at a time.
    pub fn for_each_track(&self, visit: impl FnMut(Track) -> Result<()>) -> Result<()> {
        self.read_tracks(&format!("{TRACK_QUERY} ORDER BY a.id, f.id"), [], visit)
    }

    fn read_tracks(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut visit: impl FnMut(Track) -> Result<()>,
    ) -> Result<()> {
        let _snapshot = self.snapshot()?;
        let mut statement = self.sql(self.connection.prepare_cached(sql))?;
        let mut rows = self.sql(statement.query(parameters))?;
        let mut current: Option<Track> = None;
        while let Some(row) = self.sql(rows.next())? {
            let id = TrackId(self.sql(row.get(0))?);
            // Rows come by track and file; a track is complete when the next one begins.
            if current.as_ref().is_none_or(|track| track.id != id) {
                if let Some(done) = current.take() {
                    visit(done)?;
                }
                current = Some(self.sql(new_track(&self.connection, row))?);
            }
            // A track without a file, as in the middle of a run, has one row with no file in it.
            if let Some(track) = &mut current
                && !matches!(self.sql(row.get_ref(11))?, ValueRef::Null)
            {
                track.files.push(self.sql(file_at(row, 11))?);
            }
        }
        current.map_or(Ok(()), visit)
    }

    /// The pooled vector of a track, unit norm; `None` if there is no such track or no vector of it.
    pub fn vector(&self, id: TrackId) -> Result<Option<Vec<f32>>> {
        let sql = "SELECT vector FROM vectors WHERE track = ?1";
        self.query_opt(sql, [id.0], |row| {
            Ok(f32_values(row.get_ref(0)?.as_blob()?))
        })
    }

    /// Whether a track has a vector.
    pub fn has_vector(&self, id: TrackId) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM vectors WHERE track = ?1)";
        self.query_one(sql, [id.0], |row| row.get(0))
    }

    /// All vectors in one array, ascending by id, with their generation.
    pub fn vectors(&self) -> Result<Vectors> {
        let _snapshot = self.snapshot()?;
        let generation = self.generation()?;
        let dimension = self.model()?.map_or(0, |model| model.dimension);
        let mut ids = Vec::new();
        let mut values = Vec::new();
        // The counter is only a hint: a damaged one must not allocate all memory, and if this fails, memory is allocated
        // row by row instead of aborting.
        let count = self.query_one("SELECT vectors FROM state", [], |row| row.get::<_, i64>(0))?;
        let count = usize::try_from(count).unwrap_or(0).min(1 << 24);
        let _ = ids.try_reserve(count);
        let _ = values.try_reserve(count.saturating_mul(dimension));
        let sql = "SELECT track, vector FROM vectors ORDER BY track";
        let mut statement = self.sql(self.connection.prepare(sql))?;
        let mut rows = self.sql(statement.query([]))?;
        let damaged = |detail: String| LibraryError::Damaged {
            path: self.path.clone(),
            detail,
        };
        while let Some(row) = self.sql(rows.next())? {
            let vector = self.sql(
                row.get_ref(1)
                    .and_then(|blob| Ok(f32_values(blob.as_blob()?))),
            )?;
            if vector.len() != dimension {
                let found = vector.len();
                return Err(damaged(format!(
                    "a vector has {found} numbers, not {dimension}"
                )));
            }
            ids.push(TrackId(self.sql(row.get(0))?));
            values.extend(vector);
        }
        // The shape always fits, as each row was checked above.
        let values = Array2::from_shape_vec((ids.len(), dimension), values)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Vectors {
            generation,
            ids,
            values,
        })
    }

    /// The tags of the file under this stored path; empty if it has none.
    pub fn tags_of_file(&self, path: &Path) -> Result<TrackTags> {
        let found = tags_of_path(&self.connection, paths::to_bytes(path)?);
        Ok(self.sql(found)?.unwrap_or_default())
    }
}

/// The tags of the file with this path, if the library has it.
pub(super) fn tags_of_path(
    connection: &Connection,
    path: &[u8],
) -> rusqlite::Result<Option<TrackTags>> {
    const SQL: &str = concat!(
        "SELECT f.id, ",
        tag_columns!(),
        " FROM files f JOIN tags t ON t.file = f.id WHERE f.path = ?1"
    );
    let read = |row: &Row<'_>| tags_at(connection, row, row.get(0)?, 1);
    connection
        .prepare_cached(SQL)?
        .query_row([path], read)
        .optional()
}

impl Library {
    /// The changes since `generation`; `None` if the log does not reach back so far, or
    /// `generation` lies ahead of the library (as after restoring a backup): an index must be
    /// rebuilt then.
    pub fn changes_since(&self, generation: u64) -> Result<Option<Changes>> {
        let _snapshot = self.snapshot()?;
        let now = self.generation()?;
        // Below zero: the index is newer than this library, which was restored from a backup.
        let Some(expected) = now.checked_sub(generation) else {
            return Ok(None);
        };
        let sql = "SELECT track, change FROM changes WHERE generation > ?1 ORDER BY generation";
        let log: Vec<(i64, i64)> = self.query_all(sql, [generation as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        // Each generation has one row: if some are missing, the log was truncated.
        if log.len() as u64 != expected {
            return Ok(None);
        }
        // Per track: whether it had a vector before, and whether it has one now.
        let mut tracks: BTreeMap<i64, (bool, bool)> = BTreeMap::new();
        for (track, change) in log
            .into_iter()
            .filter(|(_, change)| *change != mean::CHANGE)
        {
            // The first change of a track shows whether it had a vector before, the last whether it
            // has one now.
            let entry = tracks.entry(track).or_insert((change != 0, false));
            // change: 0 added, 1 replaced, 2 removed
            entry.1 = change != 2;
        }
        let pick = |is_wanted: fn(&(bool, bool)) -> bool| {
            tracks
                .iter()
                .filter(|(_, state)| is_wanted(state))
                .map(|(&track, _)| TrackId(track))
                .collect()
        };
        Ok(Some(Changes {
            generation: now,
            added: pick(|state| state.1),
            removed: pick(|state| state.0),
        }))
    }
}

fn new_track(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Track> {
    // 32 bytes by the schema, which a damaged database may violate.
    let content = row.get_ref(1)?.as_blob()?.try_into().map_err(|_| {
        rusqlite::Error::InvalidColumnType(1, "content".into(), rusqlite::types::Type::Blob)
    })?;
    let audio = AudioFacts {
        content: ContentId(content),
        seconds: row.get(2)?,
        sample_rate: row.get(3)?,
        channels: row.get(4)?,
        container: text(row, 5)?.unwrap_or_default(),
        codec: text(row, 6)?.unwrap_or_default(),
        packets: row.get::<_, i64>(7)? as u64,
        damaged_packets: row.get::<_, i64>(8)? as u64,
    };
    let path = match row.get_ref(11)?.as_blob_or_null()? {
        Some(first) => paths::from_bytes(first),
        None => paths::from_bytes(row.get_ref(10)?.as_blob()?),
    };
    let tags = match row.get::<_, Option<i64>>(15)? {
        Some(file) => tags_at(connection, row, file, 16)?,
        None => TrackTags::default(),
    };
    let id = TrackId(row.get(0)?);
    let added_at = row.get(9)?;
    Ok(Track {
        id,
        audio,
        added_at,
        files: Vec::new(),
        tags,
        path,
    })
}

/// The tags of a file; `at` is their first column.
fn tags_at(
    connection: &Connection,
    row: &Row<'_>,
    file: i64,
    at: usize,
) -> rusqlite::Result<TrackTags> {
    Ok(TrackTags {
        title: text(row, at)?,
        artist: text(row, at + 1)?,
        album: text(row, at + 2)?,
        album_artist: text(row, at + 3)?,
        composer: text(row, at + 13)?,
        genres: connection
            .prepare_cached("SELECT genre FROM genres WHERE file = ?1 ORDER BY position")?
            .query_map([file], |row| Ok(text(row, 0)?.unwrap_or_default()))?
            .collect::<rusqlite::Result<_>>()?,
        year: row.get(at + 4)?,
        track_number: row.get(at + 5)?,
        disc_number: row.get(at + 6)?,
        mbid: text(row, at + 7)?,
        isrc: text(row, at + 8)?,
        licence: text(row, at + 9)?,
        bpm: row.get(at + 10)?,
        musical_key: text(row, at + 11)?,
        replay_gain: row.get(at + 12)?,
    })
}

pub(super) fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

/// A text column, decoded lossily: a flipped bit in a title must not make the library unreadable.
fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
        other => Err(rusqlite::Error::InvalidColumnType(
            at,
            "text".into(),
            other.data_type(),
        )),
    }
}
