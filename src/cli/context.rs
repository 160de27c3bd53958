//! State that every verb needs: the library's folder, the model, the device, the threads, and Ctrl-C.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

use super::args::Global;
use super::render::Console;
use voisin::questions::Filters;
use voisin::{Embedder, Engine, EngineError, IndexRefresh, held_model, is_external};
use voisin_base::directories::from_variable;
use voisin_base::output::check_folder;
use voisin_base::text::with_causes;
use voisin_encoder::{
    DeviceChoice, Encoder, EncoderError, ModelManifest, ModelRef, models, models_dir,
};
use voisin_library::{Library, OpenMode, StoredModel, default_dir};

/// The global options, resolved, and state that is shared by all parts of a verb.
pub(crate) struct Context {
    /// Without options of empty text, which count as none.
    global: Global,
    library: PathBuf,
    /// `None`: the library's own, else the model that comes with voisin.
    model: Option<ModelRef>,
    pub(crate) device: DeviceChoice,
    pub(crate) console: Console,
    stop: Arc<AtomicBool>,
    /// Whether the handler of Ctrl-C is installed.
    has_handler: Cell<bool>,
    embedder: OnceCell<Arc<Embedder>>,
}

impl Context {
    /// An option goes before a variable of the environment.
    pub(crate) fn new(mut global: Global) -> anyhow::Result<Self> {
        global.library.take_if(|dir| dir.as_os_str().is_empty());
        global.model.take_if(|name| name.is_empty());
        let text = |name: &str| Some(from_variable(name)?.to_string_lossy().into_owned());
        let device = text("VOISIN_DEVICE").map(|text| text.parse()).transpose();
        let device = global.device.or(device.context("VOISIN_DEVICE")?);
        let library = global.library.clone();
        let model = global.model.clone().or_else(|| text("VOISIN_MODEL"));
        // Rayon's global pool can be built once: contexts derived from this one have no number.
        if let Some(threads) = global.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(usize::from(threads))
                .build_global()
                .context("cannot start the requested number of threads")?;
        }
        Ok(Self {
            library: library
                .or_else(|| from_variable("VOISIN_LIBRARY"))
                .unwrap_or_else(default_dir),
            model: model.as_deref().map(parse_model),
            device: device.unwrap_or(DeviceChoice::Auto),
            console: Console::new(global.quiet, global.verbose),
            global,
            stop: Arc::default(),
            has_handler: Cell::default(),
            embedder: OnceCell::new(),
        })
    }

    pub(crate) fn library_dir(&self) -> PathBuf {
        self.library.clone()
    }

    pub(crate) fn database(&self) -> Option<&str> {
        let text = self.library.to_str()?;
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            .then_some(text)
    }

    pub(crate) fn with_library(&self, dir: &Path) -> anyhow::Result<Self> {
        Self::new(Global {
            library: Some(dir.to_owned()),
            threads: None,
            ..self.global.clone()
        })
    }

    /// Whether --library itself was given, not only a variable.
    pub(crate) fn has_library_option(&self) -> bool {
        self.global.library.is_some()
    }

    pub(crate) fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    /// Opens the library for reading, or for writing if possible, so that its index can be stored.
    pub(crate) fn open_engine(&self) -> anyhow::Result<Engine> {
        let library =
            Library::open_to_write_if_possible(&self.library).map_err(EngineError::from)?;
        let mut engine = Engine::from_library(library);
        self.check_options(engine.library())?;
        self.report_index(&mut engine, true);
        Ok(engine)
    }

    /// Opens the library for a run that changes it: of the index's news only problems are reported.
    pub(crate) fn open_engine_to_change(&self, mode: OpenMode) -> anyhow::Result<Engine> {
        let library = Library::open(&self.library, mode).map_err(EngineError::from)?;
        let mut engine = Engine::from_library(library);
        self.report_index(&mut engine, false);
        Ok(engine)
    }

    /// Reports problems of the index, and what else its opening took: with --verbose only, unless this `is_loud`.
    pub(crate) fn report_index(&self, engine: &mut Engine, is_loud: bool) {
        let console = self.console;
        engine.on_index_news(move |news| {
            let is_problem = matches!(
                news,
                IndexRefresh::NotKept(_) | IndexRefresh::Built { unusable: true, .. }
            );
            let is_usual = matches!(news, IndexRefresh::Loaded);
            console.say(&news.to_string(), is_problem || is_loud && !is_usual);
        });
    }

    /// Refuses a requested model or device that is not available, also if no audio is going to be analysed.
    pub(crate) fn check_options(&self, library: &Library) -> anyhow::Result<()> {
        if let Some(device) = self.global.device {
            device.resolve()?;
        }
        // Only for --model itself: a variable applies to other libraries, too.
        if let (Some(name), Some(held)) = (&self.global.model, library.model()?) {
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

    /// The model, on its device: --model or its variable, else the library's own, else the default. Loaded once.
    ///
    /// Reports the device, and if that is not the GPU, the reason.
    pub(crate) fn embedder(&self, library: Option<&Library>) -> Result<Arc<Embedder>, EngineError> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(Arc::clone(embedder));
        }
        let held = library.map(Library::model).transpose()?.flatten();
        let model = match (&self.model, &held, library) {
            (Some(model), ..) => model.clone(),
            (None, Some(held), Some(library)) => held_model(library, held)?,
            _ => ModelRef::default(),
        };
        // Whatever model was named: none of voisin's can continue another program's vectors.
        if let Some(held) = held.as_ref().filter(|held| is_external(held)) {
            return Err(refused(format!(
                "the vectors of this library were made elsewhere, by {}, so voisin cannot analyse files for it: add more of them with \"voisin add --vectors FILE\" or \"voisin add --from-parquet FILE\", or use another --library",
                held.name
            )));
        }
        let device = self.device.resolve()?;
        let encoder = Encoder::load(&model, &device).map_err(|error| match &held {
            // The user did not name this model, so the message explains where the name comes from
            // and how to give a file.
            Some(held) if self.model.is_none() => refused(format!(
                "this library's model {} cannot be loaded: name its file with --model ({})",
                held.name,
                with_causes(&error)
            )),
            _ => refused(format!(
                "cannot load the model {model}: {}",
                with_causes(&error)
            )),
        })?;
        if let Some(held) = &held {
            same_model(held, encoder.manifest())?;
        }
        // Reported without a library, or when one is created; later runs use the same model.
        self.announce(&model, &encoder, held.is_none());
        let embedder = Arc::new(Embedder::new(encoder)?);
        // Loading takes seconds and much memory; later calls share it.
        Ok(Arc::clone(self.embedder.get_or_init(|| embedder)))
    }

    fn announce(&self, model: &ModelRef, encoder: &Encoder, is_loud: bool) {
        // A user's file of a built-in model's name is never loaded, which would otherwise go
        // unnoticed.
        if let ModelRef::Name(name) = model {
            for shadow in shadows(name) {
                self.console
                    .warn(&format!("the built-in model is used; {shadow}"));
            }
        }
        let device = encoder.device();
        // A build without GPU support explains that only if a device was requested.
        let wants_gpu = cfg!(feature = "cuda") || self.global.device.is_some();
        let note = device
            .note()
            .filter(|_| wants_gpu)
            .map_or_else(String::new, |note| format!(" ({note})"));
        let name = &encoder.manifest().name;
        let place = device.description();
        self.console
            .say(&format!("model {name} on {place}{note}"), is_loud);
    }

    /// A model by its name, whatever --model is.
    pub(crate) fn named_embedder(&self, name: &str) -> anyhow::Result<Arc<Embedder>> {
        let device = self.device.resolve()?;
        let encoder = Encoder::load(&parse_model(name), &device)
            .with_context(|| format!("cannot load the model {name}"))?;
        Ok(Arc::new(Embedder::new(encoder)?))
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
            let context =
                Self::new(global.clone()).map_err(|error| refused(format!("{error:#}")))?;
            context.embedder(Some(library))
        }
    }

    /// The global options that were given, for another process of this program, which reads the same environment.
    pub(crate) fn as_arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments = vec!["--library".into(), self.library_dir().into()];
        let global = &self.global;
        let given = [
            ("--model", global.model.clone()),
            ("--device", global.device.map(|device| device.to_string())),
            (
                "--threads",
                global.threads.map(|threads| threads.to_string()),
            ),
        ];
        for (name, value) in given {
            arguments.extend(
                value
                    .into_iter()
                    .flat_map(|value| [name.into(), value.into()]),
            );
        }
        arguments
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.global.verbose
    }

    /// The model that --model or its variable names.
    pub(crate) fn requested_model(&self) -> Option<ModelRef> {
        self.model.clone()
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
        let stop_or_end = move || {
            // A second Ctrl-C finds the flag set by the first.
            if stop.load(Ordering::Relaxed) {
                // 128 + SIGINT, as shells report a program that Ctrl-C ended.
                std::process::exit(130);
            }
            // Before the flag, so that messages of threads that see it come after this one.
            console.note(text);
            stop.store(true, Ordering::Relaxed);
        };
        ctrlc::set_handler(stop_or_end).context("cannot handle Ctrl-C")?;
        Ok(Arc::clone(&self.stop))
    }
}

fn refused(reason: String) -> EngineError {
    EngineError::Model { reason }
}

/// Refuses any model but that of the library's vectors.
fn same_model(held: &StoredModel, requested: &ModelManifest) -> Result<(), EngineError> {
    let fingerprint = requested.fingerprint();
    // By fingerprint, not by name: a file of the same name may hold other weights.
    if held.fingerprint == fingerprint {
        return Ok(());
    }
    Err(refused(format!(
        "this library's vectors are from model {} ({}), not from {} ({fingerprint}): vectors of two models never mix; use --model {} or another --library",
        held.name, held.fingerprint, requested.name, held.name,
    )))
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
