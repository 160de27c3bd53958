//! The reasons for an unknown genre.

use schemars::JsonSchema;
use serde::Serialize;

/// Why a genre is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// Farther from all labelled tracks than these are from each other.
    Novel,
    /// The probability is too low for the requested precision, or compared with those of the
    /// labelled tracks.
    Unsure,
    /// It never changes: a tone or noise.
    Steady,
}

impl UnknownReason {
    /// The reason as text, with the nearest genres.
    pub fn sentence(self, kin: &[&str]) -> String {
        let kin_list = kin.join(", ");
        match self {
            Self::Steady => {
                format!("unknown: it hardly changes, as a tone or noise; nearest to {kin_list}")
            }
            Self::Unsure => format!("unknown: too unsure; perhaps {}", kin.join(" or ")),
            Self::Novel => {
                format!("unknown: unlike anything labelled here; nearest to {kin_list}")
            }
        }
    }
}
