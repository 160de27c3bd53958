//! The one progress bar on the screen.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The bar that is shown, which is suspended while something is printed.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The bar, cloned, so that the lock is held during no draw and no write to a slow pipe.
fn shown() -> Option<ProgressBar> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes while nothing else is drawn.
pub(super) fn undisturbed<T>(write: impl FnOnce() -> T) -> T {
    match shown() {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// The spinner of a long computation; `None` inside another one.
pub(crate) struct Busy(Option<ProgressBar>);

impl Busy {
    /// Shows a spinner after two seconds, if `is_shown`; inner work only changes the message of the outer one.
    pub(super) fn new(text: &str, is_shown: bool) -> Self {
        if let Some(outer) = shown() {
            outer.set_message(text.to_owned());
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        if is_shown {
            let bar = bar.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                // A bar that is finished by now is not drawn any more.
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(200));
            });
        }
        // From here on all output suspends the bar, also before it is drawn.
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        Self(Some(bar))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            // Cleared before the static is, or a line printed between the two would run into it.
            bar.finish_and_clear();
            *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}
