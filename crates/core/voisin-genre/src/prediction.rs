//! An answer with its reasons.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Familiar, FusionPart, Genre, GenreShare, UnknownReason, Votes};

/// The engine's prediction for one track.
#[derive(Debug, Clone, Serialize)]
pub struct GenrePrediction {
    /// The answer; `None` when unknown.
    pub genre: Option<Genre>,
    /// The answer, then the genres that the track most likely has along with it; empty when
    /// unknown.
    pub genres: Vec<Genre>,
    /// The best known genre, also when the answer is unknown.
    pub best: Genre,
    /// It and what it has along with it, in words.
    #[serde(skip)]
    pub words: String,
    /// Calibrated probability of [`Self::best`], in [0, 1].
    pub probability: f32,
    /// The likeliest of all genres and its probability, where only some were allowed and it is none
    /// of them.
    pub without_limit: Option<GenreShare>,
    /// The parts of the model that answer.
    pub answers_by: FusionPart,
    /// Whether it, or another copy of it, trained the model: then those parts answer that never
    /// heard its artist.
    pub held_out: bool,
    /// Why the answer is unknown.
    pub unknown: Option<UnknownReason>,
    /// Share of the labelled tracks that are more familiar than this one, in [0, 1], see
    /// [`Familiar`].
    pub novelty: f32,
    /// Novelty without bounds: 0 an average track, larger is stranger; ranks tracks by how unknown
    /// they look.
    pub novelty_score: f32,
    /// How sure it is, in words.
    pub confidence: Confidence,
    /// Whether head and neighbours say the same.
    pub agreement: Agreement,
    /// How likely the track bears each genre, largest first (only the first few are kept, see the
    /// options); they sum to 1 where no track has several.
    pub probabilities: Vec<GenreShare>,
    /// The head's probabilities, largest first.
    pub head: Vec<GenreShare>,
    /// The vote and its voters.
    pub votes: Votes,
}

impl GenrePrediction {
    /// Calls it unknown, or lowers its probability, where it is less familiar than most of what is
    /// labelled.
    ///
    /// - `threshold`: the least probability that is an answer
    #[doc(hidden)]
    pub fn doubt(&mut self, familiar: Familiar, threshold: f32) {
        self.novelty = 1.0 - familiar.share;
        let factor = familiar.certainty();
        // The shares fall with the answer, so that their order and ratios stay.
        self.probability *= factor;
        self.probabilities
            .iter_mut()
            .for_each(|genre| genre.share *= factor);
        // Never surer than before: doubt only lowers.
        self.confidence = self.confidence.min(Confidence::of(self.probability));
        let unsure = (self.probability < threshold).then_some(UnknownReason::Unsure);
        self.reject(familiar.unknown().or(self.unknown).or(unsure));
    }

    /// Calls it unknown, if there is a reason.
    pub fn reject(&mut self, reason: Option<UnknownReason>) {
        if reason.is_some() {
            (self.genre, self.unknown) = (None, reason);
            self.genres.clear();
        }
    }

    /// The genres it is nearest to: those with at least a tenth of the probability, three at most.
    pub fn kin(&self) -> Vec<&Genre> {
        let kin = self.probabilities.iter().enumerate().take(3);
        kin.filter(|(i, g)| *i == 0 || g.share >= 0.1)
            .map(|(_, g)| &g.genre)
            .collect()
    }

    /// The answer in words, with its probability.
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
                "{}, {} ({percent}); {}, which makes it surer than either alone",
                self.words, self.confidence, self.agreement
            ),
            (None, None) => format!(
                "{}, {} ({percent}); {}",
                self.words, self.confidence, self.agreement
            ),
        }
    }

    /// Whether head and neighbours together are surer of the answer than each of them.
    fn is_surer_than_its_parts(&self) -> bool {
        let in_head = self
            .head
            .iter()
            .find(|share| share.genre == self.best)
            .map_or(0.0, |share| share.share);
        // More than half of the last digit that is shown.
        self.answers_by == FusionPart::Fused
            && self.agreement == Agreement::Both
            && self.probability > in_head.max(self.votes.share(&self.best)) + 0.005
    }

    /// One sentence for a person.
    pub fn sentence(&self) -> String {
        let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
        match self.unknown {
            Some(reason) => reason.sentence(&kin, None),
            None => format!("{}, {}; {}", self.words, self.confidence, self.agreement),
        }
    }
}

/// How sure, from the calibrated probability.
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

/// How head and neighbours relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// Both name the answer.
    Both,
    /// Only the head names it.
    HeadOnly,
    /// Only the neighbours name it.
    NeighboursOnly,
    /// Each names another genre first; together they favour this one.
    Neither,
    /// There is no head for these genres.
    NoHead,
}

impl std::fmt::Display for Agreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Both => "the trained head and the neighbours agree",
            Self::HeadOnly => "the trained head says so, the neighbours differ",
            Self::NeighboursOnly => "the neighbours say so, the trained head differs",
            Self::Neither => "a compromise between the trained head and the neighbours",
            Self::NoHead => "by the neighbours alone",
        })
    }
}
