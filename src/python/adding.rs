//! Adding music to a library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use voisin::questions::answers::lossy;
use voisin::{
    AddEvent, AddOptions, AddReport, AddRun, Embedder, Engine, EngineError, Outcome, held_model,
};
use voisin_audio::is_audio_candidate;
use voisin_base::text::with_causes;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_library::Library;
use voisin_library::scan::{Exclusions, Links, Scan, scan_without};

pub(super) struct Adding {
    pub(super) paths: Vec<PathBuf>,
    /// The embedder, and the reference of its model; `None`: the library's model.
    pub(super) embedder: Option<(Arc<Embedder>, ModelRef)>,
    pub(super) remove_missing: bool,
    pub(super) options: AddOptions,
}

/// The result of a run, as the JSON of `voisin add`, and its failures: paths with their reasons.
#[derive(Serialize)]
pub(super) struct Added {
    #[serde(flatten)]
    report: AddReport,
    failures: Vec<Value>,
}

fn not_added(path: &Path, reason: &str) -> Value {
    json!({"path": lossy(path), "reason": reason})
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
        let found = scan_without(
            &self.paths,
            &is_audio_candidate,
            &Exclusions::default(),
            Links::Inside,
        );
        let (embedder, model) = self.embedder.unzip();
        let run = AddRun {
            files: &found.files,
            folders: &self.paths,
            remove_missing: self.remove_missing,
            model,
            options: self.options,
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
                        failures.push(not_added(path, &with_causes(error)));
                    }
                }
                AddEvent::CutOff { .. } | AddEvent::Stored => return,
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
        let report = run.run::<EngineError>(engine, load, &mut on_event, &stop)?;
        Ok((Added { report, failures }, raised))
    }
}

/// The library's model, or for a new library the default one.
fn load_model(library: &Library) -> Result<Arc<Embedder>, EngineError> {
    let model = match library.model()? {
        Some(held) => held_model(library, &held)?,
        None => ModelRef::default(),
    };
    let encoder = Encoder::load(&model, &DeviceChoice::Auto.resolve()?)?;
    Ok(Arc::new(Embedder::new(encoder)?))
}

fn not_found(found: &Scan) -> Vec<Value> {
    let out = "a link out of its folder: \"voisin add --follow-links\" follows it";
    let problems = found.problems.iter();
    let problems = problems.map(|problem| not_added(&problem.path, &problem.reason));
    let links = found.leading_out.iter().map(|link| not_added(link, out));
    problems.chain(links).collect()
}
