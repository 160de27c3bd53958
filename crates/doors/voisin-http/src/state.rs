//! State that all requests share: engines, permits to compute, and the state of the library that answers are of.

mod admission;
mod source;
mod whole;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use self::admission::Admission;
pub(super) use self::admission::{WAITED, Waited};
pub use self::source::AnswerSource;
pub use self::whole::GivenUp;
use self::whole::WholeLibrary;
use super::ServeError;
use super::access::Guard;
use super::problem::{KeptFailure, Problem};
use super::scan::ScanProcess;
use super::uploads::Uploads;
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_engine::{
    Collection, Embedder, Engine, EngineError, PredictedTags, TrackPage, TrackQuery,
};
use voisin_explore::KnnGraph;
use voisin_explore::path::{PathOptions, path};
use voisin_library::{
    DATABASE, Library, OpenMode, SearchTexts, SortBy, Told, TrackFilter, TrackSet,
};
use voisin_questions::{LibrarySource, QuestionError, ServerMixes};

/// Memory for the database's pages, of each engine, in KiB: all of them read through the system's own cache.
const PAGE_CACHE: u32 = 4096;

/// The state, as each request has it.
pub type Shared = Arc<State>;
/// The tags of all tracks, or a model's reading side; `None` of a model without either.
pub type SharedTags = Arc<Option<PredictedTags>>;
/// Starts this program for something else.
pub type MakeCommand = Box<dyn Fn() -> std::process::Command + Send + Sync>;
/// Makes the library's model ready.
pub type LoadModel = Box<dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError> + Send + Sync>;

/// A state of the library as other processes leave it: equal ones have equal answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Version {
    /// Grows when another database is found in the library's place.
    pub(super) epoch: u64,
    /// SQLite's own counter of what others commit.
    commits: i64,
}

/// The connection that sees what others commit. It writes nothing itself, or it would not count.
#[derive(Default)]
struct Watch {
    library: Option<(Library, (u64, u64))>,
    epoch: u64,
}

/// Opens the library in a database that requests are answered from.
pub type OpenElsewhere = Box<dyn Fn() -> Result<LibrarySource, QuestionError> + Send + Sync>;

/// The library here, as one request uses it.
pub struct RequestContext<'a> {
    /// The library, its index and its model.
    pub engine: &'a mut Engine,
    /// The library's state when the request came.
    version: Version,
    /// The state that the index is of, and its generation.
    followed: &'a mut Option<(Version, u64)>,
}

/// Tracks in the orders that were asked for, and the words by which they are found, of one state of the library: whoever
/// types in a search asks with each letter.
#[derive(Clone, Default)]
struct KnownListings {
    of: Option<Version>,
    sorted: Vec<(HowSorted, Arc<Vec<TrackId>>)>,
    texts: Option<Arc<SearchTexts>>,
    /// Tracks that the last filters let through.
    matching: Vec<(TrackFilter, Arc<Option<TrackSet>>)>,
}

/// The key of an order, and whether it is descending.
type HowSorted = (SortBy, bool);

/// Filters whose tracks are kept.
const MOST_FILTERS: usize = 8;

/// All tracks, and the state of the library that they are of.
pub struct Collected {
    /// The tracks and their vectors.
    pub collection: Arc<Collection>,
    /// The library's, when they were read.
    pub generation: u64,
}

/// The library as exploring sees it.
pub struct Explored {
    /// All tracks and their vectors.
    pub collection: Arc<Collection>,
    /// The nearest neighbours of each.
    pub graph: KnnGraph,
    /// The library's, when they were read.
    pub generation: u64,
}

/// Everything that requests share.
pub struct State {
    /// The library's folder.
    pub dir: PathBuf,
    /// Who may ask.
    pub guard: Guard,
    /// Whether requests are told.
    pub(super) logs: bool,
    /// The scan of folders that runs, if one does.
    pub scan: ScanProcess,
    /// Turns true when the server stops.
    pub stop: watch::Receiver<bool>,
    pub(super) listener: Box<dyn Fn(&str) + Send + Sync>,
    pub(super) load_model: LoadModel,
    admission: Admission,
    watch: Mutex<Watch>,
    sources: Mutex<Vec<AnswerSource>>,
    /// Whether the index has to be built, and whether it is being built.
    building: AtomicBool,
    builds: AtomicBool,
    /// Why it could not be built, of which state of the library.
    unbuilt: Mutex<Option<(Version, KeptFailure)>>,
    /// By the fingerprints of the library's model and those of its spaces.
    models: Mutex<HashMap<String, Arc<Embedder>>>,
    /// The tags of other spaces, and the state of the library that it is of.
    heard_within: Mutex<HashMap<String, (Version, SharedTags)>>,
    whole: WholeLibrary,
    lists: Mutex<KnownListings>,
    /// Opens the library elsewhere whose tracks these are.
    pub elsewhere: Option<OpenElsewhere>,
    elsewheres: Mutex<Vec<AnswerSource>>,
    /// Those that know all tracks of it, where these are few.
    wholes: Mutex<Vec<AnswerSource>>,
    /// Tracks that a copy of it has, of how many; `None`: it is not being copied.
    copying: Mutex<Option<(u64, u64)>>,
    /// Whether that copy is complete.
    is_copied: AtomicBool,
    /// The defaults of mixes.
    pub mixes: ServerMixes,
    /// Files that are sent to be listened to.
    pub(super) uploads: Arc<Uploads>,
    /// `voisin lists push`, where lists can be put elsewhere.
    pub push: Option<MakeCommand>,
    /// Whether a server was asked about a song by an id that it knows and that is not linked.
    pub is_unlinked: AtomicBool,
    /// Why that one cannot be asked, as of the last look.
    away: Mutex<Option<String>>,
}

/// What a mutex guards, also where a thread that held it has panicked.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which file it is, whatever its name.
fn identity(path: &std::path::Path) -> std::io::Result<(u64, u64)> {
    // The watching connection holds the file open, so its number cannot be given to another one
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
    /// - `load_model`: makes the library's model ready
    /// - `listener`: is told what happens
    /// - `logs`: whether requests are told
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
            sources: Mutex::default(),
            building: AtomicBool::new(false),
            builds: AtomicBool::new(false),
            unbuilt: Mutex::default(),
            models: Mutex::default(),
            heard_within: Mutex::default(),
            whole,
            lists: Mutex::default(),
            elsewhere: None,
            elsewheres: Mutex::default(),
            wholes: Mutex::default(),
            copying: Mutex::default(),
            is_copied: AtomicBool::new(false),
            mixes: ServerMixes::default(),
            uploads: Arc::default(),
            push: None,
            is_unlinked: AtomicBool::new(false),
            away: Mutex::default(),
        })
    }

    /// Notes how far a copy of the library elsewhere is.
    pub fn set_copying(&self, done: u64, total: u64) {
        *lock(&self.copying) = Some((done, total));
    }

    /// Notes that the copy of the library elsewhere has all of it: questions are answered from there.
    pub fn set_copied(&self) {
        // Once: engines that were opened on the database are of no use any more.
        if !self.is_copied.swap(true, Ordering::AcqRel) {
            lock(&self.elsewheres).clear();
            lock(&self.wholes).clear();
        }
    }

    /// Whether the library lies elsewhere, and there is no whole copy of it here.
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some() && !self.is_copied.load(Ordering::Acquire)
    }

    /// Refuses what is about all tracks where these are elsewhere.
    fn needs_all(&self) -> Result<(), Problem> {
        if !self.is_elsewhere() {
            return Ok(());
        }
        let what = "this is about all tracks, which are in a database";
        Err(match *lock(&self.copying) {
            None => Problem::needs_copy(what),
            Some((done, total)) => {
                let detail = format!("{what}: the copy has {done} of {total} so far");
                Problem::later(30, detail, "ask again when the copy is complete")
            }
        })
    }

    /// Notes whether the library that this one is a copy of can be asked.
    pub fn set_away(&self, why: Option<String>) {
        let before = std::mem::replace(&mut *lock(&self.away), why.clone());
        match (before, why) {
            (None, Some(why)) => self.say(&format!("no answers until the database is back: {why}")),
            (Some(_), None) => self.say("the database is back"),
            _ => {}
        }
    }

    /// Tells whoever runs the server.
    pub fn say(&self, text: &str) {
        (self.listener)(text);
    }

    /// Notes what a player tells of tracks. Nothing that is kept of the library is another one by that.
    pub async fn note_listening(
        self: &Arc<Self>,
        listener: String,
        events: Vec<(TrackId, Told)>,
    ) -> Result<(), Problem> {
        self.look(move |state, context| {
            let library = context.engine.library_mut();
            // SQLite counts in it what other connections committed, and not what this one does.
            let others = library.changes().data_version()?;
            let before = state.version()?;
            library.history_mut().note_listening(&listener, &events)?;
            let is_alone = library.changes().data_version()? == others;
            let after = state.version()?;
            if is_alone {
                // Computed answers stay good: nobody else wrote, and a play changes no answer
                // that is kept.
                state.whole.carry(before, after);
                if let Some((version, _)) = &mut *lock(&state.unbuilt)
                    && *version == before
                {
                    *version = after;
                }
                let mut lists = lock(&state.lists);
                if lists.of == Some(before) {
                    lists.of = Some(after);
                }
            }
            Ok(())
        })
        .await
    }

    /// Opens the library as the command line does: for writing where that is possible, so that its index can be kept.
    fn open_engine(&self) -> Result<Engine, Problem> {
        let library = Library::open_to_write_if_possible(&self.dir, None)?;
        let mut engine = Engine::from_library(library);
        engine.library().limit_page_cache(PAGE_CACHE)?;
        // A mapped file that another program cuts would end the process with a bus error.
        engine.copy_index();
        Ok(engine)
    }

    /// The library's state now. Where the database was put away or exchanged, everything of the former one is forgotten.
    pub fn version(&self) -> Result<Version, Problem> {
        // First: a copy of a database that cannot be asked may be of yesterday.
        if let Some(why) = &*lock(&self.away) {
            return Err(Problem::away(why.clone()));
        }
        // Held to the end, so that two requests do not both find the file exchanged and count it
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
            lock(&self.sources).clear();
            self.whole.clear();
        }
        let found = found.map_err(|error| {
            let detail = format!("the library is not there: {}: {error}", path.display());
            Problem::later(
                10,
                detail,
                "add music to make a new one, or put it back: the server goes on",
            )
        })?;
        // Opened to read: a connection that writes would not see its own commits counted.
        if watch.library.is_none() {
            watch.library = Some((Library::open(&self.dir, OpenMode::ReadOnly)?, found));
        }
        let commits = watch
            .library
            .as_ref()
            .map_or(Ok(0), |(library, _)| library.changes().data_version())?;
        Ok(Version {
            epoch: watch.epoch,
            commits,
        })
    }

    /// The tracks that a query asks for.
    pub fn list(
        &self,
        source: &mut AnswerSource,
        query: &TrackQuery,
    ) -> Result<TrackPage, Problem> {
        let Some(context) = source.here() else {
            return Ok(source.list(query)?);
        };
        let library = context.engine.library();
        let _snapshot = library.snapshot()?;
        let order = (query.sort, query.descending);
        // A clone of pointers: the lock is not held while the library is read.
        let mut lists = {
            let mut lists = lock(&self.lists);
            if lists.of != Some(context.version) {
                *lists = KnownListings {
                    of: Some(context.version),
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
        if lists.texts.is_none() && !query.words.trim().is_empty() {
            lists.texts = Some(Arc::new(library.lookup().search_texts()?));
        }
        let none = SearchTexts::default();
        let texts = lists.texts.as_deref().unwrap_or(&none);
        let page = context
            .engine
            .list_of(query, &sorted, texts, (*matching).as_ref())?;
        // The rows read may be of a later state than the request began with: then they are not kept.
        if self.version()? == context.version {
            lists.sorted.retain(|(key, _)| *key != order);
            lists.sorted.push((order, sorted));
            lists.matching.retain(|(key, _)| *key != query.filter);
            lists.matching.push((query.filter.clone(), matching));
            // The oldest first: a filter that is used again is moved to the end above.
            if lists.matching.len() > MOST_FILTERS {
                lists.matching.remove(0);
            }
            *lock(&self.lists) = lists;
        }
        Ok(page)
    }

    /// Brings a context's index up to date and returns the library's generation. An index that has to be built is built behind
    /// the requests, which are told to come back; one that could not be built is not tried again at once, and all are told why.
    pub fn index(&self, context: &mut RequestContext) -> Result<u64, Problem> {
        // Nothing was committed since this engine followed the index.
        if let Some((version, generation)) = *context.followed
            && version == context.version
            && context.engine.has_index()
        {
            return Ok(generation);
        }
        match context.engine.follow() {
            Ok(generation) => {
                *context.followed = Some((context.version, generation));
                Ok(generation)
            }
            Err(EngineError::Index(error)) => {
                // A build that failed for a reason of its own would fail again with each request.
                let unbuilt = lock(&self.unbuilt).clone();
                if let Some(problem) = unbuilt
                    .filter(|(version, _)| *version == context.version && !self.is_building())
                    .and_then(|(_, failure)| failure.lasting())
                {
                    return Err(problem);
                }
                let reason = with_causes(&error);
                // Said once, by whoever is first; the build itself is begun by the server's own
                // loop.
                if !self.building.swap(true, Ordering::AcqRel) {
                    self.say(&format!("the index is built anew: {reason}"));
                }
                Err(Problem::later(
                    2,
                    format!("the index has to be built: {reason}"),
                    "ask again in a few seconds",
                ))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether requests wait for an index that has to be built.
    pub fn is_building(&self) -> bool {
        self.building.load(Ordering::Acquire)
    }

    /// Builds the index on a thread of its own if a request found that it has to be built.
    pub fn start_building(self: &Arc<Self>) {
        // Two flags: requests raise the first, and the second keeps one build from being begun
        // twice.
        if !self.building.load(Ordering::Acquire) || self.builds.swap(true, Ordering::AcqRel) {
            return;
        }
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            match state.build() {
                Ok(news) => {
                    *lock(&state.unbuilt) = None;
                    state.say(&news);
                }
                Err((version, problem)) => {
                    state.say(&format!(
                        "the index cannot be built: {}",
                        problem.in_tools()
                    ));
                    *lock(&state.unbuilt) =
                        version.map(|version| (version, KeptFailure::new(problem)));
                }
            }
            // After the outcome is noted: a request in between would ask for another build.
            state.building.store(false, Ordering::Release);
            state.builds.store(false, Ordering::Release);
        });
    }

    /// Builds the index, and says so. An error has the state of the library that it is of.
    fn build(&self) -> Result<String, (Option<Version>, Problem)> {
        let before = self.version().ok();
        // An engine of its own: a build takes seconds to minutes, and those of the pool answer
        // meanwhile.
        let mut engine = self.open_engine().map_err(|problem| (before, problem))?;
        let others = engine.library().changes().data_version().ok();
        engine
            .refresh_index()
            .map(|refresh| refresh.to_string())
            .map_err(|error| {
                // Changes that this build wrote itself do not count.
                let is_alone = engine.library().changes().data_version().ok() == others;
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

    /// The library's model, or that of a space, loaded once.
    pub fn model(&self, engine: &Engine) -> Result<Arc<Embedder>, EngineError> {
        let held = engine.model()?.fingerprint;
        // Held while it is loaded: two requests would otherwise load the same weights side by side.
        let mut models = lock(&self.models);
        if let Some(embedder) = models.get(&held) {
            return Ok(Arc::clone(embedder));
        }
        let embedder = (self.load_model)(engine.library())?;
        // Those of spaces that are gone, and of a default of before, go.
        let spaces = engine.library().spaces().all()?;
        models.retain(|known, _| spaces.iter().any(|space| space.model.fingerprint == *known));
        models.insert(held, Arc::clone(&embedder));
        Ok(embedder)
    }

    /// The tags, or the reading side, of another space's model, made once for each state of the library.
    pub fn heard_within(
        &self,
        context: &mut RequestContext,
        space: &str,
    ) -> Result<SharedTags, Problem> {
        let version = self.version()?;
        if let Some((known, heard)) = lock(&self.heard_within).get(space)
            && *known == version
        {
            return Ok(Arc::clone(heard));
        }
        let engine = context.engine.within(space)?;
        engine.words_mut().keep_tags()?;
        let heard = Arc::new(engine.words().words_if_any()?);
        // Again: `keep_tags` may have written, and what was made is of the state after that.
        let version = self.version()?;
        let mut all = lock(&self.heard_within);
        all.retain(|_, (known, _)| *known == version);
        all.insert(space.to_owned(), (version, Arc::clone(&heard)));
        Ok(heard)
    }
}

/// The way from one track to another, as it comes unless it is longer than is asked for, with similarities to its start.
///
/// - `count`: tracks, both ends among them
pub fn way(
    explored: &Explored,
    from: TrackId,
    to: TrackId,
    count: usize,
) -> Result<Vec<(TrackId, f32)>, Problem> {
    let collection = &explored.collection;
    let row = |track: TrackId| {
        collection
            .row(track)
            .ok_or(EngineError::NoVector { id: track })
    };
    let from = row(from)?;
    let to = row(to)?;
    let vectors = collection.vectors.view();
    let walk = |tracks| {
        let options = PathOptions {
            tracks,
            ..PathOptions::default()
        };
        path(
            vectors,
            &explored.graph,
            &collection.meta,
            from,
            to,
            &options,
        )
    };
    let mut found = walk(None)?;
    // A natural way is shown as it is; only a longer one is computed with a bound.
    if found.rows.len() > count {
        found = walk(Some(count))?;
    }
    let start = vectors.row(from).to_vec();
    let similarity = |row: usize| dot(&start, &vectors.row(row).to_vec()).clamp(0.0, 1.0);
    Ok(found
        .rows
        .iter()
        .map(|&row| (collection.ids[row], similarity(row)))
        .collect())
}
