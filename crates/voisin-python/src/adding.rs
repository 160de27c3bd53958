//! Music into a library.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use serde::Serialize;

use super::process::on_threads;
use voisin::{
    AddEvent, AddOptions, AddSummary, Embedder, Engine, EngineError, Outcome, WindowPlan, add,
    is_audio_candidate, remember_model,
};
use voisin_base::text::with_causes;
use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_library::FileState;
use voisin_library::scan::{Exclusions, Links, scan_without};

/// How music is added.
pub(super) struct Adding {
    pub(super) paths: Vec<PathBuf>,
    /// What listens, and how it was asked for; `None`: the library's model.
    pub(super) embedder: Option<(Arc<Embedder>, ModelRef)>,
    pub(super) windows: Option<WindowPlan>,
    pub(super) options: AddOptions,
}

/// What a run did, as `voisin add --format json` says it, and what could not be added.
#[derive(Serialize)]
pub(super) struct Added {
    #[serde(flatten)]
    summary: AddSummary,
    failures: Vec<NotAdded>,
    /// Bins, snapshots and systems' own folders that were not looked into.
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    folder: String,
    /// Files of audio in it.
    files: u64,
    /// Whether there may be more.
    more: bool,
}

#[derive(Serialize)]
struct NotAdded {
    path: String,
    reason: String,
}

impl Adding {
    /// Adds it, and brings the index up to date.
    ///
    /// - `progress`: is called with how many files are done and how many there are
    /// - returns: what was done, and what `progress` raised or who interrupts it
    pub(super) fn run(
        self,
        engine: &mut Engine,
        progress: Option<&Py<PyAny>>,
    ) -> Result<(Added, Option<PyErr>), EngineError> {
        let _lock = engine.library().lock_for_writing()?;
        let library = engine.library();
        let followed = library.followed_folders()?;
        let links = Links::Below(&followed);
        let mut found = scan_without(
            &self.paths,
            &is_audio_candidate,
            &Exclusions::default(),
            links,
        );
        found.split_files(&|file| matches!(library.file_state(file), Ok(FileState::Unchanged(_))));
        if let Some(windows) = self.windows {
            engine.set_windows_setting(windows)?;
        }
        let embedder = if let Some((embedder, model)) = self.embedder {
            let fingerprint = embedder.encoder().manifest().fingerprint();
            remember_model(engine.library_mut(), &model, &fingerprint)?;
            embedder
        } else {
            let model = if engine.library().model()?.is_some() {
                engine.model_ref()?
            } else {
                ModelRef::default()
            };
            let load = || Embedder::new(Encoder::load(&model, &DeviceChoice::Auto.resolve()?)?);
            Arc::new(on_threads(load)?)
        };
        let options = AddOptions {
            windows: engine.windows_setting()?,
            ..self.options
        };
        let stop = AtomicBool::new(false);
        let mut raised = None;
        let mut done = 0;
        let mut jobs = 0;
        let problems = found.problems.iter();
        let mut failures: Vec<NotAdded> = problems
            .map(|problem| NotAdded {
                path: lossy(&problem.path),
                reason: problem.reason.clone(),
            })
            .collect();
        failures.extend(found.leading_out.iter().map(|link| {
            NotAdded {
                path: lossy(link),
                reason:
                    "a link that leads out of its folder: \"voisin add --follow-links\" follows it"
                        .to_owned(),
            }
        }));
        let mut tell = |event: AddEvent<'_>| {
            match event {
                AddEvent::Planned { jobs: planned, .. } => jobs = planned,
                AddEvent::Done { path, outcome } => {
                    done += 1;
                    if let Outcome::Failed(error) = outcome {
                        failures.push(NotAdded {
                            path: lossy(path),
                            reason: with_causes(error),
                        });
                    }
                }
            }
            let told = Python::attach(|py| {
                py.check_signals()?;
                progress.map_or(Ok(()), |progress| {
                    progress.call1(py, (done, jobs)).map(drop)
                })
            });
            if let Err(error) = told {
                stop.store(true, Ordering::Relaxed);
                raised.get_or_insert(error);
            }
        };
        let summary = add(
            engine.library_mut(),
            &embedder,
            &found.files,
            &options,
            &mut tell,
            &stop,
        )?;
        if raised.is_none() && engine.library().status()?.vectors > 0 {
            on_threads(|| engine.maintain_index())?;
        }
        let left_out = found.of_system.iter().map(|one| LeftOut {
            folder: lossy(&one.folder),
            files: one.files,
            more: one.is_more,
        });
        Ok((
            Added {
                summary,
                failures,
                left_out: left_out.collect(),
            },
            raised,
        ))
    }
}

fn lossy(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
