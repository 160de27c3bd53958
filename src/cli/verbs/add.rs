//! `voisin add`.

use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use super::{retry, watch};
use crate::cli::add_files::add_files;
use crate::cli::args::{AddArgs, ReportFormat};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::named::{listed_paths, local_path, scan_named};
use crate::cli::render::count;
use crate::cli::vectors_table;
use crate::cli::{Ending, NothingFound};
use voisin::{AddOptions, AddRun, Engine};
use voisin_library::{DATABASE, OpenMode, scan};

pub(crate) fn run(context: &Context, args: &AddArgs) -> anyhow::Result<Ending> {
    if !args.from_parquet.is_empty() {
        return columnar::add(context, args);
    }
    if let Some(vectors) = &args.vectors {
        return vectors_table::add(context, args, vectors);
    }
    if args.retry {
        return retry::run(context, args);
    }
    if args.watch {
        return watch::run(context, args);
    }
    if args.while_input_lasts {
        context.stop_with_input();
    }
    let (named, paths) = paths(args)?;
    let is_new = !context.library_dir().join(DATABASE).exists();
    // A mistyped folder must not leave an empty library behind; an existing one may lack the folder.
    if let Some(missing) = named.first()
        && is_new
        && !paths.iter().any(|path| path.exists())
    {
        let text = format!(
            "{}: there is no such file or folder, and no library to bring up to date",
            missing.display()
        );
        return Err(NothingFound(text).into());
    }
    let (mut engine, _scratch) = open(context, args.dry_run, is_new)?;
    let exclusions = scan::Exclusions::new(&args.exclude);
    let found = scan_named(&paths, &exclusions, args.links());
    report_scan(context, &found);
    // Read before the run, which changes it.
    let is_first = engine.library().status()?.tracks == 0;
    let run = AddRun {
        files: &found.files,
        folders: &named,
        remove_missing: args.remove_missing,
        options: AddOptions {
            force: args.force,
            dry_run: args.dry_run,
            ..AddOptions::default()
        },
        ..AddRun::default()
    };
    let ending = add_files(context, &mut engine, run, args.format)?;
    if is_first && args.format == ReportFormat::Table && !args.dry_run {
        suggest_next(context, &engine)?;
    }
    // A folder that could not be read is a failure, even if all files that were found succeeded.
    if ending == Ending::Fine && !found.problems.is_empty() {
        return Ok(Ending::Partial);
    }
    Ok(ending)
}

/// The paths that are named, and with them those of lists, which are not searched for missing files.
fn paths(args: &AddArgs) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let mut listed = Vec::new();
    let mut named = Vec::new();
    for path in &args.paths {
        if path.as_os_str() == "-" {
            listed.extend(listed_paths(args.null)?);
        } else {
            named.push(local_path(path.clone()));
        }
    }
    listed.extend(named.iter().cloned());
    Ok((named, listed))
}

/// Opens the library; a dry run creates none, and without one it uses an empty one in a temporary folder.
fn open(
    context: &Context,
    dry_run: bool,
    is_new: bool,
) -> anyhow::Result<(Engine, Option<TempDir>)> {
    if !dry_run {
        return Ok((context.open_engine_to_change(OpenMode::Create)?, None));
    }
    if !is_new {
        return Ok((context.open_engine_to_change(OpenMode::ReadWrite)?, None));
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let engine = Engine::open(folder.path(), OpenMode::Create)?;
    Ok((engine, Some(folder)))
}

/// Reports what was not read, and links that lead out of the folders named.
fn report_scan(context: &Context, found: &scan::Scan) {
    let console = context.console;
    console.warn_of(&found.problems);
    if found.files.is_empty() && found.problems.is_empty() {
        console.warn(
            "expected audio files (.mp3, .flac, .ogg, .m4a, .wav …), found none in the paths named",
        );
    }
    if found.others > 0 {
        console.note(&format!(
            "{} with other endings than music: name one to add it whatever its ending",
            count(found.others, "file")
        ));
    }
    for link in &found.leading_out {
        console.detail(&format!(
            "not followed: {} leads out of its folder",
            link.display()
        ));
    }
    if !found.leading_out.is_empty() {
        console.note(&format!(
            "not followed, as they lead out of these folders: {} (--follow-links adds the files behind)",
            count(found.leading_out.len() as u64, "link")
        ));
    }
}

fn suggest_next(context: &Context, engine: &Engine) -> anyhow::Result<()> {
    let mut first = None;
    engine.library().for_each_track(|track| {
        first.get_or_insert(track.id);
        Ok(())
    })?;
    if let Some(id) = first {
        let library = if context.has_library_option() {
            format!(" (each with --library {})", context.library_dir().display())
        } else {
            String::new()
        };
        context.console.note(&format!(
            "next{library}: \"voisin similar id:{id}\" (what sounds like it?), \"voisin find calm guitar\", \"voisin map -o map.html\", \"voisin serve\" (a page to listen on)"
        ));
    }
    Ok(())
}
