//! A prediction with its reasons.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Familiar, FusionPart, Genre, GenreShare, UnknownReason, Votes};

/// The engine's prediction for one track.
#[derive(Debug, Clone, Serialize)]
pub struct GenrePrediction {
    /// The predicted genre; `None` if unknown.
    pub genre: Option<Genre>,
    /// The predicted genre and those that the track most likely has as well; empty if
    /// unknown.
    pub genres: Vec<Genre>,
    /// The most likely genre, even if the prediction is unknown.
    pub best: Genre,
    /// This and the genres that the track most likely has as well, as text.
    #[serde(skip)]
    pub words: String,
    /// Calibrated probability of [`Self::best`], in [0, 1].
    pub probability: f32,
    /// The most likely of all genres and its probability, if only some were allowed and it is not
    /// one of them.
    pub without_limit: Option<GenreShare>,
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
    /// Whether head and neighbours agree.
    pub agreement: Agreement,
    /// The probability of each genre, largest first (only the first few, see the options); they sum
    /// to 1 if no track has several.
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
            self.genres.clear();
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
        match (self.unknown, &self.without_limit) {
            (Some(_), _) => format!("{} ({percent})", self.sentence()),
            (None, Some(other)) => format!(
                "{} is the least unlikely ({percent} of what they share); without that limit it is {} ({:.0} %)",
                self.best,
                other.genre,
                100.0 * other.share
            ),
            (None, None) if self.is_surer_than_its_parts() => format!(
                "{}, {} ({percent}); {}, together more certain than either alone",
                self.words, self.confidence, self.agreement
            ),
            (None, None) => format!(
                "{}, {} ({percent}); {}",
                self.words, self.confidence, self.agreement
            ),
        }
    }

    /// Whether the combined probability is greater than those of both parts.
    fn is_surer_than_its_parts(&self) -> bool {
        let in_head = self
            .head
            .iter()
            .find(|share| share.genre == self.best)
            .map_or(0.0, |share| share.share);
        // By more than half of the last printed digit.
        self.answers_by == FusionPart::Fused
            && self.agreement == Agreement::Both
            && self.probability > in_head.max(self.votes.share(&self.best)) + 0.005
    }

    /// The prediction as text, without its probability.
    pub fn sentence(&self) -> String {
        let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
        match self.unknown {
            Some(reason) => reason.sentence(&kin, None),
            None => format!("{}, {}; {}", self.words, self.confidence, self.agreement),
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

/// Agreement of head and neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Both have this genre first.
    Both,
    /// Only the head has it first.
    HeadOnly,
    /// Only the neighbours have it first.
    NeighboursOnly,
    /// Neither has it first, but both together do.
    Neither,
    /// The head lacks this genre.
    NoHead,
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Both => "the trained head and the neighbours agree",
            Self::HeadOnly => "predicted by the trained head, not by the neighbours",
            Self::NeighboursOnly => "predicted by the neighbours, not by the trained head",
            Self::Neither => "a compromise between the trained head and the neighbours",
            Self::NoHead => "by the neighbours alone",
        })
    }
}
