//! Writes genres into files, after recording the old ones so that they can be restored.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::EngineError;
use super::stored::open_named;
use voisin_audio::tags::{ReversePatch, WriteOptions, WriteOutcome, prepare, read_tags};
use voisin_base::text::with_causes;
use voisin_library::{JournalKind, Library, LibraryError, WrittenTags, stored_path};

pub struct TagWish {
    pub path: PathBuf,
    pub genres: Vec<String>,
    pub reason: String,
}

/// The result of one file; the documented JSON of `tag` is a list of these.
#[derive(Debug, Serialize)]
pub struct TagResult {
    pub path: String,
    pub outcome: TagOutcome,
    pub before: Vec<String>,
    pub after: Vec<String>,
    pub reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TagOutcome {
    Written,
    WouldWrite,
    Unchanged,
    /// It has tags of its own that are not to be replaced, or was written in this run.
    Kept,
    Unknown,
    Failed,
}

/// Writes genres into files and records the old ones; returns the number of the run.
///
/// - `each`: called with each result; returns whether to continue
pub fn write_tags<E: From<LibraryError>>(
    library: &mut Library,
    wishes: &[TagWish],
    options: WriteOptions,
    mut each: impl FnMut(TagResult) -> Result<bool, E>,
) -> Result<i64, E> {
    if !options.dry_run {
        library.remove_leftovers();
    }
    let last = library.tag_runs()?.first().map_or(0, |last| last.run);
    let run = last + 1;
    let journal = if options.dry_run {
        None
    } else {
        library.journal(JournalKind::Writing)
    };
    let mut note = |copy: &Path| {
        if let Some(journal) = &journal {
            journal.note(0, Some(copy));
        }
    };
    for wish in wishes {
        if !each(one(library, run, wish, options, &mut note)?)? {
            break;
        }
    }
    Ok(run)
}

#[expect(clippy::too_many_lines, reason = "one sequence of steps")]
fn one(
    library: &mut Library,
    run: i64,
    wish: &TagWish,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<TagResult, LibraryError> {
    let mut file = TagResult {
        path: wish.path.to_string_lossy().into_owned(),
        outcome: TagOutcome::Unknown,
        before: Vec::new(),
        after: Vec::new(),
        reason: wish.reason.clone(),
    };
    let failed = |mut file: TagResult, error: &dyn std::error::Error| {
        file.outcome = TagOutcome::Failed;
        file.after.clone_from(&file.before);
        file.reason = with_causes(error);
        file
    };
    // Everything below applies to the file that is opened here.
    let _held = match open_named(library, &wish.path) {
        Ok(held) => held,
        Err(EngineError::Library(error)) => return Err(error),
        Err(error) => return Ok(failed(file, &error)),
    };
    let present = match read_tags(&wish.path) {
        Ok(tags) => tags,
        Err(error) => return Ok(failed(file, &error)),
    };
    file.before.clone_from(&present.genres);
    file.after.clone_from(&file.before);
    if wish.genres.is_empty() {
        return Ok(file);
    }
    let path = stored_path(&wish.path);
    // Once a run, whose record restores the bytes before it.
    if library.written_into(run, &path)?.is_some() {
        file.outcome = TagOutcome::Kept;
        return Ok(file);
    }
    // Everything that can fail is done on a copy, which `commit` below moves into place.
    let prepared = match prepare(&wish.path, &wish.genres, options, note) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(failed(file, &error)),
    };
    let record = WrittenTags {
        path,
        before: present.genres,
        after: wish.genres.clone(),
        patch: prepared.reverse_patch().map(ReversePatch::to_bytes),
    };
    let writes = !options.dry_run && *prepared.outcome() == WriteOutcome::Written;
    // Recorded first, so that the old tags are known whatever happens next.
    if writes {
        library.record_written(run, &record)?;
    }
    let outcome = prepared.commit();
    if writes && outcome.is_err() {
        library.forget_written(run, &record.path)?;
    }
    match outcome {
        Ok(WriteOutcome::Written) => {
            file.outcome = if options.dry_run {
                TagOutcome::WouldWrite
            } else {
                TagOutcome::Written
            };
            file.after = record.after;
        }
        Ok(WriteOutcome::Unchanged) => file.outcome = TagOutcome::Unchanged,
        Ok(WriteOutcome::KeptExisting(_)) => file.outcome = TagOutcome::Kept,
        Err(error) => return Ok(failed(file, &error)),
    }
    Ok(file)
}
