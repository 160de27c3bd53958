//! Sends a library on this disk to a database (`push`) and fetches one (`pull`).

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ddl::{self, IndexCodes};
use super::filter::no_conditions;
use super::row::{HALF_DIGEST, TrackRow, facts_bytes, facts_digest, genre_keys, hash, id_of};
use super::server::{IndexState, SYNONYMS, WantedVectors};
use super::{BackendError, Postgres, Result, StoredTrack, TrackStore as _};
use voisin_base::atomic_file;
use voisin_base::track::{ContentId, ContentKind, TrackId};
use voisin_engine::{Engine, LibrarySpace};
use voisin_library::{
    FilterValue, Intake, Library, LibraryError, MergeOutcome, StoredMean, Track, TrackRecord,
    path_to_bytes,
};

/// Rows of one transaction.
// A push that is killed loses at most one batch, whose rows are in memory at once.
pub(super) const BATCH: usize = 1000;

/// Settings of a library that are sent with it.
const SETTINGS: [&str; 4] = ["labels", "windows", "person", IDENTITY];

/// Setting that names the kind of content ids.
const IDENTITY: &str = "identity";

/// Files of a library's folder that are sent with it.
const FILES: [&str; 2] = [SYNONYMS, "words.tsv"];

/// Setting of a pulled library: the identity and generation of the database.
const PULLED: &str = "pulled";

/// Whether a push builds the vector index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexMaking {
    /// No.
    #[default]
    Never,
    /// If there is none.
    Missing,
    /// Also in place of an existing one.
    Anew,
}

/// How a library is sent.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Send the window vectors too.
    pub windows: bool,
    /// Whether the vector index is built.
    pub index: IndexMaking,
    /// Encoding of the vectors; `None`: that of the existing index. An index of another encoding is rebuilt.
    pub codes: Option<IndexCodes>,
    /// The statement that builds it, if it is not pgvector's HNSW.
    pub index_sql: Option<String>,
    /// Memory for building it, MB; `None`: the server's setting.
    pub index_memory: Option<u32>,
    /// Recompute the mean over all tracks after sending.
    pub recentre: bool,
}

/// The lock of workers that add tracks.
// Any number would do, but it must be the same in all versions.
const ADDING: i64 = 1_987_013_493;

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
    /// A notice of the server during the build.
    Notice(String),
}

/// Counts of the rows sent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PushSummary {
    /// New recordings.
    pub added: u64,
    /// Changed recordings.
    pub updated: u64,
    /// Recordings that were already there, unchanged.
    pub unchanged: u64,
    /// Recordings removed there, since they are no longer here.
    pub removed: u64,
    /// Recordings that another library has sent.
    pub of_others: u64,
    /// Recordings no longer here that stay there, since another library holds them too.
    pub stayed: u64,
    /// Recordings that were taken down there and are not sent.
    pub taken_down: u64,
    /// Recordings whose embeddings were recomputed with a new mean, if that was requested.
    pub recentred: Option<u64>,
    /// Seconds that sending took.
    pub seconds: f64,
    /// Seconds that building the index took, if it was built.
    pub index_seconds: Option<f64>,
}

/// A recording in the database.
struct StoredRow {
    /// Whether the database lists this library as a holder.
    held: bool,
    /// The digest that this library sent; none where another one did.
    digest: Option<[u8; 2 * HALF_DIGEST]>,
}

/// Sends new and changed recordings, and removes those that this library sent and no longer has.
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
    let source = library.transfer().identity()?;
    // Stored at the end as the generation that was sent, so it has to be that of the snapshot.
    let generation = library.changes().generation()?;
    check_kind(to, library.settings().content_kind()?)?;
    let space = space_for(engine, to)?;
    let mut summary = PushSummary::default();
    let barred = to.barred()?;
    // Vectors that have not changed since the last push, by the library's log, are not read.
    let log = match last_push(to, &source, options.windows)? {
        Some(last) => library.changes().changes_since(last)?,
        None => None,
    };
    let changed: Option<HashSet<TrackId>> =
        log.map(|changes| changes.added.into_iter().chain(changes.removed).collect());

    let mut seen: HashMap<i64, ContentId> = HashMap::new();
    let mut todo: Vec<(TrackId, bool)> = Vec::new();
    let mut to_hold: Vec<i64> = Vec::new();
    for ids in library.track_ids()?.chunks(BATCH) {
        let tracks = library.tracks_by_id(ids)?;
        let names: Vec<i64> = tracks
            .iter()
            .map(|track| id_of(&track.audio.content).0)
            .collect();
        let there = stored_rows(to, &source, &names)?;
        for ((track, genres), id) in tracks
            .iter()
            .zip(engine.genres().genres_of(&tracks)?)
            .zip(names)
        {
            // A track without a vector is left out, and removed from the database if it was there with one.
            if !library.has_vector(track.id)? {
                continue;
            }
            let content = track.audio.content;
            // Two recordings whose first 63 bits agree: about one chance in 18 million in a library
            // of a million.
            if let Some(other) = seen.insert(id, content) {
                return Err(BackendError::Clash(format!("{other} and {content}")));
            }
            match there.get(&id).map(|known| (known.held, known.digest)) {
                None if barred.contains(&id) => summary.taken_down += 1,
                None => todo.push((track.id, false)),
                // Another library's row stays as it was sent; only that this library holds the recording too is stored.
                Some((held, None)) => {
                    summary.of_others += 1;
                    if !held {
                        to_hold.push(id);
                    }
                }
                Some((_, Some(digest))) => {
                    // Facts are cheap to compare; vectors are read only if the log does not show that they are unchanged.
                    let facts = facts_bytes(&library.transfer().facts(track.id)?)?;
                    let same_facts =
                        digest[..HALF_DIGEST] == facts_digest(&facts, &genre_keys(&genres))[..];
                    let same = same_facts
                        && match &changed {
                            Some(changed) => !changed.contains(&track.id),
                            None => row_of(engine, track.id, options.windows, &space)?
                                .is_some_and(|row| row.digest == digest),
                        };
                    if same {
                        summary.unchanged += 1;
                    } else {
                        todo.push((track.id, true));
                    }
                }
            }
        }
    }
    // Rows are removed only after the new ones are stored: a push that is killed in between loses nothing.
    let gone = removed_recordings(to, &source, &seen)?;
    let total = todo.len() as u64;
    for (batch, some) in todo.chunks(BATCH).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(BackendError::Interrupted);
        }
        // A pooler or a restart may have ended the session that holds the lock.
        to.check_lock()?;
        let ids: Vec<TrackId> = some.iter().map(|(id, _)| *id).collect();
        let rows = rows_of(engine, &ids, options.windows, &space)?;
        to.send(&rows, &source)?;
        let known = some.iter().filter(|(_, known)| *known).count() as u64;
        summary.updated += known;
        summary.added += some.len() as u64 - known;
        progress(PushEvent::Sent {
            done: (batch * BATCH + some.len()) as u64,
            total,
        });
    }
    to.hold(&to_hold, &source)?;
    summary.removed = to.release(&gone, &source)?;
    summary.stayed = gone.len() as u64 - summary.removed;
    // After all rows: the new mean is over the tracks that are there now.
    if options.recentre {
        summary.recentred = Some(to.recentre()?);
    }
    send_settings(library, to)?;
    // The last write: after an interrupted push the next one compares everything.
    note_push(to, &source, generation, options.windows)?;
    summary.seconds = start.elapsed().as_secs_f64();
    // The index comes last, since building it over existing rows is faster than row by row.
    let makes_index = match to.index_state()? {
        IndexState::Missing => options.index != IndexMaking::Never,
        IndexState::There(_) => {
            let is_other = options.codes.is_some_and(|codes| codes != to.codes());
            options.index == IndexMaking::Anew || options.index == IndexMaking::Missing && is_other
        }
        IndexState::OnShards => false,
    };
    if makes_index && to.size()?.0 > 0 {
        summary.index_seconds = Some(make_index(to, options, progress)?);
    }
    Ok(summary)
}

/// The database's rows of these recordings, by id; missing ones are left out.
fn stored_rows(to: &mut Postgres, source: &str, ids: &[i64]) -> Result<HashMap<i64, StoredRow>> {
    to.run(|tx| {
        let sql = "select id from voisin_held where id = any ($1) and library = $2";
        let held: HashSet<i64> = tx.query(sql, &[&ids, &source])?.iter().map(|row| row.get(0)).collect();
        let sql = "select id, case when source = $2 then digest end from voisin_track where id = any ($1)";
        let there = |row: &postgres::Row| {
            let id = row.get(0);
            // A row taken over from another library has no digest.
            let digest = row.get::<_, Option<&[u8]>>(1).map(|digest| digest.try_into().unwrap_or_default());
            (id, StoredRow { held: held.contains(&id), digest })
        };
        Ok(tx.query(sql, &[&ids, &source])?.iter().map(there).collect())
    })
}

/// The recordings that the database lists for this library and that the library no longer holds.
///
/// - `seen`: the recordings of the library
fn removed_recordings(
    to: &mut Postgres,
    source: &str,
    seen: &HashMap<i64, ContentId>,
) -> Result<Vec<i64>> {
    // Eight bytes a row: pages keep the ids of many millions out of one result.
    const ROWS: i64 = 100_000;
    let mut gone = Vec::new();
    // Ids have 63 bits and are never negative.
    let mut after = -1_i64;
    loop {
        let rows = to.run(|tx| {
            let sql =
                "select id from voisin_held where library = $1 and id > $2 order by id limit $3";
            tx.query(sql, &[&source, &after, &ROWS])
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
    // An empty library must not set the mean for the libraries that are pushed later.
    if engine.library().status()?.vectors == 0 {
        return Ok(to.held_space());
    }
    to.settle_space(|_| Ok(LibrarySpace::of_library(engine.library())?.mean().to_vec()))
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

fn rows_of(
    engine: &Engine,
    ids: &[TrackId],
    windows: bool,
    space: &LibrarySpace,
) -> Result<Vec<TrackRow>> {
    let library = engine.library();
    let tracks: Vec<Track> = library.tracks_by_id(ids)?;
    let mut rows = Vec::with_capacity(ids.len());
    for (track, genres) in tracks.iter().zip(engine.genres().genres_of(&tracks)?) {
        if let Some(record) = library.transfer().record(track.id, windows)? {
            rows.push(TrackRow::new(
                &StoredTrack { record, genres },
                windows,
                space,
            )?);
        }
    }
    Ok(rows)
}

/// The kind of content ids of a database.
fn kind_of(to: &mut Postgres) -> Result<ContentKind> {
    let name = to.settings()?.remove(IDENTITY);
    Ok(name
        .and_then(|name| std::str::from_utf8(&name).ok()?.parse().ok())
        .unwrap_or_default())
}

/// Refuses content ids of another kind than the database's.
fn check_kind(to: &mut Postgres, offered: ContentKind) -> Result<()> {
    let held = kind_of(to)?;
    if held == offered {
        return Ok(());
    }
    // The first library decides the kind of an empty database.
    if to.size()?.0 > 0 {
        return Err(LibraryError::OtherIdentity { held, offered }.into());
    }
    let name = offered.name().as_bytes();
    to.run(|tx| {
        tx.execute("delete from voisin_setting where name = $1", &[&IDENTITY])?;
        tx.execute(
            "insert into voisin_setting (name, value) values ($1, $2)",
            &[&IDENTITY, &name],
        )
    })?;
    Ok(())
}

/// Adds the tracks of a library to the database. Files of recordings that are there already are
/// added to these, and taken from the recordings that the files held before; one without any file
/// left is removed. The tracks belong to no library, so no push removes them.
pub fn add_tracks(engine: &Engine, to: &mut Postgres, windows: bool) -> Result<u64> {
    let mut sent = 0;
    check_kind(to, engine.library().settings().content_kind()?)?;
    // A worker runs for days, and a push may have recomputed the mean since its last tracks.
    to.read_mean()?;
    let space = space_for(engine, to)?;
    for ids in engine.library().track_ids()?.chunks(BATCH) {
        let tracks = engine.library().tracks_by_id(ids)?;
        // Two workers that add the same recording at once would each remove the other's files.
        sent += to.in_one(ADDING, |to| {
            let sent = add_batch(engine, &tracks, to, windows, &space)?;
            remove_from_former(engine, &tracks, to, &space)?;
            Ok(sent)
        })?;
    }
    Ok(sent)
}

fn add_batch(
    engine: &Engine,
    tracks: &[Track],
    to: &mut Postgres,
    windows: bool,
    space: &LibrarySpace,
) -> Result<u64> {
    // Files of the same recording that other workers added stay with it: they are read and merged.
    let ids: Vec<TrackId> = tracks
        .iter()
        .map(|track| id_of(&track.audio.content))
        .collect();
    let (there, _) = to.fetch(
        &ids,
        WantedVectors {
            windows: false,
            exact: false,
        },
    )?;
    let mut there: HashMap<ContentId, _> = there
        .into_iter()
        .map(|(_, record, _)| (record.facts.audio.content, record.facts.files))
        .collect();
    let mut rows = Vec::with_capacity(tracks.len());
    for (track, genres) in tracks.iter().zip(engine.genres().genres_of(tracks)?) {
        let Some(mut record) = engine.library().transfer().record(track.id, windows)? else {
            continue;
        };
        for file in there.remove(&track.audio.content).unwrap_or_default() {
            if record
                .facts
                .files
                .iter()
                .all(|known| known.record.path != file.record.path)
            {
                record.facts.files.push(file);
            }
        }
        record
            .facts
            .files
            // The row has the first file's tags; sorted by path, they do not depend on which worker came last.
            .sort_by(|a, b| a.record.path.cmp(&b.record.path));
        rows.push(TrackRow::new(
            &StoredTrack { record, genres },
            windows,
            space,
        )?);
    }
    to.send(&rows, "")?;
    Ok(rows.len() as u64)
}

/// Removes the files of these tracks from the recordings that they held before. A recording without
/// any file left is removed, unless a library holds it.
fn remove_from_former(
    engine: &Engine,
    tracks: &[Track],
    to: &mut Postgres,
    space: &LibrarySpace,
) -> Result<()> {
    let files = || {
        tracks
            .iter()
            .flat_map(|track| &track.files)
            .map(|file| &file.record.path)
    };
    let analysed: HashSet<&PathBuf> = files().collect();
    let mut keys = Vec::with_capacity(analysed.len());
    for path in &analysed {
        keys.push(hash(path_to_bytes(path)?));
    }
    let mut conditions = no_conditions(1);
    conditions.and("paths && {}", FilterValue::Keys(keys));
    // The tracks just sent keep their files.
    let now: HashSet<TrackId> = tracks
        .iter()
        .map(|track| id_of(&track.audio.content))
        .collect();
    let mut ids = to.ids(&conditions, usize::MAX >> 1)?;
    ids.retain(|id| !now.contains(id));
    let mut gone = Vec::new();
    let mut fewer = Vec::new();
    for (id, record, _) in to
        .fetch(
            &ids,
            WantedVectors {
                windows: false,
                exact: false,
            },
        )?
        .0
    {
        // The database selects paths by 64-bit digests; here they are compared.
        let left = record
            .facts
            .files
            .iter()
            .filter(|file| !analysed.contains(&file.record.path))
            .count();
        if left == 0 {
            gone.push(id.0);
        } else if left < record.facts.files.len() {
            fewer.push(id);
        }
    }
    to.release(&gone, "")?;
    // A recording that a library holds stays as the library sent it.
    let fewer = to.without_library(&fewer)?;
    if fewer.is_empty() {
        return Ok(());
    }
    // Fetched rows have names of genres, and sent rows need the genres themselves.
    let taxonomy = engine.genres().taxonomy()?;
    let mut rows = Vec::with_capacity(fewer.len());
    for (_, mut record, genres) in to
        .fetch(
            &fewer,
            WantedVectors {
                windows: true,
                exact: true,
            },
        )?
        .0
    {
        record
            .facts
            .files
            .retain(|file| !analysed.contains(&file.record.path));
        let genres = taxonomy.named(&genres);
        rows.push(TrackRow::new(&StoredTrack { record, genres }, true, space)?);
    }
    to.send(&rows, "").map(drop)
}

fn row_of(
    engine: &Engine,
    id: TrackId,
    windows: bool,
    space: &LibrarySpace,
) -> Result<Option<TrackRow>> {
    Ok(rows_of(engine, &[id], windows, space)?.pop())
}

/// The name under which a push is stored; pushes with windows have their own.
fn push_name(source: &str, windows: bool) -> String {
    if windows {
        format!("{source} with windows")
    } else {
        source.to_owned()
    }
}

fn last_push(to: &mut Postgres, source: &str, windows: bool) -> Result<Option<u64>> {
    let name = push_name(source, windows);
    to.run(|tx| {
        let row = tx.query_opt(
            "select generation from voisin_source where library = $1",
            &[&name],
        )?;
        Ok(row.map(|row| row.get::<_, i64>(0) as u64))
    })
}

fn note_push(to: &mut Postgres, source: &str, generation: u64, windows: bool) -> Result<()> {
    let name = push_name(source, windows);
    let other = push_name(source, !windows);
    let generation = generation as i64;
    to.run(|tx| {
        // Only the newest push describes the rows, with windows or without.
        tx.execute("delete from voisin_source where library = $1", &[&other])?;
        tx.execute(
            "insert into voisin_source (library, generation) values ($1, $2)
             on conflict (library) do update set generation = excluded.generation",
            &[&name, &generation],
        )?;
        Ok(())
    })
}

fn send_settings(library: &Library, to: &mut Postgres) -> Result<()> {
    let mut values: Vec<(&str, Option<Vec<u8>>)> = Vec::new();
    for name in SETTINGS {
        // A salvaged library has no setting; the kind of its ids follows from its tracks.
        let value = match name {
            IDENTITY => Some(library.settings().content_kind()?.name().to_owned()),
            _ => library.settings().setting(name)?,
        };
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
fn index_memory(rows: u64, dimension: usize, codes: IndexCodes) -> u64 {
    let of_vector = match codes {
        IndexCodes::Halves => 2 * dimension,
        IndexCodes::Signs => dimension / 8,
    };
    // The graph's links, which do not depend on the vector.
    rows * (of_vector as u64 + 790)
}

fn make_index(
    to: &mut Postgres,
    options: &PushOptions,
    progress: &mut dyn FnMut(PushEvent),
) -> Result<f64> {
    let start = std::time::Instant::now();
    let made = build_index(to, options, progress);
    // Also after a failure: behind a pooler another client gets the session next.
    let reset = to.execute("reset maintenance_work_mem; reset statement_timeout");
    made.and(reset)?;
    Ok(start.elapsed().as_secs_f64())
}

fn build_index(
    to: &mut Postgres,
    options: &PushOptions,
    progress: &mut dyn FnMut(PushEvent),
) -> Result<()> {
    // Settings of the session: a concurrent build runs outside of a transaction.
    if let Some(megabytes) = options.index_memory {
        to.execute(&format!("set maintenance_work_mem = '{megabytes}MB'"))?;
    }
    let given: String = to.run(|tx| {
        let sql = "select pg_size_bytes(current_setting('maintenance_work_mem'))::text";
        Ok(tx.query_one(sql, &[])?.get(0))
    })?;
    let codes = options.codes.unwrap_or(to.codes());
    let needed = index_memory(to.size()?.0, to.model().dimension, codes);
    progress(PushEvent::Indexing {
        needed,
        given: given.parse().unwrap_or_default(),
    });
    let statement = ddl::vector_index("voisin_track", codes, to.model().dimension);
    // An unfinished index answers no query and slows every write; a finished one is dropped once the new one is ready.
    let unfinished = to.vector_indexes(false)?;
    to.drop_indexes(&unfinished)?;
    let former = to.vector_indexes(true)?;
    to.place().take_notices();
    // Building an index takes longer than any query.
    to.execute("set statement_timeout = 0")?;
    to.execute(options.index_sql.as_deref().unwrap_or(&statement))?;
    to.place()
        .take_notices()
        .into_iter()
        .for_each(|notice| progress(PushEvent::Notice(notice)));
    to.drop_indexes(&former)?;
    to.index_made()?;
    // The planner and the estimates for filters use the table's statistics.
    to.execute("analyze voisin_track, voisin_order")
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
            library.settings_mut().set_setting(name, value)?;
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
        library.settings().setting("labels")?.as_deref(),
        None | Some("tags" | "folder")
    );
    if by_table && !genres.is_empty() {
        record.facts.label = Some(genres.join("; "));
    }
    Ok(record)
}

/// Recordings that were removed since a generation.
pub(super) fn gone(from: &mut Postgres, since: u64) -> Result<Vec<ContentId>> {
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
    engine
        .library_mut()
        .settings_mut()
        .set_content_kind(kind_of(from)?)?;
    if is_new {
        restore_settings(from, engine.library_mut(), false)?;
        // The database's mean, so that similarities are the same until tracks change.
        engine.library_mut().derived_mut().set_mean(&StoredMean {
            is_fixed: false,
            ..fixed_mean(from)
        })?;
    }
    let last = engine.library().settings().setting(PULLED)?;
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
        let (records, damaged) = from.fetch(
            ids,
            WantedVectors {
                windows: true,
                exact: true,
            },
        )?;
        for _ in 0..damaged {
            intake.taken.refuse(|| {
                "its row in the database is damaged: push it again from the library that has it"
                    .to_owned()
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
        removed = super::TrackStore::remove(engine, &gone(from, since)?)?;
    }
    // After all records: an interrupted pull starts again from the same generation.
    let pulled = format!("{identity} {}", changes.generation);
    engine
        .library_mut()
        .settings_mut()
        .set_setting(PULLED, Some(&pulled))?;
    Ok((taken, removed))
}
