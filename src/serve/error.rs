//! Why a server does not start. Not for requests that fail: these are [`problem`](crate::problem)s.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "cannot listen on {place}: stop the program that listens there, or choose another address"
    )]
    Listen {
        place: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot use the token in {}: name another file for it", path.display())]
    TokenFile {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file of the token has none, too many, or weak ones.
    #[error(
        "{}: expected a token or password of at least {least} characters in the first line, and another one that only reads, \
         or none, in the second: remove the file to have a token made", path.display()
    )]
    WeakToken { path: PathBuf, least: usize },
    #[cfg(unix)]
    #[error(
        "{}: expected a file that only its owner can read (mode 600), found mode {mode:o}: run \"chmod 600\" on it",
        path.display()
    )]
    OpenToken { path: PathBuf, mode: u32 },
    #[error("cannot start the server's threads")]
    Runtime(#[source] std::io::Error),
    #[error("the assistant cannot be read or answered")]
    Assistant(#[source] std::io::Error),
}
