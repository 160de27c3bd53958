//! The one progress bar on the screen.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use indicatif::ProgressBar;

/// The bar that is shown, which is suspended while something is printed.
pub(super) static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How long Ctrl-C waits for the bar to be cleared: far longer than a draw takes, hardly noticed by a person.
const CLEAR_WITHIN: Duration = Duration::from_millis(500);

/// Clears the bar, unless the terminal takes no output.
pub(crate) fn clear() {
    // On a terminal that was stopped (Ctrl-S) a draw never returns, so another thread waits for it.
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        if let Some(bar) = shown() {
            bar.finish_and_clear();
        }
        // Nobody listens after the time above.
        let _ = done.send(());
    });
    let _ = is_done.recv_timeout(CLEAR_WITHIN);
}

/// The bar, cloned, so that the lock is held during no draw and no write to a slow pipe.
pub(super) fn shown() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes while nothing else is drawn.
pub(super) fn undisturbed<T>(write: impl FnOnce() -> T) -> T {
    match shown() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
