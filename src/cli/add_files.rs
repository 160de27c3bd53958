//! The output of a run that adds files: progress, and the report at the end.
//!
//! Not for: the run itself, which is the engine's `AddRun`.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Ending;
use crate::cli::args::ReportFormat;
use crate::cli::context::Context;
use crate::cli::missing_files::why_some_stay;
use crate::cli::render::{self, Console, clock, count};
use voisin::{AddEvent, AddOptions, AddReport, AddRun, Engine, MissingFiles, Outcome};
use voisin_base::text::with_causes;
use voisin_library::Library;

const FIRST_REASONS: usize = 5;

/// - `run`: the files and options; this program's settings are set here, and bound its threads
pub(crate) fn add_files(
    context: &Context,
    engine: &mut Engine,
    run: AddRun<'_>,
    format: ReportFormat,
) -> anyhow::Result<Ending> {
    let console = context.console;
    let dry_run = run.options.dry_run;
    let run = AddRun {
        model: context.requested_model(),
        options: AddOptions {
            threads: context.threads().min(run.options.threads),
            ..run.options
        },
        ..run
    };
    let stop = context.stop_on_ctrl_c()?;
    let mut progress = AddProgress::new(console, dry_run);
    let load = |library: &Library| context.embedder(Some(library));
    let mut on_event = |event: AddEvent<'_>| progress.show(&event);
    let report = run.run(engine, load, &mut on_event, &stop)?;
    let summary = &report.summary;
    match format {
        ReportFormat::Json => render::print_json(&report)?,
        ReportFormat::Table => report_summary(console, &report, &progress.reasons, dry_run)?,
    }
    report_missing(console, &report.gone, run.remove_missing, dry_run);
    // An interrupted run exits with 130 even if files failed, since it is incomplete.
    Ok(if summary.interrupted {
        Ending::Interrupted
    } else {
        Ending::partial_if(summary.failed > 0)
    })
}

fn report_summary(
    console: Console,
    report: &AddReport,
    reasons: &[String],
    dry_run: bool,
) -> anyhow::Result<()> {
    let summary = &report.summary;
    // "Added" are files that would be analysed: which of them are copies is known only after that.
    if dry_run {
        return render::print_line(&format!(
            "would analyse {}; {} unchanged, {} failed before",
            count(summary.added, "file"),
            summary.unchanged,
            summary.skipped
        ));
    }
    if console.is_quiet() {
        return Ok(());
    }
    for reason in reasons {
        console.warn(reason);
    }
    // The number of further reasons suffices: one bad disk fails thousands of files alike.
    let more = (summary.failed as usize).saturating_sub(reasons.len());
    if more > 0 {
        console.note(&format!(
            "… and {more} more: \"voisin list --failed\" lists all of them"
        ));
    }
    if summary.interrupted {
        console.note("interrupted: everything above is kept; the same command resumes from here");
    }
    let mut text = format!(
        "added {}, updated {}, moved {}, unchanged {}, failed {}",
        summary.added, summary.updated, summary.moved, summary.unchanged, summary.failed
    );
    for (number, what) in [
        (summary.removed, "removed"),
        (summary.skipped, "failed before and skipped"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {what} {number}"));
        }
    }
    let seconds = match summary.seconds {
        short @ ..60.0 => format!("{short:.1} s"),
        long => clock(long),
    };
    render::print_line(&format!("{text} in {seconds} on {}", summary.device))
}

fn report_missing(console: Console, gone: &MissingFiles, remove: bool, dry_run: bool) {
    if !gone.files.is_empty() {
        let files = count(gone.files.len() as u64, "file");
        let what = match (remove, dry_run) {
            (true, false) => "removed from the library",
            (true, true) => "would be removed from the library",
            (false, _) => "--remove-missing removes them from the library",
        };
        console.note(&format!("{files} gone since: {what}"));
    }
    if let Some(reason) = why_some_stay(gone) {
        console.warn(&reason);
    }
}

struct AddProgress {
    console: Console,
    dry_run: bool,
    bar: Option<ProgressBar>,
    total: usize,
    done: usize,
    reasons: Vec<String>,
}

impl AddProgress {
    fn new(console: Console, dry_run: bool) -> Self {
        Self {
            console,
            dry_run,
            bar: None,
            total: 0,
            done: 0,
            reasons: Vec::new(),
        }
    }

    fn show(&mut self, event: &AddEvent<'_>) {
        match event {
            AddEvent::Planned {
                jobs,
                unchanged,
                skipped,
            } => {
                self.total = *jobs;
                self.console.note(&format!(
                    "{} to process, {unchanged} unchanged, {skipped} failed before",
                    count(*jobs as u64, "file")
                ));
                // A dry run finishes before a bar could be read.
                if self.console.shows_progress_bar() && *jobs > 0 && !self.dry_run {
                    let style = "{bar:30} {pos}/{len}, {eta} left  {wide_msg}";
                    let style = ProgressStyle::with_template(style);
                    let bar = ProgressBar::new(*jobs as u64)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.enable_steady_tick(Duration::from_millis(200));
                    self.bar = Some(bar);
                }
            }
            AddEvent::Done { path, outcome } => self.done(path, outcome),
            AddEvent::CutOff { files } => self.console.note(&format!(
                "an aborted run was processing {}: those of this run are read first, each alone",
                count(*files as u64, "file")
            )),
            // The bar has to be gone before anything else is printed.
            AddEvent::Stored => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn done(&mut self, path: &Path, outcome: &Outcome) {
        self.done += 1;
        let what = match outcome {
            Outcome::Added(_) => "added".to_owned(),
            Outcome::Replaced(_) => "analysed again".to_owned(),
            Outcome::Retagged(_) => "tags updated".to_owned(),
            Outcome::Moved { from, .. } => format!("moved from {}", from.display()),
            Outcome::Duplicate(track) => format!("the same audio as track {track}"),
            Outcome::WouldAdd => "would be analysed".to_owned(),
            Outcome::Failed(error) => {
                let reason = with_causes(error);
                // All are stored in the library.
                if self.reasons.len() < FIRST_REASONS {
                    self.reasons.push(reason.clone());
                }
                format!("failed: {reason}")
            }
        };
        let line = || format!("{}/{}  {}  {what}", self.done, self.total, path.display());
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(render::one_line(
                    &path.file_name().unwrap_or_default().to_string_lossy(),
                ));
            }
            // In a log, a line per hundred files suffices to show that the run is alive.
            None if self.dry_run || self.done.is_multiple_of(100) => {
                self.console.note(&line());
            }
            None => self.console.detail(&line()),
        }
    }
}
