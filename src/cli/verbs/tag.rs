//! `voisin tag`: genres into the files themselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::Context as _;

use super::classify::classified;
use super::undo;
use crate::cli::Ending;
use crate::cli::args::{ReportFormat, TagArgs};
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::cli::seeds::seed_names;
use voisin::{
    ClassifyOptions, Engine, GenreAnswer, TagOutcome as Outcome, TagResult, TagWish, write_tags,
};
use voisin_audio::tags::WriteOptions;
use voisin_base::table::Table;
use voisin_library::scan::playlist::path_in_table;
use voisin_library::{Library, OpenMode, PathLookup};

pub(super) const INTERRUPTED: &str =
    "interrupted: the files listed so far are done, the others are unchanged";
pub(super) const ADD_AGAIN: &str =
    "run \"voisin add\" on their folders to update the library's tags";

/// Default precision: writing changes files, so it requires more than printing.
const PRECISION: f32 = 0.9;

pub(crate) fn run(context: &Context, args: &TagArgs) -> anyhow::Result<Ending> {
    if args.undo {
        return undo::run(context, args);
    }
    // Genres from a table need no prediction and no model.
    if let Some(list) = &args.from_list {
        let mut library = Library::open(&context.library_dir(), OpenMode::ReadWrite)?;
        let wishes = wishes_of_list(&library, list)?;
        return write(context, &mut library, wishes, args);
    }
    let names = seed_names(&args.question.tracks)?;
    let mut engine = context.open_engine()?;
    let question = args.question.options();
    let options = ClassifyOptions {
        precision: question.precision.or(Some(PRECISION)),
        or_share: true,
        ..question
    };
    let names = (!args.all).then_some(names);
    let found = classified(context, Some(&mut engine), &options, names)?;
    let wishes = wishes(&engine, &found.answers)?;
    match write(context, engine.library_mut(), wishes, args)? {
        Ending::Fine => Ok(found.ending()),
        ending => Ok(ending),
    }
}

/// Genres to write, from predictions: for the files that were named, or all files of tracks that were named by
/// number or words (or `--all`).
fn wishes(engine: &Engine, answers: &[GenreAnswer]) -> anyhow::Result<Vec<TagWish>> {
    let mut wishes = Vec::new();
    for answer in answers {
        let paths: Vec<PathBuf> = match answer.track {
            Some(track) if !answer.is_named_file => {
                let files = engine.library().track(track)?.files.into_iter();
                files.map(|file| file.record.path).collect()
            }
            _ => vec![answer.path.clone()],
        };
        let genre = answer.genre().map(|genre| genre.name().to_owned());
        wishes.extend(paths.into_iter().map(|path| TagWish {
            path,
            genres: genre.iter().cloned().collect(),
            reason: answer.summary(),
        }));
    }
    Ok(wishes)
}

/// Genres to write from a table with the columns path and genre, or suggested without a genre.
fn wishes_of_list(library: &Library, list: &Path) -> anyhow::Result<Vec<TagWish>> {
    let Table { header, rows, .. } =
        Table::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    let find = |name: &str| {
        header
            .iter()
            .position(|column| column.eq_ignore_ascii_case(name))
    };
    let (Some(path), Some(genre)) = (find("path"), find("genre").or_else(|| find("suggested")))
    else {
        let found = header.join(",");
        anyhow::bail!(
            "{}: expected the columns path and genre (or suggested), found {found}",
            list.display()
        );
    };
    let mut wishes = Vec::new();
    let mut lookup = PathLookup::new(library);
    for (_, cells) in rows {
        let genres = cells[genre]
            .split(';')
            .map(str::trim)
            .filter(|genre| !genre.is_empty());
        let named = path_in_table(&cells[path]);
        // A file need not be in the library.
        let meant = if named.exists() {
            None
        } else {
            lookup.file(&named)?
        };
        wishes.push(TagWish {
            path: meant.unwrap_or(named),
            genres: genres.map(str::to_owned).collect(),
            reason: format!("from {}", list.display()),
        });
    }
    Ok(wishes)
}

/// One wish for each file, even if several paths name it: the one whose genres it would have at the end.
fn one_for_each_file(wishes: Vec<TagWish>, overwrite: bool) -> Vec<TagWish> {
    let mut places = HashMap::new();
    let mut kept: Vec<TagWish> = Vec::new();
    for wish in wishes {
        let file = wish.path.canonicalize();
        let file = file.unwrap_or_else(|_| wish.path.clone());
        let at = *places.entry(file).or_insert(kept.len());
        match kept.get_mut(at) {
            None => kept.push(wish),
            Some(former) if wish.genres.is_empty() || !overwrite && !former.genres.is_empty() => {}
            Some(former) => *former = wish,
        }
    }
    kept
}

/// Writes tags into files, each once, and stores the former ones.
fn write(
    context: &Context,
    library: &mut Library,
    wishes: Vec<TagWish>,
    args: &TagArgs,
) -> anyhow::Result<Ending> {
    let wishes = &one_for_each_file(wishes, args.overwrite)[..];
    let stop = context.stop_on_ctrl_c()?;
    let options = WriteOptions {
        overwrite: args.overwrite,
        keep_mtime: args.keep_times,
        dry_run: args.dry_run,
    };
    if !options.dry_run && library.mode() == OpenMode::ReadOnly {
        anyhow::bail!(
            "the library in {} cannot be written, so the former tags cannot be stored for \"voisin tag --undo\"",
            library.dir().display()
        );
    }
    let is_json = args.format == ReportFormat::Json;
    let mut done: Vec<TagResult> = Vec::new();
    write_tags(library, wishes, options, |file| -> anyhow::Result<bool> {
        if !is_json {
            show(&file)?;
        }
        done.push(file);
        // After the last file there is nothing left to interrupt.
        let is_interrupted = stop.load(Ordering::Relaxed) && done.len() < wishes.len();
        if is_interrupted {
            context.console.warn(INTERRUPTED);
        }
        Ok(!is_interrupted)
    })?;
    if is_json {
        render::print_json(&done)?;
    }
    let failed = report(context, &done, options);
    Ok(if done.len() < wishes.len() {
        Ending::Interrupted
    } else {
        Ending::partial_if(failed > 0)
    })
}

/// Reports how many files had which outcome; returns the number of failures.
fn report(context: &Context, done: &[TagResult], options: WriteOptions) -> usize {
    let count_of = |outcome: Outcome| done.iter().filter(|file| file.outcome == outcome).count();
    let written = count_of(Outcome::Written);
    let failed = count_of(Outcome::Failed);
    let mut parts = vec![if options.dry_run {
        let files = count_of(Outcome::WouldWrite);
        format!("{} would be written", count(files as u64, "file"))
    } else {
        format!("{} written", count(written as u64, "file"))
    }];
    let is_tagged = |file: &&TagResult| {
        !options.overwrite && file.outcome == Outcome::Unknown && !file.before.is_empty()
    };
    let tagged = done.iter().filter(is_tagged).count();
    for (files, text) in [
        (
            count_of(Outcome::Kept),
            "keep their tags (--overwrite replaces them)",
        ),
        (count_of(Outcome::Unchanged), "had this already"),
        (tagged, "with a genre already"),
        (
            count_of(Outcome::Unknown) - tagged,
            "left alone, as their genre is unknown (a lower --precision writes more)",
        ),
        (failed, "failed"),
    ] {
        if files > 0 {
            parts.push(format!("{files} {text}"));
        }
    }
    context.console.note(&parts.join(", "));
    if written > 0 {
        context.console.note("\"voisin tag --undo\" undoes this");
        context.console.note(ADD_AGAIN);
    }
    failed
}

/// Prints a change as a diff; nothing for a file that is unchanged.
fn show(file: &TagResult) -> anyhow::Result<()> {
    match file.outcome {
        Outcome::Written | Outcome::WouldWrite => {
            diff(&file.path, &file.before, &file.after)?;
            line(&format!("  {}", file.reason))
        }
        Outcome::Failed => {
            render::print_error(&anyhow::anyhow!("{}", file.reason));
            Ok(())
        }
        Outcome::Unchanged | Outcome::Kept | Outcome::Unknown => Ok(()),
    }
}

fn line(text: &str) -> anyhow::Result<()> {
    render::print_line(&render::one_line(text))
}

/// Prints the genres of a file before and after, if they differ.
pub(super) fn diff(path: &str, before: &[String], after: &[String]) -> anyhow::Result<()> {
    line(path)?;
    let lines = [('-', before), ('+', after)]
        .into_iter()
        .filter(|(_, genres)| before != after && !genres.is_empty());
    for (mark, genres) in lines {
        line(&format!("{mark} genre: {}", genres.join("; ")))?;
    }
    Ok(())
}
