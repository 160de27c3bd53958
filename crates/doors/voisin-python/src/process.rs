//! Threads and connections of each process. A forked child has a copy of its parent's memory and none of its threads, so that
//! waiting for one of them would never end.

use std::convert::Infallible;
use std::mem::forget;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A value that each process creates for itself. In a forked child the parent's value is not used and never dropped, since
/// closing a connection would end the parent's.
pub(super) struct OfProcess<T>(OnceLock<Box<Made<T>>>);

struct Made<T> {
    process: u32,
    /// `None` after the drop.
    value: Option<T>,
    /// The values of forked children.
    next: OfProcess<T>,
}

impl<T> Drop for Made<T> {
    fn drop(&mut self) {
        // In a forked child: closing the inherited connection or file would close the
        // parent's.
        if self.process != std::process::id() {
            forget(self.value.take());
        }
    }
}

impl<T> OfProcess<T> {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// With this process's value.
    pub(super) fn with(value: T) -> Self {
        let made = Made {
            process: std::process::id(),
            value: Some(value),
            next: Self::new(),
        };
        Self(OnceLock::from(Box::new(made)))
    }

    /// This process's value.
    ///
    /// - `make`: called if there is none yet, with the parent process's value, without a lock, so that a concurrent fork leaves
    ///   nothing locked in the child
    pub(super) fn get<E>(&self, make: impl FnOnce(Option<&T>) -> Result<T, E>) -> Result<&T, E> {
        let process = std::process::id();
        let mut place = self;
        let mut inherited = None;
        let mut make = Some(make);
        loop {
            // One link for each generation of forks; most processes find theirs in the first.
            if let Some(made) = place.0.get() {
                match &made.value {
                    Some(value) if made.process == process => return Ok(value),
                    value => inherited = value.as_ref(),
                }
                place = &made.next;
            } else if let Some(make) = make.take() {
                let value = Some(make(inherited)?);
                // If another thread was faster, the next round finds its value.
                let _ = place.0.set(Box::new(Made {
                    process,
                    value,
                    next: Self::new(),
                }));
            }
        }
    }
}

/// Runs work on this process's threads. All work of rayon must run here, since its own pool does not survive a fork.
pub(super) fn on_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    static POOL: OfProcess<Option<ThreadPool>> = OfProcess::new();
    // The parent's pool is useless: its threads do not exist in this process.
    let make = |_: Option<&_>| Ok::<_, Infallible>(ThreadPoolBuilder::new().build().ok());
    match POOL.get(make) {
        Ok(Some(pool)) => pool.install(work),
        // Without threads, rayon reports the error.
        Ok(None) => work(),
        Err(never) => match never {},
    }
}
