//! `voisin classify --write-tags`: answers into the files themselves.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use serde::Serialize;

use crate::audio::AudioError;
use crate::audio::tags::{WriteOptions, WriteOutcome, read_tags, write_genres_noting};
use crate::base::text::with_causes;
use crate::cli::args::{ClassifyArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::render::track::{lossy, print_files};
use crate::cli::render::{self, count};
use crate::engine::{Engine, GenreAnswer};
use crate::explore::TrackMeta;
use crate::library::{JournalKind, Library, OpenMode, WrittenTags, stored_path};
use crate::track::TrackId;

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

/// What a file is to be labelled with.
pub(crate) struct Wish {
    path: PathBuf,
    /// None: unknown.
    genres: Vec<String>,
    reason: String,
}

/// What answers say: each for the file that was named, and no other; where a track was named by number or words (or
/// `--all`), for all its files.
pub(crate) fn wishes(engine: &Engine, answers: &[GenreAnswer]) -> anyhow::Result<Vec<Wish>> {
    let mut wishes = Vec::new();
    for answer in answers {
        let paths = match answer.track {
            Some(track) if !answer.is_named_file => {
                engine.library().track(track)?.files.into_iter().map(|file| file.record.path).collect()
            }
            _ => vec![answer.path.clone()],
        };
        let genres: Vec<String> = answer.genre().map(|genre| genre.name().to_owned()).into_iter().collect();
        let wish = |path| Wish { path, genres: genres.clone(), reason: answer.summary() };
        wishes.extend(paths.into_iter().map(wish));
    }
    Ok(wishes)
}

/// What a table says: the columns path and genre, or suggested where there is no genre.
pub(crate) fn wishes_of_list(list: &Path) -> anyhow::Result<Vec<Wish>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(list)
        .with_context(|| format!("cannot read {}", list.display()))?;
    let header = reader.headers()?.clone();
    let find = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    let (Some(path), Some(genre)) = (find("path"), find("genre").or_else(|| find("suggested"))) else {
        let found = header.iter().collect::<Vec<_>>().join(",");
        anyhow::bail!(
            "{}: expected the columns path and genre (or suggested), found {found}",
            list.display()
        );
    };
    let mut wishes = Vec::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("cannot read {}", list.display()))?;
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let genres = cell(genre).split(';').map(str::trim).filter(|genre| !genre.is_empty());
        wishes.push(Wish {
            path: PathBuf::from(cell(path)),
            genres: genres.map(str::to_owned).collect(),
            reason: format!("as {} says", list.display()),
        });
    }
    Ok(wishes)
}

/// Writes into files what they are to be labelled with, and remembers what was there; returns how many failed.
pub(crate) fn run(
    context: &Context,
    library: &mut Library,
    wishes: &[Wish],
    args: &ClassifyArgs,
) -> anyhow::Result<u64> {
    let stop = context.stop_on_ctrl_c()?;
    let options = WriteOptions {
        overwrite: args.write.overwrite,
        keep_mtime: args.write.keep_times,
        dry_run: args.write.dry_run,
    };
    if !options.dry_run {
        if library.mode() == OpenMode::ReadOnly {
            anyhow::bail!(
                "the library in {} cannot be written, and it is there that the genres of before are kept for \"voisin undo\"",
                library.dir().display()
            );
        }
        library.remove_leftovers();
    }
    let run = library.tag_runs()?.first().map_or(1, |last| last.run + 1);
    let journal = if options.dry_run { None } else { library.journal(JournalKind::Writing) };
    let mut note = |copy: &Path| {
        if let Some(journal) = &journal {
            journal.note(0, Some(copy));
        }
    };
    let (mut done, mut changed): (Vec<FileJson>, Vec<PathBuf>) = Default::default();
    for wish in wishes {
        if stop.load(Ordering::Relaxed) {
            context.console.warn("interrupted: the files named so far are done, the others are as they were");
            break;
        }
        let file = one(library, run, wish, options, &mut note)?;
        if args.output.format == ListFormat::Table {
            show(&file)?;
        }
        if matches!(file.outcome, Outcome::Written | Outcome::WouldWrite) {
            changed.push(wish.path.clone());
        }
        done.push(file);
    }
    match args.output.format {
        ListFormat::Table => {}
        ListFormat::Json => render::print_json(&done)?,
        ListFormat::Csv => render::print_csv(
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
        ListFormat::M3u8
        | ListFormat::Xspf
        | ListFormat::Jspf
        | ListFormat::Rekordbox
        | ListFormat::Traktor
        | ListFormat::Paths => {
            let metas: Vec<TrackMeta> =
                changed.iter().map(|path| TrackMeta::of_file(TrackId(0), path)).collect();
            print_files(&metas.iter().collect::<Vec<_>>(), "voisin classify", &args.output)?;
        }
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
        context.console.note(&format!("\"voisin undo {run}\" takes this back"));
        context.console.note("run \"voisin add\" on their folders, and the library knows the new tags");
    }
    Ok(of(Outcome::Failed))
}

fn one(
    library: &mut Library,
    run: i64,
    wish: &Wish,
    options: WriteOptions,
    note: &mut dyn FnMut(&Path),
) -> anyhow::Result<FileJson> {
    let mut file = FileJson {
        path: lossy(&wish.path),
        outcome: Outcome::Unknown,
        before: Vec::new(),
        after: Vec::new(),
        reason: wish.reason.clone(),
    };
    let failed = |mut file: FileJson, error: AudioError| {
        file.outcome = Outcome::Failed;
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
            file.outcome = if options.dry_run { Outcome::WouldWrite } else { Outcome::Written };
            file.after.clone_from(&wish.genres);
        }
        Ok(WriteOutcome::Unchanged) => file.outcome = Outcome::Unchanged,
        Ok(WriteOutcome::KeptExisting(_)) => file.outcome = Outcome::Kept,
        Err(error) => return Ok(failed(file, error)),
    }
    Ok(file)
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
