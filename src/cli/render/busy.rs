//! The one progress bar on the screen.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

/// The bar that is shown, which is suspended while something is printed.
pub(super) static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Clears the bar, unless it is being drawn.
pub(crate) fn clear() {
    // Called from the handler of Ctrl-C, which could hang if it waited for a thread that is drawing.
    if let Ok(shown) = BAR.try_lock()
        && let Some(bar) = &*shown
    {
        bar.finish_and_clear();
    }
}

/// Writes while nothing else is drawn.
pub(super) fn undisturbed<T>(write: impl FnOnce() -> T) -> T {
    // Cloned, so that the lock is not held during a write to a slow pipe.
    let shown = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
