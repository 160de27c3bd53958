//! `voisin watch`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::bail;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::cli::Ending;
use crate::cli::add_files::{add_files, report_unnamed};
use crate::cli::args::{ReportFormat, WatchArgs};
use crate::cli::context::Context;
use voisin_audio::is_audio_candidate;
use voisin_engine::{AddRun, EngineError, is_unchanged, pending_files};
use voisin_library::{LibraryError, OpenMode, scan};
use voisin_music::cue;

/// So long nothing must have changed before a look: copying an album is one change, not a thousand.
const QUIET: Duration = Duration::from_secs(2);
/// After so long a look is taken although changes go on.
const LONGEST: Duration = Duration::from_mins(1);
/// How often Ctrl-C, and folders that come and go, are looked after.
const TICK: Duration = Duration::from_millis(250);

/// The folders watched, as notices come in.
struct Watched {
    watcher: RecommendedWatcher,
    notices: Receiver<notify::Result<Event>>,
    /// Each folder, and whether the system watches it: one that is gone (a disk that is not mounted) is waited for.
    folders: Vec<(PathBuf, bool)>,
    /// First and last change since the last look.
    changes: Option<(Instant, Instant)>,
}

pub(crate) fn run(context: &Context, args: &WatchArgs) -> anyhow::Result<Ending> {
    let exclusions = scan::Exclusions::new(&args.exclude);
    for folder in &args.folders {
        // A server waits for its folders.
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
    let (sender, notices) = channel();
    let watcher = notify::recommended_watcher(sender)?;
    let folders = args
        .folders
        .iter()
        .map(|folder| (folder.clone(), false))
        .collect();
    let mut watched = Watched {
        watcher,
        notices,
        folders,
        changes: None,
    };
    watched.look_after_folders(context);
    let count = args.folders.len();
    context.console.note(&format!(
        "watching {}; Ctrl-C ends it",
        if count == 1 {
            args.folders[0].display().to_string()
        } else {
            format!("{count} folders")
        }
    ));
    // Changes while nobody watched come first; where a server begins, its own scan does that, and this looks after it.
    let mut due = !args.while_input_lasts;
    let mut is_first = true;
    if !due {
        watched.note_change();
    }
    while !stop.load(Ordering::Relaxed) {
        if due {
            let there: Vec<PathBuf> = watched
                .folders
                .iter()
                .filter(|(_, is_watched)| *is_watched)
                .map(|(folder, _)| folder.clone())
                .collect();
            match look(context, &there, &exclusions, std::mem::take(&mut is_first)) {
                // Another run writes: the same look is taken again soon.
                Err(error) if is_busy(&error) => watched.note_change(),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
        due = watched.wait(context);
    }
    context.console.note("no longer watching");
    Ok(Ending::Fine)
}

/// Adds what is new below the folders. What is gone stays in the library.
fn look(
    context: &Context,
    folders: &[PathBuf],
    exclusions: &scan::Exclusions,
    is_first: bool,
) -> anyhow::Result<()> {
    let mut engine = context.open_engine_to_change(OpenMode::Create)?;
    let followed = engine.library().files().followed_folders()?;
    let links = scan::Links::Below(&followed);
    let mut found = scan::scan_without(folders, &is_audio_candidate, exclusions, links);
    if is_first {
        report_unnamed(context.console, &found);
        for line in &found.idle_patterns {
            context
                .console
                .note(&format!("{}: {}", line.path.display(), line.reason));
        }
    }
    for problem in &found.problems {
        context
            .console
            .detail(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    for link in &found.leading_out {
        context.console.detail(&format!(
            "not followed: {} leads out of its folder",
            link.display()
        ));
    }
    found.split_files(&|file| is_unchanged(engine.library(), file));
    // Notices are many, changes few: without this each would print "nothing new".
    let pending = pending_files(engine.library(), &found)?;
    if pending.is_empty() {
        return Ok(());
    }
    let of_system = if is_first { &found.of_system[..] } else { &[] };
    let run = AddRun {
        files: &pending,
        in_parts: &found.in_parts,
        ..AddRun::default()
    };
    // The run holds the writer's lock, and no longer than it lasts.
    add_files(context, &mut engine, run, of_system, ReportFormat::Table).map(drop)
}

fn is_busy(error: &anyhow::Error) -> bool {
    let library = error.downcast_ref::<LibraryError>().or_else(|| {
        match error.downcast_ref::<EngineError>() {
            Some(EngineError::Library(error)) => Some(error),
            _ => None,
        }
    });
    matches!(
        library,
        Some(LibraryError::WriterBusy { .. } | LibraryError::Locked { .. })
    )
}

impl Watched {
    fn note_change(&mut self) {
        let now = Instant::now();
        self.changes = Some((self.changes.map_or(now, |(first, _)| first), now));
    }

    /// Watches folders that are there and are not watched yet; forgets those that are gone.
    fn look_after_folders(&mut self, context: &Context) {
        let mut came = false;
        for (folder, is_watched) in &mut self.folders {
            let there = folder.is_dir();
            if there && !*is_watched {
                match self.watcher.watch(folder, RecursiveMode::Recursive) {
                    Ok(()) => {
                        *is_watched = true;
                        came = true;
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
                // The system has forgotten it already, which is an error to some and none to
                // others.
                let _ = self.watcher.unwatch(folder);
                *is_watched = false;
            }
        }
        if came {
            self.note_change();
        }
    }

    /// Takes in notices for a moment; whether it is time for a look.
    fn wait(&mut self, context: &Context) -> bool {
        let end = Instant::now() + TICK;
        loop {
            match self
                .notices
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(event)) if concerns_music(&event) => self.note_change(),
                Ok(Ok(_)) => {}
                // Too many at once, or a folder that vanished: a look finds what they would have told.
                Ok(Err(_)) => self.note_change(),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            // Notices may come without a pause, and Ctrl-C must still be seen.
            if Instant::now() >= end {
                break;
            }
        }
        self.look_after_folders(context);
        let Some((first, last)) = self.changes else {
            return false;
        };
        let due = last.elapsed() >= QUIET || first.elapsed() >= LONGEST;
        if due {
            self.changes = None;
        }
        due
    }
}

/// Whether something may have changed that a look would find: not what was only read.
fn concerns_music(event: &Event) -> bool {
    let is_of_interest = |path: &Path| {
        is_audio_candidate(path)
            || cue::is_sheet(path)
            // A folder that is gone can no longer be asked for its kind; names without an ending
            // may be folders.
            || path.extension().is_none()
            || path.is_dir()
            || path.ends_with(scan::IGNORE_FILE)
    };
    match event.kind {
        // On Linux the end of writing comes as an access; reading does too, and our own look reads.
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
