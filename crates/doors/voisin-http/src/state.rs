//! State shared by all requests: engines, permits, and the version of the library.

mod admission;
mod whole;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};

use self::admission::Admission;
pub(super) use self::admission::{WAITED, Waited};
pub use self::whole::GivenUp;
use self::whole::WholeLibrary;
use super::ServeError;
use super::access::Guard;
use super::problem::{KeptFailure, Problem};
use super::scan::ScanProcess;
use super::uploads;
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_engine::{Collection, Embedder, Engine, EngineError, TrackPage, TrackQuery};
use voisin_explore::KnnGraph;
use voisin_library::{DATABASE, Library, OpenMode, SortBy, TrackFilter, TrackSet};

/// SQLite's page cache of each engine, in KiB: small, since all read through the system's cache.
const PAGE_CACHE: u32 = 4096;

/// The state for handlers.
pub type Shared = Arc<State>;
/// Loads the library's model.
pub type LoadModel = Box<dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError> + Send + Sync>;

/// A version of the library, which commits of other processes change: equal versions have equal answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Grows when the database file is replaced by another one.
    pub(super) epoch: u64,
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
pub struct RequestContext {
    /// The library, its index and its model.
    pub engine: Engine,
    /// The library's version when the request came.
    version: Version,
    /// The index's version and generation.
    followed: Option<(Version, u64)>,
}

/// Sorted tracks of one version of the library, cached because a search sends a request at each keystroke.
#[derive(Clone, Default)]
struct KnownListings {
    version: Option<Version>,
    sorted: Vec<(HowSorted, Arc<Vec<TrackId>>)>,
    /// Tracks that pass the last filters.
    matching: Vec<(TrackFilter, Arc<Option<TrackSet>>)>,
}

/// The key of an order, and whether it is descending.
type HowSorted = (SortBy, bool);

/// Most filters whose tracks are cached.
const MOST_FILTERS: usize = 8;

/// All tracks with their neighbour graph.
pub struct Explored {
    /// All tracks and their vectors.
    pub collection: Arc<Collection>,
    /// The nearest neighbours of each.
    pub graph: KnnGraph,
    /// The library's generation when they were read.
    pub generation: u64,
}

/// Everything that requests share.
pub struct State {
    /// The library's folder.
    pub dir: PathBuf,
    /// Access control.
    pub guard: Guard,
    /// Whether requests are logged.
    pub(super) logs: bool,
    /// The scan of folders.
    pub scan: ScanProcess,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
    pub(super) listener: Box<dyn Fn(&str) + Send + Sync>,
    pub(super) load_model: LoadModel,
    admission: Admission,
    watch: Mutex<Watch>,
    contexts: Mutex<Vec<RequestContext>>,
    /// Whether the index must be built.
    building: AtomicBool,
    builds: AtomicBool,
    /// Why it could not be built, and the library's version.
    unbuilt: Mutex<Option<(Version, KeptFailure)>>,
    /// The loaded model with its fingerprint.
    model: Mutex<Option<(String, Arc<Embedder>)>>,
    whole: WholeLibrary,
    lists: Mutex<KnownListings>,
    /// Uploaded files.
    pub(super) uploads: Arc<Semaphore>,
}

/// Locks a mutex, also after a panic of a thread that held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// - `dir`: the library's folder
    /// - `stop`: turns true when the server stops
    /// - `load_model`: loads the library's model
    /// - `listener`: receives log messages
    /// - `logs`: whether requests are logged
    pub fn new(
        dir: PathBuf,
        guard: Guard,
        scan: ScanProcess,
        stop: watch::Receiver<bool>,
        load_model: LoadModel,
        listener: Box<dyn Fn(&str) + Send + Sync>,
        logs: bool,
    ) -> Result<Self, ServeError> {
        let whole = WholeLibrary::new()
            .map_err(|error| ServeError::Runtime(std::io::Error::other(error)))?;
        Ok(Self {
            dir,
            guard,
            logs,
            scan,
            stop,
            listener,
            load_model,
            admission: Admission::new(rayon::current_num_threads()),
            watch: Mutex::default(),
            contexts: Mutex::default(),
            building: AtomicBool::new(false),
            builds: AtomicBool::new(false),
            unbuilt: Mutex::default(),
            model: Mutex::default(),
            whole,
            lists: Mutex::default(),
            uploads: Arc::new(Semaphore::new(uploads::MOST)),
        })
    }

    /// Writes a log message.
    pub fn log(&self, text: &str) {
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
    pub fn version(&self) -> Result<Version, Problem> {
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

    /// The tracks of a query.
    pub fn list(&self, context: &RequestContext, query: &TrackQuery) -> Result<TrackPage, Problem> {
        let library = context.engine.library();
        let _snapshot = library.snapshot()?;
        let order = (query.sort, query.descending);
        // A clone of pointers, so that the lock is not held while the library is read.
        let mut lists = {
            let mut lists = lock(&self.lists);
            if lists.version != Some(context.version) {
                *lists = KnownListings {
                    version: Some(context.version),
                    ..KnownListings::default()
                };
            }
            lists.clone()
        };
        let sorted = match lists.sorted.iter().find(|(key, _)| *key == order) {
            Some((_, sorted)) => Arc::clone(sorted),
            None => Arc::new(library.sorted(query.sort, query.descending)?),
        };
        let matching = match lists.matching.iter().find(|(key, _)| *key == query.filter) {
            Some((_, matching)) => Arc::clone(matching),
            None => Arc::new(context.engine.matching(&query.filter)?),
        };
        let page = context
            .engine
            .list_of(query, &sorted, (*matching).as_ref())?;
        // Not cached if the library has changed since the request began.
        if self.version()? == context.version {
            lists.sorted.retain(|(key, _)| *key != order);
            lists.sorted.push((order, sorted));
            lists.matching.retain(|(key, _)| *key != query.filter);
            lists.matching.push((query.filter.clone(), matching));
            // The least recently used first: a filter that is used again moves to the end.
            if lists.matching.len() > MOST_FILTERS {
                lists.matching.remove(0);
            }
            *lock(&self.lists) = lists;
        }
        Ok(page)
    }

    /// Brings a context's index up to date and returns the library's generation. An index that must be built is built in the
    /// background, and requests get 503 meanwhile; after a failure they get its reason, and it is not built again at once.
    pub fn index(&self, context: &mut RequestContext) -> Result<u64, Problem> {
        // Nothing was committed since this engine updated the index.
        if let Some((version, generation)) = context.followed
            && version == context.version
            && context.engine.has_index()
        {
            return Ok(generation);
        }
        match context.engine.follow() {
            Ok(generation) => {
                context.followed = Some((context.version, generation));
                Ok(generation)
            }
            Err(EngineError::Index(error)) => {
                // A failed build would fail again with each request.
                let unbuilt = lock(&self.unbuilt).clone();
                if let Some(problem) = unbuilt
                    .filter(|(version, _)| *version == context.version && !self.is_building())
                    .and_then(|(_, failure)| failure.lasting())
                {
                    return Err(problem);
                }
                let reason = with_causes(&error);
                // Logged once, by the first request; the server's own loop starts the
                // build.
                if !self.building.swap(true, Ordering::AcqRel) {
                    self.log(&format!("the index is rebuilt: {reason}"));
                }
                Err(Problem::later(
                    2,
                    format!("the index must be built: {reason}"),
                    "try again in a few seconds",
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether requests wait for an index that must be built.
    pub fn is_building(&self) -> bool {
        self.building.load(Ordering::Acquire)
    }

    /// Builds the index on its own thread if a request found that it must be built.
    pub fn start_building(self: &Arc<Self>) {
        // Two flags: requests set the first, and the second prevents a second
        // build.
        if !self.building.load(Ordering::Acquire) || self.builds.swap(true, Ordering::AcqRel) {
            return;
        }
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            match state.build() {
                Ok(news) => {
                    *lock(&state.unbuilt) = None;
                    state.log(&news);
                }
                Err((version, problem)) => {
                    state.log(&format!(
                        "the index cannot be built: {}",
                        problem.in_tools()
                    ));
                    *lock(&state.unbuilt) =
                        version.map(|version| (version, KeptFailure::new(problem)));
                }
            }
            // After the outcome is stored: a request in between would request another build.
            state.building.store(false, Ordering::Release);
            state.builds.store(false, Ordering::Release);
        });
    }

    /// Builds the index and returns a log message. An error has the library's version.
    fn build(&self) -> Result<String, (Option<Version>, Problem)> {
        let before = self.version().ok();
        // Not an engine of the pool, which answer requests during a build of seconds to
        // minutes.
        let mut engine = self.open_engine().map_err(|problem| (before, problem))?;
        let others = engine.library().data_version().ok();
        engine
            .refresh_index()
            .map(|refresh| refresh.to_string())
            .map_err(|error| {
                // The build's own changes do not count.
                let is_alone = engine.library().data_version().ok() == others;
                (
                    if is_alone {
                        self.version().ok()
                    } else {
                        before
                    },
                    error.into(),
                )
            })
    }

    /// The library's model, loaded once.
    pub fn model(&self, engine: &Engine) -> Result<Arc<Embedder>, EngineError> {
        let held = engine.model()?.fingerprint;
        // Held while it is loaded, so that two requests do not load the same weights.
        let mut model = lock(&self.model);
        if let Some((_, embedder)) = model.as_ref().filter(|(loaded, _)| *loaded == held) {
            return Ok(Arc::clone(embedder));
        }
        let embedder = (self.load_model)(engine.library())?;
        *model = Some((held, Arc::clone(&embedder)));
        Ok(embedder)
    }
}
