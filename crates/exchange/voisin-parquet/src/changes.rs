//! Exports changes of a library since its last export, for other engines that follow it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::ParquetInput;
use super::schema::{RemovedFile, RowDigest, digest};
use super::write::{ParquetOutput, RowSet};
use super::{BATCH, ParquetCompression, make_folder, parquet_files};
use voisin_base::track::{ContentId, ContentKind};
use voisin_engine::{Engine, EngineError, LibrarySpace};
use voisin_library::StoredModel;

/// How names of files of changes begin.
pub(super) const CHANGES: &str = "changes-";

/// Counts of an export of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangesSummary {
    /// Rows of new and changed files.
    pub changed: u64,
    /// Rows of removed files.
    pub removed: u64,
    /// The number of the newest file of changes; 0 if there is none.
    pub change: u64,
}

/// The recording of each path and the digest of its last row.
type ExportedFiles = BTreeMap<PathBuf, (ContentId, RowDigest)>;

/// Writes the changes of a library since the last export into a folder, as its next file
/// `changes-N.parquet`: new and changed tracks, and removed files. Writes nothing if nothing
/// changed.
///
/// Rows are identified by path and compared by digests of all their fields, so that tags, labels
/// and measurements count as much as vectors.
pub fn export_changes(
    engine: &Engine,
    dir: &Path,
    windows: bool,
    compression: ParquetCompression,
) -> Result<ChangesSummary, EngineError> {
    let library = engine.library();
    // One state of the database for ids and records, even if other processes commit meanwhile.
    let _snapshot = library.snapshot()?;
    let model = engine.model()?;
    let kind = library.settings().content_kind()?;
    make_folder(dir)?;
    let (last, mut known) = exported_files(dir, &model, kind)?;
    let mut summary = ChangesSummary {
        change: last,
        ..ChangesSummary::default()
    };
    let ids = library.track_ids()?;
    let mut chunks = ids.chunks(BATCH);
    let mut next = || {
        for chunk in chunks.by_ref() {
            let mut records = Vec::new();
            for &id in chunk {
                let Some(mut record) = library.transfer().record(id, windows)? else {
                    continue;
                };
                let digests: Vec<RowDigest> = record
                    .facts
                    .files
                    .iter()
                    .map(|file| digest(&record, file))
                    .collect();
                let mut digests = digests.iter();
                // A path that the library still has is removed from `known`, changed or not: the
                // paths left in `known` at the end are gone.
                record.facts.files.retain(|file| {
                    let before = known.remove(&file.record.path).map(|(_, digest)| digest);
                    before.as_ref() != digests.next()
                });
                summary.changed += record.facts.files.len() as u64;
                records.push(record);
            }
            // A chunk without changes is skipped: an empty set would make a file without rows if
            // nothing in the library changed.
            records.retain(|record| !record.facts.files.is_empty());
            if !records.is_empty() {
                return Ok(Some(RowSet {
                    records,
                    ..RowSet::default()
                }));
            }
        }
        // All tracks have been seen. `take` leaves `known` empty, so that the next call returns
        // `None` and ends the file.
        let gone = std::mem::take(&mut known).into_iter();
        let removed: Vec<_> = gone
            .map(|(path, (content, _))| RemovedFile { path, content })
            .collect();
        summary.removed += removed.len() as u64;
        Ok((!removed.is_empty()).then(|| RowSet {
            removed,
            ..RowSet::default()
        }))
    };
    // The first rows are fetched before the file is created, so that an unchanged library makes no file and uses no number.
    let Some(first) = next()? else {
        return Ok(summary);
    };
    let mut first = Some(first);
    // Leading zeros, because `parquet_files` sorts by name and that has to be the order of the
    // numbers.
    let target = dir.join(format!("{CHANGES}{:010}.parquet", last + 1));
    ParquetOutput::create(target, &model, kind, compression)?
        .of_library(&LibrarySpace::of_library(library)?)
        .of_change(last + 1)
        .fill(|| first.take().map_or_else(&mut next, |first| Ok(Some(first))))?;
    summary.change = last + 1;
    Ok(summary)
}

/// The number of a folder's last file of changes, and the state of each path by all of them.
fn exported_files(
    dir: &Path,
    model: &StoredModel,
    kind: ContentKind,
) -> Result<(u64, ExportedFiles), EngineError> {
    let mut last = 0;
    let mut known = ExportedFiles::new();
    for path in parquet_files(dir)? {
        let input = ParquetInput::open(&path)?;
        input.check(model, kind)?;
        let change = input.change()?.ok_or_else(|| input.not_of_changes())?;
        // Without the rows of a missing file, the rows that followers read last are not known.
        if change != last + 1 {
            return Err(input.gap(last + 1, change));
        }
        last = change;
        let names = [
            "path",
            "path_bytes",
            "size",
            "mtime_ns",
            "content",
            "digest",
            "removed",
        ];
        input.each_batch(&names, |columns| {
            for row in 0..columns.batch.num_rows() {
                let (path, digest) = columns.exported_file(row)?;
                match digest {
                    Some(digest) => known.insert(path, digest),
                    None => known.remove(&path),
                };
            }
            Ok(())
        })?;
    }
    Ok((last, known))
}
