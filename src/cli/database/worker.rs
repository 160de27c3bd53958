//! `voisin worker`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;
use voisin_postgres::{Job, JobCounts, JobOutcome, Jobs, Postgres, PostgresAddress, put};

use super::place;
use crate::base::text::with_causes;
use crate::cli::args::{ReportFormat, WindowCount, WorkerArgs};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::named::{named_paths, scan_named};
use crate::cli::render::{self, count};
use crate::cli::{Ending, NothingFound};
use crate::engine::{AddEvent, AddOptions, Embedder, Engine, Outcome, WindowPlan, add, stored_model};
use crate::library::scan::Exclusions;
use crate::library::{FileRecord, Library, OpenMode};
use crate::track::ContentKind;

/// How often it is looked whether another worker has let go of a file, and whether somebody wants to stop.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct WorkerJson {
    jobs: u64,
    done: u64,
    failed: u64,
    /// Of these, what this worker did.
    own_done: u64,
    own_failed: u64,
}

#[derive(Serialize)]
struct FilledJson {
    added: u64,
    unchanged: u64,
}

pub(crate) fn run(context: &Context, args: &WorkerArgs) -> anyhow::Result<Ending> {
    let Some(place) = place(args.jobs.as_deref())? else {
        bail!("expected the address of a database: --jobs postgres://USER@HOST/DATABASE, or VOISIN_BACKEND");
    };
    let mut jobs = Jobs::open(&place, args.lease.0)?;
    if !args.add.is_empty() {
        return fill(context, &mut jobs, args);
    }
    let embedder = context.embedder(None)?;
    let mut results = Results::open(&embedder, &place, args)?;
    let stop = context.stop_on_ctrl_c()?;
    let renewal = Renewal::start(jobs.again()?, args.lease.0);
    let mut own = [0, 0];
    let worked = work(context, &embedder, &mut jobs, &mut results, args, &stop, &mut own);
    drop(renewal);
    // What is in hand need not wait for its lease to end.
    let given_back = jobs.give_back();
    let counts = worked?;
    given_back?;
    let JobCounts { jobs, done, failed, .. } = counts;
    match args.format {
        ReportFormat::Json => {
            render::print_json(&WorkerJson { jobs, done, failed, own_done: own[0], own_failed: own[1] })?;
        }
        ReportFormat::Table => render::print_line(&format!(
            "{} done and {} failed of {}; by this worker {} and {}",
            done,
            failed,
            count(jobs, "file"),
            own[0],
            own[1]
        ))?,
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Ending::Interrupted
    } else if own[1] > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// Puts the files that were named into the table.
fn fill(context: &Context, jobs: &mut Jobs, args: &WorkerArgs) -> anyhow::Result<Ending> {
    let mut found = scan_named(&named_paths(&args.add)?, &Exclusions::default());
    found.split_files(&|_| false);
    for problem in &found.problems {
        context.console.warn(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    if found.files.is_empty() {
        return Err(NothingFound("expected audio files, found none".to_owned()).into());
    }
    let paths: Vec<&Path> = found.files.iter().map(|file| file.path.as_path()).collect();
    let added = jobs.add(&paths)?;
    let unchanged = paths.len() as u64 - added;
    match args.format {
        ReportFormat::Json => render::print_json(&FilledJson { added, unchanged })?,
        ReportFormat::Table => {
            render::print_line(&format!("{} added, {unchanged} there already", count(added, "file")))?;
        }
    }
    Ok(if found.problems.is_empty() { Ending::Fine } else { Ending::Partial })
}

/// Takes files until none is left that anybody could finish.
///
/// - `own`: how many of them were done, and failed, here
fn work(
    context: &Context,
    embedder: &Embedder,
    jobs: &mut Jobs,
    results: &mut Results,
    args: &WorkerArgs,
    stop: &AtomicBool,
    own: &mut [u64; 2],
) -> anyhow::Result<JobCounts> {
    let options = AddOptions {
        windows: match args.windows {
            None => WindowPlan::default(),
            Some(WindowCount::All) => WindowPlan::All,
            Some(WindowCount::Spread(n)) => WindowPlan::Spread(n),
        },
        descriptors: args.descriptors.map(Into::into).unwrap_or_default(),
        threads: context.threads(),
        fetch: columnar::FETCH,
        ..AddOptions::default()
    };
    while !stop.load(Ordering::Relaxed) {
        let some = jobs.lease(args.batch)?;
        if some.is_empty() {
            let counts = jobs.counts()?;
            if counts.done + counts.failed == counts.jobs {
                return Ok(counts);
            }
            // What others have in hand may come back.
            wait(Duration::from_secs(1), stop);
            continue;
        }
        let judged = listen(context, embedder, &some, results, &options, stop)?;
        jobs.finish(&judged)?;
        let done = judged.iter().filter(|(_, judged)| *judged == JobOutcome::Done).count() as u64;
        own[0] += done;
        own[1] += judged.len() as u64 - done;
        context.console.detail(&format!("{} done", count(judged.len() as u64, "file")));
    }
    Ok(jobs.counts()?)
}

/// Listens to files and keeps what came of it. Those that were not reached before somebody wanted to stop are left out.
fn listen(
    context: &Context,
    embedder: &Embedder,
    some: &[Job],
    results: &mut Results,
    options: &AddOptions,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<(i64, JobOutcome)>> {
    let mut judged: HashMap<PathBuf, JobOutcome> = HashMap::new();
    let mut files = Vec::with_capacity(some.len());
    for job in some {
        match columnar::file_record(&job.path) {
            Ok(file) => files.push(file),
            // Another machine may see it.
            Err(error) => {
                judged.insert(job.path.clone(), JobOutcome::Later(error.to_string()));
            }
        }
    }
    let console = context.console;
    let mut progress = |event: AddEvent<'_>| {
        if let AddEvent::Done { path, outcome } = event {
            let what = match outcome {
                Outcome::Failed(error) => {
                    let reason = with_causes(error);
                    console.warn(&reason);
                    if error.is_transient() { JobOutcome::Later(reason) } else { JobOutcome::Failed(reason) }
                }
                _ => JobOutcome::Done,
            };
            judged.insert(path.to_owned(), what);
        }
    };
    // Nobody else has listened to what nobody else had in hand.
    let is_new = some.iter().all(|job| job.attempts == 1);
    results.listen(embedder, &files, is_new, options, &mut progress, stop)?;
    let stopped = stop.load(Ordering::Relaxed);
    let all = some.iter().filter_map(|job| {
        let known = judged.remove(&job.path);
        Some((job.id, known.or_else(|| (!stopped).then_some(JobOutcome::Done))?))
    });
    Ok(all.collect())
}

/// Where vectors go.
enum Results {
    Files { dir: PathBuf, windows: bool, kind: ContentKind },
    Tables { store: Box<Postgres>, windows: bool, kind: ContentKind },
}

impl Results {
    fn open(embedder: &Embedder, place: &PostgresAddress, args: &WorkerArgs) -> anyhow::Result<Self> {
        let kind = args.identity.unwrap_or_default();
        if let Some(dir) = &args.output {
            columnar::make_folder(dir)?;
            return Ok(Self::Files { dir: dir.clone(), windows: !args.no_windows, kind });
        }
        let store = Postgres::open_or_create(place, &stored_model(embedder)?)?;
        Ok(Self::Tables { store: Box::new(store), windows: args.with_windows, kind })
    }

    /// - `is_new`: what others may have written need not be looked at
    fn listen(
        &mut self,
        embedder: &Embedder,
        files: &[FileRecord],
        is_new: bool,
        options: &AddOptions,
        progress: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        match self {
            Self::Files { dir, windows, kind } => {
                let add = AddOptions { force: is_new, ..*options };
                columnar::listen(embedder, files, dir, (add, *windows, *kind), progress, stop)?;
            }
            Self::Tables { store, windows, kind } => {
                let scratch = tempfile::tempdir()?;
                let mut library = Library::open(scratch.path(), OpenMode::Create)?;
                library.set_content_kind(*kind)?;
                add(&mut library, embedder, files, options, progress, stop)?;
                put(&Engine::from_library(library), store, *windows)?;
            }
        }
        Ok(())
    }
}

fn wait(how_long: Duration, stop: &AtomicBool) {
    let end = Instant::now() + how_long;
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Keeps this worker's leases from ending while it works, however long a file takes.
struct Renewal {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Renewal {
    fn start(mut jobs: Jobs, lease: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                wait(Duration::from_secs_f64(lease / 3.0), &stopped);
                // A connection that is lost is made anew the next time; a lease outlasts that.
                let _ = jobs.renew();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
