//! Answers about the whole library: computed once and shared, at low priority and on separate threads, and cached. Quick
//! queries never wait for them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Explored, RequestContext, State, Version, lock};
use crate::problem::{KeptFailure, Problem};
use voisin_engine::PredictedTags;
use voisin_kernels::allocator;

/// Timeout of a request for an answer about the whole library.
// Below that of all requests (`PATIENCE`, 30 s), so that the client gets a Retry-After.
const WAIT_FOR_ALL: Duration = Duration::from_secs(25);
/// Most answers about the whole library that are cached or being computed.
const MOST_KEPT: usize = 64;
/// Answers that are computed at once: one that decodes files takes minutes, and must not delay the others.
const AT_ONCE: usize = 2;
/// How long a computation continues without a waiting client, so that a client can retry.
const GIVEN_UP: Duration = if cfg!(test) {
    Duration::from_millis(500)
} else {
    Duration::from_secs(15)
};
/// Interval of the check for waiting clients.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Niceness of the threads of this module: they get a third of the CPU time of a normal thread.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

type Computed = Result<Arc<dyn Any + Send + Sync>, KeptFailure>;
/// A finished or future answer.
type Pending = watch::Receiver<Option<Computed>>;

struct CacheEntry {
    version: Version,
    requested: Instant,
    answer: Pending,
}

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

/// The state of this module.
pub(super) struct WholeLibrary {
    turns: Arc<Semaphore>,
    pool: Arc<ThreadPool>,
    cache: Mutex<HashMap<String, CacheEntry>>,
}

impl WholeLibrary {
    /// All threads but one, which is left to quick queries, but one for each answer at once.
    pub(super) fn new() -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads().saturating_sub(1).max(AT_ONCE))
            .thread_name(|at| format!("whole-{at}"))
            .start_handler(|_| {
                // Other systems have priorities of processes only, or other calls.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::setpriority_process(None, NICE);
            });
        Ok(Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            pool: Arc::new(pool.build()?),
            cache: Mutex::default(),
        })
    }

    /// Moves answers about one version of the library to another one, between which only cached data was written.
    fn carry(&self, from: Version, to: Version) {
        lock(&self.cache)
            .values_mut()
            .filter(|entry| entry.version == from)
            .for_each(|entry| entry.version = to);
    }
}

impl State {
    /// An answer about the whole library, cached as long as the library does not change.
    ///
    /// - `key`: the query with all its options, except the page of the answer
    pub async fn once<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        let answer = self.begin(key, move |state, given_up| async move {
            let turn = state.turn().await?;
            state.compute(Some(turn), given_up, work).await
        });
        wait(answer.await?, Some(WAIT_FOR_ALL)).await
    }

    /// [`once`](Self::once) for answers from all tracks and their neighbours.
    pub async fn once_explored<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        work: impl Fn(&Self, &mut RequestContext, &Explored, &GivenUp) -> Result<T, Problem>
        + Send
        + 'static,
    ) -> Result<Arc<T>, Problem> {
        let answer = self.begin(key, move |state, given_up| async move {
            // Before the turn is taken, so that no turn is held while neighbours are found.
            let explored = state.explored(None).await?;
            let turn = state.turn().await?;
            let work = move |state: &Self, context: &mut RequestContext, given_up: &GivenUp| {
                work(state, context, &explored, given_up)
            };
            state.compute(Some(turn), given_up, work).await
        });
        wait(answer.await?, Some(WAIT_FOR_ALL)).await
    }

    /// [`run`](Self::run) with all tracks and their neighbours, which it waits for before it takes a permit.
    pub async fn run_explored<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&Self, &mut RequestContext, &Explored) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let explored = self.explored(Some(WAIT_FOR_ALL)).await?;
        self.run(move |state, context| work(state, context, &explored))
            .await
    }

    /// All tracks and their neighbours, read once for each version of the library.
    async fn explored(
        self: &Arc<Self>,
        patience: Option<Duration>,
    ) -> Result<Arc<Explored>, Problem> {
        let work = |state: &Self, context: &mut RequestContext, _: &GivenUp| {
            let generation = state.index(context)?;
            let collection = Arc::new(context.engine.collection()?);
            let graph = voisin_questions::answers::graph::neighbour_graph(
                &mut context.engine,
                &collection,
            )?;
            Ok(Explored {
                collection,
                graph,
                generation,
            })
        };
        let answer = self.begin("neighbours".to_owned(), move |state, given_up| async move {
            state.compute(None, given_up, work).await
        });
        wait(answer.await?, patience).await
    }

    /// The model's tags of all tracks, read once for each version of the library; `None` for a model without
    /// tags.
    pub async fn tags(self: &Arc<Self>) -> Result<Arc<Option<PredictedTags>>, Problem> {
        let work = |_: &Self, context: &mut RequestContext, _: &GivenUp| {
            Ok(context.engine.words().words_if_any()?)
        };
        let answer = self.begin("tags".to_owned(), move |state, given_up| async move {
            state.compute(None, given_up, work).await
        });
        wait(answer.await?, Some(WAIT_FOR_ALL)).await
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turns = Arc::clone(&self.whole.turns);
        turns.acquire_owned().await.map_err(|_| Problem::fault())
    }

    /// Starts a computation, unless it is cached or has started.
    async fn begin<T: Send + Sync + 'static, F>(
        self: &Arc<Self>,
        key: String,
        work: impl FnOnce(Arc<Self>, GivenUp) -> F,
    ) -> Result<Pending, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let state = Arc::clone(self);
        let version = tokio::task::spawn_blocking(move || state.version())
            .await
            .unwrap_or_else(|_| Err(Problem::fault()))?;
        let mut cache = lock(&self.whole.cache);
        // Each new query removes stale answers, without a timer.
        cache.retain(|_, entry| {
            // A failed answer is computed again once something may have changed.
            let is_over = matches!(&*entry.answer.borrow(), Some(Err(failure)) if failure.lasting().is_none());
            entry.version == version
                && !is_over
                // An error here means that its task ended without an answer.
                && entry.answer.has_changed().is_ok()
        });
        if let Some(entry) = cache.get_mut(&key) {
            entry.requested = Instant::now();
            return Ok(entry.answer.clone());
        }
        // Only finished answers are evicted: others have waiting clients.
        if cache.len() >= MOST_KEPT {
            let done = cache
                .iter()
                .filter(|(_, entry)| entry.answer.borrow().is_some());
            let oldest = done
                .min_by_key(|(_, entry)| entry.requested)
                .map(|(key, _)| key.clone());
            let busy = || {
                Problem::later(
                    10,
                    "too many queries about the whole library at once",
                    "try again",
                )
            };
            cache.remove(&oldest.ok_or_else(busy)?);
        }
        let (sender, answer) = watch::channel(None);
        cache.insert(
            key.clone(),
            CacheEntry {
                version,
                requested: Instant::now(),
                answer: answer.clone(),
            },
        );
        // `abandoned` takes the same lock.
        drop(cache);
        let given_up = GivenUp::default();
        let work = work(Arc::clone(self), given_up.clone());
        let state = Arc::clone(self);
        tokio::spawn(async move {
            let answer: Computed = tokio::select! {
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
    async fn abandoned(&self, key: &str, sender: &watch::Sender<Option<Computed>>) {
        let mut alone: Option<Instant> = None;
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let mut cache = lock(&self.whole.cache);
            // One receiver is for later requests, unless the library has changed.
            let receiver = sender.subscribe();
            let is_cached = cache
                .get(key)
                .is_some_and(|entry| entry.answer.same_channel(&receiver));
            drop(receiver);
            if sender.receiver_count() > usize::from(is_cached) {
                alone = None;
            // A client needs a moment to retry.
            } else if !is_cached || alone.get_or_insert_with(Instant::now).elapsed() >= GIVEN_UP {
                if is_cached {
                    cache.remove(key);
                }
                return;
            }
        }
    }

    /// - `turn`: held as long as the work runs, also without a client
    async fn compute<T: Send + 'static>(
        self: Arc<Self>,
        turn: Option<OwnedSemaphorePermit>,
        given_up: GivenUp,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let pool = Arc::clone(&self.whole.pool);
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let answer = pool.install(move || {
                self.work(&|state, context| {
                    given_up.check()?;
                    // Some answers store their data. That is a commit, but one that changes
                    // no other answer.
                    let others = context.engine.library().data_version()?;
                    let before = state.version()?;
                    let answer = work(state, context, &given_up)?;
                    let after = state.version()?;
                    if context.engine.library().data_version()? == others {
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
    mut answer: Pending,
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
                library.set_setting("tries", Some(&value))?;
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
                tokio::spawn(async move { state.once(key, work).await })
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
            assert!(begun.load(Ordering::SeqCst) <= AT_ONCE, "in turn");
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
                let problem = state.once("a".to_owned(), work).await.err().unwrap();
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
            library.set_setting("anything", Some("else")).unwrap();
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
                tokio::spawn(async move { state.once(key, work).await })
            };
            let first: Vec<_> = (0..AT_ONCE)
                .map(|at| send(&format!("first {at}")))
                .collect();
            until(|| begun.load(Ordering::SeqCst) == AT_ONCE).await;
            let second = send("second");
            until(|| lock(&state.whole.cache).len() == AT_ONCE + 1).await;
            // The second has not begun; then the first end, and with them their turns.
            second.abort();
            until(|| lock(&state.whole.cache).len() == AT_ONCE).await;
            first.iter().for_each(tokio::task::JoinHandle::abort);
            until(|| lock(&state.whole.cache).is_empty()).await;
            until(|| state.whole.turns.available_permits() == AT_ONCE).await;
            assert_eq!(begun.load(Ordering::SeqCst), AT_ONCE);
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(
                *send("second").await.unwrap().ok().unwrap(),
                7,
                "a later request is answered"
            );
        });
    }
}
