//! Recordings in Parquet files, for other engines and from other machines, by the schema of docs/scale.md.

mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::row::{COLUMNS, Cell, cells, record};
use file::{FAILURES, IDENTITY, ParquetInput, write};
use voisin::{AddEvent, AddOptions, Embedder, Engine, EngineError, add, manifest_as_stored};
use voisin_base::output::{OutputError, check_folder};
use voisin_base::vector::make_unit;
use voisin_library::{
    Failure, FileRecord, Intake, Library, MergeOutcome, OpenMode, StoredModel, TrackRecord,
    path_from_bytes, path_to_bytes,
};

// Re-exported in the versions used here.
pub use {arrow_array, parquet};

/// Rows in memory at once, and in a row group.
const BATCH: usize = 1000;

/// Audio files whose tracks go into one file.
const PER_FILE: usize = 500;

/// Counts of the rows written by [`embed_to_parquet`].
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

fn row(record: &TrackRecord) -> Result<Vec<Cell>, EngineError> {
    cells(record).map_err(|error| EngineError::file(Path::new("row"), error.to_string()))
}

/// Writes the tracks of a library into a file; returns their number.
pub fn export_parquet(engine: &Engine, target: &Path) -> Result<u64, EngineError> {
    let library = engine.library();
    let _snapshot = library.snapshot()?;
    let ids = library.track_ids()?;
    let mut chunks = ids.chunks(BATCH);
    write(target, &engine.model()?, &COLUMNS, || {
        let Some(chunk) = chunks.next() else {
            return Ok(None);
        };
        let mut rows = Vec::with_capacity(chunk.len());
        for &id in chunk {
            // A track without a vector has no record and is skipped.
            if let Some(record) = library.record(id)? {
                rows.push(row(&record)?);
            }
        }
        Ok(Some(rows))
    })
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
    options: &AddOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> Result<ParquetSummary, EngineError> {
    let cannot_write = OutputError::io(dir);
    check_folder(dir)?;
    std::fs::create_dir_all(dir).map_err(&cannot_write)?;
    let model = manifest_as_stored(embedder.encoder().manifest())?;
    let known = known_files(dir, &model)?;
    // Size and time, as `add` compares them; contents are not read again.
    let is_new = |file: &&FileRecord| known.get(&file.path) != Some(&(file.size, file.mtime_ns));
    let todo: Vec<FileRecord> = files.iter().filter(is_new).cloned().collect();
    let mut summary = ParquetSummary {
        known: (files.len() - todo.len()) as u64,
        ..ParquetSummary::default()
    };
    for chunk in todo.chunks(PER_FILE) {
        // A temporary library, so that files are analysed and failures reported as by `add`.
        let scratch = tempfile::tempdir().map_err(&cannot_write)?;
        let mut library = Library::open(scratch.path(), OpenMode::Create)?;
        let added = add(&mut library, embedder, chunk, options, progress, stop)?;
        let mut tracks = Vec::new();
        for id in library.track_ids()? {
            if let Some(record) = library.record(id)? {
                tracks.push(row(&record)?);
            }
        }
        let failures: Vec<Vec<Cell>> = library.failures()?.iter().map(failure_row).collect();
        for (kind, columns, rows, written) in [
            ("tracks", &COLUMNS[..], tracks, &mut summary.tracks),
            ("failures", &FAILURES, failures, &mut summary.failures),
        ] {
            if !rows.is_empty() {
                let target = dir.join(file_name(kind, &model, &rows));
                let mut rows = Some(rows);
                *written += write(&target, &model, columns, || Ok(rows.take()))?;
            }
        }
        // Checked after writing, so that files analysed so far are kept.
        if added.interrupted {
            summary.interrupted = true;
            break;
        }
    }
    Ok(summary)
}

fn failure_row(failure: &Failure) -> Vec<Cell> {
    let path = &failure.path;
    let bytes = path_to_bytes(path).ok().filter(|_| path.to_str().is_none());
    let number = |number: Option<i64>| number.map_or(Cell::Null, Cell::Int);
    vec![
        Cell::Text(path.to_string_lossy().into_owned()),
        bytes.map_or(Cell::Null, |bytes| Cell::Bytes(bytes.to_vec())),
        number(failure.size.map(|size| size as i64)),
        number(failure.mtime_ns),
        Cell::Text(failure.reason.clone()),
        Cell::Bool(failure.transient),
    ]
}

/// A name that is unique to a set of files.
fn file_name(kind: &str, model: &StoredModel, rows: &[Vec<Cell>]) -> String {
    // A digest and not a counter: several processes may write into one folder.
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.fingerprint.as_bytes());
    // Workers finish in any order.
    let mut files: Vec<String> = rows
        .iter()
        .map(|row| format!("{:?}", &row[..IDENTITY]))
        .collect();
    files.sort_unstable();
    hasher.update(files.concat().as_bytes());
    format!("{kind}-{}.parquet", &hasher.finalize().to_hex()[..16])
}

/// Size and time of each file in the Parquet files of a folder, except those to be analysed again.
fn known_files(
    dir: &Path,
    model: &StoredModel,
) -> Result<HashMap<PathBuf, (u64, i64)>, EngineError> {
    let mut known = HashMap::new();
    for path in parquet_files(dir)? {
        let input = ParquetInput::open(&path)?;
        // The fingerprint covers all of a model that changes a vector.
        if input.model.fingerprint != model.fingerprint {
            return Err(EngineError::file(
                &path,
                format!(
                    "its vectors are from model {}, expected {}: write into another folder",
                    input.model.name, model.name
                ),
            ));
        }
        if input.has_failures {
            input.each_row(&FAILURES, |cells| {
                let failure = failure(&cells);
                // Files with a transient failure are analysed again.
                if let (false, Some(size), Some(time)) =
                    (failure.transient, failure.size, failure.mtime_ns)
                {
                    known.insert(failure.path, (size, time));
                }
                Ok(())
            })?;
        } else {
            input.each_row(&COLUMNS, |cells| {
                for file in record(cells)
                    .into_iter()
                    .flat_map(|track| track.facts.files)
                {
                    let FileRecord {
                        path,
                        size,
                        mtime_ns,
                    } = file.record;
                    known.insert(path, (size, mtime_ns));
                }
                Ok(())
            })?;
        }
    }
    Ok(known)
}

/// The path of a row, whose bytes count where it is not UTF-8.
fn path_of(cells: &[Cell]) -> PathBuf {
    match cells {
        [_, Cell::Bytes(bytes), ..] => path_from_bytes(bytes),
        [Cell::Text(path), ..] => PathBuf::from(path),
        _ => PathBuf::new(),
    }
}

/// The failure of a row of [`FAILURES`].
fn failure(cells: &[Cell]) -> Failure {
    let number = |at: usize| match cells[at] {
        Cell::Int(number) => Some(number),
        _ => None,
    };
    let reason = cells[IDENTITY].text().unwrap_or_default().to_owned();
    Failure {
        size: number(2).map(|size| size as u64),
        mtime_ns: number(3),
        transient: cells[IDENTITY + 1] == Cell::Bool(true),
        ..Failure::refused(path_of(cells), reason)
    }
}

/// The Parquet files directly in a folder, by name; a file is itself.
pub fn parquet_files(path: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let failed = EngineError::unread(path);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let file = entry.path();
        // Others are still being written.
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && file.extension().is_some_and(|ending| ending == "parquet") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Adds the rows of a Parquet file to a library. Its model must be the library's, or the library empty.
pub fn add_from_parquet(library: &mut Library, file: &Path) -> Result<MergeOutcome, EngineError> {
    let input = ParquetInput::open(file)?;
    library.set_model(&input.model)?;
    let mut failures = Vec::new();
    let mut refused = MergeOutcome::default();
    let mut intake = Intake::new(library)?;
    input.each_row(input.columns(), |cells| {
        if input.has_failures {
            failures.push(failure(&cells));
            return Ok(());
        }
        let path = path_of(&cells);
        match record(cells) {
            Ok(mut track) => {
                // Sixteen bits a number leave a length of nearly 1. The library refuses others.
                let norm = voisin_base::vector::norm(&track.vector);
                if (norm - 1.0).abs() < 0.01 {
                    make_unit(&mut track.vector);
                }
                intake.add(track)?;
            }
            // A fault in one row does not affect the others.
            Err(error) => {
                let reason = format!("{}: {}: {error}", file.display(), path.display());
                refused.refuse(|| reason.clone());
                failures.push(Failure::refused(path, reason));
            }
        }
        Ok(())
    })?;
    let mut taken = intake.finish()?;
    taken += refused;
    // Last, so that a path that was added as a track is not stored as failed.
    library.take_in_failures(&failures)?;
    Ok(taken)
}
