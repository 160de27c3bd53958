//! Writes tags into files, after recording the old ones so that they can be restored.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::EngineError;
use super::stored::open_named;
use voisin_audio::tags::{
    ReversePatch, TagEdit, TagField, WriteOptions, WriteOutcome, prepare, read_tags,
};
use voisin_base::text::with_causes;
use voisin_library::{JournalKind, Library, LibraryError, TagValues, WrittenTags, stored_path};

/// Tags to be written into a file.
pub struct TagWish {
    /// The file.
    pub path: PathBuf,
    /// Its genres; empty: unknown.
    pub genres: Vec<String>,
    /// Tags besides the genre.
    pub others: Vec<TagEdit>,
    /// The reason, for the user.
    pub reason: String,
}

/// The result of one file; the documented JSON of `classify --write-tags` is a list of these.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TagResult {
    /// The file.
    pub path: String,
    /// Its outcome.
    pub outcome: TagOutcome,
    /// Genres that it had.
    pub before: Vec<String>,
    /// Genres that it has, or would have.
    pub after: Vec<String>,
    /// The other tags that were to be written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<TagChange>,
    /// Why, in words: the answer, or the fault.
    pub reason: String,
}

/// A tag besides the genre, as it was and as it is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TagChange {
    /// Its name.
    pub tag: &'static str,
    /// Its old value.
    pub before: Option<String>,
    /// Its new value, or in a dry run the value it would have.
    pub after: Option<String>,
}

impl TagChange {
    /// Changes between two states, except the genre.
    pub fn between(before: &TagValues, after: &TagValues) -> Vec<Self> {
        let first =
            |values: &TagValues, field: TagField| values.get(field.name())?.first().cloned();
        let others = TagField::ALL
            .into_iter()
            .filter(|&field| field != TagField::Genre);
        others
            .filter(|field| before.contains_key(field.name()) || after.contains_key(field.name()))
            .map(|field| Self {
                tag: field.name(),
                before: first(before, field),
                after: first(after, field),
            })
            .collect()
    }
}

/// The outcome of writing a file's tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TagOutcome {
    /// Its tags were written.
    Written,
    /// They would have been written without a dry run.
    WouldWrite,
    /// It has them already.
    Unchanged,
    /// It has tags of its own that are not to be replaced.
    Kept,
    /// Its genre is unknown.
    Unknown,
    /// It could not be written.
    Failed,
}

/// Writes tags into files and records the old ones; returns the number of the run.
///
/// - `run`: continues this run if it is the last one
/// - `each`: called with each result; returns whether to continue
pub fn write_tags<E: From<LibraryError>>(
    library: &mut Library,
    wishes: &[TagWish],
    options: WriteOptions,
    run: Option<i64>,
    mut each: impl FnMut(TagResult) -> Result<bool, E>,
) -> Result<i64, E> {
    // Removes copies that a killed run left beside files.
    if !options.dry_run {
        library.files().remove_leftovers();
    }
    let last = library
        .tags()
        .tag_runs()?
        .first()
        .map_or(0, |last| last.run);
    let run = run
        .filter(|&run| run == last && run > 0)
        .unwrap_or(last + 1);
    let journal = if options.dry_run {
        None
    } else {
        library.files().journal(JournalKind::Writing)
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
        tags: Vec::new(),
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
    let genre = TagEdit {
        field: TagField::Genre,
        values: wish.genres.clone(),
    };
    let genre = Some(genre).filter(|genre| !genre.values.is_empty());
    let edits: Vec<TagEdit> = genre
        .into_iter()
        .chain(wish.others.iter().cloned())
        .collect();
    if edits.is_empty() {
        return Ok(file);
    }
    let mut before = TagValues::new();
    let mut after = TagValues::new();
    let mut writes = false;
    for edit in &edits {
        let there = edit.field.values(&wish.path, &present);
        let kept = !there.is_empty() && !options.overwrite;
        let is_new = !kept && !edit.field.is_same(&there, &edit.values);
        writes |= is_new;
        let values = if is_new {
            edit.values.clone()
        } else {
            there.clone()
        };
        // The genre has its own fields in the result.
        if is_new || edit.field != TagField::Genre {
            before.insert(edit.field.name().to_owned(), there);
            after.insert(edit.field.name().to_owned(), values);
        }
    }
    file.tags = TagChange::between(&before, &after);
    writes &= !options.dry_run;
    // Unchanged values need not be restored.
    before.retain(|name, values| after.get(name) != Some(values));
    after.retain(|name, _| before.contains_key(name));
    let path = stored_path(&wish.path);
    // Everything that can fail is done on a copy, which `commit` below moves into place.
    let prepared = match prepare(&wish.path, &edits, options, note) {
        Ok(prepared) => prepared,
        Err(error) => {
            file.tags.clear();
            return Ok(failed(file, &error));
        }
    };
    let patch = prepared.reverse_patch();
    let record = WrittenTags {
        path,
        before,
        after,
        patch: patch.map(ReversePatch::to_bytes),
    };
    let earlier = library.tags().written_into(run, &record.path)?;
    writes &= prepared.outcomes().contains(&WriteOutcome::Written);
    // Recorded first, so that the old tags are known whatever happens next.
    if writes {
        library
            .tags_mut()
            .record_written(run, &together(earlier.as_ref(), &record, patch))?;
    }
    let outcomes = prepared.commit();
    // If nothing was written, the record is removed again.
    if writes && outcomes.is_err() {
        match &earlier {
            Some(earlier) => library.tags_mut().record_written(run, earlier)?,
            None => library.tags_mut().forget_written(run, &record.path)?,
        }
    }
    let is_written = |outcomes: &[WriteOutcome]| outcomes.contains(&WriteOutcome::Written);
    match outcomes {
        Ok(outcomes) if is_written(&outcomes) => {
            file.outcome = if options.dry_run {
                TagOutcome::WouldWrite
            } else {
                TagOutcome::Written
            };
            if let Some(genres) = record.after.get(TagField::Genre.name()) {
                file.after.clone_from(genres);
            }
        }
        Ok(outcomes)
            if outcomes
                .iter()
                .all(|outcome| *outcome == WriteOutcome::Unchanged) =>
        {
            file.outcome = TagOutcome::Unchanged;
        }
        Ok(_) => file.outcome = TagOutcome::Kept,
        Err(error) => {
            file.tags.clear();
            return Ok(failed(file, &error));
        }
    }
    Ok(file)
}

/// Joins a run's change with an earlier one of the same file: the state before both, and the patch that reverts both.
fn together(
    earlier: Option<&WrittenTags>,
    record: &WrittenTags,
    patch: Option<&ReversePatch>,
) -> WrittenTags {
    let Some(earlier) = earlier else {
        return record.clone();
    };
    let mut both = record.clone();
    // Undoing restores the state before the first change; for tags that only the second wrote, the
    // state before it.
    both.before.extend(earlier.before.clone());
    for (name, values) in &earlier.after {
        both.after
            .entry(name.clone())
            .or_insert_with(|| values.clone());
    }
    let first = earlier.patch.as_deref().and_then(ReversePatch::from_bytes);
    // Without a patch for both, undoing restores the values instead of the bytes.
    both.patch = first
        .zip(patch)
        .and_then(|(first, later)| Some(first.followed_by(later)?.to_bytes()));
    both
}
