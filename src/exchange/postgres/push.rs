//! Sends a library on this disk to a database (`push`) and fetches one (`pull`).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ddl;
use super::row::{HALF_DIGEST, TrackRow, facts_bytes, facts_digest, genre_keys, id_of};
use super::server::{CLASH, OTHER_SCHEMA, SYNONYMS};
use super::{BackendError, Postgres, Result};
use voisin::{Engine, LibrarySpace};
use voisin_base::atomic_file;
use voisin_base::track::{ContentId, TrackId};
use voisin_library::{Intake, Library, MergeOutcome, StoredMean, Track, TrackRecord};

/// Rows of one transaction.
// A push that is killed loses at most one batch, whose rows are in memory at once.
const BATCH: usize = 1000;

/// Settings of a library that are sent with it.
const SETTINGS: [&str; 2] = ["labels", "windows"];

/// Files of a library's folder that are sent with it.
const FILES: [&str; 1] = [SYNONYMS];

/// Setting of a pulled library: the identity and generation of the database.
const PULLED: &str = "pulled";

/// How a library is sent.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Memory for building the vector index, MB; `None`: the server's setting.
    pub index_memory: Option<u32>,
}

/// Progress of sending a library.
#[derive(Debug, Clone, PartialEq)]
pub enum PushEvent {
    /// Tracks were sent.
    Sent {
        /// So far.
        done: u64,
        /// In all.
        total: u64,
    },
    /// The build of the vector index has begun.
    Indexing {
        /// Memory that the build needs, bytes.
        needed: u64,
        /// Memory that the server allows it, bytes.
        given: u64,
    },
}

/// Counts of the rows sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct PushSummary {
    /// New recordings.
    pub added: u64,
    /// Changed recordings.
    pub updated: u64,
    /// Recordings that were already there, unchanged.
    pub unchanged: u64,
    /// Recordings removed there, since they are no longer here.
    pub removed: u64,
    /// Seconds that sending took.
    pub seconds: f64,
    /// Seconds that building the index took, if it was built.
    pub index_seconds: Option<f64>,
}

/// Sends new and changed recordings, and removes those that the library no longer has.
///
/// Each batch is one transaction; a push that is killed and repeated gives the same tables.
pub fn push(
    engine: &Engine,
    to: &mut Postgres,
    options: &PushOptions,
    progress: &mut dyn FnMut(PushEvent),
    stop: &AtomicBool,
) -> Result<PushSummary> {
    let start = std::time::Instant::now();
    // Before anything is read: two concurrent pushes would each remove the other's rows.
    to.lock()?;
    let library = engine.library();
    // All reads below see one state, even if an `add` runs meanwhile.
    let _snapshot = library.snapshot()?;
    let source = library.identity()?;
    // Stored at the end as the generation that was sent, so it has to be that of the snapshot.
    let generation = library.generation()?;
    claim(to, &source)?;
    let space = space_for(engine, to)?;
    let mut summary = PushSummary::default();
    // Vectors that have not changed since the last push, by the library's log, are not read.
    let log = match last_push(to)? {
        Some(last) => library.changes_since(last)?,
        None => None,
    };
    let changed: Option<HashSet<TrackId>> =
        log.map(|changes| changes.added.into_iter().chain(changes.removed).collect());

    let mut seen: HashMap<i64, ContentId> = HashMap::new();
    let mut todo: Vec<(TrackId, bool)> = Vec::new();
    for ids in library.track_ids()?.chunks(BATCH) {
        let tracks = library.tracks_by_id(ids)?;
        let names: Vec<i64> = tracks
            .iter()
            .map(|track| id_of(&track.audio.content).0)
            .collect();
        let there = stored_digests(to, &names)?;
        for ((track, genres), id) in tracks.iter().zip(engine.genres_of(&tracks)?).zip(names) {
            // A track without a vector is left out, and removed from the database if it was there with one.
            if !library.has_vector(track.id)? {
                continue;
            }
            let content = track.audio.content;
            // Two recordings whose first 63 bits agree: about one chance in 18 million in a library
            // of a million.
            if let Some(other) = seen.insert(id, content) {
                return Err(to.refused(format!("{CLASH}: {other} and {content}")));
            }
            let Some(digest) = there.get(&id) else {
                todo.push((track.id, false));
                continue;
            };
            // Facts are cheap to compare; vectors are read only if the log does not show that they are unchanged.
            let facts = facts_bytes(&library.facts(track.id)?)?;
            let same_facts =
                digest.get(..HALF_DIGEST) == Some(&facts_digest(&facts, &genre_keys(&genres))[..]);
            let same = same_facts
                && match &changed {
                    Some(changed) => !changed.contains(&track.id),
                    None => rows_of(engine, &[track.id], &space)?
                        .pop()
                        .is_some_and(|row| row.digest == *digest),
                };
            if same {
                summary.unchanged += 1;
            } else {
                todo.push((track.id, true));
            }
        }
    }
    let gone = removed_recordings(to, &seen)?;
    let total = todo.len() as u64;
    for (batch, some) in todo.chunks(BATCH).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(BackendError::Interrupted);
        }
        // A pooler or a restart may have ended the session that holds the lock.
        to.check_lock()?;
        let ids: Vec<TrackId> = some.iter().map(|(id, _)| *id).collect();
        to.send(&rows_of(engine, &ids, &space)?)?;
        let known = some.iter().filter(|(_, known)| *known).count() as u64;
        summary.updated += known;
        summary.added += some.len() as u64 - known;
        progress(PushEvent::Sent {
            done: (batch * BATCH + some.len()) as u64,
            total,
        });
    }
    // Rows are removed only after the new ones are stored: a push that is killed in between loses nothing.
    summary.removed = to.remove(&gone)?;
    send_settings(library, to)?;
    // The last write: after an interrupted push the next one compares everything.
    note_push(to, generation)?;
    summary.seconds = start.elapsed().as_secs_f64();
    // The index comes last, since building it over existing rows is faster than row by row.
    if to.vector_indexes(true)?.is_empty() && to.size()?.0 > 0 {
        summary.index_seconds = Some(make_index(to, options.index_memory, progress)?);
    }
    Ok(summary)
}

/// Takes empty tables for a library, and refuses those of another one.
fn claim(to: &mut Postgres, source: &str) -> Result<()> {
    let holder: Option<String> = to.run(|tx| {
        tx.execute(
            "update voisin_state set library = $1 where library is null",
            &[&source],
        )?;
        Ok(tx
            .query_one("select library from voisin_state", &[])?
            .get(0))
    })?;
    if holder.as_deref() == Some(source) {
        return Ok(());
    }
    Err(to.refused(format!(
        "holds another library, which this push would replace: use {OTHER_SCHEMA}, or drop the tables that begin with voisin_"
    )))
}

/// The digests of the database's rows of these recordings, by id; missing ones are left out.
fn stored_digests(to: &mut Postgres, ids: &[i64]) -> Result<HashMap<i64, Vec<u8>>> {
    to.run(|tx| {
        let sql = "select id, digest from voisin_track where id = any ($1)";
        let rows = tx.query(sql, &[&ids])?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    })
}

/// The recordings of the database that the library no longer holds.
///
/// - `seen`: the recordings of the library
fn removed_recordings(to: &mut Postgres, seen: &HashMap<i64, ContentId>) -> Result<Vec<i64>> {
    // Eight bytes a row: pages keep the ids of many millions out of one result.
    const ROWS: i64 = 100_000;
    let mut gone = Vec::new();
    // Ids have 63 bits and are never negative.
    let mut after = -1_i64;
    loop {
        let rows = to.run(|tx| {
            let sql = "select id from voisin_track where id > $1 order by id limit $2";
            tx.query(sql, &[&after, &ROWS])
        })?;
        let Some(last) = rows.last() else {
            return Ok(gone);
        };
        after = last.get(0);
        gone.extend(
            rows.iter()
                .map(|row| row.get::<_, i64>(0))
                .filter(|id| !seen.contains_key(id)),
        );
    }
}

/// The space in which the database compares; if it has none yet, the library's.
fn space_for(engine: &Engine, to: &mut Postgres) -> Result<LibrarySpace> {
    // The mean of an empty library says nothing of the tracks that are pushed later.
    if engine.library().status()?.vectors == 0 {
        return Ok(to.held_space());
    }
    to.settle_space(LibrarySpace::of_library(engine.library())?.mean())
}

/// A database's mean, for a library that holds its tracks.
pub(super) fn fixed_mean(from: &Postgres) -> StoredMean {
    StoredMean {
        values: from.held_space().mean().to_vec(),
        tracks: 0,
        generation: 0,
        is_fixed: true,
    }
}

fn rows_of(engine: &Engine, ids: &[TrackId], space: &LibrarySpace) -> Result<Vec<TrackRow>> {
    let library = engine.library();
    let tracks: Vec<Track> = library.tracks_by_id(ids)?;
    let mut rows = Vec::with_capacity(ids.len());
    for (track, genres) in tracks.iter().zip(engine.genres_of(&tracks)?) {
        if let Some(record) = library.record(track.id)? {
            rows.push(TrackRow::new(&record, &genres, space)?);
        }
    }
    Ok(rows)
}

/// The library's generation at its last push.
fn last_push(to: &mut Postgres) -> Result<Option<u64>> {
    let pushed: Option<i64> = to.run(|tx| {
        let row = tx.query_one("select pushed from voisin_state", &[])?;
        Ok(row.get(0))
    })?;
    Ok(pushed.map(|generation| generation as u64))
}

fn note_push(to: &mut Postgres, generation: u64) -> Result<()> {
    let generation = generation as i64;
    let sql = "update voisin_state set pushed = $1";
    to.run(|tx| tx.execute(sql, &[&generation]))?;
    Ok(())
}

fn send_settings(library: &Library, to: &mut Postgres) -> Result<()> {
    let mut values: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
    for name in SETTINGS {
        let value = library.setting(name)?;
        values.push((name, value.map(String::into_bytes)));
    }
    for name in FILES {
        // A file that is missing here is removed there too.
        values.push((name, std::fs::read(library.dir().join(name)).ok()));
    }
    to.run(|tx| {
        for (name, value) in &values {
            tx.execute("delete from voisin_setting where name = $1", &[name])?;
            if let Some(value) = value {
                tx.execute(
                    "insert into voisin_setting (name, value) values ($1, $2)",
                    &[name, value],
                )?;
            }
        }
        Ok(())
    })
}

/// Memory that building pgvector's graph takes, bytes: measured, 1 293 a vector of 256 numbers, 1 805 of 512.
fn index_memory(rows: u64, dimension: usize) -> u64 {
    // The second number is the graph's links, which do not depend on the vector.
    rows * (2 * dimension as u64 + 790)
}

/// - `memory`: in MB, if not the server's setting
fn make_index(
    to: &mut Postgres,
    memory: Option<u32>,
    progress: &mut dyn FnMut(PushEvent),
) -> Result<f64> {
    let start = std::time::Instant::now();
    let made = build_index(to, memory, progress);
    // Also after a failure: behind a pooler another client gets the session next.
    let reset = to.execute("reset maintenance_work_mem; reset statement_timeout");
    made.and(reset)?;
    Ok(start.elapsed().as_secs_f64())
}

fn build_index(
    to: &mut Postgres,
    memory: Option<u32>,
    progress: &mut dyn FnMut(PushEvent),
) -> Result<()> {
    // Settings of the session: a concurrent build runs outside of a transaction.
    if let Some(megabytes) = memory {
        to.execute(&format!("set maintenance_work_mem = '{megabytes}MB'"))?;
    }
    let given: String = to.run(|tx| {
        let sql = "select pg_size_bytes(current_setting('maintenance_work_mem'))::text";
        Ok(tx.query_one(sql, &[])?.get(0))
    })?;
    let needed = index_memory(to.size()?.0, to.model().dimension);
    progress(PushEvent::Indexing {
        needed,
        given: given.parse().unwrap_or_default(),
    });
    // An unfinished index answers no query and slows every write.
    for name in to.vector_indexes(false)? {
        to.execute(&format!("drop index concurrently if exists {name}"))?;
    }
    // Building an index takes longer than any query.
    to.execute("set statement_timeout = 0")?;
    to.execute(ddl::VECTOR_INDEX)?;
    // The planner and the estimates for filters use the table's statistics.
    to.execute("analyze voisin_track")
}

/// Restores the settings and files that were sent with a library.
///
/// - `replace`: also overwrite existing ones
pub(super) fn restore_settings(
    from: &mut Postgres,
    library: &mut Library,
    replace: bool,
) -> Result<()> {
    let values = from.settings()?;
    for name in SETTINGS {
        let value = values
            .get(name)
            .and_then(|value| std::str::from_utf8(value).ok());
        if value.is_some() || replace {
            library.set_setting(name, value)?;
        }
    }
    for name in FILES {
        let path = library.dir().join(name);
        match values.get(name) {
            Some(value) if replace || !path.exists() => atomic_file::write(&path, value)?,
            None if replace && path.exists() => std::fs::remove_file(path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Stores genres that came from a table of paths as labels given by hand, since the table is not in the database.
pub(super) fn labelled(
    library: &Library,
    mut record: TrackRecord,
    genres: &[String],
) -> Result<TrackRecord> {
    let by_table = !matches!(
        library.setting("labels")?.as_deref(),
        None | Some("tags" | "folder")
    );
    if by_table && !genres.is_empty() {
        record.facts.label = Some(genres.join("; "));
    }
    Ok(record)
}

/// Recordings that were removed since a generation.
fn gone(from: &mut Postgres, since: u64) -> Result<Vec<ContentId>> {
    let since = since as i64;
    let gone = from.run(|tx| {
        tx.query(
            "select content from voisin_gone where changed > $1",
            &[&since],
        )
    })?;
    Ok(gone
        .iter()
        .filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok().map(ContentId))
        .collect())
}

/// Fetches a database's tracks into a library on this disk: all, or those that changed since the
/// last time. Recordings that were removed there since are removed here too. Returns what was
/// added, and how many were removed.
pub fn pull(
    from: &mut Postgres,
    engine: &mut Engine,
    stop: &AtomicBool,
) -> Result<(MergeOutcome, u64)> {
    let identity = from.identity()?;
    let model = from.model().clone();
    let is_new = engine.library().status()?.tracks == 0;
    // Refuses a library with vectors of another model, before anything is written.
    engine.library_mut().set_model(&model)?;
    if is_new {
        restore_settings(from, engine.library_mut(), false)?;
        // The database's mean, so that similarities are the same until tracks change.
        engine.library_mut().set_mean(&StoredMean {
            is_fixed: false,
            ..fixed_mean(from)
        })?;
    }
    let last = engine.library().setting(PULLED)?;
    // "IDENTITY GENERATION"; ignored if the identity is another database's.
    let last = last.as_deref().and_then(|text| text.split_once(' '));
    let last = last
        .filter(|(source, _)| *source == identity)
        .and_then(|(_, generation)| generation.parse().ok());
    let (_, generation) = from.size()?;
    let since: u64 = last
        // A database restored from a backup counts from an older number: everything is read again.
        .filter(|&last| last <= generation && !is_new)
        .unwrap_or(0);
    let Some(changes) = from.changes(since)? else {
        return Ok((MergeOutcome::default(), 0));
    };
    let mut intake = Intake::new(engine.library_mut())?;
    for ids in changes.added.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            intake.finish()?;
            return Err(BackendError::Interrupted);
        }
        let (records, damaged) = from.fetch(ids)?;
        for _ in 0..damaged {
            intake.taken.refuse(|| {
                "its row in the database is damaged: delete it there and push again".to_owned()
            });
        }
        for (_, record, _) in records {
            intake.add(record)?;
        }
    }
    let taken = intake.finish()?;
    let mut removed = 0;
    // A first pull has nothing to remove.
    if since > 0 {
        let library = engine.library_mut();
        let mut known = Vec::new();
        for content in gone(from, since)? {
            known.extend(library.find_by_content(&content)?);
        }
        removed = library.remove_tracks(&known)?.tracks;
    }
    // After all records: an interrupted pull starts again from the same generation.
    let pulled = format!("{identity} {}", changes.generation);
    engine.library_mut().set_setting(PULLED, Some(&pulled))?;
    Ok((taken, removed))
}
