//! `voisin classify --write-tags`: answers into the files themselves.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use crate::audio::tags::WriteOptions;
use crate::cli::args::{ClassifyArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::render::track::print_files;
use crate::cli::render::{self, count};
use crate::engine::{Engine, GenreAnswer, TagOutcome as Outcome, TagWish, TaggedFile, write_tags};
use crate::explore::TrackMeta;
use crate::library::{Library, OpenMode};
use crate::track::TrackId;

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Written => "written",
        Outcome::WouldWrite => "would_write",
        Outcome::Unchanged => "unchanged",
        Outcome::Kept => "kept",
        Outcome::Unknown => "unknown",
        Outcome::Failed => "failed",
    }
}

/// What answers say: each for the file that was named, and no other; where a track was named by number or words (or
/// `--all`), for all its files.
pub(crate) fn wishes(engine: &Engine, answers: &[GenreAnswer]) -> anyhow::Result<Vec<TagWish>> {
    let mut wishes = Vec::new();
    for answer in answers {
        let paths = match answer.track {
            Some(track) if !answer.is_named_file => {
                engine.library().track(track)?.files.into_iter().map(|file| file.record.path).collect()
            }
            _ => vec![answer.path.clone()],
        };
        let genres: Vec<String> = answer.genre().map(|genre| genre.name().to_owned()).into_iter().collect();
        let wish = |path| TagWish { path, genres: genres.clone(), reason: answer.summary() };
        wishes.extend(paths.into_iter().map(wish));
    }
    Ok(wishes)
}

/// What a table says: the columns path and genre, or suggested where there is no genre.
pub(crate) fn wishes_of_list(list: &Path) -> anyhow::Result<Vec<TagWish>> {
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
        wishes.push(TagWish {
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
    wishes: &[TagWish],
    args: &ClassifyArgs,
) -> anyhow::Result<u64> {
    let stop = context.stop_on_ctrl_c()?;
    let options = WriteOptions {
        overwrite: args.write.overwrite,
        keep_mtime: args.write.keep_times,
        dry_run: args.write.dry_run,
    };
    if !options.dry_run && library.mode() == OpenMode::ReadOnly {
        anyhow::bail!(
            "the library in {} cannot be written, and it is there that the genres of before are kept for \"voisin undo\"",
            library.dir().display()
        );
    }
    let (mut done, mut changed): (Vec<TaggedFile>, Vec<PathBuf>) = Default::default();
    let run = write_tags(library, wishes, options, None, |file| -> anyhow::Result<bool> {
        if args.output.format == ListFormat::Table {
            show(&file)?;
        }
        let wish = &wishes[done.len()];
        if matches!(file.outcome, Outcome::Written | Outcome::WouldWrite) {
            changed.push(wish.path.clone());
        }
        done.push(file);
        let stops = stop.load(Ordering::Relaxed) && done.len() < wishes.len();
        if stops {
            context.console.warn("interrupted: the files named so far are done, the others are as they were");
        }
        Ok(!stops)
    })?;
    match args.output.format {
        ListFormat::Table => {}
        ListFormat::Json => render::print_json(&done)?,
        ListFormat::Csv => render::print_csv(
            ["path", "outcome", "before", "after", "reason"],
            done.iter().map(|file| {
                [
                    file.path.clone(),
                    name(file.outcome).to_owned(),
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

/// A change as a diff; nothing for a file that stays as it is.
fn show(file: &TaggedFile) -> anyhow::Result<()> {
    let line = |text: String| render::print_line(&render::one_line(&text));
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
