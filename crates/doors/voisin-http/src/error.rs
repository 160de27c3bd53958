//! Why a server does not start. Not for requests that fail: these are [`problem`](crate::problem)s.

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
        place: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file of the token or of passwords cannot be used.
    #[error("cannot use the token or password in {}: name another file for it", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The token is too short, or has invalid characters.
    #[error(
        "{}: expected one line of at least {least} printable characters: remove the file to have one made", path.display()
    )]
    WeakToken {
        /// The file.
        path: PathBuf,
        /// Least number of characters.
        least: usize,
    },
    /// The file of passwords has none, too many, or weak ones.
    #[error(
        "{}: expected a password of at least {least} characters in the first line, and another one for guests, or none, in \
         the second", path.display()
    )]
    WeakPassword {
        /// The file.
        path: PathBuf,
        /// Least number of characters.
        least: usize,
    },
    /// A password that is too short.
    #[error(
        "expected a password of at least {least} characters, found a shorter one: type a longer one"
    )]
    ShortPassword {
        /// Least number of characters.
        least: usize,
    },
    /// The file of passwords has a hash that cannot be compared.
    #[error(
        "{}: expected passwords or hashes of them by Argon2id with 256 MiB, ten passes and four lanes at most, found another \
         hash or a damaged one: make one with \"voisin serve --hash-password\"", path.display()
    )]
    OtherHash {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the token's file, or that of passwords.
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
    /// The system's random numbers failed.
    #[error("the system's random numbers failed")]
    Random,
    /// The system's threads failed.
    #[error("cannot start the server's threads")]
    Runtime(#[source] std::io::Error),
    /// The client is no assistant.
    #[error(
        "expected a client of the Model Context Protocol: {reason}: name \"voisin mcp\" in its settings"
    )]
    Protocol {
        /// The reason.
        reason: String,
    },
}
