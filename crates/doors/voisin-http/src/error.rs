//! Why a server does not start. Not for requests that fail: these are [`problem`](crate::problem)s.

use std::path::PathBuf;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A place to listen at that cannot be had.
    #[error("cannot listen on {place}: stop what listens there, or choose another address")]
    Listen {
        /// Where.
        place: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The token's file, or that of passwords, cannot be used.
    #[error("cannot use the token or password in {}: name another file for it", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The token is too short, or of other characters.
    #[error(
        "{}: expected one line of at least {least} printable characters: remove the file, and a token is made", path.display()
    )]
    WeakToken {
        /// The file.
        path: PathBuf,
        /// Characters that are needed.
        least: usize,
    },
    /// The file of passwords has none, too many, or such as are guessed.
    #[error(
        "{}: expected a password of at least {least} characters in the first line, and another one for guests, or none, in \
         the second", path.display()
    )]
    WeakPassword {
        /// The file.
        path: PathBuf,
        /// Characters that are needed.
        least: usize,
    },
    /// A password that would be guessed.
    #[error(
        "expected a password of at least {least} characters, found a shorter one: type a longer one"
    )]
    ShortPassword {
        /// Characters that are needed.
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
    /// The system gives no random numbers.
    #[error("this system gives no random numbers")]
    Random,
    /// The system gives no threads.
    #[error("cannot start the server's threads")]
    Runtime(#[source] std::io::Error),
    /// Whoever started this is no assistant.
    #[error(
        "expected an assistant that speaks the Model Context Protocol: {reason}: name \"voisin mcp\" in its settings"
    )]
    Protocol {
        /// The fault.
        reason: String,
    },
}
