//! Why a server does not start. Not for requests that fail: these are [`problem`](crate::problem)s.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address that the server cannot listen on.
    #[error(
        "cannot listen on {place}: stop the program that listens there, or choose another address"
    )]
    Listen {
        /// The address.
        place: SocketAddr,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file of the token cannot be used.
    #[error("cannot use the token in {}: name another file for it", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file of the token has none, too many, or weak ones.
    #[error(
        "{}: expected a token or password of at least {least} characters in the first line, and another one that only reads, \
         or none, in the second: remove the file to have a token made", path.display()
    )]
    WeakToken {
        /// The file.
        path: PathBuf,
        /// Least number of characters.
        least: usize,
    },
    /// Others can read the token's file.
    #[cfg(unix)]
    #[error(
        "{}: expected a file that only its owner can read (mode 600), found mode {mode:o}: run \"chmod 600\" on it",
        path.display()
    )]
    OpenToken {
        /// The file.
        path: PathBuf,
        /// The file's permissions.
        mode: u32,
    },
    /// The system's threads failed.
    #[error("cannot start the server's threads")]
    Runtime(#[source] std::io::Error),
    /// The input or output of an assistant.
    #[error("the assistant cannot be read or answered")]
    Assistant(#[source] std::io::Error),
}
