//! Runs jobs on threads, with results and interrupts on Python's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;

/// Interval of the check for Python's interrupts.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs all jobs on threads, without the interpreter's lock; only a few more jobs are taken than run at once, to save memory.
/// Stops at the first error of `jobs` or `done`, or if Python is interrupted.
///
/// - `count`: number of jobs, if known
/// - `done`: called for each with its number, in the order of completion
pub(super) fn each<J: Send, R: Send>(
    py: Python<'_>,
    threads: usize,
    count: Option<usize>,
    mut jobs: impl Iterator<Item = PyResult<J>>,
    work: impl Fn(&J, &AtomicBool) -> R + Sync,
    mut done: impl FnMut(usize, J, Option<R>) -> PyResult<()>,
) -> PyResult<()> {
    let workers = threads.min(count.unwrap_or(threads)).max(1);
    // With many jobs each has one thread; few jobs share the threads.
    let threads_each = (threads / workers).max(1);
    let stop = AtomicBool::new(false);
    let (to_do, queue) = channel::<(usize, J)>();
    let (sender, ended) = channel();
    let queue = Mutex::new(queue);
    let ended = Mutex::new(ended);
    std::thread::scope(|scope| {
        // Results are processed on this thread, which holds Python's objects.
        for _ in 0..workers {
            let sender = sender.clone();
            let queue = &queue;
            let work = &work;
            let stop = &stop;
            scope.spawn(move || {
                // The current thread belongs to the pool while it exists, so that its parallel work stays inside.
                let _pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads_each)
                    .use_current_thread()
                    .build();
                loop {
                    // One worker waits on the queue, the others for its lock.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((number, job)) = next else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| work(&job, stop))).ok();
                    // Results after a stop are discarded.
                    if stop.load(Ordering::Relaxed) || sender.send((number, job, result)).is_err() {
                        return;
                    }
                }
            });
        }
        // Only workers may hold the sending end, so that the channel closes with the last one.
        drop(sender);
        let mut to_do = Some(to_do);
        let mut given = 0;
        let mut missing = 0;
        let mut run = || loop {
            // Two jobs a worker: the next one is ready, and a generator of a
            // million arrays is not read into memory.
            while let Some(queue) = to_do.as_ref().filter(|_| missing < 2 * workers) {
                let Some(job) = jobs.next().transpose()? else {
                    to_do = None;
                    break;
                };
                // The workers run as long as this end of the queue exists.
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
                    // With the interpreter's lock again, since `detach` above has returned.
                    done(number, job, result)?;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            // Python raises Ctrl-C only here, in its main thread.
            py.check_signals()?;
        };
        let result = run();
        stop.store(true, Ordering::Relaxed);
        // Closing the queue ends waiting workers, for which the scope would otherwise wait forever.
        drop(to_do);
        result
    })
}
