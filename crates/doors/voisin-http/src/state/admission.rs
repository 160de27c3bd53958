//! Admission of requests: each has a permit, an engine and a thread of its own while it is processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AnswerSource, RequestContext, State, lock};
use crate::problem::Problem;

/// Most requests that wait for a permit, and their timeout.
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Lookups at once, beside requests that compute.
// They are short, so that a few are enough; each needs an engine of its own.
const LOOKS: usize = 4;
/// Guests have this fraction, one in four, of each kind of permits, but at least one, and of the queue for them.
const SHARE_OF_GUESTS: usize = 4;

/// The time of a request, and its delay before processing.
pub(crate) struct Waited {
    since: Instant,
    is_guest: bool,
    /// The delay in microseconds; [`u64::MAX`] before processing.
    begun: AtomicU64,
}

tokio::task_local! {
    /// That of the current request.
    pub(crate) static WAITED: Arc<Waited>;
}

impl Waited {
    pub(crate) fn new(is_guest: bool) -> Arc<Self> {
        Arc::new(Self {
            since: Instant::now(),
            is_guest,
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

/// Permits of one kind.
struct PermitLane {
    all: Arc<Semaphore>,
    guests: Arc<Semaphore>,
}

impl PermitLane {
    fn new(permits: usize) -> Self {
        let guests = (permits / SHARE_OF_GUESTS).max(1);
        Self {
            all: Arc::new(Semaphore::new(permits)),
            guests: Arc::new(Semaphore::new(guests)),
        }
    }
}

/// A permit, and for a guest also one of theirs.
type Permit = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Permits to compute.
pub(super) struct Admission {
    /// One for each thread.
    permits: PermitLane,
    /// For lookups, such as the path of a file, so that music plays on while all permits are taken.
    looks: PermitLane,
    waiting: AtomicUsize,
    guests_waiting: AtomicUsize,
}

impl Admission {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            permits: PermitLane::new(threads),
            looks: PermitLane::new(LOOKS),
            waiting: AtomicUsize::new(0),
            guests_waiting: AtomicUsize::new(0),
        }
    }

    /// A permit of this kind; guests first wait for one of theirs, so that they do not delay the owner.
    async fn permit(&self, lane: &PermitLane) -> Result<Permit, Problem> {
        // Outside of a request, as for assistants, there are no guests.
        let is_guest = WAITED.try_with(|waited| waited.is_guest).unwrap_or(false);
        let share = if is_guest {
            // Theirs first: a guest who waits here holds no general permit.
            Some(
                acquire(
                    &lane.guests,
                    &self.guests_waiting,
                    MOST_WAITING / SHARE_OF_GUESTS,
                )
                .await?,
            )
        } else {
            None
        };
        Ok((
            acquire(&lane.all, &self.waiting, MOST_WAITING).await?,
            share,
        ))
    }
}

/// Acquires a permit; a limited number of requests may wait for a limited time.
async fn acquire(
    permits: &Arc<Semaphore>,
    waiting: &AtomicUsize,
    most: usize,
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
    if before >= most {
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
        let permit = self.admission.permit(&self.admission.permits).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    /// Runs a short lookup, which does not wait for requests that compute.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.admission.permit(&self.admission.looks).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        permit: Permit,
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
            let mut sources = lock(&self.sources);
            // Engines of a replaced library hold its old file open.
            sources.retain(|source| source.version.epoch == version.epoch);
            sources.pop()
        };
        let mut source = match waiting {
            Some(source) => source,
            None => AnswerSource::new(self.open_engine()?),
        };
        source.version = version;
        // Commits of others, and own changes.
        let commits =
            |source: &mut AnswerSource| source.context().engine.library().changes().state();
        let before = commits(&mut source)?;
        let mut answer = work(self, &mut source.context());
        if answer.is_err() {
            let now = self.version()?;
            let after = commits(&mut source)?;
            // Retried if others committed between two reads. Not after own writes, which would be written twice, nor for a
            // replaced database, which fails again.
            if after.0 != before.0 && after.1 == before.1 && now.epoch == version.epoch {
                // Otherwise `index` would take its last index for the current one.
                source.version = now;
                answer = work(self, &mut source.context());
            }
        }
        // Also after an error: the engine is still valid, and opening another one costs more.
        lock(&self.sources).push(source);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permits that a guest, or the owner, gets at once.
    async fn free(admission: &Admission, is_guest: bool) -> Vec<Permit> {
        let mut permits = Vec::new();
        let next = || WAITED.scope(Waited::new(is_guest), admission.permit(&admission.permits));
        while let Ok(Ok(permit)) = tokio::time::timeout(Duration::from_millis(50), next()).await {
            permits.push(permit);
        }
        permits
    }

    #[tokio::test]
    async fn guests_compute_on_a_quarter_of_the_threads() {
        for (threads, of_guests) in [(1, 1), (2, 1), (8, 2), (16, 4)] {
            let admission = Admission::new(threads);
            let guests = free(&admission, true).await;
            assert_eq!(guests.len(), of_guests, "{threads}");
            assert_eq!(
                free(&admission, false).await.len(),
                threads - of_guests,
                "{threads}"
            );
            drop(guests);
            let all = free(&admission, false).await;
            assert_eq!(all.len(), threads, "the owner has all of them");
        }
    }
}
