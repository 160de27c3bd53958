//! Panics of codecs and tag readers, turned into errors of their file.

use std::path::Path;

use super::AudioError;
pub use voisin_base::guard::is_guarded;

/// Runs third-party code on a file; a panic in it becomes [`AudioError::Panicked`].
///
/// Values that `work` changed must not be used after a panic: callers abandon the file.
pub fn guard<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, AudioError> {
    voisin_base::guard::guard(work).map_err(|message| AudioError::Panicked {
        path: path.to_owned(),
        message,
    })
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
