//! Adding music to a library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use serde::Serialize;

use super::process::on_threads;
use voisin_audio::is_audio_candidate;
use voisin_base::text::with_causes;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_engine::{
    AddEvent, AddOptions, AddRun, Embedder, Engine, EngineError, Examiner, Outcome, WindowPlan,
    held_model, is_unchanged, read_through,
};
use voisin_library::Library;
use voisin_library::scan::{Exclusions, Links, Scan, scan_without};
use voisin_questions::answers::add::AddAnswer;
use voisin_questions::answers::lossy;

/// Options of a run.
pub(super) struct Adding {
    pub(super) paths: Vec<PathBuf>,
    /// The embedder, and the reference of its model; `None`: the library's model.
    pub(super) embedder: Option<(Arc<Embedder>, ModelRef)>,
    pub(super) windows: Option<WindowPlan>,
    pub(super) remove_missing: bool,
    pub(super) take_over: bool,
    pub(super) options: AddOptions,
}

/// The result of a run, as the JSON of `voisin add`, and its failures.
#[derive(Serialize)]
pub(super) struct Added {
    #[serde(flatten)]
    answer: AddAnswer,
    failures: Vec<NotAdded>,
}

#[derive(Serialize)]
struct NotAdded {
    path: String,
    reason: String,
}

impl NotAdded {
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self {
            path: lossy(path),
            reason: reason.into(),
        }
    }
}

impl Adding {
    /// Adds the music, and brings the index up to date.
    ///
    /// - `progress`: called with the numbers of processed and of all files
    /// - returns: the result, and the exception of `progress` or of an interrupt
    pub(super) fn run(
        self,
        engine: &mut Engine,
        progress: Option<&Py<PyAny>>,
    ) -> Result<(Added, Option<PyErr>), EngineError> {
        let library = engine.library();
        let followed = library.files().followed_folders()?;
        let links = Links::Below(&followed);
        let mut found = scan_without(
            &self.paths,
            &is_audio_candidate,
            &Exclusions::default(),
            links,
        );
        // Unchanged files are not examined for embedded CUE sheets, which would
        // open each of them.
        found.split_files(&|file| !self.options.force && is_unchanged(library, file));
        let (embedder, model) = self.embedder.unzip();
        let python = Interpreter::running();
        let command = |path: &Path, windows: WindowPlan| Ok(python.examination(path, windows));
        let run = AddRun {
            files: &found.files,
            in_parts: &found.in_parts,
            folders: &self.paths,
            remove_missing: self.remove_missing,
            take_over: self.take_over,
            windows: self.windows,
            model,
            options: self.options,
            // Embedded in another program, Python has no interpreter to start: the files in progress of
            // a killed run then wait for another run.
            examiner: python
                .program
                .is_some()
                .then_some(Examiner { command: &command }),
        };
        let load = |library: &Library| embedder.map_or_else(|| load_model(library), Ok);
        let stop = AtomicBool::new(false);
        let mut raised = None;
        let mut done = 0;
        let mut jobs = 0;
        let mut failures = not_found(&found);
        let mut on_event = |event: AddEvent<'_>| {
            match event {
                AddEvent::Planned { jobs: planned, .. } => jobs = planned,
                AddEvent::Done { path, outcome } => {
                    done += 1;
                    if let Outcome::Failed(error) = outcome {
                        failures.push(NotAdded::new(path, with_causes(error)));
                    }
                }
                AddEvent::SetAside { path, reason } => {
                    failures.push(NotAdded::new(path, reason));
                    // Progress counts only the planned files.
                    return;
                }
                _ => return,
            }
            // Called for each file, with the lock held only during the call.
            let called = Python::attach(|py| {
                py.check_signals()?;
                progress.map_or(Ok(()), |progress| {
                    progress.call1(py, (done, jobs)).map(drop)
                })
            });
            // The run stops after the files in progress are stored.
            if let Err(error) = called {
                stop.store(true, Ordering::Relaxed);
                raised.get_or_insert(error);
            }
        };
        let stored = run.store::<EngineError>(engine, load, &mut on_event, &stop)?;
        let report = on_threads(|| run.settle(engine, stored, &mut |_| ()))?;
        // For `voisin status`, until the next run over the same folders.
        if !run.options.dry_run {
            engine
                .library_mut()
                .files_mut()
                .set_left_out(run.folders, &found.of_system)?;
        }
        let answer = AddAnswer::new(&report, &found.of_system);
        Ok((Added { answer, failures }, raised))
    }
}

/// The library's model, or for a new library the default one.
fn load_model(library: &Library) -> Result<Arc<Embedder>, EngineError> {
    let model = match library.model()? {
        Some(held) => held_model(library, &held)?,
        None => ModelRef::default(),
    };
    // In this pool, since a forked child has no threads of rayon's own.
    let load = || Embedder::new(Encoder::load(&model, &DeviceChoice::Auto.resolve()?)?);
    Ok(Arc::new(on_threads(load)?))
}

/// Paths and links that a scan did not follow.
fn not_found(found: &Scan) -> Vec<NotAdded> {
    let problems = found
        .problems
        .iter()
        .map(|problem| NotAdded::new(&problem.path, problem.reason.clone()));
    let links = found.leading_out.iter().map(|link| {
        NotAdded::new(
            link,
            "a link out of its folder: \"voisin add --follow-links\" follows it",
        )
    });
    problems.chain(links).collect()
}

/// The running Python interpreter, to start another one with the same modules.
#[derive(Default)]
struct Interpreter {
    /// `sys.executable`; None if Python is embedded in another program.
    program: Option<PathBuf>,
    /// `sys.path`.
    path: Vec<PathBuf>,
}

impl Interpreter {
    fn running() -> Self {
        Python::attach(|py| {
            let sys = py.import("sys").ok()?;
            let program: Option<PathBuf> = sys.getattr("executable").ok()?.extract().ok()?;
            Some(Self {
                program: program.filter(|program| !program.as_os_str().is_empty()),
                path: sys.getattr("path").ok()?.extract().ok()?,
            })
        })
        .unwrap_or_default()
    }

    /// A command that reads a file in a separate process.
    fn examination(&self, file: &Path, windows: WindowPlan) -> Command {
        // After `-c` all arguments are for the code, so that a file's name may begin with a dash.
        const CODE: &str = "import sys; _, file, windows, *sys.path = sys.argv; \
            from voisin._voisin import _examine; _examine(file, windows)";
        let windows = match windows {
            WindowPlan::Spread(n) => n.to_string(),
            _ => "all".to_owned(),
        };
        let mut command = Command::new(self.program.clone().unwrap_or_default());
        // With `sys.path`, since the caller may have added voisin's folder to it.
        command.args(["-c", CODE]).arg(file).arg(windows);
        command.args(&self.path);
        command
    }
}

/// Reads a file that may crash the process: called in a separate process.
#[pyfunction]
#[pyo3(name = "_examine")]
pub(super) fn examine(py: Python<'_>, file: PathBuf, windows: &str) -> PyResult<()> {
    let windows = windows.parse().map_or(WindowPlan::All, WindowPlan::Spread);
    py.detach(|| {
        // On a stack like that of the threads that add files, which catch panics; here a panic is harmless.
        let reader = std::thread::Builder::new().spawn(move || read_through(&file, windows))?;
        let _ = reader.join();
        Ok(())
    })
}
