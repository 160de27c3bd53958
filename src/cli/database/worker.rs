//! `voisin worker`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use voisin_postgres::{
    Job, JobCounts, JobFailure, JobLease, JobOutcome, JobStatus, Jobs, JobsAdded, Postgres,
    PostgresAddress, add_tracks, job_status,
};

use super::place;
use crate::cli::args::{ReportFormat, WindowCount, WorkerArgs};
use crate::cli::columnar;
use crate::cli::context::Context;
use crate::cli::named::{named_paths, scan_named};
use crate::cli::render::{self, Align, Table, count};
use crate::cli::{Ending, NothingFound};
use voisin_base::output::OutputTarget;
use voisin_base::regular_file;
use voisin_base::text::with_causes;
use voisin_base::track::ContentKind;
use voisin_engine::{
    AddEvent, AddOptions, Embedder, Engine, Outcome, WindowPlan, add, stored_model,
};
use voisin_library::scan::{Exclusions, Links};
use voisin_library::{FileRecord, Library, OpenMode};
use voisin_questions::answers::database::{
    FilledJson, JobFailureJson, LeaseJson, WorkerJson, WorkersJson,
};

/// Interval at which waits check for Ctrl-C.
const PAUSE: Duration = Duration::from_millis(100);

fn workers_json(status: JobStatus) -> WorkersJson {
    let JobCounts {
        jobs,
        done,
        failed,
        leased,
    } = status.counts;
    let left = jobs.saturating_sub(done + failed) as f64;
    let lease = |lease: JobLease| LeaseJson {
        worker: lease.worker,
        files: lease.files,
        until: lease.until,
    };
    let failure = |failure: JobFailure| JobFailureJson {
        path: failure.path.display().to_string(),
        attempts: failure.attempts,
        reason: failure.reason,
    };
    WorkersJson {
        jobs,
        done,
        failed,
        leased,
        per_hour: status.per_hour,
        // Without a rate the time is unknown, unless nothing is left.
        seconds_left: (left == 0.0 || status.per_hour > 0.0).then(|| {
            if left == 0.0 {
                0.0
            } else {
                3600.0 * left / status.per_hour
            }
        }),
        workers: status.leases.into_iter().map(lease).collect(),
        failures: status.failures.into_iter().map(failure).collect(),
    }
}

pub(crate) fn run(context: &Context, args: &WorkerArgs) -> anyhow::Result<Ending> {
    let Some(place) = place(args.jobs.as_deref())? else {
        bail!(
            "expected the address of a database: --jobs postgres://USER@HOST/DATABASE, or VOISIN_BACKEND"
        );
    };
    if args.status {
        return status(&place, args.format);
    }
    let mut jobs = Jobs::open(&place, args.lease.0)?;
    if !args.add.is_empty() {
        return fill(context, &mut jobs, args);
    }
    // Before the model is loaded, so that a watchdog sees a heartbeat at once.
    if let Some(path) = &args.alive {
        check_heartbeat(path)?;
    }
    Heartbeat(args.alive.as_deref()).beat()?;
    let embedder = context.embedder(None)?;
    let mut results = Results::open(&embedder, &place, args)?;
    let stop = context.stop_on_ctrl_c()?;
    // On a separate connection, since the worker's is busy while it stores results.
    let renewal = Renewal::start(jobs.second_connection()?, args.lease.0);
    let mut own_counts = [0, 0];
    let worked = work(
        context,
        &embedder,
        &mut jobs,
        &mut results,
        args,
        &stop,
        &mut own_counts,
    );
    drop(renewal);
    // Unfinished files need not wait for their lease to expire, even if `work` failed. The renewal
    // thread has ended by now, and renews no leases.
    let given_back = jobs.give_back();
    let counts = worked?;
    given_back?;
    let JobCounts {
        jobs, done, failed, ..
    } = counts;
    match args.format {
        ReportFormat::Json => {
            render::print_json(&WorkerJson {
                jobs,
                done,
                failed,
                own_done: own_counts[0],
                own_failed: own_counts[1],
            })?;
        }
        ReportFormat::Table => render::print_line(&format!(
            "{} done and {} failed of {}; by this worker {} and {}",
            done,
            failed,
            count(jobs, "file"),
            own_counts[0],
            own_counts[1]
        ))?,
    }
    Ok(if stop.load(Ordering::Relaxed) {
        Ending::Interrupted
    } else if own_counts[1] > 0 {
        Ending::Partial
    } else {
        Ending::Fine
    })
}

/// Adds the files that were named to the queue.
fn fill(context: &Context, jobs: &mut Jobs, args: &WorkerArgs) -> anyhow::Result<Ending> {
    let links = if args.follow_links {
        Links::All
    } else {
        Links::Below(&[])
    };
    let found = scan_named(&named_paths(&args.add)?, &Exclusions::default(), links);
    if let [first, ..] = &found.leading_out[..] {
        context.console.warn(&format!(
            "{} that lead out of the folders named not followed, such as {}: --follow-links follows them",
            count(found.leading_out.len() as u64, "link"),
            first.display()
        ));
    }
    for problem in &found.problems {
        context
            .console
            .warn(&format!("{}: {}", problem.path.display(), problem.reason));
    }
    if found.files.is_empty() {
        return Err(NothingFound("expected audio files, found none".to_owned()).into());
    }
    let JobsAdded { added, changed } = jobs.add(&found.files)?;
    let unchanged = found.files.len() as u64 - added - changed;
    match args.format {
        ReportFormat::Json => render::print_json(&FilledJson {
            added,
            changed,
            unchanged,
        })?,
        ReportFormat::Table => render::print_line(&format!(
            "{} added, {changed} changed and queued again, {unchanged} queued before",
            count(added, "file")
        ))?,
    }
    Ok(if found.problems.is_empty() {
        Ending::Fine
    } else {
        Ending::Partial
    })
}

/// Prints the progress of all workers.
fn status(place: &PostgresAddress, format: ReportFormat) -> anyhow::Result<Ending> {
    let Some(status) = job_status(place)? else {
        return Err(NothingFound(format!(
            "{place} has no queue of files: \"voisin worker --add PATH\" creates one"
        ))
        .into());
    };
    let status = workers_json(status);
    if format == ReportFormat::Json {
        render::print_json(&status)?;
        return Ok(Ending::Fine);
    }
    render::print_line(&format!(
        "{} done and {} failed of {}, {} leased",
        status.done,
        status.failed,
        count(status.jobs, "file"),
        status.leased
    ))?;
    render::print_line(&match status.seconds_left {
        Some(left) => format!(
            "{:.0} an hour, {} left",
            status.per_hour,
            render::clock(left)
        ),
        None => "fewer than two done in the last ten minutes".to_owned(),
    })?;
    let mut workers = Table::new(&[
        ("worker", Align::Left),
        ("files leased", Align::Right),
        ("until", Align::Left),
    ]);
    for lease in &status.workers {
        workers.row([&lease.worker, &lease.files.to_string(), &lease.until]);
    }
    workers.print()?;
    let mut failures = Table::new(&[
        ("failed", Align::Left),
        ("tried", Align::Right),
        ("reason", Align::Left),
    ]);
    for failure in &status.failures {
        failures.row([
            &failure.path,
            &failure.attempts.to_string(),
            &failure.reason,
        ]);
    }
    failures.print()?;
    Ok(Ending::Fine)
}

/// Processes files until all are done or have failed.
///
/// - `own_counts`: how many of them were done, and failed, by this worker
fn work(
    context: &Context,
    embedder: &Embedder,
    jobs: &mut Jobs,
    results: &mut Results,
    args: &WorkerArgs,
    stop: &AtomicBool,
    own_counts: &mut [u64; 2],
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
    let alive = Heartbeat(args.alive.as_deref());
    while !stop.load(Ordering::Relaxed) {
        alive.beat()?;
        // A few at a time, as other machines cannot process files leased here.
        let some = jobs.lease(args.batch)?;
        if some.is_empty() {
            let counts = jobs.counts()?;
            // Files leased by other workers return to the queue if these are lost.
            if counts.done + counts.failed == counts.jobs {
                return Ok(counts);
            }
            wait(Duration::from_secs(1), stop);
            continue;
        }
        let outcomes = analyse(context, embedder, &some, results, &options, &alive, stop)?;
        // Only after the results are stored: a crash between the two costs a second analysis, never
        // a result.
        jobs.finish(&outcomes)?;
        let done = outcomes
            .iter()
            .filter(|(.., outcome)| *outcome == JobOutcome::Done)
            .count() as u64;
        own_counts[0] += done;
        own_counts[1] += outcomes.len() as u64 - done;
        context
            .console
            .detail(&format!("{} done", count(outcomes.len() as u64, "file")));
    }
    Ok(jobs.counts()?)
}

/// Analyses files and stores the results. Files that were not reached before Ctrl-C are left out.
fn analyse(
    context: &Context,
    embedder: &Embedder,
    some: &[Job],
    results: &mut Results,
    options: &AddOptions,
    alive: &Heartbeat<'_>,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<(i64, Option<FileRecord>, JobOutcome)>> {
    let mut outcomes: HashMap<PathBuf, JobOutcome> = HashMap::new();
    let mut files = Vec::with_capacity(some.len());
    for job in some {
        match columnar::file_record(&job.path) {
            Ok(file) => files.push(file),
            // Another machine may be able to read it.
            Err(error) => {
                outcomes.insert(job.path.clone(), JobOutcome::Later(error.to_string()));
            }
        }
    }
    let console = context.console;
    let mut progress = |event: AddEvent<'_>| {
        if let AddEvent::Done { path, outcome } = event {
            // An error here is reported by the next beat in `work`.
            let _ = alive.beat();
            let job_outcome = match outcome {
                Outcome::Failed(error) => {
                    let reason = with_causes(error);
                    console.warn(&reason);
                    if error.is_transient() {
                        JobOutcome::Later(reason)
                    } else {
                        JobOutcome::Failed(reason)
                    }
                }
                _ => JobOutcome::Done,
            };
            outcomes.insert(path.to_owned(), job_outcome);
        }
    };
    // At the first attempt no other worker can have stored results.
    let is_new = some.iter().all(|job| job.attempts == 1);
    results.analyse(embedder, &files, is_new, options, &mut progress, stop)?;
    // Read once, after the run: a later Ctrl-C must not drop files that were reached.
    let stopped = stop.load(Ordering::Relaxed);
    let mut files: HashMap<PathBuf, FileRecord> = files
        .into_iter()
        .map(|file| (file.path.clone(), file))
        .collect();
    let all = some.iter().filter_map(|job| {
        let known = outcomes
            .remove(&job.path)
            // No event and no stop: an earlier attempt stored it, so it was skipped.
            .or_else(|| (!stopped).then_some(JobOutcome::Done))?;
        Some((job.id, files.remove(&job.path), known))
    });
    Ok(all.collect())
}

/// A file that is written after each analysed file, so that a watchdog can detect a worker that hangs.
struct Heartbeat<'a>(Option<&'a Path>);

impl Heartbeat<'_> {
    fn beat(&self) -> anyhow::Result<()> {
        let Some(path) = self.0 else { return Ok(()) };
        // Seconds since 1970: a watchdog compares the file's age, or two contents.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        std::fs::write(path, format!("{now}\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Refuses a file with any content but the time that a worker writes.
fn check_heartbeat(path: &Path) -> anyhow::Result<()> {
    /// More digits than any time has, in bytes.
    const LONGEST: u64 = 32;
    let found = regular_file::read_text(path, LONGEST);
    // A mistake such as `--alive song.flac` must not overwrite the song. A worker that is killed
    // while it writes leaves an empty file, which can be overwritten.
    let is_ours = found.is_ok_and(|text| text.is_empty() || text.trim().parse::<u64>().is_ok());
    match OutputTarget::data(path, is_ours) {
        Ok(place) if place.is_standard() => {
            bail!("--alive: expected a file, found standard output")
        }
        Err(error) if error.remedy().is_some() => bail!("{error}: name another"),
        place => Ok(place.map(drop)?),
    }
}

/// Where results are stored.
enum Results {
    Files {
        dir: PathBuf,
        windows: bool,
        kind: ContentKind,
    },
    Tables {
        store: Box<Postgres>,
        windows: bool,
        kind: ContentKind,
    },
}

impl Results {
    fn open(
        embedder: &Embedder,
        place: &PostgresAddress,
        args: &WorkerArgs,
    ) -> anyhow::Result<Self> {
        let kind = args.identity.unwrap_or_default();
        // Opened now, so that an error shows before the first batch.
        if let Some(dir) = &args.output {
            columnar::make_folder(dir)?;
            return Ok(Self::Files {
                dir: dir.to_path_buf(),
                windows: !args.no_windows,
                kind,
            });
        }
        let store = Postgres::open_or_create(place, &stored_model(embedder)?)?;
        Ok(Self::Tables {
            store: Box::new(store),
            windows: args.with_windows,
            kind,
        })
    }

    /// - `is_new`: skip the check for results of other workers
    fn analyse(
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
                let add = AddOptions {
                    force: is_new,
                    ..*options
                };
                columnar::analyse(embedder, files, dir, (add, *windows, *kind), progress, stop)?;
            }
            Self::Tables {
                store,
                windows,
                kind,
            } => {
                // A temporary library for this batch, so that results pass through the same code as
                // those of `add` and `push`.
                let scratch = tempfile::tempdir()?;
                let mut library = Library::open(scratch.path(), OpenMode::Create)?;
                library.settings_mut().set_content_kind(*kind)?;
                add(&mut library, embedder, files, options, progress, stop)?;
                add_tracks(&Engine::from_library(library), store, *windows)?;
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

/// Renews this worker's leases while it works, even if a file takes long.
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
                // A third of the lease: one renewal may fail, and the next is still in time.
                wait(Duration::from_secs_f64(lease / 3.0), &stopped);
                // A lost connection is opened again the next time, before the lease expires.
                let _ = jobs.renew();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_overwrites_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alive");
        for (there, is_fine) in [
            (None, true),
            (Some("1764316800\n"), true),
            (Some("PRECIOUS"), false),
            (Some(""), true),
        ] {
            let _ = std::fs::remove_file(&path);
            if let Some(text) = there {
                std::fs::write(&path, text).unwrap();
            }
            assert_eq!(check_heartbeat(&path).is_ok(), is_fine, "{there:?}");
        }
        assert!(check_heartbeat(Path::new("-")).is_err());
        Heartbeat(Some(&path)).beat().unwrap();
        check_heartbeat(&path).unwrap();
        #[cfg(unix)]
        check_heartbeat(Path::new("/dev/null")).unwrap();
    }
}
