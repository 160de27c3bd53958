//! `voisin remove`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::Ending;
use crate::cli::args::{RemoveArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use crate::engine::Engine;
use crate::library::{OpenMode, Track, stored_path};
use crate::track::TrackId;

/// The documented JSON of `remove`.
#[derive(Serialize)]
struct RemovedJson {
    dry_run: bool,
    files: u64,
    tracks: u64,
    /// Files that had failed and are forgotten.
    failures: u64,
    /// With `--dry-run`: the files that would go.
    would_remove: Vec<String>,
}

/// Why nothing goes.
fn nothing_goes(args: &RemoveArgs) -> &'static str {
    if args.missing {
        "nothing to remove: every file of the library is where it was"
    } else {
        "nothing to remove: no file of the library is there"
    }
}

pub(crate) fn run(context: &Context, args: &RemoveArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let _lock = if args.dry_run { None } else { Some(engine.library().lock_for_writing()?) };
    let (paths, tracks) = named(&engine, args)?;
    let mut missing = Vec::new();
    if args.missing {
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
    }
    if args.dry_run {
        let gone: HashSet<&Path> = missing.iter().map(|file| file.file.record.path.as_path()).collect();
        return would_remove(args, context, &engine, |id, path| {
            if args.missing {
                gone.contains(path)
            } else {
                tracks.contains(&id) || paths.iter().any(|below| path.starts_with(below))
            }
        });
    }
    let mut removed = if args.missing {
        engine.library_mut().remove_missing(&missing)?
    } else {
        engine.library_mut().remove_paths(&paths)?
    };
    if !tracks.is_empty() {
        let more = engine.library_mut().remove_tracks(&tracks)?;
        removed.files += more.files;
        removed.tracks += more.tracks;
        removed.failures += more.failures;
    }
    if removed.tracks > 0 && engine.library().status()?.vectors > 0 {
        engine.maintain_index()?;
    }
    let nothing = removed.files == 0 && removed.failures == 0;
    if args.format == ReportFormat::Json {
        render::print_json(&RemovedJson {
            dry_run: false,
            files: removed.files,
            tracks: removed.tracks,
            failures: removed.failures,
            would_remove: Vec::new(),
        })?;
    } else if nothing {
        context.console.note(nothing_goes(args));
    } else {
        let text = format!("removed {} and {}", count(removed.files, "file"), count(removed.tracks, "track"));
        render::print_line(&text)?;
    }
    Ok(if nothing { Ending::Partial } else { Ending::Fine })
}

/// Lists the files that would go, and counts the tracks that would go with their last file.
fn would_remove(
    args: &RemoveArgs,
    context: &Context,
    engine: &Engine,
    goes: impl Fn(TrackId, &Path) -> bool,
) -> anyhow::Result<Ending> {
    let tracks = engine.library().tracks()?;
    let all =
        tracks.iter().flat_map(|track| track.files.iter().map(|file| (track.id, file.record.path.as_path())));
    let files: Vec<&Path> = all.filter(|(id, path)| goes(*id, path)).map(|(_, path)| path).collect();
    let whole = |track: &&Track| {
        !track.files.is_empty() && track.files.iter().all(|file| goes(track.id, &file.record.path))
    };
    let whole = tracks.iter().filter(whole).count() as u64;
    if args.format == ReportFormat::Json {
        render::print_json(&RemovedJson {
            dry_run: true,
            files: files.len() as u64,
            tracks: whole,
            failures: 0,
            would_remove: files.iter().map(|path| lossy(path)).collect(),
        })?;
    } else if files.is_empty() {
        context.console.note(nothing_goes(args));
    } else {
        render::print_paths(files.iter().map(|path| path.as_os_str().as_encoded_bytes()), false)?;
        let text = format!("{} and {}", count(files.len() as u64, "file"), count(whole, "track"));
        context.console.note(&format!("would remove {text}"));
    }
    Ok(if files.is_empty() { Ending::Partial } else { Ending::Fine })
}

/// What was named: paths as the library has them, and tracks by `id:NUMBER`.
fn named(engine: &Engine, args: &RemoveArgs) -> anyhow::Result<(Vec<PathBuf>, Vec<TrackId>)> {
    let (mut paths, mut tracks) = (Vec::new(), Vec::new());
    for path in &args.paths {
        match path.to_str().and_then(crate::engine::track_number) {
            Some(id) if !args.missing => {
                engine.library().track(id)?;
                tracks.push(id);
            }
            _ => paths.push(stored_path(path)),
        }
    }
    Ok((paths, tracks))
}
