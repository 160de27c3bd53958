//! A team of threads that computes the steps of one window together.
//!
//! A window is some twenty short steps of 10 to 1000 µs. Rayon's threads would sleep between them,
//! and waking costs about as much as the steps. Here the pool's other threads join once, then wait
//! for the next step by spinning.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Polls of the state before a waiting thread yields its core: some 50 µs.
const SPINS: u32 = 2000;

/// Runs steps of independent tasks.
pub(super) struct Team {
    /// Threads besides the leader that may join.
    helpers: usize,
    /// Odd while a step is open; it changes with every step.
    state: AtomicUsize,
    finished: AtomicBool,
    /// Helpers inside the open step.
    inside: AtomicUsize,
    next: AtomicUsize,
    failed: AtomicBool,
    step: UnsafeCell<Option<TeamStep>>,
}

#[derive(Clone, Copy)]
struct TeamStep {
    tasks: usize,
    /// The closure, and the function that calls it.
    work: *const (),
    call: unsafe fn(*const (), usize),
}

/// # Safety
/// `work` is an `F` that lives.
unsafe fn call<F: Fn(usize) + Sync>(work: *const (), task: usize) {
    // SAFETY: as the caller promises.
    unsafe { (*work.cast::<F>())(task) }
}

// SAFETY: `step` is written by the leader alone while no step is open and no helper inside; helpers
// read it only between entering an open step and leaving it. Everything else is atomic.
unsafe impl Sync for Team {}
// SAFETY: as above; the pointer in `step` is to a `Sync` closure.
unsafe impl Send for Team {}

/// Runs `lead` with the threads of rayon's current pool as a team. Threads that are busy elsewhere
/// do not join and are not waited for.
pub(super) fn with_team<R: Send>(lead: impl FnOnce(&Team) -> R + Send) -> R {
    let helpers = rayon::current_num_threads().saturating_sub(1);
    let team = Team::new(helpers);
    if helpers == 0 {
        return lead(&team);
    }
    rayon::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| team.help());
        }
        // Also if `lead` panics, or the scope would wait forever.
        let _finish = Finish(&team);
        lead(&team)
    })
}

struct Finish<'a>(&'a Team);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
    }
}

/// Closes a step and waits until nobody is inside, also when a task panics.
struct Close<'a>(&'a Team);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let team = self.0;
        // Sequentially consistent with `help`: either it sees the step closed, or this sees it
        // inside.
        team.state.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while team.inside.load(Ordering::SeqCst) != 0 {
            pause(&mut spins);
        }
    }
}

/// Leaves a step, also when a task panics.
struct Leave<'a>(&'a Team);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Release);
        }
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

fn pause(spins: &mut u32) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

impl Team {
    fn new(helpers: usize) -> Self {
        Self {
            helpers,
            state: AtomicUsize::new(0),
            finished: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            step: UnsafeCell::new(None),
        }
    }

    /// Only the calling thread.
    pub(super) fn alone() -> Self {
        Self::new(0)
    }

    /// Threads that may work on a step.
    pub(super) fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// Runs `work(0)` to `work(tasks - 1)`, each once, on whichever threads are free; returns when
    /// all are done. Only the team's leader calls it.
    pub(super) fn run<F: Fn(usize) + Sync + Send>(&self, tasks: usize, work: F) {
        match self.helpers {
            0 => (0..tasks).for_each(work),
            _ if tasks < 2 => (0..tasks).for_each(work),
            _ => self.open(tasks, &work),
        }
    }

    fn open<F: Fn(usize) + Sync>(&self, tasks: usize, work: &F) {
        let step = TeamStep {
            tasks,
            work: std::ptr::from_ref(work).cast(),
            call: call::<F>,
        };
        // SAFETY: no step is open and nobody inside (the last `Close` waited for that).
        unsafe { *self.step.get() = Some(step) };
        self.next.store(0, Ordering::Relaxed);
        self.state.fetch_add(1, Ordering::SeqCst);
        {
            // Waits for all threads that may call `work` before this function returns.
            let _close = Close(self);
            self.take(step);
        }
        assert!(
            !self.failed.load(Ordering::Acquire),
            "a task panicked on another thread"
        );
    }

    fn take(&self, step: TeamStep) {
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= step.tasks {
                return;
            }
            // SAFETY: the step is open, or this thread is inside it: the closure lives.
            unsafe { (step.call)(step.work, task) };
        }
    }

    fn help(&self) {
        let mut seen = 0;
        let mut spins = 0;
        while !self.finished.load(Ordering::Acquire) {
            let state = self.state.load(Ordering::Relaxed);
            if state.is_multiple_of(2) || state == seen {
                pause(&mut spins);
                continue;
            }
            self.inside.fetch_add(1, Ordering::SeqCst);
            let leave = Leave(self);
            if self.state.load(Ordering::SeqCst) == state {
                // SAFETY: this step was open after this thread was counted, so the leader waits for
                // it.
                if let Some(step) = unsafe { *self.step.get() } {
                    self.take(step);
                }
                seen = state;
            }
            drop(leave);
            spins = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn every_task_runs_once_and_steps_follow_each_other() {
        for threads in [1, 2, 3, 8] {
            let counts: Vec<AtomicUsize> = (0..97).map(|_| AtomicUsize::new(0)).collect();
            pool(threads).install(|| {
                with_team(|team| {
                    assert_eq!(team.threads(), threads);
                    for step in 0..500 {
                        let tasks = step % counts.len();
                        team.run(tasks, |task| {
                            // The previous step is complete: task `i` has run in every step that
                            // had it.
                            let before = (0..step).filter(|s| s % counts.len() > task).count();
                            assert_eq!(counts[task].fetch_add(1, Ordering::Relaxed), before);
                        });
                    }
                });
            });
            for (task, count) in counts.iter().enumerate() {
                let expected = (0..500).filter(|step| step % counts.len() > task).count();
                assert_eq!(
                    count.load(Ordering::Relaxed),
                    expected,
                    "{threads} threads, task {task}"
                );
            }
        }
    }

    #[test]
    fn teams_within_a_busy_pool_do_not_wait_for_each_other() {
        let sums: Vec<usize> = pool(3).install(|| {
            (0..24_usize)
                .into_par_iter()
                .map(|seed| {
                    let sum = AtomicUsize::new(0);
                    with_team(|team| {
                        for _ in 0..20 {
                            team.run(10, |task| {
                                sum.fetch_add(seed * task, Ordering::Relaxed);
                            });
                        }
                    });
                    sum.into_inner()
                })
                .collect()
        });
        assert_eq!(sums, (0..24).map(|seed| seed * 45 * 20).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller() {
        let pool = pool(4);
        for bad in [0, 63] {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.install(|| with_team(|team| team.run(64, |task| assert_ne!(task, bad))));
            }));
            assert!(caught.is_err());
        }
        // The pool can still be used.
        assert_eq!(pool.install(|| (0..10).into_par_iter().sum::<usize>()), 45);
    }
}
