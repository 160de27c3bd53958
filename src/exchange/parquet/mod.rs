//! Recordings in Parquet files, for other engines and from other machines, by the schema of docs/scale.md.

mod read;
mod rows;
mod schema;
mod widths;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow_array::Array as _;

use read::ParquetInput;
use voisin::{
    AddEvent, AddOptions, Embedder, Engine, EngineError, LibrarySpace, add, stored_model,
};
use voisin_base::output::{OutputError, check_folder};
use voisin_library::{
    Failure, FileRecord, Intake, Library, MergeOutcome, OpenMode, StoredModel, TrackRecord,
    path_to_bytes,
};
use write::{ParquetOutput, RowSet};

// Re-exported in the versions used here.
pub use {arrow_array, arrow_schema, parquet};

/// Rows in memory at once, and in a row group.
const BATCH: usize = 1000;

/// Counts of the rows and files written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParquetSummary {
    /// Rows of tracks.
    pub tracks: u64,
    /// Rows of failures.
    pub failures: u64,
    /// Files that were already there and were skipped.
    pub known: u64,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
}

/// Writes the tracks of a library into `tracks.parquet`, and the files that failed into `failures.parquet`.
pub fn export_parquet(engine: &Engine, dir: &Path) -> Result<ParquetSummary, EngineError> {
    const TRACKS: &str = "tracks.parquet";
    const FAILURES: &str = "failures.parquet";
    check_folder(dir)?;
    let library = engine.library();
    let _snapshot = library.snapshot()?;
    let model = engine.model()?;
    make_folder(dir)?;
    let mut summary = ParquetSummary::default();
    let ids = library.track_ids()?;
    let mut chunks = ids.chunks(BATCH);
    let tracks = ParquetOutput::create(dir.join(TRACKS), &model)?;
    summary.tracks = tracks
        .of_library(&LibrarySpace::of_library(library)?)
        .fill(|| {
            let Some(chunk) = chunks.next() else {
                return Ok(None);
            };
            let mut records = Vec::with_capacity(chunk.len());
            for &id in chunk {
                // A track without a vector has no record and is skipped.
                records.extend(library.record(id)?);
            }
            Ok(Some(RowSet {
                records,
                ..RowSet::default()
            }))
        })?;
    // Paths and reasons are small compared with vectors: all failures are written at once.
    let mut failures = Some(library.failures()?);
    summary.failures = ParquetOutput::create(dir.join(FAILURES), &model)?.fill(|| {
        Ok(failures.take().map(|failures| RowSet {
            failures,
            ..RowSet::default()
        }))
    })?;
    Ok(summary)
}

/// How audio files are analysed into Parquet files.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions {
    /// How each file is analysed.
    pub add: AddOptions,
    /// Audio files in one Parquet file.
    pub per_file: usize,
}

/// Analyses files and writes the results, as [`add`] would store them, into new Parquet files of a
/// folder: `tracks-*.parquet`, and `failures-*.parquet` for files that failed.
///
/// Files that a Parquet file of the folder has with the same size and time are skipped. So a killed run is continued by the
/// next, and several processes may write into one folder. Each Parquet file is written whole or not at all.
pub fn embed_to_parquet(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    options: &EmbedOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> Result<ParquetSummary, EngineError> {
    let cannot_write = |path: &Path, source| OutputError::io(path)(source);
    make_folder(dir)?;
    let model = stored_model(embedder)?;
    let known = known_files(dir, &model)?;
    // Size and time, as `add` compares them; contents are not read again.
    let is_new = |file: &&FileRecord| known.get(&file.path) != Some(&(file.size, file.mtime_ns));
    let todo: Vec<FileRecord> = files.iter().filter(is_new).cloned().collect();
    let mut summary = ParquetSummary {
        known: (files.len() - todo.len()) as u64,
        ..ParquetSummary::default()
    };
    for chunk in todo.chunks(options.per_file.max(1)) {
        // A temporary library, so that files are analysed and failures reported as by `add`.
        let scratch = tempfile::tempdir().map_err(|source| cannot_write(dir, source))?;
        let mut library = Library::open(scratch.path(), OpenMode::Create)?;
        let added = add(&mut library, embedder, chunk, &options.add, progress, stop)?;
        let mut records = Vec::new();
        for id in library.track_ids()? {
            records.extend(library.record(id)?);
        }
        // Workers finish in any order, and the file's name is a digest of its paths in this order.
        records.sort_by(|a, b| {
            // A library gives each track at least one file.
            a.facts.files[0]
                .record
                .path
                .cmp(&b.facts.files[0].record.path)
        });
        let tracks = RowSet {
            records,
            ..RowSet::default()
        };
        let failures = RowSet {
            failures: library.failures()?,
            ..RowSet::default()
        };
        summary.tracks += write_rows(dir, "tracks", &model, tracks)?;
        summary.failures += write_rows(dir, "failures", &model, failures)?;
        // Checked after writing, so that files analysed so far are kept.
        if added.interrupted {
            summary.interrupted = true;
            break;
        }
    }
    Ok(summary)
}

/// Writes rows into a file of their own; returns their number.
fn write_rows(
    dir: &Path,
    kind: &str,
    model: &StoredModel,
    rows: RowSet,
) -> Result<u64, EngineError> {
    let Some(name) = file_name(kind, model, &rows) else {
        return Ok(0);
    };
    let mut rows = Some(rows);
    ParquetOutput::create(dir.join(name), model)?.fill(|| Ok(rows.take()))
}

/// A name that is unique to a set of files; `None` if there is nothing to write.
fn file_name(kind: &str, model: &StoredModel, rows: &RowSet) -> Option<String> {
    let RowSet {
        records, failures, ..
    } = rows;
    if records.is_empty() && failures.is_empty() {
        return None;
    }
    // A digest and not a counter: several processes may write into one folder.
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.fingerprint.as_bytes());
    let files = records
        .iter()
        .flat_map(|record| &record.facts.files)
        .map(|file| &file.record.path);
    for path in files.chain(failures.iter().map(|failure| &failure.path)) {
        hasher.update(path_to_bytes(path).unwrap_or_default());
        // No path contains a zero byte, so two lists of paths never give the same bytes.
        hasher.update(&[0]);
    }
    Some(format!(
        "{kind}-{}.parquet",
        &hasher.finalize().to_hex()[..16]
    ))
}

/// Size and time of each file in the Parquet files of a folder, except those to be analysed again.
fn known_files(
    dir: &Path,
    model: &StoredModel,
) -> Result<HashMap<PathBuf, (u64, i64)>, EngineError> {
    let mut known = HashMap::new();
    for path in parquet_files(dir)? {
        let input = ParquetInput::open(&path)?;
        input.check(model)?;
        input.each_batch(
            &["path", "path_bytes", "size", "mtime_ns", "transient"],
            |columns| {
                let transient = columns.booleans("transient")?;
                for row in 0..columns.batch.num_rows() {
                    // Files with a transient failure, or a text that every library would refuse, are analysed again.
                    if (transient.is_valid(row) && transient.value(row))
                        || columns.check_texts(row).is_err()
                    {
                        continue;
                    }
                    let file = columns.file(row)?;
                    known.insert(file.path, (file.size, file.mtime_ns));
                }
                Ok(())
            },
        )?;
    }
    Ok(known)
}

/// Creates a folder for Parquet files.
fn make_folder(dir: &Path) -> Result<(), EngineError> {
    check_folder(dir)?;
    Ok(std::fs::create_dir_all(dir).map_err(OutputError::io(dir))?)
}

/// The Parquet files directly in a folder, by name; a file is itself.
pub fn parquet_files(path: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let failed = EngineError::unread(path);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(&failed)? {
        let file = entry.map_err(&failed)?.path();
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && file.extension().is_some_and(|ending| ending == "parquet") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The model of vectors in a file whose metadata does not name it, as files of other programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum VectorsOf {
    /// The metadata has to name it.
    #[default]
    File,
    /// This model's, if the file's rows have its fingerprint.
    Model(StoredModel),
    /// Another program's, under this name: each row needs a path and a vector, of which only the direction is used.
    Elsewhere(String),
}

/// Adds the rows of a Parquet file to a library. Its model must be the library's, or the library empty.
/// Returns also the count of years and other numbers of tags that were left out, since they cannot be one.
///
/// - `vectors`: their model, if the file does not name it
pub fn add_from_parquet(
    library: &mut Library,
    file: &Path,
    vectors: &VectorsOf,
) -> Result<(MergeOutcome, u64), EngineError> {
    let input = ParquetInput::open_as(file, vectors)?;
    // All checks of the file as a whole come before the first change of the library.
    input.check_rows()?;
    library.set_model(&input.model)?;
    let mut intake = Intake::new(library)?;
    if matches!(vectors, VectorsOf::Elsewhere(_)) {
        intake.replace_known();
    }
    // The rows of one recording with several files are adjacent.
    let mut pending: Option<TrackRecord> = None;
    let mut failures = Vec::new();
    let mut refused = MergeOutcome::default();
    let mut rows = 0_u64;
    input.each_batch(&[], |columns| {
        for row in 0..columns.batch.num_rows() {
            rows += 1;
            if let Err(reason) = columns.check_texts(row) {
                refused.refuse(|| reason.clone());
                failures.push(Failure::refused(columns.file(row)?.path, reason));
                continue;
            }
            let found = match columns.row(row, input.model.dimension) {
                // A fault in one row does not affect the others.
                Err(EngineError::File { problem, .. }) => {
                    let reason = format!("{}, row {rows}: {problem}", file.display());
                    refused.refuse(|| reason.clone());
                    let path = columns.file(row)?.path;
                    if !path.as_os_str().is_empty() {
                        failures.push(Failure::refused(path, reason));
                    }
                    continue;
                }
                found => found?,
            };
            match found {
                // A recording in two files is one track. Facts about the audio come from its first row.
                Ok(record) => match &mut pending {
                    Some(last) if last.facts.audio.content == record.facts.audio.content => {
                        last.facts.files.extend(record.facts.files);
                    }
                    _ => {
                        if let Some(last) = pending.replace(record) {
                            intake.add(last)?;
                        }
                    }
                },
                Err(failure) => failures.push(failure),
            }
        }
        Ok(())
    })?;
    if let Some(last) = pending {
        intake.add(last)?;
    }
    let mut taken = intake.finish()?;
    taken += refused;
    // Last, so that a path that was added as a track is not stored as failed.
    library.take_in_failures(&failures)?;
    Ok((taken, input.bad_numbers.get()))
}

/// The error for a wrong file.
fn wrong(path: &Path, problem: String) -> EngineError {
    EngineError::file(path, problem)
}
