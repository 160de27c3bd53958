//! Recordings in Parquet files, for other engines and from other machines, by the schema of docs/parquet.md.

#![forbid(unsafe_code)]

mod changes;
mod objects;
mod pages;
mod read;
mod rows;
mod schema;
mod widths;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use arrow_array::Array as _;

use changes::CHANGES;
use objects::is_address;
use read::ParquetInput;
use voisin_base::output::{OutputError, check_folder};
use voisin_base::path_matching::percent_decoded;
use voisin_base::track::ContentKind;
use voisin_engine::{
    AddEvent, AddOptions, Embedder, Engine, EngineError, LibrarySpace, add, stored_model,
};
use voisin_library::{
    Failure, FileRecord, Intake, Library, MergeOutcome, OpenMode, StoredModel, TrackRecord,
    path_to_bytes,
};
use write::{ParquetOutput, RowSet};

pub use changes::{ChangesSummary, export_changes};
pub use objects::{fetch, object_record, scan_objects};
pub use write::ParquetCompression;

// Re-exported in the versions used here.
pub use {arrow_array, arrow_schema, parquet};

/// Rows in memory at once, and in a row group.
const BATCH: usize = 1000;

/// Text of a file, decoded, for each of its bytes, and a constant allowance: a dictionary stores a
/// repeated text once, but the library stores it for each row.
const TEXT_PER_BYTE: u64 = 64;
const TEXT_BESIDE: u64 = 16 << 20;

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
///
/// - `replaces`: replace files of another export; without it, existing ones are an error
pub fn export_parquet(
    engine: &Engine,
    dir: &Path,
    windows: bool,
    compression: ParquetCompression,
    replaces: bool,
) -> Result<ParquetSummary, EngineError> {
    const TRACKS: &str = "tracks.parquet";
    const FAILURES: &str = "failures.parquet";
    refuse_folder_of_changes(dir)?;
    if is_address(dir) {
        // An object store has no folders, so names are listed instead. On a web server the list is
        // empty, so no name counts as taken.
        let mut there = if replaces {
            Vec::new()
        } else {
            parquet_files(dir)?
        };
        there.retain(|file| [TRACKS, FAILURES].map(|name| dir.join(name)).contains(file));
        if let Some(taken) = there.pop() {
            return Err(OutputError::Taken(taken).into());
        }
    } else {
        check_folder(dir, &[TRACKS, FAILURES], replaces)?;
    }
    let library = engine.library();
    let _snapshot = library.snapshot()?;
    let model = engine.model()?;
    let kind = library.settings().content_kind()?;
    make_folder(dir)?;
    let mut summary = ParquetSummary::default();
    let ids = library.track_ids()?;
    let mut chunks = ids.chunks(BATCH);
    let tracks = ParquetOutput::create(dir.join(TRACKS), &model, kind, compression)?;
    summary.tracks = tracks
        .of_library(&LibrarySpace::of_library(library)?)
        .fill(|| {
            let Some(chunk) = chunks.next() else {
                return Ok(None);
            };
            let mut records = Vec::with_capacity(chunk.len());
            for &id in chunk {
                // A track without a vector has no record and is skipped.
                records.extend(library.transfer().record(id, windows)?);
            }
            Ok(Some(RowSet {
                records,
                ..RowSet::default()
            }))
        })?;
    // Paths and reasons are small compared with vectors: all failures are written at once.
    let mut failures = Some(library.files().failures()?);
    summary.failures =
        ParquetOutput::create(dir.join(FAILURES), &model, kind, compression)?.fill(|| {
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
    /// Write the window vectors too.
    pub windows: bool,
    /// The kind of content ids.
    pub kind: ContentKind,
    /// How the files are compressed.
    pub compression: ParquetCompression,
}

/// Analyses files and writes the results, as [`add`] would store them, into new Parquet files of a
/// folder: `tracks-*.parquet`, and `failures-*.parquet` for files that failed.
///
/// Files that a Parquet file of the folder has with the same size and time are skipped unless
/// `options.add.force`. So a killed run is continued by the next, and several processes may write
/// into one folder. Each Parquet file is written whole or not at all.
pub fn embed_to_parquet(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    options: &EmbedOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> Result<ParquetSummary, EngineError> {
    let cannot_write = |path: &Path, source| EngineError::Write {
        path: path.to_owned(),
        source,
    };
    refuse_folder_of_changes(dir)?;
    make_folder(dir)?;
    let model = stored_model(embedder)?;
    let known = if options.add.force {
        HashMap::new()
    } else {
        known_files(dir, &model, options.kind)?
    };
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
        library.settings_mut().set_content_kind(options.kind)?;
        let added = add(&mut library, embedder, chunk, &options.add, progress, stop)?;
        let mut records = Vec::new();
        for id in library.track_ids()? {
            records.extend(library.transfer().record(id, options.windows)?);
        }
        // Workers finish in any order, and the file's name is a digest of its paths in this order.
        records.sort_by(|a, b| {
            // A library gives each track at least one file.
            a.facts.files[0]
                .record
                .path
                .cmp(&b.facts.files[0].record.path)
        });
        let failures = library.files().failures()?;
        let tracks = RowSet {
            records,
            ..RowSet::default()
        };
        let failures = RowSet {
            failures,
            ..RowSet::default()
        };
        for (kind, rows) in [("tracks", tracks), ("failures", failures)] {
            let Some(name) = file_name(kind, &model, &rows) else {
                continue;
            };
            let mut rows = Some(rows);
            let written =
                ParquetOutput::create(dir.join(name), &model, options.kind, options.compression)?
                    .fill(|| Ok(rows.take()))?;
            *(if kind == "tracks" {
                &mut summary.tracks
            } else {
                &mut summary.failures
            }) += written;
        }
        // Checked after writing, so that files analysed so far are kept.
        if added.interrupted {
            summary.interrupted = true;
            break;
        }
    }
    Ok(summary)
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
    kind: ContentKind,
) -> Result<HashMap<PathBuf, (u64, i64)>, EngineError> {
    let mut known = HashMap::new();
    for path in parquet_files(dir)? {
        let input = ParquetInput::open(&path)?;
        input.check(model, kind)?;
        input.each_batch(
            &["path", "path_bytes", "size", "mtime_ns", "transient"],
            |columns| {
                let transient = columns.booleans("transient")?;
                for row in 0..columns.batch.num_rows() {
                    // Files with a transient failure, or a text that every library would refuse, are analysed again.
                    if (transient.is_valid(row) && transient.value(row))
                        || columns.text_size(row).is_err()
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

/// Refuses a folder of [`export_changes`], which accepts no other files beside its own.
fn refuse_folder_of_changes(dir: &Path) -> Result<(), EngineError> {
    // A new folder cannot be listed, nor can a store whose key only writes.
    let files = parquet_files(dir).unwrap_or_default();
    let is_of_changes = |file: &PathBuf| {
        let name = file.file_name().and_then(std::ffi::OsStr::to_str);
        name.is_some_and(|name| name.starts_with(CHANGES))
    };
    match files.into_iter().find(is_of_changes) {
        Some(file) => Err(wrong(
            &file,
            "expected a folder without files of changes, found this file: write into another folder, or with --changes"
                .to_owned(),
        )),
        None => Ok(()),
    }
}

/// Creates a folder for Parquet files. Object stores have none: there it checks that the bucket can be reached.
pub fn make_folder(dir: &Path) -> Result<(), EngineError> {
    if !is_address(dir) {
        check_folder(dir, &[], false)?;
    }
    let made = if is_address(dir) {
        objects::check_folder(dir)
    } else {
        std::fs::create_dir_all(dir)
    };
    made.map_err(|source| EngineError::Write {
        path: dir.to_owned(),
        source,
    })
}

/// The Parquet files directly in a folder, by name, and in its partitions (`artist=A`); a file is itself.
pub fn parquet_files(path: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let failed = |source| EngineError::ReadTable {
        path: path.to_owned(),
        source,
    };
    if is_address(path) {
        return objects::files(path, ".parquet").map_err(failed);
    }
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_hidden {
            continue;
        }
        // Only folders of partitions are entered; others are separate data sets.
        if partition(&file).is_some() && file.is_dir() {
            files.extend(parquet_files(&file)?);
        } else if file.extension().is_some_and(|ending| ending == "parquet") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The column and value that a folder's name gives to all files below it, as Hive and Spark write
/// them; the value is `None` for null.
fn partition(folder: &Path) -> Option<(String, Option<String>)> {
    let (column, value) = folder.file_name()?.to_str()?.split_once('=')?;
    let text = || String::from_utf8_lossy(&percent_decoded(value.as_bytes())).into_owned();
    // Hive's name for the folder of the rows in which the column is null.
    let value = (value != "__HIVE_DEFAULT_PARTITION__").then(text);
    (!column.is_empty()).then(|| (column.to_owned(), value))
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
/// - `kind`: the kind of content ids, if the file does not name it; full by default
pub fn add_from_parquet(
    library: &mut Library,
    file: &Path,
    vectors: &VectorsOf,
    kind: Option<ContentKind>,
) -> Result<(MergeOutcome, u64), EngineError> {
    let input = ParquetInput::open_as(file, vectors, kind)?;
    // All checks of the file as a whole come before the first change of the library.
    input.refuse_changes()?;
    input.check_rows()?;
    library.set_model(&input.model)?;
    library.settings_mut().set_content_kind(input.kind)?;
    let mut intake = Intake::new(library)?;
    if matches!(vectors, VectorsOf::Elsewhere(_)) {
        intake.replace_known();
    }
    // The rows of one recording with several files are adjacent.
    let mut pending: Option<TrackRecord> = None;
    let mut failures = Vec::new();
    let mut refused = MergeOutcome::default();
    let mut text = 0;
    let mut rows = 0_u64;
    input.each_batch(&[], |columns| {
        for row in 0..columns.batch.num_rows() {
            input.check_text(text)?;
            match columns.text_size(row) {
                Ok(size) => text += size as u64,
                Err(reason) => {
                    refused.refuse(|| reason.clone());
                    // A refused row is reported with its path, which therefore counts towards the bound on text.
                    let path = columns.file(row)?.path;
                    text += path.as_os_str().len() as u64;
                    failures.push(Failure::refused(path, reason));
                    rows += 1;
                    continue;
                }
            }
            rows += 1;
            let found = match columns.row(row, input.model.dimension) {
                // A fault in one row does not affect the others.
                Err(EngineError::Table { problem, .. }) => {
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
    library.transfer_mut().take_in_failures(&failures)?;
    Ok((taken, input.bad_numbers.get()))
}

/// The error for a wrong file.
fn wrong(path: &Path, problem: String) -> EngineError {
    EngineError::Table {
        path: path.to_owned(),
        line: 0,
        problem,
    }
}
