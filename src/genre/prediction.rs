//! A prediction with its reasons.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Genre, GenreShare};

/// Why a genre is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// Farther from all labelled tracks than these are from each other.
    Novel,
    /// The probability is too low for the requested precision.
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

/// The model's prediction for one track.
#[derive(Debug, Clone, PartialEq)]
pub struct GenrePrediction {
    /// The most likely genre, even if the prediction is unknown.
    pub best: Genre,
    /// Calibrated probability of [`Self::best`], in [0, 1].
    pub probability: f32,
    /// Why the genre is unknown.
    pub unknown: Option<UnknownReason>,
    /// Whether it or a copy of it is a training track: then the head's part is from a head trained
    /// without its artist.
    pub held_out: bool,
    /// Share of the labelled tracks that are no more familiar than this one, see
    /// [`Familiar`](super::Familiar).
    pub familiar: f32,
    /// The probability of each genre, largest first (only the first few, see the options); they sum
    /// to 1.
    pub probabilities: Vec<GenreShare>,
    /// The head's probabilities, largest first; empty without a head.
    pub head: Vec<GenreShare>,
}

/// The nearest genres: those with a probability of at least a tenth, three at most.
pub fn kin(probabilities: &[GenreShare]) -> impl Iterator<Item = &Genre> {
    let kin = probabilities.iter().enumerate().take(3);
    kin.filter(|(i, g)| *i == 0 || g.share >= 0.1)
        .map(|(_, g)| &g.genre)
}
