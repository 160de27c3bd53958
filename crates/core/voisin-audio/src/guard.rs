//! Panics of codecs and tag readers, turned into errors of their file.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::AudioError;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs third-party code on a file; a panic in it becomes [`AudioError::Panicked`].
///
/// Values that `work` changed must not be used after a panic: callers abandon the file.
pub fn guard<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, AudioError> {
    // Restored and not cleared below, as guarded calls may be nested.
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| AudioError::Panicked {
        path: path.to_owned(),
        message: payload
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            // `panic!` with a literal carries a `&str`, with arguments a `String`.
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic without a message".to_owned()),
    })
}

/// Whether this thread is inside third-party code whose panics are caught and reported as errors.
///
/// A program's panic hook may check this to keep such panics off the terminal.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error =
            guard(Path::new("x.mp3"), || panic!("index {} out of range", 7)).expect_err("panics");
        assert_eq!(
            error.to_string(),
            "x.mp3: the decoder failed (index 7 out of range)"
        );
        assert!(!is_guarded());
        assert!(guard(Path::new("x"), is_guarded).expect("does not panic"));
    }
}
