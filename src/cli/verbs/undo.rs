//! `voisin undo`.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::audio::tags::{WriteOptions, WriteOutcome, read_tags, write_genres_noting};
use crate::base::text::with_causes;
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, UndoArgs};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use crate::library::{JournalKind, Library, OpenMode, WrittenTags};

/// The documented JSON of `undo`: a list of these.
#[derive(Serialize)]
struct UndoneJson {
    path: String,
    outcome: UndoOutcome,
    before: Vec<String>,
    after: Vec<String>,
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
    let mut library = Library::open(&context.library_dir(), OpenMode::ReadWrite)?;
    let runs = library.tag_runs()?;
    if args.list {
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
            None => "nothing to take back: no genres were written into files (\"voisin labels undo\" is for labels)"
                .to_owned(),
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
        let one = restore(&written, options, &mut note);
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

/// Gives a file the genres that it had, if it has those that were written.
fn restore(written: &WrittenTags, options: WriteOptions, note: &mut dyn FnMut(&Path)) -> UndoneJson {
    let end = |outcome: UndoOutcome, reason: Option<String>| UndoneJson {
        path: lossy(&written.path),
        outcome,
        before: written.before.clone(),
        after: written.after.clone(),
        reason,
    };
    let now = match read_tags(&written.path) {
        Ok(tags) => tags.genres,
        Err(error) => return end(UndoOutcome::Failed, Some(with_causes(&error))),
    };
    if now == written.before {
        return end(UndoOutcome::AsItWas, None);
    }
    if now != written.after {
        let (found, expected) = (now.join("; "), written.after.join("; "));
        let reason = format!(
            "{}: its genre was changed since: expected \"{expected}\", found \"{found}\"",
            written.path.display()
        );
        return end(UndoOutcome::ChangedSince, Some(reason));
    }
    match write_genres_noting(&written.path, &written.before, options, note) {
        Ok(WriteOutcome::Written) if options.dry_run => end(UndoOutcome::WouldRestore, None),
        Ok(WriteOutcome::Written) => end(UndoOutcome::Restored, None),
        Ok(WriteOutcome::Unchanged | WriteOutcome::KeptExisting(_)) => end(UndoOutcome::AsItWas, None),
        Err(error) => end(UndoOutcome::Failed, Some(with_causes(&error))),
    }
}

/// A change as a diff, a refusal as a message.
fn show(one: &UndoneJson) -> anyhow::Result<()> {
    let line = |text: String| render::print_line(&render::one_line(&text));
    if let Some(reason) = &one.reason {
        render::print_error(&anyhow::anyhow!("{reason}"));
        return Ok(());
    }
    if one.outcome != UndoOutcome::AsItWas {
        line(one.path.clone())?;
        line(format!("- genre: {}", one.after.join("; ")))?;
        if !one.before.is_empty() {
            line(format!("+ genre: {}", one.before.join("; ")))?;
        }
    }
    Ok(())
}
