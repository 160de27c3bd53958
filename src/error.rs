//! One error for the whole crate: each module's own, folded.

/// Anything that can go wrong in voisin; each variant is one module's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {}

/// `Result` with voisin's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
