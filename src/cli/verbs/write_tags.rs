//! `voisin classify --write-tags`: answers into the files themselves.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::audio::AudioError;
use crate::audio::tags::{WriteOptions, WriteOutcome, read_tags, write_genres_noting};
use crate::base::text::with_causes;
use crate::cli::args::{ClassifyArgs, TableFormat};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use crate::engine::{Engine, GenreAnswer};
use crate::library::{JournalKind, OpenMode};

/// What became of one file; the documented JSON of `classify --write-tags` is a list of these.
#[derive(Serialize)]
struct FileJson {
    path: String,
    outcome: Outcome,
    before: Vec<String>,
    after: Vec<String>,
    /// Why, in words: the answer, or the fault.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Written,
    WouldWrite,
    Unchanged,
    Kept,
    Unknown,
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::WouldWrite => "would_write",
            Self::Unchanged => "unchanged",
            Self::Kept => "kept",
            Self::Unknown => "unknown",
            Self::Failed => "failed",
        }
    }
}

/// Writes each answer into the file that was named, or into every file of the track that was; returns how many failed.
pub(crate) fn run(
    context: &Context,
    engine: &Engine,
    answers: &[GenreAnswer],
    args: &ClassifyArgs,
) -> anyhow::Result<u64> {
    let stop = context.stop_on_ctrl_c()?;
    let options = WriteOptions {
        overwrite: args.write.overwrite,
        keep_mtime: args.write.keep_times,
        dry_run: args.write.dry_run,
    };
    let library = engine.library();
    if !options.dry_run && library.mode() != OpenMode::ReadOnly {
        library.remove_leftovers();
    }
    let journal = if options.dry_run { None } else { library.journal(JournalKind::Writing) };
    let mut note = |copy: &Path| {
        if let Some(journal) = &journal {
            journal.note(0, Some(copy));
        }
    };
    let mut done: Vec<FileJson> = Vec::new();
    'answers: for answer in answers {
        for path in files(engine, answer)? {
            if stop.load(Ordering::Relaxed) {
                context
                    .console
                    .warn("interrupted: the files named so far are done, the others are as they were");
                break 'answers;
            }
            let file = one(&path, answer, options, &mut note);
            if args.format == TableFormat::Table {
                show(&file)?;
            }
            done.push(file);
        }
    }
    match args.format {
        TableFormat::Table => {}
        TableFormat::Json => render::print_json(&done)?,
        TableFormat::Csv => render::print_csv(
            ["path", "outcome", "before", "after", "reason"],
            done.iter().map(|file| {
                [
                    file.path.clone(),
                    file.outcome.name().to_owned(),
                    file.before.join("; "),
                    file.after.join("; "),
                    file.reason.clone(),
                ]
            }),
        )?,
    }
    let of = |outcome: Outcome| done.iter().filter(|file| file.outcome == outcome).count() as u64;
    let (verb, written) = if options.dry_run {
        ("would be written", of(Outcome::WouldWrite))
    } else {
        ("written", of(Outcome::Written))
    };
    let mut parts = vec![format!("{} {verb}", count(written, "file"))];
    for (outcome, text) in [
        (Outcome::Kept, "kept the genre they have (--overwrite replaces it)"),
        (Outcome::Unchanged, "had this genre already"),
        (Outcome::Unknown, "left alone, their genre being unknown (a lower --precision writes more)"),
        (Outcome::Failed, "failed"),
    ] {
        if of(outcome) > 0 {
            parts.push(format!("{} {text}", of(outcome)));
        }
    }
    context.console.note(&parts.join(", "));
    if of(Outcome::Written) > 0 {
        context.console.note("run \"voisin add\" on their folders, and the library knows the new tags");
    }
    Ok(of(Outcome::Failed))
}

/// The file that was named, and no other; where a track was named by number or words (or `--all`), all its files.
fn files(engine: &Engine, answer: &GenreAnswer) -> anyhow::Result<Vec<PathBuf>> {
    match answer.track {
        Some(track) if !answer.is_named_file => {
            Ok(engine.library().track(track)?.files.into_iter().map(|file| file.record.path).collect())
        }
        _ => Ok(vec![answer.path.clone()]),
    }
}

fn one(path: &Path, answer: &GenreAnswer, options: WriteOptions, note: &mut dyn FnMut(&Path)) -> FileJson {
    let mut file = FileJson {
        path: lossy(path),
        outcome: Outcome::Unknown,
        before: Vec::new(),
        after: Vec::new(),
        reason: answer.summary(),
    };
    let failed = |mut file: FileJson, error: AudioError| {
        file.outcome = Outcome::Failed;
        file.after.clone_from(&file.before);
        file.reason = with_causes(&error);
        file
    };
    match read_tags(path) {
        Ok(tags) => file.before = tags.genres,
        Err(error) => return failed(file, error),
    }
    file.after.clone_from(&file.before);
    let Some(genre) = answer.genre() else { return file };
    let genres = [genre.name().to_owned()];
    match write_genres_noting(path, &genres, options, note) {
        Ok(WriteOutcome::Written) => {
            file.outcome = if options.dry_run { Outcome::WouldWrite } else { Outcome::Written };
            file.after = genres.to_vec();
        }
        Ok(WriteOutcome::Unchanged) => file.outcome = Outcome::Unchanged,
        Ok(WriteOutcome::KeptExisting(_)) => file.outcome = Outcome::Kept,
        Err(error) => return failed(file, error),
    }
    file
}

/// A change as a diff; nothing for a file that stays as it is.
fn show(file: &FileJson) -> anyhow::Result<()> {
    let line = |text: String| render::print_line(&render::terminal_safe(&text).replace('\n', " "));
    match file.outcome {
        Outcome::Written | Outcome::WouldWrite => {
            line(file.path.clone())?;
            if !file.before.is_empty() {
                line(format!("- genre: {}", file.before.join("; ")))?;
            }
            line(format!("+ genre: {}", file.after.join("; ")))?;
            line(format!("  {}", file.reason))
        }
        Outcome::Failed => {
            render::print_error(&anyhow::anyhow!("{}", file.reason));
            Ok(())
        }
        Outcome::Unchanged | Outcome::Kept | Outcome::Unknown => Ok(()),
    }
}
