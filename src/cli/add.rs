//! `voisin add` and `voisin retry`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audio::is_audio_candidate;
use crate::engine::{AddEvent, AddOptions, AddSummary, Engine, IndexKeeper, Outcome, WindowPlan, add};
use crate::library::{FileRecord, OpenMode, scan};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::Ending;
use super::args::{AddArgs, ReportFormat, RetryArgs, WindowCount};
use super::context::Context;
use super::render::{self, Console, clock, count};

/// How many reasons the end of a run repeats.
const FIRST_REASONS: usize = 5;

pub(crate) fn run(context: &Context, args: AddArgs) -> anyhow::Result<Ending> {
    let mut paths = Vec::new();
    for path in args.paths {
        if path.as_os_str() == "-" {
            let mut list = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut list)
                .context("cannot read the list on standard input")?;
            if args.null {
                // A list of one name need not end in NUL, and the name may hold a line end.
                list.push(0);
            }
            paths.extend(scan::split_list(&list));
        } else {
            paths.push(path);
        }
    }
    let found = scan::scan(&paths, &is_audio_candidate);
    for problem in &found.problems {
        context.console.warn(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    for folder in &found.skipped_folders {
        context.console.detail(&format!("skipped {} (.nomedia or .notmusic)", folder.display()));
    }
    let mode = if args.dry_run { OpenMode::ReadWrite } else { OpenMode::Create };
    let mut engine = context.open_engine_to_change(mode)?;
    if let Some(count) = args.windows {
        let plan = match count {
            WindowCount::All => WindowPlan::All,
            WindowCount::Spread(n) => WindowPlan::Spread(n),
        };
        let before = engine.windows_setting()?;
        if before != plan && engine.library().status()?.tracks > 0 && !args.force {
            context.console.note(
                "tracks that are in the library keep the windows they were added with; --force listens again",
            );
        }
        if !args.dry_run {
            engine.set_windows_setting(plan)?;
        }
    }
    let options = RunOptions { force: args.force, dry_run: args.dry_run, format: args.format };
    let ending = add_files(context, &mut engine, &found.files, options)?;
    if ending == Ending::Fine && !found.problems.is_empty() {
        return Ok(Ending::Partial);
    }
    Ok(ending)
}

pub(crate) fn retry(context: &Context, args: &RetryArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine_to_change(OpenMode::ReadWrite)?;
    let below: Vec<PathBuf> = args.paths.iter().map(|path| crate::library::stored_path(path)).collect();
    let wanted = |path: &Path| below.is_empty() || below.iter().any(|folder| path.starts_with(folder));
    let failures: Vec<_> =
        engine.library().failures()?.into_iter().filter(|failure| wanted(&failure.path)).collect();
    let mut files = Vec::new();
    let mut gone = Vec::new();
    for failure in failures {
        match FileRecord::read(&failure.path) {
            Ok(file) => files.push(file),
            Err(_) => gone.push(failure.path),
        }
    }
    if !gone.is_empty() {
        engine.library_mut().clear_failures(Some(&gone))?;
        context.console.note(&format!("{} gone since: forgotten", count(gone.len() as u64, "failed file")));
    }
    let again: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    if !again.is_empty() {
        engine.library_mut().clear_failures(Some(&again))?;
    }
    add_files(context, &mut engine, &files, RunOptions { force: false, dry_run: false, format: args.format })
}

/// How a run goes about it.
#[derive(Clone, Copy)]
pub(crate) struct RunOptions {
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
    pub(crate) format: ReportFormat,
}

/// Adds files, shows progress, brings the index up to date, and says what was done.
pub(crate) fn add_files(
    context: &Context,
    engine: &mut Engine,
    files: &[FileRecord],
    run: RunOptions,
) -> anyhow::Result<Ending> {
    let console = context.console;
    let _lock = if run.dry_run { None } else { Some(engine.library().lock_for_writing()?) };
    let embedder = context.embedder(Some(engine.library()))?;
    let options = AddOptions {
        windows: engine.windows_setting()?,
        force: run.force,
        dry_run: run.dry_run,
        threads: context.threads(),
    };
    let stop = context.stop_on_ctrl_c()?;
    let mut progress = Progress::new(console, run.dry_run);
    let mut keeper = IndexKeeper::new(engine.library().dir(), engine.library().status()?.tracks);
    let mut on_event = |event: AddEvent<'_>| {
        if let AddEvent::Done { outcome: Outcome::Added(_), .. } = &event {
            keeper.added();
        }
        progress.show(&event);
    };
    let summary = add(engine.library_mut(), &embedder, files, &options, &mut on_event, &stop)?;
    progress.finish();
    let changed = summary.added + summary.updated + summary.moved + summary.removed > 0;
    if !run.dry_run && (changed || !engine.index_path().exists()) && engine.library().status()?.vectors > 0 {
        if summary.interrupted {
            // Who presses Ctrl-C does not want to wait for a build.
            engine.refresh_index()?;
        } else {
            keeper.finish();
            engine.maintain_index()?;
        }
    }
    match run.format {
        ReportFormat::Json => render::print_json(&summary)?,
        ReportFormat::Table => say_summary(console, &summary, &progress.reasons, run.dry_run)?,
    }
    Ok(if summary.interrupted {
        Ending::Interrupted
    } else if summary.failed > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

fn say_summary(
    console: Console,
    summary: &AddSummary,
    reasons: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    if dry_run {
        return render::print_line(&format!(
            "would look at {}; {} unchanged, {} failed before",
            count(summary.added, "file"),
            summary.unchanged,
            summary.skipped
        ));
    }
    if !console.is_quiet() {
        for reason in reasons {
            console.warn(reason);
        }
        if summary.failed as usize > reasons.len() {
            console.note(&format!("… and {} more", summary.failed as usize - reasons.len()));
        }
        if summary.failed > 0 {
            console.note("see \"voisin failed\" for all of them, \"voisin retry\" to try again");
        }
        if summary.interrupted {
            console.note("interrupted: everything above is kept; the same command goes on from here");
        }
    }
    if console.is_quiet() {
        return Ok(());
    }
    let mut text = format!(
        "added {}, updated {}, moved {}, unchanged {}, failed {}",
        summary.added, summary.updated, summary.moved, summary.unchanged, summary.failed
    );
    if summary.removed > 0 {
        text.push_str(&format!(", removed {}", summary.removed));
    }
    if summary.skipped > 0 {
        text.push_str(&format!(" ({} failed before and skipped)", summary.skipped));
    }
    render::print_line(&format!("{text} in {} on {}", seconds(summary.seconds), summary.device))
}

fn seconds(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.1} s") } else { clock(seconds) }
}

/// A bar for eyes, lines for pipes.
struct Progress {
    console: Console,
    dry_run: bool,
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    reasons: Vec<String>,
}

impl Progress {
    fn new(console: Console, dry_run: bool) -> Self {
        Self { console, dry_run, bar: None, total: 0, done: 0, reasons: Vec::new() }
    }

    fn show(&mut self, event: &AddEvent<'_>) {
        match event {
            AddEvent::Planned { jobs, unchanged, skipped } => {
                self.total = *jobs;
                let mut text = format!("{} to look at", count(*jobs as u64, "file"));
                if *unchanged > 0 {
                    text.push_str(&format!(", {unchanged} unchanged"));
                }
                if *skipped > 0 {
                    text.push_str(&format!(", {skipped} failed before"));
                }
                self.console.note(&text);
                if self.console.shows_progress_bar() && *jobs > 0 && !self.dry_run {
                    let style = ProgressStyle::with_template(
                        "{bar:30} {pos}/{len}  {per_sec}, {eta} left  {wide_msg}",
                    )
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                    let bar = ProgressBar::new(*jobs as u64).with_style(style);
                    bar.enable_steady_tick(Duration::from_millis(200));
                    self.bar = Some(bar);
                }
            }
            AddEvent::Done { path, outcome } => self.done(path, outcome),
        }
    }

    fn done(&mut self, path: &Path, outcome: &Outcome) {
        self.done += 1;
        let what = match outcome {
            Outcome::Added(_) => "added".to_owned(),
            Outcome::Replaced(_) => "listened to again".to_owned(),
            Outcome::Retagged(_) => "tags updated".to_owned(),
            Outcome::Moved { from, .. } => format!("moved from {}", from.display()),
            Outcome::Duplicate(track) => format!("the same audio as track {track}"),
            Outcome::WouldAdd => "would be looked at".to_owned(),
            Outcome::Failed(error) => {
                let reason = error.to_string();
                if self.reasons.len() < FIRST_REASONS {
                    self.reasons.push(reason.clone());
                }
                format!("failed: {reason}")
            }
        };
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(
                    render::terminal_safe(&path.file_name().unwrap_or_default().to_string_lossy())
                        .into_owned(),
                );
            }
            // A log that grows by a line per file helps nobody; a line per hundred tells that it lives.
            None if self.dry_run || self.done.is_multiple_of(100) || self.done == self.total => {
                self.console.note(&format!("{}/{}  {}  {what}", self.done, self.total, path.display()));
            }
            None => self.console.detail(&format!("{}/{}  {}  {what}", self.done, self.total, path.display())),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
