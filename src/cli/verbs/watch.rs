//! `voisin add --watch`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::cli::Ending;
use crate::cli::add_files::add_files;
use crate::cli::args::{AddArgs, ReportFormat};
use crate::cli::context::Context;
use voisin::{AddRun, EngineError, pending_files};
use voisin_audio::is_audio_candidate;
use voisin_library::{LibraryError, OpenMode, scan};

/// Time without changes before a scan, so that copying an album causes only one.
const QUIET: Duration = Duration::from_secs(2);
/// Time after which a scan starts although changes continue.
const LONGEST: Duration = Duration::from_mins(1);
/// Interval of checks for Ctrl-C, and for folders that appear or vanish.
const TICK: Duration = Duration::from_millis(250);

/// The folders watched, with the system's events.
struct Watched {
    watcher: RecommendedWatcher,
    events: Receiver<notify::Result<Event>>,
    /// Each folder, and whether the system watches it, which begins when a missing folder (of an unmounted disk) appears.
    folders: Vec<(PathBuf, bool)>,
    /// First and last change since the last scan.
    changes: Option<(Instant, Instant)>,
}

pub(crate) fn run(context: &Context, args: &AddArgs) -> anyhow::Result<Ending> {
    for folder in &args.paths {
        // A server may start before its folders exist.
        if !folder.is_dir() && !args.while_input_lasts {
            bail!(
                "{} is not a folder: expected folders to watch",
                folder.display()
            );
        }
    }
    let stop = context.stop_on_ctrl_c()?;
    if args.while_input_lasts {
        context.stop_with_input();
    }
    let (sender, events) = channel();
    let folders = args.paths.iter().map(|folder| (folder.clone(), false));
    let mut watched = Watched {
        watcher: notify::recommended_watcher(sender)?,
        events,
        folders: folders.collect(),
        changes: None,
    };
    watched.update_folders(context);
    let names: Vec<String> = args.paths.iter().map(|f| f.display().to_string()).collect();
    context
        .console
        .note(&format!("watching {}; Ctrl-C ends it", names.join(", ")));
    // Starts with a scan for earlier changes; under a server, which scans by itself, one follows later.
    let mut is_due = !args.while_input_lasts;
    if !is_due {
        watched.note_change();
    }
    while !stop.load(Ordering::Relaxed) {
        if is_due {
            match add_changes(context, &watched.folders, args) {
                // Another run writes: the scan is repeated soon.
                Err(error) if is_busy(&error) => watched.note_change(),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        is_due = watched.wait(context);
    }
    context.console.note("no longer watching");
    Ok(Ending::Fine)
}

/// Adds new and changed files below the folders that are watched. Missing files stay in the library.
fn add_changes(
    context: &Context,
    folders: &[(PathBuf, bool)],
    args: &AddArgs,
) -> anyhow::Result<()> {
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let there = folders.iter().filter(|(_, is_watched)| *is_watched);
    let there: Vec<PathBuf> = there.map(|(folder, _)| folder.clone()).collect();
    let exclusions = scan::Exclusions::new(&args.exclude);
    let found = scan::scan_without(&there, &is_audio_candidate, &exclusions, args.links());
    for problem in &found.problems {
        context
            .console
            .detail(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    // Most events are no changes, for which nothing is to be printed.
    let pending = pending_files(engine.library(), &found)?;
    if pending.is_empty() {
        return Ok(());
    }
    let run = AddRun {
        files: &pending,
        ..AddRun::default()
    };
    add_files(context, &mut engine, run, ReportFormat::Table).map(drop)
}

fn is_busy(error: &anyhow::Error) -> bool {
    let library = error.downcast_ref::<LibraryError>().or_else(|| {
        match error.downcast_ref::<EngineError>() {
            Some(EngineError::Library(error)) => Some(error),
            _ => None,
        }
    });
    matches!(library, Some(LibraryError::WriterBusy { .. }))
}

impl Watched {
    fn note_change(&mut self) {
        let now = Instant::now();
        self.changes = Some((self.changes.map_or(now, |(first, _)| first), now));
    }

    /// Watches folders that exist and are not watched yet; unwatches those that are gone.
    fn update_folders(&mut self, context: &Context) {
        let mut is_new = false;
        for (folder, is_watched) in &mut self.folders {
            let there = folder.is_dir();
            if there && !*is_watched {
                match self.watcher.watch(folder, RecursiveMode::Recursive) {
                    Ok(()) => {
                        *is_watched = true;
                        is_new = true;
                    }
                    Err(error) => context
                        .console
                        .detail(&format!("{}: {error}", folder.display())),
                }
            } else if !there && *is_watched {
                context.console.warn(&format!(
                    "{} is gone; its music stays in the library",
                    folder.display()
                ));
                // The system no longer watches it, which is an error on some systems.
                let _ = self.watcher.unwatch(folder);
                *is_watched = false;
            }
        }
        if is_new {
            self.note_change();
        }
    }

    /// Receives events for a moment; returns whether to scan now.
    fn wait(&mut self, context: &Context) -> bool {
        let end = Instant::now() + TICK;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(Ok(event)) if !concerns_music(&event) => {}
                // Events were lost, or a folder vanished: a scan finds the changes.
                Ok(_) => self.note_change(),
                Err(_) => break,
            }
            // Events may come without a pause, but Ctrl-C must be checked.
            if left.is_zero() {
                break;
            }
        }
        self.update_folders(context);
        let is_due = self
            .changes
            .is_some_and(|(first, last)| last.elapsed() >= QUIET || first.elapsed() >= LONGEST);
        if is_due {
            self.changes = None;
        }
        is_due
    }
}

/// Whether an event may be a change that a scan would find; reading a file is none.
fn concerns_music(event: &Event) -> bool {
    let is_of_interest = |path: &Path| {
        is_audio_candidate(path)
            // The kind of a deleted folder is unknown; names without an ending may be folders.
            || path.extension().is_none()
            || path.is_dir()
            || path.ends_with(scan::IGNORE_FILE)
    };
    match event.kind {
        // On Linux the end of writing is an access event, like reading, which our own scan causes.
        EventKind::Access(notify::event::AccessKind::Close(notify::event::AccessMode::Write)) => {
            event.paths.iter().any(|path| is_of_interest(path))
        }
        EventKind::Access(_) => false,
        _ => {
            event.need_rescan()
                || event.paths.is_empty()
                || event.paths.iter().any(|path| is_of_interest(path))
        }
    }
}
