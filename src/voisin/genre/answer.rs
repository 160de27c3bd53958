//! The predicted genre of a track, whatever the method.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::labels::TrackDisplay;
use super::voters::Voted;
use crate::Seed;
use voisin_base::track::TrackId;
use voisin_genre::{
    Familiar, Genre, GenrePrediction, GenreShare, Guess, LabelCount, UnknownReason, Voter, Votes,
    kin,
};

/// The method of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerSource {
    /// None: too few tracks are labelled, and the model has no tags for a guess.
    #[default]
    Nobody,
    /// The model's tags, because too few tracks are labelled.
    FirstGuess,
    /// The vote of labelled neighbours alone.
    Neighbours,
    /// The trained head and labelled neighbours together.
    Head,
}

/// A labelled track that voted, so that a user can check the result by listening. Its similarity is that of `similar`.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub voter: Voter,
    pub facts: TrackDisplay,
}

/// The predicted genre of a track, with reasons.
#[derive(Debug, Clone, Default)]
pub struct GenreAnswer {
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path.
    pub path: PathBuf,
    /// Whether the user named `path`: then results show this file, not another copy in the library.
    pub is_named_file: bool,
    /// The number of labelled tracks, on which the prediction is based, or which is too small for one.
    pub labelled: LabelCount,
    pub labels: Vec<Genre>,
    pub source: AnswerSource,
    /// The most likely genre, even if the result is unknown.
    pub best: Option<Genre>,
    /// Probability of `best`, or its share of the votes, in [0, 1].
    pub probability: f32,
    /// Why the genre is unknown; `None` if it is known or no method was available.
    pub unknown: Option<UnknownReason>,
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub familiar: Option<f32>,
    /// Whether the head was trained on it: then a head trained without its artist answers.
    pub held_out: bool,
    /// The probability of each genre, or its share of the votes, largest first.
    pub probabilities: Vec<GenreShare>,
    /// The head's probabilities, largest first.
    pub head: Vec<GenreShare>,
    pub votes: Votes,
    pub evidence: Vec<Evidence>,
    pub guess: Option<Guess>,
}

impl GenreAnswer {
    fn new(seed: Seed, labelled: LabelCount, source: AnswerSource) -> Self {
        Self {
            track: seed.track,
            path: seed.path,
            is_named_file: seed.is_named_file,
            labelled,
            source,
            ..Self::default()
        }
    }

    /// A first guess, if any, for a library with too few labels.
    pub fn guessed(guess: Option<Guess>, seed: Seed, labelled: LabelCount) -> Self {
        let Some(guess) = guess else {
            return Self::new(seed, labelled, AnswerSource::Nobody);
        };
        Self {
            best: guess.shares.first().map(|share| share.genre.clone()),
            probability: guess.probability,
            unknown: guess.genre.is_none().then_some(UnknownReason::Unsure),
            guess: Some(guess),
            ..Self::new(seed, labelled, AnswerSource::FirstGuess)
        }
    }

    /// The vote of neighbours alone.
    ///
    /// - `familiar`: how familiar the track is; `least`: share below which the genre is unknown
    pub(super) fn voted(
        seed: Seed,
        labelled: LabelCount,
        voted: Voted,
        familiar: Familiar,
        least: f32,
    ) -> Self {
        let winner = voted.votes.winner().cloned();
        let probability = winner.as_ref().map_or(0.0, |winner| winner.share);
        let unknown = if winner.is_none() {
            None
        } else if familiar.is_unknown() {
            Some(UnknownReason::Novel)
        } else {
            (probability < least).then_some(UnknownReason::Unsure)
        };
        Self {
            best: winner.map(|winner| winner.genre),
            probability,
            unknown,
            familiar: Some(familiar.share),
            probabilities: voted.votes.shares.clone(),
            labels: voted.own,
            votes: voted.votes,
            evidence: voted.evidence,
            ..Self::new(seed, labelled, AnswerSource::Neighbours)
        }
    }

    /// Head and neighbours together.
    pub(super) fn predicted(
        seed: Seed,
        labelled: LabelCount,
        prediction: GenrePrediction,
        voted: Voted,
    ) -> Self {
        Self {
            best: Some(prediction.best),
            probability: prediction.probability,
            unknown: prediction.unknown,
            familiar: Some(prediction.familiar),
            held_out: prediction.held_out,
            probabilities: prediction.probabilities,
            head: prediction.head,
            labels: voted.own,
            votes: voted.votes,
            evidence: voted.evidence,
            ..Self::new(seed, labelled, AnswerSource::Head)
        }
    }

    pub fn genre(&self) -> Option<&Genre> {
        self.best.as_ref().filter(|_| self.unknown.is_none())
    }

    /// The nearest genres, if it is unknown.
    pub fn kin(&self) -> Vec<&Genre> {
        if self.unknown.is_none() {
            Vec::new()
        } else if self.source == AnswerSource::Head {
            kin(&self.probabilities).collect()
        } else {
            self.best.iter().collect()
        }
    }

    /// The result as text, without the track.
    pub fn summary(&self) -> String {
        let percent = format!("{:.0} %", 100.0 * self.probability);
        let kin: Vec<&str> = self.kin().into_iter().map(Genre::name).collect();
        let genre = match (self.genre(), self.unknown) {
            (Some(genre), _) => genre.to_string(),
            (None, Some(why)) => why.sentence(&kin),
            (None, None) => "unknown".to_owned(),
        };
        match self.source {
            AnswerSource::Nobody => format!("{genre} ({})", self.labelled.shortage()),
            AnswerSource::FirstGuess => {
                format!("{genre} ({percent}, a first guess, with {})", self.labelled)
            }
            AnswerSource::Neighbours | AnswerSource::Head => {
                format!("{genre} ({percent} likely, from {})", self.labelled)
            }
        }
    }

    /// The track's own label, if none of its labels is the answer.
    pub fn other_label(&self) -> Option<String> {
        let genre = self.genre()?;
        let is_other = !self.labels.is_empty() && !self.labels.contains(genre);
        let names: Vec<&str> = self.labels.iter().map(Genre::name).collect();
        is_other.then(|| names.join(", "))
    }

    pub fn reject(&mut self, reason: UnknownReason) {
        if self.source != AnswerSource::Nobody {
            self.unknown = Some(reason);
        }
    }
}
