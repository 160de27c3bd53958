//! Changes of a library since its last export, as files that other engines follow it by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::read::ParquetInput;
use super::schema::{RemovedFile, RowDigest, digest};
use super::write::{ParquetOutput, RowSet};
use super::{BATCH, ParquetCompression, make_folder, parquet_files};
use voisin_base::track::{ContentId, ContentKind};
use voisin_engine::{Engine, EngineError, LibrarySpace};
use voisin_library::StoredModel;

/// Counts of an export of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangesSummary {
    /// Rows of files that are new or other than before.
    pub changed: u64,
    /// Rows of files that are gone.
    pub removed: u64,
    /// The number of the newest file of changes; 0 where there is none.
    pub change: u64,
}

/// The recording of each path, and what was last said of it.
type ToldFiles = BTreeMap<PathBuf, (ContentId, RowDigest)>;

/// Writes the tracks of a library that are not in a folder as they are now into one more file of it, `changes-N.parquet`
/// with N counting up, and the files that are gone; nothing where nothing changed.
///
/// Rows are told apart by path and compared by digests of all that they say, so that tags, labels and measurements count as
/// vectors do, however the library came to them.
pub fn export_changes(
    engine: &Engine,
    dir: &Path,
    windows: bool,
    compression: ParquetCompression,
) -> Result<ChangesSummary, EngineError> {
    let library = engine.library();
    // One state of the database for ids, records and scales, whatever other processes commit
    // meanwhile.
    let _snapshot = library.snapshot()?;
    let model = engine.model()?;
    let kind = library.settings().content_kind()?;
    make_folder(dir)?;
    let (last, mut known) = told_so_far(dir, &model, kind)?;
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
                // A path that the library still has leaves `known`, changed or not: the rest of
                // `known` at the end is what the library has lost.
                record.facts.files.retain(|file| {
                    let before = known.remove(&file.record.path).map(|(_, digest)| digest);
                    before.as_ref() != digests.next()
                });
                summary.changed += record.facts.files.len() as u64;
                records.push(record);
            }
            // A chunk in which nothing changed goes on to the next one: an empty set would make a
            // file without rows where the whole library is as before.
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
    // The first rows are fetched before the file is created: a library that did not change leaves
    // no file and uses up no number.
    let Some(first) = next()? else {
        return Ok(summary);
    };
    let mut first = Some(first);
    // Leading zeros, because `parquet_files` sorts by name and that has to be the order of the
    // numbers.
    let target = dir.join(format!("changes-{:010}.parquet", last + 1));
    ParquetOutput::create(target, &model, kind, compression)?
        .of_library(
            &LibrarySpace::of_library(library)?,
            &library.scales().scale_definitions()?,
        )
        .of_change(last + 1)
        .fill(|| first.take().map_or_else(&mut next, |first| Ok(Some(first))))?;
    summary.change = last + 1;
    Ok(summary)
}

/// The number of the last file of changes of a folder, and what all of them say of each path.
fn told_so_far(
    dir: &Path,
    model: &StoredModel,
    kind: ContentKind,
) -> Result<(u64, ToldFiles), EngineError> {
    let mut last = 0;
    let mut known = ToldFiles::new();
    for path in parquet_files(dir)? {
        let input = ParquetInput::open(&path)?;
        input.check(model, kind)?;
        let change = input.change()?.ok_or_else(|| input.not_of_changes())?;
        // Without the rows of a missing file it is not known what followers have read last.
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
                let (path, digest) = columns.told(row)?;
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
