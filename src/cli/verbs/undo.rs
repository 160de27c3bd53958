//! `voisin undo`.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::write_tags::diff;
use crate::audio::tags::{TagEdit, TagField, WriteOptions, WriteOutcome, read_tags, write_noting};
use crate::base::text::with_causes;
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, UndoArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use crate::engine::{TagChange, open_named};
use crate::library::{JournalKind, Library, OpenMode, TagValues, WrittenTags};

/// The documented JSON of `undo`: a list of these.
#[derive(Serialize)]
struct UndoneJson {
    path: String,
    outcome: UndoOutcome,
    /// Genres.
    before: Vec<String>,
    after: Vec<String>,
    /// Other tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<TagChange>,
    /// Why it is not restored, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UndoOutcome {
    Restored,
    WouldRestore,
    AsItWas,
    ChangedSince,
    Failed,
}

/// The documented JSON of `undo --list`: a list of these.
#[derive(Serialize)]
struct RunJson {
    run: i64,
    /// Seconds since 1970 UTC.
    at: i64,
    files: u64,
}

pub(crate) fn run(context: &Context, args: &UndoArgs) -> anyhow::Result<Ending> {
    const NOTHING: &str =
        "nothing to take back: nothing was written into files (\"voisin labels undo\" is for labels)";
    let mut library = Library::open(&context.library_dir(), OpenMode::ReadWrite)?;
    let runs = library.tag_runs()?;
    if args.list {
        if runs.is_empty() {
            context.console.note(NOTHING);
        }
        return list(
            &runs
                .iter()
                .map(|one| RunJson { run: one.run, at: one.at, files: one.files })
                .collect::<Vec<_>>(),
            args.format,
        );
    }
    let wanted = args.run.or_else(|| runs.first().map(|one| one.run));
    let Some(run) = wanted.filter(|wanted| runs.iter().any(|one| one.run == *wanted)) else {
        let text = match args.run {
            Some(run) => format!("no run {run} to take back: \"voisin undo --list\" lists those there are"),
            None => NOTHING.to_owned(),
        };
        context.console.note(&text);
        if args.format == ReportFormat::Json {
            render::print_json(&[(); 0])?;
        }
        return Ok(Ending::Partial);
    };
    let _lock = if args.dry_run { None } else { Some(library.lock_for_writing()?) };
    let stop = context.stop_on_ctrl_c()?;
    let journal = if args.dry_run { None } else { library.journal(JournalKind::Writing) };
    let mut note = |copy: &Path| {
        if let Some(journal) = &journal {
            journal.note(0, Some(copy));
        }
    };
    let options = WriteOptions { overwrite: true, keep_mtime: args.keep_times, dry_run: args.dry_run };
    let mut done = Vec::new();
    for written in library.written_tags(run)? {
        if stop.load(Ordering::Relaxed) {
            context.console.warn("interrupted: the files named so far are done, the others are as they were");
            break;
        }
        let one = restore(&library, &written, options, &mut note);
        if matches!(one.outcome, UndoOutcome::Restored | UndoOutcome::AsItWas) && !args.dry_run {
            library.forget_written(run, &written.path)?;
        }
        if args.format == ReportFormat::Table {
            show(&one)?;
        }
        done.push(one);
    }
    if args.format == ReportFormat::Json {
        render::print_json(&done)?;
    }
    let of = |outcome: UndoOutcome| done.iter().filter(|one| one.outcome == outcome).count() as u64;
    let left = of(UndoOutcome::ChangedSince) + of(UndoOutcome::Failed);
    let mut parts = vec![if args.dry_run {
        format!("{} would be as before", count(of(UndoOutcome::WouldRestore), "file"))
    } else {
        format!("{} as before", count(of(UndoOutcome::Restored) + of(UndoOutcome::AsItWas), "file"))
    }];
    if left > 0 {
        parts.push(format!("{left} left alone"));
    }
    context.console.note(&format!("run {run}: {}", parts.join(", ")));
    if of(UndoOutcome::Restored) > 0 {
        context.console.note("run \"voisin add\" on their folders, and the library knows the tags of before");
    }
    Ok(if left > 0 { Ending::Partial } else { Ending::Fine })
}

fn list(runs: &[RunJson], format: ReportFormat) -> anyhow::Result<Ending> {
    match format {
        ReportFormat::Json => render::print_json(&runs)?,
        ReportFormat::Table => {
            for one in runs {
                let at = render::age(u64::try_from(one.at).unwrap_or(0));
                render::print_line(&format!("{}: {} written {at}", one.run, count(one.files, "file")))?;
            }
        }
    }
    Ok(if runs.is_empty() { Ending::Partial } else { Ending::Fine })
}

/// Gives a file the tags that it had, if it has those that were written.
fn restore(
    library: &Library,
    written: &WrittenTags,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> UndoneJson {
    let genres = |values: &TagValues| values.get(TagField::Genre.name()).cloned().unwrap_or_default();
    let end = |outcome: UndoOutcome, reason: Option<String>| UndoneJson {
        path: lossy(&written.path),
        outcome,
        before: genres(&written.before),
        after: genres(&written.after),
        tags: TagChange::between(&written.before, &written.after),
        reason,
    };
    let _held = match open_named(library, &written.path) {
        Ok(held) => held,
        Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
    };
    let now = match read_tags(&written.path) {
        Ok(tags) => tags,
        Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
    };
    let mut edits = Vec::new();
    for (name, before) in &written.before {
        let Ok(field) = name.parse::<TagField>() else {
            let reason =
                format!("{}: a tag {name:?} that this version does not write", written.path.display());
            return end(UndoOutcome::Failed, Some(reason));
        };
        let (now, after) = (field.values(&now), written.after.get(name).map_or(&[][..], Vec::as_slice));
        if field.is_same(&now, before) {
            continue;
        }
        if !field.is_same(&now, after) {
            let reason = format!(
                "{}: its {name} was changed since: expected \"{}\", found \"{}\"",
                written.path.display(),
                after.join("; "),
                now.join("; ")
            );
            return end(UndoOutcome::ChangedSince, Some(reason));
        }
        edits.push(TagEdit { field, values: before.clone() });
    }
    match write_noting(&written.path, &edits, options, note) {
        Ok(outcomes) if !outcomes.contains(&WriteOutcome::Written) => end(UndoOutcome::AsItWas, None),
        Ok(_) if options.dry_run => end(UndoOutcome::WouldRestore, None),
        Ok(_) => end(UndoOutcome::Restored, None),
        Err(error) => end(UndoOutcome::Failed, Some(with_causes(&error))),
    }
}

/// A change as a diff, a refusal as a message.
fn show(one: &UndoneJson) -> anyhow::Result<()> {
    if let Some(reason) = &one.reason {
        render::print_error(&anyhow::anyhow!("{reason}"));
        return Ok(());
    }
    if one.outcome == UndoOutcome::AsItWas {
        return Ok(());
    }
    diff(&one.path, (&one.after, &one.before), one.tags.iter().map(|tag| (tag.tag, &tag.after, &tag.before)))
}
