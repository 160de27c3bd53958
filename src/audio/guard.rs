//! Panics of codecs and tag readers, turned into errors of their file.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::AudioError;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs third-party code on a file; a panic in it becomes [`AudioError::NotAudio`].
///
/// Values that `work` changed must not be used after a panic: callers abandon the file.
pub fn guard<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, AudioError> {
    // Restored and not cleared below, as guarded calls may be nested.
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| {
        // `panic!` with a literal carries a `&str`, with arguments a `String`.
        let literal = payload.downcast_ref::<&str>().copied();
        let message = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("panic without a message");
        AudioError::not_audio(path, format!("the decoder failed: {message}"))
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
        let error = guard(Path::new("x"), || panic!("index {} out of range", 7)).unwrap_err();
        let found = error.to_string();
        assert!(
            found.contains("the decoder failed: index 7 out of range"),
            "{found}"
        );
        assert!(!is_guarded());
        assert!(guard(Path::new("x"), is_guarded).unwrap());
    }
}
