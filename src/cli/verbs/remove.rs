//! `voisin remove`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::cli::Ending;
use crate::cli::args::{RemoveArgs, ReportFormat};
use crate::cli::context::Context;
use crate::cli::missing_files::why_some_stay;
use crate::cli::render::track::lossy;
use crate::cli::render::{self, count};
use anyhow::bail;
use serde::Serialize;
use voisin::{Engine, MissingFiles};
use voisin_base::track::TrackId;
use voisin_library::{OpenMode, stored_path};

#[derive(Default, Serialize)]
struct RemovedJson {
    dry_run: bool,
    files: u64,
    /// Tracks that were removed with them.
    tracks: u64,
    /// Records of failed files that were removed.
    failures: u64,
    /// With `--dry-run`: the files that would be removed.
    would_remove: Vec<String>,
    /// With `--missing`: files that stay, because their folder is absent or empty, and those folders.
    out_of_reach: usize,
    absent_folders: Vec<String>,
}

impl RemovedJson {
    fn staying(gone: &MissingFiles) -> Self {
        let folders = gone.absent_folders().into_iter();
        Self {
            out_of_reach: gone.out_of_reach.len(),
            absent_folders: folders.map(lossy).collect(),
            ..Self::default()
        }
    }
}

/// Reports why nothing is removed, unless that is reported as the reason why files stay.
fn report_nothing_removed(args: &RemoveArgs, context: &Context, gone: &MissingFiles) {
    if !args.missing {
        context
            .console
            .note("nothing to remove: expected files, folders or ids (id:7) of tracks in this library (\"voisin list --artist NAME --format paths\" prints an artist's files), found none of them there");
    } else if gone.out_of_reach.is_empty() {
        context
            .console
            .note("nothing to remove: every file of the library is where it was");
    }
}

pub(crate) fn run(context: &Context, args: &RemoveArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    // Locked before names are looked up, as their meaning must not change until they are removed.
    let lock = (!args.dry_run).then(|| engine.library().lock_for_writing());
    let _lock = lock.transpose()?;
    let (paths, tracks) = named(&engine, args)?;
    let mut gone = match (args.missing, paths.is_empty()) {
        (false, _) => MissingFiles::default(),
        (true, true) => MissingFiles::anywhere(engine.library())?,
        (true, false) => MissingFiles::below(engine.library(), &paths)?,
    };
    // --force states that the disk is gone for good.
    if args.force {
        gone.files.append(&mut gone.out_of_reach);
    }
    let removed = if args.dry_run {
        let files: HashSet<&Path> = gone
            .files
            .iter()
            .map(|file| file.file.record.path.as_path())
            .collect();
        would_remove(args, context, &engine, &gone, |id, path| {
            if args.missing {
                files.contains(path)
            } else {
                tracks.contains(&id) || paths.iter().any(|below| path.starts_with(below))
            }
        })?
    } else {
        remove(args, context, &mut engine, &gone, (&paths, &tracks))?
    };
    if args.format == ReportFormat::Json {
        render::print_json(&removed)?;
    }
    let is_nothing = removed.files == 0 && removed.failures == 0;
    if is_nothing && args.format == ReportFormat::Table {
        report_nothing_removed(args, context, &gone);
    }
    // After the rest was removed: an error, so that a script notices a disk that is not mounted.
    match why_some_stay(&gone) {
        Some(reason) => bail!(reason),
        None if is_nothing => Ok(Ending::Partial),
        None => Ok(Ending::Fine),
    }
}

fn remove(
    args: &RemoveArgs,
    context: &Context,
    engine: &mut Engine,
    gone: &MissingFiles,
    (paths, tracks): (&[PathBuf], &[TrackId]),
) -> anyhow::Result<RemovedJson> {
    let library = engine.library_mut();
    let mut removed = if args.missing {
        library.remove_missing(&gone.files)?
    } else {
        library.remove_paths(paths)?
    };
    if !tracks.is_empty() {
        let more = library.remove_tracks(tracks)?;
        removed.files += more.files;
        removed.tracks += more.tracks;
        removed.failures += more.failures;
    }
    // Without vectors there is no index.
    if removed.tracks > 0 && engine.library().status()?.vectors > 0 {
        engine.maintain_index()?;
    }
    let is_nothing = removed.files == 0 && removed.failures == 0;
    if args.format == ReportFormat::Table && !is_nothing {
        render::print_line(&format!(
            "removed {} and {}",
            count(removed.files, "file"),
            count(removed.tracks, "track")
        ))?;
        if !args.missing {
            context.console.note(
                "files that stay in a music folder come back with its next \"voisin add\": move them away, or leave them out with --exclude",
            );
        }
    }
    Ok(RemovedJson {
        files: removed.files,
        tracks: removed.tracks,
        failures: removed.failures,
        ..RemovedJson::staying(gone)
    })
}

/// Lists the files that would be removed, and counts the tracks that would lose their last file.
fn would_remove(
    args: &RemoveArgs,
    context: &Context,
    engine: &Engine,
    gone: &MissingFiles,
    is_removed: impl Fn(TrackId, &Path) -> bool,
) -> anyhow::Result<RemovedJson> {
    let tracks = engine.library().tracks()?;
    let mut files: Vec<&Path> = Vec::new();
    let mut whole = 0;
    for track in &tracks {
        let before = files.len();
        let all = track.files.iter().map(|file| file.record.path.as_path());
        files.extend(all.filter(|path| is_removed(track.id, path)));
        // A track is removed with the last of its files.
        let removed = files.len() - before;
        whole += u64::from(removed > 0 && removed == track.files.len());
    }
    if args.format == ReportFormat::Table && !files.is_empty() {
        let lines = files
            .iter()
            .flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\n"]);
        render::print_exact(&lines.collect::<Vec<_>>().concat())?;
        context.console.note(&format!(
            "would remove {} and {}",
            count(files.len() as u64, "file"),
            count(whole, "track")
        ));
    }
    Ok(RemovedJson {
        dry_run: true,
        files: files.len() as u64,
        tracks: whole,
        would_remove: files.iter().map(|path| lossy(path)).collect(),
        ..RemovedJson::staying(gone)
    })
}

/// The arguments: paths as the library stores them, and tracks by `id:NUMBER`.
fn named(engine: &Engine, args: &RemoveArgs) -> anyhow::Result<(Vec<PathBuf>, Vec<TrackId>)> {
    let mut paths = Vec::new();
    let mut tracks = Vec::new();
    for path in &args.paths {
        match path.to_str().and_then(voisin::track_number) {
            // With --missing only paths make sense.
            Some(id) if !args.missing => {
                engine.library().track(id)?;
                tracks.push(id);
            }
            _ => paths.push(stored_path(path)),
        }
    }
    Ok((paths, tracks))
}
