//! `voisin remove`.

use std::path::PathBuf;

use crate::cli::Ending;
use crate::cli::args::RemoveArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::library::{OpenMode, stored_path};

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
            render::print_paths(missing.iter().map(|missing| missing.file.record.path.as_path()), false)?;
            return Ok(if missing.is_empty() { Ending::Partial } else { Ending::Fine });
        }
        engine.library_mut().remove_missing(&missing)?
    } else {
        if args.dry_run {
            let tracks = engine.library().tracks()?;
            let files = tracks.iter().flat_map(|track| &track.files).map(|file| file.record.path.as_path());
            let below: Vec<_> =
                files.filter(|file| paths.iter().any(|path| file.starts_with(path))).collect();
            render::print_paths(below.iter().copied(), false)?;
            return Ok(if below.is_empty() { Ending::Partial } else { Ending::Fine });
        }
        engine.library_mut().remove_paths(&paths)?
    };
    if removed.tracks > 0 && engine.library().status()?.vectors > 0 {
        engine.maintain_index()?;
    }
    let nothing = removed.files == 0 && removed.failures == 0;
    if nothing {
        context.console.note("nothing to remove: no file of the library is there");
    } else {
        let text = format!("removed {} and {}", count(removed.files, "file"), count(removed.tracks, "track"));
        render::print_line(&text)?;
    }
    Ok(if nothing { Ending::Partial } else { Ending::Fine })
}
