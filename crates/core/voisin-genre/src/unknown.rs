//! Why an answer is "unknown", in words.

use schemars::JsonSchema;
use serde::Serialize;

use super::Genre;

/// Why an answer is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// Farther from everything than the collection's own tracks are from each other.
    Novel,
    /// The probability is too low, for the precision asked for or beside those of the labelled
    /// tracks.
    Unsure,
    /// It never changes: a tone or noise.
    Steady,
    /// It sounds like a genre that the labels lack.
    Lacking,
}

impl UnknownReason {
    /// In words, with the genres that it is nearest to.
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
                format!("unknown: too unsure to say; perhaps {}", kin.join(" or "))
            }
            (Self::Novel | Self::Lacking, None) => {
                format!("unknown: unlike anything labelled here; nearest to {kin_list}")
            }
        }
    }
}
