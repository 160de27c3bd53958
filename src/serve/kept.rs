//! Answers about the whole library: computed once for all who ask, at low priority and on separate threads, and kept until the
//! library changes. Quick queries never wait for them.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{Semaphore, watch};

use super::problem::Problem;
use super::state::{RequestContext, State, Version, lock};
use voisin_simd::allocator;

/// Timeout of a request for an answer about the whole library.
// Below that of all requests (`PATIENCE`, 30 s), so that the client gets a Retry-After.
pub(crate) const FOR_CLIENTS: Duration = Duration::from_secs(25);
/// The same, for work in the background that needs it.
pub(crate) const FOR_WORK: Duration = Duration::from_hours(1);
/// Most answers that are kept or being computed.
const MOST: usize = 64;
/// Answers that are computed at once: one that decodes files takes minutes, and must not delay the others.
const AT_ONCE: usize = 2;
/// Niceness of these threads: they get a third of the CPU time of a normal thread.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// How long all requests get the failure of an answer and none starts it again, unless the library changes: short, so that it
/// recovers soon after other repairs, as of a disk or permissions.
const FAILED_FOR: Duration = Duration::from_secs(20);

/// An answer, or when and why there is none.
type Computed = Result<Arc<dyn Any + Send + Sync>, (Instant, Problem)>;
/// A finished or future answer.
type Pending = watch::Receiver<Option<Computed>>;

struct Entry {
    version: Version,
    requested: Instant,
    answer: Pending,
}

/// The answers, and the threads that compute them.
pub(crate) struct Kept {
    turns: Arc<Semaphore>,
    pool: Arc<ThreadPool>,
    entries: Mutex<HashMap<String, Entry>>,
}

impl Kept {
    /// All threads but one, which is left to quick queries, but one for each answer at once.
    pub(crate) fn new() -> Result<Self, ThreadPoolBuildError> {
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
            entries: Mutex::default(),
        })
    }

    /// The entry of a key, or the sender for a new one.
    fn entry(&self, key: &str, version: Version) -> Result<(Pending, Option<Sender>), Problem> {
        let mut entries = lock(&self.entries);
        // Each new query removes stale answers, without a timer.
        entries.retain(|_, entry| {
            let is_over =
                matches!(&*entry.answer.borrow(), Some(Err((at, _))) if at.elapsed() > FAILED_FOR);
            entry.version == version
                && !is_over
                // An error here means that its task ended without an answer.
                && entry.answer.has_changed().is_ok()
        });
        if let Some(entry) = entries.get_mut(key) {
            entry.requested = Instant::now();
            return Ok((entry.answer.clone(), None));
        }
        // Only finished answers are evicted: others have waiting clients.
        if entries.len() >= MOST {
            let done = entries
                .iter()
                .filter(|(_, entry)| entry.answer.borrow().is_some());
            let oldest = done
                .min_by_key(|(_, entry)| entry.requested)
                .map(|(key, _)| key.clone());
            let busy = "too many queries about the whole library at once";
            entries.remove(&oldest.ok_or_else(|| Problem::later(10, busy, "try again"))?);
        }
        let (sender, answer) = watch::channel(None);
        let entry = Entry {
            version,
            requested: Instant::now(),
            answer: answer.clone(),
        };
        entries.insert(key.to_owned(), entry);
        Ok((answer, Some(sender)))
    }

    /// Drops an answer, so that the next who asks has it computed again.
    pub(crate) fn forget(&self, key: &str) {
        lock(&self.entries).remove(key);
    }

    /// Moves answers about one version of the library to another one, between which only cached data was written.
    fn carry(&self, from: Version, to: Version) {
        lock(&self.entries)
            .values_mut()
            .filter(|entry| entry.version == from)
            .for_each(|entry| entry.version = to);
    }
}

type Sender = watch::Sender<Option<Computed>>;

impl State {
    /// An answer, kept as long as the library does not change. The work goes on if the client leaves.
    ///
    /// - `key`: the query with all its options
    /// - `patience`: timeout of the caller, but not of the work
    pub(crate) async fn kept<T: Send + Sync + 'static, F>(
        self: &Arc<Self>,
        key: &str,
        patience: Duration,
        work: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<Arc<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let state = Arc::clone(self);
        let version = tokio::task::spawn_blocking(move || state.version())
            .await
            .unwrap_or_else(|_| Err(Problem::fault()))?;
        let (mut answer, sender) = self.kept.entry(key, version)?;
        if let Some(sender) = sender {
            let work = work(Arc::clone(self));
            tokio::spawn(async move {
                let answer = work.await;
                let answer = answer.map(|answer| Arc::new(answer) as Arc<dyn Any + Send + Sync>);
                sender.send_replace(Some(answer.map_err(|problem| (Instant::now(), problem))));
                // Dropping the sender would look like a failure: it lives as long as its receivers.
                sender.closed().await;
            });
        }
        let done = answer.wait_for(Option::is_some);
        let done = tokio::time::timeout(patience, done).await.map_err(|_| {
            let detail = "this is still being computed";
            Problem::later(10, detail, "try again: the answer is cached")
        })?;
        let answer = (*done.map_err(|_| Problem::fault())?).clone();
        let answer = answer.ok_or_else(Problem::fault)?;
        let answer = answer.map_err(|(_, problem)| problem)?;
        answer.downcast().map_err(|_| Problem::fault())
    }

    /// Runs work on the threads of low priority.
    ///
    /// - `in_turn`: with few others at once
    pub(crate) async fn compute<T: Send + 'static>(
        self: Arc<Self>,
        in_turn: bool,
        work: impl Fn(&Self, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = if in_turn {
            let turns = Arc::clone(&self.kept.turns);
            Some(turns.acquire_owned().await.map_err(|_| Problem::fault())?)
        } else {
            None
        };
        let pool = Arc::clone(&self.kept.pool);
        let done = tokio::task::spawn_blocking(move || {
            // Held as long as the work runs.
            let _turn = turn;
            let answer = pool.install(move || {
                self.work(&|state, context| {
                    // Some answers store their data. That is a commit, but one that changes
                    // no other answer.
                    let others = context.engine.library().data_version()?;
                    let before = state.version()?;
                    let answer = work(state, context)?;
                    let after = state.version()?;
                    if context.engine.library().data_version()? == others {
                        state.kept.carry(before, after);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::access::Guard;
    use crate::scan::ScanProcess;
    use crate::state::StateOptions;
    use voisin::EngineError;
    use voisin_library::{Library, OpenMode};

    /// The state of a server with an empty library.
    fn state(folder: &std::path::Path) -> Arc<State> {
        drop(Library::open(folder, OpenMode::Create).unwrap());
        let options = StateOptions {
            dir: folder.to_owned(),
            guard: Guard::default(),
            scan: ScanProcess::new(None),
            load_model: Box::new(|_| Err(EngineError::Interrupted)),
            logs: false,
        };
        let state = State::new(options, Box::new(|_| ()));
        Arc::new(state.ok().unwrap())
    }

    #[test]
    fn only_commits_of_others_repeat_a_request() {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path());
        let tries = |is_own: bool| {
            let tries = AtomicUsize::new(0);
            let answer: Result<(), Problem> = state.work(&|_, context| {
                let value = tries.fetch_add(1, Ordering::SeqCst).to_string();
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
            tries.into_inner()
        };
        assert_eq!(tries(false), 2);
        assert_eq!(tries(true), 1, "it would be written twice");
    }

    #[test]
    fn an_answer_is_computed_once_for_all_who_ask() {
        let folder = tempfile::tempdir().unwrap();
        crate::runtime().unwrap().block_on(async {
            let state = state(folder.path());
            let begun = Arc::new(AtomicUsize::new(0));
            let go_on = Arc::new(AtomicBool::new(false));
            let send = || {
                let state = Arc::clone(&state);
                let begun = Arc::clone(&begun);
                let go_on = Arc::clone(&go_on);
                let work = move |_: &State, _: &mut RequestContext| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    while !go_on.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    Ok(7_u32)
                };
                let compute = |state: Arc<State>| state.compute(true, work);
                tokio::spawn(async move { state.kept("a", FOR_CLIENTS, compute).await })
            };
            let same = [send(), send(), send()];
            while begun.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            go_on.store(true, Ordering::SeqCst);
            for answer in same.into_iter().chain([send()]) {
                assert_eq!(*answer.await.unwrap().ok().unwrap(), 7);
            }
            assert_eq!(begun.load(Ordering::SeqCst), 1);
        });
    }
}
