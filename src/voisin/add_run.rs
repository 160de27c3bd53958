//! A run that adds files to a permanent library, from the lock to the report.
//!
//! For: the steps around [`add`]: one writer at a time, files that a killed run left over,
//! files that are gone, and the index. Not for: finding the files (`voisin_library::scan`), wording events and reports, and
//! temporary libraries, for which [`add`] suffices.

use std::collections::HashMap;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::add::{AddEvent, AddOptions, AddSummary, add_suspects_first};
use super::missing_files::MissingFiles;
use super::{Embedder, Engine, EngineError, WindowPlan, remember_model};
use serde::Serialize;
use voisin_encoder::ModelRef;
use voisin_library::scan::Scan;
use voisin_library::{Failure, FileRecord, FileState, Library, LibraryError, WriterLock};

#[derive(Clone, Default)]
pub struct AddRun<'a> {
    /// The files, each once, as [`voisin_library::scan`] finds them.
    pub files: &'a [FileRecord],
    /// Folders that the run covers completely, so that files missing from them are detected.
    pub folders: &'a [PathBuf],
    pub remove_missing: bool,
    /// Windows of a track from now on; `None`: the library's setting.
    pub windows: Option<WindowPlan>,
    /// The model's name or path, to be stored; `None`: the library has it.
    pub model: Option<ModelRef>,
    /// How files are added. The windows are those of the library.
    pub options: AddOptions,
}

pub struct StoredFiles {
    summary: AddSummary,
    /// Held until the run is settled; none in a dry run.
    lock: Option<WriterLock>,
}

/// Files that killed runs were reading.
#[derive(Default)]
struct LeftOver {
    /// They are read first, each alone.
    once: HashSet<PathBuf>,
    /// They are not read.
    twice: HashSet<PathBuf>,
}

/// The documented JSON of `add`.
#[derive(Debug, Default, Serialize)]
pub struct AddReport {
    #[serde(flatten)]
    pub summary: AddSummary,
    /// Files that are no longer below the folders.
    #[serde(flatten)]
    pub gone: MissingFiles,
}

/// The files of a scan that a run would process: those that are new or changed.
pub fn pending_files(library: &Library, found: &Scan) -> Result<Vec<FileRecord>, LibraryError> {
    let mut pending = Vec::new();
    for file in &found.files {
        let is_pending = !matches!(
            library.file_state(file)?,
            FileState::Unchanged(_) | FileState::FailedBefore { .. }
        );
        if is_pending {
            pending.push(file.clone());
        }
    }
    Ok(pending)
}

impl AddRun<'_> {
    /// Takes the writer's lock, sets aside files that crash the decoder, and stores the others.
    ///
    /// - `load`: loads the model while the lock is held
    /// - `stop`: when it becomes true, the files being processed are finished and the rest is left for another run
    pub fn store<E: From<EngineError>>(
        &self,
        engine: &mut Engine,
        load: impl FnOnce(&Library) -> Result<Arc<Embedder>, E>,
        on_event: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> Result<StoredFiles, E> {
        let mut lock = None;
        if !self.options.dry_run {
            // First, since everything below reads the library to change it.
            lock = Some(
                engine
                    .library()
                    .lock_for_writing()
                    .map_err(EngineError::from)?,
            );
            // Under the lock, because the setting applies to this run and all later ones.
            if let Some(windows) = self.windows {
                engine.set_windows_setting(windows)?;
            }
        }
        let left_over = self.left_over(engine.library_mut(), on_event)?;
        let embedder = load(engine.library())?;
        Ok(self.store_with(engine, &embedder, &left_over, lock, on_event, stop)?)
    }

    /// Updates the rest of the library and the index after the files are stored. All work on the global thread pool happens
    /// here.
    pub fn settle(
        &self,
        engine: &mut Engine,
        stored: StoredFiles,
    ) -> Result<AddReport, EngineError> {
        let StoredFiles {
            summary,
            lock: _lock,
        } = stored;
        let dry_run = self.options.dry_run;
        let mut report = AddReport {
            summary,
            ..AddReport::default()
        };
        // After a stop not all files were reached.
        if !report.summary.interrupted {
            // A single named file implies nothing about its folder.
            let folders = self.folders.iter().filter(|folder| !folder.is_file());
            report.gone = MissingFiles::below(engine.library(), folders)?;
            if !dry_run {
                // Ordered behind the other files of their tracks, because a track is shown by its
                // first file. Unreachable files are moved, too, but never removed.
                let missing = [&report.gone.files[..], &report.gone.out_of_reach].concat();
                engine.library_mut().put_missing_last(&missing)?;
            }
            if self.remove_missing && !dry_run {
                let removed = engine.library_mut().remove_missing(&report.gone.files)?;
                report.summary.removed += removed.tracks;
            }
        }
        if !dry_run {
            index(engine, &report.summary)?;
        }
        Ok(report)
    }

    /// The files of this run that killed runs left over. Those that were left over twice, the second time when they were read
    /// alone, are recorded as failed.
    fn left_over(
        &self,
        library: &mut Library,
        on_event: &mut dyn FnMut(AddEvent<'_>),
    ) -> Result<LeftOver, EngineError> {
        const REASON: &str = "reading it ended the process twice";
        let mut left_over = LeftOver::default();
        if self.options.dry_run {
            return Ok(left_over);
        }
        let mut times: HashMap<PathBuf, usize> = HashMap::new();
        for path in library.leftovers().interrupted {
            *times.entry(path).or_default() += 1;
        }
        if !times.is_empty() {
            on_event(AddEvent::CutOff { files: times.len() });
        }
        if self.options.force || self.options.retry {
            let failures = library.failures()?.into_iter();
            let deadly = failures.filter(|failure| failure.reason.starts_with(REASON));
            left_over.once.extend(deadly.map(|failure| failure.path));
        }
        for file in self.files {
            match times.get(&file.path) {
                None => {}
                Some(1) => {
                    left_over.once.insert(file.path.clone());
                }
                Some(_) => {
                    let reason = format!("{REASON}: set aside until it changes");
                    on_event(AddEvent::SetAside {
                        path: &file.path,
                        reason: &reason,
                    });
                    library.record_failure(&Failure {
                        path: file.path.clone(),
                        size: Some(file.size),
                        mtime_ns: Some(file.mtime_ns),
                        reason,
                        transient: false,
                        attempts: 0,
                        failed_at: 0,
                    })?;
                    left_over.twice.insert(file.path.clone());
                }
            }
        }
        // Otherwise the journals are needed until the files of `once` are read.
        if left_over.once.is_empty() {
            library.forget_interrupted();
        }
        Ok(left_over)
    }

    fn store_with(
        &self,
        engine: &mut Engine,
        embedder: &Embedder,
        left_over: &LeftOver,
        lock: Option<WriterLock>,
        on_event: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> Result<StoredFiles, EngineError> {
        let options = AddOptions {
            windows: engine.windows_for(embedder.encoder().manifest().reads())?,
            ..self.options
        };
        if let Some(model) = self.model.as_ref().filter(|_| !options.dry_run) {
            let fingerprint = embedder.encoder().manifest().fingerprint();
            remember_model(engine.library_mut(), model, &fingerprint)?;
        }
        let files: Vec<FileRecord> = self
            .files
            .iter()
            .filter(|file| !left_over.twice.contains(&file.path))
            .cloned()
            .collect();
        let library = engine.library_mut();
        let mut summary = add_suspects_first(
            library,
            embedder,
            &files,
            &left_over.once,
            &options,
            on_event,
            stop,
        )?;
        summary.failed += (self.files.len() - files.len()) as u64;
        Ok(StoredFiles { summary, lock })
    }
}

fn index(engine: &mut Engine, summary: &AddSummary) -> Result<(), EngineError> {
    let changed = summary.added + summary.updated + summary.moved + summary.removed > 0;
    if (changed || !engine.index_path().exists()) && engine.library().status()?.vectors > 0 {
        if summary.interrupted {
            // After an interruption the user should not wait for a build.
            engine.refresh_index()?;
        } else {
            engine.maintain_index()?;
        }
    }
    // Moods are derived from the tags, and are updated after the index.
    if changed && !summary.interrupted {
        engine.fill_moods()?;
    }
    Ok(())
}
