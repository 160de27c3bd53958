//! The reasons for an unknown genre.

use schemars::JsonSchema;
use serde::Serialize;

use super::Genre;

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
    /// It sounds like a genre that the labels lack.
    Lacking,
}

impl UnknownReason {
    /// The reason as text, with the nearest genres.
    ///
    /// - `sounds_like`: a genre that the labels lack
    pub fn sentence(self, kin: &[&str], sounds_like: Option<&Genre>) -> String {
        let kin_list = kin.join(", ");
        match (self, sounds_like) {
            (Self::Steady, _) => {
                format!("unknown: it hardly changes, as a tone or noise; nearest to {kin_list}")
            }
            (_, Some(genre)) => {
                format!(
                    "unknown: sounds like {genre}, which your labels lack; nearest of yours: {kin_list}"
                )
            }
            (Self::Unsure, None) => {
                format!("unknown: too unsure; perhaps {}", kin.join(" or "))
            }
            (Self::Novel | Self::Lacking, None) => {
                format!("unknown: unlike anything labelled here; nearest to {kin_list}")
            }
        }
    }
}
