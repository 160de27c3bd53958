//! `voisin remove`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::args::RemoveArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::engine::Engine;
use crate::library::{OpenMode, stored_path};

const NOTHING: &str = "nothing to remove: no file of the library is there";

pub(crate) fn run(context: &Context, args: &RemoveArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let _lock = if args.dry_run { None } else { Some(engine.library().lock_for_writing()?) };
    let paths: Vec<PathBuf> = args.paths.iter().map(|path| stored_path(path)).collect();
    let removed = if args.missing {
        let mut missing = Vec::new();
        if paths.is_empty() {
            missing = engine.library().missing_files(None)?;
        }
        for folder in &paths {
            missing.extend(engine.library().missing_files(Some(folder))?);
        }
        let unmounted = missing.iter().filter(|file| !file.folder_exists).count();
        if unmounted > 0 {
            context.console.warn(&format!(
                "the folder of {} is missing too: if a disk is just not mounted, do not remove them",
                count(unmounted as u64, "file")
            ));
        }
        if args.dry_run {
            let gone: HashSet<&Path> = missing.iter().map(|file| file.file.record.path.as_path()).collect();
            return would_remove(context, &engine, |path| gone.contains(path));
        }
        engine.library_mut().remove_missing(&missing)?
    } else {
        if args.dry_run {
            return would_remove(context, &engine, |file| paths.iter().any(|path| file.starts_with(path)));
        }
        engine.library_mut().remove_paths(&paths)?
    };
    if removed.tracks > 0 && engine.library().status()?.vectors > 0 {
        engine.maintain_index()?;
    }
    let nothing = removed.files == 0 && removed.failures == 0;
    if nothing {
        context.console.note(NOTHING);
    } else {
        let text = format!("removed {} and {}", count(removed.files, "file"), count(removed.tracks, "track"));
        render::print_line(&text)?;
    }
    Ok(if nothing { Ending::Partial } else { Ending::Fine })
}

/// Lists the files that would go, and counts the tracks that would go with their last file.
fn would_remove(context: &Context, engine: &Engine, goes: impl Fn(&Path) -> bool) -> anyhow::Result<Ending> {
    let tracks = engine.library().tracks()?;
    let files = tracks.iter().flat_map(|track| &track.files).map(|file| file.record.path.as_path());
    let files: Vec<&Path> = files.filter(|path| goes(path)).collect();
    if files.is_empty() {
        context.console.note(NOTHING);
        return Ok(Ending::Partial);
    }
    let whole = |files: &[crate::library::StoredFile]| files.iter().all(|file| goes(&file.record.path));
    let whole = tracks.iter().filter(|track| !track.files.is_empty() && whole(&track.files)).count();
    render::print_paths(files.iter().copied(), false)?;
    let text = format!("{} and {}", count(files.len() as u64, "file"), count(whole as u64, "track"));
    context.console.note(&format!("would remove {text}"));
    Ok(Ending::Fine)
}
