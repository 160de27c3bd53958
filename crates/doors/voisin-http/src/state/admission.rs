//! Who may compute, and when: each request has a permit, an engine and a thread of its own while it is worked on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{AnswerSource, RequestContext, State, lock};
use crate::problem::Problem;
use voisin_questions::LibrarySource;

/// Requests that wait for a permit, and for how long.
const MOST_WAITING: usize = 256;
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Requests that look something up at once, beside those that compute.
// They end in a moment, so that a few are enough; each needs an engine of its own.
const LOOKS: usize = 4;
/// Guests have one of so many permits of a kind, and at least one, and of the places to wait for them.
const SHARE_OF_GUESTS: usize = 4;

/// When a request came, and how long it was before work on it began.
pub(crate) struct Waited {
    since: Instant,
    is_guest: bool,
    /// In microseconds; [`u64::MAX`] until it has begun.
    begun: AtomicU64,
}

tokio::task_local! {
    /// That of the request whose handler this is.
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
        // The first permit counts: a handler may take several.
        self.begun
            .fetch_min(self.since.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Milliseconds before the work, and until now.
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

/// One of all permits, and a guest's one of theirs.
type Permit = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Permits to compute.
pub(super) struct Admission {
    /// As many requests compute at once as there are threads.
    permits: PermitLane,
    /// For what computes nothing: where a file lies. Music plays on while all permits are taken.
    looks: PermitLane,
    /// For answers that are made of all tracks of a library elsewhere, or of what stands for them: they leave threads to quick
    /// ones.
    arounds: PermitLane,
    waiting: AtomicUsize,
    guests_waiting: AtomicUsize,
}

impl Admission {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            permits: PermitLane::new(threads),
            looks: PermitLane::new(LOOKS),
            arounds: PermitLane::new(threads.div_ceil(2)),
            waiting: AtomicUsize::new(0),
            guests_waiting: AtomicUsize::new(0),
        }
    }

    /// One of these permits, of the guests' where a guest asks: they wait for each other first, not before the owner.
    async fn permit(&self, lane: &PermitLane) -> Result<Permit, Problem> {
        // Outside of a request, as for assistants, nobody is a guest.
        let is_guest = WAITED.try_with(|waited| waited.is_guest).unwrap_or(false);
        let share = if is_guest {
            // Theirs first: a guest who waits here holds no permit that the owner could use.
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

/// One of these permits; some requests more than there are of them may wait a little.
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
    // Who need not wait is not held up by how many wait for something else.
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Ok(permit);
    }
    let busy = || Problem::later(2, "too many requests at once", "ask again in a few seconds");
    // Counted before it is compared, and taken back by `Waiting` however this ends.
    let before = waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(waiting);
    if before >= most {
        return Err(busy());
    }
    let permit = tokio::time::timeout(LONGEST_WAIT, Arc::clone(permits).acquire_owned()).await;
    permit.map_err(|_| busy())?.map_err(|_| busy())
}

impl State {
    /// Works something out with an engine, on a thread that may wait.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.needs_all()?;
        let permit = self.admission.permit(&self.admission.permits).await?;
        self.with(permit, move |state| state.work(&work)).await
    }

    /// As [`ask`](Self::ask), for what a library elsewhere can be asked, too.
    pub async fn ask_anywhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.admission.permit(&self.admission.permits).await?;
        self.with(permit, move |state| state.work_anywhere(false, &work))
            .await
    }

    /// As [`ask_anywhere`](Self::ask_anywhere), for answers that are made of all tracks, or of what stands for them: what
    /// others asked a library elsewhere before is not among it.
    pub async fn ask_around<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let admission = &self.admission;
        let lane = if self.is_elsewhere() {
            &admission.arounds
        } else {
            &admission.permits
        };
        let permit = admission.permit(lane).await?;
        self.with(permit, move |state| state.work_anywhere(true, &work))
            .await
    }

    /// As [`look`](Self::look), for what a library elsewhere can be asked, too.
    pub async fn look_anywhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut AnswerSource) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.admission.permit(&self.admission.looks).await?;
        self.with(permit, move |state| state.work_anywhere(false, &work))
            .await
    }

    /// Looks something up that is there in a moment: it does not wait behind what computes.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Fn(&State, &mut RequestContext) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.needs_all()?;
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
        // It counts as long as it computes, even where nobody waits for it any more. The permit comes back with the answer:
        // given back before, it would let the next request start a thread beside the one that is just about to be free,
        // and each thread keeps memory of its own.
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
        self.work_here(&|state, source| {
            let mut context = source.here().ok_or_else(Problem::fault)?;
            work(state, &mut context)
        })
    }

    fn work_here<T>(
        &self,
        work: &dyn Fn(&State, &mut AnswerSource) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let version = self.version()?;
        let waiting = {
            let mut sources = lock(&self.sources);
            // Engines of a library that was put away hold its old file open.
            sources.retain(|source| source.version.epoch == version.epoch);
            sources.pop()
        };
        let mut source = match waiting {
            Some(source) => source,
            None => AnswerSource::new(LibrarySource::Local(Box::new(self.open_engine()?))),
        };
        source.version = version;
        // Commits of others, and changes by this engine itself.
        let commits = |source: &mut AnswerSource| {
            let engine = source.here().map(|context| context.engine);
            engine.map_or(Ok((0, 0)), |engine| engine.library().changes().state())
        };
        let before = commits(&mut source)?;
        let mut answer = work(self, &mut source);
        if answer.is_err() {
            let now = self.version()?;
            let after = commits(&mut source)?;
            // The tracks in question may have changed between two reads, which only commits of others do. What this request
            // wrote before it failed would be written twice, and an engine of a database that was put away fails again.
            if after.0 != before.0 && after.1 == before.1 && now.epoch == version.epoch {
                // Else `index` would take the index that it followed for the current one.
                source.version = now;
                answer = work(self, &mut source);
            }
        }
        // Also after an error: the engine is as good as before, and opening another one costs more.
        lock(&self.sources).push(source);
        answer
    }

    /// - `around`: it is made of all tracks, or of what stands for them
    fn work_anywhere<T>(
        &self,
        around: bool,
        work: &dyn Fn(&State, &mut AnswerSource) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let Some(open) = self.elsewhere.as_ref().filter(|_| self.is_elsewhere()) else {
            return self.work_here(work);
        };
        let pool = if around {
            &self.wholes
        } else {
            &self.elsewheres
        };
        // The last one that was given back has the most recent state.
        let waiting = lock(pool).pop();
        let current = |mut source: AnswerSource| {
            let is_current = source.is_current()?;
            Ok::<_, Problem>(is_current.then_some(source))
        };
        let mut source = match waiting.map(current).transpose()?.flatten() {
            Some(source) => source,
            None => AnswerSource::new(open()?),
        };
        let answer = work(self, &mut source);
        // One that has a sample of the tracks is of use to its own answer alone.
        if !around || source.is_whole() {
            lock(pool).push(source);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Permits that a guest, or the owner, gets at once.
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
