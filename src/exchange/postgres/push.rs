//! Sends a library on this disk to a database (`push`) and fetches one (`pull`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Transaction;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::error::SqlState;
use postgres::types::Type;

use super::ddl;
use super::row::{TrackRow, types};
use super::server::{check_schema, has_tables};
use super::{BackendError, Postgres, PostgresAddress, Result};
use voisin::{Engine, LibrarySpace, SYNONYMS_FILE};
use voisin_base::atomic_file;
use voisin_base::track::TrackId;
use voisin_library::{Intake, Library, MergeOutcome, StoredMean, StoredModel, TrackRecord};

/// Rows in memory at once.
const BATCH: usize = 1000;

/// Setting of a pulled library: the identity and generation of the database.
const PULLED: &str = "pulled";

const OTHER_PLACE: &str = "use another schema (create schema NAME; ?options=-csearch_path%3DNAME,public), or drop the tables that begin with voisin_";

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
    /// Seconds that it took.
    pub seconds: f64,
}

/// Sends new and changed recordings, and removes those that the library no longer has, in one transaction: all or
/// nothing. The first push makes the tables and the vector index.
pub fn push(
    engine: &Engine,
    to: &PostgresAddress,
    progress: &mut dyn FnMut(usize, usize),
    stop: &AtomicBool,
) -> Result<PushSummary> {
    let start = std::time::Instant::now();
    let library = engine.library();
    // All reads below see one state, even if an `add` runs meanwhile.
    let _snapshot = library.snapshot()?;
    let mut client = to.connect()?;
    let mut tx = client.transaction()?;
    let model = engine.model()?;
    if !has_tables(&mut tx)? {
        tx.batch_execute(&ddl::tables(model.dimension))?;
    }
    check_schema(&mut tx, to)?;
    claim(&mut tx, to, engine, &model)?;
    let row = tx.query_typed_one(
        "update voisin_state set generation = generation + 1 returning generation, mean",
        &[],
    )?;
    let generation: i64 = row.get(0);
    let mean = row.get::<_, Option<Vec<f32>>>(1).unwrap_or_default();
    let space = LibrarySpace::new(mean, &model.manifest_json);
    let mut there: HashMap<i64, Option<Vec<u8>>> = HashMap::new();
    for row in tx.query_typed("select id, digest from voisin_track", &[])? {
        there.insert(row.get(0), row.get(1));
    }
    let mut summary = PushSummary::default();
    tx.batch_execute("create temporary table voisin_staging (like voisin_track) on commit drop")?;
    let names = ddl::names();
    let copy = format!("copy voisin_staging (id, {names}) from stdin binary");
    let mut writer = BinaryCopyInWriter::new(tx.copy_in(&copy)?, &types());
    let mut changed = Vec::new();
    let ids = library.track_ids()?;
    for (batch, some) in ids.chunks(BATCH).enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Err(BackendError::Interrupted);
        }
        for row in rows_of(engine, some, &space, generation)? {
            match there.remove(&row.id) {
                Some(Some(digest)) if digest == row.digest => {
                    summary.unchanged += 1;
                    continue;
                }
                Some(_) => changed.push(row.id),
                None => summary.added += 1,
            }
            writer.write_raw(&row.cells)?;
        }
        progress((batch * BATCH + some.len()).min(ids.len()), ids.len());
    }
    writer.finish()?;
    summary.updated = changed.len() as u64;
    let gone: Vec<i64> = there.into_keys().collect();
    summary.removed = gone.len() as u64;
    replace(&mut tx, &changed, &gone, generation)?;
    make_index(&mut tx)?;
    tx.commit()?;
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// Takes tables for a library, which no other process may change until the transaction ends, and sends its settings.
fn claim(
    tx: &mut Transaction<'_>,
    to: &PostgresAddress,
    engine: &Engine,
    model: &StoredModel,
) -> Result<()> {
    let refused = |problem: &str| BackendError::Refused {
        place: to.to_string(),
        problem: problem.to_owned(),
    };
    let library = engine.library();
    let source = library.identity()?;
    let sql = "select library, model, fingerprint from voisin_state for update nowait";
    let row = tx.query_typed_one(sql, &[]).map_err(|error| {
        if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return refused("another voisin is sending tracks there: wait until it is done");
        }
        error.into()
    })?;
    let held: [Option<String>; 3] = [row.get(0), row.get(1), row.get(2)];
    if let [_, Some(name), Some(fingerprint)] = &held
        && *fingerprint != model.fingerprint
    {
        return Err(refused(&format!(
            "holds vectors of model {name} ({fingerprint}), not of {} ({}): {OTHER_PLACE}",
            model.name, model.fingerprint
        )));
    }
    if held[0].as_ref().is_some_and(|held| *held != source) {
        return Err(refused(&format!("holds another library: {OTHER_PLACE}")));
    }
    let has_vectors = library.status()?.vectors > 0;
    let mean = has_vectors
        .then(|| LibrarySpace::of_library(library))
        .transpose()?;
    // A mean that rows are relative to is kept; that of an empty library says nothing of later tracks.
    tx.execute_typed(
        "update voisin_state set library = $1, model = $2, fingerprint = $3, dimension = $4, manifest = $5,
         mean = coalesce(mean, $6), labels = $7, synonyms = $8",
        &[
            (&source, Type::TEXT),
            (&model.name, Type::TEXT),
            (&model.fingerprint, Type::TEXT),
            (&(model.dimension as i64), Type::INT8),
            (&model.manifest_json, Type::TEXT),
            (&mean.map(|space| space.mean().to_vec()), Type::FLOAT4_ARRAY),
            (&library.setting("labels")?, Type::TEXT),
            (&std::fs::read(library.dir().join(SYNONYMS_FILE)).ok(), Type::BYTEA),
        ],
    )?;
    Ok(())
}

/// The rows of tracks; those without a vector are left out.
fn rows_of(
    engine: &Engine,
    ids: &[TrackId],
    space: &LibrarySpace,
    generation: i64,
) -> Result<Vec<TrackRow>> {
    let library = engine.library();
    let tracks = library.tracks_by_id(ids)?;
    let mut rows = Vec::with_capacity(ids.len());
    for (track, genres) in tracks.iter().zip(engine.genres_of(&tracks)?) {
        if let Some(record) = library.record(track.id)? {
            let row = TrackRow::new(&record, &genres, space, generation);
            rows.push(row.map_err(std::io::Error::other)?);
        }
    }
    Ok(rows)
}

/// Deletes changed and gone rows, records the gone ones, and moves in the staged rows.
fn replace(tx: &mut Transaction<'_>, changed: &[i64], gone: &[i64], generation: i64) -> Result<()> {
    tx.execute_typed(
        "insert into voisin_gone (id, content, changed)
         select id, content, $2 from voisin_track where id = any ($1)
         on conflict (id) do update set content = excluded.content, changed = excluded.changed",
        &[(&gone, Type::INT8_ARRAY), (&generation, Type::INT8)],
    )?;
    let removed = [changed, gone].concat();
    let sql = "delete from voisin_track where id = any ($1)";
    tx.execute_typed(sql, &[(&removed, Type::INT8_ARRAY)])?;
    let names = ddl::names();
    tx.batch_execute(&format!(
        "insert into voisin_track (id, {names}) select id, {names} from voisin_staging;
         delete from voisin_gone where id in (select id from voisin_staging)"
    ))?;
    Ok(())
}

/// Builds the vector index if there is none, which is faster over rows than row by row.
fn make_index(tx: &mut Transaction<'_>) -> Result<()> {
    let sql = "select exists (select 1 from voisin_track) and not exists (select 1 from pg_index
        where indrelid = 'voisin_track'::regclass and pg_get_indexdef(indexrelid) like '%halfvec%')";
    if tx.query_typed_one(sql, &[])?.get(0) {
        // It takes longer than any query.
        tx.batch_execute(&format!(
            "set local statement_timeout = 0; {}",
            ddl::VECTOR_INDEX
        ))?;
    }
    Ok(())
}

/// Gives a new library the settings, the synonyms and the mean of a database.
///
/// - `is_fixed`: whether the mean stays as it is
pub(super) fn take_settings(from: &Postgres, library: &mut Library, is_fixed: bool) -> Result<()> {
    let head = from.head();
    library.set_model(&head.model)?;
    library.set_setting("labels", head.labels.as_deref())?;
    if let Some(synonyms) = &head.synonyms {
        atomic_file::write(&library.dir().join(SYNONYMS_FILE), synonyms)?;
    }
    library.set_mean(&StoredMean {
        values: head.mean.clone(),
        tracks: 0,
        generation: 0,
        is_fixed,
    })?;
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

/// Fetches a database's tracks into a library on this disk: all, or those that changed since the
/// last time. Recordings that were removed there since are removed here too. Returns what was
/// added, and how many were removed.
pub fn pull(
    from: &mut Postgres,
    engine: &mut Engine,
    stop: &AtomicBool,
) -> Result<(MergeOutcome, u64)> {
    let is_new = engine.library().status()?.tracks == 0;
    if is_new {
        // The database's mean, so that similarities are the same until tracks change.
        take_settings(from, engine.library_mut(), false)?;
    }
    // Refuses vectors of another model, before anything is written.
    engine.library_mut().set_model(&from.head().model)?;
    let identity = from.head().identity.clone();
    let generation = from.head().generation;
    let last = engine.library().setting(PULLED)?;
    // "IDENTITY GENERATION"; ignored if the identity is another database's.
    let last = last.as_deref().and_then(|text| text.split_once(' '));
    let last = last.filter(|(source, _)| *source == identity && !is_new);
    let last: i64 = last.and_then(|(_, last)| last.parse().ok()).unwrap_or(0);
    // A database restored from a backup counts from an older number: everything is read again.
    let since = if last > generation { 0 } else { last };
    let (stored, gone) = from.changes(since)?;
    let mut intake = Intake::new(engine.library_mut())?;
    for ids in stored.chunks(BATCH) {
        if stop.load(Ordering::Relaxed) {
            intake.finish()?;
            return Err(BackendError::Interrupted);
        }
        let (tracks, damaged) = from.fetch(ids)?;
        for _ in 0..damaged {
            intake.taken.refuse(|| from.damaged(damaged).to_string());
        }
        for (_, track, _) in tracks {
            intake.add(track)?;
        }
    }
    let taken = intake.finish()?;
    let library = engine.library_mut();
    let mut known = Vec::new();
    // A first pull has nothing to remove.
    for content in gone.iter().filter(|_| since > 0) {
        known.extend(library.find_by_content(content)?);
    }
    let removed = library.remove_tracks(&known)?.tracks;
    // After all records: an interrupted pull starts again from the same generation.
    let pulled = format!("{identity} {generation}");
    library.set_setting(PULLED, Some(&pulled))?;
    Ok((taken, removed))
}
