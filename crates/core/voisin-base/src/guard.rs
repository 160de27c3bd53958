//! Panics in third-party code, turned into messages.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs third-party code; a panic in it becomes an error with its message.
///
/// Values that `work` changed must not be used after a panic.
pub fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // Restored and not cleared below, as guarded calls may be nested.
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| {
        payload
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            // `panic!` with a literal carries a `&str`, with arguments a `String`.
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned())
    })
}

/// Whether this thread is inside third-party code whose panics are caught and reported as errors.
///
/// A program's panic hook may check this to keep such panics off the terminal.
pub fn is_guarded() -> bool {
    GUARDED.get()
}
