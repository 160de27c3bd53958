//! Admission of requests: each has a permit, an engine and a thread of its own while it is processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{RequestContext, State, lock};
use crate::problem::Problem;

/// Most requests that wait for a permit, and their timeout.
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Lookups at once, beside requests that compute.
// They are short, so that a few are enough; each needs an engine of its own.
const LOOKS: usize = 4;

/// The time of a request, and its delay before processing.
pub(crate) struct Waited {
    since: Instant,
    /// The delay in microseconds; [`u64::MAX`] before processing.
    begun: AtomicU64,
}

tokio::task_local! {
    /// That of the current request.
    pub(crate) static WAITED: Arc<Waited>;
}

impl Waited {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            begun: AtomicU64::new(u64::MAX),
        })
    }

    fn begin(&self) {
        // Only the first permit counts: a handler may take several.
        self.begun
            .fetch_min(self.since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Milliseconds before processing, and until now.
    pub(crate) fn milliseconds(&self) -> Option<(f64, f64)> {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun < u64::MAX).then(|| (begun as f64 / 1e3, self.since.elapsed().as_secs_f64() * 1e3))
    }
}

/// Permits to compute.
pub(super) struct Admission {
    /// One for each thread.
    permits: Arc<Semaphore>,
    /// For lookups, such as the path of a file, so that music plays on while all permits are taken.
    looks: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Admission {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(threads)),
            looks: Arc::new(Semaphore::new(LOOKS)),
            waiting: AtomicUsize::new(0),
        }
    }
}

/// Acquires a permit; a limited number of requests may wait for a limited time.
async fn acquire(
    permits: &Arc<Semaphore>,
    waiting: &AtomicUsize,
) -> Result<OwnedSemaphorePermit, Problem> {
    struct Waiting<'a>(&'a AtomicUsize);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    // A free permit needs no place in the queue.
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Ok(permit);
    }
    let busy = || Problem::later(2, "too many requests at once", "try again in a few seconds");
    // Counted before the comparison; `Waiting` subtracts it on every exit.
    let before = waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(waiting);
    if before >= MOST_WAITING {
        return Err(busy());
    }
    let permit = tokio::time::timeout(LONGEST_WAIT, Arc::clone(permits).acquire_owned()).await;
    permit.map_err(|_| busy())?.map_err(|_| busy())
}

impl State {
    /// Runs work with an engine, on a blocking thread.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = acquire(&self.admission.permits, &self.admission.waiting).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    /// Runs a short lookup, which does not wait for requests that compute.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = acquire(&self.admission.looks, &self.admission.waiting).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&State) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let state = Arc::clone(self);
        let waited = WAITED.try_with(Arc::clone);
        // The permit is held as long as the work runs, even without a client, and released with the answer: earlier, the
        // next request would start another thread beside the one that is about to be free, and each thread holds its own
        // memory.
        let done = tokio::task::spawn_blocking(move || {
            if let Ok(waited) = waited {
                waited.begin();
            }
            (work(&state), permit)
        });
        done.await
            .map_or_else(|_| Err(Problem::fault()), |(answer, _permit)| answer)
    }

    pub(super) fn work<T>(
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
