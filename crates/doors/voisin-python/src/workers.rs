//! Several things to do at once, while Python looks on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

/// How often Python is asked whether somebody wants to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Does all jobs on threads of their own, without the interpreter's lock; a few more are taken than can be done at once, so that
/// little is in memory. Stops at the first error of `jobs` or `done`, or where Python is interrupted.
///
/// - `count`: how many there are, if that is known
/// - `done`: is told of each, by its number, in the order in which they end
pub(super) fn each<J: Send, R: Send>(
    py: Python<'_>,
    threads: usize,
    count: Option<usize>,
    mut jobs: impl Iterator<Item = PyResult<J>>,
    work: impl Fn(&J, &AtomicBool) -> R + Sync,
    mut done: impl FnMut(usize, J, Option<R>) -> PyResult<()>,
) -> PyResult<()> {
    let workers = threads.min(count.unwrap_or(threads)).max(1);
    // Several at once each get one thread; few share the threads among them.
    let threads_each = (threads / workers).max(1);
    let stop = AtomicBool::new(false);
    let (to_do, queue) = channel::<(usize, J)>();
    let (sender, ended) = channel();
    let queue = Mutex::new(queue);
    let ended = Mutex::new(ended);
    std::thread::scope(|scope| {
        // Results come back to this thread alone, which holds Python's objects and calls them.
        for _ in 0..workers {
            let sender = sender.clone();
            let queue = &queue;
            let work = &work;
            let stop = &stop;
            scope.spawn(move || {
                // This thread belongs to the pool while the pool lives: what it does in parallel stays inside.
                let _pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads_each)
                    .use_current_thread()
                    .build();
                loop {
                    // One worker at a time waits on the queue; the others wait for its lock.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, job)) = next else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| work(&job, stop))).ok();
                    // Nobody reads results after a stop.
                    if stop.load(Ordering::Relaxed) || sender.send((number, job, result)).is_err() {
                        return;
                    }
                }
            });
        }
        // Only workers may hold the sending end, or the end of the last one would not show.
        drop(sender);
        let mut to_do = Some(to_do);
        let mut given = 0;
        let mut missing = 0;
        let mut run = || loop {
            // Two jobs a worker: while one is worked on, the next is there, and a generator of a
            // million arrays is not read into memory.
            while let Some(queue) = to_do.as_ref().filter(|_| missing < 2 * workers) {
                let Some(job) = jobs.next().transpose()? else {
                    to_do = None;
                    break;
                };
                // The workers live as long as this end of the queue.
                let _ = queue.send((given, job));
                (given, missing) = (given + 1, missing + 1);
            }
            if missing == 0 {
                return Ok(());
            }
            let next = py.detach(|| {
                ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .recv_timeout(GLANCE)
            });
            match next {
                Ok((number, job, result)) => {
                    missing -= 1;
                    // With the interpreter's lock again: `detach` above has returned.
                    done(number, job, result)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // Python notes Ctrl-C but raises it only when asked here, in its main thread.
            py.check_signals()?;
        };
        let result = run();
        stop.store(true, Ordering::Relaxed);
        // Closing the queue lets waiting workers go; the scope would wait for them for ever.
        drop(to_do);
        result
    })
}
