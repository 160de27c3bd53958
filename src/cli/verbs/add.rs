//! `voisin add`.

use anyhow::Context as _;

use super::{retry, watch};
use crate::cli::add_files::add_files;
use crate::cli::args::{AddArgs, ReportFormat, WindowCount};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::named::{listed_paths, local_path, scan_named};
use crate::cli::render::count;
use crate::cli::vectors_table;
use crate::cli::{Ending, NothingFound};
use voisin::{AddOptions, AddRun, Engine, WindowPlan};
use voisin_library::{DATABASE, OpenMode, scan};

/// Reports that links lead out of the folders named.
fn report_links(context: &Context, found: &scan::Scan) {
    for link in &found.leading_out {
        context.console.detail(&format!(
            "not followed: {} leads out of its folder",
            link.display()
        ));
    }
    if !found.leading_out.is_empty() {
        context.console.note(&format!(
            "not followed, as they lead out of these folders: {} (--follow-links adds the files behind)",
            count(found.leading_out.len() as u64, "link")
        ));
    }
}

/// Suggests commands after the first run that added music.
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
    let mut paths = Vec::new();
    let mut named = Vec::new();
    for path in &args.paths {
        // Not by `named_paths`: folders on the list are not searched for missing files.
        if path.as_os_str() == "-" {
            paths.extend(listed_paths(args.null)?);
        } else {
            named.push(local_path(path.clone()));
            paths.push(local_path(path.clone()));
        }
    }
    let mode = if args.dry_run {
        OpenMode::ReadWrite
    } else {
        OpenMode::Create
    };
    // A mistyped folder must not leave an empty library behind; an existing one may lack the folder.
    if !context.library_dir().join(DATABASE).exists() && !named.is_empty() {
        let missing = named
            .iter()
            .find(|_| !paths.iter().any(|path| path.exists()));
        if let Some(missing) = missing {
            let text = format!(
                "{}: there is no such file or folder, and no library to bring up to date",
                missing.display()
            );
            return Err(NothingFound(text).into());
        }
    }
    // A dry run creates no library: without one it uses an empty one in a temporary folder.
    let scratch = if args.dry_run && !context.library_dir().join(DATABASE).exists() {
        Some(tempfile::tempdir().context("cannot make a temporary folder")?)
    } else {
        None
    };
    let mut engine = match &scratch {
        Some(folder) => Engine::open(folder.path(), OpenMode::Create)?,
        None => context.open_engine_to_change(mode)?,
    };
    let links = if args.follow_links {
        scan::Links::All
    } else {
        scan::Links::Inside
    };
    let exclusions = scan::Exclusions::new(&args.exclude);
    let found = scan_named(&paths, &exclusions, links);
    for problem in &found.problems {
        context
            .console
            .warn(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    if found.files.is_empty() && found.problems.is_empty() {
        context.console.warn(
            "expected audio files (.mp3, .flac, .ogg, .m4a, .wav …), found none in the paths named",
        );
    }
    report_links(context, &found);
    let windows = args.windows.map(|count| match count {
        WindowCount::All => WindowPlan::All,
        WindowCount::Spread(n) => WindowPlan::Spread(n),
    });
    if let Some(plan) = windows {
        let before = engine.windows_setting()?;
        if before != plan && engine.library().status()?.tracks > 0 && !args.force {
            context.console.note(
                "tracks of the library keep the windows that they were added with; --force analyses them again",
            );
        }
    }
    let run = AddRun {
        files: &found.files,
        folders: &named,
        remove_missing: args.remove_missing,
        windows,
        options: AddOptions {
            force: args.force,
            dry_run: args.dry_run,
            ..AddOptions::default()
        },
        ..AddRun::default()
    };
    // Read before the run, which changes it.
    let is_first = engine.library().status()?.tracks == 0;
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
