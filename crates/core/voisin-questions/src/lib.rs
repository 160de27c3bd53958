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
pub(crate) mod remote;
pub mod schema;
pub mod seed;
pub(crate) mod similar;
pub(crate) mod source;
pub mod spans;
pub mod values;

use read::Refused;
use voisin_engine::EngineError;
use voisin_explore::ExploreError;
use voisin_genre::GenreError;
use voisin_library::LibraryError;

pub use answers::similar::SimilarAnswer;
pub use filter::Filters;
pub use remote::{LocalOnly, PULL, RemoteError, RemoteLibrary};
pub use similar::Similar;
pub use source::{LibrarySource, Sampled};

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
    /// A database cannot answer this query.
    #[error(transparent)]
    LocalOnly(#[from] LocalOnly),
    /// The database failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

macro_rules! of_engine {
    ($($error:ty)*) => {$(
        impl From<$error> for QuestionError {
            fn from(error: $error) -> Self {
                Self::Engine(error.into())
            }
        }
    )*};
}

// So that `?` works on errors of the crates below the engine, wrapped as the engine wraps them.
of_engine! { LibraryError ExploreError GenreError }
