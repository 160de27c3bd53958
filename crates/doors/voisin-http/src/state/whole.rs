//! Answers about the whole library: computed once for all clients, one after the other, at low priority and on threads
//! of its own, and kept. A quick question never waits behind it for a permit or a thread.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{Semaphore, watch};

use super::{Collected, Explored, RequestContext, State, Version, lock};
use crate::problem::{KeptFailure, Problem};
use voisin_engine::PredictedTags;
use voisin_kernels::allocator;

/// How long a request waits for an answer about the whole library.
// Below the time for a request (`PATIENCE`, 30 s), so that the client is told to ask again.
const WAIT_FOR_ALL: Duration = Duration::from_secs(25);
/// Answers about the whole library that are kept, or are to be worked out.
const MOST_KEPT: usize = 64;
/// How long after its last page a list can be gone on with as it was, although the library changes meanwhile.
const GOES_ON: Duration = Duration::from_mins(1);
/// How long an answer is worked out on although nobody waits for it: who was told to ask again comes back within it.
const GIVEN_UP: Duration = if cfg!(test) {
    Duration::from_millis(500)
} else {
    Duration::from_secs(15)
};
/// How often it is looked whether somebody waits.
const GLANCE: Duration = Duration::from_millis(250);
/// Lowers the priority of threads that work for nobody in a hurry: a third of what others get who want as much.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

type Worked = Result<Arc<dyn Any + Send + Sync>, KeptFailure>;
/// An answer that is there, or will be.
type Whole = watch::Receiver<Option<Worked>>;

struct Kept {
    of: Version,
    asked: Instant,
    answer: Whole,
}

/// Something of all tracks that questions start from, and the state of the library that it is of.
type Ground<T> = Mutex<Option<(Version, Arc<T>)>>;
type MakeGround<T> = fn(&State, &mut RequestContext) -> Result<(Version, T), Problem>;

/// Raised when nobody waits for an answer any more.
#[derive(Clone, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Ends work that nobody waits for.
    pub fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Problem::later(
                1,
                "nobody waited for this any more",
                "ask again",
            ));
        }
        Ok(())
    }
}

/// Work that is done one after the other, on threads of its own.
struct Lane {
    turn: Arc<Semaphore>,
    pool: Arc<ThreadPool>,
}

impl Lane {
    /// All threads but one, which is left to the quick questions.
    fn new() -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(rayon::current_num_threads().saturating_sub(1).max(1))
            .thread_name(|at| format!("whole-{at}"))
            .start_handler(|_| {
                // Elsewhere a priority is that of the whole process, or has to be asked for otherwise.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::setpriority_process(None, NICE);
            });
        Ok(Self {
            turn: Arc::new(Semaphore::new(1)),
            pool: Arc::new(pool.build()?),
        })
    }
}

/// Everything about the whole library.
pub(super) struct WholeLibrary {
    answers: Lane,
    /// For answers that decode files, which take minutes: the others do not wait behind them.
    dear: Lane,
    /// For answers that train on the labels, which take seconds.
    learning: Lane,
    /// For what quick questions need, too: it does not wait behind answers.
    grounds: Lane,
    kept: Mutex<HashMap<String, Kept>>,
    collected: Ground<Collected>,
    explored: Ground<Explored>,
    heard: Ground<Option<PredictedTags>>,
}

impl WholeLibrary {
    pub(super) fn new() -> Result<Self, ThreadPoolBuildError> {
        Ok(Self {
            answers: Lane::new()?,
            dear: Lane::new()?,
            learning: Lane::new()?,
            grounds: Lane::new()?,
            kept: Mutex::default(),
            collected: Mutex::default(),
            explored: Mutex::default(),
            heard: Mutex::default(),
        })
    }

    /// Takes answers about one state of the library over to another one: in between, nothing was written but what an answer
    /// about it keeps for the next time.
    pub(super) fn carry(&self, from: Version, to: Version) {
        fn carried<T>(ground: &Ground<T>, from: Version, to: Version) {
            if let Some((version, _)) = &mut *lock(ground)
                && *version == from
            {
                *version = to;
            }
        }
        carried(&self.collected, from, to);
        carried(&self.explored, from, to);
        carried(&self.heard, from, to);
        lock(&self.kept)
            .values_mut()
            .filter(|kept| kept.of == from)
            .for_each(|kept| kept.of = to);
    }

    /// Forgets what is of a former library.
    pub(super) fn clear(&self) {
        // `kept` needs no clearing: its answers carry the epoch they are of.
        *lock(&self.collected) = None;
        *lock(&self.explored) = None;
        *lock(&self.heard) = None;
    }
}

impl State {
    async fn now(self: &Arc<Self>) -> Result<Version, Problem> {
        let state = Arc::clone(self);
        tokio::task::spawn_blocking(move || state.version())
            .await
            .unwrap_or_else(|_| Err(Problem::fault()))
    }

    /// An answer about the whole library, as long as the library does not change.
    ///
    /// - `key`: the question with all its options, but for the page of the answer
    /// - `goes_on`: another page of the answer that was given before is asked for; it is that of before for a while,
    ///   even where the library has changed
    pub async fn once<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_in(|whole| &whole.answers, key, goes_on, work)
            .await
    }

    /// [`once`](Self::once) for what decodes files.
    pub async fn once_decoded<T: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: String,
        goes_on: bool,
        work: impl Fn(&Self, &mut RequestContext, &GivenUp) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Arc<T>, Problem> {
        self.once_in(|whole| &whole.dear, key, goes_on, work).await
    }

    /// [`once`](Self::once) for what trains on the labels.
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

    /// [`once`](Self::once) for what starts from all tracks and their neighbours.
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

    /// [`once_explored`](Self::once_explored) for what decodes files.
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

    /// [`ask`](Self::ask) with all tracks and their neighbours, which are there before it takes a permit.
    pub async fn ask_explored<T: Send + 'static>(
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
                .ask(move |state, context| work(state, context, &explored))
                .await;
            // The tracks in question may have come or gone since.
            if answer.is_ok() || tries == 0 || self.now().await? == version {
                return answer;
            }
        }
    }

    /// [`ask`](Self::ask) with all tracks, which are there before it takes a permit: sooner than their neighbours.
    pub async fn ask_collected<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&mut RequestContext, &Collected) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let collected = self.ground(
            "tracks",
            Some(WAIT_FOR_ALL),
            |whole| &whole.collected,
            |state, context| {
                let version = state.version()?;
                let generation = context.engine.library().changes().generation()?;
                Ok((
                    version,
                    Collected {
                        collection: Arc::new(context.engine.collection()?),
                        generation,
                    },
                ))
            },
        );
        let (_, collected) = collected.await?;
        self.ask(move |_, context| work(context, &collected)).await
    }

    /// All tracks and their neighbours, read once for each state of the library.
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
                // Reading all vectors is the dearer half; another query may have done it for this
                // very state.
                let known = lock(&state.whole.collected)
                    .clone()
                    .filter(|(at_version, _)| *at_version == version);
                let collection = if let Some((_, known)) = known {
                    Arc::clone(&known.collection)
                } else {
                    let collection = Arc::new(context.engine.collection()?);
                    let collected = Collected {
                        collection: Arc::clone(&collection),
                        generation,
                    };
                    *lock(&state.whole.collected) = Some((version, Arc::new(collected)));
                    collection
                };
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

    /// The model's tags of all tracks, read once for each state of the library; `None` for a model without
    /// tags.
    pub async fn heard(self: &Arc<Self>) -> Result<Arc<Option<PredictedTags>>, Problem> {
        let heard = self.ground(
            "heard",
            Some(WAIT_FOR_ALL),
            |whole| &whole.heard,
            |state, context| {
                // Tags that are not stored yet would be computed each time.
                if let Err(error) = context.engine.words_mut().keep_tags() {
                    state.say(&format!(
                        "tags are not kept: {}",
                        voisin_base::text::with_causes(&error)
                    ));
                }
                let version = state.version()?;
                Ok((version, context.engine.words().words_if_any()?))
            },
        );
        Ok(heard.await?.1)
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
                // Kept beside the queue as well: quick queries take it without waiting for a turn.
                *lock(place(&state.whole)) = Some((version, Arc::new(made)));
                Ok(())
            };
            state.in_turn(|whole| &whole.grounds, given_up, work).await
        });
        wait::<()>(answer.await?, patience).await?;
        lock(place(&self.whole)).clone().ok_or_else(Problem::fault)
    }

    /// Begins to work something out, unless it is there or has begun.
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
        // Each new query clears what is stale: there is no timer for it.
        kept.retain(|_, kept| {
            // One that failed is worked out again once something may have changed.
            let is_over = |failure: &KeptFailure| kept.of != version || failure.lasting().is_none();
            kept.of.epoch == version.epoch
                && (kept.of == version || kept.asked.elapsed() < GOES_ON)
                && !matches!(&*kept.answer.borrow(), Some(Err(failure)) if is_over(failure))
                // An error here means that its task is gone without an answer.
                && kept.answer.has_changed().is_ok()
        });
        if let Some(kept) = kept
            .get_mut(&key)
            .filter(|kept| goes_on || kept.of == version)
        {
            kept.asked = Instant::now();
            return Ok(kept.answer.clone());
        }
        // Only finished answers make room: those under way have clients that wait.
        if kept.len() >= MOST_KEPT {
            let done = kept
                .iter()
                .filter(|(_, kept)| kept.answer.borrow().is_some());
            let oldest = done
                .min_by_key(|(_, kept)| kept.asked)
                .map(|(key, _)| key.clone());
            let busy = || {
                Problem::later(
                    10,
                    "too many questions about the whole library at once",
                    "ask again",
                )
            };
            kept.remove(&oldest.ok_or_else(busy)?);
        }
        let (sender, answer) = watch::channel(None);
        kept.insert(
            key.clone(),
            Kept {
                of: version,
                asked: Instant::now(),
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
                    // A computation under way ends where it looks next, and only then is it another one's turn.
                    given_up.0.store(true, Ordering::Relaxed);
                    return;
                }
            };
            sender.send_replace(Some(answer));
            // The sender's end would be taken for a failure: it stays as long as somebody may look.
            sender.closed().await;
        });
        Ok(answer)
    }

    /// Waits until nobody has waited for an answer for a while, and forgets it.
    async fn abandoned(&self, key: &str, sender: &watch::Sender<Option<Worked>>) {
        let mut alone: Option<Instant> = None;
        loop {
            tokio::time::sleep(GLANCE).await;
            let mut kept = lock(&self.whole.kept);
            // One is kept for those who ask next, unless the library has changed.
            let receiver = sender.subscribe();
            let is_kept = kept
                .get(key)
                .is_some_and(|kept| kept.answer.same_channel(&receiver));
            drop(receiver);
            if sender.receiver_count() > usize::from(is_kept) {
                alone = None;
            // A client that was told to ask again needs a moment to do so.
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
            // Moved in: the turn is over when the work is, also if nobody waits for it.
            let _turn = turn;
            let answer = pool.install(move || {
                self.work(&|state, context| {
                    given_up.check()?;
                    // Some answers store what they computed. That is a commit, but one that changes
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
            // Memory that this work has freed would otherwise stay with the allocator.
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
                "this is still being worked out",
                "ask again: the answer is kept",
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
    use voisin_base::track::TrackId;
    use voisin_engine::EngineError;
    use voisin_library::{Library, LibraryError, OpenMode};

    /// The state of a server whose library is empty.
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

    /// Works until it is told to go on, or that nobody waits.
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
    fn a_request_is_repeated_after_commits_of_others_alone() {
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
    fn one_answer_is_worked_out_for_all_who_ask_and_holds_no_permit() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let ask = |key: &str| {
                let state = Arc::clone(&state);
                let key = key.to_owned();
                let work = held(&begun, &go_on);
                tokio::spawn(async move { state.once(key, false, work).await })
            };
            let same: Vec<_> = (0..3).map(|_| ask("a")).collect();
            let others: Vec<_> = (0..20).map(|at| ask(&format!("b {at}"))).collect();
            until(|| begun.load(Ordering::SeqCst) > 0).await;
            // Quick questions are answered meanwhile, more of them than there are threads.
            for _ in 0..50 {
                let count = state
                    .ask(|_, context| Ok(context.engine.library().status()?.tracks))
                    .await;
                assert_eq!(count.ok(), Some(0));
            }
            assert_eq!(begun.load(Ordering::SeqCst), 1, "one after the other");
            go_on.store(true, Ordering::SeqCst);
            for answer in same.into_iter().chain(others) {
                assert_eq!(*answer.await.unwrap().ok().unwrap(), 7);
            }
            assert_eq!(begun.load(Ordering::SeqCst), 21, "the same question once");
            assert_eq!(*ask("a").await.unwrap().ok().unwrap(), 7);
            assert_eq!(begun.load(Ordering::SeqCst), 21, "and kept");
        });
    }

    #[test]
    fn decoding_and_training_hold_up_no_other_answer() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let work = held(&begun, &go_on);
            let shared = Arc::clone(&state);
            let dear =
                tokio::spawn(async move { shared.once_decoded("a".to_owned(), false, work).await });
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
    fn work_that_failed_tells_why_and_is_not_begun_by_each_request() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let ask = async || {
                let counted = Arc::clone(&begun);
                let work =
                    move |_: &State, _: &mut RequestContext, _: &GivenUp| -> Result<u32, Problem> {
                        counted.fetch_add(1, Ordering::SeqCst);
                        Err(LibraryError::DamagedTrack {
                            track: TrackId(7),
                            what: "vector",
                        }
                        .into())
                    };
                let problem = state.once("a".to_owned(), false, work).await.err().unwrap();
                assert_eq!(problem.status().as_u16(), 500);
                assert!(
                    problem.in_tools().contains("track 7"),
                    "{}",
                    problem.in_tools()
                );
                assert!(
                    problem.in_tools().contains("voisin repair"),
                    "{}",
                    problem.in_tools()
                );
                begun.load(Ordering::SeqCst)
            };
            assert_eq!(
                (ask().await, ask().await, ask().await),
                (1, 1, 1),
                "nothing has changed"
            );
            let mut library = Library::open(folder.path(), OpenMode::ReadWrite).unwrap();
            library
                .settings_mut()
                .set_setting("anything", Some("else"))
                .unwrap();
            assert_eq!(ask().await, 2, "the library has changed");
            tokio::time::sleep(Duration::from_millis(350)).await;
            assert_eq!(ask().await, 3, "and after some time");
        });
    }

    #[test]
    fn work_that_nobody_waits_for_ends_and_never_begins() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let ask = |key: &str| {
                let state = Arc::clone(&state);
                let key = key.to_owned();
                let work = held(&begun, &go_on);
                tokio::spawn(async move { state.once(key, false, work).await })
            };
            let first = ask("first");
            until(|| begun.load(Ordering::SeqCst) == 1).await;
            let second = ask("second");
            until(|| lock(&state.whole.kept).len() == 2).await;
            // The second has not begun; then the first ends by itself, and with it its turn.
            second.abort();
            until(|| lock(&state.whole.kept).len() == 1).await;
            first.abort();
            until(|| lock(&state.whole.kept).is_empty()).await;
            until(|| state.whole.answers.turn.available_permits() == 1).await;
            assert_eq!(begun.load(Ordering::SeqCst), 1);
            go_on.store(true, Ordering::SeqCst);
            assert_eq!(
                *ask("second").await.unwrap().ok().unwrap(),
                7,
                "who asks again is answered"
            );
        });
    }
}
