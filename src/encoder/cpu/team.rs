//! The threads that compute the steps of one window together.

use rayon::prelude::*;

pub(super) struct Team {
    threads: usize,
}

impl Team {
    pub(super) fn pool() -> Self {
        Self {
            threads: rayon::current_num_threads(),
        }
    }

    pub(super) fn alone() -> Self {
        Self { threads: 1 }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work(0)` to `work(tasks - 1)`, each once; returns when all are done.
    pub(super) fn run<F: Fn(usize) + Sync + Send>(&self, tasks: usize, work: F) {
        if self.threads == 1 || tasks < 2 {
            (0..tasks).for_each(work);
        } else {
            (0..tasks).into_par_iter().with_max_len(1).for_each(work);
        }
    }
}
