//! `voisin tag --undo`.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::write_tags::diff;
use crate::cli::Ending;
use crate::cli::args::{ListFormat, TagArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use voisin::open_named;
use voisin_audio::AudioError;
use voisin_audio::tags::{
    PreparedWrite, ReversePatch, WriteOptions, WriteOutcome, is_as_before, prepare, read_tags,
    restore,
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
    /// The file has its old bytes.
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
    let runs = library.tag_runs()?;
    let Some(run) = runs.first().map(|one| one.run) else {
        context
            .console
            .note("nothing to undo: nothing was written into files");
        // An empty list.
        if args.output.format == ListFormat::Json {
            render::print_json(&[(); 0])?;
        }
        return Ok(Ending::Partial);
    };
    let _lock = if args.dry_run {
        None
    } else {
        Some(library.lock_for_writing()?)
    };
    let stop = context.stop_on_ctrl_c()?;
    // By the journal the next run finds and removes copies that a killed run leaves beside files.
    let journal = if args.dry_run {
        None
    } else {
        library.journal(JournalKind::Writing)
    };
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
    let mut done = Vec::new();
    let mut is_interrupted = false;
    for written in library.written_tags(run)? {
        if stop.load(Ordering::Relaxed) {
            context
                .console
                .warn("interrupted: the files listed so far are done, the others are unchanged");
            is_interrupted = true;
            break;
        }
        let one = undo_write(&library, &written, options, &mut note);
        let is_done = matches!(
            one.outcome,
            UndoOutcome::Restored | UndoOutcome::TagsRestored | UndoOutcome::AsItWas
        );
        // File by file, so that the same command resumes after a stop.
        if is_done && !args.dry_run {
            library.forget_written(run, &written.path)?;
        }
        if args.output.format == ListFormat::Table {
            show(context, &one)?;
        }
        done.push(one);
    }
    if args.output.format == ListFormat::Json {
        render::print_json(&done)?;
    }
    let left = report(context, &done, args.dry_run);
    Ok(if is_interrupted {
        Ending::Interrupted
    } else if left > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// Reports how many files are as before; returns the number of those left alone.
fn report(context: &Context, done: &[UndoneJson], dry_run: bool) -> u64 {
    let number = |outcomes: &[UndoOutcome]| {
        done.iter()
            .filter(|one| outcomes.contains(&one.outcome))
            .count() as u64
    };
    let left = number(&[UndoOutcome::ChangedSince, UndoOutcome::Failed]);
    let whole = number(&[UndoOutcome::Restored, UndoOutcome::WouldRestore]);
    let tags = number(&[
        UndoOutcome::TagsRestored,
        UndoOutcome::WouldRestoreTags,
        UndoOutcome::AsItWas,
    ]);
    let would = if dry_run { " would be" } else { "" };
    let mut parts = vec![format!("{}{would} as before", count(whole, "file"))];
    if tags > 0 {
        parts.push(format!(
            "{tags}{would} with tags as before, other bytes may differ"
        ));
    }
    if left > 0 {
        parts.push(format!("{left} left alone"));
    }
    context.console.note(&parts.join(", "));
    if number(&[UndoOutcome::Restored, UndoOutcome::TagsRestored]) > 0 {
        context
            .console
            .note("run \"voisin add\" on their folders to update the library's tags");
    }
    left
}

/// Restores the bytes of a file that did not change since the write; else its genres, if the written ones did not change.
fn undo_write(
    library: &Library,
    written: &WrittenTags,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> UndoneJson {
    let end = |outcome: UndoOutcome, reason: Option<String>| UndoneJson {
        path: lossy(&written.path),
        outcome,
        before: written.before.clone(),
        after: written.after.clone(),
        reason,
    };
    // Held open until the file is done, so that it stays the one that was checked.
    let _held = match open_named(library, &written.path) {
        Ok(held) => held,
        Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
    };
    let patch = written.patch.as_deref().and_then(ReversePatch::from_bytes);
    let why = match &patch {
        // First all bytes; if others were changed since, only the tags.
        Some(patch) => {
            let whole = restore(&written.path, patch, options, note).and_then(|is_restored| {
                // The user may have restored the old file.
                let is_there = !is_restored && is_as_before(&written.path, patch)?;
                Ok::<_, AudioError>((is_restored, is_there))
            });
            match whole {
                Ok((true, _) | (_, true)) => {
                    return if options.dry_run {
                        end(UndoOutcome::WouldRestore, None)
                    } else {
                        end(UndoOutcome::Restored, None)
                    };
                }
                Ok(_) => "other bytes of it were changed since",
                Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
            }
        }
        None => "its former bytes were not stored",
    };
    let tags_alone = Some(format!(
        "{}: {why}: only its tags are restored",
        written.path.display()
    ));
    let now = match read_tags(&written.path) {
        Ok(tags) => tags,
        Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
    };
    if now.genres != written.before && now.genres != written.after {
        let reason = format!(
            "{}: its genre was changed since: expected \"{}\", found \"{}\"",
            written.path.display(),
            written.after.join("; "),
            now.genres.join("; ")
        );
        return end(UndoOutcome::ChangedSince, Some(reason));
    }
    let outcome = prepare(&written.path, &written.before, options, note);
    match outcome.and_then(PreparedWrite::commit) {
        Ok(WriteOutcome::Written) if options.dry_run => {
            end(UndoOutcome::WouldRestoreTags, tags_alone)
        }
        Ok(WriteOutcome::Written) => end(UndoOutcome::TagsRestored, tags_alone),
        Ok(_) => end(UndoOutcome::AsItWas, None),
        Err(error) => end(UndoOutcome::Failed, Some(with_causes(&error))),
    }
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
