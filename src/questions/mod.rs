//! Questions: what can be asked of a library, each said once. A structure's fields, their comments, defaults and bounds are
//! what the command line (clap), the server and assistants (serde) and their descriptions (schemars) have.
//!
//! For: reading and checking what is asked, whichever door it came through, and asking the engine. Not for: names as a
//! terminal or a player writes them, nor how an answer is shown; each door does that.

pub(crate) mod explore;
pub(crate) mod filter;
pub(crate) mod genre;
pub(crate) mod list;
pub(crate) mod page;
pub(crate) mod playlist;
pub(crate) mod read;
pub(crate) mod schema;
pub(crate) mod seed;
pub(crate) mod similar;
pub(crate) mod values;

use crate::base::remedy::Remedy;
use crate::engine::EngineError;
use crate::explore::ExploreError;
use crate::genre::GenreError;
use crate::library::LibraryError;
use read::Refused;

pub(crate) use filter::Filters;
pub(crate) use similar::Similar;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    /// It makes no sense.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The library has no cluster of this number.
    #[error("there is no cluster {0}")]
    NoCluster(u32),
    /// The filters leave nothing to start from.
    #[error("no track passes the filters")]
    NothingFits,
    /// The library has no answer to it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl QuestionError {
    /// The next step, where the message does not have it.
    pub(crate) fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Refused(_) => None,
            Self::NoCluster(_) => Some(Remedy::SeeClusters),
            Self::NothingFits => Some("loosen the filters".into()),
            Self::Engine(error) => error.remedy(),
        }
    }
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

of_engine! { LibraryError ExploreError GenreError }
