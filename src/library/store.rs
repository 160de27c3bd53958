//! Changes of tracks and files. Every call is one transaction.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use half::f16;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::read::FILE_COLUMNS;
use super::{
    AttachOutcome, AudioFacts, FileRecord, Library, LibraryError, MissingFile, NewTrack, OpenMode,
    Removed, Result, StoredFile, StoredModel, TrackTags, WorkError, descriptors, fold, now, paths,
    read,
};
use voisin_base::track::TrackId;
use voisin_base::vector::{NORM_TOLERANCE, norm};

impl Library {
    /// Adds a recording with its file, tags and vector.
    ///
    /// If the path had other audio before, it now belongs to the new track; the old track stays without a file
    /// until [`Library::remove_orphans`](Library::remove_orphans), as its file may be found elsewhere
    /// in the same run, e.g. if two files swap names. A failure of the path is deleted.
    ///
    /// Refuses vectors that are not finite, not of unit norm or not of the model's dimension, and audio that the
    /// library has already ([`LibraryError::DuplicateContent`], see
    /// [`Library::attach_file`](Library::attach_file)).
    pub fn insert_track(&mut self, new: &NewTrack) -> Result<TrackId> {
        let path = paths::to_bytes(&new.file.path)?;
        self.write(|tx| {
            check_vector(tx, &new.vector, &new.logits)?;
            let audio = &new.audio;
            let same = tx
                .prepare_cached("SELECT id FROM audio WHERE content = ?1")?
                .query_row([&audio.content.0[..]], |row| row.get(0).map(TrackId))
                .optional()?;
            // Searched inside the transaction, as another process may just have added the same
            // audio.
            if let Some(track) = same {
                return Err(LibraryError::DuplicateContent { track }.into());
            }
            let track = insert_audio(tx, None, audio, now(), path)?;
            put_vector(tx, track, &new.vector, &new.logits)?;
            put_file(tx, track, path, &new.file, &new.tags)?;
            if let Some(measured) = &new.descriptors {
                descriptors::put(tx, track, measured)?;
            }
            Ok(track)
        })
    }

    /// Replaces the vector and the logits of a track that was embedded again.
    pub fn replace_vector(&mut self, track: TrackId, vector: &[f32], logits: &[f32]) -> Result<()> {
        self.write(|tx| {
            check_vector(tx, vector, logits)?;
            check_known(tx, track)?;
            put_vector(tx, track, vector, logits)?;
            Ok(())
        })
    }

    /// Removes tracks from the library with all their files and vectors. Unknown ids are no error.
    pub fn remove_tracks(&mut self, tracks: &[TrackId]) -> Result<Removed> {
        self.write(|tx| {
            let mut removed = Removed::default();
            for track in tracks {
                // Files first, to count them: deleting the track would cascade.
                removed.files += tx
                    .prepare_cached("DELETE FROM files WHERE track = ?1")?
                    .execute([track.0])? as u64;
                removed.tracks += delete_track(tx, *track)?;
            }
            Ok(removed)
        })
    }

    /// Attaches a file to a track with the same audio: it was moved, retagged or copied.
    ///
    /// If the track has a file that no longer exists on disk, the new path replaces it.
    pub fn attach_file(
        &mut self,
        track: TrackId,
        file: &FileRecord,
        tags: &TrackTags,
    ) -> Result<AttachOutcome> {
        let path = paths::to_bytes(&file.path)?;
        // The disk, which may be slow, is read before the transaction, which blocks other writers.
        let mut gone = self.sql(files_of(&self.connection, track))?;
        // The track has this path already: its tags changed, and nothing was moved.
        if gone.iter().any(|(_, other)| other == path) {
            gone.clear();
        }
        gone.retain(|(_, other)| is_gone(&paths::from_bytes(other)));
        self.write(|tx| {
            let others = files_of(tx, track)?;
            check_known(tx, track)?;
            let attached = if others.iter().any(|(_, other)| other == path) {
                AttachOutcome::Retagged
            // Only files that were checked: one that was added meanwhile may exist.
            } else if let Some((id, from)) = others.iter().find(|other| gone.contains(other)) {
                // The new path may have held other audio before, whose row would conflict.
                tx.prepare_cached("DELETE FROM files WHERE path = ?1")?
                    .execute([path])?;
                tx.prepare_cached("UPDATE files SET path = ?2 WHERE id = ?1")?
                    .execute((id, path))?;
                // So that `undo` finds the file. The key begins with the run, so each run is looked up.
                tx.prepare_cached(
                    "WITH RECURSIVE runs (run) AS (
                         SELECT min(run) FROM written_tags UNION
                         SELECT (SELECT min(run) FROM written_tags AS w WHERE w.run > runs.run)
                         FROM runs WHERE run IS NOT NULL)
                     UPDATE OR IGNORE written_tags SET path = ?2
                     WHERE run IN (SELECT run FROM runs) AND path = ?1",
                )?
                .execute((from, path))?;
                AttachOutcome::Moved {
                    from: paths::from_bytes(from),
                }
            } else {
                AttachOutcome::Duplicate
            };
            put_file(tx, track, path, file, tags)?;
            Ok(attached)
        })
    }

    /// Removes files or whole folders from the library, and tracks left without a file. Nothing on
    /// disk is touched.
    pub fn remove_paths(&mut self, given: &[PathBuf]) -> Result<Removed> {
        let ranges = given
            .iter()
            .map(|path| below(path))
            .collect::<Result<Vec<_>>>()?;
        self.write(|tx| {
            Ok(Removed {
                files: delete_below(tx, "files", &ranges)?,
                tracks: delete_orphans(tx)?,
                failures: delete_below(tx, "failures", &ranges)?,
            })
        })
    }

    /// Removes the entries of files that are not on disk, failed ones too, and the tracks that have no other.
    pub fn remove_missing(&mut self, missing: &[MissingFile]) -> Result<Removed> {
        // Checked again, since a disk may have been mounted after the list was made.
        let paths = missing
            .iter()
            .map(|entry| &*entry.file.record.path)
            .filter(|path| is_gone(path));
        let gone: Vec<&[u8]> = paths.flat_map(paths::to_bytes).collect();
        let failures = self.failures()?;
        // Of a folder that is there: a disk may not be mounted.
        let failed = failures
            .iter()
            .map(|failure| &*failure.path)
            .filter(|path| {
                is_gone(path) && path.parent().is_some_and(|folder| absent(folder).is_none())
            });
        let failed: Vec<&[u8]> = failed.flat_map(paths::to_bytes).collect();
        self.write(|tx| {
            let mut files = 0;
            for path in gone {
                files += tx
                    .prepare_cached("DELETE FROM files WHERE path = ?1")?
                    .execute([path])? as u64;
            }
            let mut failures = 0;
            for path in failed {
                failures += tx.execute("DELETE FROM failures WHERE path = ?1", [path])? as u64;
            }
            Ok(Removed {
                files,
                tracks: delete_orphans(tx)?,
                failures,
            })
        })
    }

    /// Orders files that are not on disk after others of the same tracks that are: a track is shown by its first file.
    pub fn put_missing_last(&mut self, missing: &[MissingFile]) -> Result<()> {
        let mut moved = Vec::new();
        for MissingFile { file, .. } in missing {
            let path = paths::to_bytes(&file.record.path)?;
            let all = self.sql(files_of(&self.connection, file.track))?;
            // Nothing to do if an existing file is first already.
            let mut before = all.iter().take_while(|(_, other)| other != path);
            let is_there = |other: &[u8]| !is_gone(&paths::from_bytes(other));
            if all.len() > 1
                && !before.any(|(_, other)| is_there(other))
                && all.iter().any(|(_, other)| is_there(other))
            {
                moved.push(file);
            }
        }
        self.put_last(&moved)
    }

    /// Orders files after the others of their tracks.
    fn put_last(&mut self, files: &[&StoredFile]) -> Result<()> {
        let mut moved = Vec::new();
        for file in files {
            let path = &file.record.path;
            let tags = self.tags_of_file(path)?;
            moved.push((file, paths::to_bytes(path)?, tags));
        }
        if moved.is_empty() {
            return Ok(());
        }
        self.write(|tx| {
            for (file, path, tags) in &moved {
                let deleted = tx
                    .prepare_cached("DELETE FROM files WHERE path = ?1 AND track = ?2")?
                    .execute((path, file.track.0))?;
                // A row that is inserted again is last, as rows are ordered by number.
                if deleted > 0 {
                    put_file(tx, file.track, path, &file.record, tags)?;
                }
            }
            Ok(())
        })
    }

    /// Removes tracks that have no file left, at the end of a run of [`Library::insert_track`] and
    /// [`Library::attach_file`](Library::attach_file). Returns how many.
    pub fn remove_orphans(&mut self) -> Result<u64> {
        // Usually there are none, so that no write lock is needed. Read-only mode falls through to
        // its error.
        if self.mode != OpenMode::ReadOnly && !self.sql(has_orphans(&self.connection))? {
            return Ok(0);
        }
        self.write(|tx| Ok(delete_orphans(tx)?))
    }

    /// Files of the library, below `folder` if given, that are not on disk. A file that cannot be checked
    /// for another reason, such as missing permission, is not missing.
    pub fn missing_files(&self, folder: Option<&Path>) -> Result<Vec<MissingFile>> {
        // Cached per folder: on a network share each check is a round trip.
        let mut looked_at: HashMap<PathBuf, Option<PathBuf>> = HashMap::new();
        let mut missing = |file: StoredFile| {
            let path = &file.record.path;
            // A dangling link was not removed: its target cannot be reached.
            let absent_folder = is_gone(path).then(|| match path.parent() {
                Some(_) if path.is_symlink() => Some(path.clone()),
                Some(folder) => looked_at
                    .entry(folder.to_owned())
                    .or_insert_with(|| absent(folder))
                    .clone(),
                None => None,
            })?;
            Some(MissingFile {
                file,
                absent_folder,
            })
        };
        let (exact, from, to) = match folder {
            Some(folder) => below(folder)?,
            // The range is not used: `?4` selects all files.
            None => (Vec::new(), Vec::new(), vec![0xff; 1]),
        };
        let sql = format!(
            "SELECT {FILE_COLUMNS} FROM files WHERE path = ?1 OR (path >= ?2 AND path < ?3) OR ?4 ORDER BY path"
        );
        let rows = self.connection.prepare(&sql).and_then(|mut statement| {
            let rows = statement.query_map(
                params![exact, from, to, folder.is_none()],
                read::stored_file,
            )?;
            rows.filter_map(|file| file.map(&mut missing).transpose())
                .collect()
        });
        self.sql(rows)
    }

    /// Number of files of the library at a path or below it, whether on disk or not.
    pub fn files_below(&self, folder: &Path) -> Result<u64> {
        let (exact, from, to) = below(folder)?;
        let sql = "SELECT count(*) FROM files WHERE path = ?1 OR (path >= ?2 AND path < ?3)";
        let count = self.query_one(sql, params![exact, from, to], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs)
    }
}

/// The path as bytes, and the half-open range of the paths below it.
pub(super) fn below(path: &Path) -> Result<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    // In stored form, or a folder given by a link would have no files.
    let stored = super::stored_path(path);
    let exact = paths::to_bytes(&stored)?.to_vec();
    let separator = std::path::MAIN_SEPARATOR as u8;
    let mut from = exact.clone();
    if from.last() != Some(&separator) {
        from.push(separator);
    }
    let mut to = from.clone();
    if let Some(last) = to.last_mut() {
        // the separator plus one is the first byte above every path below the folder
        *last += 1;
    }
    Ok((exact, from, to))
}

/// Whether a file certainly does not exist.
pub(super) fn is_gone(path: &Path) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    // Other errors, such as missing permission or an unreachable server, do not prove it.
    std::fs::metadata(path).is_err_and(|error| matches!(error.kind(), NotFound | NotADirectory))
}

/// The topmost absent folder among this one and its parents, or the existing one if that is empty.
fn absent(folder: &Path) -> Option<PathBuf> {
    let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut absent = None;
    // Upwards to the first existing folder. If it is empty, it may be a mount point without its
    // disk.
    for above in folder.ancestors() {
        match std::fs::read_dir(above) {
            Ok(entries) => {
                // Systems leave hidden files in mount points.
                let is_empty = entries.flatten().all(|entry| is_hidden(&entry.file_name()));
                return if is_empty {
                    Some(above.to_owned())
                } else {
                    absent
                };
            }
            // a folder that cannot be read may be an empty mount point as well
            Err(_) if above.is_dir() => return Some(above.to_owned()),
            Err(_) => absent = Some(above.to_owned()),
        }
    }
    absent
}

pub(super) fn delete_below(
    tx: &Transaction<'_>,
    table: &str,
    ranges: &[(Vec<u8>, Vec<u8>, Vec<u8>)],
) -> rusqlite::Result<u64> {
    let sql = format!("DELETE FROM {table} WHERE path = ?1 OR (path >= ?2 AND path < ?3)");
    let mut delete = tx.prepare_cached(&sql)?;
    ranges.iter().try_fold(0, |n, range| {
        Ok(n + delete.execute((&range.0, &range.1, &range.2))? as u64)
    })
}

const ORPHANS: &str =
    "SELECT id FROM audio WHERE NOT EXISTS (SELECT 1 FROM files WHERE track = audio.id)";

fn has_orphans(connection: &rusqlite::Connection) -> rusqlite::Result<bool> {
    connection.query_row(&format!("SELECT EXISTS ({ORPHANS})"), [], |row| row.get(0))
}

fn delete_orphans(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    // Collected first: a table must not change under the statement that reads it.
    let orphans: Vec<i64> = tx
        .prepare(ORPHANS)?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    orphans
        .into_iter()
        .try_fold(0, |n, id| Ok(n + delete_track(tx, TrackId(id))?))
}

fn check_known(tx: &Transaction<'_>, track: TrackId) -> Result<(), WorkError> {
    let known: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM audio WHERE id = ?1)")?
        .query_row([track.0], |row| row.get(0))?;
    if !known {
        return Err(LibraryError::UnknownTrack(track).into());
    }
    Ok(())
}

/// Deletes a track that has no files. Vectors and windows are deleted by cascade, and triggers
/// count them.
fn delete_track(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<u64> {
    tx.prepare_cached("DELETE FROM audio WHERE id = ?1")?
        .execute([track.0])
        .map(|n| n as u64)
}

/// The files of a track, in the order of their rows.
pub(super) fn files_of(
    connection: &Connection,
    track: TrackId,
) -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
    connection
        .prepare_cached("SELECT id, path FROM files WHERE track = ?1 ORDER BY id")?
        .query_map([track.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Stores a file with its tags, replacing the path's former track, and deletes its failure.
pub(super) fn put_file(
    tx: &Transaction<'_>,
    track: TrackId,
    path: &[u8],
    file: &FileRecord,
    tags: &TrackTags,
) -> rusqlite::Result<()> {
    let id: i64 = tx
        .prepare_cached(
            // An update keeps the row's id, to which tags and genres refer.
            "INSERT INTO files (track, path, size, mtime_ns) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (path) DO UPDATE SET track = excluded.track, size = excluded.size,
             mtime_ns = excluded.mtime_ns RETURNING id",
        )?
        .query_row(
            params![track.0, path, file.size as i64, file.mtime_ns],
            |row| row.get(0),
        )?;
    tx.prepare_cached("UPDATE audio SET last_path = ?2 WHERE id = ?1 AND last_path <> ?2")?
        .execute((track.0, path))?;
    tx.prepare_cached("DELETE FROM failures WHERE path = ?1")?
        .execute([path])?;

    let key = |text: &Option<String>| text.as_deref().map(fold);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO tags (file, title, artist, album, album_artist, composer, year, track_number,
         disc_number, artist_key, album_artist_key, title_key, album_key, search, mbid, isrc, licence, bpm,
         musical_key, replay_gain)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?
    .execute(params![
        id,
        tags.title,
        tags.artist,
        tags.album,
        tags.album_artist,
        tags.composer,
        tags.year,
        tags.track_number,
        tags.disc_number,
        key(&tags.artist),
        key(&tags.album_artist),
        key(&tags.title),
        key(&tags.album),
        search_text(&file.path, tags),
        tags.mbid,
        tags.isrc,
        tags.licence,
        tags.bpm,
        tags.musical_key,
        tags.replay_gain
    ])?;
    // Rewritten, as positions shift if a genre in the middle is removed.
    tx.prepare_cached("DELETE FROM genres WHERE file = ?1")?
        .execute([id])?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO genres (file, position, genre, genre_key) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (position, genre) in tags.genres.iter().enumerate() {
        insert.execute(params![id, position as i64, genre, fold(genre)])?;
    }
    Ok(())
}

/// The text that searches by words compare: blanks at both ends and between, so that whole words can be matched.
fn search_text(path: &Path, tags: &TrackTags) -> String {
    let stem = path.file_stem().map(|stem| fold(&stem.to_string_lossy()));
    let texts = [
        &tags.artist,
        &tags.title,
        &tags.album,
        &tags.album_artist,
        &tags.composer,
    ];
    let texts = texts.into_iter().flatten().map(|text| fold(text));
    let words = texts.chain(stem).map(|text| text + " ");
    format!(" {}", words.collect::<String>())
}

/// Reads the columns name, fingerprint, dimension and manifest.
pub(super) fn stored_model(row: &Row<'_>) -> rusqlite::Result<StoredModel> {
    Ok(StoredModel {
        name: row.get(0)?,
        fingerprint: row.get(1)?,
        dimension: row.get::<_, i64>(2)? as usize,
        manifest_json: row.get(3)?,
    })
}

/// Inserts a row of audio, with this unused id if one is given.
pub(super) fn insert_audio(
    tx: &Transaction<'_>,
    id: Option<TrackId>,
    audio: &AudioFacts,
    added_at: i64,
    path: &[u8],
) -> rusqlite::Result<TrackId> {
    tx.prepare_cached(
        "INSERT INTO audio (id, content, seconds, sample_rate, channels, container, codec, packets,
         damaged_packets, added_at, last_path) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute(params![
        id.map(|id| id.0),
        &audio.content.0[..],
        audio.seconds,
        audio.sample_rate,
        audio.channels,
        audio.container,
        audio.codec,
        audio.packets as i64,
        audio.damaged_packets as i64,
        added_at,
        path
    ])?;
    Ok(TrackId(tx.last_insert_rowid()))
}

pub(super) fn put_vector(
    tx: &Transaction<'_>,
    track: TrackId,
    vector: &[f32],
    logits: &[f32],
) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO vectors (track, vector) VALUES (?1, ?2)
         ON CONFLICT (track) DO UPDATE SET vector = excluded.vector",
    )?
    .execute((track.0, f32_bytes(vector)))?;
    if logits.is_empty() {
        tx.prepare_cached("DELETE FROM logits WHERE track = ?1")?
            .execute([track.0])?;
    } else {
        tx.prepare_cached("INSERT OR REPLACE INTO logits (track, logits) VALUES (?1, ?2)")?
            .execute((track.0, f16_bytes(logits)))?;
    }
    Ok(())
}

fn f16_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| f16::from_f32(*value).to_le_bytes())
        .collect()
}

pub(super) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Vectors were offered before the model was named.
pub(super) fn no_model() -> LibraryError {
    LibraryError::Refused("the library has no model yet: set one before adding tracks".to_owned())
}

/// Refuses a vector and logits that must never be stored.
pub(super) fn check_vector(
    tx: &Transaction<'_>,
    vector: &[f32],
    logits: &[f32],
) -> Result<(), WorkError> {
    let dimension: Option<i64> = tx
        .prepare_cached("SELECT dimension FROM model")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let expected = dimension.ok_or_else(no_model)? as usize;
    let refused = |reason: &str| {
        Err(LibraryError::Refused(format!(
            "vector refused: {reason}: analyse the file again with \"voisin add\""
        ))
        .into())
    };
    if vector.len() != expected {
        return Err(LibraryError::dimension(expected, vector.len()).into());
    }
    let norm = norm(vector);
    // NaN compares false with everything and would pass the first test.
    if (norm - 1.0).abs() > NORM_TOLERANCE || norm.is_nan() {
        return refused(&format!("norm {norm}, expected 1"));
    }
    if !logits.iter().all(|value| f16::from_f32(*value).is_finite()) {
        return refused("a logit is not finite");
    }
    Ok(())
}
