//! Runs independent fits in parallel, each on one thread.
//!
//! Splitting small matrix products over threads costs more than it saves; one fold per thread does
//! not.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use rayon::ThreadPoolBuilder;

/// Maps items in order. Each call runs in a rayon pool of one thread; as many run in parallel as the
/// caller's pool has threads.
///
/// The pools exist only during the call, because a forked process has none of its parent's
/// threads.
pub(super) fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = rayon::current_num_threads().min(items.len());
    // A pool of one thread for each fit, in which everything that it calls runs.
    let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().ok();
    let pools: Vec<_> = (0..threads)
        .filter(|_| threads > 1)
        .filter_map(pool)
        .collect();
    if pools.is_empty() {
        return items.iter().map(f).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<R>>> = Mutex::new((0..items.len()).map(|_| None).collect());
    std::thread::scope(|scope| {
        for pool in &pools {
            let next = &next;
            let done = &done;
            let f = &f;
            scope.spawn(move || {
                pool.install(|| {
                    // The next free thread takes the next item, since fits take very different
                    // times.
                    while let Some((at, item)) = Some(next.fetch_add(1, Ordering::Relaxed))
                        .and_then(|at| Some((at, items.get(at)?)))
                    {
                        let result = f(item);
                        if let Ok(mut done) = done.lock() {
                            done[at] = Some(result);
                        }
                    }
                });
            });
        }
    });
    // Every slot is filled: the scope has already propagated a panic in `f`.
    done.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let expected: Vec<usize> = (0..100).map(|i| i * 2).collect();
        assert_eq!(map(&items, |i| i * 2), expected);
        let threads = map(&items, |_| rayon::current_num_threads());
        assert!(threads.iter().all(|t| *t == 1) || rayon::current_num_threads() == 1);
    }
}
