//! State shared by all requests: engines, permits, and the version of the library.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServeError;
use super::access::Guard;
use super::kept::{FOR_CLIENTS, Kept};
use super::limits::LONGEST_WAIT;
use super::problem::Problem;
use super::scan::ScanProcess;
use super::uploads;
use voisin::{Embedder, Engine, EngineError};
use voisin_base::text::with_causes;
use voisin_library::{DATABASE, Library, OpenMode};

/// SQLite's page cache of each engine, in KiB: small, since all read through the system's cache.
const PAGE_CACHE: u32 = 4096;
/// Lookups at once, beside requests that compute.
// They are short, so that a few are enough; each needs an engine of its own.
const LOOKS: usize = 4;

pub(crate) type Shared = Arc<State>;
pub type LoadModel = Box<dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError> + Send + Sync>;

/// A version of the library, which commits of other processes change: equal versions have equal answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version {
    /// Grows when the database file is replaced by another one.
    epoch: u64,
    /// SQLite's counter of commits by other connections.
    commits: i64,
}

/// The connection that counts commits of others. It never writes, since its own commits would not count.
#[derive(Default)]
struct Watch {
    library: Option<(Library, (u64, u64))>,
    epoch: u64,
}

/// A library that answers one request at a time.
pub(crate) struct RequestContext {
    /// The library, its index and its model.
    pub(crate) engine: Engine,
    /// The library's version when the request came.
    version: Version,
    /// The version that its index is of.
    followed: Option<Version>,
}

/// The library's model, loaded once.
pub(crate) struct Model {
    load: LoadModel,
    /// With its fingerprint.
    loaded: Mutex<Option<(Option<String>, Arc<Embedder>)>>,
}

impl Model {
    pub(crate) fn new(load: LoadModel) -> Self {
        let loaded = Mutex::default();
        Self { load, loaded }
    }

    pub(crate) fn of(&self, library: &Library) -> Result<Arc<Embedder>, EngineError> {
        let held = library.model()?.map(|model| model.fingerprint);
        // Held while it is loaded, so that two requests do not load the same weights.
        let mut loaded = lock(&self.loaded);
        if let Some((_, embedder)) = loaded.as_ref().filter(|(known, _)| *known == held) {
            return Ok(Arc::clone(embedder));
        }
        let embedder = (self.load)(library)?;
        *loaded = Some((held, Arc::clone(&embedder)));
        Ok(embedder)
    }
}

pub(crate) struct StateOptions {
    pub(crate) dir: PathBuf,
    pub(crate) guard: Guard,
    pub(crate) scan: ScanProcess,
    pub(crate) load_model: LoadModel,
    pub(crate) logs: bool,
}

/// Everything that requests share.
pub(crate) struct State {
    dir: PathBuf,
    pub(crate) guard: Guard,
    pub(crate) logs: bool,
    pub(crate) scan: ScanProcess,
    listener: Box<dyn Fn(&str) + Send + Sync>,
    pub(crate) model: Model,
    /// One for each thread that computes.
    permits: Arc<Semaphore>,
    /// For lookups, such as the path of a file, so that music plays on while all permits are taken.
    looks: Arc<Semaphore>,
    watch: Mutex<Watch>,
    contexts: Mutex<Vec<RequestContext>>,
    pub(crate) kept: Kept,
    pub(crate) uploads: Arc<Semaphore>,
}

/// Locks a mutex, also after a panic of a thread that held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A permit, within some time.
async fn acquire(permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = || Problem::later(2, "too many requests at once", "try again in a few seconds");
    let permit = tokio::time::timeout(LONGEST_WAIT, Arc::clone(permits).acquire_owned()).await;
    permit.map_err(|_| busy())?.map_err(|_| busy())
}

/// The identity of a file, independent of its name.
fn identity(path: &std::path::Path) -> std::io::Result<(u64, u64)> {
    // The watching connection holds the file open, so that its number is not reused
    // meanwhile.
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let made = metadata
            .created()?
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Ok((made.as_secs(), made.subsec_nanos().into()))
    }
}

impl State {
    /// - `listener`: receives log messages
    pub(crate) fn new(
        options: StateOptions,
        listener: Box<dyn Fn(&str) + Send + Sync>,
    ) -> Result<Self, ServeError> {
        let kept =
            Kept::new().map_err(|error| ServeError::Runtime(std::io::Error::other(error)))?;
        Ok(Self {
            dir: options.dir,
            guard: options.guard,
            logs: options.logs,
            scan: options.scan,
            listener,
            model: Model::new(options.load_model),
            permits: Arc::new(Semaphore::new(rayon::current_num_threads())),
            looks: Arc::new(Semaphore::new(LOOKS)),
            watch: Mutex::default(),
            contexts: Mutex::default(),
            kept,
            uploads: Arc::new(Semaphore::new(uploads::MOST)),
        })
    }

    pub(crate) fn log(&self, text: &str) {
        (self.listener)(text);
    }

    /// Opens the library as the command line does: for writing if possible, so that its index can be stored.
    fn open_engine(&self) -> Result<Engine, Problem> {
        let library = Library::open_to_write_if_possible(&self.dir)?;
        let mut engine = Engine::from_library(library);
        engine.library().limit_page_cache(PAGE_CACHE)?;
        // A mapped file that another program truncates would end the process with a bus error.
        engine.copy_index();
        Ok(engine)
    }

    /// The library's current version. If the database file was removed or replaced, all caches are cleared.
    pub(crate) fn version(&self) -> Result<Version, Problem> {
        // Held to the end, so that two requests do not count one replacement
        // twice.
        let mut watch = lock(&self.watch);
        let path = self.dir.join(DATABASE);
        let found = identity(&path);
        if watch
            .library
            .as_ref()
            .is_some_and(|(_, known)| found.as_ref().ok() != Some(known))
        {
            watch.library = None;
            watch.epoch += 1;
            lock(&self.contexts).clear();
        }
        let found = found.map_err(|error| {
            let detail = format!("the library is not there: {}: {error}", path.display());
            Problem::later(
                10,
                detail,
                "add music to make a new one, or put it back: the server continues",
            )
        })?;
        // Read-only: a connection's own commits would not count.
        if watch.library.is_none() {
            watch.library = Some((Library::open(&self.dir, OpenMode::ReadOnly)?, found));
        }
        let commits = watch
            .library
            .as_ref()
            .map_or(Ok(0), |(library, _)| library.data_version())?;
        Ok(Version {
            epoch: watch.epoch,
            commits,
        })
    }

    /// Brings a context's index up to date; an error that [needs an index](Problem::needs_index) if it must be built.
    pub(crate) fn follow(&self, context: &mut RequestContext) -> Result<(), Problem> {
        // Nothing was committed since this engine updated the index.
        if context.followed == Some(context.version) && context.engine.has_index() {
            return Ok(());
        }
        match context.engine.follow() {
            Ok(_) => context.followed = Some(context.version),
            Err(EngineError::Index(error)) => {
                let reason = with_causes(&error);
                let next = "try again in a few seconds";
                let problem = Problem::later(2, format!("the index must be built: {reason}"), next);
                return Err(problem.needing_index());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Builds the index, once for all who need it.
    ///
    /// - `patience`: timeout of the caller, but not of the build
    async fn build(self: &Arc<Self>, patience: Duration) -> Result<(), Problem> {
        let build = |state: &State, context: &mut RequestContext| {
            let Err(problem) = state.follow(context) else {
                return Ok(());
            };
            state.log(problem.detail());
            let news = context.engine.refresh_index().inspect_err(|error| {
                let reason = with_causes(error);
                state.log(&format!("the index cannot be built: {reason}"));
            })?;
            state.log(&news.to_string());
            Ok(())
        };
        self.kept("index", patience, |state| state.compute(false, build))
            .await?;
        // Its file may be lost again while the library stays as it is.
        self.kept.forget("index");
        Ok(())
    }

    /// Builds the index if it must be built.
    pub(crate) async fn ready_index(self: &Arc<Self>, patience: Duration) -> Result<(), Problem> {
        match self.look(State::follow).await {
            Err(problem) if problem.needs_index => self.build(patience).await,
            followed => followed,
        }
    }

    /// [`run`](Self::run) for work that follows the index, which is built first if it must be.
    pub(crate) async fn run_indexed<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Clone + Send + 'static,
    ) -> Result<T, Problem> {
        match self.run(work.clone()).await {
            Err(problem) if problem.needs_index => {
                self.build(FOR_CLIENTS).await?;
                self.run(work).await
            }
            answer => answer,
        }
    }

    /// Runs work with an engine, on a blocking thread.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = acquire(&self.permits).await?;
        self.with(permit, work).await
    }

    /// Runs a short lookup, which does not wait for requests that compute.
    pub(crate) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = acquire(&self.looks).await?;
        self.with(permit, work).await
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let state = Arc::clone(self);
        // The permit is held as long as the work runs, even without a client, and released with the answer: earlier, the
        // next request would start another thread beside the one that is about to be free, and each thread holds its own
        // memory.
        let done = tokio::task::spawn_blocking(move || (state.work(&work), permit));
        done.await
            .map_or_else(|_| Err(Problem::fault()), |(answer, _permit)| answer)
    }

    /// Runs work with an engine of the pool, on this thread.
    pub(crate) fn work<T>(
        &self,
        work: &dyn Fn(&State, &mut RequestContext) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let version = self.version()?;
        let waiting = {
            let mut contexts = lock(&self.contexts);
            // Engines of a replaced library hold its old file open.
            contexts.retain(|context| context.version.epoch == version.epoch);
            contexts.pop()
        };
        let mut context = match waiting {
            Some(context) => context,
            None => RequestContext {
                engine: self.open_engine()?,
                version,
                followed: None,
            },
        };
        context.version = version;
        // Commits of others, and own changes.
        let commits = |context: &RequestContext| context.engine.library().commits();
        let before = commits(&context)?;
        let mut answer = work(self, &mut context);
        if answer.is_err() {
            let now = self.version()?;
            let after = commits(&context)?;
            // Retried if others committed between two reads. Not after own writes, which would be written twice, nor for a
            // replaced database, which fails again.
            if after.0 != before.0 && after.1 == before.1 && now.epoch == version.epoch {
                // Otherwise `index` would take its last index for the current one.
                context.version = now;
                answer = work(self, &mut context);
            }
        }
        // Also after an error: the engine is still valid, and opening another one costs more.
        lock(&self.contexts).push(context);
        answer
    }
}
