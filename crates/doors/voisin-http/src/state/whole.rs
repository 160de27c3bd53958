//! Answers about the whole library: computed once and shared, one after the other, at low priority and on separate
//! threads, and cached. Quick queries never wait for them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{Semaphore, watch};

use super::{Explored, RequestContext, State, Version, lock};
use crate::problem::{KeptFailure, Problem};
use voisin_engine::PredictedTags;
use voisin_kernels::allocator;

/// Timeout of a request for an answer about the whole library.
// Below that of all requests (`PATIENCE`, 30 s), so that the client gets a Retry-After.
const WAIT_FOR_ALL: Duration = Duration::from_secs(25);
/// Most answers about the whole library that are cached or being computed.
const MOST_KEPT: usize = 64;
/// How long further pages of a cached answer are available after the library changed.
const GOES_ON: Duration = Duration::from_mins(1);
/// How long a computation continues without a waiting client, so that a client can retry.
const GIVEN_UP: Duration = if cfg!(test) {
    Duration::from_millis(500)
} else {
    Duration::from_secs(15)
};
/// Interval of the check for waiting clients.
const GLANCE: Duration = Duration::from_millis(250);
/// Niceness of the threads of this module: they get a third of the CPU time of a normal thread.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

type Worked = Result<Arc<dyn Any + Send + Sync>, KeptFailure>;
/// A finished or future answer.
type Whole = watch::Receiver<Option<Worked>>;

struct Kept {
    version: Version,
    requested: Instant,
    answer: Whole,
}

/// Data of all tracks that queries need, with the library's version.
type Ground<T> = Mutex<Option<(Version, Arc<T>)>>;
type MakeGround<T> = fn(&State, &mut RequestContext) -> Result<(Version, T), Problem>;

/// Set when no client waits for an answer any more.
#[derive(Clone, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Ends work without a waiting client.
    pub fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Problem::later(
                1,
                "no client was waiting for this",
                "try again",
            ));
        }
        Ok(())
    }
}

/// A queue of work, one task at a time, on its own threads.
struct Lane {
    turn: Arc<Semaphore>,
    pool: Arc<ThreadPool>,
}

impl Lane {
    /// All threads but one, which is left to quick queries.
    fn new() -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads().saturating_sub(1).max(1))
            .thread_name(|at| format!("whole-{at}"))
            .start_handler(|_| {
                // Other systems have priorities of processes only, or other calls.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::setpriority_process(None, NICE);
            });
        Ok(Self {
            turn: Arc::new(Semaphore::new(1)),
            pool: Arc::new(pool.build()?),
        })
    }
}

/// The state of this module.
pub(super) struct WholeLibrary {
    answers: Lane,
    /// For answers that decode files, which take minutes and must not delay others.
    dear: Lane,
    /// For answers that train on the labels, which take seconds.
    learning: Lane,
    /// For data that quick queries need, too, which must not wait for answers.
    grounds: Lane,
    kept: Mutex<HashMap<String, Kept>>,
    explored: Ground<Explored>,
    tags: Ground<Option<PredictedTags>>,
}

impl WholeLibrary {
    pub(super) fn new() -> Result<Self, ThreadPoolBuildError> {
        Ok(Self {
            answers: Lane::new()?,
            dear: Lane::new()?,
            learning: Lane::new()?,
            grounds: Lane::new()?,
            kept: Mutex::default(),
            explored: Mutex::default(),
            tags: Mutex::default(),
        })
    }

    /// Moves answers about one version of the library to another one, between which only cached data was written.
    pub(super) fn carry(&self, from: Version, to: Version) {
        fn carried<T>(ground: &Ground<T>, from: Version, to: Version) {
            if let Some((version, _)) = &mut *lock(ground)
                && *version == from
            {
                *version = to;
            }
        }
        carried(&self.explored, from, to);
        carried(&self.tags, from, to);
        lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.version == from)
            .for_each(|kept| kept.version = to);
    }

    /// Clears the data of a former library.
    pub(super) fn clear(&self) {
        // `kept` needs no clearing: its answers have their epoch.
        *lock(&self.explored) = None;
        *lock(&self.tags) = None;
    }
}

impl State {
    async fn now(self: &Arc<Self>) -> Result<Version, Problem> {
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || state.version())
            .await
            .unwrap_or_else(|_| Err(Problem::fault()))
    }

    /// An answer about the whole library, cached as long as the library does not change.
    ///
    /// - `key`: the query with all its options, except the page of the answer
    /// - `goes_on`: a further page of a cached answer is requested, which is available for a while even if the library has
    ///   changed
    pub async fn once<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_in(|whole| &whole.answers, key, goes_on, work)
            .await
    }

    /// [`once`](Self::once) for answers that train on the labels.
    pub async fn once_learned<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_in(|whole| &whole.learning, key, goes_on, work)
            .await
    }

    async fn once_in<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        lane: fn(&WholeLibrary) -> &Lane,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        let answer = self.begin(key, goes_on, move |state, given_up| async move {
            state.in_turn(lane, given_up, work).await
        });
        wait(answer.await?, Some(WAIT_FOR_ALL)).await
    }

    /// [`once`](Self::once) for answers from all tracks and their neighbours.
    pub async fn once_explored<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &Explored, &GivenUp) -> Result<T, Problem>
        + Send
        + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_explored_in(|whole| &whole.answers, key, goes_on, work)
            .await
    }

    /// [`once_explored`](Self::once_explored) for answers that decode files.
    pub async fn once_explored_decoded<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &Explored, &GivenUp) -> Result<T, Problem>
        + Send
        + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_explored_in(|whole| &whole.dear, key, goes_on, work)
            .await
    }

    async fn once_explored_in<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        lane: fn(&WholeLibrary) -> &Lane,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &Explored, &GivenUp) -> Result<T, Problem>
        + Send
        + 'static,
    ) -> Result<Arc<T>, Problem> {
        let answer = self.begin(key, goes_on, move |state, given_up| async move {
            // Before the turn is taken: neighbours are made in another lane, and waiting for them
            // inside would hold this one.
            let (_, explored) = state.neighbours(None).await?;
            let work = move |state: &Self, context: &mut RequestContext, given_up: &GivenUp| {
                work(state, context, &explored, given_up)
            };
            state.in_turn(lane, given_up, work).await
        });
        wait(answer.await?, Some(WAIT_FOR_ALL)).await
    }

    /// [`run`](Self::run) with all tracks and their neighbours, which it waits for before it takes a permit.
    pub async fn run_explored<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Self, &mut RequestContext, &Explored) -> Result<T, Problem>
        + Send
        + Sync
        + 'static,
    ) -> Result<T, Problem> {
        let work = Arc::new(work);
        let mut tries = 2;
        loop {
            tries -= 1;
            let (version, explored) = self.neighbours(Some(WAIT_FOR_ALL)).await?;
            let work = Arc::clone(&work);
            let answer = self
                .run(move |state, context| work(state, context, &explored))
                .await;
            // The tracks in question may have been added or removed since.
            if answer.is_ok() || tries == 0 || self.now().await? == version {
                return answer;
            }
        }
    }

    /// All tracks and their neighbours, read once for each version of the library.
    async fn neighbours(
        self: &Arc<Self>,
        patience: Option<Duration>,
    ) -> Result<(Version, Arc<Explored>), Problem> {
        self.ground(
            "neighbours",
            patience,
            |whole| &whole.explored,
            |state, context| {
                let generation = state.index(context)?;
                let version = state.version()?;
                let collection = Arc::new(context.engine.collection()?);
                let graph =
                    voisin_questions::answers::graph::neighbour_graph(context.engine, &collection)?;
                Ok((
                    version,
                    Explored {
                        collection,
                        graph,
                        generation,
                    },
                ))
            },
        )
        .await
    }

    /// The model's tags of all tracks, read once for each version of the library; `None` for a model without
    /// tags.
    pub async fn tags(self: &Arc<Self>) -> Result<Arc<Option<PredictedTags>>, Problem> {
        let tags = self.ground(
            "tags",
            Some(WAIT_FOR_ALL),
            |whole| &whole.tags,
            |state, context| {
                // Otherwise they would be computed each time.
                if let Err(error) = context.engine.words_mut().keep_tags() {
                    state.log(&format!(
                        "the tags cannot be stored: {}",
                        voisin_base::text::with_causes(&error)
                    ));
                }
                let version = state.version()?;
                Ok((version, context.engine.words().words_if_any()?))
            },
        );
        Ok(tags.await?.1)
    }

    async fn ground<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        name: &str,
        patience: Option<Duration>,
        place: fn(&WholeLibrary) -> &Ground<T>,
        make: MakeGround<T>,
    ) -> Result<(Version, Arc<T>), Problem> {
        self.needs_all()?;
        let version = self.now().await?;
        let found = lock(place(&self.whole)).clone();
        if let Some(found) = found.filter(|(at_version, _)| *at_version == version) {
            return Ok(found);
        }
        let answer = self.begin(name.to_owned(), false, move |state, given_up| async move {
            let work = move |state: &Self, context: &mut RequestContext, _: &GivenUp| {
                let (version, made) = make(state, context)?;
                // Also stored outside of the queue, for quick queries.
                *lock(place(&state.whole)) = Some((version, Arc::new(made)));
                Ok(())
            };
            state.in_turn(|whole| &whole.grounds, given_up, work).await
        });
        wait::<()>(answer.await?, patience).await?;
        lock(place(&self.whole)).clone().ok_or_else(Problem::fault)
    }

    /// Starts a computation, unless it is cached or has started.
    async fn begin<T: Send + Sync + 'static, F>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl FnOnce(Arc<Self>, GivenUp) -> F,
    ) -> Result<Whole, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        self.needs_all()?;
        let version = self.now().await?;
        let mut kept = lock(&self.whole.kept);
        // Each new query removes stale answers, without a timer.
        kept.retain(|_, kept| {
            // A failed answer is computed again once something may have changed.
            let is_over =
                |failure: &KeptFailure| kept.version != version || failure.lasting().is_none();
            kept.version.epoch == version.epoch
                && (kept.version == version || kept.requested.elapsed() < GOES_ON)
                && !matches!(&*kept.answer.borrow(), Some(Err(failure)) if is_over(failure))
                // An error here means that its task ended without an answer.
                && kept.answer.has_changed().is_ok()
        });
        if let Some(kept) = kept
            .get_mut(&key)
            .filter(|kept| goes_on || kept.version == version)
        {
            kept.requested = Instant::now();
            return Ok(kept.answer.clone());
        }
        // Only finished answers are evicted: others have waiting clients.
        if kept.len() >= MOST_KEPT {
            let done = kept
                .iter()
                .filter(|(_, kept)| kept.answer.borrow().is_some());
            let oldest = done
                .min_by_key(|(_, kept)| kept.requested)
                .map(|(key, _)| key.clone());
            let busy = || {
                Problem::later(
                    10,
                    "too many queries about the whole library at once",
                    "try again",
                )
            };
            kept.remove(&oldest.ok_or_else(busy)?);
        }
        let (sender, answer) = watch::channel(None);
        kept.insert(
            key.clone(),
            Kept {
                version,
                requested: Instant::now(),
                answer: answer.clone(),
            },
        );
        // `abandoned` takes the same lock.
        drop(kept);
        let given_up = GivenUp::default();
        let work = work(Arc::clone(self), given_up.clone());
        let state = Arc::clone(self);
        tokio::spawn(async move {
            let answer: Worked = tokio::select! {
                answer = work => {
                    answer.map(|answer| Arc::new(answer) as Arc<dyn Any + Send + Sync>).map_err(KeptFailure::new)
                }
                () = state.abandoned(&key, &sender) => {
                    // A running computation ends at its next check, and only then the next one starts.
                    given_up.0.store(true, Ordering::Relaxed);
                    return;
                }
            };
            sender.send_replace(Some(answer));
            // Dropping the sender would look like a failure: it lives as long as its receivers.
            sender.closed().await;
        });
        Ok(answer)
    }

    /// Waits until no client has waited for an answer for a while, and removes it.
    async fn abandoned(&self, key: &str, sender: &watch::Sender<Option<Worked>>) {
        let mut alone: Option<Instant> = None;
        loop {
            tokio::time::sleep(GLANCE).await;
            let mut kept = lock(&self.whole.kept);
            // One receiver is for later requests, unless the library has changed.
            let receiver = sender.subscribe();
            let is_kept = kept
                .get(key)
                .is_some_and(|kept| kept.answer.same_channel(&receiver));
            drop(receiver);
            if sender.receiver_count() > usize::from(is_kept) {
                alone = None;
            // A client needs a moment to retry.
            } else if !is_kept || alone.get_or_insert_with(Instant::now).elapsed() >= GIVEN_UP {
                if is_kept {
                    kept.remove(key);
                }
                return;
            }
        }
    }

    async fn in_turn<T: Send + 'static>(
        self: Arc<Self>,
        lane: fn(&WholeLibrary) -> &Lane,
        given_up: GivenUp,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let Lane { turn, pool } = lane(&self.whole);
        let turn = Arc::clone(turn)
            .acquire_owned()
            .await
            .map_err(|_| Problem::fault())?;
        let pool = Arc::clone(pool);
        let done = tokio::task::spawn_blocking(move || {
            // Moved in, so that the turn ends with the work, also without a client.
            let _turn = turn;
            let answer = pool.install(move || {
                self.work(&|state, context| {
                    given_up.check()?;
                    // Some answers store their data. That is a commit, but one that changes
                    // no other answer.
                    let others = context.engine.library().changes().data_version()?;
                    let before = state.version()?;
                    let answer = work(state, context, &given_up)?;
                    let after = state.version()?;
                    if context.engine.library().changes().data_version()? == others {
                        state.whole.carry(before, after);
                    }
                    Ok(answer)
                })
            });
            // Otherwise the allocator would keep the memory freed by this work.
            allocator::give_back();
            answer
        });
        done.await.unwrap_or_else(|_| Err(Problem::fault()))
    }
}

async fn wait<T: Send + Sync + 'static>(
    mut answer: Whole,
    patience: Option<Duration>,
) -> Result<Arc<T>, Problem> {
    let done = answer.wait_for(Option::is_some);
    let done = match patience {
        Some(patience) => tokio::time::timeout(patience, done).await.map_err(|_| {
            Problem::later(
                10,
                "this is still being computed",
                "try again: the answer is cached",
            )
        })?,
        None => done.await,
    };
    let answer = (*done.map_err(|_| Problem::fault())?)
        .clone()
        .ok_or_else(Problem::fault)?;
    answer
        .map_err(KeptFailure::into_problem)?
        .downcast()
        .map_err(|_| Problem::fault())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::access::Guard;
    use crate::scan::ScanProcess;
    use voisin_engine::EngineError;
    use voisin_library::{Library, LibraryError, OpenMode};

    /// The state of a server with an empty library.
    fn state(folder: &std::path::Path) -> Arc<State> {
        drop(Library::open(folder, OpenMode::Create).unwrap());
        let (_, stop) = watch::channel(false);
        let no_model = |_: &Library| Err(EngineError::NoLabels);
        let guard = Guard::default();
        let state = State::new(
            folder.to_owned(),
            guard,
            ScanProcess::new(None),
            stop,
            Box::new(no_model),
            Box::new(|_| ()),
            false,
        );
        Arc::new(state.ok().unwrap())
    }

    /// Work that ends on a signal, or without a client.
    fn held(
        begun: &Arc<AtomicUsize>,
        go_on: &Arc<AtomicBool>,
    ) -> impl Fn(&State, &mut RequestContext, &GivenUp) -> Result<u32, Problem> + Send + 'static
    {
        let begun = Arc::clone(begun);
        let go_on = Arc::clone(go_on);
        move |_, _, given_up| {
            begun.fetch_add(1, Ordering::SeqCst);
            while !go_on.load(Ordering::SeqCst) {
                given_up.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(7)
        }
    }

    async fn until(done: impl Fn() -> bool) {
        let waited = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), waited)
            .await
            .unwrap();
    }

    #[test]
    fn only_commits_of_others_repeat_a_request() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path());
        let tries = |is_own: bool| {
            let versions = std::sync::Mutex::new(Vec::new());
            let answer: Result<(), Problem> = state.work(&|_, context| {
                lock(&versions).push(context.version);
                let value = lock(&versions).len().to_string();
                let mut other = Library::open(folder.path(), OpenMode::ReadWrite)?;
                let library = if is_own {
                    context.engine.library_mut()
                } else {
                    &mut other
                };
                library.settings_mut().set_setting("tries", Some(&value))?;
                Err(Problem::fault())
            });
            assert!(answer.is_err());
            versions.into_inner().unwrap()
        };
        let others = tries(false);
        assert!(others.len() == 2 && others[0] != others[1], "{others:?}");
        assert_eq!(tries(true).len(), 1, "it would be written twice");
    }

    #[test]
    fn an_answer_is_computed_once_for_all_and_holds_no_permit() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let send = |key: &str| {
                let state = Arc::clone(&state);
                let key = key.to_owned();
                let work = held(&begun, &go_on);
                tokio::spawn(async move { state.once(key, false, work).await })
            };
            let same: Vec<_> = (0..3).map(|_| send("a")).collect();
            let others: Vec<_> = (0..20).map(|at| send(&format!("b {at}"))).collect();
            until(|| begun.load(Ordering::SeqCst) > 0).await;
            // More quick queries than threads are answered meanwhile.
            for _ in 0..50 {
                let count = state
                    .run(|_, context| Ok(context.engine.library().status()?.tracks))
                    .await;
                assert_eq!(count.ok(), Some(0));
            }
            assert_eq!(begun.load(Ordering::SeqCst), 1, "one after the other");
            go_on.store(true, Ordering::SeqCst);
            for answer in same.into_iter().chain(others) {
                assert_eq!(*answer.await.unwrap().ok().unwrap(), 7);
            }
            assert_eq!(begun.load(Ordering::SeqCst), 21, "the same query once");
            assert_eq!(*send("a").await.unwrap().ok().unwrap(), 7);
            assert_eq!(begun.load(Ordering::SeqCst), 21, "and cached");
        });
    }

    #[test]
    fn decoding_and_training_delay_no_other_answer() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let work = held(&begun, &go_on);
            let shared = Arc::clone(&state);
            let dear = tokio::spawn(async move {
                let lane: fn(&WholeLibrary) -> &Lane = |whole| &whole.dear;
                shared.once_in(lane, "a".to_owned(), false, work).await
            });
            let work = held(&begun, &go_on);
            let shared = Arc::clone(&state);
            let learned =
                tokio::spawn(async move { shared.once_learned("c".to_owned(), false, work).await });
            until(|| begun.load(Ordering::SeqCst) == 2).await;
            let cheap = state.once("b".to_owned(), false, |_, _, _| Ok(3)).await;
            assert_eq!(*cheap.ok().unwrap(), 3, "meanwhile");
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(*dear.await.unwrap().ok().unwrap(), 7);
            assert_eq!(*learned.await.unwrap().ok().unwrap(), 7);
        });
    }

    #[test]
    fn failed_work_has_its_reason_and_is_not_repeated_at_once() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let send = async || {
                let counted = Arc::clone(&begun);
                let work =
                    move |_: &State, _: &mut RequestContext, _: &GivenUp| -> Result<u32, Problem> {
                        counted.fetch_add(1, Ordering::SeqCst);
                        Err(LibraryError::Damaged {
                            path: "voisin.db".into(),
                            detail: "cut".into(),
                        }
                        .into())
                    };
                let problem = state.once("a".to_owned(), false, work).await.err().unwrap();
                assert_eq!(problem.status().as_u16(), 500);
                assert!(
                    problem.in_tools().contains("voisin.db is damaged"),
                    "{}",
                    problem.in_tools()
                );
                begun.load(Ordering::SeqCst)
            };
            assert_eq!(
                (send().await, send().await, send().await),
                (1, 1, 1),
                "nothing has changed"
            );
            let mut library = Library::open(folder.path(), OpenMode::ReadWrite).unwrap();
            library
                .settings_mut()
                .set_setting("anything", Some("else"))
                .unwrap();
            assert_eq!(send().await, 2, "the library has changed");
            tokio::time::sleep(Duration::from_millis(350)).await;
            assert_eq!(send().await, 3, "and after some time");
        });
    }

    #[test]
    fn work_without_clients_ends_and_never_begins() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let send = |key: &str| {
                let state = Arc::clone(&state);
                let key = key.to_owned();
                let work = held(&begun, &go_on);
                tokio::spawn(async move { state.once(key, false, work).await })
            };
            let first = send("first");
            until(|| begun.load(Ordering::SeqCst) == 1).await;
            let second = send("second");
            until(|| lock(&state.whole.kept).len() == 2).await;
            // The second has not begun; then the first ends, and with it its turn.
            second.abort();
            until(|| lock(&state.whole.kept).len() == 1).await;
            first.abort();
            until(|| lock(&state.whole.kept).is_empty()).await;
            until(|| state.whole.answers.turn.available_permits() == 1).await;
            assert_eq!(begun.load(Ordering::SeqCst), 1);
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(
                *send("second").await.unwrap().ok().unwrap(),
                7,
                "a later request is answered"
            );
        });
    }
}
