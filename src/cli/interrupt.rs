//! Ctrl-C: one handler for the whole program.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::render::busy;

type Action = Box<dyn Fn() + Send>;

/// Called instead of ending at once.
static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Sets the action for Ctrl-C.
///
/// # Errors
/// The system has no such signal.
pub(crate) fn on_ctrl_c(action: impl Fn() + Send + 'static) -> Result<(), String> {
    // A later action replaces an earlier one: the current run is the one to stop.
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
    install_handler()
}

/// Installs the handler, which ends the program cleanly on Ctrl-C if no action is set.
///
/// # Errors
/// The system has no such signal.
pub(crate) fn install_handler() -> Result<(), String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    // The lock is held while the action runs; an action must not set another one.
    let handler = || match &*ACTION.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(action) => action(),
        None => end(),
    };
    INSTALLED
        .get_or_init(|| ctrlc::set_handler(handler).map_err(|error| error.to_string()))
        .clone()
}

/// Ends the program at once, without leaving partial lines.
pub(crate) fn end() -> ! {
    busy::clear();
    // 128 + SIGINT, as shells report a program that Ctrl-C ended.
    std::process::exit(130);
}
