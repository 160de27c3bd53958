//! Errors of a library in a database.

use voisin::EngineError;
use voisin_library::LibraryError;

/// A failure of a backend. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Not a valid address.
    #[error(
        "expected the address of a database, postgres://USER@HOST:PORT/DATABASE, with %3F for a ? and %40 for an @ in a password"
    )]
    Address,
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
    /// The library there is not fit for this command.
    #[error("{place}: {problem}")]
    Refused {
        /// The address, without a password.
        place: String,
        problem: String,
    },
    /// There are no tables of voisin.
    #[error("{place} holds no library: \"voisin push --to {place}\" sends one")]
    NoLibrary {
        /// The address, without a password.
        place: String,
    },
    /// The server refuses a statement, or the connection was lost.
    #[error("the database: {}", causes(.0))]
    Statement(#[from] postgres::Error),
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

/// Every cause of an error, once each, in one line; the client's message alone is too short to act on.
pub(super) fn causes(error: &postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    if let Some(hint) = error.as_db_error().and_then(|error| error.hint()) {
        text = format!("{text}; {hint}");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
