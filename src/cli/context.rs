//! State that every verb needs: the library's folder, the model, the device, the threads, and Ctrl-C.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, anyhow, bail};

use super::args::Global;
use super::interrupt;
use super::render::Console;
use super::settings::Configuration;
use voisin::questions::Filters;
use voisin::{Embedder, Engine, EngineError, IndexNews, IndexRefresh, held_model, is_external};
use voisin_base::output::check_folder;
use voisin_base::text::with_causes;
use voisin_encoder::{
    DeviceChoice, Encoder, EncoderError, ModelManifest, ModelRef, models, models_dir,
};
use voisin_library::{Library, OpenMode, StoredModel};

/// The global options, resolved, and state that is shared by all parts of a verb.
pub(crate) struct Context {
    global: Global,
    pub(crate) settings: Configuration,
    pub(crate) console: Console,
    stop: Arc<AtomicBool>,
    /// Whether the handler of Ctrl-C is installed.
    has_handler: Cell<bool>,
    embedder: OnceCell<Arc<Embedder>>,
}

impl Context {
    pub(crate) fn new(global: Global) -> anyhow::Result<Self> {
        let console = Console::new(global.quiet, global.verbose);
        let settings = Configuration::read(&global)?;
        // Rayon's global pool can be built once: contexts derived from this one have no number.
        if let Some(threads) = global.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(usize::from(threads))
                .build_global()
                .context("cannot start the requested number of threads")?;
        }
        Ok(Self {
            global,
            settings,
            console,
            stop: Arc::default(),
            has_handler: Cell::default(),
            embedder: OnceCell::new(),
        })
    }

    /// The library's folder.
    pub(crate) fn library_dir(&self) -> PathBuf {
        self.settings.library.value.clone()
    }

    /// The address of the library, if it is in a database.
    pub(crate) fn database(&self) -> Option<&str> {
        let text = self.settings.library.value.to_str()?;
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            .then_some(text)
    }

    /// The same context with another library.
    pub(crate) fn with_library(&self, dir: &Path) -> anyhow::Result<Self> {
        Self::new(Global {
            library: Some(dir.to_owned()),
            threads: None,
            ..self.global.clone()
        })
    }

    /// Whether --library itself was given, not only a variable.
    pub(crate) fn has_library_option(&self) -> bool {
        self.settings.library.is_option
    }

    pub(crate) fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    /// Opens the library for reading, or for writing if possible, so that its index can be stored.
    pub(crate) fn open_engine(&self) -> anyhow::Result<Engine> {
        let dir = self.library_dir();
        let library = Library::open_to_write_if_possible(&dir).map_err(EngineError::from)?;
        let mut engine = Engine::from_library(library);
        self.check_options(engine.library())?;
        self.report_index(&mut engine, true);
        Ok(engine)
    }

    /// Reports problems of the index, and what else its opening took: with --verbose only, unless this `is_loud`.
    pub(crate) fn report_index(&self, engine: &mut Engine, is_loud: bool) {
        let console = self.console;
        engine.on_index_news(move |news| {
            let is_problem = matches!(
                news,
                IndexNews::NotKept(_)
                    | IndexNews::Ready(IndexRefresh::Built { unusable: true, .. })
            );
            let is_usual = matches!(news, IndexNews::Ready(IndexRefresh::Loaded));
            if is_problem || is_loud && !is_usual {
                console.note(&news.to_string());
            } else {
                console.detail(&news.to_string());
            }
        });
    }

    /// Refuses a requested model or device that is not available, also if no audio is going to be analysed.
    pub(crate) fn check_options(&self, library: &Library) -> anyhow::Result<()> {
        if self.settings.device.is_option && self.device_option() != DeviceChoice::Auto {
            self.device_option().resolve()?;
        }
        // Only for --model itself: a variable applies to other libraries, too.
        if let (Some(name), true, Some(held)) = (
            self.model_option(),
            self.settings.model.is_option,
            library.model()?,
        ) {
            same_model(&held, &parse_model(name).manifest()?)?;
        }
        Ok(())
    }

    /// Stops when standard input ends, which it does even if the parent process crashes.
    pub(crate) fn stop_with_input(&self) {
        // The thread is not joined: reading standard input cannot be aborted.
        let stop = Arc::clone(&self.stop);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Reports that nothing was found, with the next step.
    ///
    /// - `hint`: another next step, with punctuation at its end; or empty
    pub(crate) fn nothing_found(&self, filters: &Filters, hint: &str) {
        let next = if *filters == Filters::default() {
            "add more music, or relax the options"
        } else {
            "loosen the filters or add more music"
        };
        self.console.note(&format!("nothing found: {hint}{next}"));
    }

    /// Opens the library for a run that changes it: of the index's news only problems are reported.
    pub(crate) fn open_engine_to_change(&self, mode: OpenMode) -> anyhow::Result<Engine> {
        let library = Library::open(&self.library_dir(), mode).map_err(EngineError::from)?;
        let mut engine = Engine::from_library(library);
        self.report_index(&mut engine, false);
        Ok(engine)
    }

    /// The model, on its device: --model or its variable, else the library's own, else the default. Loaded once.
    ///
    /// Reports the device, and if that is not the GPU, the reason.
    pub(crate) fn embedder(&self, library: Option<&Library>) -> anyhow::Result<Arc<Embedder>> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(Arc::clone(embedder));
        }
        // The order of precedence, as the documentation of `embedder` has it.
        let held = library.map(Library::model).transpose()?.flatten();
        let requested = self.requested_model();
        let is_requested = requested.is_some();
        let model = match (requested, &held) {
            (Some(model), _) => model,
            (None, Some(held)) => match library {
                Some(library) => held_model(library, held)?,
                None => parse_model(&held.name),
            },
            (None, None) => ModelRef::default(),
        };
        // Whatever model was named: none of voisin's can continue another program's vectors.
        if let Some(held) = held.as_ref().filter(|held| is_external(held)) {
            bail!(
                "the vectors of this library were made elsewhere, by {}, so voisin cannot analyse files for it: add more of them with \"voisin add --vectors FILE\" or \"voisin add --from-parquet FILE\", or use another --library",
                held.name
            );
        }
        let device = self.device_option().resolve()?;
        let encoder = Encoder::load(&model, &device).map_err(|error| match &held {
            // The user did not name this model, so the message explains where the name comes from
            // and how to give a file.
            Some(held) if !is_requested => anyhow!(
                "this library's model {} cannot be loaded: name its file with --model ({})",
                held.name,
                with_causes(&error)
            ),
            _ => anyhow::Error::from(error).context(format!("cannot load the model {model}")),
        })?;
        if let Some(held) = &held {
            same_model(held, encoder.manifest())?;
        }
        // A user's file of a built-in model's name is never loaded, which would otherwise go
        // unnoticed.
        if let ModelRef::Name(name) = &model {
            for shadow in shadows(name) {
                self.console
                    .warn(&format!("the built-in model is used; {shadow}"));
            }
        }
        // Reported without a library, or when one is created; later runs use the same model.
        self.announce(&encoder, held.is_none());
        let embedder = Arc::new(Embedder::new(encoder)?);
        // Loading takes seconds and much memory; later calls share it.
        Ok(Arc::clone(self.embedder.get_or_init(|| embedder)))
    }

    /// Reports the model and its device.
    fn announce(&self, encoder: &Encoder, loud: bool) {
        let device = encoder.device();
        // A build without GPU support explains that only if a device was requested.
        let wants_gpu = cfg!(feature = "cuda") || self.settings.device.is_option;
        let note = device
            .note()
            .filter(|_| wants_gpu)
            .map_or_else(String::new, |note| format!(" ({note})"));
        let name = &encoder.manifest().name;
        let place = device.description();
        let text = format!("model {name} on {place}{note}");
        if loud {
            self.console.note(&text);
        } else {
            self.console.detail(&text);
        }
    }

    /// A model by its name, whatever --model is.
    pub(crate) fn named_embedder(&self, name: &str) -> anyhow::Result<Arc<Embedder>> {
        let device = self.device_option().resolve()?;
        let encoder = Encoder::load(&parse_model(name), &device)
            .with_context(|| format!("cannot load the model {name}"))?;
        Ok(Arc::new(Embedder::new(encoder)?))
    }

    /// For the engine, which loads the model only when it has to analyse audio.
    pub(crate) fn lazy_embedder(
        &self,
        library: Option<&Library>,
    ) -> Result<Arc<Embedder>, EngineError> {
        self.embedder(library)
            // Unpacked, because the engine's own errors carry a next step that a text would lose.
            .map_err(|error| match error.downcast::<EngineError>() {
                Ok(error) => error,
                Err(error) => match error.downcast::<voisin_encoder::EncoderError>() {
                    Ok(error) => error.into(),
                    Err(error) => EngineError::Model {
                        reason: format!("{error:#}"),
                    },
                },
            })
    }

    /// Loads a library's model as [`embedder`](Self::embedder) does, on any thread.
    pub(crate) fn model_loader(
        &self,
    ) -> impl Fn(&Library) -> Result<Arc<Embedder>, EngineError> + Send + Sync + 'static {
        // The pool is built already.
        let global = Global {
            threads: None,
            ..self.global.clone()
        };
        move |library| {
            let context = Self::new(global.clone()).map_err(|error| EngineError::Model {
                reason: format!("{error:#}"),
            })?;
            context.lazy_embedder(Some(library))
        }
    }

    /// The global options, for another process of this program.
    pub(crate) fn as_arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments: Vec<std::ffi::OsString> =
            vec!["--library".into(), self.library_dir().into()];
        let global = &self.global;
        // Only options that were given: the other process reads the same environment and config
        // file itself.
        let given = [
            ("--model", global.model.clone()),
            ("--device", global.device.map(|device| device.to_string())),
            (
                "--threads",
                global.threads.map(|threads| threads.to_string()),
            ),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                arguments.extend([name.into(), value.into()]);
            }
        }
        arguments
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.global.verbose
    }

    /// The model that --model or its variable names.
    pub(crate) fn requested_model(&self) -> Option<ModelRef> {
        self.model_option().map(parse_model)
    }

    pub(crate) fn model_option(&self) -> Option<&str> {
        self.settings.model.value.as_deref()
    }

    pub(crate) fn device_option(&self) -> DeviceChoice {
        self.settings.device.value
    }

    /// A flag that Ctrl-C raises. A second Ctrl-C ends the program at once; nothing stored is lost either way.
    pub(crate) fn stop_on_ctrl_c(&self) -> anyhow::Result<Arc<AtomicBool>> {
        self.stop_with_message(
            "stopping: the tracks being processed are finished first (Ctrl-C again to stop at once)",
        )
    }

    /// As [`stop_on_ctrl_c`](Self::stop_on_ctrl_c), with another message.
    pub(crate) fn stop_with_message(&self, text: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
        // One handler for the whole program, even if it makes several runs.
        if self.has_handler.replace(true) {
            return Ok(Arc::clone(&self.stop));
        }
        let stop = Arc::clone(&self.stop);
        let console = self.console;
        // A second Ctrl-C finds the flag set by the first.
        let stop_or_end = move || {
            if stop.load(Ordering::Relaxed) {
                interrupt::end();
            }
            // Before the flag, so that messages of threads that see it come after this one.
            console.note(text);
            stop.store(true, Ordering::Relaxed);
        };
        interrupt::on_ctrl_c(stop_or_end)
            .map_err(|error| anyhow!("cannot handle Ctrl-C: {error}"))?;
        Ok(Arc::clone(&self.stop))
    }
}

/// Refuses any model but that of the library's vectors.
fn same_model(held: &StoredModel, requested: &ModelManifest) -> anyhow::Result<()> {
    let fingerprint = requested.fingerprint();
    // By fingerprint, not by name: a file of the same name may hold other weights.
    if held.fingerprint != fingerprint {
        bail!(
            "this library's vectors are from model {} ({}), not from {} ({fingerprint}): vectors of two models never mix; use --model {} or another --library",
            held.name,
            held.fingerprint,
            requested.name,
            held.name,
        );
    }
    Ok(())
}

/// The user's models that are not used because a built-in one has the same name.
fn shadows(name: &str) -> Vec<EncoderError> {
    let all = models(models_dir().as_deref())
        .into_iter()
        .filter_map(Result::err);
    let same = |error: &EncoderError| matches!(error, EncoderError::BuiltInName { name: taken, .. } if taken.eq_ignore_ascii_case(name));
    all.filter(same).collect()
}

/// A model as a user names it; a bare name is looked up among the built-in ones and in the models folder.
pub(crate) fn parse_model(text: &str) -> ModelRef {
    let Ok(model) = text.parse();
    model
}

/// Refuses a folder that has a model of this name, unless it `replaces` that.
pub(crate) fn check_model_place(folder: &Path, name: &str, replaces: bool) -> anyhow::Result<()> {
    check_folder(folder)?;
    let files = ["json", "safetensors"].map(|ending| folder.join(format!("{name}.{ending}")));
    match files.iter().find(|file| file.exists()) {
        Some(file) if !replaces => bail!(
            "{} is there already: name another, or replace it with --force",
            file.display()
        ),
        _ => Ok(()),
    }
}

/// The folder of the user's own models, for messages.
pub(crate) fn models_dir_for_display() -> String {
    models_dir().map_or_else(
        || "(no home folder)".to_owned(),
        |dir| dir.display().to_string(),
    )
}
