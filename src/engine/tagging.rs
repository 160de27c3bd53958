//! Genres into files, remembered first, so that they can be taken back.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::audio::AudioError;
use crate::audio::tags::{WriteOptions, WriteOutcome, read_tags, write_genres_noting};
use crate::base::text::with_causes;
use crate::library::{JournalKind, Library, LibraryError, WrittenTags, stored_path};

/// What a file is to be labelled with.
pub(crate) struct TagWish {
    pub(crate) path: PathBuf,
    /// None: unknown.
    pub(crate) genres: Vec<String>,
    pub(crate) reason: String,
}

/// What became of one file; the documented JSON of `classify --write-tags` is a list of these.
#[derive(Debug, Serialize)]
pub(crate) struct TaggedFile {
    pub(crate) path: String,
    pub(crate) outcome: TagOutcome,
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
    /// Why, in words: the answer, or the fault.
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TagOutcome {
    Written,
    WouldWrite,
    Unchanged,
    Kept,
    Unknown,
    Failed,
}

/// Writes into files what they are to be labelled with, and remembers what was there; returns the number of the run.
///
/// - `run`: goes on with this run if it is the last one
/// - `each`: is told each file, and whether to go on
pub(crate) fn write_tags<E: From<LibraryError>>(
    library: &mut Library,
    wishes: &[TagWish],
    options: WriteOptions,
    run: Option<i64>,
    mut each: impl FnMut(TaggedFile) -> Result<bool, E>,
) -> Result<i64, E> {
    if !options.dry_run {
        library.remove_leftovers();
    }
    let last = library.tag_runs()?.first().map_or(0, |last| last.run);
    let run = run.filter(|&run| run == last && run > 0).unwrap_or(last + 1);
    let journal = if options.dry_run { None } else { library.journal(JournalKind::Writing) };
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

fn one(
    library: &mut Library,
    run: i64,
    wish: &TagWish,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<TaggedFile, LibraryError> {
    let mut file = TaggedFile {
        path: wish.path.to_string_lossy().into_owned(),
        outcome: TagOutcome::Unknown,
        before: Vec::new(),
        after: Vec::new(),
        reason: wish.reason.clone(),
    };
    let failed = |mut file: TaggedFile, error: AudioError| {
        file.outcome = TagOutcome::Failed;
        file.after.clone_from(&file.before);
        file.reason = with_causes(&error);
        file
    };
    match read_tags(&wish.path) {
        Ok(tags) => file.before = tags.genres,
        Err(error) => return Ok(failed(file, error)),
    }
    file.after.clone_from(&file.before);
    if wish.genres.is_empty() {
        return Ok(file);
    }
    let writes =
        !options.dry_run && file.before != wish.genres && (file.before.is_empty() || options.overwrite);
    let record = WrittenTags {
        path: stored_path(&wish.path),
        before: file.before.clone(),
        after: wish.genres.clone(),
    };
    // Noted first: whatever happens then, what was there before is known.
    if writes {
        library.record_written(run, &record)?;
    }
    let outcome = write_genres_noting(&wish.path, &wish.genres, options, note);
    if writes && !matches!(outcome, Ok(WriteOutcome::Written)) {
        library.forget_written(run, &record.path)?;
    }
    match outcome {
        Ok(WriteOutcome::Written) => {
            file.outcome = if options.dry_run { TagOutcome::WouldWrite } else { TagOutcome::Written };
            file.after.clone_from(&wish.genres);
        }
        Ok(WriteOutcome::Unchanged) => file.outcome = TagOutcome::Unchanged,
        Ok(WriteOutcome::KeptExisting(_)) => file.outcome = TagOutcome::Kept,
        Err(error) => return Ok(failed(file, error)),
    }
    Ok(file)
}
