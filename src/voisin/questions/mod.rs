//! The queries that a library answers, each defined once. The command line (clap), the server and assistants (serde) and their
//! descriptions (schemars) share the fields, comments, defaults and bounds of one structure.
//!
//! For: reading and validating queries of any caller, and running them on the engine. Not for: names as a terminal or a player
//! writes them, nor rendering of answers; each caller does that.

pub mod answers;
pub mod explore;
pub(crate) mod filter;
pub mod genre;
pub mod list;
pub mod playlist;
pub mod queries;
pub mod read;
pub mod schema;
pub mod seed;
pub(crate) mod similar;
pub mod spans;
pub mod values;

use crate::EngineError;
use read::Refused;
use voisin_explore::ExploreError;
use voisin_library::LibraryError;

pub use answers::similar::SimilarAnswer;
pub use filter::Filters;
pub use similar::Similar;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// The query is invalid.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The library has no cluster of this number.
    #[error("there is no cluster {0}: \"voisin clusters\" lists all clusters")]
    NoCluster(u32),
    /// No track passes the filters.
    #[error("no track passes the filters: loosen the filters")]
    NothingFits,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

// So that `?` works on errors of the crates below the engine.
impl From<LibraryError> for QuestionError {
    fn from(error: LibraryError) -> Self {
        Self::Engine(error.into())
    }
}

impl From<ExploreError> for QuestionError {
    fn from(error: ExploreError) -> Self {
        Self::Engine(error.into())
    }
}
