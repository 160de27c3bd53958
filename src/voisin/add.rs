//! Adds files to the library: several in parallel, each in a transaction of its own, in the order in which they finish.
//!
//! Worker threads probe, decode and encode; only the calling thread writes. A track is stored completely or not at all, so
//! that a run can be stopped or killed at any moment and the next one continues.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::Sender;
use serde::Serialize;

use super::{Embedder, EngineError, FileEmbedding};
use voisin_audio::tags::read_tags;
use voisin_audio::{self, AudioInfo};
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_encoder::ModelManifest;
use voisin_library::{
    AttachOutcome, AudioFacts, Failure, FileRecord, FileState, Journal, JournalKind, Library,
    LibraryError, NewTrack, OpenMode, StoredModel, TrackTags,
};

const DEADLY: &str = "reading it ended the process twice";

#[derive(Debug, Clone, Copy)]
pub struct AddOptions {
    pub force: bool,
    /// Try unchanged files again that failed before. The record of a failure stays until its file has been processed.
    pub retry: bool,
    pub dry_run: bool,
    pub threads: usize,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self {
            force: false,
            retry: false,
            dry_run: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

#[derive(Debug)]
pub enum Outcome {
    Added(TrackId),
    Replaced(TrackId),
    /// Known audio in the same place, with other tags.
    Retagged(TrackId),
    /// Known audio whose file was elsewhere before.
    Moved {
        track: TrackId,
        from: PathBuf,
    },
    Duplicate(TrackId),
    Failed(EngineError),
    WouldAdd,
}

#[derive(Debug)]
pub enum AddEvent<'a> {
    Planned {
        jobs: usize,
        unchanged: usize,
        skipped: usize,
    },
    Done {
        path: &'a Path,
        outcome: &'a Outcome,
    },
    /// A run was killed while it processed files, which are now read first, one by one.
    CutOff { files: usize },
    /// No more files are read; what else an [`AddRun`](crate::AddRun) does follows.
    Stored,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct AddSummary {
    pub added: u64,
    /// Known tracks with new tags or vectors, or in one more file.
    pub updated: u64,
    pub moved: u64,
    pub unchanged: u64,
    /// Tracks that were removed because their last file now has other audio.
    pub removed: u64,
    pub failed: u64,
    /// Files that failed in an earlier run and have not changed since.
    pub skipped: u64,
    pub seconds: f64,
    pub device: String,
    pub model: String,
    pub interrupted: bool,
}

struct FileJob {
    file: FileRecord,
    again: bool,
}

enum FileFinding {
    Embedded {
        info: AudioInfo,
        tags: TrackTags,
        embedding: Box<FileEmbedding>,
    },
    Known {
        track: TrackId,
        tags: TrackTags,
    },
    Failed(EngineError),
}

/// Adds files to a library, or updates those in it. Files that a killed run left over are read first, each alone.
///
/// - `files`: each once, as [`voisin_library::scan`] finds them
/// - `stop`: when it becomes true, the files being processed are finished and the rest is left for another run
pub fn add(
    library: &mut Library,
    embedder: &Embedder,
    files: &[FileRecord],
    options: &AddOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> Result<AddSummary, EngineError> {
    let start = Instant::now();
    let mut summary = AddSummary {
        device: embedder.encoder().device().description().to_owned(),
        model: embedder.encoder().manifest().name.clone(),
        ..AddSummary::default()
    };
    let mut left_over = HashMap::new();
    if !options.dry_run {
        // Before any file is read, so that a library of another model fails at once.
        library.set_model(&manifest_as_stored(embedder.encoder().manifest())?)?;
        left_over = files_left_over(library, options, progress)?;
    }
    let jobs = jobs(library, files, options, &mut summary)?;
    progress(AddEvent::Planned {
        jobs: jobs.len(),
        unchanged: summary.unchanged as usize,
        skipped: summary.skipped as usize,
    });
    let mut writer = Writer {
        library,
        progress,
        summary,
    };
    if options.dry_run {
        for job in &jobs {
            writer.done(&job.file.path, Outcome::WouldAdd);
        }
    } else {
        process(&mut writer, embedder, jobs, &left_over, options, stop)?;
    }
    let mut summary = writer.summary;
    // Read after the workers have ended, so that a stop during the last file counts.
    summary.interrupted = !options.dry_run && stop.load(Ordering::Relaxed);
    // After a stop, a track without a file may still be found in a file that was not reached.
    if !summary.interrupted && !options.dry_run {
        summary.removed = library.remove_orphans()?;
    }
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

/// The files that killed runs were reading, and in how many of these runs; with a retry those too that failed for it.
fn files_left_over(
    library: &Library,
    options: &AddOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
) -> Result<HashMap<PathBuf, usize>, EngineError> {
    let mut times = HashMap::new();
    for path in library.leftovers().interrupted {
        *times.entry(path).or_default() += 1;
    }
    if !times.is_empty() {
        progress(AddEvent::CutOff { files: times.len() });
    }
    if options.force || options.retry {
        for failure in library.failures()? {
            if failure.reason.starts_with(DEADLY) {
                times.entry(failure.path).or_insert(1);
            }
        }
    }
    Ok(times)
}

fn process(
    writer: &mut Writer<'_>,
    embedder: &Embedder,
    jobs: Vec<FileJob>,
    left_over: &HashMap<PathBuf, usize>,
    options: &AddOptions,
    stop: &AtomicBool,
) -> Result<(), EngineError> {
    let times = |job: &FileJob| left_over.get(&job.file.path).copied().unwrap_or(0);
    // Those that were left over twice, the second time when they were read alone.
    let (deadly, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| times(job) > 1);
    for job in &deadly {
        let problem = format!(
            "{DEADLY}: set aside until it changes, or \"voisin add --retry\" reads it again"
        );
        writer.fail(&job.file, EngineError::file(&job.file.path, problem))?;
    }
    let (first, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| times(job) == 1);
    run(writer, embedder, &first, 1, stop)?;
    // Only now: if one of these ends the process, two journals name it.
    if !stop.load(Ordering::Relaxed) {
        writer.library.forget_interrupted();
    }
    run(writer, embedder, &others, options.threads, stop)
}

fn jobs(
    library: &Library,
    files: &[FileRecord],
    options: &AddOptions,
    summary: &mut AddSummary,
) -> Result<Vec<FileJob>, EngineError> {
    let mut jobs = Vec::new();
    for file in files {
        let again = match library.file_state(file)? {
            FileState::Unchanged(_) if !options.force => {
                summary.unchanged += 1;
                continue;
            }
            // Skipped until size or time changes. Temporary failures are not among these.
            FileState::FailedBefore { .. } if !options.force && !options.retry => {
                summary.skipped += 1;
                continue;
            }
            // The content is known, so without `again` the file would stay without a vector.
            FileState::NoVector(_) => true,
            _ => options.force,
        };
        let file = file.clone();
        jobs.push(FileJob { file, again });
    }
    Ok(jobs)
}

pub(super) fn audio_facts(info: AudioInfo, damaged_packets: u64) -> AudioFacts {
    AudioFacts {
        content: info.content,
        seconds: info.seconds(),
        sample_rate: info.sample_rate,
        channels: info.channels,
        container: info.container,
        codec: info.codec,
        packets: info.packets,
        damaged_packets,
    }
}

#[doc(hidden)]
pub fn manifest_as_stored(manifest: &ModelManifest) -> Result<StoredModel, EngineError> {
    let manifest_json = serde_json::to_string(manifest).map_err(|error| EngineError::Model {
        reason: format!("the manifest of model {}: {error}", manifest.name),
    })?;
    Ok(StoredModel {
        name: manifest.name.clone(),
        fingerprint: manifest.fingerprint(),
        dimension: manifest.dimension,
        manifest_json,
    })
}

fn run(
    writer: &mut Writer<'_>,
    embedder: &Embedder,
    jobs: &[FileJob],
    threads: usize,
    stop: &AtomicBool,
) -> Result<(), EngineError> {
    if jobs.is_empty() {
        return Ok(());
    }
    // At least one worker and no more than files, since each opens the library and has its own
    // buffers.
    let workers = threads.clamp(1, jobs.len());
    let threads_each = (threads / workers).max(1);
    // Workers take the next file from one counter, so that no file waits behind a long one.
    let next = AtomicUsize::new(0);
    let broken = AtomicBool::new(false);
    let dir = writer.library.dir().to_owned();
    let journal = writer.library.journal(JournalKind::Reading);
    // Bounded, so that vectors do not accumulate in memory if the disk is slower than the network.
    let (sender, receiver) = crossbeam_channel::bounded(2 * workers);
    std::thread::scope(|scope| {
        for slot in 0..workers {
            let worker = Worker {
                journal: journal.as_ref().map(|journal| (journal, slot)),
                embedder,
                // SQLite connections cannot be shared between threads.
                reader: Library::open(&dir, OpenMode::ReadOnly)?,
            };
            let sender = sender.clone();
            let next = &next;
            let broken = &broken;
            scope.spawn(move || {
                // Keeps parallel work of this thread inside its own pool.
                let _pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads_each)
                    .use_current_thread()
                    .build();
                worker.work(jobs, next, &[stop, broken], &sender);
            });
        }
        drop(sender);
        let mut result = Ok(());
        for (i, finding) in receiver {
            // After an error, drains the channel: a worker that blocks on sending would never see
            // `broken`.
            if result.is_ok() {
                result = writer.write(&jobs[i as usize], finding);
                broken.store(result.is_err(), Ordering::Relaxed);
            }
        }
        result
    })
}

struct Worker<'a> {
    /// Where this worker records the file that it processes, in case a crash ends the process.
    journal: Option<(&'a Journal, usize)>,
    embedder: &'a Embedder,
    reader: Library,
}

impl Worker<'_> {
    fn work(
        &self,
        jobs: &[FileJob],
        next: &AtomicUsize,
        stops: &[&AtomicBool],
        sender: &Sender<(u32, FileFinding)>,
    ) {
        // Checked between files only, so that a file is always finished.
        while !stops.iter().any(|stop| stop.load(Ordering::Relaxed)) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(i) else { return };
            // Before the first byte is read: after a crash of the process the record remains, and
            // the next run reads the file alone.
            self.note(Some(&job.file.path));
            // A panic in a decoder is a failure of its file. It is unwind safe, because all values
            // of `look_at` are dropped.
            let finding = catch_unwind(AssertUnwindSafe(|| self.look_at(job)))
                .unwrap_or_else(|panic| Err(internal_fault(&job.file.path, &*panic)))
                .unwrap_or_else(FileFinding::Failed);
            self.note(None);
            if sender.send((i as u32, finding)).is_err() {
                return;
            }
        }
    }

    fn note(&self, path: Option<&Path>) {
        if let Some((journal, slot)) = self.journal {
            journal.note(slot, path);
        }
    }

    fn look_at(&self, job: &FileJob) -> Result<FileFinding, EngineError> {
        let path = &job.file.path;
        let info = voisin_audio::probe(path)?;
        let tags = read_tags(path).unwrap_or_default();
        // Known content under another path or with another time was moved, copied or retagged, and
        // keeps its vectors.
        if !job.again
            && let Some(track) = self.reader.find_by_content(&info.content)?
            && self.reader.has_vector(track)?
        {
            return Ok(FileFinding::Known { track, tags });
        }
        let embedding = Box::new(self.embedder.embed_measured(path, &info)?);
        Ok(FileFinding::Embedded {
            info,
            tags,
            embedding,
        })
    }
}

fn internal_fault(path: &Path, panic: &(dyn Any + Send)) -> EngineError {
    // `panic!` with arguments carries a `String`, one without a `&str`.
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    EngineError::file(
        path,
        format!("internal fault: {message}; please report it with this file"),
    )
}

struct Writer<'a> {
    library: &'a mut Library,
    progress: &'a mut dyn FnMut(AddEvent<'_>),
    summary: AddSummary,
}

impl Writer<'_> {
    fn write(&mut self, job: &FileJob, finding: FileFinding) -> Result<(), EngineError> {
        match finding {
            FileFinding::Embedded {
                info,
                tags,
                embedding,
            } => self.store(job, info, tags, *embedding),
            FileFinding::Known { track, tags } => self.attach(track, &job.file, &tags),
            FileFinding::Failed(error) => self.fail(&job.file, error),
        }
    }

    fn store(
        &mut self,
        job: &FileJob,
        info: AudioInfo,
        tags: TrackTags,
        embedding: FileEmbedding,
    ) -> Result<(), EngineError> {
        let vector = embedding.vector.into_vec();
        let logits = embedding.logits;
        let descriptors = embedding.descriptors;
        if let Some(track) = self.library.find_by_content(&info.content)? {
            // A copy of it was stored after the worker's check.
            if !job.again {
                return self.attach(track, &job.file, &tags);
            }
            self.library.replace_vector(track, &vector, &logits)?;
            self.library
                .set_damaged_packets(track, embedding.report.damaged_packets)?;
            if let Some(measured) = &descriptors {
                self.library.set_descriptors(track, measured)?;
            }
            self.library.attach_file(track, &job.file, &tags)?;
            self.done(&job.file.path, Outcome::Replaced(track));
            return Ok(());
        }
        let audio = audio_facts(info, embedding.report.damaged_packets);
        let new = NewTrack {
            audio,
            file: job.file.clone(),
            tags,
            vector,
            logits,
            descriptors,
        };
        match self.library.insert_track(&new) {
            Ok(track) => self.done(&new.file.path, Outcome::Added(track)),
            Err(LibraryError::DuplicateContent { track }) => {
                self.attach(track, &new.file, &new.tags)?;
            }
            // Concerns this file alone, unlike all other errors of the library: a vector that is not
            // finite or not of length 1.
            Err(error @ LibraryError::Refused(_)) => {
                let error = EngineError::file(&new.file.path, with_causes(&error));
                self.fail(&new.file, error)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn attach(
        &mut self,
        track: TrackId,
        file: &FileRecord,
        tags: &TrackTags,
    ) -> Result<(), EngineError> {
        let outcome = match self.library.attach_file(track, file, tags)? {
            AttachOutcome::Retagged => Outcome::Retagged(track),
            AttachOutcome::Moved { from } => Outcome::Moved { track, from },
            AttachOutcome::Duplicate => Outcome::Duplicate(track),
        };
        self.done(&file.path, outcome);
        Ok(())
    }

    fn fail(&mut self, file: &FileRecord, error: EngineError) -> Result<(), EngineError> {
        if let EngineError::Library(error) = error {
            // An error of the catalogue itself affects all files.
            return Err(error.into());
        }
        // Zeros mean an unknown size, as of a file without readable metadata.
        let known_size = file.size > 0 || file.mtime_ns != 0;
        self.library.record_failure(&Failure {
            path: file.path.clone(),
            size: known_size.then_some(file.size),
            mtime_ns: known_size.then_some(file.mtime_ns),
            reason: one_line(&with_causes(&error), &file.path),
            transient: error.is_transient(),
            attempts: 0,
            failed_at: 0,
        })?;
        self.done(&file.path, Outcome::Failed(error));
        Ok(())
    }

    fn done(&mut self, path: &Path, outcome: Outcome) {
        let counter = match &outcome {
            Outcome::Added(_) | Outcome::WouldAdd => &mut self.summary.added,
            Outcome::Replaced(_) | Outcome::Retagged(_) | Outcome::Duplicate(_) => {
                &mut self.summary.updated
            }
            Outcome::Moved { .. } => &mut self.summary.moved,
            Outcome::Failed(_) => &mut self.summary.failed,
        };
        *counter += 1;
        (self.progress)(AddEvent::Done {
            path,
            outcome: &outcome,
        });
    }
}

/// A reason on one line, without the path that is printed beside it.
fn one_line(message: &str, path: &Path) -> String {
    let prefix = format!("{}: ", path.display());
    message
        .strip_prefix(&prefix)
        .unwrap_or(message)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
