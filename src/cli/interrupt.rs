//! Ctrl-C: one handler for the whole program, whatever it is doing.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::render::busy;
use voisin_base::abandoned;

type Action = Box<dyn Fn() + Send>;

/// Runs in place of ending at once.
static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Does this whenever Ctrl-C is pressed.
///
/// # Errors
/// The system has no such signal.
pub(crate) fn on_ctrl_c(action: impl Fn() + Send + 'static) -> Result<(), String> {
    // A later action takes the place of an earlier one: the run at hand is the one to stop.
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
    listen()
}

/// Ends the program tidily when Ctrl-C is pressed, if nothing else is done then.
///
/// # Errors
/// The system has no such signal.
pub(crate) fn listen() -> Result<(), String> {
    static LISTENS: OnceLock<Result<(), String>> = OnceLock::new();
    // The lock is held while the action runs; an action must not set another one.
    let handler = || match &*ACTION.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(action) => action(),
        None => end(),
    };
    LISTENS
        .get_or_init(|| ctrlc::set_handler(handler).map_err(|error| error.to_string()))
        .clone()
}

/// Ends the program at once, and leaves neither half a file nor half a line behind.
pub(crate) fn end() -> ! {
    busy::clear();
    // Nothing is dropped where a process exits.
    abandoned::remove_unfinished();
    // 128 + SIGINT, as shells report a program that Ctrl-C ended.
    std::process::exit(130);
}
