//! A prediction with its reasons.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Familiar, FusionPart, Genre, GenreShare, UnknownReason, Votes};

/// The engine's prediction for one track.
#[derive(Debug, Clone, Serialize)]
pub struct GenrePrediction {
    /// The predicted genre; `None` if unknown.
    pub genre: Option<Genre>,
    /// The most likely genre, even if the prediction is unknown.
    pub best: Genre,
    /// Calibrated probability of [`Self::best`], in [0, 1].
    pub probability: f32,
    /// The parts of the model that were used.
    pub answers_by: FusionPart,
    /// Whether it or a copy of it is a training track: then the prediction is from models trained
    /// without its artist.
    pub held_out: bool,
    /// Why the genre is unknown.
    pub unknown: Option<UnknownReason>,
    /// Share of the labelled tracks that are more familiar than this one, in [0, 1], see
    /// [`Familiar`].
    pub novelty: f32,
    /// Novelty score: 0 for an average track, larger is more novel; to rank tracks.
    pub novelty_score: f32,
    /// The probability as a word.
    pub confidence: Confidence,
    /// The probability of each genre, largest first (only the first few, see the options); they sum
    /// to 1.
    pub probabilities: Vec<GenreShare>,
    /// The head's probabilities, largest first.
    pub head: Vec<GenreShare>,
    /// The vote and its voters.
    pub votes: Votes,
}

impl GenrePrediction {
    /// Lowers the probability or makes it unknown, if the track is less familiar than most labelled
    /// ones.
    ///
    /// - `threshold`: the least probability of a known genre
    #[doc(hidden)]
    pub fn doubt(&mut self, familiar: Familiar, threshold: f32) {
        self.novelty = 1.0 - familiar.share;
        let factor = familiar.certainty();
        // All shares are scaled, so that their order and ratios stay.
        self.probability *= factor;
        self.probabilities
            .iter_mut()
            .for_each(|genre| genre.share *= factor);
        // The confidence can only fall.
        self.confidence = self.confidence.min(Confidence::of(self.probability));
        let unsure = (self.probability < threshold).then_some(UnknownReason::Unsure);
        self.reject(familiar.unknown().or(self.unknown).or(unsure));
    }

    /// Makes it unknown, if there is a reason.
    pub fn reject(&mut self, reason: Option<UnknownReason>) {
        if reason.is_some() {
            (self.genre, self.unknown) = (None, reason);
        }
    }

    /// The nearest genres: those with a probability of at least a tenth, three at most.
    pub fn kin(&self) -> Vec<&Genre> {
        let kin = self.probabilities.iter().enumerate().take(3);
        kin.filter(|(i, g)| *i == 0 || g.share >= 0.1)
            .map(|(_, g)| &g.genre)
            .collect()
    }

    /// The prediction as text, with its probability.
    pub fn summary(&self) -> String {
        let percent = format!("{:.0} %", 100.0 * self.probability);
        match self.unknown {
            Some(reason) => {
                let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
                format!("{} ({percent})", reason.sentence(&kin))
            }
            None => format!("{}, {} ({percent})", self.best, self.confidence),
        }
    }
}

/// A word for a calibrated probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Below 0.4.
    Guess,
    /// From 0.4.
    Leaning,
    /// From 0.65.
    Likely,
    /// From 0.85.
    VeryLikely,
    /// From 0.95.
    AlmostCertain,
}

impl Confidence {
    /// The word for a probability.
    pub fn of(probability: f32) -> Self {
        match probability {
            p if p >= 0.95 => Self::AlmostCertain,
            p if p >= 0.85 => Self::VeryLikely,
            p if p >= 0.65 => Self::Likely,
            p if p >= 0.4 => Self::Leaning,
            _ => Self::Guess,
        }
    }
}

impl std::fmt::Display for Confidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Guess => "a guess",
            Self::Leaning => "more likely than the others",
            Self::Likely => "likely",
            Self::VeryLikely => "very likely",
            Self::AlmostCertain => "almost certain",
        })
    }
}
