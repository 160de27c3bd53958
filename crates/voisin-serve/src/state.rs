//! What all requests share: engines, permits to compute, and the state of the library that answers are of.

mod source;
mod whole;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(super) use self::source::AnswerSource;
use self::whole::WholeLibrary;
use super::ServeError;
use super::elsewhere::{ElsewhereContext, OpenElsewhere, away, needs_copy};
use super::guard::Guard;
use super::problem::Problem;
use super::scan::ScanProcess;
use voisin::{Collection, Embedder, Engine, EngineError, TrackPage, TrackQuery};
use voisin_base::text::with_causes;
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_explore::KnnGraph;
use voisin_explore::path::{PathOptions, path};
use voisin_library::{
    DATABASE, Library, LibraryError, OpenMode, SearchTexts, SortBy, Told, TrackFilter, TrackSet,
};
use voisin_questions::Mixing;

/// Requests that wait for a permit, and for how long.
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Tracks that are kept of a library elsewhere for the next requests.
const MOST_FETCHED: u64 = 20_000;
/// Requests that look something up at once, beside those that compute.
const LOOKS: usize = 4;
/// Memory for the database's pages, of each engine, in KiB: all of them read through the system's own cache.
const PAGE_CACHE: u32 = 4096;

pub(super) type Shared = Arc<State>;
/// Starts this program for something else.
pub(crate) type MakeCommand = Box<dyn Fn() -> std::process::Command + Send + Sync>;
/// Makes the library's model ready.
pub(crate) type LoadModel = Box<dyn Fn(&Library) -> Result<Arc<Embedder>, EngineError> + Send + Sync>;

/// A state of the library as other processes leave it: equal ones have equal answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
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

/// An engine that answers one request at a time.
pub(super) struct RequestContext {
    pub(super) engine: Engine,
    /// The library's state when the request came.
    version: Version,
    /// The state that the index is of, and its generation.
    followed: Option<(Version, u64)>,
}

/// Tracks in the orders that were asked for, and the words by which they are found, of one state of the library: whoever
/// types in a search asks with each letter.
#[derive(Clone, Default)]
struct KnownListings {
    of: Option<Version>,
    sorted: Vec<(HowSorted, Arc<Vec<TrackId>>)>,
    texts: Option<Arc<SearchTexts>>,
    /// What fits the last filters.
    matching: Vec<(TrackFilter, Arc<Option<TrackSet>>)>,
}

/// What tracks are sorted by, and whether downwards.
type HowSorted = (SortBy, bool);

/// Filters whose tracks are kept.
const MOST_FILTERS: usize = 8;

/// All tracks, and the state of the library that they are of.
pub(super) struct Collected {
    pub(super) collection: Arc<Collection>,
    pub(super) generation: u64,
}

/// The library as exploring sees it.
pub(super) struct Explored {
    pub(super) collection: Arc<Collection>,
    pub(super) graph: KnnGraph,
    pub(super) generation: u64,
}

/// When a request came, and how long it was before work on it began.
pub(super) struct Waited {
    since: Instant,
    /// In microseconds; [`u64::MAX`] until it has begun.
    begun: AtomicU64,
}

tokio::task_local! {
    /// That of the request whose handler this is.
    pub(super) static WAITED: Arc<Waited>;
}

impl Waited {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { since: Instant::now(), begun: AtomicU64::new(u64::MAX) })
    }

    fn begin(&self) {
        self.begun.fetch_min(self.since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Milliseconds before the work, and until now.
    pub(super) fn milliseconds(&self) -> Option<(f64, f64)> {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun < u64::MAX).then(|| (begun as f64 / 1e3, self.since.elapsed().as_secs_f64() * 1e3))
    }
}

pub(super) struct State {
    pub(super) dir: PathBuf,
    pub(super) guard: Guard,
    /// Whether requests are told.
    pub(super) logs: bool,
    pub(super) scan: ScanProcess,
    /// Turns true when the server stops.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) listener: Box<dyn Fn(&str) + Send + Sync>,
    pub(super) load_model: LoadModel,
    permits: Arc<Semaphore>,
    /// For what computes nothing: where a file lies. Music plays on while all permits are taken.
    looks: Arc<Semaphore>,
    waiting: AtomicUsize,
    watch: Mutex<Watch>,
    contexts: Mutex<Vec<RequestContext>>,
    /// Whether the index has to be built, and whether it is being built.
    building: AtomicBool,
    builds: AtomicBool,
    model: Mutex<Option<(String, Arc<Embedder>)>>,
    whole: WholeLibrary,
    lists: Mutex<KnownListings>,
    /// Opens the library elsewhere whose tracks these are.
    pub(super) elsewhere: Option<OpenElsewhere>,
    elsewheres: Mutex<Vec<ElsewhereContext>>,
    /// Those that know all tracks of it, where these are few.
    wholes: Mutex<Vec<ElsewhereContext>>,
    /// For answers that are made of all its tracks, or of what stands for them: they leave threads to quick ones.
    arounds: Arc<Semaphore>,
    /// Tracks that a copy of it has, of how many; `None`: it is not being copied.
    copying: Mutex<Option<(u64, u64)>>,
    /// Whether that copy is complete.
    is_copied: AtomicBool,
    /// What a mix is like where a question does not say it.
    pub(super) mixing: Mixing,
    /// `voisin lists push`, where lists can be put elsewhere.
    pub(super) push: Option<MakeCommand>,
    /// Why that one cannot be asked, as of the last look.
    away: Mutex<Option<String>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which file it is, whatever its name.
fn identity(path: &std::path::Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Ok((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let made = metadata.created()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok((made.as_secs(), made.subsec_nanos().into()))
    }
}

impl State {
    pub(super) fn new(
        dir: PathBuf,
        guard: Guard,
        scan: ScanProcess,
        stop: watch::Receiver<bool>,
        load_model: LoadModel,
        listener: Box<dyn Fn(&str) + Send + Sync>,
        logs: bool,
    ) -> Result<Self, ServeError> {
        let whole = WholeLibrary::new().map_err(|error| ServeError::Runtime(std::io::Error::other(error)))?;
        Ok(Self {
            dir,
            guard,
            logs,
            scan,
            stop,
            listener,
            load_model,
            permits: Arc::new(Semaphore::new(rayon::current_num_threads())),
            looks: Arc::new(Semaphore::new(LOOKS)),
            waiting: AtomicUsize::new(0),
            watch: Mutex::default(),
            contexts: Mutex::default(),
            building: AtomicBool::new(false),
            builds: AtomicBool::new(false),
            model: Mutex::default(),
            whole,
            lists: Mutex::default(),
            elsewhere: None,
            elsewheres: Mutex::default(),
            wholes: Mutex::default(),
            arounds: Arc::new(Semaphore::new(rayon::current_num_threads().div_ceil(2))),
            copying: Mutex::default(),
            is_copied: AtomicBool::new(false),
            mixing: Mixing::default(),
            push: None,
            away: Mutex::default(),
        })
    }

    /// Notes how far a copy of the library elsewhere is.
    pub(super) fn set_copying(&self, done: u64, of: u64) {
        *lock(&self.copying) = Some((done, of));
    }

    /// Notes that the copy of the library elsewhere has all of it: questions are answered from there.
    pub(super) fn set_copied(&self) {
        if !self.is_copied.swap(true, Ordering::AcqRel) {
            lock(&self.elsewheres).clear();
            lock(&self.wholes).clear();
        }
    }

    /// Whether the library lies elsewhere, and there is no whole copy of it here.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some() && !self.is_copied.load(Ordering::Acquire)
    }

    /// Refuses what is about all tracks where these are elsewhere.
    fn needs_all(&self) -> Result<(), Problem> {
        if !self.is_elsewhere() {
            return Ok(());
        }
        let what = "this is about all tracks, which are in a database";
        Err(match *lock(&self.copying) {
            None => needs_copy(what),
            Some((done, of)) => {
                let detail = format!("{what}: the copy has {done} of {of} so far");
                Problem::later(30, detail, "ask again when the copy is complete")
            }
        })
    }

    /// Notes whether the library that this one is a copy of can be asked.
    pub(super) fn set_away(&self, why: Option<String>) {
        let before = std::mem::replace(&mut *lock(&self.away), why.clone());
        match (before, why) {
            (None, Some(why)) => self.say(&format!("no answers until the database is back: {why}")),
            (Some(_), None) => self.say("the database is back"),
            _ => {}
        }
    }

    pub(super) fn say(&self, text: &str) {
        (self.listener)(text);
    }

    /// As many requests compute at once as there are threads; some more may wait a little.
    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // Who need not wait is not held up by how many wait for something else.
        if let Ok(permit) = Arc::clone(of).try_acquire_owned() {
            return Ok(permit);
        }
        let busy = || Problem::later(2, "too many requests at once", "ask again in a few seconds");
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= MOST_WAITING {
            return Err(busy());
        }
        let permit = tokio::time::timeout(LONGEST_WAIT, Arc::clone(of).acquire_owned()).await;
        permit.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Works something out with an engine, on a thread that may wait.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.needs_all()?;
        let permit = self.permit(&self.permits).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    /// As [`ask`](Self::ask), for what a library elsewhere can be asked, too.
    pub(super) async fn ask_anywhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.permit(&self.permits).await?;
        self.with(permit, move |state| state.work_anywhere(false, &work)).await
    }

    /// As [`ask_anywhere`](Self::ask_anywhere), for answers that are made of all tracks, or of what stands for them: what
    /// others asked a library elsewhere before is not among it.
    pub(super) async fn ask_around<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.permit(if self.is_elsewhere() { &self.arounds } else { &self.permits }).await?;
        self.with(permit, move |state| state.work_anywhere(true, &work)).await
    }

    /// As [`look`](Self::look), for what a library elsewhere can be asked, too.
    pub(super) async fn look_anywhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.permit(&self.looks).await?;
        self.with(permit, move |state| state.work_anywhere(false, &work)).await
    }

    /// Looks something up that is there in a moment: it does not wait behind what computes.
    pub(super) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.needs_all()?;
        let permit = self.permit(&self.looks).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&State) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (state, waited) = (Arc::clone(self), WAITED.try_with(Arc::clone));
        // It counts as long as it computes, even where nobody waits for it any more. The permit comes back with the answer:
        // given back before, it would let the next request start a thread beside the one that is just about to be free,
        // and each thread keeps memory of its own.
        let done = tokio::task::spawn_blocking(move || {
            if let Ok(waited) = waited {
                waited.begin();
            }
            (work(&state), permit)
        });
        done.await.map_or_else(|_| Err(fault()), |(answer, _permit)| answer)
    }

    fn work<T>(
        &self,
        work: &dyn Fn(&State, &mut RequestContext) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let version = self.version()?;
        let waiting = {
            let mut contexts = lock(&self.contexts);
            contexts.retain(|context| context.version.epoch == version.epoch);
            contexts.pop()
        };
        let mut context = match waiting {
            Some(context) => RequestContext { version, ..context },
            None => RequestContext { engine: self.open_engine()?, version, followed: None },
        };
        let mut answer = work(self, &mut context);
        if answer.is_err() && self.version()? != version {
            // What was asked about may have changed between two reads.
            answer = work(self, &mut context);
        }
        lock(&self.contexts).push(context);
        answer
    }

    /// - `around`: it is made of all tracks, or of what stands for them
    fn work_anywhere<T>(
        &self,
        around: bool,
        work: &dyn Fn(&State, &mut AnswerSource<'_>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let Some(open) = self.elsewhere.as_ref().filter(|_| self.is_elsewhere()) else {
            return self.work(&|state, context| work(state, &mut AnswerSource::Here(context)));
        };
        let pool = if around { &self.wholes } else { &self.elsewheres };
        let waiting = lock(pool).pop();
        let current = |mut context: ElsewhereContext| {
            let is_small = context.library.engine().library().status()?.tracks <= MOST_FETCHED;
            let is_same = context.library.generation()? == context.generation;
            Ok::<_, Problem>((is_small && is_same).then_some(context))
        };
        let mut context = if let Some(context) = waiting.map(current).transpose()?.flatten() {
            context
        } else {
            ElsewhereContext::new(open()?)?
        };
        let answer = work(self, &mut AnswerSource::Elsewhere(&mut context));
        if !around || context.library.is_whole() {
            lock(pool).push(context);
        }
        answer
    }

    /// Notes what a player tells of tracks. Nothing that is kept of the library is another one by that.
    pub(super) async fn note_listening(
        self: &Arc<Self>,
        listener: String,
        told: Vec<(TrackId, Told)>,
    ) -> Result<(), Problem> {
        self.look(move |state, context| {
            let library = context.engine.library_mut();
            let (others, before) = (library.data_version()?, state.version()?);
            library.note_listening(&listener, &told)?;
            let (is_alone, after) = (library.data_version()? == others, state.version()?);
            if is_alone {
                state.whole.carry(before, after);
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
        let engine = match Engine::open(&self.dir, OpenMode::ReadWrite) {
            Err(EngineError::Library(LibraryError::ReadOnly { .. })) => {
                Engine::open(&self.dir, OpenMode::ReadOnly)?
            }
            engine => engine?,
        };
        engine.library().limit_page_cache(PAGE_CACHE)?;
        Ok(engine)
    }

    /// The library's state now. Where the database was put away or exchanged, everything of the former one is forgotten.
    pub(super) fn version(&self) -> Result<Version, Problem> {
        if let Some(why) = &*lock(&self.away) {
            return Err(away(why.clone()));
        }
        let mut watch = lock(&self.watch);
        let path = self.dir.join(DATABASE);
        let found = identity(&path);
        if watch.library.as_ref().is_some_and(|(_, known)| found.as_ref().ok() != Some(known)) {
            watch.library = None;
            watch.epoch += 1;
            lock(&self.contexts).clear();
            self.whole.clear();
        }
        let found = found.map_err(|error| {
            let detail = format!("the library is not there: {}: {error}", path.display());
            Problem::later(10, detail, "add music to make a new one, or put it back: the server goes on")
        })?;
        if watch.library.is_none() {
            watch.library = Some((Library::open(&self.dir, OpenMode::ReadOnly)?, found));
        }
        let commits = watch.library.as_ref().map_or(Ok(0), |(library, _)| library.data_version())?;
        Ok(Version { epoch: watch.epoch, commits })
    }

    /// The tracks that a query asks for.
    pub(super) fn list(
        &self,
        source: &mut AnswerSource<'_>,
        query: &TrackQuery,
    ) -> Result<TrackPage, Problem> {
        let context = match source {
            AnswerSource::Here(context) => context,
            AnswerSource::Elsewhere(context) => return Ok(context.library.list(query)?),
        };
        let library = context.engine.library();
        let _snapshot = library.snapshot()?;
        let order = (query.sort, query.descending);
        let mut lists = {
            let mut lists = lock(&self.lists);
            if lists.of != Some(context.version) {
                *lists = KnownListings { of: Some(context.version), ..KnownListings::default() };
            }
            lists.clone()
        };
        let sorted = match lists.sorted.iter().find(|(of, _)| *of == order) {
            Some((_, sorted)) => Arc::clone(sorted),
            None => Arc::new(library.sorted(query.sort, query.descending)?),
        };
        let matching = match lists.matching.iter().find(|(of, _)| *of == query.filter) {
            Some((_, matching)) => Arc::clone(matching),
            None => Arc::new(context.engine.matching(&query.filter)?),
        };
        if lists.texts.is_none() && !query.words.trim().is_empty() {
            lists.texts = Some(Arc::new(library.search_texts()?));
        }
        let none = SearchTexts::default();
        let texts = lists.texts.as_deref().unwrap_or(&none);
        let page = context.engine.list_of(query, &sorted, texts, (*matching).as_ref())?;
        // What was read may be of a later state than the request began with: then it is not kept.
        if self.version()? == context.version {
            lists.sorted.retain(|(of, _)| *of != order);
            lists.sorted.push((order, sorted));
            lists.matching.retain(|(of, _)| *of != query.filter);
            lists.matching.push((query.filter.clone(), matching));
            if lists.matching.len() > MOST_FILTERS {
                lists.matching.remove(0);
            }
            *lock(&self.lists) = lists;
        }
        Ok(page)
    }

    /// Brings a context's index up to date and returns the library's generation. An index that has to be built is built behind
    /// the requests, which are told to come back.
    pub(super) fn index(&self, context: &mut RequestContext) -> Result<u64, Problem> {
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
                let reason = with_causes(&error);
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
    pub(super) fn is_building(&self) -> bool {
        self.building.load(Ordering::Acquire)
    }

    /// Builds the index on a thread of its own if a request found that it has to be built.
    pub(super) fn start_building(self: &Arc<Self>) {
        if !self.building.load(Ordering::Acquire) || self.builds.swap(true, Ordering::AcqRel) {
            return;
        }
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let built = state.open_engine().and_then(|mut engine| Ok(engine.refresh_index()?));
            match built {
                Ok(refresh) => state.say(&refresh.to_string()),
                Err(problem) => state.say(&format!("the index cannot be built: {}", problem.detail())),
            }
            state.building.store(false, Ordering::Release);
            state.builds.store(false, Ordering::Release);
        });
    }

    /// The library's model, loaded once.
    pub(super) fn model(&self, engine: &Engine) -> Result<Arc<Embedder>, EngineError> {
        let held = engine.model()?.fingerprint;
        let mut model = lock(&self.model);
        if let Some((fingerprint, embedder)) = &*model
            && *fingerprint == held
        {
            return Ok(Arc::clone(embedder));
        }
        let embedder = (self.load_model)(engine.library())?;
        *model = Some((held, Arc::clone(&embedder)));
        Ok(embedder)
    }
}

pub(super) fn fault() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "an internal fault", "please report it with this request")
}

/// The way from one track to another, as it comes unless it is longer than is asked for, with similarities to its start.
///
/// - `count`: tracks, both ends among them
pub(super) fn way(
    explored: &Explored,
    from: TrackId,
    to: TrackId,
    count: usize,
) -> Result<Vec<(TrackId, f32)>, Problem> {
    let collection = &explored.collection;
    let row = |track: TrackId| collection.row(track).ok_or(EngineError::NoVector { id: track });
    let (from, to) = (row(from)?, row(to)?);
    let vectors = collection.vectors.view();
    let walk = |tracks| {
        let options = PathOptions { tracks, ..PathOptions::default() };
        path(vectors, &explored.graph, &collection.meta, from, to, &options)
    };
    let mut found = walk(None)?;
    if found.rows.len() > count {
        found = walk(Some(count))?;
    }
    let start = vectors.row(from).to_vec();
    let similarity = |row: usize| dot(&start, &vectors.row(row).to_vec()).clamp(0.0, 1.0);
    Ok(found.rows.iter().map(|&row| (collection.ids[row], similarity(row))).collect())
}
