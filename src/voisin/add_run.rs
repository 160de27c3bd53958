//! A run that adds files to a permanent library, from the lock to the report.
//!
//! For: the steps around [`add`]: one writer at a time, files that are gone, and the index. Not for: finding the files
//! (`voisin_library::scan`), wording events and reports, and temporary libraries, for which [`add`] suffices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::add::{AddEvent, AddOptions, AddSummary, add};
use super::missing_files::MissingFiles;
use super::{Embedder, Engine, EngineError, remember_model};
use serde::Serialize;
use voisin_encoder::ModelRef;
use voisin_library::scan::Scan;
use voisin_library::{FileRecord, FileState, Library, LibraryError};

#[derive(Clone, Default)]
pub struct AddRun<'a> {
    /// The files, each once, as [`voisin_library::scan`] finds them.
    pub files: &'a [FileRecord],
    /// Folders that the run covers completely, so that files missing from them are detected.
    pub folders: &'a [PathBuf],
    pub remove_missing: bool,
    /// The model's name or path, to be stored; `None`: the library has it.
    pub model: Option<ModelRef>,
    pub options: AddOptions,
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
    /// Takes the writer's lock, stores the files, and updates the rest of the library and the index.
    ///
    /// - `load`: loads the model while the lock is held
    /// - `stop`: when it becomes true, the files being processed are finished and the rest is left for another run
    pub fn run<E: From<EngineError>>(
        &self,
        engine: &mut Engine,
        load: impl FnOnce(&Library) -> Result<Arc<Embedder>, E>,
        on_event: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> Result<AddReport, E> {
        // First, since everything below reads the library to change it; held until the end.
        let lock = (!self.options.dry_run).then(|| engine.library().lock_for_writing());
        let _lock = lock.transpose().map_err(EngineError::from)?;
        let embedder = load(engine.library())?;
        Ok(self.run_with(engine, &embedder, on_event, stop)?)
    }

    fn run_with(
        &self,
        engine: &mut Engine,
        embedder: &Embedder,
        on_event: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> Result<AddReport, EngineError> {
        let dry_run = self.options.dry_run;
        let library = engine.library_mut();
        if let Some(model) = self.model.as_ref().filter(|_| !dry_run) {
            let fingerprint = embedder.encoder().manifest().fingerprint();
            remember_model(library, model, &fingerprint)?;
        }
        let mut report = AddReport {
            summary: add(library, embedder, self.files, &self.options, on_event, stop)?,
            ..AddReport::default()
        };
        on_event(AddEvent::Stored);
        // After a stop not all files were reached.
        if !report.summary.interrupted {
            // A single named file implies nothing about its folder.
            let folders = self.folders.iter().filter(|folder| !folder.is_file());
            report.gone = MissingFiles::below(library, folders)?;
            if !dry_run {
                // Ordered behind the other files of their tracks, because a track is shown by its
                // first file. Unreachable files are moved, too, but never removed.
                let missing = [&report.gone.files[..], &report.gone.out_of_reach].concat();
                library.put_missing_last(&missing)?;
            }
            if self.remove_missing && !dry_run {
                let removed = library.remove_missing(&report.gone.files)?;
                report.summary.removed += removed.tracks;
            }
        }
        if !dry_run {
            index(engine, &report.summary)?;
        }
        Ok(report)
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
