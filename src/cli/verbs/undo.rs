//! `voisin tag --undo`.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::tag::{ADD_AGAIN, INTERRUPTED, diff};
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, TagArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use voisin::{EngineError, open_named};
use voisin_audio::tags::{
    ReversePatch, WriteOptions, WriteOutcome, is_as_before, prepare, read_tags, restore,
};
use voisin_base::text::with_causes;
use voisin_library::{JournalKind, Library, OpenMode, WrittenTags};

/// The documented JSON of `tag --undo`: a list of these.
#[derive(Serialize)]
struct UndoneJson {
    path: String,
    outcome: UndoOutcome,
    before: Vec<String>,
    after: Vec<String>,
    /// Why it was not restored, or only its tags were.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UndoOutcome {
    Restored,
    WouldRestore,
    /// It has its old tags; other bytes may differ.
    TagsRestored,
    WouldRestoreTags,
    /// It had its old bytes, or tags, already.
    AsItWas,
    /// It was changed by something else since, and stays.
    ChangedSince,
    Failed,
}

pub(crate) fn run(context: &Context, args: &TagArgs) -> anyhow::Result<Ending> {
    let mut library = Library::open(&context.library_dir(), OpenMode::ReadWrite)?;
    let is_json = args.format == ReportFormat::Json;
    let runs = library.tag_runs()?;
    let Some(run) = runs.first().map(|one| one.run) else {
        let console = context.console;
        console.note("nothing to undo: nothing was written into files");
        if is_json {
            render::print_json(&[(); 0])?;
        }
        return Ok(Ending::Partial);
    };
    // By the journal the next run finds and removes copies that a killed run leaves beside files.
    let (_lock, journal) = if args.dry_run {
        (None, None)
    } else {
        let lock = library.lock_for_writing()?;
        (Some(lock), library.journal(JournalKind::Writing))
    };
    let stop = context.stop_on_ctrl_c()?;
    let mut note = |copy: &Path| {
        if let Some(journal) = &journal {
            journal.note(0, Some(copy));
        }
    };
    let options = WriteOptions {
        overwrite: true,
        keep_mtime: args.keep_times,
        dry_run: args.dry_run,
    };
    let all = library.written_tags(run)?;
    let mut done = Vec::new();
    for written in &all {
        if stop.load(Ordering::Relaxed) {
            context.console.warn(INTERRUPTED);
            break;
        }
        let one = undo_write(&library, written, options, &mut note);
        let is_done = matches!(
            one.outcome,
            UndoOutcome::Restored | UndoOutcome::TagsRestored | UndoOutcome::AsItWas
        );
        // File by file, so that the same command resumes after a stop.
        if is_done && !args.dry_run {
            library.forget_written(run, &written.path)?;
        }
        if !is_json {
            show(context, &one)?;
        }
        done.push(one);
    }
    if is_json {
        render::print_json(&done)?;
    }
    let left = report(context, &done, args.dry_run);
    Ok(if done.len() < all.len() {
        Ending::Interrupted
    } else {
        Ending::partial_if(left > 0)
    })
}

/// Reports how many files are as before; returns the number of those left alone.
fn report(context: &Context, done: &[UndoneJson], dry_run: bool) -> usize {
    use UndoOutcome::{
        AsItWas, ChangedSince, Failed, Restored, TagsRestored, WouldRestore, WouldRestoreTags,
    };
    let number = |outcomes: &[UndoOutcome]| {
        let is_one = |one: &&UndoneJson| outcomes.contains(&one.outcome);
        done.iter().filter(is_one).count()
    };
    let left = number(&[ChangedSince, Failed]);
    let whole = count(number(&[Restored, WouldRestore]) as u64, "file");
    let tags = number(&[TagsRestored, WouldRestoreTags, AsItWas]);
    let would = if dry_run { " would be" } else { "" };
    let mut parts = vec![format!("{whole}{would} as before")];
    if tags > 0 {
        parts.push(format!(
            "{tags}{would} with tags as before, other bytes may differ"
        ));
    }
    if left > 0 {
        parts.push(format!("{left} left alone"));
    }
    context.console.note(&parts.join(", "));
    if number(&[Restored, TagsRestored]) > 0 {
        context.console.note(ADD_AGAIN);
    }
    left
}

fn undo_write(
    library: &Library,
    written: &WrittenTags,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> UndoneJson {
    let undone = restored(library, written, options, note);
    let (outcome, reason) =
        undone.unwrap_or_else(|error| (UndoOutcome::Failed, Some(with_causes(&error))));
    UndoneJson {
        path: lossy(&written.path),
        outcome,
        before: written.before.clone(),
        after: written.after.clone(),
        reason,
    }
}

/// Restores the bytes of a file that did not change since the write; else its genres, if the written ones did not change.
fn restored(
    library: &Library,
    written: &WrittenTags,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> Result<(UndoOutcome, Option<String>), EngineError> {
    let path = &written.path;
    // Held open until the file is done, so that it stays the one that was checked.
    let _held = open_named(library, path)?;
    let patch = written.patch.as_deref().and_then(ReversePatch::from_bytes);
    if let Some(patch) = &patch
        // The user may have restored the old file.
        && (restore(path, patch, options, note)? || is_as_before(path, patch)?)
    {
        let outcome = if options.dry_run {
            UndoOutcome::WouldRestore
        } else {
            UndoOutcome::Restored
        };
        return Ok((outcome, None));
    }
    let now = read_tags(path)?;
    if now.genres != written.before && now.genres != written.after {
        let reason = format!(
            "{}: its genre was changed since: expected \"{}\", found \"{}\"",
            path.display(),
            written.after.join("; "),
            now.genres.join("; ")
        );
        return Ok((UndoOutcome::ChangedSince, Some(reason)));
    }
    let why = if patch.is_some() {
        "other bytes of it were changed since"
    } else {
        "its former bytes were not stored"
    };
    let reason = format!("{}: {why}: only its tags are restored", path.display());
    let prepared = prepare(path, &written.before, options, note)?;
    Ok(match prepared.commit()? {
        WriteOutcome::Written if options.dry_run => (UndoOutcome::WouldRestoreTags, Some(reason)),
        WriteOutcome::Written => (UndoOutcome::TagsRestored, Some(reason)),
        _ => (UndoOutcome::AsItWas, None),
    })
}

/// Prints a change as a diff, a refusal as a message.
fn show(context: &Context, one: &UndoneJson) -> anyhow::Result<()> {
    match (one.outcome, &one.reason) {
        (UndoOutcome::Failed | UndoOutcome::ChangedSince, Some(reason)) => {
            render::print_error(&anyhow::anyhow!("{reason}"));
            return Ok(());
        }
        (UndoOutcome::AsItWas, _) => return Ok(()),
        (_, Some(reason)) => context.console.warn(reason),
        (_, None) => {}
    }
    diff(&one.path, &one.after, &one.before)
}
