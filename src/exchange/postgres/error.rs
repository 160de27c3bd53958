//! Errors of a library in a database.

use voisin::EngineError;
use voisin_library::LibraryError;

/// A failure of a backend. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Not a valid address.
    #[error("the address of the database: {problem}; expected postgres://USER@HOST:PORT/DATABASE")]
    Address {
        /// The fault.
        problem: String,
    },
    /// A password where other users of the machine can read it.
    #[error(
        "a password on the command line can be read by everybody on this machine: put it into PGPASSWORD, or the whole address into VOISIN_BACKEND (push, pull) or VOISIN_LIBRARY (queries)"
    )]
    Password,
    /// No connection.
    #[error("cannot connect to {place}: {problem}")]
    Connect {
        /// The address, without a password.
        place: String,
        /// The client's or the server's message.
        problem: String,
    },
    /// The server refuses a statement, or its tables are not fit.
    #[error("{place}: {problem}")]
    Refused {
        /// The address, without a password.
        place: String,
        /// The message of the server or of voisin, with what to do.
        problem: String,
    },
    /// There are no tables of voisin.
    #[error("{place} holds no library: \"voisin push --to {place}\" sends one")]
    NoLibrary {
        /// The address, without a password.
        place: String,
    },
    /// A filter that only a library on this disk has.
    #[error(
        "a filter by tag needs all tracks, which a database does not send: fetch its library with \"voisin pull --from URL --library DIR\", then use --library DIR"
    )]
    Tag,
    /// Interrupted by the user.
    #[error("interrupted")]
    Interrupted,
    /// The library on this disk.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The engine on this disk.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A temporary file.
    #[error("cannot make a temporary library")]
    Io(#[from] std::io::Error),
}
